"""`image build-from-dir`: an image out of a directory and a few flags, without an engine."""

from __future__ import annotations

from minikube_lite.cli.errors import CliError, UsageError
from minikube_lite.cli.image_making import OPTIONS, make
from minikube_lite.cli.params import Command
from minikube_lite.cli.session import Session

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def run(session: Session, words: list[str], **values: Any) -> int:
    import os

    if len(words) != 2:
        raise UsageError("expected a directory and a name for the image")
    if not os.path.isdir(words[0]):
        raise CliError(f"`{words[0]}` is not a directory (hint: `minikube-lite image import` takes archives)")
    return make(session, words[0], words[1], values)


COMMAND = Command(
    "image build-from-dir",
    run,
    summary="Make an image of one layer out of a directory.",
    usage="DIR NAME[:TAG]",
    details="The directory is only read: owners, modes, hard links, holes, file capabilities and user attributes are\n"
    "kept, other file systems mounted in it are left out. SOURCE_DATE_EPOCH sets its time of creation.",
    examples="""
minikube-lite image build-from-dir ./rootfs web:1 --entrypoint "/usr/sbin/nginx -g 'daemon off;'"
minikube-lite image build-from-dir ./rootfs tool --entrypoint '["/bin/tool"]' --cmd --help -u nobody -w /srv
""",
    options=OPTIONS,
)
