"""Whole pods on a real node: file → process, edit → kernel, a hundred at once, memory, wake-ups, the command line.

Instants are stamped by the container itself: its only program writes CLOCK_REALTIME and sleeps. So a start is over
when the user's code runs, not when somebody says so; podman's containers run the same program.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from bench.measure import Table, pss, ratio, spread, switches
from bench.peers import Podman, missing
from minikube_lite.linux.cgroup_layout import layout
from tests.node_process import NodeProcess

STAMP = r"""
#include <stdio.h>
#include <time.h>
#include <unistd.h>
int main(void) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    printf("stamp %lld\n", t.tv_sec * 1000000000LL + t.tv_nsec);
    fflush(stdout);
    pause();
}
"""


def image(work: Path) -> Path:
    """A root file system that holds the one program."""
    rootfs = work / "rootfs"
    for name in ("bin", "dev", "etc", "proc", "sys"):
        (rootfs / name).mkdir(parents=True)
    (work / "stamp.c").write_text(STAMP)
    subprocess.run(["cc", "-O2", "-static", "-o", rootfs / "bin/stamp", work / "stamp.c"], check=True)
    return rootfs


def manifest(name: str, image: str, cpu: str = "500m") -> str:
    container = {
        "name": "c",
        "image": image,
        "imagePullPolicy": "Never",
        "command": ["/bin/stamp"],
        "resources": {"limits": {"cpu": cpu, "memory": "64Mi"}},
    }
    spec = {"containers": [container], "terminationGracePeriodSeconds": 0}
    return json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec})


@contextmanager
def running_node(work: Path) -> Iterator[NodeProcess]:
    """A node of the bench's own; at the end its pods are removed and it is stopped, whatever happened."""
    (work / "root").mkdir()
    node = NodeProcess(work / "root")
    node.start()
    try:
        yield node
    finally:
        node.drain()


def stamps(node: NodeProcess, name: str) -> list[int]:
    """The stamps in the pod's log, in nanoseconds since the epoch."""
    text = "".join(file.read_text() for file in sorted(node.paths.logs.glob(f"pods/default_{name}_*/c/*.log")))
    return [int(line.rpartition("stamp ")[2]) for line in text.splitlines() if "stamp " in line]


def stamp(node: NodeProcess, name: str, number: int = 1) -> int:
    """The stamp of its run of that number, once it is there."""
    return node.wait_until(lambda: (stamps(node, name) + [0] * number)[number - 1], f"run {number} of {name} has begun")


def one_pod(work: Path, rounds: int) -> Table:
    rootfs = image(work)
    drop, applied, removed, restarted, played, play_command, downed = ([] for _ in range(7))  # type: ignore[var-annotated]
    with ExitStack() as stack:
        node = stack.enter_context(running_node(work))
        podman = None
        if not missing("podman"):
            podman = Podman(work, rootfs)
            stack.callback(podman.close)
        for number in range(-1, rounds):  # the first warms caches and does not count
            name = f"drop{number + 1}"
            begin = time.time_ns()
            file = node.put(f"{name}.json", manifest(name, str(rootfs)))
            started = stamp(node, name) - begin

            pod = node.wait_phase(name, "Running")
            killed = time.time_ns()
            os.kill(read_state(node, pod)["pid"], signal.SIGKILL)
            again = stamp(node, name, 2) - killed

            begin = time.time_ns()
            file.unlink()
            while node.paths.pod_state(pod["metadata"]["uid"]).exists():
                time.sleep(0.0005)
            gone = time.time_ns() - begin

            (work / "apply.json").write_text(manifest(f"apply{number + 1}", str(rootfs)))
            begin = time.time_ns()
            node.cli("apply", "-f", str(work / "apply.json"), "--wait")
            apply_taken = time.time_ns() - begin
            node.cli("delete", "-f", str(work / "apply.json"), "--wait")

            if podman:
                (work / "play.json").write_text(manifest("bench", podman.IMAGE))
                begin = time.time_ns()
                taken = podman.play(work / "play.json")
                inside = int(podman.logs("bench-c").split()[1]) - begin
                down = podman.down(work / "play.json")
            if number >= 0:
                drop.append(started / 1e9)
                restarted.append(again / 1e9)
                removed.append(gone / 1e9)
                applied.append(apply_taken / 1e9)
                if podman:
                    played.append(inside / 1e9)
                    play_command.append(taken)
                    downed.append(down)
    table = Table("One pod", ("", "median", "spread", "`podman` takes"))
    table.rows = [
        ("file dropped → the user's process runs", *spread(drop), f"{ratio(played, drop)} ×" if played else ""),
        ("`podman kube play` → the user's process runs", *spread(played), "1 ×") if played else ("podman", "", "", ""),
        ("`apply --wait`: the command", *spread(applied), f"{ratio(play_command, applied)} ×" if played else ""),
        ("`podman kube play`: the command", *spread(play_command), "1 ×") if played else ("podman", "", "", ""),
        (
            "file removed → nothing of it is left",
            *spread(removed),
            f"{ratio(downed, removed)} ×" if played else "",
        ),
        ("`podman kube play --down`", *spread(downed), "1 ×") if played else ("podman", "", "", ""),
        ("process killed → its restart runs", *spread(restarted), ""),
    ]
    table.rows = [row for row in table.rows if row[0] != "podman"]
    table.notes = [
        f"{rounds} rounds, taking turns. The container's program writes the time and sleeps. podman runs `runc`, with "
        "`--network=none`, cgroupfs, and its image local and warm; it makes its infra container, as always."
        if played
        else "podman: not installed, not measured."
    ]
    return table


