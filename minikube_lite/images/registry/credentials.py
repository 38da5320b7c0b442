"""With what to log in: the files of `docker login`, its helpers, and documents of that form. Called by client, node.

Which entry is for which image is Kubernetes' rule (pkg/credentialprovider/keyring.go): an entry names a host, whose
parts may be globs (`*.example.com`), with the same port, and maybe a path that the repository begins with. All entries
that match are tried in turn, the more special first.
"""

from __future__ import annotations

import base64
import binascii
import fnmatch
import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from minikube_lite.images.image import unavailable
from minikube_lite.images.reference import Remote
from minikube_lite.images.registry import helper

DOCKER_HUB = "https://index.docker.io/v1/"
"""Under this name Docker keeps what it needs for docker.io."""


@dataclass(frozen=True, slots=True)
class Credential:
    """One way to show who asks."""

    username: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)
    """An OAuth 2 refresh token, from which access tokens are got; in the place of a password."""
    registry_token: str = field(default="", repr=False)
    """A bearer token that is sent as it is."""
    origin: str = ""
    """Where it was found, for messages: a path, or what the document was called."""

    def __str__(self) -> str:
        return f"`{self.username}` of {self.origin}" if self.username else f"the token of {self.origin}"


@dataclass(frozen=True, slots=True)
class Found:
    """What there is for one image."""

    credentials: tuple[Credential, ...] = ()
    """In the order to try them. With none, ask without."""
    searched: tuple[str, ...] = ()
    """Where was looked, for messages."""
    problems: tuple[str, ...] = ()
    """What could not be used. A public image needs no credentials, so it is told only when the registry refuses."""


class Place(Protocol):
    """Where credentials may be."""

    def find(self, remote: Remote) -> Found: ...


class Keychain:
    """Places to look in, one after the other."""

    def __init__(self, *places: Place) -> None:
        self._places = places

    def __add__(self, other: Keychain) -> Keychain:
        return Keychain(*self._places, *other._places)

    def find(self, remote: Remote) -> Found:
        """What there is for this image: files are read and helpers are run now. Raises nothing."""
        found = [place.find(remote) for place in self._places]
        return Found(
            tuple(dict.fromkeys(credential for each in found for credential in each.credentials)),
            tuple(dict.fromkeys(where for each in found for where in each.searched)),
            tuple(problem for each in found for problem in each.problems),
        )


def default_keychain(environment: Mapping[str, str] = os.environ) -> Keychain:
    """What `docker login` and `podman login` of this user have written, where those look for it themselves."""
    home = environment.get("HOME") or os.path.expanduser("~")
    docker = environment.get("DOCKER_CONFIG") or f"{home}/.docker"
    files = [f"{docker}/config.json", f"{environment.get('XDG_CONFIG_HOME') or f'{home}/.config'}/containers/auth.json"]
    if runtime := environment.get("XDG_RUNTIME_DIR"):
        files.insert(0, f"{runtime}/containers/auth.json")
    if given := environment.get("REGISTRY_AUTH_FILE"):
        files = [given, f"{docker}/config.json"]
    return Keychain(*(AuthFile(Path(file)) for file in files))


