"""Says what happened, as a log line (a past-tense fact with keys) and as an Event. Called by node.execute."""

from __future__ import annotations

from typing import Literal

import structlog

from minikube_lite.core.model import Exit, StartContainer
from minikube_lite.node.events import Events
from minikube_lite.node.records import PodRecord

log = structlog.get_logger(__name__)


class Reporter:
    """One method for each kind of news about a pod."""

    def __init__(self, events: Events) -> None:
        self._events = events
        self._told: dict[str, str] = {}

    def _event(
        self, record: PodRecord, reason: str, message: str, type: Literal["Normal", "Warning"], container: str = ""
    ) -> None:
        meta = record.observed.pod.metadata
        self._events.record(
            meta.namespace, meta.name, record.observed.uid, reason, message, type=type, container=container
        )

    def normal(self, record: PodRecord, reason: str, message: str, container: str = "") -> None:
        self._event(record, reason, message, "Normal", container)

    def warning(self, record: PodRecord, reason: str, message: str, container: str = "") -> None:
        log.warning("pod_warning", pod=record.key, container=container or None, reason=reason, message=message)
        self._event(record, reason, message, "Warning", container)

    def started(self, record: PodRecord, container: str, action: StartContainer, pid: int) -> None:
        log.info("container_started", pod=record.key, container=container, pid=pid, restarts=action.restart_count)
        why = f" ({action.reason})" if action.reason else ""
        self._event(record, "Started", f"Started container {container}{why}", "Normal", container)

    def exited(self, record: PodRecord, container: str, ended: Exit, delay: float) -> None:
        """Why it died: exit code, signal, OOM or not, and what it last said."""
        reason = ended.reason or ("OOMKilled" if ended.oom_killed else "Completed" if ended.code == 0 else "Error")
        log.info(
            "container_exited",
            pod=record.key,
            container=container,
            code=ended.code,
            signal=ended.signal or None,
            reason=reason,
        )
        how = f"was killed by signal {ended.signal}" if ended.signal else f"exited with code {ended.code}"
        if reason == "StartError":
            how = "could not be started"
        if ended.oom_killed:
            how += " (out of memory)"
        said = f": {ended.message}" if ended.message else ""
        ours = record.container(container).stop is not None or record.observed.termination is not None
        calm = ended.code == 0 or ours
        self._event(record, reason, f"Container {container} {how}{said}", "Normal" if calm else "Warning", container)
        if delay > 0 and not ours:
            message = f"Back-off restarting failed container {container} in pod {record.key}"
            self._event(record, "BackOff", message, "Normal" if ended.code == 0 else "Warning", container)

    def resized(self, record: PodRecord, container: str) -> None:
        log.info("limits_applied", pod=record.key, container=container or None)
        what = f"container {container}" if container else "the pod's cgroup"
        self._event(record, "Resized", f"Applied changed resources to {what} in place", "Normal", container)

    def world_failed(self, key: str, record: PodRecord | None, error: OSError) -> None:
        """An error that no record holds: the disk is full, the state directory is read-only."""
        where = f": {error.filename}" if error.filename else ""
        message = f"{error.strerror or error}{where}; it will be tried again"
        log.warning("pod_not_reconciled", pod=key, error=message)
        if record is not None:
            self._event(record, "FailedSync", message, "Warning")
        else:
            namespace, _, name = key.partition("/")
            self._events.record(namespace, name, "", "FailedSync", message, type="Warning")

    def manifest(self, namespace: str, name: str, uid: str, reason: str, message: str, kind: str = "Pod") -> None:
        """A manifest cannot be used as it stands; said once for each new message."""
        told = f"{namespace}/{name}/{kind}/{reason}"
        if self._told.get(told) == message:
            return
        self._told[told] = message
        about = {"pod" if kind == "Pod" else kind.lower(): f"{namespace}/{name}"}
        log.warning("manifest_refused", **about, reason=reason, message=message)
        self._events.record(namespace, name, uid, reason, message, type="Warning", kind=kind)

    def manifest_fine(self, namespace: str, name: str, kind: str = "Pod") -> None:
        """Whatever was wrong with it is not any more: the same fault later is news again."""
        for told in [told for told in self._told if told.startswith(f"{namespace}/{name}/{kind}/")]:
            del self._told[told]
