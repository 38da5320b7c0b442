"""Says what must not be removed, and by whom it is used. Called by store.

<root>/leases/<user>   {"image", "id", "trees"}: what a container runs on; stays until it is released
<root>/holds/<uuid>    {"blobs", "trees"}: what is being brought in, flock(2)ed by who does it; void without the lock
<root>/lock            flock(2): shared while one of these is written, exclusive while what none names is removed
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote

from minikube_lite.images import records
from minikube_lite.images.image import Image
from minikube_lite.images.layers import layer_trees
from minikube_lite.images.manifest import ImageConfig, Manifest


@dataclass(frozen=True, slots=True)
class Lease:
    """What one user runs on."""

    user: str
    image: str
    """As it stands in the manifest."""
    id: str
    trees: tuple[str, ...]
    """`<kind>/<name>` of each tree of the store's, see `trees`."""


class Leases:
    """The leases and holds below `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def put(self, user: str, image: Image, trees: Iterable[str]) -> None:
        """Note it. Under `shared`, and before the container starts. Not synced: no container survives a power cut."""
        document = {"image": image.reference, "id": image.id, "trees": list(trees)}
        records.write(self._path(user), document)

    def release(self, user: str) -> None:
        self._path(user).unlink(missing_ok=True)

    def all(self) -> dict[str, Lease]:
        """By user."""
        found = {}
        for path in records.paths(self.root / "leases"):
            if document := records.read(path):
                user = unquote(path.name)
                found[user] = Lease(user, document["image"], document["id"], tuple(document["trees"]))
        return found

    @contextlib.contextmanager
    def hold(self) -> Iterator[Hold]:
        """A hold for as long as the block runs, however it ends."""
        path = self.root / "holds" / uuid.uuid4().hex
        with contextlib.ExitStack() as stack:
            with self.shared():  # nobody looks before it is locked
                path.parent.mkdir(exist_ok=True)
                file = stack.enter_context(open(path, "x+b", buffering=0))
                fcntl.flock(file, fcntl.LOCK_EX)
            try:
                yield Hold(self, file.fileno())
            finally:
                path.unlink(missing_ok=True)

    def held(self) -> tuple[set[str], set[str]]:
        """The blobs (digests) and trees that somebody is bringing in. Under `alone`; removes what the killed left."""
        blobs: set[str] = set()
        trees: set[str] = set()
        for path in records.paths(self.root / "holds"):
            with contextlib.suppress(FileNotFoundError), open(path, "rb") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:
                    held: Mapping[str, list[str]] = json.loads(file.read() or b"{}")
                    blobs.update(held.get("blobs", ()))
                    trees.update(held.get("trees", ()))
                else:
                    path.unlink(missing_ok=True)
        return blobs, trees

    @contextlib.contextmanager
    def shared(self) -> Iterator[None]:
        """While it runs, nothing is removed."""
        with self._lock(fcntl.LOCK_SH):
            yield

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """While it runs, nobody notes anything."""
        with self._lock(fcntl.LOCK_EX):
            yield

    def sweep(self) -> None:
        records.sweep(self.root / "leases")
        if self.root.is_dir():
            with self.alone():
                self.held()

    def _path(self, user: str) -> Path:
        return self.root / "leases" / quote(user, safe="")

    @contextlib.contextmanager
    def _lock(self, how: int) -> Iterator[None]:
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        with open(os.open(self.root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "r+b") as file:
            fcntl.flock(file, how)
            yield


class Hold:
    """What is being brought in; only ever grows."""

    def __init__(self, leases: Leases, descriptor: int) -> None:
        self._leases = leases
        self._descriptor = descriptor
        self._blobs: set[str] = set()
        self._trees: set[str] = set()

    def add(self, blobs: Iterable[str] = (), trees: Iterable[str] = ()) -> None:
        """From now on these stay, if they are there: look for them after, not before. Raises OSError."""
        self._blobs.update(blobs)
        self._trees.update(trees)
        data = json.dumps({"blobs": sorted(self._blobs), "trees": sorted(self._trees)}).encode()
        with self._leases.shared():
            os.pwrite(self._descriptor, data, 0)

    def image(self, target: str, manifest: Manifest, config: ImageConfig) -> None:
        """Hold all that an image is made of."""
        blobs = (target, manifest.digest, config.digest, *(layer.digest for layer in manifest.layers))
        self.add(blobs, layer_trees(config.diff_ids))
