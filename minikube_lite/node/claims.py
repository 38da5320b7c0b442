"""Persistent volumes: one directory for each claim, kept until the claim is deleted by name. Called by node.node, which
knows the documents, and by node.volumes, which mounts them.

<state>/claims/<namespace>/<name>/claim.json   its uid and birthday, whose it is, whether it is to go
<state>/claims/<namespace>/<name>/data         what pods see

A document that leaves the manifests directory takes nothing along: the claim is `Released`, and is bound again when the
document is back. `delete pvc` takes document and data; while a pod still uses them the claim is `Terminating`, as under
Kubernetes' `pvc-protection`. The claim of an `ephemeral` volume goes with its pod.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import structlog

from minikube_lite.linux import sandbox
from minikube_lite.node.clock import wall
from minikube_lite.node.events import timestamp
from minikube_lite.node.records import write_json
from minikube_lite.node.store import ObjectStore
from minikube_lite.spec.claims import Claim

Json = dict[str, Any]
log = structlog.get_logger(__name__)

KIND = "PersistentVolumeClaim"
MODE = 0o777
"""Of a new volume: whoever a container runs as may write (as local-path and hostPath provisioners make it)."""
ONE_POD = "ReadWriteOncePod"


class NotBound(Exception):
    """The claim cannot be used; the message is for a person."""


@dataclass(frozen=True, slots=True)
class Volume:
    """What is known of one claim's volume, by `claim.json`."""

    namespace: str
    name: str
    uid: str
    created_wall: float
    owner: str = ""
    """The uid of the pod that it belongs to (`ephemeral`)."""
    owner_name: str = ""
    deleting_wall: float = 0.0
    """Since when it is to go; 0: it is not."""
    claim: Mapping[str, Any] | None = None
    """The document that was last seen, for who asks when it is gone."""

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.name}"


