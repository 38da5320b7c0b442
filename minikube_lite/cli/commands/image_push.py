"""`image push`: an image from the store into a registry."""

from __future__ import annotations

from minikube_lite.cli.errors import UsageError
from minikube_lite.cli.images import bars, store_of, stored
from minikube_lite.cli.params import Command
from minikube_lite.cli.session import Session, say

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minikube_lite.images.source import Descriptor


def run(session: Session, words: list[str]) -> int:
    from minikube_lite.images import reference
    from minikube_lite.images.progress import Step
    from minikube_lite.images.registry.client import Registries
    from minikube_lite.images.registry.push import push

    if len(words) not in (1, 2):
        raise UsageError("name an image, and where to push it if its own name does not say it")
    with store_of(session) as store, Registries(session.paths.registries) as registries, bars() as shown:
        image = stored(store, words[0])
        remote = reference.remote(words[-1])

        def progress(blob: Descriptor, done: int) -> None:
            shown(Step("copying", blob.digest, done, blob.size))

        digest = push(store.source(image), registries.repository(remote), progress=progress)
    say(f"{remote}: {digest}")
    return 0


COMMAND = Command(
    "image push",
    run,
    summary="Push an image to a registry.",
    usage="NAME|ID [TARGET]",
    details="Without TARGET to the registry that its name says. Credentials and registries are as for `image pull`.",
    examples="""
minikube-lite image push localhost:5000/team/web:1
minikube-lite image push web:1 localhost:5000/team/web:1
""",
)
