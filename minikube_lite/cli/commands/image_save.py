"""`image save`: images into one archive, for docker, podman, skopeo, or another node."""

from __future__ import annotations

import sys

from minikube_lite.cli.errors import CliError, UsageError
from minikube_lite.cli.images import store_of, stored
from minikube_lite.cli.params import Command, Option
from minikube_lite.cli.session import Session


def run(session: Session, words: list[str], *, output: str, format: str) -> int:
    import os
    from contextlib import suppress

    from minikube_lite.images.save import Saved, save_docker, save_oci
    from minikube_lite.images.source import Descriptor

    if not words:
        raise UsageError("name the images to save")
    if not output and sys.stdout.isatty():
        raise UsageError("an archive is not for a terminal: name a file (-o FILE), or send it somewhere")
    with store_of(session) as store:
        images = []
        for word in words:
            image = stored(store, word)
            manifest = Descriptor(image.manifest.media_type, image.manifest.digest, image.manifest.size)
            images.append(Saved(manifest, image.names))
        save = save_docker if format == "docker" else save_oci
        if not output:
            save(images, store.blobs, sys.stdout.buffer)
            return 0
        unfinished = f"{output}.tmp-{os.getpid()}"
        try:
            with open(unfinished, "xb") as file:
                save(images, store.blobs, file)
            os.rename(unfinished, output)
        except OSError as error:
            raise CliError(f"cannot write `{output}`: {error.strerror}") from error
        finally:
            with suppress(FileNotFoundError):  # it has its name by now
                os.unlink(unfinished)
    return 0


COMMAND = Command(
    "image save",
    run,
    summary="Write images into an archive for other tools to load.",
    usage="NAME|ID...",
    examples="""
minikube-lite image save -o web.tar web:1
minikube-lite image save --format docker web:1 | docker load
""",
    options=(
        Option("-o", "--output", metavar="FILE", help="The archive (standard output)."),
        Option("--format", choices=("oci", "docker"), default="oci", help="An OCI archive, or docker save's (oci)."),
    ),
)
