"""A pod's volumes on this machine: made before its first container, taken away with it. Called by node.linux_runtime.

<state>/pods/<uid>/volumes/<name>    emptyDir on disk
<run>/volumes/<uid>/memory/<name>    emptyDir in memory: a tmpfs each
<run>/volumes/<uid>/files/<name>     configMap, secret, downwardAPI, projected: below one tmpfs, never on a disk
<run>/volumes/<uid>/image/<name>     the root of an image
<state>/claims/<namespace>/<claim>   persistentVolumeClaim and ephemeral, by node.claims

Everything is safe to do twice: whatever node comes after a `kill -9` makes what is missing and leaves what is there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import structlog

from minikube_lite.core.environment import Lookup
from minikube_lite.core.oci import CannotRun
from minikube_lite.core.projection import NotThere, files_of
from minikube_lite.core.volumes import PROJECTED, fs_group, volume_mounts
from minikube_lite.images.store import ImageError, ImageStore
from minikube_lite.linux import sandbox, storage
from minikube_lite.linux import syscalls as kernel
from minikube_lite.node import atomic_writer, empty_dirs, host_paths, image_volumes
from minikube_lite.node.claims import Claims, NotBound
from minikube_lite.node.facts import facts
from minikube_lite.node.ownership import give
from minikube_lite.node.paths import Paths
from minikube_lite.node.records import PodRecord
from minikube_lite.node.runtime import RuntimeFailure
from minikube_lite.spec.objects import Container, Pod, Volume
from minikube_lite.spec.volumes import EmptyDir

Json = dict[str, Any]
log = structlog.get_logger(__name__)

_WORLD = (OSError, ImageError, NotThere, NotBound, host_paths.WrongType)
"""Why a volume cannot be had; the pod waits, and it is tried again."""


class Sources(Protocol):
    """What volumes show of the node's objects; set once the node is there."""

    lookup: Lookup
    claims: Claims


