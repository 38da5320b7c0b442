"""File systems that are mounted on the machine for a pod, outside of any container. Called by node.volumes.

They lie at `<dir>/<name>` or `<dir>/<kind>/<name>` of one directory a pod; what is mounted deeper is not ours.
"""

from __future__ import annotations

import errno
import os

from minikube_lite.linux import syscalls as kernel
from minikube_lite.linux.sandbox import mounts_below


def mount_tmpfs(path: str, *, size: int = 0, mode: int = 0o755, flags: int = 0) -> None:
    """A file system in memory, never swapped to disk where the kernel can promise that (tmpfs(5) `noswap`, Linux 6.4).

    `size` in bytes, 0: half of the memory. Raises OSError.
    """
    options = f"mode={mode:o}" + (f",size={size}" if size else "")
    try:
        kernel.mount("tmpfs", path, "tmpfs", flags, f"{options},noswap")
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        kernel.mount("tmpfs", path, "tmpfs", flags, options)


def is_mounted(path: str) -> bool:
    """Whether something is mounted right there."""
    try:
        return os.path.ismount(path) or os.path.realpath(path) in mounts_below(path)
    except FileNotFoundError:
        return False


def unmount_own(directory: str) -> None:
    """Unmount what was mounted for the pod, the last first; fine if it is not there.

    Raises OSError (EBUSY) where something that is not ours is mounted below: it may be anybody's data.
    """
    top = os.path.realpath(directory)
    found = list(mounts_below(top))
    for path in found:
        if path == top or os.path.relpath(path, top).count("/") > 1:
            raise OSError(errno.EBUSY, f"{path} is still mounted")
    for path in reversed(found):
        kernel.umount2(path, kernel.MNT_DETACH)
