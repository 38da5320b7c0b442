"""The volumes of `describe pod`. Pure. Called by describing. Source: kubectl's describe.go `describeVolumes`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from minikube_lite.cli.output import NONE

Json = dict[str, Any]
Pairs = list[tuple[str, str]]
UNSET = "<unset>"


def volume_lines(volumes: list[Json]) -> list[str]:
    lines = ["Volumes:"] if volumes else [f"Volumes:\t{NONE}"]
    for volume in volumes:
        lines.append(f"  {volume.get('name')}:")
        lines += [f"    {key}:\t{value}" for key, value in _volume(volume)]
        lines += [f"      {path}" for path in _downward_items(volume.get("downwardAPI") or {})]
    return lines


def _volume(volume: Json) -> Pairs:
    kind = next((key for key in volume if key != "name"), "emptyDir")
    about = volume.get(kind) or {}
    what, more = _KINDS.get(kind, (kind[:1].upper() + kind[1:], lambda about: []))
    return [("Type", what), *more(about)]


def _truth(value: Any) -> str:
    return "true" if value else "false"


def _config(name: str) -> Callable[[Json], Pairs]:
    title = name[:1].upper() + name[1:]
    return lambda about: [(title, str(about.get(name))), ("Optional", _truth(about.get("optional")))]


def _projected(about: Json) -> Pairs:
    pairs = []
    for source in about.get("sources") or ():
        if config_map := source.get("configMap"):
            pairs += [("ConfigMapName", str(config_map.get("name"))), ("Optional", _truth(config_map.get("optional")))]
        elif secret := source.get("secret"):
            pairs += [("SecretName", str(secret.get("name"))), ("Optional", _truth(secret.get("optional")))]
        elif "downwardAPI" in source:
            pairs.append(("DownwardAPI", "true"))
    return pairs


def _downward_items(about: Json) -> list[str]:
    """`metadata.labels -> labels` a line."""
    lines = []
    for item in about.get("items") or ():
        field = (item.get("fieldRef") or {}).get("fieldPath") or (item.get("resourceFieldRef") or {}).get("resource")
        lines.append(f"{field} -> {item.get('path')}")
    return lines


def _ephemeral(about: Json) -> Pairs:
    spec = (about.get("volumeClaimTemplate") or {}).get("spec") or {}
    requests = (spec.get("resources") or {}).get("requests") or {}
    return [
        ("StorageClass", str(spec.get("storageClassName") or "")),
        ("Volume", str(spec.get("volumeName") or "")),
        ("Capacity", str(requests.get("storage") or "")),
        ("Access Modes", ",".join(spec.get("accessModes") or ())),
        ("VolumeMode", str(spec.get("volumeMode") or "Filesystem")),
    ]


_KINDS: dict[str, tuple[str, Callable[[Json], Pairs]]] = {
    "emptyDir": (
        "EmptyDir (a temporary directory that shares a pod's lifetime)",
        lambda about: [
            ("Medium", str(about.get("medium") or "")),
            ("SizeLimit", str(about.get("sizeLimit") or UNSET)),
        ],
    ),
    "hostPath": (
        "HostPath (bare host directory volume)",
        lambda about: [("Path", str(about.get("path"))), ("HostPathType", str(about.get("type") or ""))],
    ),
    "configMap": ("ConfigMap (a volume populated by a ConfigMap)", _config("name")),
    "secret": ("Secret (a volume populated by a Secret)", _config("secretName")),
    "downwardAPI": (
        "DownwardAPI (a volume populated by information about the pod)",
        lambda about: [("Items", "")],
    ),
    "projected": ("Projected (a volume that contains injected data from multiple sources)", _projected),
    "persistentVolumeClaim": (
        "PersistentVolumeClaim (a reference to a PersistentVolumeClaim in the same namespace)",
        lambda about: [("ClaimName", str(about.get("claimName"))), ("ReadOnly", _truth(about.get("readOnly")))],
    ),
    "ephemeral": (
        "EphemeralVolume (an inline specification for a volume that gets created and deleted with the pod)",
        _ephemeral,
    ),
    "image": (
        "Image (a container image or OCI artifact)",
        lambda about: [
            ("Reference", str(about.get("reference"))),
            ("PullPolicy", str(about.get("pullPolicy") or "")),
        ],
    ),
}
"""Kind of source → its words, and what else is told of it."""
