"""The API's objects and their history. `node.publish` puts objects in; `api`, through `node.node`, lists and watches.

One counter of resource versions for all kinds, as etcd has it. It begins at the wall clock's microseconds, so that a
version from before a restart of the node is always older than any after it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from minikube_lite.node.clock import wall
from minikube_lite.node.service import Json, ObjectList, ServiceError, WatchEvent

HISTORY = 4096
"""Changes that can be replayed to a watcher that names an old version."""
BACKLOG = 10_000
"""Changes that wait for a watcher which does not read; then its watch is ended as expired, and it must list again."""


@dataclass(slots=True)
class _Change:
    version: int
    kind: str
    event: WatchEvent


@dataclass(slots=True, eq=False)
class _Watcher:
    kind: str
    namespace: str | None
    queue: asyncio.Queue[WatchEvent | None] = field(default_factory=asyncio.Queue)


class ObjectStore:
    """Objects by kind and `namespace/name`; every change gets the next resource version and reaches every watcher."""

    def __init__(self) -> None:
        self.version = int(wall() * 1e6)
        self._oldest = self.version
        self._objects: dict[str, dict[str, Json]] = {}
        self._history: deque[_Change] = deque(maxlen=HISTORY)
        self._watchers: set[_Watcher] = set()

    def put(self, kind: str, key: str, obj: Json) -> bool:
        """Store the object if it differs from what is there (its resourceVersion aside); says whether it did."""
        objects = self._objects.setdefault(kind, {})
        old = objects.get(key)
        if old is not None:
            obj["metadata"]["resourceVersion"] = old["metadata"]["resourceVersion"]
            if old == obj:
                return False
        self.version += 1
        obj["metadata"]["resourceVersion"] = str(self.version)
        objects[key] = obj
        self._tell(kind, WatchEvent("ADDED" if old is None else "MODIFIED", obj))
        return True

    def drop(self, kind: str, key: str) -> None:
        """The object is gone."""
        old = self._objects.get(kind, {}).pop(key, None)
        if old is None:
            return
        self.version += 1
        last = {**old, "metadata": {**old["metadata"], "resourceVersion": str(self.version)}}
        self._tell(kind, WatchEvent("DELETED", last))

    def _tell(self, kind: str, event: WatchEvent) -> None:
        if len(self._history) == HISTORY:
            self._oldest = self._history[0].version
        self._history.append(_Change(self.version, kind, event))
        slow = []
        for watcher in self._watchers:
            if _concerns(watcher, kind, event.object):
                watcher.queue.put_nowait(event)
                if watcher.queue.qsize() >= BACKLOG:
                    slow.append(watcher)
        self._watchers.difference_update(slow)

    def get(self, kind: str, namespace: str, name: str) -> Json | None:
        return self._objects.get(kind, {}).get(f"{namespace}/{name}")

    def list(self, kind: str, namespace: str | None) -> ObjectList:
        """Sorted by namespace and name, as kubectl shows them."""
        objects = self._objects.get(kind, {})
        keys = sorted(objects, key=lambda key: key.split("/", 1))
        items = [objects[key] for key in keys if namespace is None or key.startswith(f"{namespace}/")]
        return ObjectList(items, self.version)

    async def watch(self, kind: str, namespace: str | None, since: int | None) -> AsyncIterator[WatchEvent]:
        """See `service.NodeService.watch`."""
        watcher = _Watcher(kind, namespace)
        if since is None or since == 0:
            for item in self.list(kind, namespace).items:
                watcher.queue.put_nowait(WatchEvent("ADDED", item))
        elif since < self._oldest or since > self.version:
            raise ServiceError(410, "Expired", f"too old resource version: {since} ({self._oldest})")
        else:
            for change in self._history:
                if change.version > since and change.kind == kind and _concerns(watcher, kind, change.event.object):
                    watcher.queue.put_nowait(change.event)
        self._watchers.add(watcher)
        try:
            while (event := await watcher.queue.get()) is not None:
                if watcher.queue.qsize() >= BACKLOG:
                    raise ServiceError(410, "Expired", "too many changes waited to be read")
                yield event
        finally:
            self._watchers.discard(watcher)

    def close(self) -> None:
        """End every watch."""
        for watcher in self._watchers:
            watcher.queue.put_nowait(None)


def _concerns(watcher: _Watcher, kind: str, obj: dict[str, Any]) -> bool:
    return watcher.kind == kind and watcher.namespace in (None, obj["metadata"].get("namespace"))
