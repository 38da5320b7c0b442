"""CPU amounts as the kernel takes them. Called by `core.resources`; nothing rounds: 1m is a thousandth of a core.

Source: the kernel's Documentation/scheduler/sched-bwc.rst and kernel/sched/core.c (quota at least 1000 us, period from
1000 us to 1 s); cgroup v1 `cpu.shares` goes from 2 to 262144.
"""

from __future__ import annotations

DEFAULT_PERIOD = 100_000
MIN_QUOTA = 1_000
MAX_QUOTA = (2**44 - 1) // 1000
"""The kernel's `max_bw_runtime_us`: 2^44 - 1 ns of runtime a period, some 175,000 cores. It refuses more."""
MIN_SHARES = 2
MAX_SHARES = 262_144


def quota_and_period(milli: int) -> tuple[int, int]:
    """(quota, period) in microseconds with quota/period == milli/1000, for `milli` millicores.

    The period is the default 100 ms from 10m on. Below, it is the shortest whole number of milliseconds that lifts
    the quota to the kernel's smallest. Raises ValueError below 1m, and above what the kernel takes.
    """
    if milli < 1:
        raise ValueError(f"a CPU limit must be at least 1m, not {milli}m")
    period = max(DEFAULT_PERIOD, -(-MIN_QUOTA // milli) * 1000)
    quota = milli * period // 1000
    if quota > MAX_QUOTA:
        raise ValueError(f"a CPU limit of {milli}m is more than the kernel can hold")
    return quota, period


def shares(milli: int) -> int:
    """cgroup v1 `cpu.shares` for a request of `milli` millicores: 1024 a core, within the kernel's bounds."""
    return min(MAX_SHARES, max(MIN_SHARES, milli * 1024 // 1000))
