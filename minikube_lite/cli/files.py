"""`-f FILE|DIR|-`: finds the manifests that are meant, and reads them. Called by apply, delete and validate."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from minikube_lite.cli.errors import CliError
from minikube_lite.cli.params import Option
from minikube_lite.cli.session import read_input

SUFFIXES = (".yaml", ".yml", ".json")

FILENAME = Option(
    "-f", "--filename", many=True, metavar="FILE", help="File or directory of manifests, - for standard input."
)
RECURSIVE = Option("-R", "--recursive", flag=True, help="Directories with all below them.")


class Source:
    """One manifest file: its name for messages, its bytes, and the directory that relative paths in it start from."""

    def __init__(self, name: str, data: bytes, directory: str) -> None:
        self.name = name
        self.data = data
        self.directory = directory


def sources(names: Sequence[str], *, recursive: bool) -> Iterator[Source]:
    """Every manifest meant by `names`, in order. Raises CliError, in kubectl's words where it has any."""
    paths = [path for name in names for path in _paths(name, recursive=recursive)]
    for path in paths:
        if path == "-":
            yield Source("STDIN", read_input(), os.getcwd())
        else:
            yield Source(path, _read(path), os.path.dirname(os.path.realpath(path)))


def _paths(name: str, *, recursive: bool) -> list[str]:
    if name == "-":
        return [name]
    if "://" in name:
        raise CliError(
            f"{name}: manifests are not fetched from the network (try: curl -fsSL {name} | minikube-lite apply -f -)"
        )
    if not os.path.lexists(name):
        raise CliError(f'the path "{name}" does not exist')
    if not os.path.exists(name):
        raise CliError(f'the path "{name}" is a symbolic link to {os.readlink(name)}, which does not exist')
    if not os.path.isdir(name):
        return [name]
    found = list(_manifests_in(name, recursive=recursive))
    if not found:
        raise CliError(f"error reading [{name}]: recognized file extensions are [.json .yaml .yml]")
    return found


def _manifests_in(directory: str, *, recursive: bool) -> Iterator[str]:
    try:
        entries = sorted(os.listdir(directory))
    except OSError as error:
        raise CliError(f"cannot read the directory {directory}: {error.strerror}") from error
    for entry in entries:
        path = os.path.join(directory, entry)
        if os.path.isdir(path):
            if recursive:
                yield from _manifests_in(path, recursive=True)
        elif entry.endswith(SUFFIXES) and not entry.startswith("."):
            yield path


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise CliError(f"cannot read {path}: {error.strerror}") from error
