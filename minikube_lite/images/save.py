"""Writes stored images into one archive for other tools to load. Called by `image save`.

`oci`: an OCI image layout (image-layout.md) in a tar archive, blobs as they are stored. `docker`: what `docker save`
writes (moby, image/tarexport) and every tool loads: `manifest.json`, configs, and the layers uncompressed.
"""

from __future__ import annotations

import io
import json
import os
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO, Any

from minikube_lite.images import manifest as formats
from minikube_lite.images.archive import ArchiveError, open_stream
from minikube_lite.images.blobs import BlobStore
from minikube_lite.images.image import unavailable
from minikube_lite.images.source import Descriptor

REF_NAME = "org.opencontainers.image.ref.name"
CONTAINERD_NAME = "io.containerd.image.name"


@dataclass(frozen=True, slots=True)
class Saved:
    """One image to write: the descriptor of its manifest, and its names (`docker.io/library/web:1`)."""

    manifest: Descriptor
    names: tuple[str, ...]


def save_oci(images: Sequence[Saved], blobs: BlobStore, target: IO[bytes]) -> None:
    """Raises ImageError where a part is missing or damaged, OSError where `target` does not take it."""
    with tarfile.open(fileobj=target, mode="w|", format=tarfile.PAX_FORMAT) as archive:
        _add(archive, "oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
        entries, written = [], set()
        for image in images:
            entries += [_entry(image.manifest, name) for name in image.names or ("",)]
            manifest = _manifest(image, blobs)
            for descriptor in (image.manifest, manifest.config, *manifest.layers):
                if descriptor.digest not in written:
                    written.add(descriptor.digest)
                    _add_blob(archive, f"blobs/{descriptor.digest.replace(':', '/')}", descriptor, blobs)
        index = {"schemaVersion": 2, "mediaType": formats.OCI_INDEX, "manifests": entries}
        _add(archive, "index.json", json.dumps(index, separators=(",", ":")).encode())


def save_docker(images: Sequence[Saved], blobs: BlobStore, target: IO[bytes]) -> None:
    """Raises ImageError where a part is missing or damaged, OSError where `target` does not take it."""
    with tarfile.open(fileobj=target, mode="w|", format=tarfile.PAX_FORMAT) as archive:
        entries, written = [], set()
        for image in images:
            manifest = _manifest(image, blobs)
            data = blobs.read(manifest.config.digest)
            config = formats.parse_config(data, manifest)
            names = [f"{diff_id.partition(':')[2]}.tar" for diff_id in config.diff_ids]
            for name, layer in zip(names, manifest.layers, strict=True):
                if name not in written:
                    written.add(name)
                    _add_uncompressed(archive, name, layer, blobs)
            config_name = f"{manifest.config.digest.partition(':')[2]}.json"
            if config_name not in written:
                written.add(config_name)
                _add(archive, config_name, data)
            entries.append({"Config": config_name, "RepoTags": list(_tagged(image.names)), "Layers": names})
        _add(archive, "manifest.json", json.dumps(entries, separators=(",", ":")).encode())


def _manifest(image: Saved, blobs: BlobStore) -> formats.Manifest:
    try:
        found = formats.parse(image.manifest.media_type, blobs.read(image.manifest.digest))
    except FileNotFoundError:
        raise _missing(image.manifest.digest) from None
    if not isinstance(found, formats.Manifest):
        raise unavailable(f"{image.manifest.digest} is an index of several images: name one of them")
    return found


def _entry(manifest: Descriptor, name: str) -> dict[str, Any]:
    """containers/image (skopeo, podman) reads the whole name from ref.name, containerd from its own annotation."""
    entry: dict[str, Any] = {
        "mediaType": manifest.media_type,
        "digest": manifest.digest,
        "size": manifest.size,
    }
    if name:
        entry["annotations"] = {REF_NAME: name, CONTAINERD_NAME: name}
    return entry


def _tagged(names: tuple[str, ...]) -> Iterator[str]:
    """Docker's archive has no place for a name with a digest."""
    return (name for name in names if "@" not in name)


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    archive.addfile(_member(name, len(data)), io.BytesIO(data))


def _member(name: str, size: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size, member.mode, member.mtime = size, 0o644, 0
    return member


def _add_blob(archive: tarfile.TarFile, name: str, descriptor: Descriptor, blobs: BlobStore) -> None:
    try:
        file = open(blobs.path(descriptor.digest), "rb")  # noqa: SIM115 - closed below
    except FileNotFoundError:
        raise _missing(descriptor.digest) from None
    with file:
        archive.addfile(_member(name, os.fstat(file.fileno()).st_size), file)


def _add_uncompressed(archive: tarfile.TarFile, name: str, layer: Descriptor, blobs: BlobStore) -> None:
    """A member's size stands before its bytes, so the layer is unpacked into a temporary file first."""
    with tempfile.TemporaryFile(dir=blobs.root) as plain:
        try:
            with open(blobs.path(layer.digest), "rb", buffering=0) as file:
                for piece in open_stream(file):
                    plain.write(piece)
        except FileNotFoundError:
            raise _missing(layer.digest) from None
        except ArchiveError as error:
            raise unavailable(f"the stored layer {layer.digest} is damaged: {error}") from error
        size = plain.tell()
        plain.seek(0)
        archive.addfile(_member(name, size), plain)


def _missing(digest: str) -> Exception:
    return unavailable(f"its part {digest} is not in the store any more (hint: get the image again)")
