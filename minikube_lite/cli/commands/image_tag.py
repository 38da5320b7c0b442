"""`image tag`: a further name for an image."""

from __future__ import annotations

from minikube_lite.cli.errors import UsageError
from minikube_lite.cli.images import store_of, stored
from minikube_lite.cli.params import Command
from minikube_lite.cli.session import Session


def run(session: Session, words: list[str]) -> int:
    if len(words) != 2:
        raise UsageError("expected an image and a further name for it")
    with store_of(session) as store:
        store.tag(stored(store, words[0]).names[0], words[1])
    return 0


COMMAND = Command(
    "image tag",
    run,
    summary="Give an image a further name.",
    usage="NAME|ID NEW[:TAG]",
    details="A name that another image has is taken from it.",
    examples="""
minikube-lite image tag web:1 localhost:5000/team/web:1
""",
)
