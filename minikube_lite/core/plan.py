"""Decides what to do about one pod. Called by node.execute at every news of it; reads no clock, touches no disk.

As the kubelet's `computePodActions`: look at what is asked for and at what is there, and name the steps that can be
taken now. It is level-triggered: nothing is remembered between two calls, and once everything is as it should be the
plan is empty. A pod lives through three questions:

    is there a record?            no → CreatePod
    is it to go, or going?        yes → stop, kill at the deadline, RemovePod; nothing starts any more
    else                          → sandbox, volumes, images, resources, containers: whatever lacks, in that order

Each part of the answer is a small `Plan`; `_join` puts them together: actions in order, the earliest wake-up.
"""

from __future__ import annotations

from typing import Literal

from minikube_lite.core import backoff, hashes
from minikube_lite.core.model import (
    AcceptSpec,
    BeginTermination,
    ContainerObserved,
    CreatePod,
    CreateSandbox,
    ForgetContainer,
    KillContainer,
    Plan,
    PodDesired,
    PodObserved,
    Policy,
    PullImage,
    RemovePod,
    SetUpVolumes,
    StartContainer,
    StopContainer,
    Termination,
    UpdateResources,
)
from minikube_lite.core.restart import NOT_IN_SPEC, SANDBOX_LOST, SPEC_CHANGED, next_start
from minikube_lite.spec.objects import Container, Pod

NOTHING = Plan()


def plan(desired: PodDesired | None, observed: PodObserved | None, now: float, policy: Policy) -> Plan:
    """What to do at `now` (CLOCK_BOOTTIME, seconds) so that the pod comes nearer to what is asked for."""
    if observed is None:
        return NOTHING if desired is None else Plan((CreatePod(),))
    if observed.termination is not None:
        return _terminate(observed, observed.termination, now)
    if desired is None:
        return _begin_termination(observed, "Deleted", now)
    if _is_another_pod(desired.pod, observed):
        return _begin_termination(observed, "Replaced", now)
    if observed.evicted is not None:
        return _evict(desired, observed, now)
    return _reconcile(desired, observed, now, policy)


def _join(*parts: Plan) -> Plan:
    actions = tuple(action for part in parts for action in part.actions)
    return Plan(actions, min((part.wake_at for part in parts if part.wake_at is not None), default=None))


# -- the end ---------------------------------------------------------------------------------------------------------


def _is_another_pod(pod: Pod, observed: PodObserved) -> bool:
    """Whether the manifest now asks for a pod that this one cannot become without dying first."""
    uid = pod.metadata.uid
    if uid and uid not in (observed.uid, observed.pod.metadata.uid):
        return True
    if observed.evicted is not None and pod.spec != observed.pod.spec:
        return True
    sandbox = observed.sandbox
    return sandbox is not None and hashes.changed(sandbox.hash, hashes.sandbox_hash(pod))


def _begin_termination(observed: PodObserved, reason: Literal["Deleted", "Replaced"], now: float) -> Plan:
    """One deadline for all of it: from here on it only ever comes nearer."""
    grace = observed.grace_override
    if grace is None:
        grace = _grace(observed.pod)
    termination = Termination(now, now + grace, reason)
    rest = _terminate(observed, termination, now)
    return _join(Plan((BeginTermination(termination.deadline, reason),)), rest)


def _terminate(observed: PodObserved, termination: Termination, now: float) -> Plan:
    running = [seen for seen in observed.containers.values() if seen.state == "running"]
    if not running:
        return Plan((RemovePod(termination.reason),))
    deadline = death(observed, termination)
    return _join(*(_end(seen, deadline, f"the pod is {termination.reason.lower()}", now) for seen in running))


def death(observed: PodObserved, termination: Termination) -> float:
    """The instant at which all of a terminating pod is killed. A second `delete` with less grace brings it nearer,
    counted from the first (as the API server does it)."""
    if observed.grace_override is None:
        return termination.deadline
    return min(termination.deadline, termination.at + observed.grace_override)


