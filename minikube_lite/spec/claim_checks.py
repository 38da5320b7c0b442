"""Kubernetes' rules for what a PersistentVolumeClaim asks for. Called by `volume_checks` and for claims themselves.

After `ValidatePersistentVolumeClaimSpec` in Kubernetes' pkg/apis/core/validation/validation.go.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from minikube_lite.spec import names
from minikube_lite.spec.quantity import Quantity
from minikube_lite.spec.yaml import Path

Json = dict[str, Any]
Wrong = tuple[Path, str, str]

ACCESS_MODES = ("ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod")


def check_claim_spec(spec: Json, path: Path) -> Iterator[Wrong]:
    """Everything wrong with the `spec` of a claim."""
    modes = spec.get("accessModes") or ()
    if not modes:
        yield (
            (*path, "accessModes"),
            "Required value: at least 1 access mode is required",
            "accessModes: [ReadWriteOnce]",
        )
    for number, mode in enumerate(modes):
        if mode not in ACCESS_MODES:
            allowed = ", ".join(f'"{word}"' for word in ACCESS_MODES)
            yield (*path, "accessModes", number), f'Unsupported value: "{mode}": supported values: {allowed}', ""
    if "ReadWriteOncePod" in modes and len(modes) > 1:
        message = "Forbidden: may not use ReadWriteOncePod with other access modes"
        yield (*path, "accessModes"), message, ""
    storage = ((spec.get("resources") or {}).get("requests") or {}).get("storage")
    here = (*path, "resources", "requests", "storage")
    if storage is None:
        yield here, "Required value", "resources: {requests: {storage: 1Gi}}"
    elif Quantity.parse(storage).nanos <= 0:
        yield here, f'Invalid value: "{storage}": must be greater than zero', ""
    if (mode := spec.get("volumeMode")) not in (None, "", "Filesystem"):
        what = "block devices are not given out here" if mode == "Block" else 'supported values: "Filesystem"'
        yield (*path, "volumeMode"), f'Unsupported value: "{mode}": {what}', ""
    if (name := spec.get("storageClassName")) and (wrong := names.dns_subdomain(name)):
        yield (*path, "storageClassName"), f'Invalid value: "{name}": {wrong}', ""
