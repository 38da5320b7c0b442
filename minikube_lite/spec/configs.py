"""One ConfigMap or Secret document → a checked value, or all that is wrong with it. Called by `spec.manifest`.

Rules and words are those of Kubernetes' own validation (pkg/apis/core/validation/validation.go, ValidateConfigMap and
ValidateSecret). What a Secret holds is in no message and no `repr`.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, cast

from minikube_lite.spec import names
from minikube_lite.spec.checks import check_metadata
from minikube_lite.spec.fields import parse_type
from minikube_lite.spec.problems import Problem
from minikube_lite.spec.view import View
from minikube_lite.spec.walk import Findings, walk
from minikube_lite.spec.yaml import Path, RawDocument

if TYPE_CHECKING:
    from minikube_lite.spec.objects import ObjectMeta

ConfigKind = Literal["ConfigMap", "Secret"]

MAX_BYTES = 1 << 20
"""Of all values of one object together (core.MaxSecretSize)."""
OPAQUE = "Opaque"
_BASE64 = re.compile(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_NOT_BASE64 = re.compile(r"[^A-Za-z0-9+/]")


@dataclass(frozen=True, slots=True)
class Config:
    """A ConfigMap or a Secret. Equal to another where all that was written is equal."""

    kind: ConfigKind
    namespace: str
    name: str
    data: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    """Key → value. Of a ConfigMap both `data` and `binaryData`, of a Secret `data` with `stringData` over it."""
    binary: frozenset[str] = frozenset()
    """Of a ConfigMap, the keys that stand in `binaryData`."""
    type: str = ""
    """Of a Secret."""
    immutable: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def key(self) -> str:
        """`namespace/name`."""
        return f"{self.namespace}/{self.name}"

    @property
    def id(self) -> str:
        """As `Document.id` has it: `Secret/default/keys`."""
        return f"{self.kind}/{self.key}"

    def to_json(self) -> dict[str, Any]:
        """The object as an API server gives it out: a Secret's values in base64, `stringData` among them."""
        metadata: dict[str, Any] = {"name": self.name, "namespace": self.namespace}
        for part in ("labels", "annotations"):
            if getattr(self, part):
                metadata[part] = dict(getattr(self, part))
        shown: dict[str, Any] = {"apiVersion": "v1", "kind": self.kind, "metadata": metadata}
        encoded = self.data if self.kind == "Secret" else {key: self.data[key] for key in self.binary}
        plain = {key: value for key, value in self.data.items() if key not in encoded}
        if plain:
            shown["data"] = {key: plain[key].decode("utf-8", "replace") for key in sorted(plain)}
        if encoded:
            name = "data" if self.kind == "Secret" else "binaryData"
            shown[name] = {key: base64.b64encode(encoded[key]).decode() for key in sorted(encoded)}
        if self.kind == "Secret":
            shown["type"] = self.type
        if self.immutable:
            shown["immutable"] = True
        return shown


@dataclass(frozen=True, slots=True)
class ConfigResult:
    """`config` is None where there are problems."""

    config: Config | None
    problems: tuple[Problem, ...] = ()
    ignored: tuple[str, ...] = ()


def read_config(document: RawDocument, raw: dict[str, Any], prefix: Path, default_namespace: str) -> ConfigResult:
    """Read the ConfigMap or Secret at `prefix` of a document. Problems carry the place of the field."""
    kind = cast(ConfigKind, raw["kind"])
    findings = Findings()
    clean = walk(raw, parse_type(kind), (), findings)
    if findings.problems:
        return ConfigResult(None, _placed(document, prefix, findings))
    metadata = {**clean["metadata"], "namespace": clean["metadata"].get("namespace") or default_namespace}
    meta = cast("ObjectMeta", View("ObjectMeta", metadata))
    for path, message, hint in check_metadata(meta):
        findings.problem(path, message, hint)
    data = _data(clean, kind, findings)
    _check_data(clean, data, findings)
    if kind == "Secret":
        _check_type(clean.get("type", ""), data, meta, findings)
    if findings.problems:
        return ConfigResult(None, _placed(document, prefix, findings))
    config = Config(
        kind,
        meta.namespace,
        meta.name,
        data,
        frozenset(clean.get("binaryData", ())),
        (clean.get("type") or OPAQUE) if kind == "Secret" else "",
        clean.get("immutable", False),
        dict(meta.labels),
        dict(meta.annotations),
    )
    return ConfigResult(config, (), tuple(findings.ignored))


def _placed(document: RawDocument, prefix: Path, findings: Findings) -> tuple[Problem, ...]:
    return tuple(
        document.problem(message, prefix + path, key=key, hint=hint) for path, key, message, hint in findings.problems
    )


