"""File systems that are mounted on the machine for a pod, outside of any container. Called by node.volumes.

They lie at `<dir>/<name>` or `<dir>/<kind>/<name>` of one directory a pod; what is mounted deeper is not ours.
"""

from __future__ import annotations

import errno
import os

from minikube_lite.linux import syscalls as kernel
from minikube_lite.linux.sandbox import mounts_below, unescaped


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


def check_propagation(path: str, wanted: str) -> None:
    """Whether mounts can travel as `wanted` (HostToContainer, Bidirectional) says. Raises ValueError in containerd's
    words where the mount that `path` lies on is private."""
    if wanted == "None":
        return
    point, tags = mount_of(os.path.realpath(path))
    shared, slave = (any(tag.startswith(kind) for tag in tags) for kind in ("shared:", "master:"))
    hint = f"(hint: mount --make-rshared {point})"
    if wanted == "Bidirectional" and not shared:
        raise ValueError(f'path "{path}" is mounted on "{point}" but it is not a shared mount {hint}')
    if not (shared or slave):
        raise ValueError(f'path "{path}" is mounted on "{point}" but it is not a shared or slave mount {hint}')


def mount_of(path: str) -> tuple[str, list[str]]:
    """The mount point that a path lies on, and its optional fields (proc_pid_mountinfo(5)); of several the topmost."""
    found: tuple[str, list[str]] = ("/", [])
    with open("/proc/self/mountinfo", "rb") as file:
        for line in file:
            fields = line.split()
            point = os.fsdecode(unescaped(fields[4]))
            inside = point == "/" or path == point or path.startswith(f"{point}/")
            if inside and len(point) >= len(found[0]):
                found = point, [os.fsdecode(tag) for tag in fields[6 : fields.index(b"-", 6)]]
    return found