class AuthFile:
    """A `config.json` of Docker or an `auth.json` of containers(5). Read each time: `docker login` may come later."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def find(self, remote: Remote) -> Found:
        where = str(self._path)
        try:
            document = _object(self._path.read_bytes(), where)
            entries = _entries(_mapping(document, "auths", where), where)
            helpers, store = _mapping(document, "credHelpers", where), document.get("credsStore")
        except (FileNotFoundError, NotADirectoryError):
            return Found(searched=(where,))
        except OSError as error:
            return Found(searched=(where,), problems=(f"cannot read {where}: {error.strerror}",))
        except ValueError as error:
            return Found(searched=(where,), problems=(str(error),))
        credentials: list[Credential] = []
        problems: list[str] = []
        server = DOCKER_HUB if remote.domain == "docker.io" else remote.domain
        special = next((helpers[key] for key in (server, remote.domain) if key in helpers), "")
        for name in dict.fromkeys(name for name in (special, store) if name):
            try:
                got = helper.get(str(name), server)
            except helper.HelperError as error:
                problems.append(f"{error} (named in {where})")
                continue
            if got is not None:
                username, secret = got
                origin = f"{where} (docker-credential-{name})"
                credentials.append(
                    Credential(identity_token=secret, origin=origin)
                    if username == "<token>"
                    else Credential(username, secret, origin=origin)
                )
        credentials += _matching(entries, remote)
        return Found(tuple(credentials), (where,), tuple(problems))


class Documents:
    """Documents that came from elsewhere, as one: of all their entries the more special come first."""

    def __init__(self, entries: Iterable[tuple[str, Credential]], searched: Iterable[str]) -> None:
        self._entries, self._searched = tuple(entries), tuple(searched)

    def find(self, remote: Remote) -> Found:
        return Found(tuple(_matching(self._entries, remote)), self._searched)


def keychain_of(documents: Iterable[tuple[str, bytes]]) -> Keychain:
    """A keychain of (what it is called, document): with `auths` (.dockerconfigjson), or without around (.dockercfg).

    Raises ImageError for what is no such document: who gave it meant it to be used. Helpers are not run for it.
    """
    entries: list[tuple[str, Credential]] = []
    names: list[str] = []
    for where, data in documents:
        names.append(where)
        try:
            document = _object(data, where)
            auths = _mapping(document, "auths", where) if "auths" in document else document
            entries += _entries(auths, where)
        except ValueError as error:
            raise unavailable(f"cannot use the credentials: {error}") from error
    return Keychain(Documents(entries, names))


def _object(data: bytes, where: str) -> dict[str, Any]:
    try:
        document = json.loads(data)
    except UnicodeDecodeError as error:
        raise ValueError(f"{where} is not UTF-8") from error
    except json.JSONDecodeError as error:
        raise ValueError(f"{where}:{error.lineno}:{error.colno}: this is not JSON: {error.msg}") from error
    except RecursionError as error:
        raise ValueError(f"{where} is nested too deeply") from error
    if not isinstance(document, dict):
        raise ValueError(f"{where}: an object is expected")
    return document


def _mapping(document: Mapping[str, Any], key: str, where: str) -> Mapping[str, Any]:
    found = document.get(key)
    if found is not None and not isinstance(found, dict):
        raise ValueError(f"{where}: `{key}` must be an object")
    return found or {}


def _entries(auths: Mapping[str, Any], where: str) -> list[tuple[str, Credential]]:
    """(key, credential) of those that hold anything: with a store, Docker leaves an empty one as a mark."""
    entries = []
    for key, entry in auths.items():
        if not isinstance(entry, dict) or not all(isinstance(entry.get(word, ""), str) for word in _WORDS):
            raise ValueError(f"{where}: the entry `{key}` must be an object of texts")
        username, password = entry.get("username", ""), entry.get("password", "")
        if auth := entry.get("auth"):
            try:
                username, colon, password = base64.b64decode(auth, validate=True).decode().partition(":")
            except (binascii.Error, UnicodeDecodeError) as error:
                raise ValueError(f"{where}: `auth` of `{key}` is not base64 of `user:password`") from error
            if not colon:
                raise ValueError(f"{where}: `auth` of `{key}` is not base64 of `user:password`")
        credential = Credential(
            username,
            password.rstrip("\0"),  # old versions of Docker padded with it
            entry.get("identitytoken", ""),
            entry.get("registrytoken", ""),
            where,
        )
        if not re.fullmatch(r"[\x21-\x7e]*", credential.registry_token):
            raise ValueError(f"{where}: `registrytoken` of `{key}` cannot be sent in a header")
        if username or credential.identity_token or credential.registry_token:
            entries.append((key, credential))
    return entries


_WORDS = ("username", "password", "auth", "identitytoken", "registrytoken")


def _matching(entries: Iterable[tuple[str, Credential]], remote: Remote) -> list[Credential]:
    normal = [(_normal(key), credential) for key, credential in entries]
    # Sorted backwards a longer path comes before a shorter one and a name before a glob, as in keyring.go.
    return [credential for key, credential in sorted(normal, key=lambda e: e[0], reverse=True) if matches(key, remote)]


def _normal(key: str) -> str:
    """`host[:port][/path]` of a key in all the forms that Docker has written."""
    key = key.removeprefix("https://").removeprefix("http://")
    host, slash, path = key.partition("/")
    if slash and f"/{path}/".startswith(("/v1/", "/v2/")):
        path = path[3:]
    if host in ("index.docker.io", "registry-1.docker.io"):
        host = "docker.io"
    return f"{host}/{path}".rstrip("/")


def matches(key: str, remote: Remote) -> bool:
    """Whether an entry `host[:port][/path]` is for this image. Each part of the host is a glob of its own."""
    location, _, path = key.partition("/")
    wanted, given = urlsplit(f"//{location}"), urlsplit(f"//{remote.domain}")
    try:
        if wanted.port != given.port:
            return False
    except ValueError:
        return False
    patterns, parts = (wanted.hostname or "").split("."), (given.hostname or "").split(".")
    return (
        len(patterns) == len(parts)
        and all(fnmatch.fnmatchcase(part, pattern) for pattern, part in zip(patterns, parts, strict=True))
        and remote.repository.startswith(path)  # a plain prefix, as Go's strings.HasPrefix there
    )
