"""Reads a `docker save` archive as a `Source`: the OCI manifest that it lacks is made up. Called by forms.

Format: `manifest.json` has, for each image, the path of its config and of its layers' tar archives (image/spec/v1.2.md
of github.com/moby/moby, "Combined Image JSON + Filesystem Changeset Format"). Since Docker 25 and in podman's, the
layers may be compressed.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from minikube_lite.images.archive import is_compressed
from minikube_lite.images.digests import is_digest, matches, sha256
from minikube_lite.images.files import Files, small
from minikube_lite.images.image import unavailable
from minikube_lite.images.manifest import OCI_CONFIG, OCI_LAYER, OCI_MANIFEST
from minikube_lite.images.reference import same_name
from minikube_lite.images.source import Descriptor

T = TypeVar("T")


class Saved:
    """A `Source` of the images in one archive. Called by several threads."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self._blobs: dict[str, str] = {}
        """The file of each digest that a made-up manifest names."""
        try:
            self._images: list[dict[str, Any]] = json.loads(small(files, "manifest.json"))
            for image in self._images:
                ok = isinstance(image["Config"], str) and all(isinstance(path, str) for path in image["Layers"])
                if not ok or not all(isinstance(name, str) for name in image.get("RepoTags") or ()):
                    raise ValueError("an entry is not of the right kind")
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
            raise unavailable(f"its `manifest.json` is damaged: {error}") from None

    def names(self) -> list[str]:
        return [name for image in self._images for name in image.get("RepoTags") or ("",)]

    def close(self) -> None:
        self._files.close()

    def manifest(self, reference: str) -> tuple[str, bytes]:
        found = [
            at
            for at, image in enumerate(self._images)
            if not reference or any(same_name(reference, name) for name in image.get("RepoTags") or ())
        ]
        there = ", ".join(f"`{name}`" for name in self.names() if name)
        if not found:
            what = f"it has no image `{reference}`" if reference else "it has no image"
            raise unavailable(f"{what} (hint: it has {there})" if there else what)
        if len({self._images[at]["Config"] for at in found}) > 1:
            raise unavailable(f"it has several images (hint: put `:` and one of these after the path: {there})")
        return OCI_MANIFEST, self._made_up(found[0])

    def blob(self, descriptor: Descriptor, offset: int = 0) -> Iterator[bytes]:
        return self._file(lambda: self._files.pieces(self._blobs[descriptor.digest], offset))

    def _made_up(self, at: int) -> bytes:
        image = self._images[at]
        config = self._file(lambda: small(self._files, image["Config"]))
        stem = image["Config"].rpartition("/")[2].partition(".")[0]
        if is_digest(f"sha256:{stem}") and not matches(config, f"sha256:{stem}"):
            raise unavailable(f"its image config `{image['Config']}` has another digest than its name says")
        digest = sha256(config)
        self._blobs[digest] = image["Config"]
        layers = [
            self._layer(path, diff_id)
            for path, diff_id in itertools.zip_longest(image["Layers"], _diff_ids(config)[: len(image["Layers"])])
        ]
        return json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": OCI_MANIFEST,
                "config": {"mediaType": OCI_CONFIG, "digest": digest, "size": len(config)},
                "layers": layers,
            }
        ).encode()

    def _layer(self, path: str, diff_id: str | None) -> dict[str, Any]:
        """The descriptor of a layer. An uncompressed one has the digest that the config says; its taker checks."""
        pieces = self._file(lambda: self._files.pieces(path))
        first = next(pieces, b"")
        compression = "+gzip" if first[:2] == b"\x1f\x8b" else "+zstd" if first[:4] == b"\x28\xb5\x2f\xfd" else ""
        if is_compressed(first) or not diff_id:
            new = hashlib.sha256(first)
            for piece in pieces:
                new.update(piece)
            digest = f"sha256:{new.hexdigest()}"
        else:
            digest = diff_id
        self._blobs[digest] = path
        return {"mediaType": OCI_LAYER + compression, "digest": digest, "size": self._files.size(path)}

    def _file(self, read: Callable[[], T]) -> T:
        try:
            return read()
        except FileNotFoundError as error:
            raise unavailable(f"it lacks the file `{error}`, which its `manifest.json` names") from None


def _diff_ids(config: bytes) -> list[str]:
    """What the image config says of the layers; nothing where it is damaged, which `manifest` will tell."""
    try:
        found = json.loads(config)["rootfs"]["diff_ids"]
        return [diff_id for diff_id in found if is_digest(diff_id)]
    except (ValueError, TypeError, LookupError, RecursionError):
        return []
