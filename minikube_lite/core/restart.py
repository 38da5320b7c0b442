"""Whether, when and as what a container that does not run is started. Asked by core.plan and core.status.

The kubelet's `ShouldContainerBeRestarted`, with two differences: a changed spec starts a container again whatever its
restartPolicy says (editing the manifest is how a person asks for it), and the first restart does not wait.
"""

from __future__ import annotations

from dataclasses import dataclass

from minikube_lite.core import backoff, hashes
from minikube_lite.core.model import ContainerObserved, Exit, Policy
from minikube_lite.spec.objects import Container, Pod

SPEC_CHANGED = "its spec changed"
NOT_IN_SPEC = "the spec no longer has it"
SANDBOX_LOST = "the pod's sandbox is gone"

UNKNOWN_EXIT = Exit(137, reason="ContainerStatusUnknown", message="nobody saw how it ended")
"""Stands in where a run is over and nothing tells how; the kubelet's exit code for that."""


@dataclass(frozen=True, slots=True)
class NextStart:
    """The start that lies ahead: not before `at` (CLOCK_BOOTTIME), recorded with these counts."""

    at: float
    restart_count: int
    failures: int
    reason: str = ""


def next_start(container: Container, seen: ContainerObserved, pod: Pod, now: float, policy: Policy) -> NextStart | None:
    """The start ahead of a container that does not run; None if it is done for good."""
    ran = seen.state == "exited"
    count = seen.restart_count + 1 if ran else seen.restart_count
    ended = (seen.exit or UNKNOWN_EXIT) if ran else None
    if hashes.changed(seen.hash, hashes.container_hash(container, pod)):
        return NextStart(now, count, 0, SPEC_CHANGED if ran else "")
    if seen.create_failure is not None:  # that start was decided on: what decided it is not asked again
        at = backoff.due(seen.create_failure.at, backoff.make_delay(seen.create_failure, policy), now)
        return NextStart(at, count, seen.failures, _why(ended))
    if ended is None:
        return NextStart(now, count, seen.failures)
    if seen.stop is not None and seen.stop.reason in (SPEC_CHANGED, NOT_IN_SPEC):
        return NextStart(now, count, 0, seen.stop.reason)
    if not restarts(pod, ended):
        return None
    at = backoff.due(ended.finished_at, backoff.next_delay(seen.failures, ended, policy), now)
    return NextStart(at, count, backoff.failures_after(seen.failures, backoff.ran_for(ended), policy), _why(ended))


def restarts(pod: Pod, ended: Exit) -> bool:
    """What restartPolicy says of a run that ended like this."""
    match pod.spec.restart_policy:
        case "Never":
            return False
        case "OnFailure":
            return ended.code != 0
    return True


def exit_reason(ended: Exit) -> str:
    """Kubernetes' word for how a run ended."""
    if ended.reason:
        return ended.reason
    if ended.oom_killed:
        return "OOMKilled"
    return "Completed" if ended.code == 0 else "Error"


def _why(ended: Exit | None) -> str:
    if ended is None:
        return ""
    return f"after {exit_reason(ended)}, exit code {ended.code}"
