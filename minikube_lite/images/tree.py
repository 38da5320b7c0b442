"""Writes the members of a tar archive below one directory, and nowhere else. Called by unpack.

No name of the archive is ever handed to the kernel as a path: it is cut into its parts and walked with a descriptor per
directory, opened O_NOFOLLOW. So a `..`, or a symbolic link that an earlier member planted, cannot lead out.
Owners (as numbers), setuid bits, file capabilities, device nodes, holes and times to the nanosecond are kept, as GNU
tar does for root. Without root, owners and file capabilities are not.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from minikube_lite.images import tar
from minikube_lite.images.archive import ArchiveError

DEPTH_MAX = 200
"""Directories one in the other; each takes a descriptor while we are in it."""
RESERVE = 64 << 20
"""Bytes of the disk that an archive may not take (or a twentieth of it, where that is less): the node needs some."""
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_ID_MAX = (1 << 32) - 2

Parts = tuple[bytes, ...]
T = TypeVar("T")


def free_room(disk: os.statvfs_result) -> int:
    """Bytes of the disk that images may still take; may be negative."""
    return disk.f_bavail * disk.f_frsize - min(RESERVE, disk.f_blocks * disk.f_frsize // 20)


def split(name: bytes) -> Parts:
    """The parts of a member's name, read from the archive's own root: `/a`, `./a` and `a` are one."""
    parts = tuple(part for part in name.split(b"/") if part not in (b"", b"."))
    if b".." in parts:
        raise ArchiveError(f"its member {show(parts)} climbs out of it with `..`")
    if len(parts) > DEPTH_MAX:
        raise ArchiveError(f"it has directories more than {DEPTH_MAX} deep")
    return parts


def show(parts: Parts) -> str:
    """A member's name for a message; what is no UTF-8 in it becomes `?`."""
    return "`" + b"/".join(parts)[:200].decode("utf-8", "replace").replace("\ufffd", "?") + "`"


