"""Pulls from and pushes to registries by the OCI distribution protocol. Called by node and cli, through `client`.

Why a thin layer of ours over urllib3, and no library that speaks the protocol: of the two on PyPI, `oras` (0.2) holds
one token for all threads, knows neither ranges nor mirrors, has no types and brings requests and jsonschema with it;
`python-dxf` knows neither ranges nor mirrors nor `docker-credential-*`, and brings requests and tqdm. Both leave the
retries and the causes of failures, which are most of the work, to the caller. urllib3 (MIT, typed, 0.4 MB, needs
nothing else, released several times a year for fifteen years) gives what is hard: pooled connections that threads
share, TLS, timeouts, proxies, bodies that stream and that say when they were cut off.

It is imported by `transport` alone, and that when the first request is made: neither the node's start nor a command
that needs no registry pays for it.
"""