def _data(clean: Mapping[str, Any], kind: ConfigKind, findings: Findings) -> dict[str, bytes]:
    """All values as bytes; a Secret's `stringData` wins over its `data`."""
    plain, encoded = ("stringData", "data") if kind == "Secret" else ("data", "binaryData")
    values: dict[str, bytes] = {}
    for key, text in clean.get(encoded, {}).items():
        text = text.replace("\n", "").replace("\r", "")  # Go's decoder passes over line ends (encoding/base64)
        if _BASE64.fullmatch(text):
            values[key] = base64.b64decode(text)
        else:
            message = f"illegal base64 data at input byte {_fault(text)}"
            hint = "plain text goes into `stringData`" if kind == "Secret" else "plain text goes into `data`"
            findings.problem((encoded, key), message, hint)
            values[key] = b""
    for key, text in clean.get(plain, {}).items():
        values[key] = _LONE_SURROGATE.sub("\ufffd", text).encode()  # as Go reads JSON
    return values


def _fault(text: str) -> int:
    """Where it ceases to be base64: the first character that is none, or the end of what breaks off."""
    body = text.rstrip("=")
    found = _NOT_BASE64.search(body)
    return len(body) if found is None else found.start()


def _check_data(clean: Mapping[str, Any], data: Mapping[str, bytes], findings: Findings) -> None:
    for part in ("data", "binaryData", "stringData"):
        for key in clean.get(part, {}):
            if wrong := names.config_key(key):
                findings.problem((part, key), f'Invalid value: "{key}": {wrong}', key=True)
    for key in clean.get("binaryData", {}):
        if key in clean.get("data", {}):
            findings.problem(("data", key), f'Invalid value: "{key}": duplicate of key present in binaryData', key=True)
    size = sum(map(len, data.values()))
    if size > MAX_BYTES:
        hint = f"it has {size}"
        findings.problem(("data",), f"Too long: may not be more than {MAX_BYTES} bytes", hint, key=True)


def _check_type(type_: str, data: Mapping[str, bytes], meta: ObjectMeta, findings: Findings) -> None:
    """What the known types of Secrets must hold."""
    for keys in _REQUIRED.get(type_, ()):
        if not any(key in data for key in keys):
            for key in keys:
                findings.problem(("data", key), "Required value", f"a Secret of type {type_} has it")
    if type_ == "kubernetes.io/ssh-auth" and data.get("ssh-privatekey") == b"":
        findings.problem(("data", "ssh-privatekey"), "Required value", f"a Secret of type {type_} has it")
    if type_ == "kubernetes.io/service-account-token" and not meta.annotations.get(_ACCOUNT):
        findings.problem(("metadata", "annotations", _ACCOUNT), "Required value")
    key = _DOCKER.get(type_, "")
    if key in data and not _is_json_object(data[key]):
        message = 'Invalid value: "<secret contents redacted>": it is not a JSON object'
        findings.problem(("data", key), message, "`docker login` writes one, to ~/.docker/config.json")


_ACCOUNT = "kubernetes.io/service-account.name"
_DOCKER = {"kubernetes.io/dockercfg": ".dockercfg", "kubernetes.io/dockerconfigjson": ".dockerconfigjson"}
_REQUIRED: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "kubernetes.io/dockercfg": ((".dockercfg",),),
    "kubernetes.io/dockerconfigjson": ((".dockerconfigjson",),),
    "kubernetes.io/basic-auth": (("username", "password"),),
    "kubernetes.io/ssh-auth": (("ssh-privatekey",),),
    "kubernetes.io/tls": (("tls.crt",), ("tls.key",)),
}
"""Secret type → of each of these groups of keys, one at the least must be there."""


def _is_json_object(value: bytes) -> bool:
    try:
        return isinstance(json.loads(value), dict)
    except (ValueError, RecursionError):
        return False


def forbidden_changes(old: Config, new: Config) -> list[tuple[str, str]]:
    """(field, message) of what an update would change that may not change (ValidateConfigMapUpdate and its twin)."""
    words = "field is immutable when `immutable` is set"
    wrong = []
    if old.immutable:
        if not new.immutable:
            wrong.append(("immutable", f"Forbidden: {words}"))
        for part, binary in (("data", False), ("binaryData", True)):
            if _part(old, binary) != _part(new, binary):
                wrong.append((part, f"Forbidden: {words}"))
    if old.type != new.type:
        wrong.append(("type", f'Invalid value: "{new.type}": field is immutable'))
    return wrong


def _part(config: Config, binary: bool) -> dict[str, bytes]:
    return {key: value for key, value in config.data.items() if (key in config.binary) == binary}
