"""`image list`: the images that are on this machine under a name."""

from __future__ import annotations

import time

from minikube_lite.cli.images import human_size, name_and_tag, print_json, short_id, store_of
from minikube_lite.cli.params import Command, Option
from minikube_lite.cli.session import Session, say

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from minikube_lite.images.store import StoredImage

HEADING = ["REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE", "SHARED", "OWN"]


def run(session: Session, words: list[str], *, output: str, quiet: bool, no_headers: bool) -> int:
    from minikube_lite.cli.output import Columns

    with store_of(session) as store:
        images = [image for image in store.images() if not words or _matches(image, words)]
    if output == "json":
        print_json([as_json(image) for image in images])
    elif output == "name" or quiet:
        for line in dict.fromkeys(short_id(image) if quiet else name for image in images for name in image.names):
            say(line)
    else:
        rows = [_row(image, name) for image in images for name in image.names]
        for line in Columns().lines([*([] if no_headers else [HEADING]), *rows]):
            say(line)
    return 0


def as_json(image: StoredImage) -> dict[str, Any]:
    """As `crictl images -o json` names things, with the sizes apart."""
    return {
        "id": image.id,
        "repoTags": [name for name in image.names if "@" not in name],
        "repoDigests": list(image.digests),
        "created": image.config.created,
        "size": image.size,
        "sharedSize": image.shared,
        "ownSize": image.size - image.shared,
    }


def _matches(image: StoredImage, words: list[str]) -> bool:
    """Any of its names is, or its repository ends in, one of the words."""
    for name in image.names:
        repository, _ = name_and_tag(name)
        if any(word in (name, repository) or f"/{name}".endswith((f"/{word}",)) for word in words):
            return True
        if any(f"/{repository}".endswith(f"/{word}") for word in words):
            return True
    return False


def _row(image: StoredImage, name: str) -> list[str]:
    from minikube_lite.core.times import human_duration, seconds

    created = seconds(image.config.created)
    ago = "N/A" if created is None or created <= 0 else f"{human_duration(time.time() - created)} ago"
    sizes = [human_size(size) for size in (image.size, image.shared, image.size - image.shared)]
    return [*name_and_tag(name), short_id(image), ago, *sizes]


COMMAND = Command(
    "image list",
    run,
    summary="List the images on this machine.",
    usage="[NAME...]",
    details="SIZE is what an image takes on the disk, SHARED the part of it that other images have too, OWN the rest:\n"
    "what removing it gives back.",
    examples="""
minikube-lite image list
minikube-lite image list nginx -o json
""",
    options=(
        Option(
            "-o", "--output", choices=("table", "json", "name"), default="table", help="Form of the output (table)."
        ),
        Option("-q", "--quiet", flag=True, help="Only the IDs."),
        Option("--no-headers", flag=True, help="Without the line of column names."),
    ),
)
