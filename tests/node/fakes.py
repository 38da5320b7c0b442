"""A runtime of values: what the node's tests use where no kernel is needed."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from minikube_lite.core.model import Exit
from minikube_lite.images.image import Image
from minikube_lite.node.clock import boottime, wall
from minikube_lite.node.records import PodRecord
from minikube_lite.node.runtime import OnExit, Running, RunState, RuntimeFailure
from minikube_lite.node.service import ExecSession


@dataclass
class FakeRun:
    container: str
    image: Image
    pid: int
    exit: Exit | None = None
    started_at: float = field(default_factory=boottime)


class FakeRuntime:
    """Runs nothing, remembers everything. `fail_*` make the next call of that kind fail."""

    on_exit: OnExit
    on_sandbox_lost: Callable[[str], None]

    def __init__(self) -> None:
        self.sandboxes: set[str] = set()
        self.runs: dict[tuple[str, str], FakeRun] = {}
        """By (uid, bundle)."""
        self.calls: list[tuple[str, ...]] = []
        self.fail_start: list[RuntimeFailure] = []
        self.fail_sandbox: list[RuntimeFailure] = []
        self.obeys_term = True
        self._pids = itertools.count(1000)

    def running(self) -> list[FakeRun]:
        return [run for run in self.runs.values() if run.exit is None]

    def end(self, container: str, code: int = 0, signal: int = 0) -> None:
        """The running container of this name ends."""
        for (uid, bundle), run in self.runs.items():
            if run.container == container and run.exit is None:
                now = boottime()
                run.exit = Exit(code, signal, False, run.started_at, now, wall(), wall())
                self.on_exit(uid, container, bundle, run.exit)
                return
        raise AssertionError(f"{container} does not run")

    async def create_sandbox(self, record: PodRecord) -> tuple[str, ...]:
        if self.fail_sandbox:
            raise self.fail_sandbox.pop(0)
        self.sandboxes.add(record.observed.uid)
        self.calls.append(("sandbox", record.key))
        return ()

    async def sandbox_ready(self, record: PodRecord) -> bool:
        return record.observed.uid in self.sandboxes

    async def start(self, record: PodRecord, container: str, bundle: str, image: Image) -> Running:
        if self.fail_start:
            raise self.fail_start.pop(0)
        assert record.observed.uid in self.sandboxes, "a container needs its sandbox"
        key = (record.observed.uid, bundle)
        assert key not in self.runs, "a bundle is run once"
        twice = [run for (uid, _), run in self.runs.items() if uid == key[0] and run.container == container]
        assert all(run.exit for run in twice), "a container never runs twice at once"
        run = FakeRun(container, image, next(self._pids))
        self.runs[key] = run
        self.calls.append(("start", container))
        return Running(run.pid, run.started_at, wall())

    async def inspect(self, record: PodRecord, container: str, bundle: str) -> RunState:
        run = self.runs.get((record.observed.uid, bundle))
        if run is None:
            return RunState("never")
        if run.exit is not None:
            return RunState("exited", exit=run.exit)
        return RunState("running", Running(run.pid, run.started_at, wall()))

    def signal(self, record: PodRecord, container: str, signo: int) -> None:
        self.calls.append(("signal", container, str(int(signo))))
        if self.obeys_term:
            self.end(container, 128 + signo, signo)

    async def kill(self, record: PodRecord, container: str) -> None:
        self.calls.append(("kill", container))
        self.end(container, 137, 9)

    async def update_resources(self, record: PodRecord, container: str) -> tuple[str, ...]:
        self.calls.append(("resize", container))
        return ()

    async def forget_bundle(self, record: PodRecord, container: str, bundle: str, log: bool) -> None:
        self.calls.append(("forget", container))

    async def remove_pod(self, record: PodRecord) -> None:
        left = [run.container for (uid, _), run in self.runs.items() if uid == record.observed.uid and not run.exit]
        assert not left, f"removed while {left} run"
        self.sandboxes.discard(record.observed.uid)
        self.calls.append(("remove", record.key))

    async def exec(self, record: PodRecord, container: str, command: list[str], tty: bool, stdin: bool) -> ExecSession:
        raise RuntimeFailure("InternalError", "the fake runtime runs nothing")

    def usage(self, record: PodRecord, container: str) -> dict[str, Any]:
        return {}
