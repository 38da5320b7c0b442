"""Makes OCI layouts for the tests, of which skopeo fills registries: byte for byte the same each time."""

from __future__ import annotations

import gzip
import hashlib
import json
import random
from pathlib import Path
from typing import Any

from minikube_lite.images.source import Descriptor
from tests.images.archives import directory, file, tar

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"


class Layout:
    """An OCI layout (image-spec, image-layout.md) below `root`, in the making."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "blobs/sha256").mkdir(parents=True)
        (root / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
        self._named: list[dict[str, Any]] = []

    def blob(self, data: bytes, media_type: str) -> dict[str, Any]:
        digest = hashlib.sha256(data).hexdigest()
        (self.root / "blobs/sha256" / digest).write_bytes(data)
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data)}

    def read(self, digest: str) -> bytes:
        return (self.root / "blobs/sha256" / digest.removeprefix("sha256:")).read_bytes()

    def image(self, layers: list[bytes], architecture: str = "amd64", **config: Any) -> dict[str, Any]:
        """The descriptor of a manifest of these tar archives."""
        diff_ids = [f"sha256:{hashlib.sha256(layer).hexdigest()}" for layer in layers]
        about = {
            "architecture": architecture,
            "os": "linux",
            "config": config,
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": self.blob(json.dumps(about).encode(), CONFIG),
            "layers": [self.blob(gzip.compress(layer, 1, mtime=0), LAYER) for layer in layers],
        }
        platform = {"architecture": architecture, "os": "linux"}
        return {**self.blob(json.dumps(manifest).encode(), MANIFEST), "platform": platform}

    def index(self, manifests: list[dict[str, Any]]) -> dict[str, Any]:
        return self.blob(json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests}).encode(), INDEX)

    def name(self, descriptor: dict[str, Any], tag: str) -> None:
        self._named.append({**descriptor, "annotations": {"org.opencontainers.image.ref.name": tag}})
        (self.root / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": self._named}))


def noise(size: int, seed: int = 1) -> bytes:
    """Bytes that do not get smaller when they are compressed."""
    return random.Random(seed).randbytes(size)


def layer(name: str, data: bytes) -> bytes:
    return tar([directory("etc", mtime=0), file(f"etc/{name}", data, mtime=0)])


def descriptor(entry: dict[str, Any]) -> Descriptor:
    return Descriptor(entry["mediaType"], entry["digest"], entry["size"])
