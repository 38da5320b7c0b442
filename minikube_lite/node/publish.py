"""Turns what is known of a pod into its API object. Called by `node.execute` and `node.node` after every change.

A pod whose manifest is broken is shown too: one that runs keeps its last good spec and says `InvalidManifest`; one that
never ran appears with nothing but the problem; a file whose problem has no pod's name appears under the file's name.
"""

from __future__ import annotations

from minikube_lite.core import status
from minikube_lite.core.model import Policy
from minikube_lite.node.clock import boottime, wall
from minikube_lite.node.events import timestamp
from minikube_lite.node.manifests import Snapshot
from minikube_lite.node.pods import Pods
from minikube_lite.node.service import Json
from minikube_lite.node.store import ObjectStore

MANIFEST = "node.minikube-lite/manifest"
"""The annotation that names the file a pod comes from (as the kubelet's `kubernetes.io/config.source`)."""

HEALTHCHECK = "node.minikube-lite/ignored-healthcheck"
"""The annotation that names the containers whose image has a health check: Kubernetes runs none, so `describe` says."""


class Publisher:
    """Keeps the object store in step with the pods and the snapshot."""

    def __init__(self, store: ObjectStore, pods: Pods, policy: Policy, node_name: str) -> None:
        self._store = store
        self._pods = pods
        self._policy = policy
        self._node = node_name
        self._phantoms: dict[str, str] = {}
        """Keys of objects that have no record: pods and files that never came to run → since when."""

    def publish(self, key: str, snapshot: Snapshot) -> None:
        """Bring the pod's object up to date."""
        record = self._pods.get(key)
        trouble = trouble_of(key, snapshot, "" if record is None else record.observed.source)
        if record is None:
            if trouble is None:
                self._phantoms.pop(key, None)
                self._store.drop("Pod", key)
            else:
                self._store.put("Pod", key, self._phantom(key, *trouble))
            return
        self._phantoms.pop(key, None)
        observed = record.observed
        wanted = snapshot.pods.get(key)
        edited = wanted is not None and wanted.pod.spec != observed.pod.spec  # an edit that is not accepted yet
        obj = status.pod_object(
            observed,
            status.status(observed, boottime(), self._policy),
            node_name=self._node,
            generation=observed.generation + edited,
        )
        annotations = obj["metadata"].setdefault("annotations", {})
        annotations[MANIFEST] = observed.source
        if ignored := sorted(name for name, seen in observed.containers.items() if seen.image_healthcheck):
            annotations[HEALTHCHECK] = ",".join(ignored)
        if trouble is not None:
            reason, message = trouble
            conditions = obj["status"].setdefault("conditions", [])
            conditions.append({"type": "ManifestValid", "status": "False", "reason": reason, "message": message})
        self._store.put("Pod", key, obj)

    def publish_files(self, snapshot: Snapshot) -> set[str]:
        """Show files whose problems have no pod's name; returns the keys shown."""
        shown = set()
        for name, problems in snapshot.file_problems.items():
            key = f"default/{name}"
            if self._pods.get(key) is not None:
                continue  # a pod may have a name that ends in .yaml
            message = "; ".join(map(str, problems))
            self._store.put("Pod", key, self._phantom(key, "InvalidManifest", message))
            shown.add(key)
        for key in [key for key in self._phantoms if key not in shown and key not in snapshot.problems]:
            if self._pods.get(key) is None:
                del self._phantoms[key]
                self._store.drop("Pod", key)
        return shown

    def _phantom(self, key: str, reason: str, message: str) -> Json:
        namespace, _, name = key.partition("/")
        since = self._phantoms.setdefault(key, timestamp(wall()))
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": namespace, "creationTimestamp": since},
            "spec": {"containers": [], "nodeName": self._node},
            "status": {
                "phase": "Pending",
                "reason": reason,
                "message": message,
                "conditions": [{"type": "ManifestValid", "status": "False", "reason": reason, "message": message}],
            },
        }


def trouble_of(key: str, snapshot: Snapshot, source: str) -> tuple[str, str] | None:
    """(reason, message) of what is wrong with the pod's manifest, if anything is."""
    if problems := snapshot.problems.get(key):
        if key in snapshot.pods and source and not any(problem.source == source for problem in problems):
            return None
        return "InvalidManifest", "; ".join(map(str, problems))
    if key in snapshot.conflicts:
        return "Conflict", snapshot.conflicts[key]
    if snapshot.lost:
        return "ManifestsLost", snapshot.lost
    if key not in snapshot.pods and source in snapshot.held:
        known = (*snapshot.file_problems.values(), *snapshot.problems.values())
        problems = tuple(problem for found in known for problem in found if problem.source == source)
        return "InvalidManifest", "; ".join(map(str, problems)) or f"{source} cannot be read"
    return None
