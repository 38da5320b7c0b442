"""Numbers and tables for the benches: medians with their spread, facts of the machine, memory, wake-ups."""

from __future__ import annotations

import os
import platform
import shutil
import statistics
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Table:
    """One section of docs/performance.md."""

    title: str
    header: tuple[str, ...]
    rows: list[tuple[str, ...]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def markdown(self) -> str:
        lines = [f"## {self.title}", ""]
        lines += [f"| {' | '.join(self.header)} |", f"|{'|'.join(['---', *['---:'] * (len(self.header) - 1)])}|"]
        lines += [f"| {' | '.join(row)} |" for row in self.rows]
        lines += ["", *(line for note in self.notes for line in (note, ""))]
        return "\n".join(lines)


def spread(seconds: Sequence[float], unit: str = "ms") -> tuple[str, str]:
    """The median, and the range from the 10th to the 90th percentile."""
    factor = {"ms": 1e3, "s": 1.0, "µs": 1e6}[unit]
    values = sorted(value * factor for value in seconds)
    low, high = values[len(values) // 10], values[-1 - len(values) // 10]
    return f"{statistics.median(values):.{_digits(low)}f} {unit}", f"{low:.{_digits(low)}f}–{high:.{_digits(low)}f}"


def _digits(value: float) -> int:
    return 0 if value >= 100 else 1 if value >= 10 else 2


def ratio(of: Sequence[float], to: Sequence[float]) -> str:
    return f"{statistics.median(of) / statistics.median(to):.2f}"


def pss(pid: int) -> int:
    """Proportional set size in bytes: its own memory, plus its share of what it shares."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise ValueError(f"/proc/{pid}/smaps_rollup has no Pss")


def switches(pid: int) -> int:
    """How often any thread of the process was put on a CPU or left it by itself."""
    total = 0
    for status in Path(f"/proc/{pid}/task").glob("*/status"):
        for line in status.read_text().splitlines():
            if line.startswith(("voluntary_ctxt_switches", "nonvoluntary_ctxt_switches")):
                total += int(line.split()[1])
    return total


def version(*command: str) -> str:
    """The first line a program says of itself, or that it is missing."""
    if not shutil.which(command[0]):
        return f"{command[0]}: not installed"
    done = subprocess.run(command, capture_output=True, text=True)
    return done.stdout.splitlines()[0] if done.stdout else command[0]


def machine() -> str:
    model = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        platform.machine(),
    )
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / (1 << 30)
    from minikube_lite.linux.cgroup_layout import layout

    peers = [version("runc", "--version"), version("crun", "--version"), version("podman", "--version")]
    return (
        f"{len(os.sched_getaffinity(0))} cores ({model}), {memory:.0f} GiB, Linux {platform.release()}, "
        f"cgroup {layout().kind}, Python {platform.python_version()}; {', '.join(peers)}."
    )
