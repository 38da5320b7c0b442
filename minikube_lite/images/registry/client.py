"""The door to registries: a `Remote` goes in, a `Source` for it comes out. Called by node and cli, from any thread.

Importing this module does not import urllib3 (see the package): that comes with the first request.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import quote

from minikube_lite.images.digests import is_digest, matches, sha256
from minikube_lite.images.image import ImageError, unavailable
from minikube_lite.images.manifest import INDEXES, MANIFEST_MAX, MANIFESTS, OCI_INDEX, OCI_MANIFEST
from minikube_lite.images.reference import Remote
from minikube_lite.images.registry import config, failure
from minikube_lite.images.registry.credentials import Keychain, default_keychain
from minikube_lite.images.registry.failure import Failure
from minikube_lite.images.source import Descriptor

if TYPE_CHECKING:
    from minikube_lite.images.registry.endpoint import Endpoint, Tools
    from minikube_lite.images.registry.transport import Timeouts

T = TypeVar("T")

ACCEPT = (*INDEXES, *MANIFESTS)
DOCKER_HUB = "registry-1.docker.io"
"""Where the images of docker.io are."""


class Registries:
    """All registries, as `configuration` (a `registries.yaml`, which need not be there) says. Shared by all threads.

    The file is read again when it has changed. `close` ends the connections; the object may be used again.
    """

    def __init__(
        self,
        configuration: Path | None = None,
        keychain: Keychain | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        timeouts: Timeouts | None = None,
    ) -> None:
        self._path = configuration
        self._keychain = keychain if keychain is not None else default_keychain()
        self._clock, self._sleep, self._timeouts = clock, sleep, timeouts
        self._lock = threading.Lock()
        self._read: tuple[object, config.Configuration] = (None, config.Configuration())
        self._tools: Tools | None = None

    def repository(self, remote: Remote, keychain: Keychain | None = None) -> Repository:
        """The repository of `remote`. `keychain`: looked in before the one of the machine (`imagePullSecrets`).

        Raises ImageError where `registries.yaml` is wrong. Asks nobody yet.
        """
        configuration = self.configuration()
        tools = self._shared(configuration)
        keys = keychain + self._keychain if keychain is not None else self._keychain
        return Repository(remote, _endpoints(remote, configuration, keys, tools))

    def configuration(self) -> config.Configuration:
        """What is configured now. Raises ImageError with file, line and field."""
        if self._path is None:
            return self._read[1]
        try:
            found = self._path.stat()
            stamp: object = (found.st_ino, found.st_size, found.st_mtime_ns)
        except OSError:
            stamp = None
        with self._lock:
            if stamp != self._read[0] or stamp is None:
                read = config.read(self._path)
                if read != self._read[1]:
                    self._end()
                self._read = (stamp, read)
            return self._read[1]

    def close(self) -> None:
        with self._lock:
            self._end()

    def __enter__(self) -> Registries:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _end(self) -> None:
        tools, self._tools = self._tools, None
        if tools is not None:
            tools.transport.close()

    def _shared(self, configuration: config.Configuration) -> Tools:
        from minikube_lite.images.registry.auth import Authority
        from minikube_lite.images.registry.endpoint import Tools
        from minikube_lite.images.registry.transport import Timeouts, Transport

        with self._lock:
            if self._tools is None:
                transport = Transport(configuration, self._timeouts or Timeouts(), self._clock)
                self._tools = Tools(transport, Authority(transport, self._clock), self._sleep)
            return self._tools


def _endpoints(remote: Remote, configuration: config.Configuration, keys: Keychain, tools: Tools) -> list[Endpoint]:
    """The mirrors in their order, then the registry itself. Each is shown the credentials for its own name alone."""
    from minikube_lite.images.registry.endpoint import Endpoint

    endpoints = []
    for mirror in configuration.host(remote.domain).mirrors:
        name = f"{mirror.prefix}/{remote.repository}".lstrip("/")
        found = keys.find(Remote(mirror.host, name, "", ""))
        endpoints.append(Endpoint(tools, mirror.host, name, found, scheme=mirror.scheme, namespace=remote.domain))
    host = DOCKER_HUB if remote.domain == "docker.io" else remote.domain
    return [*endpoints, Endpoint(tools, host, remote.repository, keys.find(remote))]


class Repository:
    """One repository of a registry, and a `Source` of its images. Every failure is an ImageError `ErrImagePull`."""

    def __init__(self, remote: Remote, endpoints: list[Endpoint]) -> None:
        self.remote = remote
        self._endpoints = endpoints
        self._down: set[str] = set()
        """Mirrors that could not be talked to: not tried again by this object."""
        self._wrong: set[tuple[str, str]] = set()
        """(mirror, digest) of what was not what it should be."""

    @property
    def origin(self) -> Endpoint:
        """The registry itself, after its mirrors: what is pushed goes there."""
        return self._endpoints[-1]

    def manifest(self, reference: str) -> tuple[str, bytes]:
        """(media type, bytes). `reference`: a tag, a digest, or "" for the one of the remote's own name."""
        reference = reference or self.remote.digest or self.remote.tag
        return self._somewhere(lambda endpoint: _manifest(endpoint, reference), f"the manifest `{reference}`")

    def digest_of(self, reference: str = "") -> str:
        """The digest that a tag stands for now, without its manifest: for `imagePullPolicy: Always`."""
        reference = reference or self.remote.digest or self.remote.tag
        return self._somewhere(lambda endpoint: _digest_of(endpoint, reference), f"the manifest `{reference}`")

    def tags(self) -> list[str]:
        """All tags, sorted."""
        return sorted(self._somewhere(_tags, "the list of tags"))

    def blob(self, descriptor: Descriptor, offset: int = 0) -> Iterator[bytes]:
        """The blob's bytes from `offset` on. What breaks off is taken up again where it was."""
        from minikube_lite.images.registry.download import download

        try:
            yield from download(self._useful(descriptor.digest), descriptor, offset, self._wrong)
        except Failure as problem:
            raise self.error(problem) from problem

    def error(self, problem: Failure, doing: str = "pull") -> ImageError:
        return unavailable(f"cannot {doing} `{self.remote}`: {problem}")

    def _useful(self, digest: str = "") -> list[Endpoint]:
        return [
            endpoint
            for endpoint in self._endpoints
            if endpoint is self.origin
            or (endpoint.host not in self._down and (endpoint.host, digest) not in self._wrong)
        ]

    def _somewhere(self, ask: Callable[[Endpoint], T], what: str) -> T:
        failures: list[Failure] = []
        for endpoint in self._useful():
            try:
                return ask(endpoint)
            except Failure as problem:
                failures.append(problem)
                if not problem.status:
                    self._down.add(endpoint.host)
        raise self.error(failure.together(failures)) from failures[-1]