class Tree:
    """The directory being filled."""

    def __init__(self, target: Path) -> None:
        self._root = os.open(target, _DIRECTORY)
        self._open: list[tuple[bytes, int]] = []
        """The directory we are in: name and descriptor of each part, for members mostly come in order."""
        self.implied: set[Parts] = set()
        """Directories that are there because of what is in them; the archive says nothing of themselves."""
        self._directories: dict[Parts, tar.Member] = {}
        """Dressed last: what is made in one changes its time, and may be stopped by its mode."""
        self._is_root = os.geteuid() == 0
        disk = os.fstatvfs(self._root)
        self._block = disk.f_frsize
        self._room = free_room(disk)
        self._free = self._room
        self._files = disk.f_favail if disk.f_files else 1 << 62  # btrfs counts none

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._leave(0)
        os.close(self._root)

    def add(self, parts: Parts, member: tar.Member, reader: tar.Reader) -> None:
        self._take(member)
        if member.kind == tar.DIRECTORY:
            if parts:
                self._make_directory(self._enter(parts[:-1]), parts)
            self.implied.discard(parts)
            self._directories[parts] = member
            return
        if not parts:
            raise ArchiveError("it has a member without a name")
        parent, name = self._enter(parts[:-1]), parts[-1]
        if member.kind == tar.FILE:
            self._make_file(parent, parts, member, reader)
            return
        if member.kind == tar.LINK:
            self._make_link(parts, split(member.link))
            return
        if member.kind == tar.SYMLINK:
            self._replace(parent, parts, lambda: os.symlink(member.link, name, dir_fd=parent))
        elif not self._make_node(parent, parts, member):
            return
        if self._is_root:
            os.chown(name, *_owner(member), dir_fd=parent, follow_symlinks=False)
        if member.kind != tar.SYMLINK:
            os.chmod(name, member.mode, dir_fd=parent)  # after chown, which takes the setuid bits
        os.utime(name, ns=(member.mtime_ns, member.mtime_ns), dir_fd=parent, follow_symlinks=False)

    def finish(self) -> None:
        """Set the directories' own modes and times, the deepest first."""
        if () not in self._directories:
            os.fchmod(self._root, 0o755)
        for parts in sorted(self._directories, reverse=True):
            self._dress(self._enter(parts), self._directories[parts])

    @property
    def size(self) -> int:
        """Bytes of the disk that the members took, in whole blocks."""
        return self._free - self._room

    def _take(self, member: tar.Member) -> None:
        """Count what the member takes, and stop before the disk is full."""
        self._room -= -(-member.size // self._block) * self._block
        self._files -= 1
        if self._room < 0 or self._files < 0:
            what = f"{self._free >> 20} MiB" if self._room < 0 else "number of files"
            raise OSError(errno.ENOSPC, f"it unpacks to more than the {what} that the disk has free for it")

    def _enter(self, parts: Parts) -> int:
        """The descriptor of the directory `parts`, made where missing, followed through no symbolic link."""
        same = 0
        for (name, _), part in zip(self._open, parts, strict=False):
            if name != part:
                break
            same += 1
        self._leave(same)
        at = self._open[-1][1] if self._open else self._root
        for depth in range(same, len(parts)):
            name = parts[depth]
            try:
                at = self._open_directory(at, parts[: depth + 1])
            except NotADirectoryError:  # so says the kernel of a symbolic link, too
                kind = "a symbolic link" if stat.S_ISLNK(_stat(name, at).st_mode) else "not a directory"
                raise ArchiveError(f"it has a member below {show(parts[: depth + 1])}, which is {kind}") from None
            self._open.append((name, at))
        return at

    def _open_directory(self, parent: int, parts: Parts) -> int:
        try:
            return os.open(parts[-1], _DIRECTORY, dir_fd=parent)
        except FileNotFoundError:
            os.mkdir(parts[-1], 0o700, dir_fd=parent)
            descriptor = os.open(parts[-1], _DIRECTORY, dir_fd=parent)
            os.fchmod(descriptor, 0o755)
            self.implied.add(parts)
            return descriptor

    def _leave(self, depth: int) -> None:
        while len(self._open) > depth:
            os.close(self._open.pop()[1])

    def _make_directory(self, parent: int, parts: Parts) -> None:
        try:
            os.mkdir(parts[-1], 0o700, dir_fd=parent)
        except FileExistsError:
            if not stat.S_ISDIR(_stat(parts[-1], parent).st_mode):
                os.unlink(parts[-1], dir_fd=parent)
                os.mkdir(parts[-1], 0o700, dir_fd=parent)

    def _make_file(self, parent: int, parts: Parts, member: tar.Member, reader: tar.Reader) -> None:
        file = self._replace(parent, parts, lambda: os.open(parts[-1], _NEW_FILE, 0o600, dir_fd=parent))
        try:
            if member.pieces is None:
                for data in reader.data(member.size):
                    _write(file, data)
            else:
                for offset, length in member.pieces:
                    os.lseek(file, offset, os.SEEK_SET)
                    for data in reader.data(length):
                        _write(file, data)
                os.ftruncate(file, member.real_size)
            self._dress(file, member)
        finally:
            os.close(file)

    def _make_link(self, parts: Parts, to: Parts) -> None:
        if not to:
            raise ArchiveError(f"its hard link {show(parts)} leads to nothing")
        source = os.dup(self._enter(to[:-1]))
        try:
            parent = self._enter(parts[:-1])
            try:
                found = _stat(to[-1], source)
            except FileNotFoundError:
                raise ArchiveError(f"its hard link {show(parts)} leads to {show(to)}, which is not in it") from None
            try:
                there = _stat(parts[-1], parent)
            except FileNotFoundError:
                pass
            else:
                if there.st_ino == found.st_ino:  # GNU tar stores a file that is named twice as a link to itself
                    return
            self._replace(
                parent,
                parts,
                lambda: os.link(to[-1], parts[-1], src_dir_fd=source, dst_dir_fd=parent, follow_symlinks=False),
            )
        finally:
            os.close(source)

    def _make_node(self, parent: int, parts: Parts, member: tar.Member) -> bool:
        """Make a pipe or a device; False for a device that may be left out."""
        if member.kind == tar.FIFO:
            self._replace(parent, parts, lambda: os.mkfifo(parts[-1], 0o600, dir_fd=parent))
            return True
        if member.kind == tar.CHARACTER and member.major == member.minor == 0:
            raise ArchiveError(f"its device {show(parts)} is 0:0, by which overlayfs marks a deleted file")
        kind = stat.S_IFCHR if member.kind == tar.CHARACTER else stat.S_IFBLK
        device = os.makedev(member.major, member.minor)
        try:
            self._replace(parent, parts, lambda: os.mknod(parts[-1], 0o600 | kind, device, dir_fd=parent))
        except PermissionError:
            if parts[0] != b"dev":  # a container has a /dev of its own above the image's
                raise
            return False
        return True

    def _replace(self, parent: int, parts: Parts, make: Callable[[], T]) -> T:
        """Make a member; an earlier one of the same name goes first, unless it is a directory with members."""
        try:
            return make()
        except FileExistsError:
            if stat.S_ISDIR(_stat(parts[-1], parent).st_mode):
                os.rmdir(parts[-1], dir_fd=parent)
                self._directories.pop(parts, None)
                self.implied.discard(parts)
            else:
                os.unlink(parts[-1], dir_fd=parent)
            return make()

    def _dress(self, file: int, member: tar.Member) -> None:
        """Owner, mode, attributes, time: in this order, for each takes back part of those after it."""
        if self._is_root:
            os.fchown(file, *_owner(member))
        os.fchmod(file, member.mode)
        for name, value in member.xattrs.items():
            if name == "security.capability" and self._is_root:
                os.setxattr(file, name, value)
            elif name.startswith("user.") and not name.startswith("user.overlay."):
                try:
                    os.setxattr(file, name, value)
                except OSError as error:
                    if error.errno != errno.ENOTSUP:  # some file systems have none (tmpfs before Linux 6.6)
                        raise
        os.utime(file, ns=(member.mtime_ns, member.mtime_ns))


def _owner(member: tar.Member) -> tuple[int, int]:
    for number in (member.uid, member.gid):
        if not 0 <= number <= _ID_MAX:
            raise ArchiveError(f"its member {show(split(member.name))} has an owner that cannot be: {number}")
    return member.uid, member.gid


def _stat(name: bytes, parent: int) -> os.stat_result:
    return os.stat(name, dir_fd=parent, follow_symlinks=False)


def _write(file: int, data: memoryview) -> None:
    while data:
        data = data[os.write(file, data) :]
