"""Pod records on disk: what must outlive the node. `node.pods` saves (at each decision), `node.adopt` loads.

`<state>/pods/<uid>/pod.json` is the accepted spec, `record.json` everything else: the fields of `PodObserved` as they
stand, plus the bundle of each container's current run. Written by rename, so a reader sees the old or the new, never
half. Not fsynced: a record must survive the node, not the machine; after a power cut no container runs anyway, and a
torn record is set aside, not believed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, TypeVar

from minikube_lite.core.model import (
    ContainerObserved,
    Eviction,
    Exit,
    Failure,
    PodObserved,
    SandboxObserved,
    Stop,
    Termination,
    VolumesObserved,
)
from minikube_lite.spec.objects import Container, Pod, to_json

VERSION = 1

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class PodRecord:
    """What is known of one pod. `observed` is what deciding sees; the rest is the executor's own."""

    observed: PodObserved
    bundles: Mapping[str, str] = field(default_factory=dict)
    """Container name → directory name of its present (or last) run's bundle."""
    previous_bundles: Mapping[str, str] = field(default_factory=dict)
    """The run before, whose log `logs --previous` shows."""
    boot_id: str = ""

    @property
    def key(self) -> str:
        return self.observed.pod.key

    def container(self, name: str) -> ContainerObserved:
        """The container's record; a fresh one where there is none yet."""
        return self.observed.containers.get(name) or ContainerObserved(name=name)

    def spec(self, name: str) -> Container:
        """The container as the accepted pod asks for it. Raises StopIteration where the pod has none of that name."""
        return next(item for item in self.observed.pod.spec.containers if item.name == name)

    def with_container(self, name: str, **changes: Any) -> PodRecord:
        """A copy in which that container has these fields changed."""
        containers = {**self.observed.containers, name: replace(self.container(name), **changes)}
        return self.with_(containers=containers)

    def with_(self, **changes: Any) -> PodRecord:
        """A copy with fields of `observed` changed."""
        return replace(self, observed=replace(self.observed, **changes))


class BrokenRecord(Exception):
    """A record that cannot be read back."""


def write_json(path: Path, value: Any) -> None:
    """Replace `path` by the JSON of `value`, whole or not at all. Raises OSError."""
    temporary = path.with_name(f".{path.name}.new")
    temporary.write_text(json.dumps(value, separators=(",", ":")), encoding="utf-8")
    os.replace(temporary, path)


def save(directory: Path, record: PodRecord, *, spec: bool) -> None:
    """Write the record below `directory` (made if missing); `spec`: the accepted pod too. Raises OSError."""
    directory.mkdir(parents=True, exist_ok=True)
    observed = record.observed
    if spec:
        write_json(directory / "pod.json", to_json(observed.pod))
    value = {
        "version": VERSION,
        "boot_id": record.boot_id,
        "bundles": dict(record.bundles),
        "previous_bundles": dict(record.previous_bundles),
        "uid": observed.uid,
        "source": observed.source,
        "created_wall": observed.created_wall,
        "grace_override": observed.grace_override,
        "generation": observed.generation,
        "sandbox": _plain(observed.sandbox),
        "sandbox_failure": _plain(observed.sandbox_failure),
        "volumes_ready": observed.volumes.ready,
        "evicted": _plain(observed.evicted),
        "termination": _plain(observed.termination),
        "containers": {name: _plain(container) for name, container in observed.containers.items()},
    }
    write_json(directory / "record.json", value)


def load(directory: Path) -> PodRecord:
    """Read a record back. Raises BrokenRecord where it is missing, torn or from a newer version."""
    try:
        pod = Pod.model_validate_json((directory / "pod.json").read_bytes())
        value = json.loads((directory / "record.json").read_bytes())
        if value["version"] > VERSION:
            raise BrokenRecord(f"{directory}: written by a newer minikube-lite (record version {value['version']})")
        observed = PodObserved(
            uid="" + value["uid"],
            pod=pod,
            source=value["source"],
            created_wall=value["created_wall"],
            grace_override=value["grace_override"],
            generation=value.get("generation", 1),
            sandbox=_make(SandboxObserved, value["sandbox"]),
            sandbox_failure=_make(Failure, value["sandbox_failure"]),
            volumes=VolumesObserved(ready=value.get("volumes_ready", False)),
            evicted=_make(Eviction, value.get("evicted")),
            termination=_make(Termination, value["termination"]),
            containers={name: _container(container) for name, container in value["containers"].items()},
        )
        return PodRecord(
            observed=observed,
            bundles=dict(value["bundles"]),
            previous_bundles=dict(value["previous_bundles"]),
            boot_id=value["boot_id"],
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BrokenRecord(f"{directory}: {error}") from error


def _plain(value: Any) -> Any:
    return None if value is None else asdict(value)


def _make(cls: type[T], value: Mapping[str, Any] | None) -> T | None:
    """A dataclass from its fields; ones this version does not know are dropped, missing ones take their default."""
    if value is None:
        return None
    known = {f.name for f in fields(cls)}  # type: ignore[arg-type]
    return cls(**{name: item for name, item in value.items() if name in known})


def _container(value: Mapping[str, Any]) -> ContainerObserved:
    nested: dict[str, type[Any]] = {
        "image_failure": Failure,
        "create_failure": Failure,
        "exit": Exit,
        "last_exit": Exit,
        "stop": Stop,
    }
    made = {name: _make(nested[name], item) if name in nested else item for name, item in value.items()}
    container = _make(ContainerObserved, made)
    assert container is not None
    return container
