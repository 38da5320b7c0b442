"""`image history`: the steps that an image was made in, the latest first."""

from __future__ import annotations

import time

from minikube_lite.cli.errors import UsageError
from minikube_lite.cli.images import human_size, print_json, store_of, stored
from minikube_lite.cli.params import Command, Option
from minikube_lite.cli.session import Session, say

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from minikube_lite.images.store import StoredImage

WIDTH = 60


def run(session: Session, words: list[str], *, output: str, no_trunc: bool) -> int:
    from minikube_lite.cli.output import Columns, cell

    if len(words) != 1:
        raise UsageError("name one image")
    with store_of(session) as store:
        steps = list(_steps(stored(store, words[0])))
    if output == "json":
        print_json(steps)
        return 0
    rows = [["CREATED", "CREATED BY", "SIZE", "COMMENT"]]
    for step in steps:
        text = cell(step["createdBy"])
        text = text if no_trunc or len(text) <= WIDTH else text[: WIDTH - 1] + "…"
        rows.append([_ago(step["created"]), text, human_size(step["size"]), cell(step["comment"])])
    for line in Columns().lines(rows):
        say(line)
    return 0


def _steps(image: StoredImage) -> Iterator[dict[str, Any]]:
    """Each step, with the bytes of its layer as they travel; the latest first, as docker shows them.

    The history tells which of its steps made a layer (OCI config.md, `history`); layers that it does not tell of are
    steps of their own.
    """
    layers = list(image.manifest.layers)
    found = []
    for entry in image.config.history:
        layer = layers.pop(0) if layers and not entry.get("empty_layer") else None
        found.append(_step(entry, layer.size if layer else 0))
    found += [_step({}, layer.size) for layer in layers]
    yield from reversed(found)


def _step(entry: Any, size: int) -> dict[str, Any]:
    texts = {key: str(entry.get(key) or "") for key in ("created", "created_by", "comment")}
    return {
        "created": texts["created"],
        "createdBy": texts["created_by"],
        "size": size,
        "comment": texts["comment"],
    }


def _ago(text: str) -> str:
    from minikube_lite.core.times import human_duration, seconds

    created = seconds(text)
    return "N/A" if created is None or created <= 0 else f"{human_duration(time.time() - created)} ago"


COMMAND = Command(
    "image history",
    run,
    summary="Show the steps that an image was made in, the latest first.",
    usage="NAME|ID",
    examples="""
minikube-lite image history nginx
""",
    options=(
        Option("-o", "--output", choices=("table", "json"), default="table", help="Form of the output (table)."),
        Option("--no-trunc", flag=True, help="Show the whole text of each step."),
    ),
)
