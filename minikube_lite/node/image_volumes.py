"""An image's root file system as a volume: mounted once a pod, read-only. Called by node.volumes, in a thread.

Several layers are an overlay without an upper directory; a single one, which overlayfs would not take, is bound.
"""

from __future__ import annotations

import errno
import os
import zlib
from pathlib import Path

from minikube_lite.images.store import Image
from minikube_lite.linux import storage
from minikube_lite.linux.mounts import Mount, overlay_of_layers


def lease_user(uid: str, volume: str) -> str:
    """Under what name the store keeps the image for this volume (at most 60 characters)."""
    return f"{uid}.v{zlib.crc32(volume.encode()):08x}"


def mount_image(place: Path, image: Image) -> None:
    """Mount it at `place`, unless it is. Raises OSError."""
    if storage.is_mounted(str(place)):
        return
    if image.mounts:
        what = f"the image `{image.reference}` is made of this machine's own programs"
        raise OSError(errno.EOPNOTSUPP, f"{what}: use hostPath for them")
    place.mkdir(parents=True, exist_ok=True)
    layers = [str(layer) for layer in image.layers]
    if len(layers) == 1:
        entry = {"type": "bind", "source": layers[0], "options": ["bind", "private", "ro"]}
    else:
        entry = overlay_of_layers(layers)
    root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        Mount.from_oci({"destination": str(place), **entry}).apply(root)
    finally:
        os.close(root)
