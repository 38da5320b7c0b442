"""Brings an image from a source into the blob store, or just reads what it is. Called by store and local."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass

from minikube_lite.images.blobs import BlobStore
from minikube_lite.images.digests import is_digest, matches
from minikube_lite.images.image import unavailable
from minikube_lite.images.manifest import (
    MANIFEST_MAX,
    ImageConfig,
    Index,
    Manifest,
    choose,
    parse,
    parse_config,
)
from minikube_lite.images.progress import Progress, nobody
from minikube_lite.images.source import Descriptor, Source, closing
from minikube_lite.images.tree import free_room

CONCURRENCY = 3
"""Blobs of one image that are fetched at once; as many as containerd and Docker."""
_NESTED_MAX = 3

Arrived = Callable[[str, Descriptor], None]
"""Is told the diff ID and the descriptor of a layer."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a source has under a reference, for this machine."""

    target: str
    """The digest that the reference led to: of the index if there is one, else of the manifest."""
    manifest: Manifest
    config: ImageConfig
    documents: tuple[bytes, ...]
    """Indexes, manifest and config as they came, to be stored."""


def look(source: Source, reference: str) -> Found:
    """Read what `reference` (a tag, a digest or "") is in `source`, every digest checked. Raises ImageError."""
    wanted = Descriptor("", reference if is_digest(reference) else "", -1)
    documents: list[bytes] = []
    targets: list[str] = []
    for _ in range(_NESTED_MAX):
        media_type, data = source.manifest(wanted.digest or reference)
        _check(wanted, data)
        found = parse(media_type or wanted.media_type, data)
        documents.append(data)
        targets.append(found.digest)
        if isinstance(found, Manifest):
            config = _small(source, found.config)
            return Found(targets[0], found, parse_config(config, found), (*documents, config))
        assert isinstance(found, Index)
        wanted = choose(found.manifests)
    raise unavailable(f"it has indexes in indexes, more than {_NESTED_MAX} deep")


def copy(
    source: Source,
    reference: str,
    blobs: BlobStore,
    progress: Progress = nobody,
    concurrency: int = CONCURRENCY,
    arrived: Arrived = lambda diff_id, layer: None,
) -> Found:
    """Bring the image into `blobs`: what lacks, up to `concurrency` blobs at a time.

    `arrived` is called, from any thread, when a layer is in the store. Raises ImageError for what is wrong with the
    image, the source or the disk; what came until then is used by the next try.
    """
    found = look(source, reference)
    keep(found, source, blobs, progress, concurrency, arrived)
    return found


def keep(
    found: Found,
    source: Source,
    blobs: BlobStore,
    progress: Progress = nobody,
    concurrency: int = CONCURRENCY,
    arrived: Arrived = lambda diff_id, layer: None,
) -> None:
    """As `copy`, for an image that was looked at already."""
    lacking = {layer.digest: layer.size for layer in found.manifest.layers if not blobs.has(layer.digest)}
    _expect_room(blobs, sum(lacking.values()))
    stop = threading.Event()

    def stoppable(descriptor: Descriptor, offset: int) -> Iterator[bytes]:
        with closing(source.blob(descriptor, offset)) as pieces:
            for piece in pieces:
                if stop.is_set():
                    raise unavailable("given up, because another part of the image failed")
                yield piece

    def bring(number: int) -> None:
        if not stop.is_set():
            blobs.fetch(found.manifest.layers[number], stoppable, progress)
            arrived(found.config.diff_ids[number], found.manifest.layers[number])

    with ThreadPoolExecutor(max(1, concurrency), "image copy") as pool:
        parts = [pool.submit(bring, number) for number in range(len(found.manifest.layers))]
        try:
            for part in as_completed(parts):
                part.result()
        finally:
            stop.set()
    for document in found.documents:
        blobs.put(document)


def _small(source: Source, descriptor: Descriptor) -> bytes:
    """The bytes of a blob that has to be small: an image config."""
    if descriptor.size > MANIFEST_MAX:
        raise unavailable(f"its image config is larger than {MANIFEST_MAX >> 20} MiB")
    data = bytearray()
    with closing(source.blob(descriptor)) as pieces:
        for piece in pieces:
            data += piece
            if len(data) > descriptor.size:
                break
    _check(descriptor, bytes(data))
    return bytes(data)


def _check(wanted: Descriptor, data: bytes) -> None:
    if len(data) > MANIFEST_MAX:
        raise unavailable(f"its manifest is larger than {MANIFEST_MAX >> 20} MiB")
    if wanted.size >= 0 and len(data) != wanted.size:
        raise unavailable(f"{wanted.digest} has {len(data)} bytes, not {wanted.size}")
    if wanted.digest and not matches(data, wanted.digest):
        raise unavailable(f"the bytes of {wanted.digest} have another digest")


def _expect_room(blobs: BlobStore, needed: int) -> None:
    """Say it before the first byte, where the disk cannot hold the image."""
    at = blobs.root
    while not at.exists():
        at = at.parent
    room = free_room(os.statvfs(at))
    if needed > room:
        raise unavailable(
            f"cannot store it in `{blobs.root}`: its layers have {needed >> 20} MiB, "
            f"the disk has {max(0, room) >> 20} MiB free for it"
        ) from OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
