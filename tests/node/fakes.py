"""A runtime and an image store of values, and a node around them: for tests that need no kernel.

`FakeRuntime` outlives nodes as the kernel does. Every call passes a boundary before it takes effect and one after; a
test may have the node die at any of them.
"""

from __future__ import annotations

import itertools
import shutil
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from minikube_lite.core.environment import CannotRun, Environment, Facts, Lookup, environment
from minikube_lite.core.model import Exit
from minikube_lite.images.image import Image, ImageError, NotPresent, unavailable
from minikube_lite.images.names import Named
from minikube_lite.images.progress import Progress, Step
from minikube_lite.images.reference import Remote, parse
from minikube_lite.images.registry.credentials import Keychain
from minikube_lite.node.clock import boottime, wall
from minikube_lite.node.paths import Paths
from minikube_lite.node.records import PodRecord
from minikube_lite.node.runtime import OnExit, Running, RunState, RuntimeFailure
from minikube_lite.node.service import ExecSession


class NodeKilled(BaseException):
    """What a node feels of `kill -9`: nothing of it goes on."""


@dataclass
class FakeSecret:
    type: str
    data: dict[str, bytes]


class FakeRegistries:
    """`has` is what they hold: name → digest. `fail`: what asking for a name raises, once each."""

    def __init__(self) -> None:
        self.has: dict[str, str] = {}
        self.fail: dict[str, list[ImageError]] = {}
        self.asked: list[tuple[str, str, tuple[str, ...]]] = []
        """(`HEAD` or `GET`, name, user names of the credentials that were shown)."""
        self.gates: dict[str, threading.Event] = {}
        """By name: until it is set, the registry does not answer."""

    def repository(self, remote: Remote, keychain: Keychain | None = None) -> FakeRepository:
        found = () if keychain is None else keychain.find(remote).credentials
        return FakeRepository(self, str(remote), tuple(item.username for item in found))


class FakeRepository:
    def __init__(self, registries: FakeRegistries, name: str, users: tuple[str, ...]) -> None:
        self._registries, self._name, self._users = registries, name, users

    def _ask(self, how: str) -> str:
        registries = self._registries
        registries.asked.append((how, self._name, self._users))
        if gate := registries.gates.get(self._name):
            assert gate.wait(10)
        if registries.fail.get(self._name):
            raise registries.fail[self._name].pop(0)
        if self._name not in registries.has:
            raise unavailable(f"cannot pull `{self._name}`: it does not have the manifest")
        return registries.has[self._name]

    def digest_of(self, reference: str = "") -> str:
        return self._ask("HEAD")

    def get(self) -> str:
        return self._ask("GET")


class FakeImages:
    """Every path is an image, names are those that were pulled or put in `names`. `fail` and `slow` say which are not,
    or not yet."""

    def __init__(self) -> None:
        self.fail: dict[str, list[ImageError]] = {}
        self.slow: set[str] = set()
        self.config: dict[str, dict[str, Any]] = {}
        """By reference; {} for the others."""
        self.names: dict[str, Named] = {}
        self.leased: dict[str, Image] = {}
        self.resolved: list[tuple[str, Path]] = []

    def put(self, name: str, digest: str, *, by_hand: bool = False) -> None:
        self.names[name] = Named(name, digest, digest, by_hand=by_hand)

    def is_cheap(self, reference: str, base_dir: Path) -> bool:
        return reference not in self.slow

    def known(self, remote: Remote) -> Named | None:
        return self.names.get(str(remote))

    def travel_size(self, named: Named) -> int:
        return 1000

    def resolve(self, reference: str, base_dir: Path) -> Image:
        self.resolved.append((reference, base_dir))
        if self.fail.get(reference):
            raise self.fail[reference].pop(0)
        meant = parse(reference, base_dir)
        if isinstance(meant, Remote):
            named = self.known(meant)
            if named is None:
                raise NotPresent(str(meant), f"`{meant}` is not on this machine")
            return Image(reference, f"sha256:{named.target}", (Path("/layer"),), self.config.get(reference, {}))
        return Image(reference, f"sha256:{reference}", (Path("/layer"),), self.config.get(reference, {}))

    def pull(self, name: str, source: FakeRepository, progress: Progress) -> None:
        digest = source.get()
        progress(Step("copying", digest, 1, 1))
        self.put(name, digest)

    def lease(self, user: str, image: Image) -> None:
        meant = parse(image.reference, "/")
        if isinstance(meant, Remote) and self.known(meant) is None:
            raise NotPresent(str(meant), "it was removed just now")
        self.leased[user] = image

    def release(self, user: str) -> None:
        self.leased.pop(user, None)

    def leases(self) -> dict[str, Image]:
        return dict(self.leased)


