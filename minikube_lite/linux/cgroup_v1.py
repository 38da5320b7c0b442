"""OCI `linux.resources` as writes to cgroup v1 files, and v1 counters. Called by cgroups; reads, never writes.

Each function takes the cgroup's directory in one v1 hierarchy and the matching part of the resources. The kernel
checks every single write against the others, so the order of the writes depends on what is there now.
Files: Documentation/admin-guide/cgroup-v1/, Documentation/scheduler/sched-bwc.rst.
"""

from __future__ import annotations

import os
from itertools import groupby

from minikube_lite.linux.cgroup_writes import Write, Writes, keyed, number, read

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any


def cpu(directory: str, wanted: Mapping[str, Any]) -> list[Write]:
    """Shares, quota and period in µs, burst in µs.

    A child's quota/period must not exceed its parent's, and both change by separate files: so the period is only
    changed while the quota is -1, which on v1 means "as much as the parent" and is therefore always allowed.
    """
    writes = []
    if shares := wanted.get("shares"):
        writes.append(Write(f"{directory}/cpu.shares", shares, "cpu shares"))
    quota_file, period_file, burst_file = (f"{directory}/cpu.cfs_{name}_us" for name in ("quota", "period", "burst"))
    quota, period, burst = wanted.get("quota"), wanted.get("period"), wanted.get("burst")
    now, period_now = _now(quota_file, -1), _now(period_file, 100000)
    undo: tuple[Write, ...] = ()
    if quota and 0 < quota < _now(burst_file, 0):  # the burst must not exceed the quota at any moment
        writes.append(Write(burst_file, quota, "cpu burst", kept=False))
    if period:
        if now >= 0 and period != period_now:
            writes.append(Write(quota_file, -1, "cpu quota", kept=False))
            quota = quota or now
            undo = (Write(period_file, period_now, "cpu period"), Write(quota_file, now, "cpu quota"))
        writes.append(Write(period_file, period, "cpu period"))
    if quota:
        writes.append(Write(quota_file, max(quota, -1), "cpu quota"))
        writes[-1].undo = undo
    if burst is not None:
        writes.append(Write(burst_file, burst, "cpu burst"))
    return writes


def memory(directory: str, wanted: Mapping[str, Any]) -> tuple[list[Write], list[str]]:
    """Limit, limit of memory + swap and soft limit, in bytes; -1 is unlimited. Also warnings.

    memory.memsw may never be below memory: whichever makes room is written first.
    """
    limit, swap, writes, warnings = wanted.get("limit"), wanted.get("swap"), [], []
    limit_file, swap_file = f"{directory}/memory.limit_in_bytes", f"{directory}/memory.memsw.limit_in_bytes"
    has_swap = os.path.exists(swap_file) or not os.path.isdir(directory)
    ceiling = _now_bytes(swap_file)  # None: no limit
    if limit and not swap and ceiling is not None and (limit < 0 or limit > ceiling):
        swap = limit
    first = [Write(limit_file, max(limit, -1), "memory limit")] if limit else []
    second = [Write(swap_file, max(swap, -1), "memory+swap limit")] if swap and has_swap else []
    if limit and ceiling is not None and (limit < 0 or limit > ceiling):
        first, second = second, first
    writes += first + second
    if swap and not has_swap:
        warnings.append(
            f"swap is not accounted: memory+swap limit of {swap} is not enforced (hint: boot with swapaccount=1)"
        )
    if reservation := wanted.get("reservation"):
        writes.append(Write(f"{directory}/memory.soft_limit_in_bytes", max(reservation, -1), "memory reservation"))
    if wanted.get("disableOOMKiller"):
        writes.append(Write(f"{directory}/memory.oom_control", 1, "no OOM killer", kept=False))
    if (swappiness := wanted.get("swappiness")) is not None:
        writes.append(Write(f"{directory}/memory.swappiness", swappiness, "memory swappiness"))
    return writes, warnings