def _end(seen: ContainerObserved, deadline: float, reason: str, now: float) -> Plan:
    """Ask a running container to end, once; kill it at the deadline, once. No grace: kill it right away."""
    if seen.stop is not None:
        deadline = min(deadline, seen.stop.deadline)
    if now >= deadline:
        killed = seen.stop is not None and seen.stop.killed
        return NOTHING if killed else Plan((KillContainer(seen.name, reason),))
    if seen.stop is None:
        return Plan((StopContainer(seen.name, deadline, reason),), deadline)
    return Plan((), deadline)


def _evict(desired: PodDesired, observed: PodObserved, now: float) -> Plan:
    """Kill what runs of it, at once, as the kubelet does; nothing starts again."""
    running = [seen for seen in observed.containers.values() if seen.state == "running"]
    return _join(_accept(desired, observed), *(_end(seen, now, "the pod is evicted", now) for seen in running))


def _grace(pod: Pod) -> float:
    return float(pod.spec.termination_grace_period_seconds)


# -- the life --------------------------------------------------------------------------------------------------------


def _reconcile(desired: PodDesired, observed: PodObserved, now: float, policy: Policy) -> Plan:
    pod = desired.pod
    return _join(
        _accept(desired, observed),
        _drop_removed_containers(pod, observed, now),
        _make_sandbox(pod, observed, now, policy),
        _set_up_volumes(desired, observed, now, policy),
        _resize_pod(pod, observed),
        *(_container(container, desired, observed, now, policy) for container in pod.spec.containers),
    )


def _accept(desired: PodDesired, observed: PodObserved) -> Plan:
    """First of all the edit is on record: what follows is done for the accepted spec."""
    if desired.source == observed.source and hashes.same_pod(desired.pod, observed.pod):
        return NOTHING
    return Plan((AcceptSpec(),))


def _drop_removed_containers(pod: Pod, observed: PodObserved, now: float) -> Plan:
    return _join(
        *(
            _end(seen, now + _grace(pod), NOT_IN_SPEC, now)
            if seen.state == "running"
            else Plan((ForgetContainer(seen.name),))
            for seen in _removed(pod, observed)
        )
    )


def _removed(pod: Pod, observed: PodObserved) -> list[ContainerObserved]:
    names = {container.name for container in pod.spec.containers}
    return [seen for seen in observed.containers.values() if seen.name not in names]


def _sandbox_ready(observed: PodObserved) -> bool:
    return observed.sandbox is not None and observed.sandbox.ready


def _seen(observed: PodObserved, container: Container) -> ContainerObserved:
    return observed.containers.get(container.name) or ContainerObserved(container.name)


def _make_sandbox(pod: Pod, observed: PodObserved, now: float, policy: Policy) -> Plan:
    """Make the sandbox if something is still to run in it. What runs in a broken one is killed first: its network is
    not the pod's any more."""
    if _sandbox_ready(observed):
        return NOTHING
    running = [seen for seen in observed.containers.values() if seen.state == "running"]
    if running:
        return _join(*(_end(seen, now, SANDBOX_LOST, now) for seen in running))
    if not any(next_start(item, _seen(observed, item), pod, now, policy) for item in pod.spec.containers):
        return NOTHING
    if (failure := observed.sandbox_failure) is not None:
        at = backoff.due(failure.at, backoff.make_delay(failure, policy), now)
        if at > now:
            return Plan((), at)
    return Plan((CreateSandbox(),))


def _set_up_volumes(desired: PodDesired, observed: PodObserved, now: float, policy: Policy) -> Plan:
    """Make them before the first start, and follow what they show for as long as anything runs or is to run."""
    pod, seen = desired.pod, observed.volumes
    if not pod.spec.volumes or seen.busy or (seen.ready and seen.fresh and seen.inputs == desired.inputs):
        return NOTHING
    running = any(item.state == "running" for item in observed.containers.values())
    if not running and not any(
        next_start(item, _seen(observed, item), pod, now, policy) for item in pod.spec.containers
    ):
        return NOTHING
    if seen.failure is not None and seen.failure.inputs == desired.inputs:
        at = backoff.due(seen.failure.at, backoff.make_delay(seen.failure, policy), now)
        if at > now:
            return Plan((), at)
    return Plan((SetUpVolumes(),))


