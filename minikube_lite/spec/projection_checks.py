"""Kubernetes' rules for what becomes files in a volume: items, modes, projected sources. Called by `volume_checks`.

After `validateKeyToPath`, `validateDownwardAPIVolumeFile` and `validateProjectionSources` in Kubernetes'
pkg/apis/core/validation/validation.go.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from minikube_lite.spec import names
from minikube_lite.spec.quantity import Quantity
from minikube_lite.spec.yaml import Path

Json = dict[str, Any]
Wrong = tuple[Path, str, str]

FILE_MODES = "must be a number between 0 and 0777 (octal), both inclusive"
MAX_ID = 2**31 - 1
FIELDS = ("metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid")
_SUBSCRIPT = re.compile(r"(metadata\.(?:labels|annotations))\['(.*)'\]", re.DOTALL)
_AMOUNTS = ("cpu", "memory", "ephemeral-storage")
RESOURCES = tuple(f"{kind}.{name}" for kind in ("limits", "requests") for name in _AMOUNTS)
_SUFFIXES = ("", *"kMGTPE", *(f"{letter}i" for letter in "KMGTPE"))
_DIVISORS = {"cpu": ("1m", "1"), "memory": tuple(f"1{suffix}" for suffix in _SUFFIXES)}


def check_mode(source: Json, field: str, path: Path, most: int = 0o777) -> Iterator[Wrong]:
    """A mode, in whichever base it was written."""
    mode = source.get(field)
    if mode is not None and not 0 <= mode <= most:
        words = FILE_MODES if most == 0o777 else f"must be a number between 0 and {most:04o} (octal), both inclusive"
        hint = f"{mode} is {mode:o} in octal: write 0{mode}" if set(str(mode)) <= set("01234567") else ""
        yield (*path, field), f"Invalid value: {mode}: {words}", hint
    user = "user" if field == "mode" else "defaultUser"
    if (owner := source.get(user)) is not None and not 0 <= owner <= MAX_ID:
        yield (*path, user), f"Invalid value: {owner}: must be between 0 and {MAX_ID}, inclusive", ""


def check_file_path(value: str, path: Path) -> Iterator[Wrong]:
    """A file in the volume: `validateLocalNonReservedPath`."""
    if not value:
        yield path, "Required value", ""
    elif value.startswith("/"):
        yield path, f'Invalid value: "{value}": must be a relative path', ""
    elif ".." in value.split("/"):
        yield path, f"Invalid value: \"{value}\": must not contain '..'", ""
    elif value.startswith(".."):
        yield path, f"Invalid value: \"{value}\": must not start with '..'", "such names are those of the volume's own"
    elif "\0" in value:
        yield path, "Invalid value: holds a NUL character, which no path can", ""
    elif any(len(part.encode()) > 255 for part in value.split("/")) or len(value.encode()) > 4095:
        yield path, "Too long: no part of a path may have more than 255 bytes, nor all of it more than 4095", ""


def check_items(items: Sequence[Json], path: Path) -> Iterator[Wrong]:
    """`items` of a ConfigMap or Secret."""
    for number, item in enumerate(items):
        here = (*path, "items", number)
        if not item["key"]:
            yield (*here, "key"), "Required value", ""
        yield from check_file_path(item["path"], (*here, "path"))
        yield from check_mode(item, "mode", here)


def check_downward_api(source: Json, path: Path, containers: Mapping[str, Json]) -> Iterator[Wrong]:
    """`items` of a downwardAPI volume or projection."""
    for number, item in enumerate(source.get("items") or ()):
        here = (*path, "items", number)
        yield from check_file_path(item["path"], (*here, "path"))
        yield from check_mode(item, "mode", here)
        field, resource = item.get("fieldRef"), item.get("resourceFieldRef")
        if field is not None and resource is not None:
            yield here, "Invalid value: fieldRef and resourceFieldRef can not be specified simultaneously", ""
        elif field is not None:
            yield from _field_ref(field, (*here, "fieldRef"))
        elif resource is not None:
            yield from _resource_field_ref(resource, (*here, "resourceFieldRef"), containers)
        else:
            yield here, "Required value: one of fieldRef and resourceFieldRef is required", ""


def _field_ref(ref: Json, path: Path) -> Iterator[Wrong]:
    given, here = ref["fieldPath"], (*path, "fieldPath")
    match = _SUBSCRIPT.fullmatch(given)
    if match is not None:
        key = match[2] if match[1].endswith("labels") else match[2].lower()
        if wrong := names.qualified_name(key):
            yield here, f'Invalid value: "{match[2]}": {wrong}', ""
    elif not given:
        yield here, "Required value", ""
    elif given not in FIELDS:
        allowed = ", ".join(f'"{name}"' for name in FIELDS)
        hint = "spec and status are for env only" if given.startswith(("spec.", "status.")) else ""
        yield here, f'Unsupported value: "{given}": supported values: {allowed}', hint


def _resource_field_ref(ref: Json, path: Path, containers: Mapping[str, Json]) -> Iterator[Wrong]:
    name, resource = ref.get("containerName"), ref["resource"]
    if not name:
        yield (*path, "containerName"), "Required value", "a volume belongs to no container: say whose limits are meant"
    elif name not in containers:
        yield (*path, "containerName"), f'Not found: "{name}"', f"the pod's containers: {', '.join(containers)}"
    if resource not in RESOURCES and not re.fullmatch(r"(limits|requests)\.hugepages-.+", resource):
        allowed = ", ".join(f'"{word}"' for word in RESOURCES)
        yield (*path, "resource"), f'Unsupported value: "{resource}": supported values: {allowed}', ""
        return
    divisor = ref.get("divisor")
    kind = resource.partition(".")[2]
    allowed_divisors = _DIVISORS.get(kind, _DIVISORS["memory"])
    if divisor is not None and Quantity.parse(divisor).nanos != 0 and str(divisor) not in allowed_divisors:
        words = f"{', '.join(allowed_divisors[:-1])} and {allowed_divisors[-1]}"
        message = f'Invalid value: "{divisor}": only divisor\'s values {words} are supported with the {kind} resource'
        yield (*path, "divisor"), message, ""


def check_projected(source: Json, path: Path, containers: Mapping[str, Json]) -> Iterator[Wrong]:
    """Every source on its own, then whether two of them write one path."""
    yield from check_mode(source, "defaultMode", path)
    written: dict[str, str] = {}
    for number, projection in enumerate(source.get("sources") or ()):
        here = (*path, "sources", number)
        kinds = list(projection)
        for extra in kinds[1:]:
            yield (*here, extra), "Forbidden: may not specify more than 1 volume type", "begin a new `- `"
        if not kinds:
            yield here, "Required value: a source is configMap, secret or downwardAPI", ""
        if len(kinds) != 1:
            continue
        kind = kinds[0]
        inner, inside = projection[kind], (*here, kind)
        if kind == "downwardAPI":
            yield from check_downward_api(inner, inside, containers)
        elif kind in ("configMap", "secret"):
            if not inner.get("name"):
                yield (*inside, "name"), "Required value", ""
            yield from check_items(inner.get("items") or (), inside)
        who = f"sources[{number}] ({kind} {inner['name']})" if inner.get("name") else f"sources[{number}] ({kind})"
        for index, item in enumerate(inner.get("items") or ()):
            target = item["path"]
            if target and target in written:
                message = f'Invalid value: "{target}": conflicting duplicate paths: {written[target]} writes it too'
                yield (*inside, "items", index, "path"), message, ""
            written.setdefault(target, who)
