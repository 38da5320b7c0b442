"""Cgroups of pods and containers on v1, v2 and the hybrid of both. Called by shim, init and sandbox (make, enter,
kill, remove) and by the node (change limits, count, sweep). Speaks OCI `cgroupsPath` and `linux.resources`.

    cgroup = Cgroup("/minikube-lite/pod1234/web-0")
    warnings = cgroup.create({"cpu": {"quota": 20000, "period": 100000}})
    cgroup.join()            # in the process that becomes the container
    cgroup.kill(); cgroup.remove()

What differs between versions is in cgroup_v1 and cgroup_v2; here it is one directory per hierarchy.
"""

from __future__ import annotations

import errno
import os

from minikube_lite.linux import cgroup_layout
from minikube_lite.linux import cgroup_tree as tree
from minikube_lite.linux import cgroup_v1 as v1
from minikube_lite.linux import cgroup_v2 as v2
from minikube_lite.linux.cgroup_layout import Hierarchy, Layout, layout
from minikube_lite.linux.cgroup_resources import plan
from minikube_lite.linux.cgroup_writes import Write, explained, number, read, weight_from_shares, write

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from minikube_lite.linux.devices_bpf import DeviceFilter

__all__ = ["Cgroup", "Hierarchy", "Layout", "Write", "layout", "resize", "sweep", "weight_from_shares"]

ALWAYS = ("cpu", "cpuacct", "memory", "pids", "devices")
SOFT = (errno.EINVAL, errno.EBUSY, errno.ERANGE)
"""A value that the kernel refuses (its parent allows less, memory is in use): a mismatch to report, not the end."""
PATIENCE = 2.0
"""Seconds that `kill` and `remove` give dying processes: an exit is not one instant for everything it held."""


