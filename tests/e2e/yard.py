"""A real node with a root file system at hand, and what the kernel says about its containers. For every test here."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minikube_lite.linux.cgroup_writes import weight_from_shares
from tests.node_process import NodeProcess

Json = dict[str, Any]
IDLE = ("sleep", "infinity")


class Yard:
    """Pods of one node, made of the busybox root file system unless told otherwise."""

    def __init__(self, node: NodeProcess, rootfs: Path) -> None:
        self.node = node
        self.rootfs = rootfs
        self.since = 0
        """Events up to this resource version are those of earlier tests."""

    # -- manifests ---------------------------------------------------------------------------------------------------

    def container(self, script: str | None = None, name: str = "app", **fields: Any) -> Json:
        """A container that runs a shell script, or waits for ever."""
        command = ["sh", "-c", script] if script is not None else list(IDLE)
        return {"name": name, "image": str(self.rootfs), "command": command, **fields}

    def manifest(self, name: str, *containers: Json, **spec: Any) -> Json:
        """A pod of these containers (one that waits, if none) that is killed at once when it is to go."""
        grace = {"terminationGracePeriodSeconds": 0}
        metadata = {"name": name, **spec.pop("metadata", {})}
        body = {**grace, **spec, "containers": list(containers) or [self.container()]}
        return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": body}

    def put(self, name: str, *containers: Json, **spec: Any) -> Path:
        """Drop the pod's file `NAME.json` into the directory."""
        return self.node.put(f"{name}.json", self.manifest(name, *containers, **spec))

    def run(self, name: str, *containers: Json, **spec: Any) -> Json:
        """Drop it and wait until it runs; returns the pod's object."""
        self.put(name, *containers, **spec)
        return self.node.wait_phase(name, "Running")

    def remove(self, name: str) -> None:
        (self.node.manifests / f"{name}.json").unlink()
        self.node.wait_gone(name)

    # -- asking from inside ------------------------------------------------------------------------------------------

    def exec(self, pod: str, *command: str, container: str = "app") -> str:
        """What a command inside prints; its failure fails the test."""
        return self.node.cli("exec", pod, "-c", container, "--", *command).stdout

    def sh(self, pod: str, script: str, container: str = "app") -> str:
        return self.exec(pod, "sh", "-c", script, container=container)

    def log(self, pod: str, container: str = "app") -> str:
        """The log once it is at rest: the text of the lines."""
        return self.node.cli("logs", pod, "-c", container).stdout

    def log_says(self, pod: str, text: str, container: str = "app") -> str:
        """Wait until the log holds this text; returns the log."""

        def look() -> str:
            found = self.log(pod, container)
            return found if text in found else ""

        return self.node.wait_until(look, f"the log of {pod} says {text!r}")

    def events(self, pod: str) -> list[Json]:
        items: list[Json] = self.node.get("/api/v1/events")["items"]
        items = [event for event in items if int(event["metadata"]["resourceVersion"]) > self.since]
        return [event for event in items if event["involvedObject"]["name"] == pod]

    def wait_event(self, pod: str, reason: str, text: str = "") -> Json:
        def look() -> Json | None:
            for event in self.events(pod):
                if event["reason"] == reason and text in event["message"]:
                    return event
            return None

        return self.node.wait_until(look, f"there is an event {reason} of {pod} with {text!r}")

    # -- asking the machine's side -----------------------------------------------------------------------------------

    def uid(self, pod: str) -> str:
        found = self.node.pod(pod)
        assert found is not None, f"no pod {pod}"
        uid: str = found["metadata"]["uid"]
        return uid

    def bundle(self, pod: str, container: str = "app") -> Path:
        """The OCI bundle of the container's present run."""
        directory = self.node.paths.pod_state(self.uid(pod))
        name = json.loads((directory / "record.json").read_text())["bundles"][container]
        return directory / f"{container}-{name}"

    def state(self, pod: str, container: str = "app") -> Json:
        state: Json = json.loads((self.bundle(pod, container) / "state.json").read_text())
        return state

    def pid(self, pod: str, container: str = "app") -> int:
        """The container's PID 1, as the machine numbers it."""
        pid: int = self.state(pod, container)["pid"]
        return pid

    def cgroup(self, pod: str, container: str | None = "app") -> str:
        """The path in each hierarchy; None: the pod's own."""
        base = self.node.paths.pod_cgroup(self.uid(pod))
        return base if container is None else f"{base}/{self.bundle(pod, container).name}"

    def limits(self, pod: str, container: str | None = "app") -> Limits:
        """What the kernel holds, read from the machine's side; None: the pod's own cgroup."""
        path = self.cgroup(pod, container).lstrip("/")
        return Limits.read(lambda controller, file: (hierarchy(controller) / path / file).read_text())

    def limits_inside(self, pod: str, container: str = "app") -> Limits:
        """The same, asked by a command inside the container."""
        flat = hierarchy("cpu") == hierarchy("memory")
        top = Path("/sys/fs/cgroup")
        return Limits.read(
            lambda controller, file: self.exec(
                pod, "cat", str(top / file if flat else top / controller / file), container=container
            )
        )

    def cpu_stat(self, pod: str, container: str = "app") -> dict[str, int]:
        """nr_periods, nr_throttled and `usage` in microseconds."""
        lines = (self.controller("cpu", pod, container) / "cpu.stat").read_text().splitlines()
        values = {name: int(value) for name, value in (line.split() for line in lines)}
        if "usage_usec" not in values:
            usage = (self.controller("cpuacct", pod, container) / "cpuacct.usage").read_text()
            values["usage_usec"] = int(usage) // 1000
        return {"usage": values["usage_usec"], **{name: values[name] for name in ("nr_periods", "nr_throttled")}}

    def controller(self, controller: str, pod: str, container: str | None = "app") -> Path:
        return hierarchy(controller) / self.cgroup(pod, container).lstrip("/")

    def status(self, pod: str, container: str = "app") -> Json:
        """The container's status from the API."""
        found = self.node.pod(pod)
        assert found is not None, f"no pod {pod}"
        return container_status(found, container)

    def restarts(self, pod: str, container: str = "app") -> int:
        count: int = self.status(pod, container)["restartCount"]
        return count

    def wait_restarts(self, pod: str, count: int, container: str = "app") -> Json:
        """Wait until this restart is running."""

        def look() -> Json | None:
            found = self.node.pod(pod)
            if found is None:
                return None
            seen = container_status(found, container)
            return seen if seen["restartCount"] >= count and "running" in seen["state"] else None

        return self.node.wait_until(look, f"{pod}/{container} runs after {count} restarts")

    def wait_state(self, pod: str, state: str, reason: str = "", container: str = "app") -> Json:
        """Wait until the container is `waiting` / `running` / `terminated` (for this reason); returns that state."""

        def look() -> Json | None:
            found = self.node.pod(pod)
            if found is None or not found["status"].get("containerStatuses"):
                return None
            seen: Json = container_status(found, container)["state"].get(state)
            return seen if seen is not None and reason in ("", seen.get("reason")) else None

        return self.node.wait_until(look, f"{pod}/{container} is {state} {reason}")

    def clear(self) -> None:
        """Take every manifest away; every pod has to go, and all that was its own with it."""
        for file in self.node.manifests.iterdir():
            shutil.rmtree(file) if file.is_dir() and not file.is_symlink() else file.unlink()
        self.node.wait_until(lambda: not self.node.pods(), "no pod is left")
        paths = self.node.paths
        for directory in (paths.pods, paths.run / "pods", paths.run / "volumes", paths.logs / "pods"):
            assert not directory.is_dir() or not list(directory.iterdir()), directory
        assert str(paths.run) not in Path("/proc/self/mountinfo").read_text()
        for top in cgroup_mounts():
            assert not list((top / paths.cgroup.lstrip("/")).glob("*/")), top

    def nothing_is_left_of(self, uid: str) -> None:
        """No file, mount or cgroup knows the pod any more. (Processes would keep the cgroup.)"""
        named = [path for top in ("state", "run", "logs") for path in (self.node.root / top).rglob(f"*{uid}*")]
        assert not named
        assert uid not in Path("/proc/self/mountinfo").read_text()
        for top in cgroup_mounts():
            assert not (top / self.node.paths.pod_cgroup(uid).lstrip("/")).exists()


