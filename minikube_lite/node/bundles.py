"""What a bundle's files say of its run: who watches over it, what runs, how it ended. Called by node.linux_runtime.

The shim writes them (`linux.records`), always whole: a file is there and says it all, or it is not there.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from minikube_lite.core.model import Exit
from minikube_lite.linux import records
from minikube_lite.node.clock import boottime, wall

SETTLE = 10.0
"""Seconds to wait for a shim that has claimed its bundle to say what became of it."""


def read(path: Path) -> dict[str, Any] | None:
    """The content of a bundle's file; None where there is none, or it is torn."""
    try:
        value: dict[str, Any] = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    return value


def alive(process: Mapping[str, Any]) -> bool:
    """Whether the process of this record (pid, startTime, bootId) still runs."""
    return bool(process.get("pid")) and records.is_alive(process["pid"], process["startTime"], process["bootId"])


def signal_init(bundle: Path, signo: int) -> None:
    """Signal the PID 1 of a bundle, if it still is that very process."""
    state = read(bundle / "state.json")
    if state is None:
        return
    try:
        pidfd = os.pidfd_open(state["pid"])
    except ProcessLookupError:
        return
    try:
        if alive(state):  # looked at after the pidfd was opened: it is this very process
            signal.pidfd_send_signal(pidfd, signo)
    except ProcessLookupError:
        return
    finally:
        os.close(pidfd)


def exit_of(value: Mapping[str, Any]) -> Exit:
    """The exit record of the shim, in the words of `core`."""
    return Exit(
        code=value["code"],
        signal=value.get("signal") or 0,
        oom_killed=bool(value.get("oomKilled")),
        started_at=value.get("startedAt") or 0.0,
        finished_at=value.get("finishedAt") or 0.0,
        started_wall=value.get("startedWall") or 0.0,
        finished_wall=value.get("finishedWall") or 0.0,
        message=value.get("message") or "",
    )


def unknown_exit(state: Mapping[str, Any]) -> Exit:
    """The end of a container whose shim was killed: nobody was left to see the exit status (the kubelet's words)."""
    return Exit(
        code=137,
        started_at=state.get("startedAt") or 0.0,
        finished_at=boottime(),
        started_wall=state.get("startedWall") or 0.0,
        finished_wall=wall(),
        reason="ContainerStatusUnknown",
        message="the process that watched over the container was killed, and the container with it",
    )


def settle(bundle: Path) -> None:
    """Wait for the shim of a killed container to be done with its bundle."""
    shim = read(bundle / "shim.json") or {}
    until = boottime() + SETTLE
    while alive(shim) and boottime() < until:
        time.sleep(0.002)
