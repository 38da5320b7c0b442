"""One repository at one registry host, asked with the right scheme, credentials, redirects and retries.

Called by client, download and push. What it is asked for either comes or is a Failure that tells why.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

from minikube_lite.images.registry import challenge, failure
from minikube_lite.images.registry.credentials import Credential, Found
from minikube_lite.images.registry.failure import Failure
from minikube_lite.images.registry.urls import origin, resolve

if TYPE_CHECKING:
    from minikube_lite.images.registry.auth import Authority
    from minikube_lite.images.registry.transport import Body, Response, Transport

TRIES = 4
"""How often a request is made that may work in a moment."""
FIRST_WAIT = 0.5
"""Seconds before the second try; doubled for each further one."""
LONGEST_WAIT = 20
"""Seconds. A registry that asks for more (Retry-After) is not waited for: the caller's back-off does that."""
REDIRECTS = 10
ERROR_LIMIT = 64 << 10
"""Bytes that are read of an error's body."""

PULL = frozenset({"pull"})
PUSH = frozenset({"pull", "push"})


@dataclass(frozen=True, slots=True)
class Tools:
    """What all endpoints of one client share."""

    transport: Transport
    authority: Authority
    sleep: Callable[[float], None]


class Endpoint:
    """`repository` at `host[:port]`.

    `scheme`: "" to find it out. `namespace`: the host that this one mirrors, or "". Any number of threads may ask.
    """

    def __init__(
        self, tools: Tools, host: str, repository: str, found: Found, *, scheme: str = "", namespace: str = ""
    ) -> None:
        self.host, self.repository, self.namespace = host, repository, namespace
        self._tools = tools
        self._found = found
        self._scheme = scheme
        self._good: dict[frozenset[str], Credential | None] = {}
        """The credential that was let in, by what for."""

    def ask(
        self,
        method: str,
        path: str,
        what: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: Body = None,
        actions: frozenset[str] = PULL,
        mount: str = "",
        ok: tuple[int, ...] = (200,),
        tries: int = TRIES,
    ) -> Response:
        """The response, whose status is one of `ok`. Raises Failure.

        `path`: below `/v2/<repository>/`, or the URL of an upload. `what`: what is asked for, as "the manifest
        `latest`". `mount`: another repository to read from.
        """
        scopes = {f"repository:{self.repository}:{','.join(sorted(actions))}"}
        if mount:
            scopes.add(f"repository:{mount}:pull")
        for attempt in range(tries):
            try:
                return self._as_somebody(method, path, what, headers or {}, body, frozenset(scopes), ok)
            except Failure as problem:
                if not problem.transient or attempt + 1 == tries or (problem.after or 0) > LONGEST_WAIT:
                    raise
                self.wait(attempt, problem.after)
        raise AssertionError("the last try returns or raises")

    def wait(self, attempt: int, after: float | None = None) -> None:
        """Before the try after number `attempt` (from 0). A little by chance, so that not all come at once."""
        longest = min(FIRST_WAIT * 2**attempt, LONGEST_WAIT)
        self._tools.sleep(max(after or 0, longest * random.uniform(0.75, 1)))

    def _as_somebody(
        self,
        method: str,
        path: str,
        what: str,
        headers: Mapping[str, str],
        body: Body,
        scopes: frozenset[str],
        ok: tuple[int, ...],
    ) -> Response:
        """Try the credentials in turn, as the kubelet does; the one that was let in comes first the next time."""
        candidates: list[Credential | None] = list(self._found.credentials) or [None]
        if scopes in self._good:
            candidates.sort(key=lambda candidate: candidate != self._good[scopes])
        first: Failure | None = None
        for candidate in candidates:
            try:
                response = self._as(candidate, method, path, what, headers, body, scopes, ok)
            except Failure as problem:
                # A private repository is hidden by 404 at some registries.
                if problem.status not in (401, 403, 404) or len(candidates) == 1:
                    raise
                first = first or problem
                continue
            self._good[scopes] = candidate
            return response
        assert first is not None
        raise first

    def _as(
        self,
        credential: Credential | None,
        method: str,
        path: str,
        what: str,
        headers: Mapping[str, str],
        body: Body,
        scopes: frozenset[str],
        ok: tuple[int, ...],
    ) -> Response:
        authority = self._tools.authority
        header = authority.header(self.host, credential, scopes)
        answered = False
        while True:
            response = self._follow(method, path, {**headers, **({"Authorization": header} if header else {})}, body)
            # What was known from before may have been withdrawn since; what was got just now is not got again.
            if response.status != 401 or response.host != self.host or answered:
                break
            with closing(response):
                data = response.body(what, ERROR_LIMIT)
            challenges = challenge.parse(response.header_list("WWW-Authenticate"))
            try:
                header = authority.answer(response, challenges, credential, scopes, header)
            except Failure as problem:
                if problem.status in (400, 401, 403):
                    raise self._refused(credential, what, 401, f"; {problem}") from problem
                raise
            if not header:
                raise self._refused(credential, what, 401, failure.said(response.headers, data)[1])
            answered = True
        if response.status in ok:
            return response
        with closing(response):
            data = b"" if method == "HEAD" else response.body("an error", ERROR_LIMIT)
        if response.status in (401, 403) and response.host == self.host:
            raise self._refused(credential, what, response.status, failure.said(response.headers, data)[1])
        raise failure.of_status(response.host, what, response.status, response.headers, data)

    def _refused(self, credential: Credential | None, what: str, status: int, said: str) -> Failure:
        """401 or 403, with what was tried."""
        if credential is not None:
            tried = ", ".join(str(each) for each in self._found.credentials)
            why = f"it denies {what} to {tried} ({status})"
            hint = f"(hint: `docker login {self.host}`)"
        else:
            looked = ", ".join(self._found.searched) or "nowhere"
            why = f"it denies {what} without credentials, or there is no such repository ({status})"
            hint = f"(looked for credentials in: {looked}; hint: `docker login {self.host}`)"
        problems = "".join(f"; {problem}" for problem in self._found.problems)
        return Failure(self.host, f"{why}{said}{problems} {hint}", status=status)

    def _follow(self, method: str, path: str, headers: dict[str, str], body: Body) -> Response:
        """One request and where it is redirected to. Authorization goes to the endpoint's own host alone."""
        response = self._first(method, path, headers, body)
        seen = 0
        while response.status in (301, 302, 303, 307, 308) and method in ("GET", "HEAD"):
            with closing(response):
                location = response.headers.get("Location", "")
            seen += 1
            if not location:
                raise Failure(response.host, "it redirects without saying where to")
            if seen > REDIRECTS:
                raise Failure(self.host, f"it redirects in a loop ({REDIRECTS} times, last to `{_short(location)}`)")
            url = self.locate(response.url, location)
            if origin(url) != origin(response.url):
                headers = {name: value for name, value in headers.items() if name != "Authorization"}
            response = self._tools.transport.send(method, url, headers)
        return response

    def locate(self, base: str, location: str) -> str:
        """The URL that a `Location` means. Raises Failure where it would leave TLS."""
        url, old = resolve(base, location), urlsplit(base)
        if not url:
            raise Failure(self.host, f"it redirects to something that is no URL: `{_short(location)}`")
        new = urlsplit(url)
        if old.scheme == "https" and new.scheme == "http":
            if new.hostname == old.hostname and new.port in (None, 80, old.port):
                # A registry behind a proxy that ends TLS does not know what it is called outside.
                return urlunsplit(new._replace(scheme="https", netloc=old.netloc))
            if not self._tools.transport.trusts_anyone(new.netloc):
                raise Failure(
                    self.host,
                    f"it redirects from HTTPS to plain HTTP at `{new.netloc}` "
                    "(hint: if that is meant, say `insecure: true` of that host in registries.yaml)",
                )
        return url

    def _first(self, method: str, path: str, headers: Mapping[str, str], body: Body) -> Response:
        """The response of the host itself: by TLS, or plain HTTP where TLS need not be verified, as Docker does."""
        transport = self._tools.transport
        if "://" in path:
            return transport.send(
                method, path, headers if self._is_here(path) else _without_authorization(headers), body
            )
        if self._scheme:
            return transport.send(method, self._url(self._scheme, path), headers, body)
        if not transport.trusts_anyone(self.host):
            self._scheme = "https"
            return transport.send(method, self._url("https", path), headers, body)
        try:
            response = transport.send(method, self._url("https", path), headers, body)
            self._scheme = "https"
        except Failure as first:
            try:
                response = transport.send(method, self._url("http", path), headers, body)
            except Failure as second:
                if first.why == second.why:
                    raise
                raise Failure(self.host, f"by HTTPS: {first.why}; by HTTP: {second.why}") from second
            self._scheme = "http"
        return response

    def _is_here(self, url: str) -> bool:
        return origin(url) == origin(self._url(self._scheme or "https", ""))

    def _url(self, scheme: str, path: str) -> str:
        url = f"{scheme}://{self.host}/v2/{self.repository}/{path}"
        if not self.namespace:
            return url
        # As containerd: a mirror of several registries learns which one is meant.
        return f"{url}{'&' if '?' in path else '?'}ns={self.namespace}"


def _without_authorization(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name != "Authorization"}


def _short(text: str) -> str:
    return failure.one_line(text, 100)
