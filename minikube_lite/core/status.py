"""What is known of a pod, in Kubernetes' words: its `status` and its API object. Called by node.publish and api.

Everything is derived from what was observed, transition times too, so that the same observation always gives the same
object: a watcher is told only of what really changed. A back-off is said with the instant of the next try, not with
the seconds left, for the same reason. Sources: the kubelet's `getPhase`, `convertToAPIContainerStatuses` and
`status.Generate…Condition`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from minikube_lite.core import backoff, hashes
from minikube_lite.core.model import ContainerObserved, Exit, Failure, PodObserved, Policy
from minikube_lite.core.pod_object import pod_object
from minikube_lite.core.printing import columns
from minikube_lite.core.restart import UNKNOWN_EXIT, exit_reason, next_start
from minikube_lite.core.times import go_duration, human_duration, timestamp
from minikube_lite.spec.objects import Container, qos_class, to_json

__all__ = ["columns", "human_duration", "pod_object", "status"]

Json = dict[str, Any]


def status(observed: PodObserved, now: float, policy: Policy) -> Json:
    """The pod's `status` object; `now` is CLOCK_BOOTTIME."""
    containers = sorted(observed.pod.spec.containers, key=lambda item: item.name)
    views = [_View(item, _seen(observed, item), observed, now, policy) for item in containers]
    statuses = [view.status() for view in views]
    phase = _phase(observed, statuses) if observed.evicted is None else "Failed"
    result: Json = {
        "observedGeneration": observed.generation if _is_current(observed) else observed.generation - 1,
        "phase": phase,
        "conditions": _conditions(observed, statuses, phase),
        "startTime": timestamp(observed.created_wall),
        "containerStatuses": statuses,
        "qosClass": qos_class(observed.pod),
    }
    if observed.evicted is not None:
        result |= {"reason": "Evicted", "message": observed.evicted.message}
    return result


def _is_current(observed: PodObserved) -> bool:
    """Whether what runs is what the accepted spec asks for: until then the status speaks of the generation before."""
    wanted = {item.name: item for item in observed.pod.spec.containers}
    for seen in observed.containers.values():
        if seen.state != "running":
            continue
        item = wanted.get(seen.name)
        if item is None or hashes.changed(seen.hash, hashes.container_hash(item, observed.pod)):
            return False
        if seen.resources != hashes.resources_hash(item):
            return False
    return True


def _seen(observed: PodObserved, container: Container) -> ContainerObserved:
    return observed.containers.get(container.name) or ContainerObserved(container.name)


@dataclass(frozen=True, slots=True)
class _View:
    """One container, looked at to be told of."""

    container: Container
    seen: ContainerObserved
    observed: PodObserved
    now: float
    policy: Policy

    def status(self) -> Json:
        seen, running = self.seen, self.seen.state == "running"
        state, last = self._states()
        result: Json = {
            "name": seen.name,
            "state": state,
            "lastState": last,
            "ready": running,
            "started": running,
            "restartCount": seen.restart_count,
            "image": self.container.image,
            "imageID": seen.image_id,
        }
        if seen.ever_started and (running or seen.exit is not None):
            result["containerID"] = self._id(seen.restart_count)
        resources = to_json(self.container).get("resources")
        if resources and running:
            result["resources"] = resources
            if resources.get("requests"):
                result["allocatedResources"] = resources["requests"]
        return result

    def _states(self) -> tuple[Json, Json]:
        """`state` and `lastState`. While a run that is over waits for the next, that run is the last state."""
        seen = self.seen
        before = {} if seen.last_exit is None else self._terminated(seen.last_exit, seen.restart_count - 1)
        if seen.state == "running":
            started = timestamp(seen.started_wall)
            return {"running": {"startedAt": started} if started else {}}, before
        if seen.state == "waiting":
            return {"waiting": self._waiting() or _waiting("ContainerCreating")}, before
        ended = seen.exit or UNKNOWN_EXIT
        over = self._terminated(ended, seen.restart_count)
        waiting = self._waiting()
        if waiting is not None:
            return {"waiting": waiting}, over
        return self._with_next_try(over, ended), before

    def _waiting(self) -> Json | None:
        """Why it does not start now, if something keeps it; None where nothing does, or where it is over for good."""
        seen, container, pod = self.seen, self.container, self.observed.pod
        if self.observed.termination is not None or self.observed.evicted is not None:
            return None
        start = next_start(container, seen, pod, self.now, self.policy)
        if start is None:
            return None
        reference = container.image
        if seen.image_failure is not None and seen.image != "ready" and seen.image_reference == reference:
            return self._image_waiting(seen.image_failure, reference)
        if seen.create_failure is not None:
            return _waiting(seen.create_failure.reason, seen.create_failure.message)
        if seen.state == "exited" and start.at > self.now and (seen.exit or UNKNOWN_EXIT).code != 0:
            return _waiting("CrashLoopBackOff", self._back_off("failed", seen.exit or UNKNOWN_EXIT))
        sandbox = self.observed.sandbox
        if sandbox is None or not sandbox.ready:
            failure = self.observed.sandbox_failure
            if failure is None:
                return _waiting("ContainerCreating", "")
            word = "ContainerCreating" if failure.reason == "FailedCreatePodSandBox" else failure.reason
            return _waiting(word, failure.message)
        if pod.spec.volumes and not self.observed.volumes.ready:
            failure = self.observed.volumes.failure
            return _waiting("ContainerCreating", "" if failure is None else failure.message)
        return None

    def _image_waiting(self, failure: Failure, reference: str) -> Json:
        """The first failure is told as it is; from the second on the word is that of the wait."""
        if failure.reason != "ErrImagePull" or failure.count == 1:
            return _waiting(failure.reason, failure.message)
        message = f'Back-off pulling image "{reference}": {failure.reason}: {failure.message}'
        return _waiting("ImagePullBackOff", message)

    def _terminated(self, ended: Exit, count: int) -> Json:
        result: Json = {"exitCode": ended.code, "reason": exit_reason(ended), "containerID": self._id(max(count, 0))}
        if ended.signal:
            result["signal"] = ended.signal
        if ended.message:
            result["message"] = ended.message
        result["startedAt"] = timestamp(ended.started_wall)
        result["finishedAt"] = timestamp(ended.finished_wall)
        return {"terminated": result}

    def _with_next_try(self, over: Json, ended: Exit) -> Json:
        """`Completed` stays `Completed` while it waits to be started again; the message says until when."""
        over_for_good = self.observed.termination is not None or self.observed.evicted is not None
        if over_for_good or ended.code != 0 or ended.message:
            return over
        start = next_start(self.container, self.seen, self.observed.pod, self.now, self.policy)
        if start is None or start.at <= self.now:
            return over
        return {"terminated": {**over["terminated"], "message": self._back_off("completed", ended)}}

    def _back_off(self, kind: str, ended: Exit) -> str:
        """The kubelet's words, and when the wait is over (it has only how long it is)."""
        delay = backoff.next_delay(self.seen.failures, ended, self.policy)
        meta = self.observed.pod.metadata
        message = (
            f"back-off {go_duration(delay)} restarting {kind} container={self.seen.name} "
            f"pod={meta.name}_{meta.namespace}({self.observed.uid})"
        )
        next_try = timestamp(ended.finished_wall + delay) if ended.finished_wall else None
        return f"{message}, next try at {next_try}" if next_try else message

    def _id(self, count: int) -> str:
        return f"minikube-lite://{self.observed.uid}/{self.seen.name}/{count}"


