"""`image load`: every image of a `docker save` archive, an OCI archive or an OCI layout into the store."""

from __future__ import annotations

from minikube_lite.cli.errors import UsageError
from minikube_lite.cli.images import bars, store_of
from minikube_lite.cli.params import Command, Option
from minikube_lite.cli.session import Session, say


def run(session: Session, words: list[str], *, input: str, name: str) -> int:
    from pathlib import Path

    files = [*([input] if input else []), *words]
    if not files:
        raise UsageError("name the archives or layout directories to load")
    if name and len(files) > 1:
        raise UsageError("--name is for one image")
    with store_of(session) as store:
        for file in files:
            with bars() as shown:
                loaded = store.load(Path(file), shown, name=name or None)
            for each in loaded:
                say(f"Loaded image: {each}")
    return 0


COMMAND = Command(
    "image load",
    run,
    summary="Bring images in from an archive (docker save, OCI) or an OCI layout directory.",
    usage="FILE|DIR[:NAME]...",
    details="Archives may be compressed with gzip, bzip2, xz or zstd. Of several images in one, NAME chooses.",
    examples="""
docker save web:1 > web.tar && minikube-lite image load web.tar
minikube-lite image load ./layout:1.25 --name nginx:1.25
""",
    options=(
        Option("-i", "--input", metavar="FILE", help="The archive, as docker load has it."),
        Option("--name", metavar="NAME", help="What to call the image here."),
    ),
)
