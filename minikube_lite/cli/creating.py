"""`create configmap` and `create secret`: what the options say → the object. Called by commands.create.

Words and rules are kubectl's (k8s.io/kubectl/pkg/cmd/create, and pkg/util for the sources). Only files that were named
are read; of what is to be in a Secret nothing is in a message.
"""

from __future__ import annotations

import base64
import os
import re
import stat

from minikube_lite.cli.errors import CliError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any

    Json = dict[str, Any]
    Add = Callable[[str, bytes], None]

DOCKER_HUB = "https://index.docker.io/v1/"
KEY_RULE = (
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or "
    "'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"
)
VARIABLE_RULE = (
    "a valid environment variable name must consist of alphabetic characters, digits, '_', '-', or '.', and must not "
    "start with a digit (e.g. 'my.env-name',  or 'MY_ENV.NAME',  or 'MyEnvName1', regex used for validation is "
    "'[-._a-zA-Z][-._a-zA-Z0-9]*')"
)
_VARIABLE = re.compile(r"[-._a-zA-Z][-._a-zA-Z0-9]*")


def config_map(name: str, namespace: str, files: Sequence[str], literals: Sequence[str], envs: Sequence[str]) -> Json:
    """A ConfigMap as kubectl would send it; `namespace` "" where none was asked for. Raises CliError."""
    plain: dict[str, str] = {}
    binary: dict[str, str] = {}

    def add(key: str, value: bytes) -> None:
        if wrong := _key_problem(key):
            raise CliError(f'"{key}" is not a valid key name for a ConfigMap: {wrong}')
        if key in plain or key in binary:
            message = f'cannot add key "{key}", another key by that name already exists in Data for ConfigMap "{name}"'
            raise CliError(message)
        try:
            plain[key] = value.decode()
        except UnicodeDecodeError:
            binary[key] = base64.b64encode(value).decode()

    _gather(add, files, literals, envs)
    made: Json = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": _metadata(name, namespace)}
    return made | ({"data": plain} if plain else {}) | ({"binaryData": binary} if binary else {})


def secret(
    name: str, namespace: str, type_: str, files: Sequence[str], literals: Sequence[str], envs: Sequence[str]
) -> Json:
    """A Secret likewise; `type_` "" leaves it to the node."""
    data: dict[str, str] = {}

    def add(key: str, value: bytes) -> None:
        if wrong := _key_problem(key):
            raise CliError(f'"{key}" is not valid key name for a Secret {wrong}')
        if key in data:
            raise CliError(f"cannot add key {key}, another key by that name already exists")
        data[key] = base64.b64encode(value).decode()

    _gather(add, files, literals, envs)
    made: Json = {"apiVersion": "v1", "kind": "Secret", "metadata": _metadata(name, namespace)}
    return made | ({"data": data} if data else {}) | ({"type": type_} if type_ else {})


def docker_secret(
    name: str, namespace: str, server: str, username: str, password: str, email: str, files: Sequence[str]
) -> Json:
    """What images are pulled with: from a file that `docker login` wrote, or from a name and a password."""
    type_ = "kubernetes.io/dockerconfigjson"
    if files:
        named = [file if "=" in file else f".dockerconfigjson={file}" for file in files]
        return secret(name, namespace, type_, named, (), ())
    if not (username and password and server):
        raise CliError(
            "either --from-file or the combination of --docker-username, --docker-password and --docker-server is "
            "required"
        )
    import json

    auth = base64.b64encode(f"{username}:{password}".encode()).decode()
    entry = {"username": username, "password": password} | ({"email": email} if email else {}) | {"auth": auth}
    text = json.dumps({"auths": {server: entry}}, separators=(",", ":"), ensure_ascii=False)
    made = secret(name, namespace, type_, (), (), ())
    return _with_data(made, {".dockerconfigjson": text.encode()})


def tls_secret(name: str, namespace: str, cert: str, key: str) -> Json:
    """A certificate with its key, which must fit."""
    if not key or not cert:
        raise CliError("key and cert must be specified")
    contents = {"tls.crt": _read(cert), "tls.key": _read(key)}
    import ssl

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert, key, password="")
    except ssl.SSLError as error:
        why = (error.reason or "they cannot be read").lower().replace("_", " ")
        raise CliError(f"tls: {cert} and {key} are not a certificate and its key in PEM: {why}") from None
    return _with_data(secret(name, namespace, "kubernetes.io/tls", (), (), ()), contents)


def _with_data(made: Json, contents: dict[str, bytes]) -> Json:
    return made | {"data": {key: base64.b64encode(value).decode() for key, value in contents.items()}}


def _metadata(name: str, namespace: str) -> Json:
    return {"creationTimestamp": None, "name": name} | ({"namespace": namespace} if namespace else {})


def _key_problem(key: str) -> str:
    from minikube_lite.spec.names import config_key

    wrong = config_key(key)
    return KEY_RULE if wrong.startswith("a valid config key") else wrong


def _gather(add: Add, files: Sequence[str], literals: Sequence[str], envs: Sequence[str]) -> None:
    if envs and (files or literals):
        raise CliError("from-env-file cannot be combined with from-file or from-literal")
    for source in files:
        for key, path in _named(source):
            add(key, _read(path))
    for literal in literals:
        key, equals, value = literal.partition("=")
        if not equals or not key:
            shown = literal if not equals else f"={'…' if value else ''}"  # what follows may be a password
            raise CliError(f"invalid literal source {shown}, expected key=value")
        add(key, os.fsencode(value))
    for path in envs:
        for key, line in _env_file(path):
            add(key, line)


def _named(source: str) -> Iterator[tuple[str, str]]:
    """`path`, `key=path`, or a directory: every regular file in it, named by itself."""
    key, equals, path = source.partition("=")
    if "=" in path:
        raise CliError("key names or file paths cannot contain '='")
    if equals and not key:
        raise CliError(f"key name for file path {path} missing")
    if equals and not path:
        raise CliError(f"file path for key name {key} missing")
    if not equals:
        key, path = os.path.basename(source.rstrip("/")), source
    try:
        is_directory = stat.S_ISDIR(os.stat(path).st_mode)
    except OSError as error:
        raise _unreadable(path, error) from None
    if not is_directory:
        yield key, path
        return
    if equals:
        raise CliError("cannot give a key name for a directory path")
    try:
        entries = sorted(os.scandir(path), key=lambda entry: entry.name)
    except OSError as error:
        raise CliError(f"error listing files in {path}: {(error.strerror or '').lower()}") from None
    for entry in entries:
        if entry.is_file(follow_symlinks=False):
            yield entry.name, os.path.join(path, entry.name)


def _env_file(path: str) -> Iterator[tuple[str, bytes]]:
    """Lines `KEY=value`, taken as they stand; a `KEY` alone is this process' own variable."""
    if os.path.isdir(path):
        raise CliError("env config file cannot be a directory")
    for number, line in enumerate(_read(path).split(b"\n"), 1):
        if number == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")
        try:
            text = line.removesuffix(b"\r").decode().lstrip()
        except UnicodeDecodeError:
            raise CliError(f"env file {path} contains invalid utf8 bytes at line {number}") from None
        if not text or text.startswith("#"):
            continue
        key, equals, value = text.partition("=")
        if not _VARIABLE.fullmatch(key):
            raise CliError(f'"{key}" is not a valid key name: {VARIABLE_RULE}')
        yield key, (value if equals else os.environ.get(key, "")).encode("utf-8", "surrogateescape")


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise _unreadable(path, error) from None


def _unreadable(path: str, error: OSError) -> CliError:
    return CliError(f"error reading {path}: {(error.strerror or '').lower()}")