def _waiting(reason: str, message: str = "") -> Json:
    return {"reason": reason, "message": message} if message else {"reason": reason}


def _phase(observed: PodObserved, statuses: Iterable[Json]) -> str:
    """The kubelet's `getPhase`."""
    waiting = running = stopped = succeeded = 0
    for item in statuses:
        terminated = item["state"].get("terminated")
        if "running" in item["state"]:
            running += 1
        elif terminated is not None:
            stopped += 1
            succeeded += terminated["exitCode"] == 0
        elif item["lastState"]:
            stopped += 1
        else:
            waiting += 1
    if waiting:
        return "Pending"
    if running:
        return "Running"
    if observed.termination is not None:  # nothing of it starts again
        return "Succeeded" if succeeded == stopped else "Failed"
    if observed.pod.spec.restart_policy == "Always":
        return "Running"
    if succeeded == stopped:
        return "Succeeded"
    return "Failed" if observed.pod.spec.restart_policy == "Never" else "Running"


def _conditions(observed: PodObserved, statuses: list[Json], phase: str) -> list[Json]:
    unready = [item["name"] for item in statuses if not item["ready"]]
    reason = message = None
    if phase in ("Succeeded", "Failed"):
        reason = "PodCompleted" if phase == "Succeeded" else "PodFailed"
    elif unready:
        reason, message = "ContainersNotReady", f"containers with unready status: [{' '.join(unready)}]"
    since = timestamp(_ready_since(observed, ready=reason is None))
    created = timestamp(observed.created_wall)
    sandbox = observed.sandbox is not None and observed.sandbox.ready
    return [
        _condition("PodReadyToStartContainers", sandbox, created),
        _condition("Initialized", True, created),
        _condition("Ready", reason is None, since, reason, message),
        _condition("ContainersReady", reason is None, since, reason, message),
        _condition("PodScheduled", True, created),
    ]


def _condition(
    kind: str, value: bool, since: str | None, reason: str | None = None, message: str | None = None
) -> Json:
    result: Json = {"type": kind, "status": str(value), "lastProbeTime": None, "lastTransitionTime": since}
    if reason:
        result["reason"] = reason
    if message:
        result["message"] = message
    return result


def _ready_since(observed: PodObserved, *, ready: bool) -> float:
    """Ready: since the last of them came up. Not ready: since the first that is down went down, if any ever was up."""
    seen = [_seen(observed, container) for container in observed.pod.spec.containers]
    if ready:
        return max((item.started_wall for item in seen), default=observed.created_wall)
    ends = [item.exit or item.last_exit for item in seen if item.state != "running"]
    return min((end.finished_wall for end in ends if end is not None), default=observed.created_wall)
