"""Mounts as values: what an OCI config asks for, said in a line (`describe`) and done in a call (`apply`).

Called by rootfs (in the container's new mount namespace) and by sandbox. Reads OCI mount entries (runtime spec,
config.md "Mounts"; option names as mount(8)); touches nothing until `apply`.
"""

from __future__ import annotations

import errno
import json
import os

from minikube_lite.linux import syscalls as kernel
from minikube_lite.linux.errors import Failure
from minikube_lite.linux.inside import by_fd, make_mount_point, open_inside
from minikube_lite.linux.parts import open_part

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

FLAGS = {  # option: (flags to set, flags to clear)
    "ro": (kernel.MS_RDONLY, 0),
    "rw": (0, kernel.MS_RDONLY),
    "nosuid": (kernel.MS_NOSUID, 0),
    "suid": (0, kernel.MS_NOSUID),
    "nodev": (kernel.MS_NODEV, 0),
    "dev": (0, kernel.MS_NODEV),
    "noexec": (kernel.MS_NOEXEC, 0),
    "exec": (0, kernel.MS_NOEXEC),
    "sync": (kernel.MS_SYNCHRONOUS, 0),
    "async": (0, kernel.MS_SYNCHRONOUS),
    "dirsync": (kernel.MS_DIRSYNC, 0),
    "mand": (kernel.MS_MANDLOCK, 0),
    "nomand": (0, kernel.MS_MANDLOCK),
    "noatime": (kernel.MS_NOATIME, 0),
    "atime": (0, kernel.MS_NOATIME),
    "nodiratime": (kernel.MS_NODIRATIME, 0),
    "diratime": (0, kernel.MS_NODIRATIME),
    "relatime": (kernel.MS_RELATIME, 0),
    "norelatime": (0, kernel.MS_RELATIME),
    "strictatime": (kernel.MS_STRICTATIME, 0),
    "nostrictatime": (0, kernel.MS_STRICTATIME),
    "lazytime": (kernel.MS_LAZYTIME, 0),
    "nosymfollow": (kernel.MS_NOSYMFOLLOW, 0),
    "symfollow": (0, kernel.MS_NOSYMFOLLOW),
    "iversion": (kernel.MS_I_VERSION, 0),
    "silent": (kernel.MS_SILENT, 0),
    "loud": (0, kernel.MS_SILENT),
    "bind": (kernel.MS_BIND, 0),
    "rbind": (kernel.MS_BIND | kernel.MS_REC, 0),
    "defaults": (0, 0),
}
PROPAGATION = {
    name: flag | recursive
    for word, flag in {
        "private": kernel.MS_PRIVATE,
        "slave": kernel.MS_SLAVE,
        "shared": kernel.MS_SHARED,
        "unbindable": kernel.MS_UNBINDABLE,
    }.items()
    for name, recursive in ((word, 0), (f"r{word}", kernel.MS_REC))
}
ATTRIBUTES = {  # the mount flags that a bind mount can have of its own, as mount_setattr(2) numbers them
    kernel.MS_RDONLY: kernel.MOUNT_ATTR_RDONLY,
    kernel.MS_NOSUID: kernel.MOUNT_ATTR_NOSUID,
    kernel.MS_NODEV: kernel.MOUNT_ATTR_NODEV,
    kernel.MS_NOEXEC: kernel.MOUNT_ATTR_NOEXEC,
    kernel.MS_NODIRATIME: kernel.MOUNT_ATTR_NODIRATIME,
    kernel.MS_NOSYMFOLLOW: kernel.MOUNT_ATTR_NOSYMFOLLOW,
}
ATIMES = {
    kernel.MS_NOATIME: kernel.MOUNT_ATTR_NOATIME,
    kernel.MS_STRICTATIME: kernel.MOUNT_ATTR_STRICTATIME,
    kernel.MS_RELATIME: kernel.MOUNT_ATTR_RELATIME,
}
RECURSIVE = ("ro", "rw", "nosuid", "suid", "nodev", "dev", "noexec", "exec", "nosymfollow", "symfollow")
MOUNT_ROOTS = "io.minikube-lite.mount-roots"
OF_THE_KERNEL = ("proc", "sysfs", "cgroup", "cgroup2", "devpts", "mqueue")


