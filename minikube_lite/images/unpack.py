"""Unpacks an archive of a root file system into a directory. Called by store; `tree` writes, `tar` reads."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path

from minikube_lite.images import tar
from minikube_lite.images.archive import ArchiveError
from minikube_lite.images.directory import ROOT_NAMES, oci_answer
from minikube_lite.images.tree import Parts, Tree, show, split

_NAMES = {name.encode() for name in ROOT_NAMES}
_OF_OTHER_FORMS = {b"oci-layout": "an OCI image archive", b"manifest.json": "a `docker save` archive"}
_OF_THE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.ENOMEM)


def unpack(pieces: Iterator[bytes], target: Path) -> None:
    """Unpack the archive whose bytes are `pieces` into the empty directory `target`.

    Raises ArchiveError for what is wrong with the archive, OSError for what is wrong with the disk. What was unpacked
    until then is left for the caller to remove.
    """
    reader = tar.Reader(pieces)
    tops: dict[bytes, set[bytes]] = {}
    with Tree(target) as tree:
        for member in tar.members(reader):
            parts = split(member.name)
            _expect_root_file_system(tops, parts, member)
            try:
                tree.add(parts, member, reader)
            except ArchiveError:
                raise
            except (OverflowError, ValueError) as error:
                raise ArchiveError(f"its member {show(parts)} cannot be made: {error}") from error
            except OSError as error:
                if error.errno in _OF_THE_DISK:
                    raise
                raise ArchiveError(f"its member {show(parts)} cannot be made: {error.strerror}") from error
        _expect_something(tops)
        tree.finish()


def _expect_root_file_system(tops: dict[bytes, set[bytes]], parts: Parts, member: tar.Member) -> None:
    """Tell other kinds of image by the names at their top, before all of it is unpacked."""
    if not parts:
        return
    if len(parts) == 1 and member.kind == tar.FILE and parts[0] in _OF_OTHER_FORMS and not tops.keys() & _NAMES:
        raise ArchiveError(oci_answer(f"it is {_OF_OTHER_FORMS[parts[0]]}"))
    below = tops.setdefault(parts[0], set())
    if len(parts) > 1 and parts[1] in _NAMES:
        below.add(parts[1])


def _expect_something(tops: dict[bytes, set[bytes]]) -> None:
    if not tops:
        raise ArchiveError("it is an archive of nothing")
    [top, below], *others = tops.items()
    if not others and below and top not in _NAMES:
        name = show((top,)).strip("`")
        raise ArchiveError(
            f"its root file system is below `{name}/`, not at its top (hint: pack it with `tar -C {name} -c .`)"
        )
