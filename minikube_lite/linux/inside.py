"""Paths inside a container's root, as descriptors. Called by mounts and rootfs; hands on O_PATH descriptors.

An image may hold any symlink, and a volume may be changed by another container while we work. So a path of the
container's is resolved once, by the kernel, with openat2(RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS), and from there on
only the descriptor is used (by way of `/proc/self/fd/N`). Nothing is ever created through a symlink.
"""

from __future__ import annotations

import errno
import os

from minikube_lite.linux.syscalls import RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS, openat2

IN_ROOT = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS


def by_fd(fd: int) -> str:
    """A path that means the very file the descriptor is open on, for calls that take paths only."""
    return f"/proc/self/fd/{fd}"


def open_inside(root: int, path: str, flags: int = os.O_PATH, *, symlinks: bool = True, mode: int = 0) -> int:
    """Open `path` as the container would see it. With `symlinks=False` none may be on the way: ELOOP."""
    return openat2(root, path, flags, mode=mode, resolve=IN_ROOT if symlinks else IN_ROOT | RESOLVE_NO_SYMLINKS)


def make_directory(root: int, path: str, mode: int = 0o755, *, symlinks: bool = True) -> int:
    """Open the directory `path`, making what is missing of it."""
    try:
        return open_inside(root, path, os.O_PATH | os.O_DIRECTORY, symlinks=symlinks)
    except FileNotFoundError:
        parent, name = _split(path)
        if not name:
            raise
    above = make_directory(root, parent, mode, symlinks=symlinks)
    try:
        _no_symlink(path, lambda: os.mkdir(name, mode, dir_fd=above))
        return openat2(above, name, os.O_PATH | os.O_DIRECTORY, resolve=RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS)
    finally:
        os.close(above)


def make_mount_point(root: int, path: str, *, directory: bool, symlinks: bool = True) -> int:
    """Open what `path` is; if it is not there make it, an empty directory or an empty file, with its parents.

    Raises OSError: NotADirectoryError where a directory is to be mounted on a file, ELOOP for a symlink not allowed.
    """
    if directory:
        return make_directory(root, path, symlinks=symlinks)
    try:
        return open_inside(root, path, symlinks=symlinks)
    except FileNotFoundError:
        parent, name = _split(path)
    above = make_directory(root, parent, symlinks=symlinks)
    try:
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
        _no_symlink(path, lambda: os.close(os.open(name, flags, 0o644, dir_fd=above)))
        return openat2(above, name, os.O_PATH, resolve=RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS)
    finally:
        os.close(above)


def _split(path: str) -> tuple[str, str]:
    parent, _, name = path.rstrip("/").rpartition("/")
    return parent or "/", name


def _no_symlink(path: str, create: object) -> None:
    """A name that does not resolve and yet exists is a dangling symlink: refused, never followed."""
    try:
        create()  # type: ignore[operator]
    except FileExistsError:
        raise OSError(errno.ELOOP, f"make mount point {path}: a symlink that leads nowhere is in the way") from None
    except OSError as error:
        raise OSError(error.errno, f"make mount point {path}: {error.strerror}") from None
