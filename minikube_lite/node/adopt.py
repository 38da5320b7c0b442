"""Takes over what an earlier node left. node.node calls it once, before its first decision.

Containers do not notice that a node died: their shims watch over them. A new node reads the records, asks each bundle
what became of its run, watches what runs, and removes what belongs to nobody (cgroups, mounts and files below its own
root that no record names). After a reboot nothing runs; records and restart counts stay.
"""

from __future__ import annotations

import os
from dataclasses import replace

import structlog

from minikube_lite.core.model import VolumesObserved
from minikube_lite.core.restart import UNKNOWN_EXIT
from minikube_lite.linux import cgroups, sandbox, storage
from minikube_lite.linux.cgroups import Cgroup
from minikube_lite.node import records
from minikube_lite.node.clock import boottime, wall
from minikube_lite.node.paths import Paths
from minikube_lite.node.pods import Pods
from minikube_lite.node.records import PodRecord
from minikube_lite.node.runtime import RunState, Runtime, RuntimeFailure

log = structlog.get_logger(__name__)


async def adopt(paths: Paths, pods: Pods, runtime: Runtime, boot_id: str) -> int:
    """Fill the table from the state directory; returns the number of containers that run. Raises OSError."""
    running = 0
    try:
        entries = sorted(os.listdir(paths.pods))
    except FileNotFoundError:
        entries = []
    for uid in entries:
        directory = paths.pods / uid
        try:
            record = records.load(directory)
        except records.BrokenRecord as error:
            log.warning("record_set_aside", uid=uid, error=str(error))
            continue  # what it may still run is swept as an orphan below
        if pods.get(record.key) is not None:
            log.warning("record_set_aside", uid=uid, error=f"a second record for {record.key}")
            continue
        pods.put(record)
        record = await _adopt_pod(pods, record.key, runtime, boot_id)
        running += sum(seen.state == "running" for seen in record.observed.containers.values())
    sweep(paths, pods)
    return running


async def _adopt_pod(pods: Pods, key: str, runtime: Runtime, boot_id: str) -> PodRecord:
    """What was found out of one container is in the table before the next is asked: any of them may end meanwhile."""
    record = pods[key]
    same_boot = record.boot_id == boot_id
    sandbox_seen = record.observed.sandbox
    if sandbox_seen is not None:
        ready = same_boot and await runtime.sandbox_ready(record)
        pods.put(pods[key].with_(sandbox=replace(sandbox_seen, ready=ready)))
    if not same_boot and record.observed.volumes.ready:  # what is mounted goes with the machine
        pods.put(pods[key].with_(volumes=VolumesObserved()))
    for name in record.observed.containers:
        if pods[key].container(name).image == "pulling":  # whoever pulled died with the node
            pods.put(pods[key].with_container(name, image="absent"))
        bundle = record.bundles.get(name)
        if bundle is not None:
            state = await _inspect(record, name, bundle, runtime)
            _adopt_container(pods, pods[key], name, state, same_boot)
            stop = pods[key].container(name).stop
            if state.running is not None and stop is not None and not stop.killed:
                # The node may have died between recording the stop and sending it. The kubelet asks twice, too.
                runtime.signal(pods[key], name, pods[key].container(name).stop_signal)
    return pods.put(replace(pods[key], boot_id=boot_id))


async def _inspect(record: PodRecord, name: str, bundle: str, runtime: Runtime) -> RunState:
    try:
        return await runtime.inspect(record, name, bundle)
    except RuntimeFailure as error:  # neither running nor over: nobody watches over it, so it may not go on
        log.warning("container_not_adopted", pod=record.key, container=name, error=error.message)
        await runtime.kill(record, name)
        lost = replace(UNKNOWN_EXIT, finished_at=boottime(), finished_wall=wall(), message=error.message)
        return RunState("exited", exit=lost)


def _adopt_container(pods: Pods, record: PodRecord, name: str, state: RunState, same_boot: bool) -> None:
    seen = record.container(name)
    if state.running is not None:
        record = record.with_container(
            name,
            state="running",
            pid=state.running.pid,
            started_at=state.running.started_at,
            started_wall=state.running.started_wall,
            exit=None,
            image="ready",
        )
    elif state.exit is not None:
        ended = state.exit if same_boot else replace(state.exit, finished_at=0.0, started_at=0.0)
        record = record.with_container(name, state="exited", exit=seen.exit or ended, pid=0)
    elif seen.exit is None:  # recorded, but it never began: the node died in between
        record = record.with_container(name, state="waiting", pid=0, stop=None)
    pods.put(record)


def sweep(paths: Paths, pods: Pods) -> None:
    """Remove what lies below this node's own root and cgroup and belongs to no pod."""
    known = {record.observed.uid for record in pods}
    root = Cgroup(paths.cgroup)
    for name in root.children():
        if name.removeprefix("pod") not in known:
            log.warning("orphan_swept", cgroup=f"{paths.cgroup}/{name}")
            if not cgroups.sweep(f"{paths.cgroup}/{name}"):
                log.warning("cgroup_left_behind", cgroup=f"{paths.cgroup}/{name}")
    for directory in (paths.run / "pods", paths.volumes, paths.pods):
        for uid in os.listdir(directory) if directory.is_dir() else ():
            if uid not in known:
                log.warning("orphan_swept", path=str(directory / uid))
                storage.unmount_own(str(paths.pod_volumes(uid)))
                sandbox.remove_tree(str(paths.pod_volumes(uid)))
                sandbox.remove_sandbox(str(paths.run / "pods" / uid), f"{paths.cgroup}/pod{uid}")
                sandbox.remove_tree(str(directory / uid))
    logs = paths.logs / "pods"
    for name in os.listdir(logs) if logs.is_dir() else ():
        if name.rpartition("_")[2] not in known:
            sandbox.remove_tree(str(logs / name))
