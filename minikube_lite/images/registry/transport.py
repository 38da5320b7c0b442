"""One HTTP exchange at a time: connections, TLS, proxies, timeouts; says why there was no response. Called by endpoint.

The only module that imports urllib3. Any number of threads may use one Transport: connections are pooled by host.
"""

from __future__ import annotations

import http.client
import ipaddress
import os
import ssl
import threading
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import urllib3
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    IncompleteRead,
    InsecureRequestWarning,
    NameResolutionError,
    NewConnectionError,
    ProtocolError,
    ProxyError,
    ReadTimeoutError,
    SSLError,
)

from minikube_lite import __version__
from minikube_lite.images.registry.config import Configuration
from minikube_lite.images.registry.failure import Failure, one_line, size

PIECE = 1 << 18
"""Bytes that a piece of a body has at most; it has less when less has come."""

Body = bytes | Callable[[], Iterable[bytes]] | None
"""What is sent. A function is called again for each time that the body has to be sent."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds."""

    connect: float = 15
    read: float = 60
    """Without a single byte from the server."""
    whole: float = 120
    """For a body that is read at once: a manifest, a token, an error."""


class Response:
    """A response whose body has not been read yet. Whoever gets one reads it to its end or closes it."""

    def __init__(self, raw: urllib3.BaseHTTPResponse, url: str, deadline: float, clock: Callable[[], float]) -> None:
        self._raw, self.url = raw, url
        self._deadline, self._clock = deadline, clock
        self.status: int = raw.status
        self.headers: Mapping[str, str] = raw.headers
        self.host = urlsplit(url).netloc

    def header_list(self, name: str) -> list[str]:
        """The values of a header that may stand there several times."""
        return list(self._raw.headers.getlist(name))

    def pieces(self) -> Iterator[bytes]:
        """The body as it comes, in pieces. Raises Failure (transient) where it ends too early."""
        try:
            while piece := self._raw.read1(PIECE):
                yield piece
        except (HTTPError, OSError) as error:
            raise explain(self.host, error) from error
        finally:
            self.close()

    def body(self, what: str, limit: int) -> bytes:
        """The whole body of at most `limit` bytes. Raises Failure; `what` it is goes into the message."""
        data = bytearray()
        for piece in self.pieces():
            data += piece
            if len(data) > limit:
                raise Failure(self.host, f"{what} is larger than {size(limit)}", status=self.status)
            if self._clock() > self._deadline:
                raise Failure(self.host, f"{what} comes too slowly ({size(len(data))} so far)", transient=True)
        return bytes(data)

    def close(self) -> None:
        """Give the connection back if nothing is left to read on it; end it otherwise. Twice is as good as once."""
        if self._raw.length_remaining == 0:
            self._raw.release_conn()
        self._raw.close()


class Transport:
    """The connections to all hosts, under one configuration. `close` ends them; it may be used again afterwards."""

    def __init__(self, configuration: Configuration, timeouts: Timeouts, clock: Callable[[], float]) -> None:
        self._configuration = configuration
        self._timeouts = timeouts
        self._clock = clock
        self._lock = threading.Lock()
        self._managers: dict[tuple[object, ...], urllib3.PoolManager] = {}

    def send(self, method: str, url: str, headers: Mapping[str, str], body: Body = None) -> Response:
        """One request, one response whatever its status; redirects are not followed. Raises Failure without one."""
        host = urlsplit(url).netloc
        timeouts = self._timeouts
        try:
            raw = self._manager(url).urlopen(
                method,
                url,
                redirect=False,
                body=body() if callable(body) else body,
                headers={"User-Agent": f"minikube-lite/{__version__}", "Accept-Encoding": "identity", **headers},
                retries=False,
                preload_content=False,
                decode_content=False,
                timeout=urllib3.Timeout(connect=timeouts.connect, read=timeouts.read),
            )
        except (HTTPError, OSError) as error:
            raise explain(host, error) from error
        return Response(raw, url, self._clock() + timeouts.whole, self._clock)

    def trusts_anyone(self, host: str) -> bool:
        """Whether the certificate of this `host[:port]` goes unchecked and plain HTTP is as good."""
        known = self._configuration.host(host)
        return known.insecure if known.insecure is not None else known.ca is None and is_loopback(host)

    def close(self) -> None:
        with self._lock:
            managers, self._managers = list(self._managers.values()), {}
        for manager in managers:
            manager.clear()

    def _manager(self, url: str) -> urllib3.PoolManager:
        parts = urlsplit(url)
        proxy = _proxy(parts.scheme, parts.hostname or "", parts.netloc)
        verify, ca = not self.trusts_anyone(parts.netloc), self._configuration.host(parts.netloc).ca
        if parts.scheme == "http":
            verify, ca = True, None
        key = (proxy, verify, ca)
        with self._lock:
            if key not in self._managers:
                context = _tls(parts.netloc, verify, ca)
                # `block` stays off: more threads than connections just open more, and close them afterwards.
                self._managers[key] = (
                    urllib3.ProxyManager(proxy, num_pools=16, maxsize=8, ssl_context=context)
                    if proxy
                    else urllib3.PoolManager(num_pools=16, maxsize=8, ssl_context=context)
                )
            if not verify:
                urllib3.disable_warnings(InsecureRequestWarning)  # it was asked for, in the configuration
            return self._managers[key]


