"""Opens a part of a directory that containers write to. Called by mounts for sources that must stay in their root.

A container may put a symlink in the place of any part of the path, at any moment (CVE-2017-1002101, CVE-2021-25741).
So the path is resolved by the kernel inside the root (openat2, RESOLVE_IN_ROOT), once, and what it led to is held by
descriptor: whatever is swapped after that changes nothing.
"""

from __future__ import annotations

import errno
import os

from minikube_lite.linux import syscalls as kernel
from minikube_lite.linux.inside import by_fd, open_inside


def open_part(root: str, path: str, *, create: bool) -> int:
    """An O_PATH descriptor of `path` inside the directory `root`; `create`: what is missing is made, as directories.

    Made ones get the mode of the root, as the kubelet's `SafeMakeDir` gives them. Raises OSError.
    """
    top = os.open(root, os.O_PATH | os.O_CLOEXEC)
    try:
        try:
            return open_inside(top, path)
        except FileNotFoundError:
            if not create:
                raise OSError(errno.ENOENT, f"{path} is not in the volume") from None
        return _make(top, path, os.fstat(top).st_mode & 0o7777)
    finally:
        os.close(top)


def _make(root: int, path: str, mode: int) -> int:
    parent, _, name = path.rstrip("/").rpartition("/")
    try:
        above = open_inside(root, parent or "/", os.O_PATH | os.O_DIRECTORY)
    except FileNotFoundError:
        above = _make(root, parent, mode)
    try:
        try:
            os.mkdir(name, 0o700, dir_fd=above)
            made = True
        except FileExistsError:  # another container makes it now, or a symlink that leads nowhere stands there
            made = False
        strict = kernel.RESOLVE_NO_SYMLINKS | kernel.RESOLVE_NO_MAGICLINKS
        fd = kernel.openat2(above, name, os.O_PATH | os.O_DIRECTORY, resolve=strict)
        if made:
            os.chmod(by_fd(fd), mode)  # the umask does not concern it, and mkdir(2) leaves out the setgid bit
        return fd
    except OSError as error:
        raise OSError(error.errno, f"make {path} in the volume: {os.strerror(error.errno or 0)}") from None
    finally:
        os.close(above)
