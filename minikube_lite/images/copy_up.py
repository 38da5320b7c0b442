"""Copies a directory of an image to this machine's disk: what an anonymous volume begins with. Called by node.

As containerd's CRI does for `VOLUME` (pkg/cri/opts/container.go, copyExistingContents): the directory's own owner and
mode too, so that a server which runs as its own user may write.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from minikube_lite.images.view import Directory, Entry, View

_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
CHUNK = 1 << 20


def copy_directory(view: View, path: str, target: Path) -> bool:
    """Fill the empty directory `target` with what the image has at `path`; False where it has no directory there.

    Raises OSError for what is wrong with the disk; what was copied until then is left for the caller to remove.
    """
    found = view.find(path)
    if not isinstance(found, Directory):
        return False
    descriptor = os.open(target, _OPEN_DIRECTORY)
    try:
        _Copy(view, descriptor).directory(found, descriptor)
    finally:
        os.close(descriptor)
    return True


class _Copy:
    """One copy; hard links within it stay hard links."""

    def __init__(self, view: View, top: int) -> None:
        self._view = view
        self._top = top
        self._made: dict[tuple[int, int], str] = {}
        """(device, inode) of a file with several names → the first of them, from the top."""

    def directory(self, source: Directory, target: int, above: str = "") -> None:
        for name in self._view.names(source):
            found = self._view.look(source, name)
            if isinstance(found, Directory):
                os.mkdir(name, 0o700, dir_fd=target)
                inner = os.open(name, _OPEN_DIRECTORY, dir_fd=target)
                try:
                    self.directory(found, inner, f"{above}{name}/")
                finally:
                    os.close(inner)
            elif found is not None:
                self._file(found, target, f"{above}{name}")
        _dress(source.descriptors[0], target)

    def _file(self, source: Entry, target: int, path: str) -> None:
        found, name = source.found, source.name
        if stat.S_ISREG(found.st_mode):
            self._regular(source, target, path)
            return
        if stat.S_ISLNK(found.st_mode):
            os.symlink(os.readlink(name, dir_fd=source.descriptor), name, dir_fd=target)
        elif stat.S_ISSOCK(found.st_mode):
            return  # nobody listens at it
        else:
            os.mknod(name, found.st_mode, found.st_rdev, dir_fd=target)
        os.chown(name, found.st_uid, found.st_gid, dir_fd=target, follow_symlinks=False)
        if not stat.S_ISLNK(found.st_mode):
            os.chmod(name, stat.S_IMODE(found.st_mode), dir_fd=target)  # not a link, and nobody else is in here yet
        os.utime(name, ns=(found.st_atime_ns, found.st_mtime_ns), dir_fd=target, follow_symlinks=False)

    def _regular(self, source: Entry, target: int, path: str) -> None:
        name, inode = source.name, (source.found.st_dev, source.found.st_ino)
        if first := self._made.get(inode):
            os.link(first, name, src_dir_fd=self._top, dst_dir_fd=target, follow_symlinks=False)
            return
        reading = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=source.descriptor)
        try:
            writing = os.open(name, _NEW_FILE, 0o600, dir_fd=target)
            try:
                for offset, length in pieces_of(reading):
                    os.lseek(writing, offset, os.SEEK_SET)
                    _send(reading, writing, offset, length)
                os.ftruncate(writing, source.found.st_size)
                _dress(reading, writing)
            finally:
                os.close(writing)
        finally:
            os.close(reading)
        if source.found.st_nlink > 1:
            self._made[inode] = path


def pieces_of(descriptor: int) -> Iterator[tuple[int, int]]:
    """(offset, length) of the parts of a file that hold data; holes are left out (lseek(2), SEEK_DATA)."""
    at = 0
    while True:
        try:
            start = os.lseek(descriptor, at, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # only a hole is left, or nothing
                return
            raise
        at = os.lseek(descriptor, start, os.SEEK_HOLE)
        yield start, at - start


def _send(reading: int, writing: int, offset: int, length: int) -> None:
    while length > 0:
        sent = os.sendfile(writing, reading, offset, min(length, CHUNK))
        if sent == 0:
            raise OSError(errno.EIO, "a file became shorter while it was copied")
        offset, length = offset + sent, length - sent


def _dress(source: int, target: int) -> None:
    """Owner, mode, attributes, time: in this order, for each takes back part of those after it."""
    found = os.fstat(source)
    os.fchown(target, found.st_uid, found.st_gid)
    os.fchmod(target, stat.S_IMODE(found.st_mode))
    for name in os.listxattr(source):
        if (name.startswith("user.") and not name.startswith("user.overlay.")) or name == "security.capability":
            try:
                os.setxattr(target, name, os.getxattr(source, name))
            except OSError as error:
                if error.errno != errno.ENOTSUP:  # some file systems have none (tmpfs before Linux 6.6)
                    raise
    os.utime(target, ns=(found.st_atime_ns, found.st_mtime_ns))