def container_status(pod: Json, container: str) -> Json:
    return next(item for item in pod["status"]["containerStatuses"] if item["name"] == container)


def cgroup_mounts() -> list[Path]:
    fields = [line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    return [Path(line[4]) for line in fields if line[line.index("-") + 1] in ("cgroup", "cgroup2")]


def hierarchy(controller: str) -> Path:
    """Where a controller is mounted: a hierarchy of v1, else the unified one."""
    unified: list[Path] = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        left, _, right = line.partition(" - ")
        kind, _, options = right.split(" ", 2)
        if kind == "cgroup" and controller in options.split(","):
            return Path(left.split()[4])
        if kind == "cgroup2":
            unified.append(Path(left.split()[4]))
    return unified[0]


@dataclass(frozen=True)
class Limits:
    """What is written in a cgroup; None: no limit."""

    quota: int | None
    period: int
    share: int
    """`cpu.shares` on v1, `cpu.weight` on v2."""
    memory: int | None

    @classmethod
    def read(cls, read: Callable[[str, str], str]) -> Limits:
        """`read(controller, file)` gives a file's text, whoever asks."""
        if hierarchy("cpu") in unified_mounts():
            quota, period = read("cpu", "cpu.max").split()
            share, memory = read("cpu", "cpu.weight"), read("memory", "memory.max").strip()
            return cls(None if quota == "max" else int(quota), int(period), int(share), number(memory))
        quota, period = read("cpu", "cpu.cfs_quota_us").strip(), read("cpu", "cpu.cfs_period_us")
        share, memory = read("cpu", "cpu.shares"), read("memory", "memory.limit_in_bytes")
        return cls(None if quota == "-1" else int(quota), int(period), int(share), number(memory))

    @classmethod
    def of(
        cls, quota: int | None = None, period: int = 100_000, *, shares: int = 2, memory: int | None = None
    ) -> Limits:
        """What is expected; `shares` is turned into a weight where the machine wants that."""
        return cls(
            quota, period, weight_from_shares(shares) if hierarchy("cpu") in unified_mounts() else shares, memory
        )


def number(text: str) -> int | None:
    """Bytes; v1 says "no limit" with the largest number of pages, v2 with `max`."""
    return None if text.strip() == "max" or int(text) > 1 << 60 else int(text)


def unified_mounts() -> list[Path]:
    fields = [line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    return [Path(line[4]) for line in fields if line[line.index("-") + 1] == "cgroup2"]


def start_time(pid: int) -> int:
    """In clock ticks since boot: with the pid it names one process for good."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def status_field(text: str, field: str) -> str:
    """One field of a /proc/PID/status."""
    found = re.search(rf"^{field}:\s*(.*)$", text, re.MULTILINE)
    assert found, f"no {field} in {text!r}"
    return found[1]


def processes_with(words: Iterable[str]) -> list[int]:
    """Processes whose command line holds all of these words."""
    wanted = [word.encode() for word in words]
    found = []
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            line = (directory / "cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if all(word in line for word in wanted):
            found.append(int(directory.name))
    return found


def spawn_cli(node: NodeProcess, *arguments: str, **options: Any) -> subprocess.Popen[str]:
    """The command in the background, its output on a pipe."""
    return subprocess.Popen(
        [*node.command, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=node.root,
        **options,
    )
