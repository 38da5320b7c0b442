"""A pod's volumes on this machine: made before its first container, taken away with it. Called by node.linux_runtime.

<state>/pods/<uid>/volumes/<name>    emptyDir on disk
<run>/volumes/<uid>/memory/<name>    emptyDir in memory: a tmpfs each
<run>/volumes/<uid>/image/<name>     the root of an image

Everything is safe to do twice: whatever node comes after a `kill -9` makes what is missing and leaves what is there.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import structlog

from minikube_lite.core.expansion import expand_environment
from minikube_lite.core.oci import CannotRun
from minikube_lite.core.resources import pod_resources
from minikube_lite.core.volumes import fs_group, volume_mounts
from minikube_lite.images.store import ImageError, ImageStore
from minikube_lite.linux import sandbox, storage
from minikube_lite.node import host_paths, image_volumes
from minikube_lite.node.ownership import give
from minikube_lite.node.paths import Paths
from minikube_lite.node.records import PodRecord
from minikube_lite.node.runtime import RuntimeFailure
from minikube_lite.spec.objects import Container, Pod, Volume
from minikube_lite.spec.volumes import EmptyDir

Json = dict[str, Any]
log = structlog.get_logger(__name__)

EMPTY_DIR_MODE = 0o777
"""The kubelet's: whoever a container runs as may write (pkg/volume/emptydir)."""


class Volumes:
    """Makes, finds and removes them."""

    def __init__(self, paths: Paths, images: ImageStore) -> None:
        self._paths = paths
        self._images = images

    def places(self, pod: Pod, uid: str) -> dict[str, str]:
        """Volume name → where it lies."""
        return {volume.name: str(self._place(volume, uid)) for volume in pod.spec.volumes}

    def _place(self, volume: Volume, uid: str) -> Path:
        if volume.host_path is not None:
            return Path(volume.host_path.path)
        if volume.kind == "emptyDir" and _medium(volume) == "Memory":
            return self._paths.pod_volumes(uid) / "memory" / volume.name
        if volume.kind == "image":
            return self._paths.pod_volumes(uid) / "image" / volume.name
        return self._paths.empty_dir(uid, volume.name)

    def mounts(self, record: PodRecord, container: Container) -> tuple[list[Json], dict[str, str]]:
        """(OCI mounts, OCI annotations) of the container's. Raises CannotRun where one of them cannot be."""
        if not container.volume_mounts:
            return [], {}
        pod = record.observed.pod
        env = expand_environment((entry.name, entry.value) for entry in container.env)
        try:
            return volume_mounts(pod, container, self.places(pod, record.observed.uid), env)
        except ValueError as error:
            raise CannotRun("CreateContainerConfigError", str(error)) from error

    async def set_up(self, record: PodRecord) -> tuple[str, ...]:
        """Make what is missing; returns warnings. Raises RuntimeFailure that names every volume that cannot be had."""
        failures = await asyncio.to_thread(self._set_up, record)
        if failures:
            raise RuntimeFailure("FailedMount", "\n".join(failures))
        return ()

    def _set_up(self, record: PodRecord) -> list[str]:
        failures = []
        for volume in record.observed.pod.spec.volumes:
            try:
                self._make(volume, record)
            except (OSError, ImageError, host_paths.WrongType) as error:
                failures.append(f'MountVolume.SetUp failed for volume "{volume.name}" : {_words(error)}')
        return failures

    def _make(self, volume: Volume, record: PodRecord) -> None:
        pod, uid = record.observed.pod, record.observed.uid
        place = self._place(volume, uid)
        makers: dict[str, Callable[[], None]] = {
            "emptyDir": lambda: _empty_dir(place, volume.empty_dir or EmptyDir(), pod),
            "hostPath": lambda: host_paths.prepare(str(place), (volume.host_path and volume.host_path.type) or ""),
        }
        if volume.kind == "image":
            self._mount_image(volume, record, place)
            return
        maker = makers.get(volume.kind)
        if maker is None:
            raise OSError(95, f"{volume.kind} is not supported yet")
        maker()

    def _mount_image(self, volume: Volume, record: PodRecord, place: Path) -> None:
        assert volume.image is not None
        if storage.is_mounted(str(place)):
            return
        image = self._images.resolve(volume.image.reference, Path(record.observed.source).parent)
        self._images.lease(image_volumes.lease_user(record.observed.uid, volume.name), image)
        image_volumes.mount_image(place, image)

    def tear_down(self, record: PodRecord) -> None:
        """Unmount what was mounted for the pod. What lies on disk goes with the pod's other files.

        Raises OSError (EBUSY) if something that is not ours is mounted below, before any file is removed.
        """
        uid = record.observed.uid
        if self._paths.pod_volumes(uid).exists():
            storage.unmount_own(str(self._paths.pod_volumes(uid)))
            sandbox.remove_tree(str(self._paths.pod_volumes(uid)))
        for volume in record.observed.pod.spec.volumes:
            if volume.image is not None:
                self._images.release(image_volumes.lease_user(uid, volume.name))


def _medium(volume: Volume) -> str:
    return "" if volume.empty_dir is None else volume.empty_dir.medium


def _empty_dir(place: Path, source: EmptyDir, pod: Pod) -> None:
    """Its mode is set only when it is made: what the pod does with it later stays."""
    mode = EMPTY_DIR_MODE if source.mode is None else source.mode
    if source.medium == "Memory":
        if storage.is_mounted(str(place)):
            return
        place.mkdir(parents=True, exist_ok=True)
        storage.mount_tmpfs(str(place), size=_memory_size(source, pod), mode=mode)
        give(place, fs_group(pod))
        return
    if place.exists():
        return
    new = place.with_name(f".{place.name}.new")  # no container may ever find it half made
    new.mkdir(parents=True, exist_ok=True)
    new.chmod(mode)
    give(new, fs_group(pod))
    new.rename(place)


def _memory_size(source: EmptyDir, pod: Pod) -> int:
    """Bytes: the least of what it may have, what the pod may have and what the machine has (the kubelet's
    `calculateEmptyDirMemorySize`)."""
    size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit: int = pod_resources(pod)["memory"]["limit"]
    if limit > 0:
        size = min(size, limit)
    if source.size_limit is not None and source.size_limit.bytes > 0:
        size = min(size, source.size_limit.bytes)
    return size


def _words(error: Exception) -> str:
    if isinstance(error, OSError):
        where = f": {os.fsdecode(error.filename)}" if error.filename else ""
        return f"{error.strerror}{where}"
    return str(error)
