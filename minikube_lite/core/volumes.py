"""A pod's volumes → the OCI mounts of its containers. Called by core.oci and node.volumes; pure.

Where a volume lies on this machine is said by `node.volumes` (name → path); what is made of a mount of it, here. A
mount of a part of a volume (`subPath`) names that part in its `source`, as any OCI runtime understands it. But what
lies in a volume is the container's to change while we look, so the annotation `MOUNT_ROOTS` says how much of the path
is ours: the rest is resolved inside of it, by descriptor (`linux.parts`).
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Mapping, Sequence
from typing import Any

from minikube_lite.core.expansion import expand
from minikube_lite.spec.objects import Container, Pod, Volume, VolumeMount
from minikube_lite.spec.volume_checks import mount_point

Json = dict[str, Any]

MOUNT_ROOTS = "io.minikube-lite.mount-roots"
"""Annotation: JSON, mount destination → {"root": directory that the source must stay in, "create": whether a part of
the source that is missing is made, as a directory}."""

READ_ONLY = ("configMap", "secret", "downwardAPI", "projected", "image")
"""Kinds that no container may write to, whatever its mount says (the kubelet's `ReadOnlyAPIDataVolumes`)."""
PROJECTED = ("configMap", "secret", "downwardAPI", "projected")
"""Kinds that are made of files which the node writes, and writes anew."""
_PROPAGATION = {"None": "rprivate", "HostToContainer": "rslave", "Bidirectional": "rshared"}
_REFERENCE = re.compile(r"\$(?:\$|\(([^)]*)\))")


class MissingValue(ValueError):
    """A `subPathExpr` names a variable that the container does not have."""


def fs_group(pod: Pod) -> int | None:
    """The group that the pod's volumes are given to; None: they stay as they are."""
    security = pod.spec.security_context
    return None if security is None else security.fs_group


def depth(mount: Mapping[str, Any]) -> int:
    """How deep a mount lies: what lies deeper is mounted later, or it would be hidden."""
    return len([part for part in str(mount["destination"]).split("/") if part])


def volume_mounts(
    pod: Pod, container: Container, paths: Mapping[str, str], env: Mapping[str, str]
) -> tuple[list[Json], dict[str, str]]:
    """(OCI mounts, OCI annotations) of the container's `volumeMounts`.

    `paths`: volume name → where it lies on this machine; `env` fills in `subPathExpr`. Raises MissingValue.
    """
    volumes = {volume.name: volume for volume in pod.spec.volumes}
    mounts: list[Json] = []
    roots: Json = {}
    for mount in container.volume_mounts:
        volume, source, destination = volumes[mount.name], paths[mount.name], mount_point(mount.mount_path)
        if part := sub_path(mount, env):
            roots[destination] = {"root": source, "create": volume.kind not in READ_ONLY}
            source = posixpath.join(source, part)
        options = mount_options(volume, mount)
        mounts.append({"destination": destination, "type": "bind", "source": source, "options": options})
    return mounts, {MOUNT_ROOTS: json.dumps(roots)} if roots else {}


def sub_path(mount: VolumeMount, env: Mapping[str, str]) -> str:
    """The part of the volume that is mounted, "" for all of it. Raises MissingValue; ValueError where a variable makes
    it lead out of the volume."""
    if not mount.sub_path_expr:
        return _normal(mount.sub_path)
    for match in _REFERENCE.finditer(mount.sub_path_expr):
        if match[1] is not None and match[1] not in env:
            raise MissingValue(f'subPathExpr "{mount.sub_path_expr}" of volume "{mount.name}": no variable {match[1]}')
    part = expand(mount.sub_path_expr, env)
    where = f'subPathExpr "{mount.sub_path_expr}" of volume "{mount.name}"'
    if part.startswith("/"):
        raise ValueError(f"{where} becomes {part}: must not be an absolute path")
    if ".." in part.split("/"):
        raise ValueError(f"{where} becomes {part}: must not contain '..'")
    return _normal(part)


def _normal(part: str) -> str:
    part = posixpath.normpath(part)
    return "" if part == "." else part


def mount_options(volume: Volume, mount: VolumeMount) -> list[str]:
    """OCI options of the bind mount; `rro` makes read-only what is mounted below it, too."""
    options = ["rbind", _PROPAGATION[mount.mount_propagation or "None"]]
    if is_read_only(volume, mount):
        recursive = (mount.recursive_read_only or "Disabled") != "Disabled"
        options += ["ro", "rro"] if recursive else ["ro"]
    else:
        options.append("rw")
    more = ["noexec"] if volume.kind == "image" else []
    return options + list(dict.fromkeys((*more, *mount.bind_mount_options)))


def is_read_only(volume: Volume, mount: VolumeMount) -> bool:
    """Whether the container may not write there."""
    claim = volume.persistent_volume_claim
    return mount.read_only or volume.kind in READ_ONLY or (claim is not None and claim.read_only)


def in_order(mounts: Sequence[Json]) -> list[Json]:
    """Of two on one destination the later stays; then parents before what lies in them (stable, as containerd)."""
    last = {str(mount["destination"]).rstrip("/") or "/": mount for mount in mounts}
    kept = [mount for mount in mounts if last[str(mount["destination"]).rstrip("/") or "/"] is mount]
    return sorted(kept, key=depth)