def _volumes_ready(pod: Pod, observed: PodObserved) -> bool:
    return not pod.spec.volumes or observed.volumes.ready


def _resize_pod(pod: Pod, observed: PodObserved) -> Plan:
    """The pod's cgroup. On v1 it cannot be narrower than a container in it: one that is on its way out goes first."""
    sandbox = observed.sandbox
    if sandbox is None or not sandbox.ready or not _pod_resources_differ(pod, observed) or _leaving(pod, observed):
        return NOTHING
    return Plan((UpdateResources(),))


def _pod_resources_differ(pod: Pod, observed: PodObserved) -> bool:
    return observed.sandbox is not None and observed.sandbox.resources != hashes.pod_resources_hash(pod)


def _leaving(pod: Pod, observed: PodObserved) -> bool:
    return any(seen.state == "running" for seen in _removed(pod, observed))


# -- one container ---------------------------------------------------------------------------------------------------


def _container(container: Container, desired: PodDesired, observed: PodObserved, now: float, policy: Policy) -> Plan:
    seen, pod = _seen(observed, container), desired.pod
    if seen.state == "running":
        return _running(container, seen, desired, now, policy) if _sandbox_ready(observed) else NOTHING
    start = next_start(container, seen, pod, now, policy)
    if start is None:
        return NOTHING
    if not _image_ready(container, seen):
        if seen.state == "exited" and seen.image_reference == container.image and start.at > now:
            return Plan((), start.at)  # it ran on that image: the registry is asked when it is to start, not before
        return _pull(container, seen, desired, now, policy)
    if not _sandbox_ready(observed) or not _volumes_ready(pod, observed):
        return NOTHING
    failed = seen.create_failure
    if start.at > now and (failed is None or failed.inputs == desired.inputs):
        return Plan((), start.at)
    if not _fits(container, seen, pod, observed):
        return NOTHING
    return Plan((StartContainer(container.name, start.restart_count, start.failures, start.reason),))


def _running(container: Container, seen: ContainerObserved, desired: PodDesired, now: float, policy: Policy) -> Plan:
    pod = desired.pod
    if seen.stop is not None:  # whatever the spec says by now: the signal is out
        return _end(seen, seen.stop.deadline, seen.stop.reason, now)
    resize = NOTHING
    if seen.resources != hashes.resources_hash(container):
        resize = Plan((UpdateResources(container.name),))
    if not hashes.changed(seen.hash, hashes.container_hash(container, pod)):
        return resize
    if not _image_ready(container, seen):  # never take down what runs for an image that may not be had
        return _join(resize, _pull(container, seen, desired, now, policy))
    return _end(seen, now + _grace(pod), SPEC_CHANGED, now)


def _image_ready(container: Container, seen: ContainerObserved) -> bool:
    return seen.image == "ready" and seen.image_reference == container.image


def _pull(container: Container, seen: ContainerObserved, desired: PodDesired, now: float, policy: Policy) -> Plan:
    """What goes on, or failed, for another reference or with other Secrets says nothing about this one."""
    if seen.image == "pulling" and seen.image_reference == container.image:
        return NOTHING
    failed = seen.image_failure
    if failed is not None and seen.image_reference == container.image and failed.inputs == desired.inputs:
        at = backoff.due(failed.at, backoff.image_delay(failed, policy), now)
        if at > now:
            return Plan((), at)
    return Plan((PullImage(container.name),))


def _fits(container: Container, seen: ContainerObserved, pod: Pod, observed: PodObserved) -> bool:
    """Whether the pod's cgroup has room for it: always, but while a changed pod waits for a removed container."""
    if not _pod_resources_differ(pod, observed) or not _leaving(pod, observed):
        return True
    return seen.resources == hashes.resources_hash(container)