class Volumes:
    """Makes, finds and removes them."""

    def __init__(self, paths: Paths, images: ImageStore, sources: Sources) -> None:
        self._paths = paths
        self._images = images
        self._sources = sources

    # -- where they are ----------------------------------------------------------------------------------------------

    def places(self, pod: Pod, uid: str) -> dict[str, str]:
        """Volume name → where it lies."""
        return {volume.name: str(self._place(volume, pod, uid)) for volume in pod.spec.volumes}

    def _place(self, volume: Volume, pod: Pod, uid: str) -> Path:
        mounted = self._paths.pod_volumes(uid)
        if volume.host_path is not None:
            return Path(volume.host_path.path)
        if volume.kind in PROJECTED:
            return mounted / "files" / volume.name
        if volume.image is not None:
            return mounted / "image" / volume.name
        if volume.persistent_volume_claim is not None:
            return self._sources.claims.directory(pod.metadata.namespace, volume.persistent_volume_claim.claim_name)
        if volume.ephemeral is not None:
            return self._sources.claims.directory(pod.metadata.namespace, _own_claim(pod, volume))
        if volume.empty_dir is not None and volume.empty_dir.medium == "Memory":
            return mounted / "memory" / volume.name
        return self._paths.empty_dir(uid, volume.name)

    def mounts(
        self, record: PodRecord, container: Container, env: Mapping[str, str]
    ) -> tuple[list[Json], dict[str, str]]:
        """(OCI mounts, OCI annotations) of the container's. Raises CannotRun where one of them cannot be."""
        if not container.volume_mounts:
            return [], {}
        pod = record.observed.pod
        places = self.places(pod, record.observed.uid)
        try:
            for mount in container.volume_mounts:
                storage.check_propagation(places[mount.name], mount.mount_propagation or "None")
            return volume_mounts(pod, container, places, env)
        except ValueError as error:
            raise CannotRun("CreateContainerConfigError", str(error)) from error

    # -- setting up --------------------------------------------------------------------------------------------------

    async def set_up(self, record: PodRecord) -> tuple[str, ...]:
        """Make what is missing, and write anew what has changed; returns warnings.

        Raises RuntimeFailure that names every volume that cannot be had, a line each.
        """
        failures: list[str] = []
        warnings: list[str] = []
        volumes = []
        for volume in record.observed.pod.spec.volumes:
            try:
                self._bind(volume, record)
            except _WORLD as error:
                failures.append(_failed(volume, error))
            else:
                volumes.append(volume)
        more = await asyncio.to_thread(self._make_all, volumes, record, warnings)
        if failures + more:
            raise RuntimeFailure("FailedMount", "\n".join(failures + more))
        return tuple(warnings)

    def _bind(self, volume: Volume, record: PodRecord) -> None:
        """A claim that the pod may use by now is not asked again: it stays, whatever becomes of its document."""
        pod, uid = record.observed.pod, record.observed.uid
        namespace = pod.metadata.namespace
        if (claim := volume.persistent_volume_claim) is not None and not record.observed.volumes.ready:
            self._sources.claims.bind(namespace, claim.claim_name, pod.key)
        if volume.ephemeral is not None and volume.ephemeral.volume_claim_template is not None:
            template = volume.ephemeral.volume_claim_template.model_dump(mode="json", by_alias=True, exclude_unset=True)
            self._sources.claims.own(namespace, _own_claim(pod, volume), template, uid, pod.metadata.name)

    def _make_all(self, volumes: list[Volume], record: PodRecord, warnings: list[str]) -> list[str]:
        """In a thread; returns what failed."""
        failures = []
        for volume in volumes:
            try:
                self._make(volume, record, warnings)
            except _WORLD as error:
                failures.append(_failed(volume, error))
        return failures

    def _make(self, volume: Volume, record: PodRecord, warnings: list[str]) -> None:
        pod, uid = record.observed.pod, record.observed.uid
        place = self._place(volume, pod, uid)
        match volume.kind:
            case "emptyDir":
                empty_dirs.make(place, volume.empty_dir or EmptyDir(), pod)
            case "hostPath":
                host_paths.prepare(str(place), (volume.host_path and volume.host_path.type) or "")
            case "image":
                self._mount_image(volume, record, place)
            case "persistentVolumeClaim" | "ephemeral":
                if not record.observed.volumes.ready:
                    security = pod.spec.security_context
                    lazily = security is not None and security.fs_group_change_policy == "OnRootMismatch"
                    give(place, fs_group(pod), only_if_wrong=lazily)
            case _:
                self._write(volume, record, place, warnings)

    def _write(self, volume: Volume, record: PodRecord, place: Path, warnings: list[str]) -> None:
        """Where something that was written once has gone, the files stay as they are, as with the kubelet."""
        pod, uid = record.observed.pod, record.observed.uid
        files = self._paths.pod_volumes(uid) / "files"
        if not storage.is_mounted(str(files)):
            files.mkdir(parents=True, exist_ok=True)
            storage.mount_tmpfs(str(files), flags=kernel.MS_NOSUID | kernel.MS_NODEV)
        try:
            wanted = files_of(volume, pod, self._sources.lookup, facts(pod, uid, self._paths.state))
        except NotThere as error:
            if not atomic_writer.is_written(place):
                raise
            warnings.append(f"{_failed(volume, error)}; what was mounted stays")
            return
        if atomic_writer.write(place, wanted, fs_group(pod)):
            log.info("volume_written", pod=pod.key, volume=volume.name)

    def _mount_image(self, volume: Volume, record: PodRecord, place: Path) -> None:
        assert volume.image is not None
        if storage.is_mounted(str(place)):
            return
        image = self._images.resolve(volume.image.reference, Path(record.observed.source).parent)
        self._images.lease(image_volumes.lease_user(record.observed.uid, volume.name), image)
        image_volumes.mount_image(place, image)

    # -- the end -----------------------------------------------------------------------------------------------------

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


def _own_claim(pod: Pod, volume: Volume) -> str:
    return f"{pod.metadata.name}-{volume.name}"


def _failed(volume: Volume, error: Exception) -> str:
    """The kubelet's words."""
    return f'MountVolume.SetUp failed for volume "{volume.name}" : {_words(error)}'


def _words(error: Exception) -> str:
    if isinstance(error, OSError):
        where = f": {error.filename}" if error.filename else ""
        return f"{error.strerror}{where}"
    return error.message if isinstance(error, ImageError) else str(error)
