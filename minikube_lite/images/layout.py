"""Reads an OCI image layout, from a directory or out of an archive. Called by forms.

Format: image-layout.md and annotations.md of OCI image-spec. Who takes what is read checks it (see `source`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from minikube_lite.images.digests import is_digest, matches
from minikube_lite.images.files import Files, small
from minikube_lite.images.image import unavailable
from minikube_lite.images.manifest import choose, descriptor
from minikube_lite.images.reference import same_name
from minikube_lite.images.source import Descriptor

_NAMES = ("io.containerd.image.name", "org.opencontainers.image.ref.name")
"""Annotations that name an image: the whole name (containerd, docker save), or a name or just a tag."""


class Layout:
    """A `Source` of the images in one layout. Called by several threads."""

    def __init__(self, files: Files) -> None:
        self._files = files
        try:
            document: Any = json.loads(small(files, "index.json"))
            entries = document["manifests"]
            self._entries = [descriptor(entry, "`index.json`") for entry in entries]
        except FileNotFoundError:
            raise unavailable("it is an OCI image layout without an `index.json`") from None
        except (ValueError, TypeError, LookupError, RecursionError) as error:
            raise unavailable(f"its `index.json` is damaged: {error}") from None

    def names(self) -> list[str]:
        """The names or tags of the images in it, each once, in order; "" for one that has none."""
        return list(dict.fromkeys(_name(entry) for entry in self._entries))

    def close(self) -> None:
        self._files.close()

    def manifest(self, reference: str) -> tuple[str, bytes]:
        if is_digest(reference):
            known = next((entry for entry in self._entries if entry.digest == reference), None)
            return known.media_type if known else "", self._read(reference)
        found = [entry for entry in self._entries if not reference or same_name(reference, _name(entry))]
        there = ", ".join(f"`{name}`" for name in self.names() if name)
        if not found:
            what = f"it has no image `{reference}`" if reference else "it has no image"
            raise unavailable(f"{what} (hint: it has {there})" if there else what)
        if len({_name(entry) for entry in found}) > 1:
            raise unavailable(f"it has several images (hint: put `:` and one of these after the path: {there})")
        chosen = choose(tuple(found)) if len(found) > 1 else found[0]
        return chosen.media_type, self._read(chosen.digest)

    def blob(self, descriptor: Descriptor, offset: int = 0) -> Iterator[bytes]:
        try:
            return self._files.pieces(_path(descriptor.digest), offset)
        except FileNotFoundError:
            raise unavailable(f"it lacks {descriptor.digest}, which it says it has") from None

    def _read(self, digest: str) -> bytes:
        try:
            data = small(self._files, _path(digest))
        except FileNotFoundError:
            raise unavailable(f"it lacks the manifest {digest}, which it says it has") from None
        if not matches(data, digest):  # who asks by name has no digest to check it against
            raise unavailable(f"the bytes of {digest} have another digest")
        return data


def _name(entry: Descriptor) -> str:
    return next((entry.annotations[key] for key in _NAMES if entry.annotations.get(key)), "")


def _path(digest: str) -> str:
    return f"blobs/{digest.replace(':', '/')}"