def devices(directory: str, rules: Sequence[Mapping[str, Any]]) -> list[Write]:
    """The rules, in order, unless the list already says just that: a running container never sees them half done."""
    lines = [(bool(rule.get("allow")), line) for rule in rules for line in _device_lines(rule)]
    if device_list(rules) is not None and device_list(rules) == _listed(directory):
        return []
    return [
        Writes(
            f"{directory}/devices.{'allow' if allow else 'deny'}",
            "\n".join(line for _, line in group),
            "device rule",
            kept=False,
            soft=False,
        )
        for allow, group in groupby(lines, lambda each: each[0])
    ]


def devices_mismatch(directory: str, rules: Sequence[Mapping[str, Any]]) -> str:
    """Read back `devices.list`: "" if it is what the rules say."""
    wanted, there = device_list(rules), _listed(directory)
    if wanted is None or wanted == there:
        return ""
    return f"devices allowed are {sorted(there)}, not {sorted(wanted)} (`{directory}/devices.list`)"


def device_list(rules: Sequence[Mapping[str, Any]]) -> set[str] | None:
    """What `devices.list` reads after these rules; None where it does not tell (all but some allowed)."""
    allowed: dict[str, str] | None = None
    for rule in rules:
        for line in _device_lines(rule):
            kind, _, access = line.partition(" ")
            device, _, access = access.partition(" ")
            if kind == "a":
                allowed = None if rule.get("allow") else {}
            elif allowed is None:
                return None
            else:
                old = allowed.pop(f"{kind} {device}", "")
                new = set(old) | set(access) if rule.get("allow") else set(old) - set(access)
                if new:
                    allowed[f"{kind} {device}"] = "".join(letter for letter in "rwm" if letter in new)
    return {"a *:* rwm"} if allowed is None else {f"{device} {access}" for device, access in allowed.items()}


def _device_lines(rule: Mapping[str, Any]) -> list[str]:
    """`c 1:3 rwm`; v1 knows `a` only as all devices at all, so `a` with numbers is one line for each type."""
    kind, access = (rule.get("type") or "a").replace("u", "c"), rule.get("access") or "rwm"
    major, minor = (rule.get(name) for name in ("major", "minor"))
    numbers = ":".join("*" if part is None or part < 0 else str(part) for part in (major, minor))
    if kind == "a" and numbers == "*:*" and set(access) == set("rwm"):
        return ["a *:* rwm"]
    return [f"{each} {numbers} {access}" for each in ("cb" if kind == "a" else kind)]


def _listed(directory: str) -> set[str]:
    try:
        return set(read(f"{directory}/devices.list").splitlines())
    except FileNotFoundError:
        return set()


def _now(file: str, fresh: int) -> int:
    """What the file says, or what it says in a new cgroup if this one is not made yet (or the kernel has no such)."""
    try:
        return int(read(file))
    except FileNotFoundError:
        return fresh


def _now_bytes(file: str) -> int | None:
    try:
        return number(file)
    except FileNotFoundError:
        return None


def oom_kills(directory: str) -> int:
    return keyed(f"{directory}/memory.oom_control").get("oom_kill", 0)


def cpu_counters(directory: str) -> dict[str, int]:
    stat = keyed(f"{directory}/cpu.stat")
    return {
        "cpu_periods": stat["nr_periods"],
        "cpu_throttled_periods": stat["nr_throttled"],
        "cpu_throttled_ns": stat["throttled_time"],
    }


def memory_counters(directory: str) -> dict[str, int | None]:
    usage = number(f"{directory}/memory.usage_in_bytes") or 0
    inactive = keyed(f"{directory}/memory.stat").get("total_inactive_file", 0)
    limit = number(f"{directory}/memory.limit_in_bytes")
    return {"memory_usage": usage, "memory_working_set": max(0, usage - inactive), "memory_limit": limit}
