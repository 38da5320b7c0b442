"""Gives back their owner and mode to directories that a layer only implies. Called by layers.

A layer may hold `etc/app/conf` and say nothing of `etc` and `etc/app` (`umoci insert`, ko, bazel and `COPY --link` make
such). Unpacked over the layers below it, as Docker does it, nothing happens to these directories. In overlayfs the
topmost layer that has a directory decides how it is; so a last layer is laid on top, of such directories only, each as
the topmost layer has it that says something of it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Level:
    """One layer: where its files are, and which of its directories it implies."""

    path: Path
    implied: frozenset[str]


def build(levels: Sequence[Level], target: Path) -> bool:
    """Fill the empty directory `target` with that last layer; `levels` bottom first. False where none is needed."""
    wrong = [path for path in sorted({path for level in levels for path in level.implied}) if _is_wrong(levels, path)]
    needed = sorted({parent for path in wrong for parent in _and_parents(path)})
    for path in needed:
        (target / path).mkdir(mode=0o700)
    for path in reversed([".", *needed] if wrong else []):  # the deepest first: what is made in one changes its time
        _dress(_speaker(levels, path).path / path, target / path)
    return bool(wrong)


def _is_wrong(levels: Sequence[Level], path: str) -> bool:
    """Whether it would be as a layer has it that says nothing of it, though one below does say something."""
    found = _merged(levels, path)
    return bool(found) and _looks(found[0].path / path) != _looks(_speaker(levels, path).path / path)


def _speaker(levels: Sequence[Level], path: str) -> Level:
    """The layer whose word counts; where none says anything, the topmost that has it."""
    found = _merged(levels, path)
    return next((level for level in found if path not in level.implied), found[0])


def _merged(levels: Sequence[Level], path: str) -> list[Level]:
    """The layers whose directory `path` shows through, the topmost first; none where there is no such directory.

    No symbolic link is followed: a layer stays only while all parts so far are directories in it.
    """
    through = list(reversed(levels))
    for part in _and_parents(path):
        above, through = through, []
        for level in above:
            try:
                found = os.lstat(level.path / part)
            except FileNotFoundError:
                continue
            if not stat.S_ISDIR(found.st_mode):  # a whiteout, or something else in its place
                break
            through.append(level)
            if _is_opaque(level.path / part):
                break
    return through


def _and_parents(path: str) -> Iterable[str]:
    """`a`, `a/b`, `a/b/c` of the last."""
    parts = path.split("/")
    return ("/".join(parts[:count]) for count in range(1, len(parts) + 1))


def _is_opaque(path: Path) -> bool:
    try:
        return os.getxattr(path, "trusted.overlay.opaque", follow_symlinks=False) == b"y"
    except OSError:  # it has none
        return False


def _looks(path: Path) -> tuple[int, int, int, int]:
    found = os.lstat(path)
    return found.st_uid, found.st_gid, found.st_mode, found.st_mtime_ns


def _dress(source: Path, target: Path) -> None:
    """Owner, mode, attributes and time of a directory."""
    found = os.lstat(source)
    os.chown(target, found.st_uid, found.st_gid)
    os.chmod(target, stat.S_IMODE(found.st_mode))
    for name in os.listxattr(source, follow_symlinks=False):
        if name.startswith("user."):
            os.setxattr(target, name, os.getxattr(source, name, follow_symlinks=False))
    os.utime(target, ns=(found.st_mtime_ns, found.st_mtime_ns))