def is_loopback(host: str) -> bool:
    """Whether `host[:port]` names this machine and nothing else, as Docker tells it: nobody listens on the way."""
    name = urlsplit(f"//{host}").hostname or ""
    try:
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _tls(host: str, verify: bool, ca: Path | None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if ca is not None:
        try:
            context.load_verify_locations(ca)
        except (OSError, ssl.SSLError) as error:
            raise Failure(host, f"cannot use its `ca` `{ca}`: {error.strerror or error}") from error
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _proxy(scheme: str, hostname: str, netloc: str) -> str:
    """The proxy of the environment (HTTPS_PROXY, HTTP_PROXY, NO_PROXY) for this host; "" for none."""
    # As Go's net/http, which Docker and the kubelet have: never for this machine itself.
    if is_loopback(netloc) or urllib.request.proxy_bypass_environment(hostname):  # type: ignore[attr-defined]
        return ""
    proxy = urllib.request.getproxies_environment().get(scheme, "")
    return proxy if not proxy or "://" in proxy else f"http://{proxy}"


def explain(host: str, error: Exception) -> Failure:
    """Why there is no response, or not all of it."""
    cause = _deepest(error)
    if isinstance(error, ProxyError):
        return Failure(host, f"the proxy cannot be used: {_words(cause)} (hint: see HTTPS_PROXY)", transient=True)
    if isinstance(error, NameResolutionError):
        return Failure(host, "this name is not known (hint: is it spelt right? does DNS work, /etc/resolv.conf?)")
    if isinstance(error, SSLError) or isinstance(cause, ssl.SSLError):
        return _tls_failure(host, cause)
    if isinstance(error, ConnectTimeoutError) and not isinstance(error, NewConnectionError):
        return Failure(host, "no connection: it does not answer (hint: is a firewall between?)")
    if isinstance(error, NewConnectionError):
        hint = " (hint: does the registry run?)" if isinstance(cause, ConnectionRefusedError) else ""
        return Failure(host, f"no connection: {_words(cause)}{hint}")
    if isinstance(error, ReadTimeoutError) or isinstance(cause, TimeoutError):
        return Failure(host, "it stopped answering: no byte came for too long", transient=True)
    if isinstance(cause, IncompleteRead | http.client.IncompleteRead):
        return Failure(host, "the connection broke off in the middle of the answer", transient=True)
    if isinstance(error, ProtocolError | OSError):
        return Failure(host, f"the connection broke off: {_words(cause)}", transient=True)
    return Failure(host, f"this cannot be asked for: {_words(error)}")


def _tls_failure(host: str, cause: BaseException) -> Failure:
    if isinstance(cause, ssl.SSLCertVerificationError):
        return Failure(
            host,
            f"its certificate is not trusted: {cause.verify_message.rstrip('.')} "
            "(hint: in registries.yaml name its authority with `ca`, or say `insecure: true`)",
        )
    text = _words(cause)
    if "WRONG_VERSION_NUMBER" in text or "RECORD_LAYER_FAILURE" in text:
        return Failure(
            host, "it speaks no TLS (hint: if it speaks plain HTTP, say `insecure: true` in registries.yaml)"
        )
    return Failure(host, f"TLS failed: {text}")


def _deepest(error: BaseException) -> BaseException:
    """What is at the bottom: urllib3 wraps, as a cause or an argument. A context may be of another try altogether."""
    seen: set[int] = set()
    while id(error) not in seen:
        seen.add(id(error))
        inner = [arg for arg in error.args if isinstance(arg, BaseException)]
        error = inner[0] if inner else error.__cause__ or error
    return error


def _words(error: BaseException) -> str:
    if isinstance(error, OSError) and error.errno and not isinstance(error, ssl.SSLError):
        return os.strerror(error.errno)
    return one_line(str(error)) or type(error).__name__
