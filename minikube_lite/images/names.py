"""Remembers what image each name means. Called by store.

<root>/names/<sha256 of the name>   {"name", "target", "manifest", "recorded"}: one file per name, replaced whole
"""

from __future__ import annotations

import hashlib
import time
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path

from minikube_lite.images import records, reference


@dataclass(frozen=True, slots=True)
class Named:
    """A name and what it means."""

    name: str
    """Whole, as Docker completes it: `docker.io/library/nginx:latest`."""
    target: str
    """The digest that the name led to where the image came from: of an index, or of the manifest."""
    manifest: str
    """The digest of the manifest for this machine."""
    recorded: float = 0.0
    """Seconds since 1970, when the name was given; for display."""
    serial: str = ""
    """Another each time the name is given."""
    by_hand: bool = False
    """Loaded, built or tagged by a person: no registry has to know it."""

    @property
    def repository(self) -> str:
        """The name without tag and digest."""
        remote = reference.remote(self.name)
        return f"{remote.domain}/{remote.repository}"

    @property
    def repo_digest(self) -> str:
        """`repository@sha256:…`: what Kubernetes shows as `imageID` of an image from a registry."""
        return f"{self.repository}@{self.target}"


class Names:
    """The names below `root`."""

    def __init__(self, root: Path) -> None:
        self._directory = root / "names"

    def put(self, name: str, target: str, manifest: str, *, by_hand: bool = False) -> Named:
        """Give the image this name; who had it before loses it. On the disk when this returns. Raises OSError."""
        named = Named(name, target, manifest, time.time(), uuid.uuid4().hex, by_hand)
        records.write(self._path(name), asdict(named), sync=True)
        return named

    def get(self, name: str) -> Named | None:
        return _read(self._path(name))

    def remove(self, name: str) -> bool:
        """Whether there was such a name."""
        try:
            self._path(name).unlink()
        except FileNotFoundError:
            return False
        return True

    def all(self) -> list[Named]:
        found = [named for path in records.paths(self._directory) if (named := _read(path))]
        return sorted(found, key=lambda named: named.name)

    def sweep(self) -> None:
        records.sweep(self._directory)

    def _path(self, name: str) -> Path:
        return self._directory / hashlib.sha256(name.encode()).hexdigest()


def _read(path: Path) -> Named | None:
    document = records.read(path)
    try:
        return Named(**document) if document else None
    except TypeError:
        return None