class Claims:
    """Every claim there is: asked for by a document, owned by a pod, or left over. All methods are called in the loop
    but `directory`."""

    def __init__(
        self, store: ObjectStore, root: Path, users: Callable[[str], list[str]], news: Callable[[str], None]
    ) -> None:
        """`users(key)`: the keys of the pods that use the claim now; `news(key)` is called when waiting for it may be
        over."""
        self._news = news
        self._versions: dict[str, int] = {}
        self._store = store
        self._root = root
        self._users = users
        self._wanted: Mapping[str, Claim] = {}
        self._volumes: dict[str, Volume] = {}

    def load(self) -> None:
        """Read back what earlier nodes have kept. Only once the pods are known: they hold what is to go. OSError."""
        for file in sorted(self._root.glob("*/*/claim.json")):
            try:
                volume = Volume(**json.loads(file.read_bytes()))
            except (ValueError, TypeError) as error:
                log.warning("claim_not_loaded", path=str(file), error=str(error))
                continue
            self._volumes[volume.key] = volume
            self._settle(volume.key)

    def directory(self, namespace: str, name: str) -> Path:
        """Where the data of a claim lies."""
        return self._root / namespace / name / "data"

    def version(self, keys: Iterable[str]) -> int:
        """Of the latest change to any of these, or to whether it can be used; 0: there was none."""
        return max((self._versions.get(key, 0) for key in keys), default=0)

    def _changed(self, key: str) -> None:
        self._versions[key] = self._store.version + 1
        self._news(key)

    # -- what is asked for -------------------------------------------------------------------------------------------

    def update(self, claims: Mapping[str, Claim]) -> frozenset[str]:
        """Take over what the directory asks for now (key → claim). Returns the keys of what came, changed or went."""
        before, self._wanted = self._wanted, claims
        changed = {key for key in before.keys() | claims.keys() if before.get(key) != claims.get(key)}
        for key in sorted(changed):
            self._settle(key)
            self._changed(key)
        return frozenset(changed)

    def _settle(self, key: str) -> None:
        """Make the volume of a claim that is asked for, remove one that is to go, and show what is."""
        claim, volume = self._wanted.get(key), self._volumes.get(key)
        if volume is not None and volume.deleting_wall and not self._users(key) and self._remove(volume):
            volume = None
        try:
            if claim is not None and volume is None:
                volume = self._make(claim.namespace, claim.name, claim.to_json())
            elif claim is not None and volume is not None and volume.claim != claim.to_json():
                volume = self._save(replace(volume, claim=claim.to_json()))
        except OSError as error:
            log.error("claim_not_made", claim=key, error=error.strerror, path=str(error.filename))
        if volume is None and claim is None:
            self._store.drop(KIND, key)
        else:
            self._store.put(KIND, key, self._object(key, claim, volume))

    def _make(self, namespace: str, name: str, claim: Json, owner: str = "", owner_name: str = "") -> Volume:
        data = self.directory(namespace, name)
        data.parent.mkdir(parents=True, exist_ok=True)
        if not data.exists():
            new = data.with_name(".data.new")
            new.mkdir(exist_ok=True)
            new.chmod(MODE)
            new.rename(data)
        volume = Volume(namespace, name, str(uuid.uuid4()), wall(), owner, owner_name, claim=claim)
        log.info("claim_bound", claim=volume.key, path=str(data))
        return self._save(volume)

    def _save(self, volume: Volume) -> Volume:
        write_json(self._root / volume.namespace / volume.name / "claim.json", asdict(volume))
        self._volumes[volume.key] = volume
        return volume

    def _remove(self, volume: Volume) -> bool:
        """Never crosses a mount. Says whether it is gone; if not, it is tried again when the next pod goes."""
        directory = self._root / volume.namespace / volume.name
        try:
            sandbox.remove_tree(str(directory))
        except OSError as error:
            log.error("claim_not_removed", claim=volume.key, error=error.strerror)
            return False
        del self._volumes[volume.key]
        try:
            directory.parent.rmdir()
        except OSError:
            pass  # the namespace has other claims
        log.info("claim_removed", claim=volume.key)
        return True

    # -- what pods use -----------------------------------------------------------------------------------------------

    def bind(self, namespace: str, name: str, pod: str) -> Path:
        """Where the data of a claim lies for the pod with the key `pod`. Raises NotBound in Kubernetes' words."""
        key = f"{namespace}/{name}"
        volume, claim = self._volumes.get(key), self._wanted.get(key)
        if volume is not None and volume.deleting_wall:
            raise NotBound(f'persistentvolumeclaim "{name}" is being deleted')
        if claim is None and (volume is None or not volume.owner):
            kept = " (its data is kept; put its document back into the manifests directory)" if volume else ""
            raise NotBound(f'persistentvolumeclaim "{name}" not found{kept}')
        modes = (claim.spec if claim is not None else (volume.claim or {}).get("spec", {})) if volume else {}
        if ONE_POD in (modes.get("accessModes") or ()):
            others = [user for user in self._users(key) if user != pod]
            if others:
                what = "node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode"
                raise NotBound(f'persistentvolumeclaim "{name}": {what}: {", ".join(others)}')
        if volume is None or not self.directory(namespace, name).is_dir():
            raise NotBound(f'persistentvolumeclaim "{name}" is not bound: its directory could not be made')
        return self.directory(namespace, name)

    def own(self, namespace: str, name: str, template: Json, uid: str, pod: str) -> Path:
        """Where the data of a pod's ephemeral claim lies; made where it is missing. Raises NotBound, OSError."""
        volume = self._volumes.get(f"{namespace}/{name}")
        if volume is None and f"{namespace}/{name}" not in self._wanted:
            volume = self._make(namespace, name, template, uid, pod)
            self._settle(volume.key)
        if volume is None or volume.owner != uid:
            raise NotBound(f"PVC {namespace}/{name} was not created for pod {namespace}/{pod} (pod is not owner)")
        return self.directory(namespace, name)

    def mark(self, namespace: str, name: str) -> Json | None:
        """Note that the volume is to go; its object, None where there is none. `collect` follows, when its document is
        gone too. Raises OSError."""
        volume = self._volumes.get(f"{namespace}/{name}")
        if volume is None:
            return None
        if not volume.deleting_wall:
            self._save(replace(volume, deleting_wall=wall()))
        return self._object(volume.key, self._wanted.get(volume.key), self._volumes[volume.key])

    def collect(self, namespace: str, name: str) -> None:
        """Remove what is to go, if no pod uses it."""
        self._settle(f"{namespace}/{name}")
        self._changed(f"{namespace}/{name}")

    def pod_gone(self, uid: str, used: Iterable[str] = ()) -> None:
        """A pod is no more: its own claims go, those that were only waiting for it too, and others may use the rest.

        `used`: the keys of the claims that it used.
        """
        for volume in list(self._volumes.values()):
            if volume.owner == uid and not volume.deleting_wall:
                volume = self._save(replace(volume, deleting_wall=wall()))
            if volume.deleting_wall:
                self._settle(volume.key)
        for key in used:
            self._changed(key)

    def forget_strangers(self, known: set[str]) -> None:
        """After all is adopted: the claims of pods that no node knows any more go."""
        for uid in {volume.owner for volume in self._volumes.values() if volume.owner} - known:
            self.pod_gone(uid)

    # -- what is shown -----------------------------------------------------------------------------------------------

    def _object(self, key: str, claim: Claim | None, volume: Volume | None) -> Json:
        namespace, _, name = key.partition("/")
        written = claim.to_json() if claim is not None else dict((volume and volume.claim) or {})
        spec = {"volumeMode": "Filesystem", **written.get("spec", {})}
        metadata: Json = {**written.get("metadata", {}), "name": name, "namespace": namespace}
        status: Json = {"phase": "Pending"}
        if volume is not None:
            spec["volumeName"] = f"pvc-{volume.uid}"
            metadata |= {"uid": volume.uid, "creationTimestamp": timestamp(volume.created_wall)}
            metadata["finalizers"] = ["kubernetes.io/pvc-protection"]
            if volume.owner:
                owner = {"apiVersion": "v1", "kind": "Pod", "name": volume.owner_name, "uid": volume.owner}
                metadata["ownerReferences"] = [{**owner, "controller": True, "blockOwnerDeletion": True}]
            if volume.deleting_wall:
                metadata["deletionTimestamp"] = timestamp(volume.deleting_wall)
                metadata["deletionGracePeriodSeconds"] = 0
            capacity = ((spec.get("resources") or {}).get("requests")) or {}
            phase = "Bound" if claim is not None or volume.owner else "Released"
            status = {"phase": phase, "accessModes": spec.get("accessModes") or [], "capacity": capacity}
        return {"apiVersion": "v1", "kind": KIND, "metadata": metadata, "spec": spec, "status": status}
