"""Makes emptyDirs, on disk and in memory. Called by node.volumes, in a thread.

As the kubelet's pkg/volume/emptydir: open to whoever a container runs as, in memory no larger than the pod may be.
"""

from __future__ import annotations

import os
from pathlib import Path

from minikube_lite.core.resources import pod_resources
from minikube_lite.core.volumes import fs_group
from minikube_lite.linux import storage
from minikube_lite.node.ownership import give
from minikube_lite.spec.objects import Pod
from minikube_lite.spec.volumes import EmptyDir

MODE = 0o777


def make(place: Path, source: EmptyDir, pod: Pod) -> None:
    """Make it, unless it is there: what the pod has done with it since stays. Raises OSError."""
    mode = MODE if source.mode is None else source.mode
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