class Mount:
    """One mount: `source` on `destination` (a path inside the root that it is applied to)."""

    __slots__ = (
        "attrs",
        "clear",
        "clear_attrs",
        "data",
        "destination",
        "flags",
        "propagation",
        "source",
        "tree",
        "type",
        "within",
    )

    def __init__(
        self, destination: str, type: str = "", source: str = "", flags: int = 0, data: str = "", propagation: int = 0
    ) -> None:
        self.destination, self.type, self.source = destination, type, source
        self.flags, self.data, self.propagation = flags, data, propagation
        self.clear = self.attrs = self.clear_attrs = 0
        self.tree = -1
        self.within: Mapping[str, Any] | None = None
        """The directory that the source of a bind may not lead out of: see `roots_of`."""

    @classmethod
    def from_oci(cls, entry: Mapping[str, Any], destination: str | None = None) -> Mount:
        """Read one entry of `mounts`. Options that are no flag are the file system's own and go to it as data."""
        mount = cls(destination or entry["destination"], entry.get("type") or "", entry.get("source") or "")
        if entry.get("uidMappings") or entry.get("gidMappings"):
            raise Failure("CreateError", f"{mount.describe()}: mappings of user ids are not supported")
        data = []
        for option in entry.get("options") or ():
            if option in FLAGS:
                on, off = FLAGS[option]
                mount.flags = mount.flags & ~off | on
                mount.clear = mount.clear & ~on | off
            elif option in PROPAGATION:
                mount.propagation |= PROPAGATION[option]
            elif option[:1] == "r" and option[1:] in RECURSIVE:  # rro, rnosuid…: of all mounts below as well
                on, off = FLAGS[option[1:]]
                mount.attrs |= ATTRIBUTES.get(on, 0)
                mount.clear_attrs |= ATTRIBUTES.get(off, 0)
            else:
                data.append(option)
        mount.data = ",".join(data)
        if mount.type == "bind" or mount.type == "none":
            mount.flags |= kernel.MS_BIND
        if mount.flags & kernel.MS_BIND and not os.path.isabs(mount.source):
            raise Failure("CreateError", f"{mount.describe()}: the source of a bind mount must be an absolute path")
        return mount

    def describe(self) -> str:
        """As a person would say it: `mount tmpfs on /dev (nosuid,strictatime,mode=755)`."""
        options = [name for name, (on, _) in FLAGS.items() if on and self.flags & on == on and "bind" not in name]
        options += [self.data] if self.data else []
        what = f"bind {self.source}" if self.flags & kernel.MS_BIND else self.type
        return f"mount {what} on {self.destination}" + (f" ({','.join(options)})" if options else "")

    def apply(self, root: int) -> None:
        """Mount it inside the root that `root` is open on. Raises Failure or an OSError that names mount and step."""
        try:
            if self.flags & kernel.MS_BIND:
                self._bind(root)
            else:
                self._mount(root)
        except OSError as error:
            raise OSError(error.errno, f"{self.describe()}: {self._why(error)}") from None

    def _why(self, error: OSError) -> str:
        strict = not self._symlinks()
        if error.errno == errno.ELOOP and strict:
            return f"{self.destination} of the image is a symlink or lies behind one"
        return (error.strerror or str(error)).removeprefix(f"mount {self.type} on ")

    def _symlinks(self) -> bool:
        """Whether symlinks inside the root may be followed to the mount point.

        Yes for what users mount (`/var/run` is one in most images). No for what the kernel makes and for /dev: a
        /proc that leads elsewhere leaves masking and later look-ups at the wrong place (CVE-2019-19921).
        """
        return not (self.type in OF_THE_KERNEL or self.destination == "/dev" or self.destination.startswith("/dev/"))

    def _mount(self, root: int) -> None:
        target = make_mount_point(root, self.destination, directory=True, symlinks=self._symlinks())
        try:
            data, held = _overlay_data(self.data) if self.type == "overlay" else (self.data, [])
            try:
                kernel.mount(self.source or self.type, by_fd(target), self.type, self.flags, data or None)
            except OSError as error:
                raise OSError(error.errno, os.strerror(error.errno or 0)) from None
            finally:
                for fd in held:
                    os.close(fd)
        finally:
            os.close(target)
        if self.propagation:
            on_top = open_inside(root, self.destination, symlinks=self._symlinks())
            kernel.mount(None, by_fd(on_top), None, self.propagation)
            os.close(on_top)

    def open_source(self) -> None:
        """Copy the mount tree of a bind's source, detached, with its attributes, ready to be attached.

        Done early for `rshared`: the copy must be taken before `/` becomes a slave, to stay a peer of the host's.
        """
        if self.tree >= 0:
            return
        recursive = kernel.AT_RECURSIVE if self.flags & kernel.MS_REC else 0
        if self.within is None:
            self.tree = kernel.open_tree(kernel.AT_FDCWD, self.source, kernel.OPEN_TREE_CLONE | recursive)
        else:
            root = self.within["root"]
            part = open_part(root, os.path.relpath(self.source, root), create=bool(self.within.get("create")))
            try:
                flags = kernel.OPEN_TREE_CLONE | kernel.AT_EMPTY_PATH | recursive
                self.tree = kernel.open_tree(part, "", flags)
            finally:
                os.close(part)
        self._set_attributes(recursive)

    def _set_attributes(self, recursive: int) -> None:
        on, off = self.attrs, self.clear_attrs
        if on or off:
            kernel.mount_setattr(self.tree, "", kernel.AT_EMPTY_PATH | recursive, set=on, clear=off)
        on = sum(attribute for flag, attribute in ATTRIBUTES.items() if self.flags & flag)
        off = sum(attribute for flag, attribute in ATTRIBUTES.items() if self.clear & flag)
        for flag, attribute in ATIMES.items():
            if self.flags & flag:
                on, off = on | attribute, off | kernel.MOUNT_ATTR__ATIME
        # A mount's propagation is private unless it asks otherwise (Kubernetes: mountPropagation None).
        kind = self.propagation & ~kernel.MS_REC or kernel.MS_PRIVATE
        deep = recursive if self.propagation & kernel.MS_REC or not self.propagation else 0
        if deep and (on or off):
            kernel.mount_setattr(self.tree, "", kernel.AT_EMPTY_PATH, set=on, clear=off)
            on = off = 0
        kernel.mount_setattr(self.tree, "", kernel.AT_EMPTY_PATH | deep, set=on, clear=off, propagation=kind)

    def _bind(self, root: int) -> None:
        self.open_source()
        try:
            directory = _is_directory(self.tree)
            target = make_mount_point(root, self.destination, directory=directory, symlinks=self._symlinks())
            try:
                if not directory and _is_directory(target):
                    raise OSError(errno.EISDIR, "the source is a file, the destination a directory")
                _check_target(root, target, self.destination)
                kernel.move_mount(self.tree, target)
            finally:
                os.close(target)
        finally:
            os.close(self.tree)
            self.tree = -1


