"""`image remove`: takes names away, and images with their last one."""

from __future__ import annotations

from minikube_lite.cli.errors import CliError, UsageError
from minikube_lite.cli.image_users import users_of
from minikube_lite.cli.images import store_of, stored
from minikube_lite.cli.params import Command, Option
from minikube_lite.cli.session import Session, say, warn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minikube_lite.images.store import ImageStore


def run(session: Session, words: list[str], *, force: bool) -> int:
    if not words:
        raise UsageError("name the images to remove")
    failed = False
    with store_of(session) as store:
        for word in words:
            try:
                _remove(session, store, word, force)
            except CliError as error:
                warn(str(error))
                failed = True
        store.collect()
    return 1 if failed else 0


def _remove(session: Session, store: ImageStore, word: str, force: bool) -> None:
    image = stored(store, word)
    named = store.find(word) if word.removeprefix("sha256:") not in image.id else None
    names = [name for name in image.names if name == _whole(word)] if named else []
    names = names or list(image.names)
    if len(names) > 1 and not force:
        raise CliError(
            f"`{word}` has {len(names)} names ({', '.join(names)}): remove each by name, or all with --force"
        )
    last = len(names) == len(image.names)
    if last and not force and (users := users_of(session, store, image)):
        raise CliError(f"`{word}` is used by {', '.join(users)} (hint: delete the pods first, or take --force)")
    for name in names:
        if store.remove(name):
            say(f"Untagged: {name}")
    if last:
        say(f"Deleted: {image.id}")


def _whole(word: str) -> str:
    from minikube_lite.images import reference

    return str(reference.remote(word))


COMMAND = Command(
    "image remove",
    run,
    summary="Remove images, or one of their names.",
    usage="NAME|ID...",
    details="An image goes with its last name, but not one that a pod runs on. Layers that other images have stay.",
    examples="""
minikube-lite image remove web:1
""",
    options=(
        Option(
            "-f", "--force", flag=True, help="All names of an ID; what a pod runs on loses its name, and goes after it."
        ),
    ),
)
