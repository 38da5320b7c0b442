"""What images there are, what each takes, and which parts nobody needs any more. Called by store.

<root>/used/<hex>   touched when an image with this ID comes, and when a container starts on it
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from minikube_lite.images import reference
from minikube_lite.images.blobs import BlobStore
from minikube_lite.images.image import ImageError, unavailable
from minikube_lite.images.layers import Layers, layer_trees
from minikube_lite.images.leases import Leases
from minikube_lite.images.manifest import ImageConfig, Manifest, parse, parse_config
from minikube_lite.images.names import Named, Names
from minikube_lite.images.source import Descriptor
from minikube_lite.images.trees import Trees


@dataclass(frozen=True, slots=True)
class StoredImage:
    """An image that is on this machine under a name."""

    names: tuple[str, ...]
    """Whole: `docker.io/library/nginx:latest`."""
    id: str
    """The digest of its config."""
    target: str
    """The digest that the registry (or archive) has it under: `repository@target` is the same again."""
    manifest: Manifest
    config: ImageConfig
    recorded: float
    """Seconds since 1970 when it came, or got its latest name; for display."""
    used: float
    """Seconds since 1970 when a container last started on it, or it came; to tell which is oldest."""
    size: int
    """Bytes on the disk: its blobs, and its layers unpacked."""
    shared: int
    """Bytes of `size` that another image has too; the others go when it is removed."""
    parts: Mapping[str, int]
    """What `size` is the sum of: each blob and each unpacked layer, by a name that is its own in the store."""
    by_hand: bool
    """One of its names was given by a person: no registry has to know it."""

    @property
    def digests(self) -> tuple[str, ...]:
        """`repository@sha256:…` for each repository that it has a name in: what Kubernetes shows as `imageID`."""
        return tuple(f"{found}@{self.target}" for found in dict.fromkeys(map(repository, self.names)))


class StoreSource:
    """A `Source` of one stored image."""

    def __init__(self, blobs: BlobStore, manifest: Manifest) -> None:
        self._blobs = blobs
        self._manifest = manifest

    def manifest(self, reference: str) -> tuple[str, bytes]:
        return self._manifest.media_type, self._blobs.read(self._manifest.digest)

    def blob(self, descriptor: Descriptor, offset: int = 0) -> Iterator[bytes]:
        if not self._blobs.has(descriptor.digest):
            raise unavailable(f"{descriptor.digest} of the image was lost (hint: remove the image and get it again)")
        return self._blobs.pieces(descriptor.digest, offset)


class Inventory:
    """The images below `root`."""

    def __init__(
        self, root: Path, blobs: BlobStore, trees: Trees, layers: Layers, names: Names, leases: Leases
    ) -> None:
        self.root = root
        self._blobs = blobs
        self._trees = trees
        self._layers = layers
        self._names = names
        self._leases = leases
        self._read: dict[str, tuple[Manifest, ImageConfig]] = {}
        """By digest, so it never changes; one that was lost meanwhile is read again when it is there again."""

    def described(self, digest: str) -> tuple[Manifest, ImageConfig]:
        """The manifest with this digest, and its config. Raises ImageError where they are not (whole) in the store."""
        if digest not in self._read:
            try:
                manifest = parse("", self._blobs.read(digest))
                assert isinstance(manifest, Manifest), digest
                config = parse_config(self._blobs.read(manifest.config.digest), manifest)
            except FileNotFoundError as error:
                raise unavailable(f"a part of the image was lost: {Path(error.filename).name}") from None
            self._read[digest] = manifest, config
        return self._read[digest]

    def images(self) -> list[StoredImage]:
        """Every image that has a name, by its first name. One of which a part was lost is left out."""
        named: dict[str, list[Named]] = {}
        for one in self._names.all():
            named.setdefault(one.manifest, []).append(one)
        parts: dict[str, dict[str, int]] = {}
        for digest in named:
            with contextlib.suppress(ImageError):
                parts[digest] = self._parts(digest)
        users: dict[str, int] = {}
        for part in (part for image in parts.values() for part in image):
            users[part] = users.get(part, 0) + 1
        return sorted((self._stored(named[digest], parts[digest], users) for digest in parts), key=lambda it: it.names)

    def use(self, image_id: str) -> None:
        """Note that it is used now."""
        if image_id.startswith("sha256:"):
            with contextlib.suppress(OSError):  # on a full disk it counts as not used for longer than it was
                path = self._used(image_id)
                path.parent.mkdir(exist_ok=True)
                path.touch()

    def collect(self, keep: set[str]) -> int:
        """Remove what neither a name nor a lease nor a hold needs, but for the trees in `keep`; returns the bytes."""
        freed = 0
        if not self.root.is_dir():
            return 0
        with self._leases.alone():
            blobs, trees = self._leases.held()
            trees |= keep | {tree for lease in self._leases.all().values() for tree in lease.trees}
            for named in self._names.all():
                blobs |= {named.target, named.manifest}
                with contextlib.suppress(ImageError):
                    manifest, config = self.described(named.manifest)
                    blobs |= {config.digest, *(layer.digest for layer in manifest.layers)}
                    trees |= layer_trees(config.diff_ids)
            for digest in set(self._blobs.digests()) - blobs:
                freed += self._blobs.remove(digest)
                self._read.pop(digest, None)
                self._used(digest).unlink(missing_ok=True)
            unused = [(kind, name) for kind, name in self._trees.names() if f"{kind}/{name}" not in trees]
            gone = [tree for kind, name in unused if (tree := self._trees.retire(kind, name))]
        self._blobs.sweep(0)
        for tree in gone:  # this takes long, and nobody has to wait for it
            freed += _size(tree)
            shutil.rmtree(tree)
        return freed

    def _stored(self, named: list[Named], parts: dict[str, int], users: dict[str, int]) -> StoredImage:
        manifest, config = self.described(named[0].manifest)
        recorded = max(one.recorded for one in named)
        try:
            used = self._used(config.digest).stat().st_mtime
        except FileNotFoundError:
            used = recorded
        return StoredImage(
            names=tuple(one.name for one in named),
            id=config.digest,
            target=named[0].target,
            manifest=manifest,
            config=config,
            recorded=recorded,
            used=used,
            size=sum(parts.values()),
            shared=sum(size for part, size in parts.items() if users[part] > 1),
            parts=parts,
            by_hand=any(one.by_hand for one in named),
        )

    def _parts(self, digest: str) -> dict[str, int]:
        """Bytes on the disk of everything that the image is made of."""
        manifest, config = self.described(digest)
        blobs = (digest, config.digest, *(layer.digest for layer in manifest.layers))
        parts = {f"blob {blob}": self._blobs.size(blob) for blob in blobs}
        for diff_id in config.diff_ids:
            with contextlib.suppress(FileNotFoundError):  # not unpacked
                parts[f"tree {diff_id}"] = self._layers.get(diff_id).size
        return parts

    def _used(self, digest: str) -> Path:
        return self.root / "used" / digest.partition(":")[2]


def repository(name: str) -> str:
    """The name of an image without its tag and digest."""
    remote = reference.remote(name)
    return f"{remote.domain}/{remote.repository}"


def _size(tree: Path) -> int:
    """Bytes of the disk that a tree's files take."""
    return sum(
        found.stat(follow_symlinks=False).st_blocks * 512
        for directory, _, _ in os.walk(tree)
        for found in os.scandir(directory)
    )