def _is_directory(fd: int) -> bool:
    return os.fstat(fd).st_mode & 0o170000 == 0o040000


def _check_target(root: int, target: int, destination: str) -> None:
    """An image may have a symlink to anywhere: never mount over its root, nor in /proc (CVE-2019-19921)."""
    if kernel.filesystem_type(target) == kernel.PROC_SUPER_MAGIC and not destination.startswith("/proc/"):
        raise OSError(errno.EINVAL, "the destination leads into /proc")
    if os.path.samestat(os.fstat(root), os.fstat(target)):
        raise OSError(errno.EINVAL, "the destination leads to the root of the container")


def roots_of(config: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
    """Of the annotation `MOUNT_ROOTS`: destination → {"root": a directory, "create": whether to make what is missing}.

    The source of that mount is a path below `root` that others may change meanwhile; it is resolved inside of it.
    """
    text = (config.get("annotations") or {}).get(MOUNT_ROOTS)
    roots: Mapping[str, Mapping[str, Any]] = json.loads(text) if text else {}
    return roots


def bind_read_only(root: int, path: str) -> None:
    """Make what is at `path` read-only, by a bind mount of itself; nothing if it is not there (OCI `readonlyPaths`)."""
    try:
        fd = open_inside(root, path)
    except FileNotFoundError:
        return
    try:
        tree = kernel.open_tree(fd, "", kernel.OPEN_TREE_CLONE | kernel.AT_EMPTY_PATH | kernel.AT_RECURSIVE)
        try:
            kernel.mount_setattr(tree, "", kernel.AT_EMPTY_PATH | kernel.AT_RECURSIVE, set=kernel.MOUNT_ATTR_RDONLY)
            kernel.move_mount(tree, fd)
        finally:
            os.close(tree)
    finally:
        os.close(fd)


def overlay(lower: Sequence[str], upper: str, work: str) -> dict[str, Any]:
    """The OCI mount of an overlay: `lower` are the layers, bottom first, `upper` takes what is written.

    Overlayfs splits options at `,` and layers at `:`; in a path both, and the backslash, get a backslash before them.
    """
    layers = ":".join(_escape(path) for path in reversed(lower))
    options = [f"lowerdir={layers}", f"upperdir={_escape(upper)}", f"workdir={_escape(work)}"]
    return {"type": "overlay", "source": "overlay", "options": options}


def overlay_of_layers(lower: Sequence[str]) -> dict[str, Any]:
    """Likewise of two layers or more that nobody writes to."""
    options = ["ro", f"lowerdir={':'.join(_escape(path) for path in reversed(lower))}"]
    return {"type": "overlay", "source": "overlay", "options": options}


def _escape(path: str) -> str:
    return "".join("\\" + letter if letter in "\\,:" else letter for letter in path)


def _split(text: str, separator: str) -> list[str]:
    """Split at separators with no backslash before them; backslashes stay."""
    parts, part, letters = [], "", iter(text)
    for letter in letters:
        if letter == "\\":
            part += letter + next(letters, "")
        elif letter == separator:
            parts.append(part)
            part = ""
        else:
            part += letter
    return [*parts, part]


def _unescape(path: str) -> str:
    letters = iter(path)
    return "".join(next(letters, "") if letter == "\\" else letter for letter in letters)


def _overlay_data(data: str) -> tuple[str, Iterable[int]]:
    """Options that fit in the page that mount(2) takes: long ones name their directories by descriptor instead."""
    if len(os.fsencode(data)) < os.sysconf("SC_PAGE_SIZE"):
        return data, []
    held: list[int] = []

    def short(path: str) -> str:
        held.append(os.open(_unescape(path), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))
        return by_fd(held[-1])

    options = []
    for option in _split(data, ","):
        name, is_pair, value = option.partition("=")
        if is_pair and name in ("lowerdir", "upperdir", "workdir"):
            value = ":".join(short(path) for path in _split(value, ":"))
        options.append(f"{name}={value}" if is_pair else name)
    return ",".join(options), held
