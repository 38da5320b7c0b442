"""Unpacks an archive of a root file system into a directory. Called by store; `tree` writes, `tar` reads."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from pathlib import Path

from minikube_lite.images import tar
from minikube_lite.images.archive import ArchiveError
from minikube_lite.images.directory import ROOT_NAMES
from minikube_lite.images.tree import Parts, Tree, show, split

_NAMES = {name.encode() for name in ROOT_NAMES}
_OF_THE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.ENOMEM)


def unpack(pieces: Iterator[bytes], target: Path) -> None:
    """Unpack the archive whose bytes are `pieces` into the empty directory `target`.

    Raises ArchiveError for what is wrong with the archive, OSError for what is wrong with the disk. What was unpacked
    until then is left for the caller to remove.
    """
    tops: dict[bytes, set[bytes]] = {}
    with Tree(target) as tree:
        fill(tree, pieces, lambda parts: _note(tops, parts))
        _expect_something(tops)
        tree.finish()


def fill(
    tree: Tree, pieces: Iterator[bytes], note: Callable[[Parts], None] = lambda parts: None, end_mark: bool = True
) -> int:
    """Add every member of the archive to the tree; returns how many. `note` is told of each. Raises as `unpack`."""
    reader = tar.Reader(pieces)
    count = 0
    for member in tar.members(reader, end_mark):
        parts = split(member.name)
        note(parts)
        count += 1
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
    return count


def _note(tops: dict[bytes, set[bytes]], parts: Parts) -> None:
    """Keep the names at the top, and what tells a root file system below them."""
    if not parts:
        return
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
