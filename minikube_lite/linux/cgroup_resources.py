"""OCI `linux.resources` as a list of writes, whichever version each controller is on. Called by cgroups.

Each part of the resources has a function: (cgroup, value) → (writes, what cannot be enforced, in words).
"""

from __future__ import annotations

from minikube_lite.linux import cgroup_v1 as v1
from minikube_lite.linux import cgroup_v2 as v2
from minikube_lite.linux.cgroup_writes import Write

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from minikube_lite.linux.cgroups import Cgroup
    from minikube_lite.linux.devices_bpf import DeviceFilter


def plan(cgroup: Cgroup, resources: Mapping[str, Any]) -> tuple[list[Write | DeviceFilter], list[str]]:
    """The writes in their order, and what is not enforced, in words. Reads what is there now, writes nothing."""
    writes: list[Write | DeviceFilter] = []
    said: list[str] = []
    for name, wanted in resources.items():
        if not wanted:
            continue
        if name not in PARTS:
            said.append(f"linux.resources.{name} is not supported: not enforced")
            continue
        more, words = PARTS[name](cgroup, wanted)
        writes += more
        said += words
    return writes, said


def _cpu(cgroup: Cgroup, wanted: Mapping[str, Any]) -> tuple[list[Write], list[str]]:
    writes, said = [], []
    if any(wanted.get(name) for name in ("shares", "quota", "period", "burst")):
        if hierarchy := cgroup.layout.find("cpu"):
            plan = v1.cpu if hierarchy.version == 1 else v2.cpu
            writes += plan(cgroup.directory(hierarchy), wanted)
        else:
            missing = cgroup.layout.missing("cpu")
            if (wanted.get("quota") or 0) > 0:
                said.append(f"{missing}: cpu limit of {wanted['quota']} µs per {_period(wanted)} µs not enforced")
            if wanted.get("shares"):
                said.append(f"{missing}: cpu shares of {wanted['shares']} not enforced")
    for name in ("cpus", "mems"):
        if not wanted.get(name):
            continue
        if file := cgroup.file("cpuset", f"cpuset.{name}"):
            writes.append(Write(file, wanted[name], f"cpuset {name}"))
        else:
            said.append(f"{cgroup.layout.missing('cpuset')}: cpuset of {name} {wanted[name]} not enforced")
    known = ("shares", "quota", "period", "burst", "cpus", "mems")
    said += [f"linux.resources.cpu.{name} is not supported: not enforced" for name in wanted if name not in known]
    return writes, said


def _period(wanted: Mapping[str, Any]) -> int:
    return wanted.get("period") or 100000


def _memory(cgroup: Cgroup, wanted: Mapping[str, Any]) -> tuple[list[Write], list[str]]:
    if hierarchy := cgroup.layout.find("memory"):
        plan = v1.memory if hierarchy.version == 1 else v2.memory
        return plan(cgroup.directory(hierarchy), wanted)
    if (limit := wanted.get("limit") or 0) > 0:
        return [], [f"{cgroup.layout.missing('memory')}: memory limit of {limit} bytes not enforced"]
    return [], []


def _pids(cgroup: Cgroup, wanted: Mapping[str, Any]) -> tuple[list[Write], list[str]]:
    limit = wanted.get("limit") or 0
    if file := cgroup.file("pids", "pids.max"):
        return [Write(file, limit if limit > 0 else "max", "limit of processes")], []
    return [], [f"{cgroup.layout.missing('pids')}: limit of {limit} processes not enforced"] if limit > 0 else []


def _devices(cgroup: Cgroup, rules: Sequence[Mapping[str, Any]]) -> tuple[Sequence[Write | DeviceFilter], list[str]]:
    if hierarchy := cgroup.layout.v1.get("devices"):
        return v1.devices(cgroup.directory(hierarchy), rules), []
    if cgroup.layout.unified:
        from minikube_lite.linux.devices_bpf import DeviceFilter  # ctypes: only where it is needed

        return [DeviceFilter(cgroup.directory(cgroup.layout.unified), rules)], []
    return [], [f"{cgroup.layout.missing('devices')}: access to devices is not limited"]


def _unified(cgroup: Cgroup, files: Mapping[str, str]) -> tuple[list[Write], list[str]]:
    """v2 files by name, as they are."""
    writes, said = [], []
    for name, value in files.items():
        controller = name.partition(".")[0]
        if "/" in name or not controller:
            raise ValueError(f"linux.resources.unified: {name!r} is not the name of a cgroup file")
        unified = cgroup.layout.unified
        if unified and (controller == "cgroup" or controller in unified.controllers):
            kept = value.isdigit() or value == "max"  # others may be read back in other words
            writes.append(Write(f"{cgroup.directory(unified)}/{name}", value, name, kept=kept, soft=False))
        else:
            said.append(f"no cgroup v2 with {controller} controller: {name} = {value} not enforced")
    return writes, said


PARTS: dict[str, Any] = {"cpu": _cpu, "memory": _memory, "pids": _pids, "devices": _devices, "unified": _unified}
