"""`apply --wait`: stays until every pod is ready, and shows how it goes: live on a terminal, else a line per change."""

from __future__ import annotations

import os
import sys
import time
from typing import Any

from minikube_lite.cli.conditions import Running, why_not_ready
from minikube_lite.cli.resources import POD
from minikube_lite.cli.session import Session, say, warn
from minikube_lite.cli.waiting import TICK, Key, Waiter, deadline_of

Json = dict[str, Any]
FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"


def wait_until_running(session: Session, results: dict[Key, str], before: dict[Key, str], timeout: float) -> bool:
    """Wait for the pods in `results` (what apply did with each). `before`: their resource versions before that.

    Says why for each that is not ready after `timeout` seconds; whether all are.
    """
    deadline = deadline_of(timeout)
    namespaces = {namespace for namespace, _ in results}
    with Waiter(session.client, POD, namespaces.pop() if len(namespaces) == 1 else None) as waiter:
        left = _follow(waiter, results, before, deadline)
    for key, why in left.items():
        warn(f"error: timed out after {timeout:g}s waiting for pod/{key[1]} to be ready: {why}")
    return not left


def _follow(waiter: Waiter, results: dict[Key, str], before: dict[Key, str], deadline: float) -> dict[Key, str]:
    """Show how it goes until all are ready or the deadline has come; gives those that are not, and why."""
    condition = Running()

    def why_not(key: Key) -> str:
        pod = waiter.objects.get(key)
        if results[key] == "configured" and pod and pod["metadata"].get("resourceVersion") == before.get(key):
            return "the change has not arrived yet"
        return "" if condition.met(pod) else why_not_ready(pod)

    live = sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
    display = _Live() if live else _Plain()
    left = dict.fromkeys(results, "")

    def look() -> None:
        for key in list(left):
            left[key] = why_not(key)
            if not left[key]:
                del left[key]
                display.ready(key, waiter.objects.get(key))
        display.update(left)

    look()
    if left:
        for _ in waiter.news(deadline, TICK if live else None):
            look()
            if not left:
                break
    display.finish()
    return left


class _Plain:
    """A line for each pod that is ready, and for each new reason why one is not."""

    def __init__(self) -> None:
        self._said: dict[Key, str] = {}

    def ready(self, key: Key, pod: Json | None) -> None:
        say(f"pod/{key[1]} {_done(pod)}")

    def update(self, left: dict[Key, str]) -> None:
        for key, why in left.items():
            if self._said.get(key) != why:
                self._said[key] = why
                say(f"pod/{key[1]} not ready: {why}")
        sys.stdout.flush()

    def finish(self) -> None:
        sys.stdout.flush()


class _Live:
    """Ready pods scroll by; below them a line for each that is not, redrawn in place (ECMA-48: CUU, ED)."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._drawn = 0
        self._frame = 0

    def ready(self, key: Key, pod: Json | None) -> None:
        self._erase()
        seconds = time.monotonic() - self._started
        say(f"\x1b[32m✓\x1b[0m pod/{key[1]} {_done(pod)} \x1b[2m{seconds:.1f}s\x1b[0m")

    def update(self, left: dict[Key, str]) -> None:
        self._erase()
        size = os.get_terminal_size(sys.stdout.fileno())
        room = max((size.lines or 24) - 2, 1)
        frame = FRAMES[self._frame % len(FRAMES)]
        self._frame += 1
        seconds = f"{time.monotonic() - self._started:.1f}s"
        space = max((size.columns or 80) - len(seconds) - 4, 8)
        lines = []
        for key, why in list(left.items())[:room]:
            text = "".join(char if char.isprintable() else " " for char in f"pod/{key[1]} {why}")
            lines.append(f"{frame} {text if len(text) <= space else text[: space - 1] + '…'} {seconds}")
        if len(left) > room:
            lines.append(f"  and {len(left) - room} more")
        sys.stdout.write("".join(line + "\n" for line in lines))
        sys.stdout.flush()
        self._drawn = len(lines)

    def _erase(self) -> None:
        if self._drawn:
            sys.stdout.write(f"\x1b[{self._drawn}A\x1b[J")
            self._drawn = 0

    def finish(self) -> None:
        self._erase()
        sys.stdout.flush()


def _done(pod: Json | None) -> str:
    return "succeeded" if pod and (pod.get("status") or {}).get("phase") == "Succeeded" else "ready"