@dataclass
class FakeRun:
    container: str
    image: Image
    pid: int
    exit: Exit | None = None
    started_at: float = field(default_factory=lambda: boottime())


class FakeRuntime:
    """Runs nothing, remembers everything. `fail_*` make the next calls of that kind fail."""

    on_exit: OnExit
    on_sandbox_lost: Callable[[str], None]

    def __init__(self, paths: Paths | None = None) -> None:
        self.lookup: Lookup = lambda *_: None
        self.paths = paths
        self.sandboxes: set[str] = set()
        self.runs: dict[tuple[str, str], FakeRun] = {}
        """By (uid, bundle)."""
        self.calls: list[tuple[str, ...]] = []
        self.fail_start: list[RuntimeFailure] = []
        self.fail_sandbox: list[RuntimeFailure] = []
        self.fail_volumes: list[RuntimeFailure] = []
        self.volumes_ready: set[str] = set()
        self.fail_kill: list[OSError] = []
        self.fail_remove: list[OSError] = []
        self.fail_resize: list[OSError] = []
        self.fail_inspect: list[RuntimeFailure] = []
        self.obeys_term = True
        self.watched: set[tuple[str, str]] = set()
        """Runs whose exit the node is told of: those it started or inspected. A new node watches nothing yet."""
        self.on_start: Callable[[PodRecord, str, str], None] = lambda record, container, bundle: None
        self.boundary: Callable[[str], None] = lambda where: None
        self.environments: dict[str, Environment] = {}
        """What each container was last started with."""
        self.forgotten: list[tuple[str, str, bool]] = []
        self._pids = itertools.count(1000)

    def running(self) -> list[FakeRun]:
        return [run for run in self.runs.values() if run.exit is None]

    def _runs(self, record: PodRecord, container: str) -> bool:
        of = record.observed.uid
        return any(uid == of and run.container == container and not run.exit for (uid, _), run in self.runs.items())

    def end(self, container: str, code: int = 0, signal: int = 0, of: str = "") -> None:
        """The running container of this name ends; `of`: the uid of its pod, where it is not the only one."""
        for (uid, bundle), run in self.runs.items():
            if run.container == container and run.exit is None and of in ("", uid):
                now = boottime()
                run.exit = Exit(code, signal, False, run.started_at, now, wall(), wall())
                if (uid, bundle) in self.watched:
                    self.on_exit(uid, container, bundle, run.exit)
                return
        raise AssertionError(f"{container} does not run")

    async def create_sandbox(self, record: PodRecord) -> tuple[tuple[str, str], ...]:
        self.boundary("before sandbox")
        if self.fail_sandbox:
            raise self.fail_sandbox.pop(0)
        self.sandboxes.add(record.observed.uid)
        if self.paths is not None:
            self.paths.pod_run(record.observed.uid).mkdir(parents=True, exist_ok=True)
        self.calls.append(("sandbox", record.key))
        self.boundary("after sandbox")
        return ()

    async def sandbox_ready(self, record: PodRecord) -> bool:
        return record.observed.uid in self.sandboxes

    async def set_up_volumes(self, record: PodRecord) -> tuple[str, ...]:
        self.boundary("before volumes")
        if self.fail_volumes:
            raise self.fail_volumes.pop(0)
        self.calls.append(("volumes", record.key))
        self.volumes_ready.add(record.observed.uid)
        self.boundary("after volumes")
        return ()

    async def start(self, record: PodRecord, container: str, bundle: str, image: Image) -> Running:
        self.boundary("before start")
        self.on_start(record, container, bundle)
        if self.fail_start:
            raise self.fail_start.pop(0)
        self.environments[container] = self._environment(record, container)
        assert record.observed.uid in self.sandboxes, "a container needs its sandbox"
        if record.observed.pod.spec.volumes:
            assert record.observed.uid in self.volumes_ready, "a container needs its volumes"
        key = (record.observed.uid, bundle)
        assert key not in self.runs, "a bundle is run once"
        twice = [run for (uid, _), run in self.runs.items() if uid == key[0] and run.container == container]
        assert all(run.exit for run in twice), "a container never runs twice at once"
        run = FakeRun(container, image, next(self._pids))
        self.runs[key] = run
        self.watched.add(key)
        self.calls.append(("start", container))
        self.boundary("after start")
        return Running(run.pid, run.started_at, wall())

    def _environment(self, record: PodRecord, container: str) -> Environment:
        try:
            return environment(record.observed.pod, record.spec(container), self.lookup, Facts(record.observed.uid))
        except CannotRun as error:
            raise RuntimeFailure(error.reason, error.message) from error

    async def inspect(self, record: PodRecord, container: str, bundle: str) -> RunState:
        self.boundary("before inspect")
        if self.fail_inspect:
            raise self.fail_inspect.pop(0)
        run = self.runs.get((record.observed.uid, bundle))
        if run is None:
            return RunState("never")
        if run.exit is not None:
            return RunState("exited", exit=run.exit)
        self.watched.add((record.observed.uid, bundle))
        return RunState("running", Running(run.pid, run.started_at, wall()))

    def signal(self, record: PodRecord, container: str, signo: int) -> None:
        self.boundary("before signal")
        self.calls.append(("signal", container, str(int(signo))))
        if self.obeys_term and self._runs(record, container):
            self.end(container, 128 + signo, signo, record.observed.uid)
        self.boundary("after signal")

    async def kill(self, record: PodRecord, container: str) -> None:
        self.boundary("before kill")
        if self.fail_kill:
            raise self.fail_kill.pop(0)
        self.calls.append(("kill", container))
        if self._runs(record, container):
            self.end(container, 137, 9, record.observed.uid)
        self.boundary("after kill")

    async def update_resources(self, record: PodRecord, container: str) -> tuple[str, ...]:
        self.boundary("before resize")
        self.calls.append(("resize", container))
        if self.fail_resize:
            raise self.fail_resize.pop(0)
        self.boundary("after resize")
        return ()

    async def forget_bundle(self, record: PodRecord, container: str, bundle: str, log: bool) -> None:
        self.boundary("before forget")
        run = self.runs.get((record.observed.uid, bundle))
        assert run is None or run.exit is not None, "the files of what runs are not removed"
        self.calls.append(("forget", container))
        self.forgotten.append((container, bundle, log))
        self.boundary("after forget")

    async def remove_pod(self, record: PodRecord) -> None:
        self.boundary("before remove")
        if self.fail_remove:
            raise self.fail_remove.pop(0)
        left = [run.container for (uid, _), run in self.runs.items() if uid == record.observed.uid and not run.exit]
        assert not left, f"removed while {left} run"
        self.sandboxes.discard(record.observed.uid)
        self.calls.append(("remove", record.key))
        if self.paths is not None:
            for directory in (self.paths.pod_state, self.paths.pod_run):
                shutil.rmtree(directory(record.observed.uid), ignore_errors=True)
        self.boundary("after remove")

    async def exec(self, record: PodRecord, container: str, command: list[str], tty: bool, stdin: bool) -> ExecSession:
        raise RuntimeFailure("InternalError", "the fake runtime runs nothing")
