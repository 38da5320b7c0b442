"""Kubernetes' rules for volumes and mounts of them. Called by `spec.pods` on a clean document (see `spec.walk`).

Words are those of Kubernetes' own validation (pkg/apis/core/validation/validation.go: `ValidateVolumes`,
`ValidateVolumeMounts`). What it leaves to the container runtime to refuse is refused here, before anything is made.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping
from typing import Any

from minikube_lite.spec import names
from minikube_lite.spec.claim_checks import check_claim_spec
from minikube_lite.spec.projection_checks import check_downward_api, check_items, check_mode, check_projected
from minikube_lite.spec.quantity import Quantity
from minikube_lite.spec.yaml import Path, template_in

Json = dict[str, Any]
Wrong = tuple[Path, str, str]
"""(path, message, hint)."""

MOUNT_OPTIONS = ("noexec", "nodev", "nosuid")


def check_volumes(pod: Json) -> Iterator[Wrong]:
    """Everything wrong with a pod's volumes and mounts."""
    spec = pod["spec"]
    volumes: list[Json] = spec.get("volumes") or []
    containers = {entry.get("name"): entry for entry in spec.get("containers") or ()}
    seen: set[str] = set()
    for number, volume in enumerate(volumes):
        path: Path = ("spec", "volumes", number)
        yield from _name(volume["name"], (*path, "name"), seen)
        yield from _source(volume, path, containers, pod)
    for group in ("initContainers", "containers"):
        for number, container in enumerate(spec.get(group) or ()):
            yield from _mounts(container, ("spec", group, number), {volume["name"]: volume for volume in volumes})


def _name(name: str, path: Path, seen: set[str]) -> Iterator[Wrong]:
    if not name:
        yield path, "Required value", ""
    elif wrong := names.dns_label(name):
        yield path, f'Invalid value: "{name}": {wrong}', ""
    elif name in seen:
        yield path, f'Duplicate value: "{name}"', "each volume needs a name of its own"
    seen.add(name)


def _source(volume: Json, path: Path, containers: Mapping[str, Json], pod: Json) -> Iterator[Wrong]:
    sources = [name for name in volume if name != "name"]
    for extra in sources[1:]:
        yield (*path, extra), f"Forbidden: may not specify more than 1 volume type, and {sources[0]} is one", ""
    if len(sources) != 1:
        return
    kind = sources[0]
    source, here = volume[kind], (*path, kind)
    match kind:
        case "emptyDir":
            yield from _empty_dir(source, here)
        case "hostPath":
            yield from _host_path(source, here)
        case "configMap" | "secret":
            name = "name" if kind == "configMap" else "secretName"
            if not source.get(name):
                yield (*here, name), "Required value", ""
            yield from check_mode(source, "defaultMode", here)
            yield from check_items(source.get("items") or (), here)
        case "downwardAPI":
            yield from check_mode(source, "defaultMode", here)
            yield from check_downward_api(source, here, containers)
        case "projected":
            yield from check_projected(source, here, containers)
        case "persistentVolumeClaim":
            if not source["claimName"]:
                yield (*here, "claimName"), "Required value", ""
        case "ephemeral":
            yield from _ephemeral(volume, here, pod)
        case "image":
            if not source.get("reference"):
                yield (*here, "reference"), "Required value", ""


def _empty_dir(source: Json, path: Path) -> Iterator[Wrong]:
    medium = source.get("medium") or ""
    if medium.startswith("HugePages"):
        message = f'Invalid value: "{medium}": huge pages are not given out here; `Memory` is a tmpfs of normal pages'
        yield (*path, "medium"), message, ""
    elif medium not in ("", "Memory"):
        hint = "did you mean `Memory`?" if medium.lower() == "memory" else ""
        yield (*path, "medium"), f'Unsupported value: "{medium}": supported values: "", "Memory"', hint
    limit = source.get("sizeLimit")
    if limit is not None and Quantity.parse(limit).nanos < 0:
        yield (*path, "sizeLimit"), "Forbidden: SizeLimit field must be a valid resource quantity", ""
    yield from check_mode(source, "mode", path, most=0o1777)


def _host_path(source: Json, path: Path) -> Iterator[Wrong]:
    where = source["path"]
    here = (*path, "path")
    if not where:
        yield here, "Required value", ""
    elif ".." in where.split("/"):
        yield here, f"Invalid value: \"{where}\": must not contain '..'", ""
    elif not where.startswith("/"):
        yield here, f'Invalid value: "{where}": must be an absolute path', ""
    elif "\0" in where:
        yield here, "Invalid value: holds a NUL character, which no path can", ""


