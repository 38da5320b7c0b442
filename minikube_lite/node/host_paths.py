"""What a hostPath's `type` asks of a path of this machine's. Called by node.volumes.

The checks and the words are the kubelet's (pkg/volume/hostpath/host_path.go). A path without a type that is not there
becomes a directory, as containerd makes it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable

_KINDS: dict[str, tuple[Callable[[int], bool], str]] = {
    "Directory": (stat.S_ISDIR, "a directory"),
    "DirectoryOrCreate": (stat.S_ISDIR, "a directory"),
    "File": (stat.S_ISREG, "a file"),
    "FileOrCreate": (stat.S_ISREG, "a file"),
    "Socket": (stat.S_ISSOCK, "a socket file"),
    "CharDevice": (stat.S_ISCHR, "a character device"),
    "BlockDevice": (stat.S_ISBLK, "a block device"),
}


class WrongType(ValueError):
    """The path is not what the manifest says it is."""


def prepare(path: str, type_: str) -> None:
    """Make the path where its type allows it, then check that it is what it should be. Raises WrongType, OSError."""
    try:
        found = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        found = None
    if found is None:
        if type_ in ("", "DirectoryOrCreate"):
            os.makedirs(path, 0o755, exist_ok=True)
        elif type_ == "FileOrCreate":
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644))
        else:
            raise WrongType(_wrong(path, type_))
    elif type_ and not _KINDS[type_][0](found.st_mode):
        raise WrongType(_wrong(path, type_))


def _wrong(path: str, type_: str) -> str:
    return f"hostPath type check failed: {path} is not {_KINDS[type_][1]}"
