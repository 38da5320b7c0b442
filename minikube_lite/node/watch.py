"""Watches the manifests directory. Called by `node.node`; hands on names of changed files, or None for "look at all".

inotify through watchdog: a file counts when it was closed after writing, moved in, linked in or removed, not at each
write. News is gathered for a few milliseconds, so that a hundred files dropped at once are one look. A slow rescan
always runs, so that a lost event costs time and nothing else; without inotify the directory is polled.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import structlog
from watchdog.events import (
    DirDeletedEvent,
    DirMovedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver

log = structlog.get_logger(__name__)

DEBOUNCE = 0.003
"""Seconds that news is gathered for."""
RESCAN = 30.0
"""Seconds between two slow rescans."""
POLL = 1.0
"""Seconds between two rescans where inotify is not to be had, or the directory is gone."""
UNSETTLED = 0.25
"""Seconds after which a file that was being written is looked at again."""

News = Callable[[set[str] | None], None]


class _Handler(FileSystemEventHandler):
    """Runs in watchdog's thread: names only, into the loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, tell: News) -> None:
        self._loop = loop
        self._tell = tell

    def on_any_event(self, event: FileSystemEvent) -> None:
        if isinstance(event, DirDeletedEvent | DirMovedEvent):
            self._say(None)
        elif isinstance(event, FileMovedEvent):
            self._say({_name(event.src_path), _name(event.dest_path)})
        elif isinstance(event, FileClosedEvent | FileDeletedEvent | FileCreatedEvent):
            self._say({_name(event.src_path)})

    def _say(self, names: set[str] | None) -> None:
        try:
            self._loop.call_soon_threadsafe(self._tell, names)
        except RuntimeError:  # the loop closed while the thread was on its way: nobody listens any more
            return


def _name(path: str | bytes) -> str:
    return os.path.basename(os.fsdecode(path))


class DirectoryWatch:
    """Calls `look(names)` in the event loop; `look` says whether files are unsettled and want another look soon."""

    def __init__(self, path: Path, look: Callable[[set[str] | None], bool]) -> None:
        self.path = path
        self._look = look
        self._names: set[str] | None = set()
        self._pending: asyncio.TimerHandle | None = None
        self._rescan: asyncio.TimerHandle | None = None
        self._observer: BaseObserver | None = None
        self._identity: tuple[int, int] | None = None
        self._complained = False

    def start(self) -> None:
        """Begin to watch; the first look is the caller's."""
        self._watch()
        self._again()

    def _again(self) -> None:
        delay = RESCAN if self._observer is not None else POLL
        self._rescan = asyncio.get_running_loop().call_later(delay, self._on_rescan)

    def _on_rescan(self) -> None:
        self._watch()
        self.tell(None)
        self._again()

    def _watch(self) -> None:
        """Watch the directory that is at the path now; another one may have taken its place."""
        try:
            status = os.stat(self.path)
            identity = (status.st_dev, status.st_ino)
        except OSError:
            identity = None
        if identity is not None and identity == self._identity and self._observer and self._observer.is_alive():
            return
        self._unwatch()
        if identity is None:
            return
        observer = Observer()
        observer.schedule(_Handler(asyncio.get_running_loop(), self.tell), str(self.path))
        try:
            observer.start()
        except OSError as error:  # ENOSPC: no watches left; EMFILE: no instances left (inotify(7))
            if not self._complained:
                log.warning(
                    "watch_unavailable",
                    path=str(self.path),
                    error=error.strerror,
                    hint="polling instead; raise fs.inotify.max_user_watches or max_user_instances",
                )
                self._complained = True
            return
        self._complained = False
        self._observer, self._identity = observer, identity

    def _unwatch(self) -> None:
        if self._observer is not None:
            self._observer.stop()
            self._observer = None
        self._identity = None

    def tell(self, names: set[str] | None) -> None:
        """There is news of these files (None: of any)."""
        if names is None or self._names is None:
            self._names = None
        else:
            self._names |= names
        if self._pending is None:
            self._pending = asyncio.get_running_loop().call_later(DEBOUNCE, self._flush)

    def _flush(self) -> None:
        self._pending = None
        names, self._names = self._names, set()
        if names is None:
            self._watch()
            if self._observer is None and self._rescan is not None:
                self._rescan.cancel()
                self._again()
        if self._look(names):
            asyncio.get_running_loop().call_later(UNSETTLED, self.tell, None)

    def stop(self) -> None:
        """Watch no more. Twice is as good as once."""
        for timer in (self._pending, self._rescan):
            if timer is not None:
                timer.cancel()
        self._pending = self._rescan = None
        observer = self._observer
        self._unwatch()
        if observer is not None:
            observer.join(timeout=2)
