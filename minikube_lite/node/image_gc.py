"""Removes images when the disk fills up: every few minutes, and when a pull finds no room. Called by node.node.

What goes, `images.gc` chooses; here the disk is asked, the names are removed and the parts that nobody needs collected.
Failures are events of the node's, in the kubelet's words (pkg/kubelet/images/image_gc_manager.go, kubelet.go).
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from minikube_lite.images.gc import Candidate, bytes_to_free, choose
from minikube_lite.images.store import ImageError, ImageStore, StoredImage
from minikube_lite.node.clock import wall

log = structlog.get_logger(__name__)

PERIOD = 300.0
"""Seconds between two looks at the disk (the kubelet's ImageGCPeriod)."""


@dataclass(frozen=True, slots=True)
class Thresholds:
    """The kubelet's settings of the same names."""

    high: int = 85
    """imageGCHighThresholdPercent: of the disk's usage; 100: images are never removed."""
    low: int = 80
    """imageGCLowThresholdPercent."""
    minimum_age: float = 120.0
    """Seconds: imageMinimumGCAge."""


class NotEnough(Exception):
    """Less could be freed than has to be."""


class ImageCollector:
    """The images of one store. `collect` and `make_room` are called in threads, the rest in the loop."""

    def __init__(self, store: ImageStore, thresholds: Thresholds, warn: Callable[[str, str], None]) -> None:
        """`warn(reason, message)` makes an event of the node's; it is called in the loop."""
        self._store = store
        self._thresholds = thresholds
        self._warn = warn
        self._one = threading.Lock()
        self._task: asyncio.Task[None] | None = None
        self._failed_before = False

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._keep_looking())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _keep_looking(self) -> None:
        while True:
            await self.look()
            await asyncio.sleep(PERIOD)

    async def look(self) -> None:
        """Free what has to be freed by now, and say what could not be."""
        try:
            await asyncio.to_thread(self.collect)
            self._failed_before = False
        except (NotEnough, OSError, ImageError) as error:
            log.warning("image_gc_failed", error=str(error))
            if isinstance(error, NotEnough):
                self._warn("FreeDiskSpaceFailed", str(error))
            if self._failed_before:  # the kubelet tells only of what fails repeatedly
                self._warn("ImageGCFailed", str(error))
            self._failed_before = True

    def collect(self) -> int:
        """Above the high threshold, free down to the low one; returns the bytes. Raises NotEnough, OSError."""
        capacity, available = self._disk()
        need = bytes_to_free(capacity, available, self._thresholds.high, self._thresholds.low)
        freed = self._free(need) if need else 0
        if freed < need:
            raise NotEnough(
                f"Failed to garbage collect required amount of images. Attempted to free {need} bytes, "
                f"but only found {freed} bytes eligible to free."
            )
        return freed

    def make_room(self) -> int:
        """A pull found no room: free down to the low threshold, whatever the high one; returns the bytes."""
        if self._thresholds.high >= 100:
            return 0
        capacity, available = self._disk()
        try:
            return self._free(max(capacity * (100 - self._thresholds.low) // 100 - available, 1))
        except OSError as error:
            log.warning("image_gc_failed", error=str(error))
            return 0

    def _disk(self) -> tuple[int, int]:
        found = os.statvfs(self._store.root)
        if not found.f_blocks:
            raise OSError(f"invalid capacity 0 on image filesystem {self._store.root}")
        return found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize

    def _free(self, need: int) -> int:
        """Remove what is in no image any more, then as many images as it takes."""
        with self._one:
            freed = self._store.collect()
            if freed >= need:
                return freed
            images = self._store.images()
            choice = choose(self._candidates(images), need - freed, wall(), self._thresholds.minimum_age)
            for name in [name for image in images if image.id in choice.ids for name in image.names]:
                self._store.remove(name)
            freed += self._store.collect() if choice.ids else 0
        log.info("images_collected", images=list(choice.ids), bytes=freed)
        return freed

    def _candidates(self, images: list[StoredImage]) -> list[Candidate]:
        running = {lease.id for lease in self._store.leases().values()}
        return [
            Candidate(image.id, image.parts, image.recorded, image.used, image.id in running, image.by_hand)
            for image in images
        ]
