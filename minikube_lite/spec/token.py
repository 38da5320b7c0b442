"""Takes the service account's token out of a Pod: an API server puts it into every one it gives out. For `spec.pods`.

What `kubectl get pod -o yaml` prints has a projected volume of its own for it, and a mount in every container. There
are no service accounts here; a person who writes such a source by hand is told so by `spec.volume_fields`.
"""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

TOKEN_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"
TOKEN_MISSING = f"{TOKEN_PATH} is not there: there are no service accounts"


def without_token(raw: Json) -> tuple[Json, bool]:
    """The document without the mounts at `TOKEN_PATH` and the volumes that only they used; whether there were any."""
    spec = raw.get("spec")
    if not isinstance(spec, dict):
        return raw, False
    dropped: set[str] = set()
    changed = dict(spec)
    for group in ("initContainers", "containers"):
        if isinstance(containers := spec.get(group), list):
            changed[group] = [_without_mount(container, dropped) for container in containers]
    if not dropped:
        return raw, False
    used = {mount.get("name") for mount in _mounts(changed)}
    if isinstance(volumes := spec.get("volumes"), list):
        kept = [volume for volume in volumes if not _is_of_token(volume, dropped - used)]
        changed = {name: value for name, value in changed.items() if name != "volumes"}
        changed |= {"volumes": kept} if kept else {}
    return {**raw, "spec": changed}, True


def _without_mount(container: Any, dropped: set[str]) -> Any:
    mounts = container.get("volumeMounts") if isinstance(container, dict) else None
    if not isinstance(mounts, list):
        return container
    kept = [mount for mount in mounts if not isinstance(mount, dict) or mount.get("mountPath") != TOKEN_PATH]
    if len(kept) == len(mounts):
        return container
    dropped |= {str(mount.get("name")) for mount in mounts if mount not in kept}
    rest = {name: value for name, value in container.items() if name != "volumeMounts"}
    return {**rest, "volumeMounts": kept} if kept else rest


def _mounts(spec: Json) -> list[Json]:
    containers = [entry for group in ("initContainers", "containers") for entry in spec.get(group) or ()]
    found = [entry.get("volumeMounts") for entry in containers if isinstance(entry, dict)]
    return [mount for mounts in found if isinstance(mounts, list) for mount in mounts if isinstance(mount, dict)]


def _is_of_token(volume: Any, names: set[str]) -> bool:
    return isinstance(volume, dict) and volume.get("name") in names
