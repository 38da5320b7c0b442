"""The files of an image as a container on it first sees them, without mounting anything. Called by node.

Layers are read as overlayfs reads them (Documentation/filesystems/overlayfs.rst): the topmost that has a name wins, a
whiteout (a character device 0:0) hides what is below, an opaque directory hides all below it, directories merge. Paths
and symbolic links are resolved inside the image, part by part with a descriptor each, so that no link and no `..` of
the image's leads to this machine's files.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

LINKS_MAX = 40
"""Symbolic links on one way (path_resolution(7))."""
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OPAQUE = ("trusted.overlay.opaque", "user.overlay.opaque")


@dataclass(frozen=True, slots=True)
class Directory:
    """A merged directory: its descriptor in each layer that shows through, the topmost first."""

    descriptors: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """Something that is no directory: its name in a directory of one layer."""

    descriptor: int
    """Of the directory that it is in."""
    name: str
    found: os.stat_result


class View:
    """One image's files. Use with `with`; what it hands out is good until its end."""

    def __init__(self, layers: Sequence[Path]) -> None:
        self._stack = ExitStack()
        with ExitStack() as stack:
            self.root = Directory(tuple(_open(stack, layer) for layer in reversed(layers)))
            self._stack = stack.pop_all()

    def __enter__(self) -> View:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def find(self, path: str) -> Directory | Entry | None:
        """What is at `path`, links followed; None where nothing is. Raises OSError (ELOOP)."""
        above = [self.root]
        left = [part for part in reversed(path.split("/")) if part not in ("", ".")]
        links = 0
        while left:
            part = left.pop()
            if part == "..":
                above = above[:-1] or [self.root]
                continue
            found = self.look(above[-1], part)
            if isinstance(found, Directory):
                above.append(found)
                continue
            if found is None or not stat.S_ISLNK(found.found.st_mode):
                return None if left else found
            links += 1
            if links > LINKS_MAX:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
            to = os.readlink(found.name, dir_fd=found.descriptor)
            if to.startswith("/"):
                above = [self.root]
            left += [part for part in reversed(to.split("/")) if part not in ("", ".")]
        return above[-1]

    def look(self, directory: Directory, name: str) -> Directory | Entry | None:
        """The entry of this name, links not followed."""
        merged: list[int] = []
        for descriptor in directory.descriptors:
            try:
                found = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
            except (FileNotFoundError, NotADirectoryError):
                continue
            if not stat.S_ISDIR(found.st_mode):
                if merged or _is_whiteout(found):
                    break
                return Entry(descriptor, name, found)
            inner = os.open(name, _DIRECTORY, dir_fd=descriptor)
            self._stack.callback(os.close, inner)
            merged.append(inner)
            if _is_opaque(inner):
                break
        return Directory(tuple(merged)) if merged else None

    def names(self, directory: Directory) -> list[str]:
        """The names in a merged directory, whited out ones left out."""
        seen = {name for descriptor in directory.descriptors for name in os.listdir(descriptor)}
        return sorted(name for name in seen if self.look(directory, name) is not None)

    @contextmanager
    def open(self, path: str) -> Iterator[int]:
        """A descriptor to read the regular file at `path`. Raises FileNotFoundError where there is none."""
        found = self.find(path)
        if not isinstance(found, Entry) or not stat.S_ISREG(found.found.st_mode):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = os.open(found.name, flags, dir_fd=found.descriptor)
        try:
            yield descriptor
        finally:
            os.close(descriptor)


def _open(stack: ExitStack, layer: Path) -> int:
    descriptor = os.open(layer, _DIRECTORY & ~os.O_NOFOLLOW)
    stack.callback(os.close, descriptor)
    return descriptor


def _is_whiteout(found: os.stat_result) -> bool:
    return stat.S_ISCHR(found.st_mode) and found.st_rdev == 0


def _is_opaque(descriptor: int) -> bool:
    for name in _OPAQUE:
        try:
            if os.getxattr(descriptor, name) == b"y":
                return True
        except OSError:
            continue  # it has none, or the file system knows none
    return False
