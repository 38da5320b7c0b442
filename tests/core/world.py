"""A tiny world without a kernel in which plans come true: it keeps records and processes as node.execute does.

Everything happens in `now`; nothing waits. Whatever must never happen is asserted where it would.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

from minikube_lite.core import hashes
from minikube_lite.core.model import (
    AcceptSpec,
    Action,
    BeginTermination,
    ContainerObserved,
    CreatePod,
    CreateSandbox,
    Exit,
    Failure,
    ForgetContainer,
    KillContainer,
    Plan,
    PodDesired,
    PodObserved,
    Policy,
    PullImage,
    RemovePod,
    SandboxObserved,
    StartContainer,
    Stop,
    StopContainer,
    Termination,
    UpdateResources,
)
from minikube_lite.core.plan import plan
from minikube_lite.spec.objects import Container


@dataclass
class World:
    """One pod's name on one machine."""

    random: Random
    policy: Policy = field(default_factory=Policy)
    desired: PodDesired | None = None
    observed: PodObserved | None = None
    now: float = 100.0
    broken: bool = False
    """While true, everything that can fail does."""
    ignores_term: bool = False
    pods: int = 0
    counts: dict[tuple[str, str], int] = field(default_factory=dict)
    """(uid, container) → the highest restart count seen."""

    def settle(self) -> Plan:
        """Plan and act until nothing is left to do now, as the node's worker does."""
        for _ in range(30):
            decided = plan(self.desired, self.observed, self.now, self.policy)
            assert decided == plan(self.desired, self.observed, self.now, self.policy), "a decision has no memory"
            if not decided.actions:
                assert decided.wake_at is None or decided.wake_at > self.now, "a busy loop"
                return decided
            for action in decided.actions:
                self.do(action)
        raise AssertionError(f"does not settle: {decided}")

    def pass_time(self, until: float) -> None:
        """Let the clock run, waking up as plans ask for it."""
        for _ in range(10_000):
            wake = self.settle().wake_at
            if wake is None or wake > until:
                break
            self.now = wake
        else:
            raise AssertionError("wakes up for ever")
        self.now = max(self.now, until)
        self.settle()

    # -- what plans ask for

    def do(self, action: Action) -> None:
        match action:
            case CreatePod():
                assert self.observed is None, "the old is fully dead before the new starts"
                assert self.desired is not None
                self.pods += 1
                self.observed = PodObserved(f"uid-{self.pods}", self.desired.pod, self.desired.source)
            case AcceptSpec():
                assert self.desired is not None
                self._set(pod=self.desired.pod, source=self.desired.source)
            case BeginTermination(deadline, reason):
                assert self.pod.termination is None
                self._set(termination=Termination(self.now, deadline, reason))
            case RemovePod():
                assert self.pod.termination is not None
                assert not self.running(), "a pod is removed when nothing of it runs"
                self.observed = None
            case CreateSandbox():
                self._create_sandbox()
            case PullImage(name):
                self._pull(name)
            case StartContainer():
                self._start(action)
            case StopContainer(name, deadline, reason):
                seen = self.seen(name)
                assert seen.state == "running"
                assert seen.stop is None, "a run is asked to stop once"
                self._container(name, stop=Stop(self.now, deadline, reason))
                if not self.ignores_term:
                    self.exit(name, self.random.choice([0, 143]))
            case KillContainer(name, reason):
                seen = self.seen(name)
                assert seen.state == "running"
                stop = seen.stop or Stop(self.now, self.now, reason)
                self._container(name, stop=replace(stop, killed=True))
                self.exit(name, 137)
            case ForgetContainer(name):
                assert self.seen(name).state != "running"
                assert all(item.name != name for item in self.pod.pod.spec.containers)
                self._set(containers={k: v for k, v in self.pod.containers.items() if k != name})
                self.counts.pop((self.pod.uid, name), None)
            case UpdateResources(""):
                assert self.pod.sandbox is not None
                self._set(sandbox=replace(self.pod.sandbox, resources=hashes.pod_resources_hash(self.pod.pod)))
            case UpdateResources(name):
                assert self.seen(name).state == "running"
                self._container(name, resources=hashes.resources_hash(self.spec(name)))

    def _create_sandbox(self) -> None:
        assert not self.running(), "nothing runs while the sandbox is made"
        if self.broken:
            before = self.pod.sandbox_failure
            self._set(sandbox=None, sandbox_failure=self._failure("FailedCreatePodSandBox", before))
            return
        of = self.pod.pod
        made = SandboxObserved(True, hashes.sandbox_hash(of), hashes.pod_resources_hash(of))
        self._set(sandbox=made, sandbox_failure=None)

    def _pull(self, name: str) -> None:
        seen, reference = self.seen(name), self.spec(name).image or ""
        assert (seen.image, seen.image_reference) != ("pulling", reference), "nothing is pulled twice at once"
        if self.random.random() < 0.3:
            self._container(name, image="pulling", image_reference=reference)
        elif self.broken:
            failure = self._failure("ErrImagePull", seen.image_failure)
            self._container(name, image="absent", image_reference=reference, image_failure=failure)
        else:
            self._container(name, image="ready", image_reference=reference, image_failure=None)

    def _start(self, action: StartContainer) -> None:
        name, seen, spec = action.container, self.seen(action.container), self.spec(action.container)
        assert self.pod.termination is None, "terminating starts nothing"
        assert seen.state != "running", "never two runs at once"
        assert self.pod.sandbox is not None
        assert self.pod.sandbox.ready
        assert self.pod.sandbox.hash == hashes.sandbox_hash(self.pod.pod)
        assert (seen.image, seen.image_reference) == ("ready", spec.image)
        tried: dict[str, Any] = {
            "failures": action.failures,
            "hash": hashes.container_hash(spec, self.pod.pod),
            "resources": hashes.resources_hash(spec),
            "stop": None,
        }
        if self.broken:
            self._container(name, **tried, create_failure=self._failure("CreateContainerError", seen.create_failure))
            return
        highest = self.counts.get((self.pod.uid, name), -1)
        assert action.restart_count > highest, "each run has a count of its own, and it never goes down"
        self.counts[self.pod.uid, name] = action.restart_count
        self._container(
            name,
            **tried,
            state="running",
            restart_count=action.restart_count,
            ever_started=True,
            started_at=self.now,
            exit=None,
            last_exit=seen.exit or seen.last_exit,
            create_failure=None,
        )

    # -- what happens by itself

    def exit(self, name: str, code: int) -> None:
        seen = self.seen(name)
        ended = Exit(code, started_at=seen.started_at, finished_at=self.now)
        self._container(name, state="exited", exit=ended)

    def finish_pulls(self) -> None:
        for seen in list(self.pod.containers.values()):
            if seen.image == "pulling":
                failure = self._failure("ErrImagePull", seen.image_failure) if self.broken else None
                self._container(seen.name, image="absent" if self.broken else "ready", image_failure=failure)

    def lose_sandbox(self) -> None:
        if self.pod.sandbox is not None:
            self._set(sandbox=replace(self.pod.sandbox, ready=False))

    # -- looking

    @property
    def pod(self) -> PodObserved:
        assert self.observed is not None
        return self.observed

    def seen(self, name: str) -> ContainerObserved:
        return self.pod.containers.get(name) or ContainerObserved(name)

    def spec(self, name: str) -> Container:
        return next(item for item in self.pod.pod.spec.containers if item.name == name)

    def running(self) -> list[str]:
        if self.observed is None:
            return []
        return [seen.name for seen in self.observed.containers.values() if seen.state == "running"]

    def _failure(self, reason: str, before: Failure | None) -> Failure:
        return Failure(reason, "the world is broken", self.now, 1 if before is None else before.count + 1)

    def _set(self, **changes: Any) -> None:
        self.observed = replace(self.pod, **changes)

    def _container(self, name: str, **changes: Any) -> None:
        self._set(containers={**self.pod.containers, name: replace(self.seen(name), **changes)})
