"""Shows a container its own cgroup at /sys/fs/cgroup: the OCI mount of type `cgroup`. Called by rootfs.

What is mounted is the container's own directory of each tree, so the rest of the machine's cgroups is out of sight
with or without a cgroup namespace. On v2 that is one mount; on v1 and hybrid a tmpfs with one directory for each tree.
"""

from __future__ import annotations

import os

from minikube_lite.linux import syscalls as kernel
from minikube_lite.linux.inside import make_directory, open_inside
from minikube_lite.linux.mounts import Mount

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minikube_lite.linux.cgroups import Cgroup


def mount_cgroups(root: int, wanted: Mount, cgroup: Cgroup) -> None:
    """Do the mount `wanted`, with its flags. Needs the host's cgroup file systems in sight. Raises OSError."""
    unified = cgroup.layout.unified
    if unified and not cgroup.layout.v1:
        _show(wanted, wanted.destination, cgroup.directory(unified)).apply(root)
        return
    flags = kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC
    Mount(wanted.destination, "tmpfs", "tmpfs", flags, "mode=755").apply(root)
    trees = {each.mount: each for each in (*cgroup.layout.v1.values(), *filter(None, [unified]))}
    top = make_directory(root, wanted.destination, symlinks=False)
    try:
        for mount, tree in trees.items():
            if not os.path.isdir(cgroup.directory(tree)):
                continue  # not used for this container: it stands elsewhere in that tree
            name = os.path.basename(mount)
            _show(wanted, f"{wanted.destination}/{name}", cgroup.directory(tree)).apply(root)
            for controller in tree.controllers if tree.version == 1 else ():
                if controller != name:  # cpu → cpu,cpuacct
                    os.symlink(name, controller, dir_fd=top)
    finally:
        os.close(top)
    if wanted.flags & kernel.MS_RDONLY:
        top = open_inside(root, wanted.destination, symlinks=False)
        kernel.mount_setattr(top, "", kernel.AT_EMPTY_PATH, set=kernel.MOUNT_ATTR_RDONLY)
        os.close(top)


def _show(wanted: Mount, destination: str, directory: str) -> Mount:
    return Mount(destination, "cgroup", directory, wanted.flags | kernel.MS_BIND)
