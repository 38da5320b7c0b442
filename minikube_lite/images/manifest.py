"""Reads what describes an image: manifest, index and image config, of OCI and of Docker. Called by copying and store.

Pure: bytes come in, values go out. Formats: manifest.md, image-index.md, descriptor.md and config.md of OCI image-spec;
"Image Manifest Version 2, Schema 2" of github.com/distribution/distribution.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from minikube_lite.images import platforms
from minikube_lite.images.digests import is_digest, sha256
from minikube_lite.images.image import unavailable
from minikube_lite.images.source import Descriptor

MANIFEST_MAX = 4 << 20
"""Bytes of a manifest, an index or a config: OCI distribution-spec has registries take manifests of up to 4 MiB."""
LAYERS_MAX = 128
"""Docker makes no more than 127."""

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
INDEXES = (OCI_INDEX, DOCKER_LIST)
MANIFESTS = (OCI_MANIFEST, DOCKER_MANIFEST)
_SCHEMA_1 = (
    "application/vnd.docker.distribution.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v1+prettyjws",
)
_CONFIGS = (OCI_CONFIG, DOCKER_CONFIG)
_LAYERS = (
    *(f"{OCI_LAYER}{end}" for end in ("", "+gzip", "+zstd")),
    *(f"application/vnd.oci.image.layer.nondistributable.v1.tar{end}" for end in ("", "+gzip", "+zstd")),
    *(f"application/vnd.docker.image.rootfs.diff.tar{end}" for end in ("", ".gzip", ".zstd")),
    "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
)


@dataclass(frozen=True, slots=True)
class Index:
    """One image for several platforms."""

    digest: str
    manifests: tuple[Descriptor, ...]


@dataclass(frozen=True, slots=True)
class Manifest:
    """One image for one platform."""

    media_type: str
    digest: str
    size: int
    """Bytes of the manifest itself."""
    config: Descriptor
    layers: tuple[Descriptor, ...]
    """Bottom first."""


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """The OCI image config of one image."""

    digest: str
    """The image's ID."""
    diff_ids: tuple[str, ...]
    """The digest of each layer's tar archive, uncompressed; bottom first."""
    config: Mapping[str, Any]
    """Entrypoint, Cmd, Env, … (`config` in the document)."""
    platform: Mapping[str, Any]
    created: str = ""
    """RFC 3339; "" where the image does not say."""
    history: tuple[Mapping[str, Any], ...] = field(default=())


def parse(media_type: str, data: bytes) -> Index | Manifest:
    """Read a manifest or index. `media_type` is what its source calls it, "" where it says nothing.

    Raises ImageError for what is neither, or would be refused when used.
    """
    document = _document(data, "manifest")
    kind = _media_type(media_type, document)
    if kind in INDEXES:
        found = _list(document, "manifests", "image index")
        return Index(sha256(data), tuple(descriptor(entry, "image index") for entry in found))
    config = descriptor(document.get("config"), "manifest")
    if config.media_type not in _CONFIGS:
        raise unavailable(
            f"it is not an image of a root file system, but an artifact: its config is `{config.media_type}`"
        )
    layers = tuple(descriptor(entry, "manifest") for entry in _list(document, "layers", "manifest"))
    for layer in layers:
        if layer.media_type not in _LAYERS:
            raise unavailable(f"its layer {layer.digest} is of a media type that is not known: `{layer.media_type}`")
    if len(layers) > LAYERS_MAX:
        raise unavailable(f"it has {len(layers)} layers: up to {LAYERS_MAX} are read")
    return Manifest(kind, sha256(data), len(data), config, layers)


def parse_config(data: bytes, manifest: Manifest) -> ImageConfig:
    """Read the image config and check that it belongs to the manifest, and that its image can run on this machine."""
    document = _document(data, "image config")
    platform = {key: document[key] for key in ("os", "architecture", "variant") if document.get(key)}
    if platform.get("architecture") and platforms.rank(platform) is None:
        raise _other_platform([platform])
    rootfs = document.get("rootfs")
    diff_ids = rootfs.get("diff_ids") if isinstance(rootfs, dict) else None
    if diff_ids is None and not manifest.layers:
        diff_ids = []
    if not isinstance(diff_ids, list) or not all(is_digest(diff_id) for diff_id in diff_ids):
        raise unavailable("its image config does not say what its layers unpack to (`rootfs.diff_ids`)")
    if len(diff_ids) != len(manifest.layers):
        raise unavailable(f"its manifest has {len(manifest.layers)} layers, its image config {len(diff_ids)}")
    config, history = document.get("config") or {}, document.get("history") or []
    if not isinstance(config, dict) or not isinstance(history, list):
        raise unavailable("its image config is damaged: `config` is not an object, or `history` not a list")
    return ImageConfig(
        digest=manifest.config.digest,
        diff_ids=tuple(diff_ids),
        config=config,
        platform=platform,
        created=str(document.get("created") or ""),
        history=tuple(entry for entry in history if isinstance(entry, dict)),
    )