class Cgroup:
    """One cgroup in every hierarchy that is used, at the same `path` (OCI `cgroupsPath`) in each."""

    __slots__ = ("layout", "path")

    def __init__(self, path: str, layout: Layout | None = None) -> None:
        parts = [part for part in path.split("/") if part not in ("", ".")]
        if not parts or ".." in parts:
            raise ValueError(f"cgroupsPath {path!r} does not name a cgroup below the top of the tree")
        self.path = "/" + "/".join(parts)
        self.layout = layout or cgroup_layout.layout()

    def __repr__(self) -> str:
        return f"Cgroup({self.path!r})"

    def directory(self, hierarchy: Hierarchy) -> str:
        return hierarchy.mount + self.path

    def file(self, controller: str, name: str) -> str | None:
        """The path of one of its files: `file("cpu", "cpu.shares")`. None where the controller is missing."""
        hierarchy = self.layout.find(controller)
        return f"{self.directory(hierarchy)}/{name}" if hierarchy else None

    def _hierarchies(self) -> dict[str, Hierarchy]:
        """By mount: those that every cgroup of ours is made in. The v2 tree comes first: it is what kills."""
        found = [self.layout.unified] if self.layout.unified else []
        names = ALWAYS if self.layout.unified else (*ALWAYS, "freezer")
        found += [self.layout.v1[name] for name in names if name in self.layout.v1]
        return {each.mount: each for each in found}

    def _all(self) -> dict[str, Hierarchy]:
        """And those where it may be: cpuset is only used when asked for, the freezer where there is no v2 tree."""
        extra = [self.layout.v1[name] for name in ("freezer", "cpuset") if name in self.layout.v1]
        return self._hierarchies() | {each.mount: each for each in extra}

    # -- making and limiting ---------------------------------------------------------------------------------------

    def create(self, resources: Mapping[str, Any] | None = None) -> list[str]:
        """Make it, with what lacks above it, and limit it. Returns what is not enforced, in words.

        Raises OSError in words; then nothing of it is left. One that is there already is used.
        """
        resources = resources or {}
        cpu = resources.get("cpu") or {}
        cpuset = bool(cpu.get("cpus") or cpu.get("mems"))
        used = self._hierarchies()
        if cpuset and (hierarchy := self.layout.find("cpuset")):
            used[hierarchy.mount] = hierarchy
        made: list[str] = []
        try:
            for each in used.values():
                made += self._make(each, cpuset)
            return self.apply(resources)
        except (OSError, ValueError):
            tree.unmake(made)
            raise

    def _make(self, hierarchy: Hierarchy, cpuset: bool) -> list[str]:
        """Make its directory in one hierarchy; v2: with the controllers that we limit by. Returns those made."""
        if hierarchy.version == 1:
            return tree.make(hierarchy.mount, self.path, (), cpuset="cpuset" in hierarchy.controllers)
        names = ("cpu", "memory", "pids", "cpuset") if cpuset else ("cpu", "memory", "pids")
        controllers = tuple(name for name in names if name in hierarchy.controllers)
        return tree.make(hierarchy.mount, self.path, controllers, cpuset=False)

    def describe(self, resources: Mapping[str, Any]) -> list[Write | DeviceFilter]:
        """The writes that `apply` would do now, in their order; nothing is written."""
        return plan(self, resources)[0]

    def apply(self, resources: Mapping[str, Any]) -> list[str]:
        """Write OCI `linux.resources` and read them back. Returns what is not enforced, in words. What `resources`
        does not name stays as it is; -1 is unlimited. Raises OSError in words, ValueError for a malformed rule.
        """
        writes, said = plan(self, resources)
        refused = set()
        for each in writes:
            try:
                each.apply()
            except OSError as error:
                if error.errno not in SOFT or not each.soft:
                    raise
                for step in each.undo:
                    step.apply()
                refused.add(each.path)
                said.append(error.strerror or str(error))
        last = {each.path: each for each in writes if each.path not in refused}
        said += [words for each in last.values() if (words := each.mismatch())]
        rules = resources.get("devices")
        if rules and "devices" in self.layout.v1:
            words = v1.devices_mismatch(self.directory(self.layout.v1["devices"]), rules)
            said += [words] if words else []
        return said

    # -- processes -------------------------------------------------------------------------------------------------

    def join(self, pid: int = 0) -> None:
        """Move a process (0: the calling one) into it, in every hierarchy. Raises OSError in words.

        Writing to `cgroup.procs` stops all forks of the machine and waits for every CPU, some 8 ms. v1's `tasks` moves
        a single thread without that: the same, for a process that has but one. On v2 only a process that is there
        already, as it was born there (clone3, CLONE_INTO_CGROUP), is spared.
        """
        required = self._hierarchies()
        alone = pid == 0 and _one_thread()
        for mount, hierarchy in self._all().items():
            if pid == 0 and hierarchy.version == 2 and self._inside(hierarchy):
                continue
            file = f"{mount}{self.path}/{'tasks' if alone and hierarchy.version == 1 else 'cgroup.procs'}"
            try:
                write(file, str(pid))
            except OSError as error:
                if error.errno == errno.ENOENT and mount not in required:
                    continue
                raise explained(f"move process {pid or os.getpid()}", file, error) from None

    def _inside(self, unified: Hierarchy) -> bool:
        """Whether the calling process is in it already, in the v2 tree."""
        try:
            return f"0::{unified.root.rstrip('/')}{self.path}" in read("/proc/self/cgroup").splitlines()
        except OSError:  # no /proc here: then join it once more
            return False

    def pids(self) -> list[int]:
        """All processes in it and below."""
        return sorted({pid for mount in self._hierarchies() for pid in tree.procs_below(mount + self.path)})

    def populated(self) -> bool:
        """Whether any process is in it or below."""
        if self.layout.unified and tree.populated(self.directory(self.layout.unified)):
            return True
        return any(tree.procs_below(mount + self.path) for mount, each in self._all().items() if each.version == 1)

    def kill(self) -> None:
        """SIGKILL to everything in it and below, however fast it forks. With `cgroup.kill` they may still be dying
        when this returns; without, it returns when all are gone or after 2 s. No error if there is no such cgroup.
        """
        unified = self.layout.unified
        if unified and tree.kill_v2(self.directory(unified)):
            listed = self.pids()
            if not set(listed) - set(tree.procs_below(self.directory(unified))):
                return
            # A process that somebody has put into v1 hierarchies alone: the slow way for it.
        freezer = self.layout.v1.get("freezer")
        for _ in tree.pauses(PATIENCE):
            if freezer:
                tree.freeze(self.directory(freezer), True)
            try:
                killed = sum(tree.kill_listed(each.mount + self.path) for each in self._hierarchies().values())
            finally:
                if freezer:
                    tree.freeze(self.directory(freezer), False)
            if not killed:
                return

    # -- end -------------------------------------------------------------------------------------------------------

    def exists(self) -> bool:
        """Whether any hierarchy has it."""
        return any(os.path.isdir(mount + self.path) for mount in self._all())

    def children(self) -> list[str]:
        """Names of the cgroups directly below it, in any hierarchy."""
        names = set()
        for mount in self._all():
            try:
                with os.scandir(mount + self.path) as entries:
                    names |= {entry.name for entry in entries if entry.is_dir(follow_symlinks=False)}
            except FileNotFoundError:
                continue
        return sorted(names)

    def remove(self, patience: float = PATIENCE) -> bool:
        """Remove it and all below it from every hierarchy, children first. Waits `patience` seconds for dying
        processes; False if some still live then: what is busy stays. True if it is gone, or never was. Raises OSError
        in words.
        """
        left = [mount + self.path for mount in self._all()]
        left = [directory for directory in left if not tree.remove(directory)]
        if left:
            for _ in tree.pauses(patience):
                left = [directory for directory in left if not tree.remove(directory)]
                if not left:
                    break
        return not left

    # -- counters --------------------------------------------------------------------------------------------------

    def oom_kills(self) -> int:
        """Processes in it or below that the kernel killed for want of memory. 0 without the controller or cgroup."""
        hierarchy = self.layout.find("memory")
        if not hierarchy:
            return 0
        try:
            if hierarchy.version == 2:  # counts what is below as well
                return v2.oom_kills(self.directory(hierarchy))
            return sum(v1.oom_kills(each) for each in tree.walk(self.directory(hierarchy)))
        except OSError as error:
            if error.errno in tree.GONE:
                return 0
            raise

    def stats(self) -> dict[str, int | None]:
        """Counters by name; a name is absent where its controller is. Times in ns, memory in bytes, None: no limit.

        cpu_usage_ns, cpu_periods, cpu_throttled_periods, cpu_throttled_ns, memory_usage, memory_working_set (without
        file pages that can be dropped, as kubectl top), memory_limit, pids. Raises FileNotFoundError once removed.
        """
        stats: dict[str, int | None] = {}
        if self.layout.unified:  # counts CPU time even where the controller is on v1
            stats |= v2.cpu_counters(self.directory(self.layout.unified))
        if cpu := self.layout.v1.get("cpu"):
            stats |= v1.cpu_counters(self.directory(cpu))
        if cpuacct := self.layout.v1.get("cpuacct"):
            stats["cpu_usage_ns"] = int(read(f"{self.directory(cpuacct)}/cpuacct.usage"))
        if memory := self.layout.find("memory"):
            count = v1.memory_counters if memory.version == 1 else v2.memory_counters
            stats |= count(self.directory(memory))
        if file := self.file("pids", "pids.current"):
            stats["pids"] = number(file)
        return stats


