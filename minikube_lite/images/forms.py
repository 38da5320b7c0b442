"""Finds out what an image on this machine's disk is, and opens it as a `Source`. Called by local.

An OCI image layout (a directory or a tar archive of one) and a `docker save` archive have manifests, so they are
sources. What has none, a root file system as it is or as an archive, is not for this module: None is the answer.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import tempfile
from pathlib import Path
from typing import Any

from minikube_lite.images import tar
from minikube_lite.images.archive import ArchiveError, is_compressed, open_stream
from minikube_lite.images.directory import ROOT_NAMES
from minikube_lite.images.files import DirectoryFiles, TarFiles
from minikube_lite.images.image import ImageError, unavailable
from minikube_lite.images.layout import Layout
from minikube_lite.images.reference import remote, same_name
from minikube_lite.images.saved import Saved
from minikube_lite.images.tree import free_room, split

ImageFile = Layout | Saved
"""A `Source` that also knows the `names()` of its images and has to be closed."""


def split_path(path: Path) -> tuple[Path, str]:
    """A path that may have a name after it (`./layout:1.25`, as skopeo and podman write it), and that name.

    The longest path before a `:` that is there, so a file whose own name has a colon comes first.
    """
    text = os.fspath(path)
    at = len(text)
    while at > 0 and not (os.path.lexists(text[:at]) and text[at - 1] != "/"):
        at = text.rfind(":", 0, at)
    return (Path(text[:at]), text[at + 1 :]) if at > 0 else (path, "")


def full_name(path: Path, source: ImageFile, inner: str) -> str:
    """What to call an image that a file or directory calls `inner`: the same, if it is a whole name.

    A tag alone, or nothing, gets the name of the file before it. Raises ImageError where that can be no name.
    """
    whole = next((found for found in source.names() if found and same_name(inner, found)), inner)
    if "/" in whole or ":" in whole:
        return whole
    stem = path.resolve().name.lower()
    for end in (".gz", ".zst", ".xz", ".bz2", ".tgz", ".tar", ".oci"):
        stem = stem.removesuffix(end)
    try:
        return str(remote(f"{stem}:{whole or 'latest'}"))
    except ImageError:
        raise unavailable(
            f"the image in `{path}` has no name, and `{stem}` cannot be one (hint: give it a name)"
        ) from None


def is_layout(path: Path) -> bool:
    """Whether the directory is an OCI image layout."""
    return (path / "oci-layout").is_file()


def index(path: Path) -> Path:
    """The file that changes when a layout does. Raises ImageError where it lacks."""
    if not (path / "index.json").is_file():
        raise unavailable("it is an OCI image layout without an `index.json`")
    return path / "index.json"


def open_layout(path: Path) -> Layout:
    return Layout(DirectoryFiles(path))


def open_archive(file: Any, spool: Path) -> ImageFile | None:
    """The images in an open archive, compressed or not; None for an archive of a root file system.

    A compressed one is unpacked, for as long as it is open, to a file without a name on the disk of the directory
    `spool`. Raises ArchiveError, ImageError, OSError. `file` stays the caller's.
    """
    if not _may_be(file):
        return None
    with contextlib.ExitStack() as stack:
        plain = stack.enter_context(_plain(file, spool))
        files = TarFiles(plain)
        names = files.names()
        if "oci-layout" not in names and "manifest.json" not in names:
            return None
        found: ImageFile = Layout(files) if "oci-layout" in names else Saved(files)
        stack.pop_all()  # from here on `found` closes it
        return found


def _plain(file: Any, spool: Path) -> Any:
    """The archive without its compression, as an open file of its own."""
    file.seek(0)
    if not is_compressed(file.read(8)):
        return open(os.dup(file.fileno()), "rb", buffering=0)
    file.seek(0)
    with contextlib.ExitStack() as stack:
        plain = stack.enter_context(tempfile.TemporaryFile(dir=spool))
        room = free_room(os.statvfs(spool))
        for piece in open_stream(file):
            room -= len(piece)
            if room < 0:
                raise ArchiveError(f"it unpacks to more than `{spool}` has room for")
            plain.write(piece)
        plain.flush()  # it is read by pread(2)
        stack.pop_all()
        return plain


def _may_be(file: Any) -> bool:
    """Whether one of the first names in the archive is one of an image's, so that all of them are worth a look."""
    file.seek(0)
    for member in itertools.islice(tar.members(tar.Reader(open_stream(file))), _FIRST):
        if parts := split(member.name):
            top = parts[0].decode("ascii", "replace")
            stem = top.partition(".")[0]
            if top in _TOPS or (len(stem) == 64 and not set(stem) - set("0123456789abcdef")):
                return True
            if top in ROOT_NAMES:
                return False
    return False


_FIRST = 100
_TOPS = ("oci-layout", "index.json", "blobs", "manifest.json", "repositories")