def edit(work: Path, rounds: int) -> Table:
    rootfs = image(work)
    taken = []
    with running_node(work) as node:
        node.put("edit.json", manifest("edit", str(rootfs)))
        stamp(node, "edit")
        pod = node.wait_phase("edit", "Running")
        directory = Path(cpu_tree() + read_state(node, pod)["cgroupsPath"])
        v1 = (directory / "cpu.cfs_quota_us").exists()
        file = directory / ("cpu.cfs_quota_us" if v1 else "cpu.max")
        for number in range(rounds):
            milli = 300 if number % 2 else 200
            wanted = str(milli * 100)
            begin = time.perf_counter()
            node.put("edit.json", manifest("edit", str(rootfs), f"{milli}m"))
            while file.read_text().split()[0] != wanted:
                if time.perf_counter() - begin > 30:
                    raise RuntimeError(f"{file} does not follow the manifest")
            taken.append(time.perf_counter() - begin)
            time.sleep(0.05)
        after = node.wait_phase("edit", "Running")
        assert after["status"]["containerStatuses"][0]["restartCount"] == 0
        assert len(stamps(node, "edit")) == 1, "the process must be the same"
    table = Table("A CPU limit is edited", ("", "median", "spread"))
    table.rows = [(f"file renamed into place → `{file.name}` has the new value", *spread(taken))]
    table.notes = [f"{rounds} edits of a running pod, which is not restarted by them."]
    return table


def read_state(node: NodeProcess, pod: dict[str, Any]) -> dict[str, Any]:
    """The OCI state of the pod's one container."""
    file = next(node.paths.pod_state(pod["metadata"]["uid"]).rglob("state.json"))
    state: dict[str, Any] = json.loads(file.read_text())
    return state


def cpu_tree() -> str:
    tree = layout().find("cpu")
    assert tree, "there is no cpu controller"
    return tree.mount


def many(work: Path, pods: int) -> Table:
    rootfs = image(work)
    names = [f"many{number}" for number in range(pods)]
    with running_node(work) as node:
        empty = pss(node.pid)
        time.sleep(2)
        ready = [(node.root / f"{name}.new", node.manifests / f"{name}.json", name) for name in names]
        for aside, _, name in ready:
            aside.write_text(manifest(name, str(rootfs), "100m"))
        begin = time.time_ns()
        for aside, target, _ in ready:
            os.replace(aside, target)
        last = max(stamp(node, name) for name in names)
        taken = (last - begin) / 1e9
        node.wait_until(
            lambda: sum(pod.get("status", {}).get("phase") == "Running" for pod in node.pods()) == pods, "all run"
        )
        time.sleep(5)
        shims = [json.loads(file.read_text())["pid"] for file in node.paths.pods.rglob("shim.json")]
        assert len(shims) == pods
        launcher = children(node.pid)
        waiting = [pid for parent in launcher for pid in children(parent) if pid not in shims]
        waiting += [pid for parent in waiting for pid in children(parent)]
        shim_pss = [pss(pid) for pid in shims]
        waiting_pss = sum(map(pss, waiting))
        full, launcher_pss = pss(node.pid), sum(map(pss, launcher))
        before = switches(node.pid)
        time.sleep(10)
        woken = switches(node.pid) - before
        begin_removal = time.time_ns()
        for _, target, _ in ready:
            target.unlink()
        node.wait_until(lambda: not any(node.paths.pods.iterdir()), "all are gone")
        removal = (time.time_ns() - begin_removal) / 1e9
    mib = 1 << 20
    table = Table(f"{pods} pods at once", ("", ""))
    table.rows = [
        ("files dropped → the last user's process runs", f"{taken:.2f} s"),
        ("files removed → nothing is left", f"{removal:.2f} s"),
        ("node, no pods (PSS)", f"{empty / mib:.1f} MiB"),
        (f"node, {pods} pods (PSS)", f"{full / mib:.1f} MiB"),
        ("launcher (PSS)", f"{launcher_pss / mib:.1f} MiB"),
        ("shim, one for each container (PSS, median)", f"{statistics.median(shim_pss) / mib:.2f} MiB"),
        (
            "what the launcher keeps ready: two spare shims, the maker of sandboxes (PSS, all)",
            f"{waiting_pss / mib:.1f} MiB",
        ),
        (f"wake-ups of the node in 10 s, {pods} pods idle", str(woken)),
    ]
    return table


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def cli(work: Path, rounds: int) -> Table:
    rootfs = image(work)
    script = Path(sys.executable).with_name("minikube-lite")
    taken: dict[str, list[float]] = {}
    with running_node(work) as node:
        for number in range(10):
            node.put(f"cli{number}.json", manifest(f"cli{number}", str(rootfs)))
        for number in range(10):
            stamp(node, f"cli{number}")
        commands = {
            "`minikube-lite get pods`, 10 pods": [str(script), "--root", str(node.root), "get", "pods"],
            "`minikube-lite validate`": [str(script), "validate", str(node.manifests / "cli0.json")],
            "`python -c pass`": [sys.executable, "-c", "pass"],
        }
        if shutil.which("kubectl"):
            commands["`kubectl get --help`"] = ["kubectl", "get", "--help"]
        for number in range(-2, rounds):
            for name, command in commands.items():
                begin = time.perf_counter()
                subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
                if number >= 0:
                    taken.setdefault(name, []).append(time.perf_counter() - begin)
    table = Table("The command line", ("", "median", "spread"))
    table.rows = [(name, *spread(times)) for name, times in taken.items()]
    table.notes = [
        f"{rounds} rounds, taking turns. `kubectl get --help` talks to nobody: it is kubectl's start-up alone."
        if shutil.which("kubectl")
        else "kubectl: not installed, not measured."
    ]
    return table
