"""Makes a container's root and enters it. Called by init, in the container's own new mount namespace.

Everything mounted here goes when the container's last process does: the host's mount table never shows it.
"""

from __future__ import annotations

import errno
import os
import stat

from minikube_lite.linux import syscalls as kernel
from minikube_lite.linux.cgroup_mount import mount_cgroups
from minikube_lite.linux.errors import Failure
from minikube_lite.linux.inside import by_fd, make_directory, open_inside
from minikube_lite.linux.mounts import PROPAGATION, Mount, bind_read_only, roots_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

    from minikube_lite.linux.cgroups import Cgroup

DEVICES = (("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0))
DEVICE_RULES = (  # OCI `linux.resources.devices`: making any node, using these and the pseudo terminals
    *({"allow": True, "type": kind, "access": "m"} for kind in "cb"),
    *({"allow": True, "type": "c", "major": major, "minor": minor, "access": "rwm"} for _, major, minor in DEVICES),
    {"allow": True, "type": "c", "major": 5, "minor": 2, "access": "rwm"},
    {"allow": True, "type": "c", "major": 136, "access": "rwm"},
)
LINKS = (
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("core", "/proc/kcore"),
    ("ptmx", "pts/ptmx"),
)


def root_path(config: Mapping[str, Any], bundle: str) -> str:
    """`root.path` as an absolute path; a relative one is below the bundle."""
    return os.path.join(bundle, (config.get("root") or {}).get("path") or "rootfs")


class Rootfs:
    """The root of one container, from its OCI config; `layers` are mounts for `root.path` itself (the overlay)."""

    def __init__(self, config: Mapping[str, Any], bundle: str, layers: Sequence[Mapping[str, Any]]) -> None:
        linux = config.get("linux") or {}
        self.path = root_path(config, bundle)
        self.read_only = bool((config.get("root") or {}).get("readonly"))
        self.layers = [Mount.from_oci(entry, "/") for entry in layers]
        self.mounts = [Mount.from_oci(entry) for entry in config.get("mounts") or ()]
        for destination, within in roots_of(config).items():
            for mount in self.mounts:
                if mount.destination == destination:
                    mount.within = within
        self.devices = linux.get("devices") or ()
        self.masked, self.read_only_paths = linux.get("maskedPaths") or (), linux.get("readonlyPaths") or ()
        self.propagation = linux.get("rootfsPropagation") or ""
        self.warnings: list[str] = []

    def prepare(self, cgroup: Cgroup) -> int:
        """Mount everything at `root.path`; returns an O_PATH descriptor of the root. Needs the host's /proc."""
        for mount in self.mounts:
            if mount.propagation & kernel.MS_SHARED and mount.flags & kernel.MS_BIND:
                mount.open_source()
        kernel.mount(None, "/", None, kernel.MS_SLAVE | kernel.MS_REC)
        root = self._open()
        if not self.layers:
            self._bind_itself(root)
            root = self._reopen(root)
        for layer in self.layers:
            layer.apply(root)
            root = self._reopen(root)
        os.umask(0)  # modes of nodes and mount points are meant as given
        own_dev = True
        for mount in self.mounts:
            if mount.type == "cgroup":
                mount_cgroups(root, mount, cgroup)
            else:
                mount.apply(root)
            if mount.destination.rstrip("/") == "/dev" and mount.flags & kernel.MS_BIND:
                own_dev = False
        if own_dev:
            self._make_dev(root)
        self._protect(root)
        return root

    def _open(self) -> int:
        try:
            return os.open(self.path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise OSError(error.errno, f"root file system {self.path}: {error.strerror}") from None

    def _reopen(self, root: int) -> int:
        os.close(root)
        return self._open()

    def _bind_itself(self, root: int) -> None:
        """pivot_root(2) wants a mount point; and what is mounted in it must not spread."""
        tree = kernel.open_tree(root, "", kernel.OPEN_TREE_CLONE | kernel.AT_EMPTY_PATH | kernel.AT_RECURSIVE)
        recursively = kernel.AT_EMPTY_PATH | kernel.AT_RECURSIVE
        kernel.mount_setattr(tree, "", recursively, propagation=kernel.MS_PRIVATE)
        kernel.move_mount(tree, root)
        os.close(tree)

    def _make_dev(self, root: int) -> None:
        """The nodes and links every container has (OCI config-linux.md "Default Devices"), and those asked for."""
        dev = make_directory(root, "/dev", symlinks=False)
        try:
            for name, major, minor in DEVICES:
                self._make_node(dev, name, stat.S_IFCHR | 0o666, os.makedev(major, minor))
            for name, target in LINKS:
                try:
                    os.symlink(target, name, dir_fd=dev)
                except FileExistsError:
                    pass
        finally:
            os.close(dev)
        for device in self.devices:
            self._make_device(root, device)

    def _make_device(self, root: int, device: Mapping[str, Any]) -> None:
        parent, _, name = device["path"].rpartition("/")
        kind = {"c": stat.S_IFCHR, "u": stat.S_IFCHR, "b": stat.S_IFBLK, "p": stat.S_IFIFO}.get(device["type"])
        if kind is None:
            raise Failure("CreateError", f'device {device["path"]}: unknown type "{device["type"]}"')
        directory = make_directory(root, parent or "/", symlinks=not parent.startswith("/dev"))
        try:
            number = os.makedev(device.get("major", 0), device.get("minor", 0))
            mode = device.get("fileMode")
            self._make_node(directory, name, kind | (0o666 if mode is None else mode & 0o7777), number)
            if device.get("uid") or device.get("gid"):
                os.chown(name, device.get("uid") or 0, device.get("gid") or 0, dir_fd=directory, follow_symlinks=False)
        finally:
            os.close(directory)

    def _make_node(self, directory: int, name: str, mode: int, number: int) -> None:
        try:
            os.mknod(name, mode, number, dir_fd=directory)
        except FileExistsError:
            # Only a root with no /dev of its own mounted has one already: it must be the right one.
            found = os.stat(name, dir_fd=directory, follow_symlinks=False)
            if stat.S_IFMT(found.st_mode) != stat.S_IFMT(mode) or found.st_rdev != number:
                raise OSError(errno.EEXIST, f"make device {name}: something else is there") from None
        except OSError as error:
            raise OSError(error.errno, f"make device {name}: {error.strerror}") from None

    def _protect(self, root: int) -> None:
        """Hide `maskedPaths` and make `readonlyPaths` read-only; those that do not exist need neither."""
        for path in self.read_only_paths:
            bind_read_only(root, path)
        if not self.masked:
            return
        null = os.open("/dev/null", os.O_PATH | os.O_CLOEXEC)
        try:
            found = os.fstat(null)
            if not stat.S_ISCHR(found.st_mode) or found.st_rdev != os.makedev(1, 3):
                raise Failure("CreateError", "/dev/null of this machine is not the null device (1:3)")
            for path in self.masked:
                self._mask(root, path, by_fd(null))
        finally:
            os.close(null)

    def _mask(self, root: int, path: str, null: str) -> None:
        try:
            fd = open_inside(root, path)
        except (FileNotFoundError, NotADirectoryError):
            return
        try:
            if stat.S_ISDIR(os.fstat(fd).st_mode):
                kernel.mount("tmpfs", by_fd(fd), "tmpfs", kernel.MS_RDONLY, "size=0k,nr_inodes=1,mode=0")
            else:
                kernel.mount(null, by_fd(fd), None, kernel.MS_BIND)
        except OSError as error:
            raise OSError(error.errno, f"mask {path}: {os.strerror(error.errno or 0)}") from None
        finally:
            os.close(fd)

    def enter(self, root: int, cwd: str) -> None:
        """Make it the root of this process and let go of the host's (pivot_root(2), NOTES on `.`).

        `cwd` is made where it is missing while the root can still be written to, as runc does.
        """
        os.fchdir(root)
        try:
            kernel.pivot_root(".", ".")
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            # The root of an initramfs cannot be pivoted away from (pivot_root(2)): move over it instead.
            self.warnings.append("pivot_root is not possible here (initramfs?): chroot was used instead")
            kernel.mount(".", "/", None, kernel.MS_MOVE)
            os.chroot(".")
        else:
            kernel.umount2(".", kernel.MNT_DETACH)
        os.chdir("/")
        if self.read_only:
            try:
                os.close(make_directory(root, cwd))
            except OSError:
                pass  # `change_directory` says it
            kernel.mount_setattr(root, "", kernel.AT_EMPTY_PATH, set=kernel.MOUNT_ATTR_RDONLY)
        if self.propagation:
            kernel.mount(None, "/", None, PROPAGATION[self.propagation])


def change_directory(root: int, cwd: str) -> None:
    """Go to `process.cwd`, made if missing (as runc does), and prove that it is inside the root (CVE-2024-21626)."""
    try:
        fd = make_directory(root, cwd)
    except OSError as error:
        raise OSError(error.errno, f"working directory {cwd}: {os.strerror(error.errno or 0)}") from None
    os.fchdir(fd)
    os.close(fd)
    if not os.getcwd().startswith("/"):
        raise Failure("CreateError", f"working directory {cwd} is outside the container's root")


def write_sysctls(sysctls: Mapping[str, str], allowed: Iterable[str]) -> None:
    """Write OCI `linux.sysctl` (names as sysctl(8)): only those that belong to a namespace of the container's.

    Raises Failure for any other, since it would change the machine. Written through a descriptor proven to be procfs.
    """
    for name, value in sysctls.items():
        key = name.replace("/", ".") if "/" in name.partition(".")[0] else name
        if not key.startswith(tuple(allowed)):
            raise Failure("CreateError", f'sysctl "{name}" does not belong to a namespace of the container')
        proc = os.open("/proc/sys", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            if kernel.filesystem_type(proc) != kernel.PROC_SUPER_MAGIC:
                raise Failure("CreateError", "/proc is not procfs")
            inside = kernel.RESOLVE_BENEATH | kernel.RESOLVE_NO_XDEV | kernel.RESOLVE_NO_SYMLINKS
            fd = kernel.openat2(proc, key.replace(".", "/"), os.O_WRONLY, resolve=inside)
            try:
                os.write(fd, value.encode())
            finally:
                os.close(fd)
        except OSError as error:
            raise OSError(error.errno, f"sysctl {name}={value}: {os.strerror(error.errno or 0)}") from None
        finally:
            os.close(proc)


def allowed_sysctls(owns_net: bool, owns_ipc: bool, owns_uts: bool) -> tuple[str, ...]:
    """Name prefixes of the sysctls that live in these namespaces (sysctl names, as runc checks them)."""
    ipc = ("kernel.sem", "kernel.shm", "kernel.msg", "fs.mqueue.")
    return ("net.",) * owns_net + ipc * owns_ipc + ("kernel.domainname",) * owns_uts
