"""The rules for `env[].valueFrom` and `envFrom`, of a container as plain data. Called by `spec.pods`; imports no model.

Rules and words are those of validateEnvVarValueFrom and ValidateEnvFrom (pkg/apis/core/validation/validation.go).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from minikube_lite.spec import names
from minikube_lite.spec.quantity import Quantity
from minikube_lite.spec.yaml import Path

Wrong = tuple[Path, str, str]
"""(path, message, hint)."""

FIELDS = (
    "metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName",
    "status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs",
)  # fmt: skip
RESOURCES = tuple(
    f"{kind}.{name}" for kind in ("limits", "requests") for name in ("cpu", "ephemeral-storage", "memory")
)
_BYTES = ("1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei")
DIVISORS: Mapping[str, tuple[str, ...]] = {"cpu": ("1m", "1"), "memory": _BYTES, "ephemeral-storage": _BYTES}
SUBSCRIPTED = re.compile(r"(metadata\.(?:labels|annotations))\['(.*)'\]", re.DOTALL)
"""`metadata.labels['app']` (fieldpath.SplitMaybeSubscriptedPath)."""


def check_environment(container: Mapping[str, Any], path: Path) -> Iterator[Wrong]:
    """Everything wrong with `env[].valueFrom` and `envFrom` of a container whose fields are known and of their type."""
    for number, variable in enumerate(container.get("env", ())):
        if (source := variable.get("valueFrom")) is not None:
            yield from _value_from(source, variable.get("value", ""), (*path, "env", number, "valueFrom"))
    for number, source in enumerate(container.get("envFrom", ())):
        yield from _env_from(source, (*path, "envFrom", number))


def _value_from(source: Mapping[str, Any], value: str, path: Path) -> Iterator[Wrong]:
    if not source:
        words = "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`"
        yield path, f'Invalid value: "": {words}', ""
    elif value:
        yield path, 'Invalid value: "": may not be specified when `value` is not empty', ""
    elif len(source) > 1:
        yield path, 'Invalid value: "": may not have more than one field specified at a time', ""
    for name in ("configMapKeyRef", "secretKeyRef"):
        if name in source:
            yield from _name(source[name], (*path, name))
            yield from _key(source[name].get("key", ""), (*path, name, "key"))
    if "fieldRef" in source:
        yield from check_field(source["fieldRef"]["fieldPath"], FIELDS, (*path, "fieldRef", "fieldPath"))
    if "resourceFieldRef" in source:
        yield from check_resource(source["resourceFieldRef"], (*path, "resourceFieldRef"))


def _env_from(source: Mapping[str, Any], path: Path) -> Iterator[Wrong]:
    if (prefix := source.get("prefix", "")) and (wrong := names.env_name(prefix)):
        yield (*path, "prefix"), f'Invalid value: "{prefix}": {wrong}', ""
    given = [name for name in ("configMapRef", "secretRef") if name in source]
    if not given:
        yield path, 'Invalid value: "": must specify one of: `configMapRef` or `secretRef`', ""
    elif len(given) > 1:
        yield path, 'Invalid value: "": may not have more than one field specified at a time', ""
    for name in given:
        yield from _name(source[name], (*path, name))


def _name(reference: Mapping[str, Any], path: Path) -> Iterator[Wrong]:
    name = reference.get("name", "")
    if not name:
        yield (*path, "name"), "Required value", ""
    elif wrong := names.dns_subdomain(name):
        yield (*path, "name"), f'Invalid value: "{name}": {wrong}', ""


def _key(key: str, path: Path) -> Iterator[Wrong]:
    if not key:
        yield path, "Required value", ""
    elif wrong := names.config_key(key):
        yield path, f'Invalid value: "{key}": {wrong}', ""


def check_field(field: str, allowed: tuple[str, ...], path: Path) -> Iterator[Wrong]:
    """What is wrong with a `fieldPath`; `allowed` besides one label or annotation (validateObjectFieldSelector)."""
    if subscripted := SUBSCRIPTED.fullmatch(field):
        key = subscripted[2].lower() if subscripted[1].endswith("annotations") else subscripted[2]
        if wrong := names.qualified_name(key):
            yield path, f'Invalid value: "{subscripted[2]}": {wrong}', ""
    elif not field:
        yield path, "Required value", ""
    elif field not in allowed:
        words = ", ".join(f'"{name}"' for name in allowed)
        hint = ""
        if field in ("metadata.labels", "metadata.annotations"):
            hint = f"one of them is `{field}['KEY']`"
        yield path, f'Unsupported value: "{field}": supported values: {words}', hint


def check_resource(source: Mapping[str, Any], path: Path) -> Iterator[Wrong]:
    """What is wrong with a `resourceFieldRef` (validateContainerResourceFieldSelector)."""
    resource = source.get("resource", "")
    if not resource:
        yield (*path, "resource"), "Required value", ""
        return
    name = resource.partition(".")[2]
    if resource not in RESOURCES and not re.fullmatch(r"(limits|requests)\.hugepages-.+", resource):
        words = ", ".join(f'"{known}"' for known in RESOURCES)
        yield (*path, "resource"), f'Unsupported value: "{resource}": supported values: {words}', ""
        return
    divisor = Quantity(source.get("divisor", "0"))
    allowed = DIVISORS.get(name, _BYTES)
    if divisor and divisor not in map(Quantity, allowed):
        words = f"only divisor's values {', '.join(allowed)} are supported with the {name} resource"
        yield (*path, "divisor"), f'Invalid value: "{name}": {words}', ""
