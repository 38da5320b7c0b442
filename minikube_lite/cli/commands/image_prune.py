"""`image prune`: removes what nobody needs."""

from __future__ import annotations

from minikube_lite.cli.errors import UsageError
from minikube_lite.cli.images import human_size, store_of
from minikube_lite.cli.params import Command, Option
from minikube_lite.cli.session import Session, say


def run(session: Session, words: list[str], *, all: bool) -> int:
    if words:
        raise UsageError("prune takes no names (hint: `minikube-lite image remove NAME`)")
    with store_of(session) as store:
        if all:
            used = {lease.id for lease in store.leases().values()}
            for image in store.images():
                for name in image.names if image.id not in used else ():
                    if store.remove(name):
                        say(f"Untagged: {name}")
        say(f"Total reclaimed space: {human_size(store.collect())}")
    return 0


COMMAND = Command(
    "image prune",
    run,
    summary="Remove what no image and no pod needs any more.",
    usage="",
    details="Without --all: parts of images that lost their names, and what was unpacked of images at paths.",
    examples="""
minikube-lite image prune
minikube-lite image prune -a
""",
    options=(Option("-a", "--all", flag=True, help="Every image that no pod runs on, too."),),
)
