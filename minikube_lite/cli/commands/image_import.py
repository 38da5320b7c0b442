"""`image import`: an image out of the archive of a root file system, or a directory."""

from __future__ import annotations

from minikube_lite.cli.errors import UsageError
from minikube_lite.cli.image_making import OPTIONS, make
from minikube_lite.cli.params import Command
from minikube_lite.cli.session import Session

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def run(session: Session, words: list[str], **values: Any) -> int:
    if len(words) != 2:
        raise UsageError("expected the archive of a root file system and a name for the image")
    return make(session, words[0], words[1], values)


COMMAND = Command(
    "image import",
    run,
    summary="Make an image out of the archive of a root file system (docker export).",
    usage="FILE NAME[:TAG]",
    details="The archive may be compressed with gzip, bzip2, xz or zstd. What the image it came from said of command,\n"
    "environment and user is not in it: say it by options. For `docker save` archives there is `image load`.",
    examples="""
docker export $(docker create alpine) > alpine.tar && minikube-lite image import alpine.tar alpine:3 --cmd /bin/sh
""",
    options=OPTIONS,
)
