"""Keeps directories that are made once and never changed: all of one is there, or nothing. Called by store.

<root>/<kind>/<name>     a tree; whole once it stands here
<root>/tmp/<name>        one in the making, or in the removing
<root>/locks/<name>      flock(2), held by who makes or removes it: of many who want one tree, one makes it
<root>/unsynced/<name>   the boot in which it was made, until its data is on the disk: after a power cut, files of a
                         tree that was renamed in time can be empty, so it is made again
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import shutil
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

from minikube_lite.images.host import mounts_below

_libc = ctypes.CDLL(None, use_errno=True)


class Trees:
    """The trees below `root`. Names are digests: the same name is the same content, whatever its kind."""

    def __init__(self, root: Path, kinds: tuple[str, ...]) -> None:
        self.root = root
        self.kinds = kinds

    def has(self, kind: str, name: str) -> bool:
        """Whether the tree is there, and was whole when the machine was last without power."""
        if not os.path.isdir(self.root / kind / name):
            return False
        try:
            return (self.root / "unsynced" / name).read_text() == _boot()
        except FileNotFoundError:
            return True

    def make(self, kind: str, name: str, build: Callable[[Path], None]) -> Path:
        """The tree; unless it is there, `build` fills a new directory first. Raises OSError, and what `build` does."""
        tree, unfinished = self.root / kind / name, self.root / "tmp" / name
        if self.has(kind, name):
            return tree
        with self._locked(name):
            if self.has(kind, name):
                return tree
            self._clear(tree)
            self._clear(unfinished)  # of one that was killed: we hold the lock
            for directory in (tree, unfinished, self.root / "unsynced" / name):
                directory.parent.mkdir(exist_ok=True)
            unfinished.mkdir(mode=0o700)
            try:
                build(unfinished)
                (self.root / "unsynced" / name).write_text(_boot())
                unfinished.rename(tree)
            except BaseException:
                shutil.rmtree(unfinished, ignore_errors=True)  # what cannot be removed now, `sweep` tells of
                raise
        threading.Thread(target=self._sync, args=(name,), name=f"sync {name[:12]}", daemon=True).start()
        return tree

    def names(self) -> list[tuple[str, str]]:
        """(kind, name) of every tree."""
        return [(kind, name) for kind in self.kinds for name in _listing(self.root / kind)]

    def remove(self, kind: str, name: str) -> bool:
        """Remove the tree unless somebody is making it, or something is mounted below it; whether it went."""
        gone = self.retire(kind, name)
        if gone is not None:
            self._clear(gone)
        return gone is not None

    def retire(self, kind: str, name: str) -> Path | None:
        """Take the tree out of use, unless as in `remove`; returns where it is now, for the caller to remove."""
        with self._locked(name, wait=False) as locked:
            tree, going = self.root / kind / name, self.root / "tmp" / f"{name}.{uuid.uuid4().hex}"
            if not locked or mounts_below(os.path.realpath(tree)):
                return None
            going.parent.mkdir(exist_ok=True)
            try:
                tree.rename(going)  # from here on it is gone, even if we are killed on the way
            except FileNotFoundError:  # somebody else removed it
                return None
            (self.root / "unsynced" / name).unlink(missing_ok=True)
        return going

    def sweep(self) -> None:
        """Remove what nobody finished making or removing, and what a power cut may have damaged."""
        for name in _listing(self.root / "tmp"):
            with self._locked(name, wait=False) as locked:
                if locked:
                    self._clear(self.root / "tmp" / name)
        for name in _listing(self.root / "unsynced"):
            kinds = [kind for kind in self.kinds if (self.root / kind / name).is_dir()]
            if all(self.has(kind, name) for kind in kinds):
                self._sync(name)
            else:
                for kind in kinds:
                    self.remove(kind, name)

    def _clear(self, tree: Path) -> None:
        if tree.exists():
            shutil.rmtree(tree)

    def _sync(self, name: str) -> None:
        """Wait until the disk has it all, then forget that it had not."""
        with contextlib.suppress(FileNotFoundError):  # all of it was removed meanwhile
            descriptor = os.open(self.root / "unsynced", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                if _libc.syncfs(descriptor) < 0:
                    return  # a disk that cannot write: it stays unsynced
                os.unlink(name, dir_fd=descriptor)
            finally:
                os.close(descriptor)

    @contextlib.contextmanager
    def _locked(self, name: str, wait: bool = True) -> Iterator[bool]:
        """Hold the lock of this name; yields False where it was not free and `wait` is false."""
        # Nobody but root may look in: there are setuid programs in images, old and full of holes.
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        (self.root / "locks").mkdir(exist_ok=True)
        with open(self.root / "locks" / name, "wb") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                yield False
            else:
                yield True


def _listing(path: Path) -> list[str]:
    return sorted(os.listdir(path)) if path.is_dir() else []


def _boot() -> str:
    """Another after each start of the machine (random(4))."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