def choose(found: tuple[Descriptor, ...]) -> Descriptor:
    """The manifest for this machine. Raises ImageError, which names what there is."""
    real = [entry for entry in found if not _is_attestation(entry)]
    ranks = [(platforms.rank(entry.platform) if entry.platform else 1 << 16, entry) for entry in real]
    best = min((rank for rank, _ in ranks if rank is not None), default=None)
    if best is None:
        raise _other_platform([entry.platform for entry in real])
    return next(entry for rank, entry in ranks if rank == best)


def descriptor(entry: object, where: str) -> Descriptor:
    """A descriptor that may be trusted in form: its digest is one, its size a number."""
    if not isinstance(entry, dict):
        raise unavailable(f"its {where} is damaged: a descriptor is missing")
    digest, size = entry.get("digest"), entry.get("size")
    if not is_digest(digest):
        raise unavailable(f"its {where} is damaged: {digest!r:.100} is not a digest")
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size < 1 << 50:
        raise unavailable(f"its {where} is damaged: {size!r:.100} is not a size")
    platform, annotations = entry.get("platform"), entry.get("annotations")
    return Descriptor(
        media_type=str(entry.get("mediaType") or ""),
        digest=str(digest),
        size=size,
        platform=platform if isinstance(platform, dict) else {},
        annotations={str(key): str(value) for key, value in annotations.items()}
        if isinstance(annotations, dict)
        else {},
    )


def _document(data: bytes, what: str) -> dict[str, Any]:
    if len(data) > MANIFEST_MAX:
        raise unavailable(f"its {what} is larger than {MANIFEST_MAX >> 20} MiB")
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise unavailable(f"its {what} is not JSON ({error})") from None
    if not isinstance(document, dict):
        raise unavailable(f"its {what} is not a JSON object")
    return document


def _media_type(given: str, document: Mapping[str, Any]) -> str:
    """What the document is. One that could be read in two ways is refused (CVE-2021-41190)."""
    own, given = document.get("mediaType"), given.partition(";")[0].strip()
    if given in _SCHEMA_1 or document.get("schemaVersion") == 1:
        raise unavailable(
            "it is an image of Docker's first format (schema 1), which was given up in 2017 "
            "(hint: pull it with `docker pull` of an old docker and push it again)"
        )
    if "manifests" in document and ("layers" in document or "config" in document):
        raise unavailable("its manifest is at once an image and an index")
    known = (*INDEXES, *MANIFESTS)
    if own is not None and given in known and own != given:
        raise unavailable(f"its manifest calls itself `{own!s:.200}`, its source calls it `{given}`")
    kind = own if own is not None else given if given in known else ""
    if kind == "":  # in OCI's the field may be missing
        kind = OCI_INDEX if "manifests" in document else OCI_MANIFEST if "layers" in document else given
    if kind not in known:
        raise unavailable(f"its manifest is of a media type that is not known: `{kind!s:.200}`")
    if ("manifests" in document) != (kind in INDEXES):
        raise unavailable(f"its manifest calls itself `{kind}`, and is not one")
    return str(kind)


def _list(document: Mapping[str, Any], key: str, what: str) -> list[Any]:
    found = document.get(key)
    if not isinstance(found, list):
        raise unavailable(f"its {what} is damaged: `{key}` is not a list")
    return found


def _is_attestation(entry: Descriptor) -> bool:
    """What buildkit puts beside an image: no image."""
    return (
        entry.platform.get("architecture") == "unknown"
        or entry.annotations.get("vnd.docker.reference.type") == "attestation-manifest"
    )


def _other_platform(found: list[Mapping[str, Any]]) -> Exception:
    architecture, variant = platforms.this_machine()
    here = platforms.name({"os": "linux", "architecture": architecture, "variant": variant})
    there = ", ".join(sorted({platforms.name(platform) for platform in found})) or "none at all"
    return unavailable(f"it is not made for this machine ({here}); it is for: {there}")
