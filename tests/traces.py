"""Finds what a test left in the kernel. Called by the fixtures in `conftest.py`.

A trace is a mount, a cgroup, a named network namespace or a process that carries a watched directory or the name
of the cgroup that a node with that directory as its root would have.
"""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path

from minikube_lite.node.paths import Paths

MARK = "MINIKUBE_LITE_TEST"
"""The environment variable that holds a test's directory while it runs: what it starts inherits it."""

GRACE = 5.0
"""Seconds the kernel and a dying process get to clean up: an exit is not one instant for everything it held."""


class Traces:
    def __init__(self, *directories: Path) -> None:
        self._directories: list[str] = []
        self._cgroups: set[str] = set()
        for directory in directories:
            self.watch(directory)

    def watch(self, directory: Path) -> None:
        """Whatever carries this directory is the test's."""
        self._directories.append(os.path.realpath(directory))

    def watch_cgroup(self, path: str) -> None:
        """Whatever is in this cgroup (absolute in each hierarchy: `/name`) is the test's."""
        self._cgroups.add(path)

    def found(self) -> list[str]:
        """One line for each trace."""
        names = self._cgroup_names()
        return [*self._mounts(), *cgroups(names), *self._network_namespaces(), *self._processes(names)]

    def assert_none(self) -> None:
        """Fails with the list of what is left once the grace is over."""
        deadline = time.monotonic() + GRACE
        while (left := self.found()) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert not left, "left behind:\n  " + "\n  ".join(left)

    def sweep(self) -> None:
        """Takes away what is left, so that one failed test does not fail the next."""
        names = self._cgroup_names()
        for line in self._processes(names):
            os.kill(int(line.split()[1]), signal.SIGKILL)
        for line in reversed(self._mounts()):
            os.spawnlp(os.P_WAIT, "umount", "umount", "-l", line.split()[1])
        for line in sorted(cgroups(names), reverse=True):
            try:
                os.rmdir(line.split()[1])
            except OSError:
                pass

    def _cgroup_names(self) -> set[str]:
        """A node's cgroup is named after its root: the watched directory or one close below it."""
        names = set(self._cgroups)
        for directory in self._directories:
            below = Path(directory)
            for root in (below, *below.glob("*/"), *below.glob("*/*/")):
                names.add(Paths(root).cgroup)
        return names

    def _ours(self, text: str) -> bool:
        return any(re.search(rf"{re.escape(directory)}(?![\w-])", text) for directory in self._directories)

    def _mounts(self) -> list[str]:
        found = []
        for line in Path("/proc/self/mountinfo").read_text().splitlines():
            if self._ours(line):
                found.append(f"mount {line.split()[4]} ({line})")
        return found

    def _network_namespaces(self) -> list[str]:
        names = {name.strip("/") for name in self._cgroup_names()}
        there = sorted(Path("/run/netns").glob("*"))
        return [f"netns {path}" for path in there if any(name in path.name for name in names)]

    def _processes(self, names: set[str]) -> list[str]:
        found = []
        spared = _self_and_parents()
        for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
            if pid in spared:
                continue
            try:
                why = self._why_ours(f"/proc/{pid}", names)
                if why and (command := command_line(f"/proc/{pid}")) is not None:
                    found.append(f"process {pid} ({command}): {why}")
            except (FileNotFoundError, ProcessLookupError):
                continue  # It has gone while we looked.
            except PermissionError:
                continue  # It has capabilities that this process lacks, so no test can have started it.
        return found

    def _why_ours(self, proc: str, names: set[str]) -> str:
        """What ties the process to this test; "" if nothing does. Raises OSError where the process has gone."""
        for line in Path(proc, "cgroup").read_text().splitlines():
            path = line.split(":", 2)[2]
            if any(path == name or path.startswith(f"{name}/") for name in names):
                return f"cgroup {path}"
        for file in ("cmdline", "environ"):
            for word in Path(proc, file).read_bytes().split(b"\0"):
                if self._ours(text := os.fsdecode(word)):
                    return f"{file} {text}"
        for link in ("cwd", "root", "exe", *(f"fd/{fd}" for fd in os.listdir(f"{proc}/fd"))):
            try:
                target = os.readlink(f"{proc}/{link}")
            except FileNotFoundError:
                continue  # A kernel thread has no exe; a descriptor may be closed by now.
            if self._ours(target):
                return f"{link} {target}"
        return ""


def command_line(proc: str) -> str | None:
    """The command line of a live process; None for one that is dead and waits for its parent (a zombie)."""
    if Path(proc, "stat").read_text().rpartition(")")[2].split()[0] in "ZX":
        return None
    return os.fsdecode(Path(proc, "cmdline").read_bytes().replace(b"\0", b" ")).strip()


def cgroups(names: set[str]) -> list[str]:
    """The directories of these cgroups in every hierarchy, outermost first."""
    found = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields = line.split()
        if fields[fields.index("-") + 1] not in ("cgroup", "cgroup2"):
            continue
        for name in names:
            for directory, _, _ in os.walk(fields[4] + name):
                found.append(f"cgroup {directory}")
    return found


def _self_and_parents() -> set[int]:
    """This process and those that started it: their command lines may well name the directory (--basetemp)."""
    pids, pid = set(), os.getpid()
    while pid > 1:
        pids.add(pid)
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return pids
