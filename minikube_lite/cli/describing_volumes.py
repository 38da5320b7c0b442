"""The volumes of `describe pod`. Pure. Called by describing. Source: kubectl's describe.go `describeVolumes`."""

from __future__ import annotations

from typing import Any

from minikube_lite.cli.output import NONE

Json = dict[str, Any]


def volume_lines(volumes: list[Json]) -> list[str]:
    lines = ["Volumes:"] if volumes else [f"Volumes:\t{NONE}"]
    for volume in volumes:
        lines.append(f"  {volume.get('name')}:")
        lines += [f"    {key}:\t{value}" for key, value in _volume(volume)]
    return lines


def _volume(volume: Json) -> list[tuple[str, str]]:
    kind = next((key for key in volume if key != "name"), "emptyDir")
    about = volume.get(kind) or {}
    optional = ("Optional", "true" if about.get("optional") else "false")
    if kind == "emptyDir":
        limit = str(about.get("sizeLimit") or "<unset>")
        what = "EmptyDir (a temporary directory that shares a pod's lifetime)"
        return [("Type", what), ("Medium", str(about.get("medium") or "")), ("SizeLimit", limit)]
    if kind == "hostPath":
        what = "HostPath (bare host directory volume)"
        return [("Type", what), ("Path", str(about.get("path"))), ("HostPathType", str(about.get("type") or ""))]
    if kind == "configMap":
        what = "ConfigMap (a volume populated by a ConfigMap)"
        return [("Type", what), ("Name", str(about.get("name"))), optional]
    if kind == "secret":
        what = "Secret (a volume populated by a Secret)"
        return [("Type", what), ("SecretName", str(about.get("secretName"))), optional]
    return [("Type", kind[:1].upper() + kind[1:])]
