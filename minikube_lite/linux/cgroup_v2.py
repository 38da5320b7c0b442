"""OCI `linux.resources` as writes to cgroup v2 files, and v2 counters. Called by cgroups; reads, never writes.

As cgroup_v1, with the files of Documentation/admin-guide/cgroup-v2.rst. The OCI names are v1's, so some are
converted: shares to weight, memory + swap to swap alone.
"""

from __future__ import annotations

import os

from minikube_lite.linux.cgroup_writes import Write, keyed, number, read, weight_from_shares

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


def cpu(directory: str, wanted: Mapping[str, Any]) -> list[Write]:
    """Weight; `cpu.max` as `quota period` in µs, both at once; burst in µs."""
    writes = []
    if shares := wanted.get("shares"):
        writes.append(Write(f"{directory}/cpu.weight", weight_from_shares(shares), "cpu weight"))
    quota, period, burst = wanted.get("quota"), wanted.get("period"), wanted.get("burst")
    if quota or period:
        now = _now(f"{directory}/cpu.max", "max 100000").split()
        most = str(quota) if quota and quota > 0 else "max" if quota else now[0]
        burst_file = f"{directory}/cpu.max.burst"
        if most != "max" and int(_now(burst_file, "0")) > int(most):  # the burst must not exceed the quota
            writes.append(Write(burst_file, most, "cpu burst", kept=False))
        writes.append(Write(f"{directory}/cpu.max", f"{most} {period or now[1]}", "cpu limit"))
    if burst is not None:
        writes.append(Write(f"{directory}/cpu.max.burst", burst, "cpu burst"))
    return writes


def memory(directory: str, wanted: Mapping[str, Any]) -> tuple[list[Write], list[str]]:
    """`memory.max`, `memory.swap.max`, `memory.low`, in bytes. Also warnings."""
    limit, swap, writes, warnings = wanted.get("limit"), wanted.get("swap"), [], []
    if limit:
        writes.append(Write(f"{directory}/memory.max", _or_max(limit), "memory limit"))
    if swap:
        file = f"{directory}/memory.swap.max"
        if swap > 0 and not 0 < (limit or 0) <= swap:
            warnings.append(f"memory+swap limit of {swap} needs a memory limit no larger than itself: not enforced")
        elif os.path.exists(file) or not os.path.isdir(directory):
            writes.append(Write(file, "max" if swap < 0 else swap - limit, "swap limit"))
        else:
            warnings.append(f"swap is not accounted: memory+swap limit of {swap} is not enforced")
    if reservation := wanted.get("reservation"):
        writes.append(Write(f"{directory}/memory.low", _or_max(reservation), "memory reservation"))
    for name in ("disableOOMKiller", "swappiness"):
        if wanted.get(name):
            warnings.append(f"cgroup v2 has no {name}: not enforced")
    return writes, warnings


def _or_max(value: int) -> int | str:
    return value if value >= 0 else "max"


def _now(file: str, fresh: str) -> str:
    try:
        return read(file).strip()
    except FileNotFoundError:
        return fresh


def oom_kills(directory: str) -> int:
    return keyed(f"{directory}/memory.events").get("oom_kill", 0)


def cpu_counters(directory: str) -> dict[str, int]:
    stat = keyed(f"{directory}/cpu.stat")
    return {
        "cpu_usage_ns": stat["usage_usec"] * 1000,
        "cpu_periods": stat.get("nr_periods", 0),
        "cpu_throttled_periods": stat.get("nr_throttled", 0),
        "cpu_throttled_ns": stat.get("throttled_usec", 0) * 1000,
    }


def memory_counters(directory: str) -> dict[str, int | None]:
    usage = number(f"{directory}/memory.current") or 0
    inactive = keyed(f"{directory}/memory.stat").get("inactive_file", 0)
    limit = number(f"{directory}/memory.max")
    return {"memory_usage": usage, "memory_working_set": max(0, usage - inactive), "memory_limit": limit}
