"""One container: start, run `/bin/true`, remove. Ours against the floor, runc and crun, taking turns."""

from __future__ import annotations

import asyncio
import os
import random
import select
import shutil
import subprocess
import time
from pathlib import Path

from bench.measure import Table, ratio, spread
from bench.peers import Floor, OciRuntime, hierarchies, missing, remove_empty, write_config
from minikube_lite.core.environment import Environment
from minikube_lite.core.oci import container_config
from minikube_lite.linux.client import Launcher
from minikube_lite.linux.mounts import overlay
from minikube_lite.spec.manifest import read_manifest

LABELS = {"floor": "C program (`bench/floor.c`)", "minikube-lite": "**minikube-lite**"}
MANIFEST = b"""
apiVersion: v1
kind: Pod
metadata: {name: bench}
spec:
  containers:
    - name: c
      image: unused
      command: [/bin/true]
      resources: {requests: {cpu: 100m}, limits: {cpu: 200m, memory: 64Mi}}
"""


def config_for(cgroup: str, rootfs: str) -> dict[str, object]:
    pod = read_manifest(MANIFEST, "bench").documents[0].pod
    assert pod
    return container_config(
        pod,
        pod.spec.containers[0],
        image_config={},
        namespaces={},
        cgroups_path=f"/{cgroup}",
        mounts=[],
        shm=None,
        user=(0, 0, ()),
        rootfs=rootfs,
        environment=Environment(),
    )


class Ours:
    """The launcher, as the node uses it."""

    def __init__(self, lower: Path) -> None:
        self._lower = lower
        self._loop = asyncio.new_event_loop()
        self._launcher = Launcher.spawn()
        self._launcher.attach(self._loop)

    def run(self, bundle: Path, cgroup: str) -> tuple[float, float]:
        root = overlay([str(self._lower)], str(bundle / "upper"), str(bundle / "work"))
        begin = time.perf_counter()
        made = self._loop.run_until_complete(self._launcher.request("run", bundle=str(bundle), rootfs=[root]))
        started = time.perf_counter() - begin
        try:
            shim = os.pidfd_open(made["shimPid"])
        except ProcessLookupError:  # it is done already
            whole = time.perf_counter() - begin
        else:
            select.select([shim], [], [])
            whole = time.perf_counter() - begin
            os.close(shim)
        if made["mismatches"] or not (bundle / "exit.json").exists():
            raise RuntimeError(f"{bundle}: {made}")
        return started, whole

    def close(self) -> None:
        self._launcher.close()
        self._loop.close()


def measure(work: Path, rounds: int, pause: float) -> Table:
    """`pause`: seconds between two runs, in which the kernel comes to rest. It matters: see the notes of the table."""
    lower = work / "lower"
    for name in ("bin", "proc", "sys", "dev", "etc"):
        (lower / name).mkdir(parents=True)
    (work / "true.c").write_text("int main(void) { return 0; }\n")
    subprocess.run(["cc", "-O2", "-static", "-o", lower / "bin/true", work / "true.c"], check=True)
    parent = f"minikube-lite-bench-{os.getpid()}"
    for mount in hierarchies():
        (Path(mount) / parent).mkdir()
    floor, ours = Floor(work, lower, "/bin/true"), Ours(lower)
    peers = {name: OciRuntime(work, name) for name in ("runc", "crun") if not missing(name)}
    starts: dict[str, list[float]] = {}
    wholes: dict[str, list[float]] = {}
    try:
        for number in range(-3, rounds):  # the first three warm caches and do not count
            order = ["floor", "minikube-lite", *peers]
            random.shuffle(order)
            for name in order:
                bundle, cgroup = work / f"{name}-{number}", f"{parent}/{name}-{number}"
                for directory in ("rootfs", "upper", "work"):
                    (bundle / directory).mkdir(parents=True)
                rootfs = str(lower) if name in peers else str(bundle / "rootfs")
                write_config(bundle, config_for(cgroup, rootfs))
                if name in peers:
                    start, whole = None, peers[name].run(bundle, f"bench-{os.getpid()}-{number}")
                else:
                    start, whole = (floor if name == "floor" else ours).run(bundle, cgroup)
                if number >= 0:
                    wholes.setdefault(name, []).append(whole)
                    if start is not None:
                        starts.setdefault(name, []).append(start)
                shutil.rmtree(bundle)
                time.sleep(pause)
    finally:
        for each in (floor, ours, *peers.values()):
            each.close()
        for mount in hierarchies():
            remove_empty(Path(mount) / parent)
    table = Table(
        f"One container: start, run, remove ({'the machine at rest before each' if pause else 'back to back'})",
        ("", "start (to exec)", "spread", "whole", "spread", "× floor", "× minikube-lite"),
    )
    for name in ("floor", "minikube-lite", *peers):
        whole_times = wholes[name]
        start_cells = spread(starts[name]) if name in starts else ("", "")
        table.rows.append(
            (
                LABELS.get(name, f"`{name} run`"),
                *start_cells,
                *spread(whole_times),
                ratio(whole_times, wholes["floor"]),
                ratio(whole_times, wholes["minikube-lite"]),
            )
        )
    table.notes = [
        f"{rounds} rounds, each runs every row once, in random order; medians, and the 10th to the 90th percentile. "
        "The same `config.json` for all: six new namespaces, CPU and memory limits, device rules, Docker's "
        "capabilities, masked paths. *Whole* ends when the cgroup is gone and the exit code is known. minikube-lite and"
        " the C program also mount an overlay root and have a warm process to fork from; runc and crun are given a "
        "directory for a root, and start as new processes, as they always do.",
        f"{pause * 1000:.0f} ms between two runs: at rest, moving a process into a cgroup by `cgroup.procs` waits "
        "for an RCU grace period, 10 ms and more; only then is it cheap for a while. minikube-lite and the C program "
        "have theirs born in the v2 cgroup (`CLONE_INTO_CGROUP`) and moved by v1's `tasks`, which wait for nothing."
        if pause
        else "No pause between two runs: each also waits for what the kernel still does for the one before it, such as "
        "taking its network namespace down.",
        *(peer.note for peer in peers.values() if peer.note),
        *(f"{name}: not installed, not measured." for name in ("runc", "crun") if missing(name)),
    ]
    return table
