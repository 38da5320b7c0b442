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

    Says why for each that is not ready in time; whether all are.
    """
    started = time.monotonic()
    deadline = deadline_of(timeout)
    namespaces = {namespace for namespace, _ in results}
    waiter = Waiter(session.client, POD, namespaces.pop() if len(namespaces) == 1 else None)
    condition = Running()

    def done(key: Key) -> bool:
        pod = waiter.objects.get(key)
        seen_before = results[key] == "configured" and pod and pod["metadata"].get("resourceVersion") == before.get(key)
        return condition.met(pod) and not seen_before

    display = _Live(waiter, started) if sys.stdout.isatty() and os.environ.get("TERM") != "dumb" else _Plain(waiter)
    left = [key for key in results if not done(key)]
    for key in results:
        if key not in left:
            display.ready(key)
    display.update(left)
    if left:
        for _ in waiter.news(deadline, TICK if isinstance(display, _Live) else None):
            for key in [key for key in left if done(key)]:
                left.remove(key)
                display.ready(key)
            display.update(left)
            if not left:
                break
    display.finish()
    for key in left:
        why = why_not_ready(waiter.objects.get(key))
        warn(f"error: timed out after {timeout:g}s waiting for pod/{key[1]} to be ready: {why}")
    return not left


class _Plain:
    """A line for each pod that is ready, and for each new reason why one is not."""

    def __init__(self, waiter: Waiter) -> None:
        self._waiter = waiter
        self._said: dict[Key, str] = {}

    def ready(self, key: Key) -> None:
        say(f"pod/{key[1]} {_done(self._waiter.objects.get(key))}")

    def update(self, left: list[Key]) -> None:
        for key in left:
            why = why_not_ready(self._waiter.objects.get(key))
            if self._said.get(key) != why:
                self._said[key] = why
                say(f"pod/{key[1]} not ready: {why}")
        sys.stdout.flush()

    def finish(self) -> None:
        sys.stdout.flush()


class _Live:
    """Ready pods scroll by; below them a line for each that is not, redrawn in place (ECMA-48: CUU, ED)."""

    def __init__(self, waiter: Waiter, started: float) -> None:
        self._waiter = waiter
        self._started = started
        self._drawn = 0
        self._frame = 0

    def ready(self, key: Key) -> None:
        self._erase()
        seconds = time.monotonic() - self._started
        say(f"\x1b[32m✓\x1b[0m pod/{key[1]} {_done(self._waiter.objects.get(key))} \x1b[2m{seconds:.1f}s\x1b[0m")

    def update(self, left: list[Key]) -> None:
        self._erase()
        size = os.get_terminal_size(sys.stdout.fileno())
        width, room = size.columns or 80, max((size.lines or 24) - 2, 1)
        frame = FRAMES[self._frame % len(FRAMES)]
        self._frame += 1
        seconds = f"{time.monotonic() - self._started:.1f}s"
        lines = []
        for key in left[:room]:
            text = f"pod/{key[1]} {why_not_ready(self._waiter.objects.get(key))}"
            text = "".join(char if char.isprintable() else " " for char in text)
            space = width - len(seconds) - 4
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
