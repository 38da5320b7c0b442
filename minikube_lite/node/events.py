"""Kubernetes Events: what happened, in order, bounded, kept across a restart of the node. Called by every part of node.

Equal events (object, reason, message) are one with a count, as the kubelet's correlator makes them. They go into the
object store, so `get events`, `events -w` and `describe` see them like any object.
"""

from __future__ import annotations

import contextlib
import json
import os
import uuid
from collections import OrderedDict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import structlog

from minikube_lite.node.clock import wall
from minikube_lite.node.service import Json
from minikube_lite.node.store import ObjectStore

log = structlog.get_logger(__name__)

BOUND = 2000
"""Events kept; the oldest go first."""
TTL = 3600.0
"""Seconds an event is kept after it was last seen (kube-apiserver's --event-ttl)."""
MESSAGE_LIMIT = 1024
"""Characters of a message (Event.message, API convention)."""


def timestamp(wall_seconds: float) -> str:
    """RFC 3339 in UTC with seconds, as Kubernetes' metav1.Time."""
    return datetime.fromtimestamp(wall_seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Events:
    """Records events and hands them to the object store."""

    def __init__(self, store: ObjectStore, path: Path, node_name: str) -> None:
        self._store = store
        self._path = path
        self._node = node_name
        self._events: OrderedDict[tuple[str, ...], Json] = OrderedDict()
        self._seen: dict[tuple[str, ...], float] = {}
        self.dirty = False

    def record(
        self,
        namespace: str,
        name: str,
        uid: str,
        reason: str,
        message: str,
        *,
        type: Literal["Normal", "Warning"] = "Normal",
        container: str = "",
        kind: str = "Pod",
    ) -> None:
        """Something happened to this object. `message` is cut to what an Event may hold."""
        message = message if len(message) <= MESSAGE_LIMIT else message[: MESSAGE_LIMIT - 1] + "…"
        key = (kind, namespace, name, uid, type, reason, container, message)
        now = wall()
        old = self._events.pop(key, None)
        if old is not None:
            event = {**old, "count": old["count"] + 1, "lastTimestamp": timestamp(now)}
            event["metadata"] = dict(old["metadata"])
        else:
            involved: dict[str, Any] = {"kind": kind, "apiVersion": "v1", "name": name, "uid": uid}
            if namespace:
                involved["namespace"] = namespace
            if container:
                involved["fieldPath"] = f"spec.containers{{{container}}}"
            event_uid = str(uuid.uuid4())
            event = {
                "apiVersion": "v1",
                "kind": "Event",
                "metadata": {
                    "name": f"{name}.{event_uid[:16].replace('-', '')}",
                    "namespace": namespace or "default",
                    "uid": event_uid,
                    "creationTimestamp": timestamp(now),
                },
                "involvedObject": involved,
                "reason": reason,
                "message": message,
                "type": type,
                "source": {"component": "minikube-lite", "host": self._node},
                "reportingComponent": "minikube-lite",
                "reportingInstance": self._node,
                "firstTimestamp": timestamp(now),
                "lastTimestamp": timestamp(now),
                "count": 1,
            }
        self._events[key] = event
        self._seen[key] = now
        self.dirty = True
        self._store.put("Event", self._store_key(event), event)
        self._trim(now)

    @staticmethod
    def _store_key(event: Json) -> str:
        return f"{event['metadata']['namespace']}/{event['metadata']['name']}"

    def _trim(self, now: float) -> None:
        while self._events:
            key = next(iter(self._events))
            if len(self._events) <= BOUND and now - self._seen[key] < TTL:
                break
            self._store.drop("Event", self._store_key(self._events.pop(key)))
            del self._seen[key]

    def save(self) -> None:
        """Write them down if there are new ones. A full disk loses events, nothing else."""
        if not self.dirty:
            return
        temporary = self._path.with_name(f".{self._path.name}.new")
        try:
            with temporary.open("w", encoding="utf-8") as file:
                for key, event in self._events.items():
                    file.write(json.dumps([key, self._seen[key], event], separators=(",", ":")) + "\n")
            os.replace(temporary, self._path)
            self.dirty = False
        except OSError as error:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            log.warning("events_not_saved", path=str(self._path), error=error.strerror)

    def load(self) -> None:
        """Read back what an earlier node saved; a line that cannot be read is left out, and said."""
        try:
            lines = self._path.read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return
        except (OSError, ValueError) as error:
            log.warning("events_not_loaded", path=str(self._path), error=str(error))
            return
        lost = 0
        for line in lines:
            try:
                parts, seen, event = json.loads(line)
                key, when = tuple(map(str, parts)), float(seen)
                event["count"] += 0
                self._store.put("Event", self._store_key(event), event)
            except (ValueError, KeyError, TypeError):
                lost += 1
                continue
            self._events[key] = event
            self._seen[key] = when
        if lost:
            log.warning("events_not_loaded", path=str(self._path), lines=lost)
        self._trim(wall())
