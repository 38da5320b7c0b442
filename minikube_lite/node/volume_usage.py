"""Watches how much lies in the emptyDirs that have a `sizeLimit`, and says so when it is too much. For volume_work.

The kubelet looks every 10 s and evicts the pod; so is it here, but every second while looking is cheap. Where no limit
is set nothing runs. A tmpfs needs no watching: the kernel lets nobody write more.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from minikube_lite.node.paths import Paths
from minikube_lite.node.records import PodRecord
from minikube_lite.spec.objects import Pod

INTERVAL = 1.0
"""Seconds between two looks."""
SHARE = 0.02
"""Of one core, at most, spent on looking: a volume with a million files is looked at less often."""


@dataclass(frozen=True, slots=True)
class Limit:
    """One volume that is watched."""

    volume: str
    path: Path
    bytes: int
    text: str
    """The limit as the manifest has it."""

    @property
    def exceeded(self) -> str:
        """The kubelet's words."""
        return f'Usage of EmptyDir volume "{self.volume}" exceeds the limit "{self.text}".'


def limits(pod: Pod, uid: str, paths: Paths) -> list[Limit]:
    """The volumes of the pod that have to be watched."""
    found = []
    for volume in pod.spec.volumes:
        source = volume.empty_dir
        if source is None or source.medium == "Memory" or source.size_limit is None or source.size_limit.bytes <= 0:
            continue
        path = paths.empty_dir(uid, volume.name)
        found.append(Limit(volume.name, path, source.size_limit.bytes, str(source.size_limit)))
    return found


def exceeds(path: Path, limit: int) -> bool:
    """Whether the files below take more than `limit` bytes of the disk (as du(1): blocks, a hard link counts once).

    Never crosses a mount. What goes while we look counts nothing.
    """
    total = 0
    seen: set[int] = set()
    todo = [os.fspath(path)]
    try:
        device = os.lstat(path).st_dev
    except FileNotFoundError:
        return False
    while todo:
        try:
            with os.scandir(todo.pop()) as entries:
                for entry in entries:
                    found = entry.stat(follow_symlinks=False)
                    if found.st_dev != device or found.st_ino in seen:
                        continue
                    if found.st_nlink > 1 and not entry.is_dir(follow_symlinks=False):
                        seen.add(found.st_ino)
                    total += found.st_blocks * 512
                    if total > limit:
                        return True
                    if entry.is_dir(follow_symlinks=False):
                        todo.append(entry.path)
        except (FileNotFoundError, NotADirectoryError):
            continue
    return False


class UsageWatch:
    """Looks at every watched volume in turn, in one task that ends when there is none."""

    def __init__(self, paths: Paths, exceeded: Callable[[str, str], None]) -> None:
        self._paths = paths
        self._exceeded = exceeded
        """(pod uid, why it has to go)"""
        self._watched: dict[str, list[Limit]] = {}
        self._task: asyncio.Task[None] | None = None

    def watch(self, record: PodRecord) -> None:
        """Begin to watch the pod's volumes, if any has a limit. Twice is as good as once."""
        uid = record.observed.uid
        found = limits(record.observed.pod, uid, self._paths)
        if not found:
            return
        self._watched[uid] = found
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run())

    def forget(self, uid: str) -> None:
        """The pod goes."""
        self._watched.pop(uid, None)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while self._watched:
            began = loop.time()
            for uid, watched in list(self._watched.items()):
                for limit in watched:
                    if await asyncio.to_thread(exceeds, limit.path, limit.bytes) and uid in self._watched:
                        del self._watched[uid]
                        self._exceeded(uid, limit.exceeded)
                        break
            await asyncio.sleep(max(INTERVAL, (loop.time() - began) / SHARE))

    async def close(self) -> None:
        """Watch nothing any more."""
        self._watched.clear()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
