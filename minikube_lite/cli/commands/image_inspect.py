"""`image inspect`: all that is known of an image, as JSON."""

from __future__ import annotations

from minikube_lite.cli.errors import UsageError
from minikube_lite.cli.images import print_json, store_of, stored
from minikube_lite.cli.params import Command
from minikube_lite.cli.session import Session

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from minikube_lite.images.store import StoredImage


def run(session: Session, words: list[str]) -> int:
    if not words:
        raise UsageError("name the images to look at")
    with store_of(session) as store:
        print_json([_described(stored(store, word)) for word in words])
    return 0


def _described(image: StoredImage) -> dict[str, Any]:
    """In the words of `docker image inspect`."""
    platform = image.config.platform
    return {
        "Id": image.id,
        "RepoTags": [name for name in image.names if "@" not in name],
        "RepoDigests": list(image.digests),
        "Digest": image.manifest.digest,
        "Created": image.config.created,
        "Os": platform.get("os", "linux"),
        "Architecture": platform.get("architecture", ""),
        **({"Variant": platform["variant"]} if platform.get("variant") else {}),
        "Size": image.size,
        "SharedSize": image.shared,
        "Config": dict(image.config.config),
        "RootFS": {"Type": "layers", "Layers": list(image.config.diff_ids)},
    }


COMMAND = Command(
    "image inspect",
    run,
    summary="Show all that is known of images, as JSON.",
    usage="NAME|ID...",
    examples="""
minikube-lite image inspect nginx:1.25
""",
)