def _manifest(endpoint: Endpoint, reference: str) -> tuple[str, bytes]:
    what = f"the manifest `{reference}`"
    with closing(
        endpoint.ask("GET", f"manifests/{quote(reference)}", what, headers={"Accept": ", ".join(ACCEPT)})
    ) as response:
        data = response.body(what, MANIFEST_MAX)
    host = response.host
    if failure.looks_like_html(response.headers, data):
        raise failure.html(host, what)
    for digest, by in (
        (reference, "was asked for"),
        (response.headers.get("Docker-Content-Digest", ""), "it promised"),
    ):
        if is_digest(digest) and not matches(data, digest):
            got = f"`{sha256(data)}` is the digest of what came"
            raise Failure(host, f"the wrong manifest came: `{digest}` {by}, {got}", status=200)
    return _media_type(host, what, response.headers.get("Content-Type", ""), data), data


def _media_type(host: str, what: str, content_type: str, data: bytes) -> str:
    """What the manifest is, by its header; where that says nothing, by itself."""
    try:
        manifest = json.loads(data)
        version = manifest.get("schemaVersion")
    except (ValueError, AttributeError, RecursionError) as error:
        raise Failure(host, f"{what} is not a JSON object ({failure.size(len(data))})", status=200) from error
    media_type = content_type.partition(";")[0].strip()
    if version == 1 or "docker.distribution.manifest.v1+" in media_type:
        raise Failure(
            host,
            f"{what} is of schema 1, which is too old (hint: `skopeo copy --format v2s2` makes a new one)",
            status=200,
        )
    if media_type not in ACCEPT:
        own = manifest.get("mediaType")
        if isinstance(own, str) and own:
            return own
        if media_type in ("", "application/json", "text/plain", "application/octet-stream", "text/json"):
            return OCI_INDEX if "manifests" in manifest else OCI_MANIFEST
    return media_type


def _digest_of(endpoint: Endpoint, reference: str) -> str:
    what, headers = f"the manifest `{reference}`", {"Accept": ", ".join(ACCEPT)}
    try:
        with closing(endpoint.ask("HEAD", f"manifests/{quote(reference)}", what, headers=headers)) as response:
            digest = response.headers.get("Docker-Content-Digest", "")
            schema1 = "docker.distribution.manifest.v1+" in response.headers.get("Content-Type", "")
    except Failure as problem:
        if problem.status not in (400, 405, 501):  # of registries and proxies that do not know HEAD
            raise
        digest, schema1 = "", False
    if digest.startswith("sha256:") and not schema1:
        return digest
    return sha256(_manifest(endpoint, reference)[1])


def _tags(endpoint: Endpoint) -> list[str]:
    tags: dict[str, None] = {}
    path, what = "tags/list?n=1000", "the list of tags"
    while path:
        with closing(endpoint.ask("GET", path, what)) as response:
            data = response.body(what, MANIFEST_MAX)
        if failure.looks_like_html(response.headers, data):
            raise failure.html(response.host, what)
        before = len(tags)
        try:
            tags |= dict.fromkeys(str(tag) for tag in json.loads(data)["tags"] or ())
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise Failure(response.host, f"{what} is not what it should be: `tags` is missing", status=200) from error
        # RFC 8288. Only `last` is taken of it: registries behind proxies give hosts that nobody knows.
        link = response.headers.get("Link", "")
        last = failure.link_parameter(link, "last")
        path = f"tags/list?n=1000&last={quote(last)}" if last and len(tags) > before else ""
    return list(tags)
