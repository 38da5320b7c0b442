"""The table of pods that this node has. `node.execute` changes it, `node.publish` and the API read it.

A change that must outlive the node is saved before it takes effect anywhere else; one that can wait (a pod of which
nothing runs yet) goes to disk with the next; one that the kernel or the bundle remembers anyway (running, exited) is
kept in memory only.
"""

from __future__ import annotations

from typing import Any

import structlog

from minikube_lite.core.model import PodDesired
from minikube_lite.node import records
from minikube_lite.node.paths import Paths
from minikube_lite.node.records import PodRecord

log = structlog.get_logger(__name__)


class Pods:
    """Pod records by key, and by uid."""

    def __init__(self, paths: Paths) -> None:
        self._paths = paths
        self._by_key: dict[str, PodRecord] = {}
        self._keys: dict[str, str] = {}
        self._dirty: set[str] = set()
        self._spec_dirty: set[str] = set()

    def get(self, key: str) -> PodRecord | None:
        return self._by_key.get(key)

    def by_uid(self, uid: str) -> PodRecord | None:
        key = self._keys.get(uid)
        return None if key is None else self._by_key.get(key)

    def __getitem__(self, key: str) -> PodRecord:
        return self._by_key[key]

    def __iter__(self) -> Any:
        return iter(list(self._by_key.values()))

    def __len__(self) -> int:
        return len(self._by_key)

    def put(self, record: PodRecord) -> PodRecord:
        """Change what is known, in memory."""
        self._by_key[record.key] = record
        self._keys[record.observed.uid] = record.key
        return record

    def defer(self, record: PodRecord, *, spec: bool = False) -> PodRecord:
        """Change what is known, in memory now, on disk with the next `save` or `flush`."""
        self._dirty.add(record.observed.uid)
        if spec:
            self._spec_dirty.add(record.observed.uid)
        return self.put(record)

    def save(self, record: PodRecord, *, spec: bool = False) -> PodRecord:
        """Change what is known, on disk first. Raises OSError, and then nothing has changed."""
        uid = record.observed.uid
        records.save(self._paths.pod_state(uid), record, spec=spec or uid in self._spec_dirty)
        self._dirty.discard(uid)
        self._spec_dirty.discard(uid)
        return self.put(record)

    def keep(self, record: PodRecord) -> PodRecord:
        """Change what is known, and on disk if the disk takes it: an end must not wait until a full disk has room.

        Should the node die before the next `save`, the next node begins the end anew.
        """
        try:
            return self.save(record)
        except OSError as error:
            log.warning("record_not_saved", pod=record.key, error=error.strerror)
            return self.put(record)

    def flush(self, key: str) -> None:
        """Write down what was deferred. Raises OSError; it stays deferred then."""
        record = self._by_key.get(key)
        if record is not None and record.observed.uid in self._dirty:
            self.save(record)

    def drop(self, key: str) -> None:
        record = self._by_key.pop(key, None)
        if record is not None:
            for known in (self._dirty, self._spec_dirty):
                known.discard(record.observed.uid)
            del self._keys[record.observed.uid]

    def accepted(self, key: str) -> PodDesired | None:
        """The pod as it was last accepted, in the form of a wish."""
        record = self._by_key.get(key)
        return None if record is None else PodDesired(record.observed.pod, record.observed.source)
