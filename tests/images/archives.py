"""Makes tar archives for the tests: healthy ones, and ones that an attacker would make, with Python's tarfile."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

Entry = tarfile.TarInfo | tuple[tarfile.TarInfo, bytes]


def entry(name: str, kind: bytes = tarfile.REGTYPE, **fields: Any) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.mode = kind, 0o755
    for field, value in fields.items():
        setattr(info, field, value)
    return info


def file(name: str, data: bytes = b"x\n", **fields: Any) -> tuple[tarfile.TarInfo, bytes]:
    return entry(name, size=len(data), **fields), data


def directory(name: str, **fields: Any) -> tarfile.TarInfo:
    return entry(name, tarfile.DIRTYPE, **fields)


def symlink(name: str, to: str) -> tarfile.TarInfo:
    return entry(name, tarfile.SYMTYPE, linkname=to)


def hardlink(name: str, to: str) -> tarfile.TarInfo:
    return entry(name, tarfile.LNKTYPE, linkname=to)


def tar(entries: Iterable[Entry], mode: str = "w", form: int = tarfile.PAX_FORMAT) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode=mode, format=form) as archive:  # type: ignore[call-overload]
        for item in entries:
            info, content = item if isinstance(item, tuple) else (item, b"")
            archive.addfile(info, io.BytesIO(content))
    return data.getvalue()


def small_rootfs() -> list[Entry]:
    """Enough to be told as a root file system; some data of every kind that needs no root."""
    return [
        directory("./"), directory("./bin"), file("./bin/app", os.urandom(70_000)), symlink("./lib", "usr/lib"),
        directory("./usr"), directory("./usr/lib"), file("./usr/lib/lib.so", b"lib" * 5000),
        hardlink("./usr/lib/again", "./usr/lib/lib.so"), directory("./etc"), file("./etc/empty", b""),
        *(directory("./etc/" + "long/" * depth) for depth in range(1, 31)), file("./etc/" + "long/" * 30 + "name"),
        entry("./etc/pipe", tarfile.FIFOTYPE),
    ]  # fmt: skip


def tree(root: Path) -> dict[str, tuple[Any, ...]]:
    """All that can be seen of each file below `root`; files that are hard links of one another are told together."""
    seen: dict[str, tuple[Any, ...]] = {}
    inodes: dict[int, str] = {}
    for folder, folders, files in os.walk(root):
        folders.sort()
        for name in ["", *sorted(files + folders)] if folder == str(root) else sorted(files + folders):
            path = os.path.join(folder, name)
            found = os.lstat(path)
            link = os.path.islink(path)
            seen[os.path.relpath(path, root)] = (
                oct(found.st_mode),
                (found.st_uid, found.st_gid),
                found.st_mtime_ns,
                found.st_rdev,
                found.st_size if not os.path.isdir(path) or link else 0,
                os.readlink(path) if link else "",
                Path(path).read_bytes() if os.path.isfile(path) and not link else b"",
                {} if link else {key: os.getxattr(path, key) for key in sorted(os.listxattr(path))},
                "" if os.path.isdir(path) else inodes.setdefault(found.st_ino, os.path.relpath(path, root)),
            )
    return seen
