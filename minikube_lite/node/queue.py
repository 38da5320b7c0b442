"""The queue of pod keys to look at. Whatever has news (watch, exits, timers, the API) adds; `node.execute` works.

Level, not edge: a key stands in the queue at most once, and says nothing but "look again". A key that is being worked
is not handed out a second time; news that comes meanwhile brings it back when its worker is done.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from minikube_lite.node.clock import boottime


class KeyQueue:
    """Runs `work(key)` for every key added, at most `limit` keys at once and never one key twice at once."""

    def __init__(self, work: Callable[[str], Awaitable[None]], limit: int = 32) -> None:
        self._work = work
        self._limit = limit
        self._waiting: dict[str, None] = {}  # a dict keeps the order of arrival
        self._active: dict[str, asyncio.Task[None]] = {}
        self._again: set[str] = set()
        self._timers: dict[str, tuple[float, asyncio.TimerHandle]] = {}
        self._idle = asyncio.Event()
        self._idle.set()
        self.closed = False

    def add(self, key: str) -> None:
        """There is news for this key."""
        if self.closed:
            return
        if key in self._active:
            self._again.add(key)
            return
        self._waiting[key] = None
        self._idle.clear()
        self._start()

    def add_at(self, key: str, at: float | None) -> None:
        """Look at the key again at `at` (CLOCK_BOOTTIME); replaces an earlier wish, None takes it back."""
        old = self._timers.pop(key, None)
        if old is not None:
            old[1].cancel()
        if at is None or self.closed:
            return
        handle = asyncio.get_running_loop().call_later(max(0.0, at - boottime()), self._timer, key)
        self._timers[key] = (at, handle)

    def _timer(self, key: str) -> None:
        del self._timers[key]
        self.add(key)

    def overdue(self) -> None:
        """Add every key whose time has come: the loop's clock stops while the machine sleeps, so the rescan asks."""
        now = boottime()
        for key in [key for key, (at, _) in self._timers.items() if at <= now]:
            self.add_at(key, None)
            self.add(key)

    def _start(self) -> None:
        while self._waiting and len(self._active) < self._limit:
            key = next(iter(self._waiting))
            del self._waiting[key]
            task = asyncio.get_running_loop().create_task(self._run(key), name=f"pod {key}")
            self._active[key] = task

    async def _run(self, key: str) -> None:
        try:
            await self._work(key)
        finally:
            del self._active[key]
            if key in self._again:
                self._again.discard(key)
                self.add(key)
            self._start()
            if not self._active and not self._waiting:
                self._idle.set()

    @property
    def depth(self) -> int:
        """Keys waiting or being worked."""
        return len(self._waiting) + len(self._active)

    async def idle(self) -> None:
        """Wait until nothing waits and nothing is worked (timers do not count)."""
        await self._idle.wait()

    async def close(self) -> None:
        """Hand out nothing more; let what is being worked come to its end."""
        self.closed = True
        self._waiting.clear()
        self._again.clear()
        for _, handle in self._timers.values():
            handle.cancel()
        self._timers.clear()
        if self._active:
            await asyncio.gather(*self._active.values(), return_exceptions=True)
