"""`image pull`: images from their registries into the store."""

from __future__ import annotations

from minikube_lite.cli.errors import UsageError
from minikube_lite.cli.images import bars, store_of
from minikube_lite.cli.params import Command
from minikube_lite.cli.session import Session, say


def run(session: Session, words: list[str]) -> int:
    from minikube_lite.images import reference
    from minikube_lite.images.registry.client import Registries

    if not words:
        raise UsageError("name the images to pull")
    with store_of(session) as store, Registries(session.paths.registries) as registries:
        for word in words:
            remote = reference.remote(word)
            with bars() as shown:
                image = store.pull(word, registries.repository(remote), shown)
            say(f"{remote}: {image.target}")
    return 0


COMMAND = Command(
    "image pull",
    run,
    summary="Pull images from their registries.",
    usage="NAME[:TAG|@DIGEST]...",
    details="Credentials are those of `docker login` or `podman login`; mirrors and insecure registries stand in\n"
    "registries.yaml (docs/registries.md). Parts that are here already are not fetched again.",
    examples="""
minikube-lite image pull nginx:1.25
minikube-lite image pull quay.io/team/app@sha256:0123…
""",
)
