"""Checks a directory given as a root file system. Called by store; only looks, never writes into it."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from minikube_lite.images.image import Image, unavailable

ROOT_NAMES = frozenset({"bin", "sbin", "usr", "lib", "lib64", "etc", "dev", "proc"})
"""A directory with one of these at its top was meant as a root file system."""


def open_directory(reference: str, path: Path, base_dir: Path, store: Path) -> Image:
    """The image that is the directory at `path`; a symbolic link to it is followed here, once.

    Raises ImageError where a container could not run on it, or where running on it would be a mistake.
    """
    real = Path(os.path.realpath(path))
    if real == Path("/"):
        raise unavailable(
            f"`{path}` is this machine's own root file system: a container on it would see every secret of the machine "
            "(hint: `image: host` has its programs without its secrets)"
        )
    inside = Path(os.path.realpath(store))
    if inside.is_relative_to(real):
        raise unavailable(
            f"`{real}` holds minikube-lite's own files ({inside}): a root file system cannot be around them"
        )
    try:
        names = set(os.listdir(real))
    except OSError as error:
        raise unavailable(f"cannot read the directory `{real}`: {error.strerror}") from error
    if not names:
        raise unavailable(
            f"the directory `{real}` is empty: a root file system is expected in it "
            "(hint: is it a mount point that is not mounted?)"
        )
    if not names & ROOT_NAMES:
        if real == Path(os.path.realpath(base_dir)) or all(_is_manifest(name) for name in names):
            raise unavailable(f"`{real}` is a directory of manifests, not a root file system")
        if names == {"rootfs"} and (real / "rootfs").is_dir():
            raise unavailable(f"`{real}` holds only `rootfs` (hint: did you mean `{reference.rstrip('/')}/rootfs`?)")
    return Image(reference=reference, id=f"dir:{real}", layers=(real,))


def missing(path: Path) -> str:
    """What to say of a path where nothing is: the path itself, and how far it leads."""
    if path.is_symlink():
        return f"`{path}` is a symbolic link to `{os.readlink(path)}`, where nothing is"
    parent = path.parent
    while not os.path.lexists(parent):
        parent = parent.parent
    if parent != path.parent:
        return f"`{path}` does not exist: nor does the directory it is in, the nearest that does is `{parent}`"
    return f"`{path}` does not exist (its directory `{parent}` does)"


def kind_of(mode: int) -> str:
    """A word for what is neither a directory nor a file."""
    kinds = {stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket", stat.S_IFBLK: "a block device"}
    return kinds.get(stat.S_IFMT(mode), "a character device")


def _is_manifest(name: str) -> bool:
    return name.endswith((".yaml", ".yml", ".json"))
