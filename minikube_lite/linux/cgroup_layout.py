"""Where the cgroup hierarchies of this machine are. Called by cgroups; `discover` is pure: two texts in, a value out.

v1 has one tree per controller (or group of them), v2 one tree for all. *Hybrid* is both at once: controllers on v1
and a v2 tree beside them, which is good for `cgroup.kill` and for knowing when a cgroup is empty. See cgroups(7).
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Hierarchy:
    """One mounted tree. `mount` is where our paths begin; `controllers` are those that can be used in it."""

    __slots__ = ("controllers", "mount", "root", "version", "writable")

    def __init__(self, version: int, mount: str, controllers: tuple[str, ...], root: str, writable: bool) -> None:
        self.version, self.mount, self.controllers = version, mount, controllers
        self.root, self.writable = root, writable

    def better(self, than: Hierarchy) -> bool:
        """Of two mounts of one tree: one that can be written, then one that shows more of the tree."""
        return (not self.writable, len(self.root.rstrip("/"))) < (not than.writable, len(than.root.rstrip("/")))

    def __repr__(self) -> str:
        return f"Hierarchy(v{self.version} {','.join(self.controllers) or '-'} at {self.mount})"


class Layout:
    """All hierarchies: `v1` by controller, `unified` the v2 tree if there is one."""

    __slots__ = ("known", "unified", "v1")

    def __init__(self, v1: dict[str, Hierarchy], unified: Hierarchy | None, known: frozenset[str]) -> None:
        self.v1, self.unified = v1, unified
        self.known = known
        """v1 controllers that the kernel has in use, mounted here or not."""

    @classmethod
    def discover(cls, mountinfo: str, self_cgroup: str, controllers: Callable[[str], str] = lambda mount: "") -> Layout:
        """Read `/proc/self/mountinfo` and `/proc/self/cgroup` (proc(5)).

        `controllers` gives the text of `cgroup.controllers` at the top of the v2 tree: the two files do not say it.
        """
        v1: dict[str, Hierarchy] = {}
        unified = None
        for kind, root, mount, writable, options in _visible(mountinfo):
            if kind == "cgroup2":
                tree = Hierarchy(2, mount, (), root, writable)
                if unified is None or tree.better(unified):
                    unified = tree
                continue
            names = tuple(name for name in options if name not in NO_CONTROLLERS and not name.startswith("name="))
            tree = Hierarchy(1, mount, names, root, writable)
            for name in names:
                if name not in v1 or tree.better(v1[name]):
                    v1[name] = tree
        if unified:
            unified.controllers = tuple(controllers(unified.mount).split())
        known = {
            name
            for line in self_cgroup.splitlines()
            for name in line.split(":", 2)[1].split(",")
            if name and not name.startswith("name=")
        }
        return cls(v1, unified, frozenset(known))

    @property
    def kind(self) -> str:
        if self.v1:
            return "hybrid" if self.unified else "v1"
        return "v2" if self.unified else "none"

    def find(self, controller: str) -> Hierarchy | None:
        """The tree that has this controller; None if there is none."""
        if controller in self.v1:
            return self.v1[controller]
        if self.unified and controller in self.unified.controllers:
            return self.unified
        return None

    def missing(self, controller: str) -> str:
        """Why `find` found nothing, as words to begin a sentence with, and what to do about it."""
        if controller in self.known:
            return f"{controller} controller is not mounted (mount -t cgroup -o {controller} …)"
        if self.kind == "none":
            return f"{controller} controller is missing: no cgroup file system is mounted"
        return f"{controller} controller is missing"

    def shortcomings(self) -> list[str]:
        """What cannot be enforced on this machine at all, one line each."""
        needed = {"cpu": "CPU limits", "memory": "memory limits", "pids": "limits of processes"}
        lines = [
            f"{self.missing(name)}: {what} are not enforced" for name, what in needed.items() if not self.find(name)
        ]
        if not (self.find("devices") or self.unified):
            lines.append(f"{self.missing('devices')}: access to devices is not limited")
        return lines


NO_CONTROLLERS = frozenset(
    ("rw", "ro", "none", "noprefix", "clone_children", "xattr", "cpuset_v2_mode", "favordynmods", "nsdelegate")
) | {"memory_localevents", "memory_recursiveprot", "relatime", "seclabel"}
"""Options of a cgroup mount that name no controller (`cgroup1_show_options` in the kernel)."""


def _visible(mountinfo: str) -> Iterator[tuple[str, str, str, bool, list[str]]]:
    """(type, root, mount point, writable, super options) of each cgroup mount that no other mount lies upon."""
    parents: dict[str, str] = {}
    at: dict[str, list[str]] = {}
    found = []
    for line in mountinfo.splitlines():
        fields = line.split(" ")
        if "-" not in fields:
            continue
        number, parent, _, root, mount, options = fields[:6]
        kind, _, supers = fields[fields.index("-") + 1 :][:3]
        mount = _unescape(mount)
        parents[number] = parent
        at.setdefault(mount, []).append(number)
        if kind in ("cgroup", "cgroup2"):
            writable = "ro" not in options.split(",") and "ro" not in supers.split(",")
            found.append((number, kind, _unescape(root), mount, writable, supers.split(",")))
    for number, kind, root, mount, writable, supers_ in found:
        if not _hidden(number, mount, parents, at):
            yield kind, root, mount, writable, supers_


def _hidden(number: str, mount: str, parents: dict[str, str], at: dict[str, list[str]]) -> bool:
    """Whether another mount covers it: one on its path or on a parent directory that it is not mounted below."""
    above = {number}
    while number in parents and parents[number] not in above:
        number = parents[number]
        above.add(number)
    parts = mount.rstrip("/").split("/")
    paths = ["/".join(parts[:count]) or "/" for count in range(1, len(parts) + 1)]
    return any(other not in above for path in paths for other in at.get(path, ()))


def _unescape(path: str) -> str:
    """mountinfo writes space, tab, newline and backslash as three octal digits."""
    head, *rest = path.split("\\")
    return head + "".join(chr(int(part[:3], 8)) + part[3:] for part in rest)


_layout: Layout | None = None


def layout() -> Layout:
    """This machine's, read once per process (forked children inherit what was read). Raises OSError without /proc."""
    global _layout
    if _layout is None:
        _layout = Layout.discover(read("/proc/self/mountinfo"), read("/proc/self/cgroup"), _controllers)
    return _layout


def _controllers(mount: str) -> str:
    try:
        return read(f"{mount}/cgroup.controllers")
    except OSError:  # a tree that cannot even be read offers nothing
        return ""


def read(path: str) -> str:
    with open(path, encoding="utf-8", errors="surrogateescape") as file:
        return file.read()
