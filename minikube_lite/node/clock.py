"""The only clocks, called by node alone: CLOCK_BOOTTIME for every decision, the wall for display."""

from __future__ import annotations

import time


def boottime() -> float:
    """Seconds since boot, suspend included (CLOCK_BOOTTIME, clock_gettime(2)): the time that decisions use."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def wall() -> float:
    """Seconds since the epoch: for people to read, never to decide by."""
    return time.time()
