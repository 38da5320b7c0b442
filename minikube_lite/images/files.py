"""The files of a directory or of a tar archive, read by their names in it. Called by forms, read by layout and saved.

No name leads out: in a directory it is opened through no symbolic link and must be a regular file; in an archive, links
are followed by name, inside the archive.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

from minikube_lite.images import tar
from minikube_lite.images.image import unavailable
from minikube_lite.images.manifest import MANIFEST_MAX
from minikube_lite.images.tree import split

PIECE = 1 << 20
_LINKS_MAX = 10


class Files(Protocol):
    """Raises FileNotFoundError for what is not there, ImageError for what is no file; both at once, not on the way."""

    def names(self) -> set[str]:
        """The names at the top."""

    def size(self, name: str) -> int:
        """Bytes."""

    def pieces(self, name: str, offset: int = 0) -> Iterator[bytes]:
        """The file's bytes from `offset` on. May be called by several threads."""

    def close(self) -> None: ...


def small(files: Files, name: str) -> bytes:
    """All of a file that has to be small. Raises as `Files`, and ImageError for a large one."""
    if files.size(name) > MANIFEST_MAX:
        raise unavailable(f"its `{name}` is larger than {MANIFEST_MAX >> 20} MiB")
    return b"".join(files.pieces(name))


class DirectoryFiles:
    """The files below a directory."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def names(self) -> set[str]:
        return set(os.listdir(self._path))

    def size(self, name: str) -> int:
        with self._open(name) as file:
            return os.fstat(file.fileno()).st_size

    def pieces(self, name: str, offset: int = 0) -> Iterator[bytes]:
        pieces = _rest(self._open(name), name, offset)
        next(pieces)  # begun, it closes the file in any case
        return pieces

    def close(self) -> None:
        pass

    def _open(self, name: str) -> Any:
        try:
            # O_NONBLOCK: a named pipe must not hold us up.
            descriptor = os.open(self._path / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            raise FileNotFoundError(name) from None
        except OSError as error:
            raise unavailable(f"cannot read its `{name}`: {error.strerror}") from error
        file = open(descriptor, "rb", buffering=0)  # noqa: SIM115
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            file.close()
            raise unavailable(f"its `{name}` is not a regular file")
        return file


class TarFiles:
    """The files of a plain tar archive that can be read at any place."""

    def __init__(self, file: Any) -> None:
        """`file` is an open file, closed by `close`. Raises ArchiveError where it is damaged."""
        self._file = file
        self._places: dict[tuple[bytes, ...], tuple[int, int]] = {}
        """Where the data of each file is: offset and length."""
        self._links: dict[tuple[bytes, ...], tuple[bytes, ...]] = {}
        reader = tar.SeekingReader(file)
        for member in tar.members(reader):
            parts = split(member.name)
            self._places.pop(parts, None)
            self._links.pop(parts, None)
            if member.kind == tar.FILE and member.pieces is None:
                self._places[parts] = (reader.position, member.size)
                reader.skip(member.size)
            elif member.kind == tar.LINK:
                self._links[parts] = split(member.link)
            elif member.kind == tar.SYMLINK:
                self._links[parts] = _inside(parts, member.link)
            else:
                reader.skip(member.size)

    def names(self) -> set[str]:
        return {parts[0].decode("utf-8", "replace") for parts in (*self._places, *self._links) if parts}

    def size(self, name: str) -> int:
        return self._find(name)[1]

    def pieces(self, name: str, offset: int = 0) -> Iterator[bytes]:
        at, size = self._find(name)
        return self._read(at + offset, max(0, size - offset), name)

    def close(self) -> None:
        self._file.close()

    def _find(self, name: str) -> tuple[int, int]:
        parts = split(os.fsencode(name))
        for _ in range(_LINKS_MAX):
            if parts in self._places:
                return self._places[parts]
            if parts not in self._links:
                break
            parts = self._links[parts]
        raise FileNotFoundError(name)

    def _read(self, at: int, left: int, name: str) -> Iterator[bytes]:
        while left:
            try:
                piece = os.pread(self._file.fileno(), min(left, PIECE), at)
            except OSError as error:
                raise unavailable(f"cannot read its `{name}`: {error.strerror}") from error
            if not piece:
                raise unavailable(f"its `{name}` is cut off")
            yield piece
            at, left = at + len(piece), left - len(piece)


def _inside(parts: tuple[bytes, ...], link: bytes) -> tuple[bytes, ...]:
    """Where a symbolic link of the archive leads, by name alone; above its top there is nothing."""
    at = [] if link.startswith(b"/") else list(parts[:-1])
    for part in link.split(b"/"):
        if part == b"..":
            del at[-1:]
        elif part not in (b"", b"."):
            at.append(part)
    return tuple(at)


def _rest(file: Any, name: str, offset: int) -> Iterator[bytes]:
    with file:
        yield b""
        try:
            file.seek(offset)
            while piece := file.read(PIECE):
                yield piece
        except OSError as error:
            raise unavailable(f"cannot read its `{name}`: {error.strerror}") from error
