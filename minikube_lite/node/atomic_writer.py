"""Writes the files of a volume so that a reader sees all of the old ones or all of the new. Called by node.volumes.

The kubelet's AtomicWriter (pkg/volume/util/atomic_writer.go):

    <volume>/..2026_11_25_04_17_09.x1y2z3/key    the files themselves
    <volume>/..data -> ..2026_11_25_04_17_09.x1y2z3
    <volume>/key -> ..data/key

A change is a new directory beside the old one, and one rename(2) of `..data`. Programs that watch for it (viper,
Prometheus, …) know this layout.
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from minikube_lite.core.projection import File
from minikube_lite.node.clock import wall
from minikube_lite.node.ownership import READ_ONLY, give

DATA = "..data"
DATA_NEW = "..data_tmp"


def write(volume: Path, files: Mapping[str, File], group: int | None) -> bool:
    """Have the volume hold just these files, given to `group`; says whether they were not there yet. Raises OSError.

    Broken off anywhere, it leaves a volume that is whole, and a second call ends what the first began.
    """
    volume.mkdir(parents=True, exist_ok=True)
    current = _current(volume)
    changed = current is None or _read(volume / current) != _expected(files, group)
    if changed:
        current = _write_new(volume, files, group)
    _link(volume, {path.split("/")[0] for path in files})
    _forget_old(volume, keep=current)
    if group is not None:
        _give_top(volume, group)
    return changed


def is_written(volume: Path) -> bool:
    """Whether it holds files already."""
    return _current(volume) is not None


def _current(volume: Path) -> str | None:
    try:
        name = os.readlink(volume / DATA)
    except OSError:
        return None
    return name if (volume / name).is_dir() else None


def _expected(files: Mapping[str, File], group: int | None) -> dict[str, tuple[bytes, int, int, int]]:
    more, owner = (0, 0) if group is None else (READ_ONLY, group)
    return {os.path.normpath(path): (f.data, f.mode | more, f.user or 0, owner) for path, f in files.items()}


def _read(directory: Path) -> dict[str, tuple[bytes, int, int, int]]:
    found = {}
    for base, _, names in os.walk(directory):
        for name in names:
            path = Path(base, name)
            seen = path.lstat()
            key = str(path.relative_to(directory))
            found[key] = (path.read_bytes(), stat.S_IMODE(seen.st_mode), seen.st_uid, seen.st_gid)
    return found


def _write_new(volume: Path, files: Mapping[str, File], group: int | None) -> str:
    stamp = time.strftime("..%Y_%m_%d_%H_%M_%S.", time.gmtime(wall()))
    new = Path(tempfile.mkdtemp(prefix=stamp, dir=volume))
    new.chmod(0o755)
    for path, file in files.items():
        target = new / path
        target.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(fd, "wb", closefd=False) as out:
                out.write(file.data)
            os.fchown(fd, file.user or 0, -1)
            os.fchmod(fd, file.mode)
        finally:
            os.close(fd)
    give(new, group, read_only=True)
    (volume / DATA_NEW).unlink(missing_ok=True)
    (volume / DATA_NEW).symlink_to(new.name)
    os.rename(volume / DATA_NEW, volume / DATA)
    return new.name


def _link(volume: Path, names: set[str]) -> None:
    """A link for each file or directory at the top; none for what is no more."""
    for name in os.listdir(volume):
        if not name.startswith("..") and name not in names:
            (volume / name).unlink()
    for name in names:
        if not (volume / name).is_symlink():
            (volume / name).symlink_to(f"{DATA}/{name}")


def _forget_old(volume: Path, keep: str | None) -> None:
    for name in os.listdir(volume):
        if name.startswith("..") and name not in (DATA, keep):
            path = volume / name
            path.unlink() if path.is_symlink() else shutil.rmtree(path)


def _give_top(volume: Path, group: int) -> None:
    os.chown(volume, -1, group)
    volume.chmod(0o2755)
