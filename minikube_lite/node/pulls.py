"""Long work on images, off the loop: at most so many at a time, one for all who want the same. Called by node.images.

Each work has a thread of its own, not one of asyncio's few: a registry that answers slowly must not keep a container
from being killed. What nobody waits for any more is ended at its next piece.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

from minikube_lite.images.image import ImageError, unavailable
from minikube_lite.images.progress import Progress, Step

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Done(Generic[T]):
    """How one work went. Durations in seconds."""

    result: T | ImageError
    took: float
    took_with_waiting: float


class _Work(Generic[T]):
    """One work, and who waits for it."""

    def __init__(self) -> None:
        self.unwanted = threading.Event()
        self.waiters = 0
        self.task: asyncio.Task[Done[T]] | None = None

    def progress(self, step: Step) -> None:
        if self.unwanted.is_set():
            raise unavailable("nobody waits for it any more")


class Pulls(Generic[T]):
    """Works by key. `parallel`: how many may go on at once (the kubelet's maxParallelImagePulls)."""

    def __init__(self, parallel: int) -> None:
        self._slots = asyncio.Semaphore(parallel)
        self._works: dict[Hashable, _Work[T]] = {}

    async def share(self, key: Hashable, work: Callable[[Progress], T]) -> Done[T]:
        """Do `work(progress)`, or wait for the one of this key that is under way. It may raise ImageError alone."""
        found = self._works.get(key)
        if found is None:
            found = self._works[key] = _Work()
            found.task = asyncio.get_running_loop().create_task(self._run(key, found, work))
        assert found.task is not None
        found.waiters += 1
        try:
            return await asyncio.shield(found.task)
        finally:
            found.waiters -= 1
            if not found.waiters and not found.task.done():
                self._give_up(key, found)

    def _give_up(self, key: Hashable, work: _Work[T]) -> None:
        """It ends in its own time; who wants the same again does not join what is ending."""
        work.unwanted.set()
        if self._works.get(key) is work:
            del self._works[key]

    async def _run(self, key: Hashable, mine: _Work[T], work: Callable[[Progress], T]) -> Done[T]:
        asked = time.monotonic()
        try:
            async with self._slots:
                began = time.monotonic()
                if mine.unwanted.is_set():
                    return Done(unavailable("nobody waits for it any more"), 0.0, 0.0)
                result = await _in_thread(lambda: _outcome(work, mine.progress))
                ended = time.monotonic()
                return Done(result, ended - began, ended - asked)
        finally:
            if self._works.get(key) is mine:
                del self._works[key]

    def close(self) -> None:
        """Nobody waits for anything any more."""
        for key, work in list(self._works.items()):
            self._give_up(key, work)


def _outcome(work: Callable[[Progress], T], progress: Progress) -> T | ImageError:
    try:
        return work(progress)
    except ImageError as error:
        return error


async def _in_thread(work: Callable[[], T]) -> T:
    """Like asyncio.to_thread, in a thread that the node's end does not wait for: the store may be left at any step."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if future.cancelled():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]

    def run() -> None:
        result: T | None = None
        failure: BaseException | None = None
        try:
            result = work()
        except BaseException as error:
            failure = error
        try:
            loop.call_soon_threadsafe(settle, result, failure)
        except RuntimeError:
            return  # the loop is closed: the node has stopped

    threading.Thread(target=run, name="image", daemon=True).start()
    return await future
