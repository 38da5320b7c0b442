"""The ConfigMaps and Secrets that the directory holds, as pods find them. `node.node` brings it up to date, volumes and
variables look things up, the API sees the objects in the store.

What pods wait for is told by versions: each change of an object, its coming and its going, gives its name the next one,
so that who failed for want of it knows when to look again. Nothing that a Secret holds is written anywhere: on disk
are only the objects' uids and birthdays.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path

import structlog

from minikube_lite.core.references import Reference
from minikube_lite.node.clock import wall
from minikube_lite.node.events import timestamp
from minikube_lite.node.records import write_json
from minikube_lite.node.store import ObjectStore
from minikube_lite.spec.configs import Config

log = structlog.get_logger(__name__)


class Configs:
    """ConfigMaps and Secrets by kind, namespace and name."""

    def __init__(self, store: ObjectStore, path: Path) -> None:
        self._store = store
        self._path = path
        self._configs: Mapping[str, Config] = {}
        self._versions: dict[str, int] = {}
        self._births: dict[str, list[str]] = {}
        """Id → uid and creation time."""

    def load(self) -> None:
        """Read back who was there before a restart of the node."""
        try:
            births = json.loads(self._path.read_bytes())
            self._births = {str(id): [str(uid), str(born)] for id, (uid, born) in births.items()}
        except FileNotFoundError:
            return
        except (OSError, ValueError, TypeError, AttributeError) as error:
            log.warning("configs_not_loaded", path=str(self._path), error=str(error))

    def get(self, kind: str, namespace: str, name: str) -> Config | None:
        """The object as it is now."""
        return self._configs.get(f"{kind}/{namespace}/{name}")

    def uid(self, config: Config) -> str:
        """Its uid, for events about it."""
        return self._births.get(config.id, ("",))[0]

    def version(self, references: Iterable[Reference]) -> int:
        """Of the latest change to any of these, or to whether it is there; 0: nothing ever was."""
        return max((self._versions.get(reference.id, 0) for reference in references), default=0)

    def update(self, configs: Mapping[str, Config]) -> frozenset[str]:
        """Take over what the directory holds now. Returns the ids of what came, changed or went."""
        before, self._configs = self._configs, configs
        gone = before.keys() - configs.keys()
        changed = {id for id, config in configs.items() if before.get(id) != config}
        born = configs.keys() - self._births.keys()
        for id in born:
            self._births[id] = [str(uuid.uuid4()), timestamp(wall())]
        for id in sorted(gone):
            kind, _, key = id.partition("/")
            self._store.drop(kind, key)
        for id in sorted(changed):
            self._put(configs[id])
        for id in gone | changed:
            self._versions[id] = self._store.version + 1
        if born or gone:
            self._forget()
        return frozenset(gone | changed)

    def _put(self, config: Config) -> None:
        shown = config.to_json()
        uid, born = self._births[config.id]
        shown["metadata"] |= {"uid": uid, "creationTimestamp": born}
        self._store.put(config.kind, config.key, shown)

    def _forget(self) -> None:
        """Keep births of what is there, and write them down. A full disk costs an object its age, nothing else."""
        self._births = {id: birth for id, birth in self._births.items() if id in self._configs}
        try:
            write_json(self._path, self._births)
        except OSError as error:
            log.warning("configs_not_saved", path=str(self._path), error=error.strerror)
