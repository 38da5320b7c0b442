"""A pod's row in `get pods`: kubectl's printer columns. Called by core.status for the API's tables.

After `printPod` in Kubernetes' `pkg/printers/internalversion/printers.go`; works on the API object as JSON, so
that it reads objects of any origin.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from minikube_lite.core.times import human_duration, seconds

Json = Mapping[str, Any]


def columns(pod_object: Json, now_wall: float) -> tuple[str, str, str, str]:
    """READY, STATUS, RESTARTS, AGE of a pod's API object; `now_wall` in seconds since the epoch."""
    spec, status, meta = pod_object.get("spec") or {}, pod_object.get("status") or {}, pod_object.get("metadata") or {}
    init = _Init(spec, status)
    main = status.get("containerStatuses") or ()
    reason = _condition_reason(status) or status.get("reason") or status.get("phase") or ""
    counted: list[Json] = list(status.get("initContainerStatuses") or ())
    ready = init.ready
    reason = init.reason or reason
    if not init.reason or _is_true(status, "Initialized"):
        counted = [*init.sidecars, *main]
        ready += sum(1 for item in main if item.get("ready") and _state(item, "running") is not None)
        reason = _main_reason(main, reason, _is_true(status, "Ready"))
    if meta.get("deletionTimestamp") and status.get("phase") not in ("Succeeded", "Failed"):
        reason = "Unknown" if status.get("reason") == "NodeLost" else "Terminating"
    total = len(spec.get("containers") or ()) + init.sidecar_count
    created = seconds(meta.get("creationTimestamp"))
    age = "<unknown>" if created is None else human_duration(now_wall - created)
    return f"{ready}/{total}", reason, _restarts(counted, now_wall), age


class _Init:
    """What the init containers add: a reason while they are not through, and the sidecars among them."""

    def __init__(self, spec: Json, status: Json) -> None:
        declared = spec.get("initContainers") or ()
        restartable = {item.get("name") for item in declared if item.get("restartPolicy") == "Always"}
        statuses = status.get("initContainerStatuses") or ()
        self.sidecar_count = len(restartable)
        self.sidecars = [item for item in statuses if item.get("name") in restartable]
        self.ready = 0
        self.reason = ""
        for index, item in enumerate(statuses):
            terminated, waiting = _state(item, "terminated"), _state(item, "waiting")
            if terminated is not None and not terminated.get("exitCode"):
                continue
            if item.get("name") in restartable and item.get("started"):
                self.ready += bool(item.get("ready"))
                continue
            if terminated is not None:
                self.reason = "Init:" + _terminated_reason(terminated)
            elif waiting is not None and waiting.get("reason") not in (None, "", "PodInitializing"):
                self.reason = f"Init:{waiting['reason']}"
            else:
                self.reason = f"Init:{index}/{len(declared)}"
            break


def _main_reason(statuses: Sequence[Json], reason: str, pod_is_ready: bool) -> str:
    """The first container with something to say speaks for the pod."""
    running = False
    for item in reversed(statuses):
        terminated, waiting = _state(item, "terminated"), _state(item, "waiting")
        if waiting is not None and waiting.get("reason"):
            reason = waiting["reason"]
        elif terminated is not None:
            reason = _terminated_reason(terminated)
        elif item.get("ready") and _state(item, "running") is not None:
            running = True
    if reason == "Completed" and running:
        return "Running" if pod_is_ready else "NotReady"
    return reason


def _terminated_reason(terminated: Json) -> str:
    if reason := terminated.get("reason"):
        return str(reason)
    if signal := terminated.get("signal"):
        return f"Signal:{signal}"
    return f"ExitCode:{terminated.get('exitCode', 0)}"


def _restarts(statuses: Sequence[Json], now_wall: float) -> str:
    count = sum(item.get("restartCount") or 0 for item in statuses)
    ends = [seconds(((item.get("lastState") or {}).get("terminated") or {}).get("finishedAt")) for item in statuses]
    last = max((end for end in ends if end is not None), default=None)
    if count == 0 or last is None:
        return str(count)
    return f"{count} ({human_duration(now_wall - last)} ago)"


def _condition_reason(status: Json) -> str:
    """Two conditions speak instead of the phase: a gated pod's, and ours of a manifest that cannot be used."""
    for condition in status.get("conditions") or ():
        kind, reason = condition.get("type"), condition.get("reason") or ""
        if (kind, reason) == ("PodScheduled", "SchedulingGated"):
            return str(reason)
        if kind == "ManifestValid" and condition.get("status") == "False":
            return str(reason)
    return ""


def _is_true(status: Json, kind: str) -> bool:
    return any(item.get("type") == kind and item.get("status") == "True" for item in status.get("conditions") or ())


def _state(item: Json, kind: str) -> Json | None:
    found: Json | None = (item.get("state") or {}).get(kind)
    return found