def _one_thread() -> bool:
    try:
        return os.stat("/proc/self/task").st_nlink == 3  # ".", ".." and one for each thread
    except OSError:
        return False


# -- more than one cgroup ----------------------------------------------------------------------------------------------


def resize(
    parent: Cgroup, parent_resources: Mapping[str, Any], children: Sequence[tuple[Cgroup, Mapping[str, Any]]]
) -> list[str]:
    """`apply` to a pod and its containers, in an order that v1 takes: it refuses a child that may use more CPU than
    its parent, at every moment. A parent that gets more goes first, one that gets less goes last. A child that is
    gone by now is left out. Raises as `apply` does.
    """
    said: list[str] = []
    narrows = _cpu_narrows(parent, parent_resources.get("cpu") or {})
    if not narrows:
        said += parent.apply(parent_resources)
    for child, resources in children:
        try:
            said += child.apply(resources)
        except OSError as error:
            if error.errno not in tree.GONE or child.exists():
                raise  # a container that has just ended needs no limits
    if narrows:
        said += parent.apply(parent_resources)
    return said


def _cpu_narrows(cgroup: Cgroup, wanted: Mapping[str, Any]) -> bool:
    """Whether the new quota/period is less than the present one. Compared as fractions, without division."""
    quota = wanted.get("quota") or 0
    hierarchy = cgroup.layout.find("cpu")
    if not hierarchy or quota <= 0:
        return False
    names = ("cpu.cfs_quota_us", "cpu.cfs_period_us") if hierarchy.version == 1 else ("cpu.max",)
    try:
        now = " ".join(read(f"{cgroup.directory(hierarchy)}/{name}") for name in names).split()
    except FileNotFoundError:  # `apply` will say so
        return False
    if now[0] in ("-1", "max"):
        return True
    period = wanted.get("period") or int(now[1])
    return bool(quota * int(now[1]) < int(now[0]) * period)


def sweep(path: str, layout: Layout | None = None) -> bool:
    """Kill and remove a whole subtree of ours, in every hierarchy. False if something in it does not die within 2 s."""
    cgroup = Cgroup(path, layout)
    cgroup.kill()
    return cgroup.remove()
