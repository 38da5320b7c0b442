"""Turns a credential and a server's challenge into an Authorization header; keeps the tokens. Called by endpoint.

Bearer tokens as distribution/docs/spec/auth has them: got by GET with a user name and password or without, by POST
(OAuth 2) with a refresh token. Shared by all endpoints and threads; a token belongs to the credential it was got with.
"""

from __future__ import annotations

import base64
import json
import re
import threading
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from minikube_lite.images.registry import failure
from minikube_lite.images.registry.challenge import Challenge
from minikube_lite.images.registry.credentials import Credential
from minikube_lite.images.registry.failure import Failure
from minikube_lite.images.registry.transport import Response, Transport
from minikube_lite.images.registry.urls import resolve

LIFETIME = 60
"""Seconds that a token is good for where the answer names none (distribution/docs/spec/auth/token.md)."""
EARLY = 10
"""Seconds before its end from which on a token is not used any more; less for those that live shortly."""
LIMIT = 1 << 20
"""Bytes that a token's answer may have."""


@dataclass(frozen=True, slots=True)
class _Key:
    """What one token is for."""

    host: str
    scopes: frozenset[str]
    credential: Credential | None


@dataclass(slots=True)
class _Token:
    """One that was got, or is being got."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    """Held by who gets it: of many threads that want one, one asks."""
    text: str = ""
    until: float = 0


class Authority:
    """What is known of who may ask what. `host` is always the endpoint's `host[:port]`."""

    def __init__(self, transport: Transport, clock: Callable[[], float]) -> None:
        self._transport = transport
        self._clock = clock
        self._lock = threading.Lock()
        self._basic: set[str] = set()
        """Hosts that asked for Basic."""
        self._tokens: dict[_Key, _Token] = {}
        self._refreshed: dict[Credential, str] = {}
        """The refresh token that a server gave in the place of the credential's."""

    def header(self, host: str, credential: Credential | None, scopes: frozenset[str]) -> str:
        """What to send at once, by what earlier challenges said; "" to wait for a challenge."""
        if credential is not None and credential.registry_token:
            return f"Bearer {credential.registry_token}"
        if host in self._basic:
            return _basic(credential) if credential is not None and credential.username else ""
        token = self._tokens.get(_Key(host, scopes, credential))
        return f"Bearer {token.text}" if token and token.until > self._clock() else ""

    def answer(
        self,
        response: Response,
        challenges: tuple[Challenge, ...],
        credential: Credential | None,
        scopes: frozenset[str],
        sent: str,
    ) -> str:
        """The header that answers a 401; "" where there is none but what was `sent`. Raises Failure."""
        bearer = next((c for c in challenges if c.scheme == "bearer" and c.parameters.get("realm")), None)
        if bearer is not None:
            return self._bearer(response, bearer, credential, scopes, sent)
        if any(c.scheme == "basic" for c in challenges) and credential is not None and credential.username:
            self._basic.add(response.host)
            header = _basic(credential)
            return header if header != sent else ""
        return ""

    def _bearer(
        self, response: Response, challenge: Challenge, credential: Credential | None, scopes: frozenset[str], sent: str
    ) -> str:
        self._basic.discard(response.host)
        if credential is not None and credential.registry_token:
            return ""
        now = self._clock()
        with self._lock:
            for key in [key for key, token in self._tokens.items() if token.until <= now and not token.lock.locked()]:
                del self._tokens[key]
            token = self._tokens.setdefault(_Key(response.host, scopes, credential), _Token())
        with token.lock:
            if not token.text or f"Bearer {token.text}" == sent or token.until <= now:
                asked = merge((*scopes, *challenge.parameters.get("scope", "").split()))
                token.text, lifetime = self._fetch(response, challenge, credential, asked)
                token.until = self._clock() + max(lifetime - EARLY, lifetime / 2)
            header = f"Bearer {token.text}"
        return header if header != sent else ""

    def _fetch(
        self, response: Response, challenge: Challenge, credential: Credential | None, scopes: list[str]
    ) -> tuple[str, float]:
        """(token, seconds that it lives)."""
        realm = self._realm(response, challenge.parameters["realm"], credential)
        service = challenge.parameters.get("service", "")
        host, what = urlsplit(realm).netloc, "a token"
        headers = {"Accept": "application/json"}
        if credential is not None and credential.identity_token:
            form = {
                "grant_type": "refresh_token",
                "service": service,
                "client_id": "minikube-lite",
                "scope": " ".join(scopes),
                "refresh_token": self._refreshed.get(credential, credential.identity_token),
            }
            headers["Content-Type"] = "application/x-www-form-urlencoded"
            answer = self._transport.send("POST", realm, headers, urlencode(form).encode())
        else:
            if credential is not None:
                headers["Authorization"] = _basic(credential)
            parts = urlsplit(realm)
            query = [*parse_qsl(parts.query), *([("service", service)] if service else [])]
            query += [("scope", scope) for scope in scopes]
            answer = self._transport.send("GET", urlunsplit(parts._replace(query=urlencode(query))), headers)
        with closing(answer):
            data = answer.body(what, LIMIT)
        if answer.status != 200:
            raise failure.of_status(host, what, answer.status, answer.headers, data)
        if failure.looks_like_html(answer.headers, data):
            raise failure.html(host, what)
        try:
            found = json.loads(data)
            token = str(found.get("token") or found["access_token"])
            lifetime = float(found.get("expires_in") or LIFETIME)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise Failure(host, "its answer to the question for a token holds none") from error
        if not re.fullmatch(r"[\x21-\x7e]+", token):
            raise Failure(host, "the token that it gives cannot be sent in a header")
        if credential is not None and found.get("refresh_token"):
            self._refreshed[credential] = str(found["refresh_token"])
        return token, lifetime

    def _realm(self, response: Response, named: str, credential: Credential | None) -> str:
        """A registry names who is to be told the password: at the least, nobody else may read it on the way."""
        realm = resolve(response.url, named)
        if not realm:
            raise Failure(response.host, f"the realm it names for tokens is not a URL: `{failure.one_line(named, 80)}`")
        parts = urlsplit(realm)
        if parts.scheme == "http" and credential is not None and not self._transport.trusts_anyone(parts.netloc):
            raise Failure(
                response.host,
                f"it wants the credentials to go to `{parts.netloc}` by plain HTTP "
                "(hint: if that is meant, say `insecure: true` of that host in registries.yaml)",
            )
        return realm


def merge(scopes: Iterable[str]) -> list[str]:
    """Scopes `type:name:action,action` with one entry for each type and name, sorted."""
    actions: dict[str, set[str]] = {}
    for scope in scopes:
        name, _, words = scope.rpartition(":")
        actions.setdefault(name, set()).update(words.split(","))
    return [f"{name}:{','.join(sorted(words))}" for name, words in sorted(actions.items())]


def _basic(credential: Credential) -> str:
    return "Basic " + base64.b64encode(f"{credential.username}:{credential.password}".encode()).decode()
