"""Watches the manifests directory. Called by `node.node`; hands on names of changed files, or None for "look at all".

inotify through watchdog: a file counts when it was closed after writing, moved in, linked in or removed, not at each
write. News that comes in quick succession is gathered for a few milliseconds, so that a hundred files dropped at once
are few looks. A slow rescan always runs, so that a lost event costs time and nothing else; without inotify the
directory is polled.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import structlog
from watchdog.events import (
    DirCreatedEvent,
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
"""Seconds between two looks at the least: news that comes in between is gathered."""
RESCAN = 30.0
"""Seconds between two slow rescans."""
POLL = 1.0
"""Seconds between two rescans where inotify is not to be had, or the directory is gone."""
UNSETTLED = 0.25
"""Seconds after which a file that was being written is looked at again."""

COMES_AND_GOES: list[type[FileSystemEvent]] = [
    FileCreatedEvent,
    FileDeletedEvent,
    FileMovedEvent,
    DirCreatedEvent,
    DirDeletedEvent,
    DirMovedEvent,
]
"""All that is asked of inotify, and the end of a write: that a file is opened and read is no reason to wake up."""
VOLUME_DATA = "..data"
"""The symlink that a ConfigMap volume turns over to change all of its files at once (the kubelet's AtomicWriter)."""


class _Handler(FileSystemEventHandler):
    """Runs in watchdog's thread: names only, into the loop. `path` is the directory, with no symlink in it."""

    def __init__(self, path: str, tell: Callable[[set[str] | None], None], lost: Callable[[], None]) -> None:
        self._path = path
        self._tell = tell
        self._lost = lost
        self._loop = asyncio.get_running_loop()

    def on_any_event(self, event: FileSystemEvent) -> None:
        names = {_name(path) for path in (event.src_path, event.dest_path) if path}
        if isinstance(event, DirDeletedEvent | DirMovedEvent) and os.fsdecode(event.src_path) == self._path:
            self._call(self._lost)
        elif VOLUME_DATA in names:
            self._call(self._tell, None)
        elif type(event) is FileClosedEvent or type(event) in COMES_AND_GOES:
            self._call(self._tell, names)  # a directory too: one that is named like a manifest is complained about

    def _call(self, callback: Callable[..., None], *args: set[str] | None) -> None:
        try:
            self._loop.call_soon_threadsafe(callback, *args)
        except RuntimeError:  # the loop closed while the thread was on its way: nobody listens any more
            return


class _Around(_Handler):
    """Watches the directory that the manifests directory stands in.

    A directory that is renamed, or a symlink to it that is pointed elsewhere, says nothing itself: watchdog asks for
    no IN_MOVE_SELF.
    """

    def on_any_event(self, event: FileSystemEvent) -> None:
        if self._path in (os.fsdecode(event.src_path), os.fsdecode(event.dest_path)):
            self._call(self._lost)


def _name(path: str | bytes) -> str:
    return os.path.basename(os.fsdecode(path))


class DirectoryWatch:
    """Calls `look(names)` in the event loop; `look` says whether files are unsettled and want another look soon."""

    def __init__(self, path: Path, look: Callable[[set[str] | None], bool]) -> None:
        self.path = path
        self._look = look
        self._names: set[str] | None = set()
        self._pending: asyncio.TimerHandle | None = None
        self._flushed = 0.0
        self._rescan: asyncio.TimerHandle | None = None
        self._unsettled: asyncio.TimerHandle | None = None
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
        try:
            self._schedule(observer)
            observer.start()
        except OSError as error:  # ENOSPC: no watches left; EMFILE: no instances left (inotify(7))
            observer.unschedule_all()
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

    def _schedule(self, observer: BaseObserver) -> None:
        """Watch what is in the directory, and whether it is still the one at the path."""
        real = os.path.realpath(self.path)  # a symlink would be watched as such
        handler = _Handler(real, self.tell, self._lost)
        observer.schedule(handler, real, event_filter=[*COMES_AND_GOES, FileClosedEvent])
        parent = os.path.realpath(self.path.parent)
        around = _Around(os.path.join(parent, self.path.name), self.tell, self._lost)
        observer.schedule(around, parent, event_filter=COMES_AND_GOES)

    def _lost(self) -> None:
        """What is watched is not what is at the path, even where it has the same inode number again."""
        self._identity = None
        self.tell(None)

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
            loop = asyncio.get_running_loop()
            # The first news after a quiet time is looked at right away; what follows on its heels is gathered.
            self._pending = loop.call_at(max(loop.time(), self._flushed + DEBOUNCE), self._flush)

    def _flush(self) -> None:
        self._pending = None
        self._flushed = asyncio.get_running_loop().time()
        names, self._names = self._names, set()
        if names is None:
            self._watch()
            if self._observer is None and self._rescan is not None:
                self._rescan.cancel()
                self._again()
        if self._look(names) and self._unsettled is None:
            self._unsettled = asyncio.get_running_loop().call_later(UNSETTLED, self._look_again)

    def _look_again(self) -> None:
        self._unsettled = None
        self.tell(None)

    def stop(self) -> None:
        """Watch no more. Twice is as good as once."""
        for timer in (self._pending, self._rescan, self._unsettled):
            if timer is not None:
                timer.cancel()
        self._pending = self._rescan = self._unsettled = None
        observer = self._observer
        self._unwatch()
        if observer is not None:
            observer.join(timeout=2)