def _ephemeral(volume: Json, path: Path, pod: Json) -> Iterator[Wrong]:
    template = volume["ephemeral"].get("volumeClaimTemplate")
    if template is None:
        yield (*path, "volumeClaimTemplate"), "Required value", ""
        return
    yield from check_claim_spec(template["spec"], (*path, "volumeClaimTemplate", "spec"))
    claim = f"{pod['metadata'].get('name')}-{volume['name']}"
    if wrong := names.dns_subdomain(claim):
        yield path, f'Invalid value: "{claim}": its claim would have no good name: {wrong}', ""


def _mounts(container: Json, path: Path, volumes: Mapping[str, Json]) -> Iterator[Wrong]:
    taken: dict[str, str] = {}
    privileged = bool((container.get("securityContext") or {}).get("privileged"))
    for number, mount in enumerate(container.get("volumeMounts") or ()):
        here = (*path, "volumeMounts", number)
        name = mount["name"]
        if not name:
            yield (*here, "name"), "Required value", ""
        elif name not in volumes:
            known = ", ".join(sorted(volumes)) or "none"
            yield (*here, "name"), f'Not found: "{name}"', f"the pod's volumes: {known}"
        yield from _mount_path(mount, (*here, "mountPath"), taken)
        yield from _sub_path(mount, here)
        yield from _mount_options(mount, here, privileged)


def _mount_path(mount: Json, path: Path, taken: dict[str, str]) -> Iterator[Wrong]:
    given = mount["mountPath"]
    where = mount_point(given)
    found = f'Invalid value: "{given}": '
    if not given:
        yield path, "Required value", ""
    elif template := template_in(given):
        yield path, f"{found}{template} is a template", "fill it in first (helm template, envsubst)"
    elif ":" in given:
        yield path, f"{found}must not contain ':'", ""
    elif "\0" in given:
        yield path, "Invalid value: holds a NUL character, which no path can", ""
    elif ".." in given.split("/"):
        yield path, f"{found}must not contain '..'", ""
    elif where == "/":
        yield path, f"{found}a volume cannot take the place of the container's root", "mount it on a directory in it"
    elif where == "/proc" or where.startswith("/proc/"):
        yield path, f"{found}nothing can be mounted over /proc: it would undo what is hidden there", ""
    elif where in taken:
        yield path, f"{found}must be unique", "" if taken[where] == given else f"it is the same as {taken[where]}"
    taken.setdefault(where, given)


def mount_point(path: str) -> str:
    """Where a mountPath leads: absolute (the kubelet puts a missing `/` before it), without needless slashes."""
    return "/" + posixpath.normpath(f"/{path}").lstrip("/")


def _sub_path(mount: Json, path: Path) -> Iterator[Wrong]:
    for field in ("subPath", "subPathExpr"):
        if value := mount.get(field):
            if value.startswith("/"):
                yield (*path, field), f'Invalid value: "{value}": must be a relative path', ""
            elif ".." in value.split("/"):
                yield (*path, field), f"Invalid value: \"{value}\": must not contain '..'", ""
            elif "\0" in value:
                yield (*path, field), "Invalid value: holds a NUL character, which no path can", ""
    if mount.get("subPath") and (expr := mount.get("subPathExpr")):
        yield (*path, "subPathExpr"), f'Invalid value: "{expr}": subPathExpr and subPath are mutually exclusive', ""


def _mount_options(mount: Json, path: Path, privileged: bool) -> Iterator[Wrong]:
    propagation = mount.get("mountPropagation") or "None"
    if propagation == "Bidirectional" and not privileged:
        message = "Forbidden: Bidirectional mount propagation is available only to privileged containers"
        yield (*path, "mountPropagation"), message, ""
    if (mount.get("recursiveReadOnly") or "Disabled") != "Disabled":
        here = (*path, "recursiveReadOnly")
        if not mount.get("readOnly"):
            yield here, "Forbidden: may only be specified when readOnly is true", ""
        if propagation != "None":
            yield here, "Forbidden: may only be specified when mountPropagation is None or not specified", ""
    for number, option in enumerate(mount.get("bindMountOptions") or ()):
        if option not in MOUNT_OPTIONS:
            allowed = ", ".join(f'"{word}"' for word in MOUNT_OPTIONS)
            yield (*path, "bindMountOptions", number), f'Unsupported value: "{option}": supported values: {allowed}', ""
