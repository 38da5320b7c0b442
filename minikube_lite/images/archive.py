"""Opens a file as a stream of the bytes of a tar archive, whatever it is compressed with. Called by store.

What a file is, its first bytes say, never its name. gzip, bzip2 and xz are read by the standard library; zstd by that
of Python 3.14, before it by the package `backports.zstd`.
"""

from __future__ import annotations

import bz2
import importlib
import io
import itertools
import lzma
import sys
import zlib
from collections.abc import Callable, Iterator
from typing import Any, Protocol

CHUNK = 1 << 20
XZ_MEMORY = 256 << 20
"""Bytes that unpacking xz may take: a header can ask for 4 GiB. `xz -9` needs 65 MiB."""


class ArchiveError(ValueError):
    """The file is not an archive that can be used; the message says why, and not which file."""


class _Decompressor(Protocol):
    """As the standard library's bz2 and lzma have it."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, /, max_length: int = -1) -> bytes: ...


class _Gzip:
    """zlib's decompressor, shaped as the others are."""

    def __init__(self) -> None:
        self._zlib = zlib.decompressobj(wbits=31)  # 31: with gzip's header and checksum

    @property
    def eof(self) -> bool:
        return self._zlib.eof

    @property
    def needs_input(self) -> bool:
        return not self._zlib.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._zlib.unused_data

    def decompress(self, data: bytes, /, max_length: int = -1) -> bytes:
        return self._zlib.decompress(self._zlib.unconsumed_tail + data, max_length)


def open_stream(file: io.RawIOBase) -> Iterator[bytes]:
    """The bytes of the tar archive in `file`, in pieces of up to 1 MiB. Raises ArchiveError, now or on the way."""
    return decompress(iter(lambda: file.read(CHUNK) or b"", b""))


def decompress(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The bytes of a tar archive, whatever `pieces` are compressed with. Raises ArchiveError, now or on the way."""
    first = b""
    while len(first) < 512 and (piece := next(pieces, b"")):
        first += piece
    if not first:
        raise ArchiveError("it is empty (0 bytes)")
    for magic, at, what in _OTHERS:
        if first[at : at + len(magic)] == magic:
            raise ArchiveError(f"it is {what}, not a tar archive of a root file system")
    pieces = itertools.chain((first,), pieces)
    for magic, name, new in _COMPRESSIONS:
        if first.startswith(magic):
            return _decompress(pieces, name, new())
    return pieces


def is_compressed(first: bytes) -> bool:
    """Whether a file that begins so is compressed with what is read here."""
    return any(first.startswith(magic) for magic, _, _ in _COMPRESSIONS)


_OTHERS = (
    (b"PK\3\4", 0, "a zip archive"),
    (b"\x7fELF", 0, "a program (ELF)"),
    (b"hsqs", 0, "a squashfs image"),
    (b"070701", 0, "a cpio archive"),
    (b"QFI\xfb", 0, "a disk image (qcow2)"),
    (b"\x55\xaa", 510, "a disk image (with a boot sector)"),
    (b"\x04\x22\x4d\x18", 0, "compressed with lz4 (gzip, bzip2, xz and zstd are read)"),
    (b"LZIP", 0, "compressed with lzip (gzip, bzip2, xz and zstd are read)"),
    (b"#!", 0, "a script"),
)


def _decompress(pieces: Iterator[bytes], name: str, new: Callable[[], _Decompressor]) -> Iterator[bytes]:
    """Undo the compression, of several streams one after the other too (`cat a.gz b.gz`, pigz, pixz)."""
    engine = new()
    data = next(pieces, b"")
    while True:
        try:
            piece = engine.decompress(data, CHUNK)
        except (OSError, ValueError, EOFError, MemoryError, zlib.error, lzma.LZMAError, _zstd().ZstdError) as error:
            raise ArchiveError(f"its {name} compression is damaged ({error})") from error
        if piece:
            yield piece
        if engine.eof:
            # Zeros may follow: a block device, a tape or xz's stream padding.
            data = engine.unused_data.lstrip(b"\0")
            while not data:
                if not (read := next(pieces, b"")):
                    return
                data = read.lstrip(b"\0")
            engine = new()
        elif engine.needs_input:
            data = next(pieces, b"")
            if not data and not piece:
                raise ArchiveError(f"it is cut off: its {name} compression has no end")
        else:
            data = b""


def _zstd() -> Any:
    """The module, imported when it is wanted: most archives want it not."""
    if sys.version_info >= (3, 14):
        return importlib.import_module("compression.zstd")
    return importlib.import_module("backports.zstd")


_COMPRESSIONS: tuple[tuple[bytes, str, Callable[[], Callable[[], _Decompressor]]], ...] = (
    (b"\x1f\x8b", "gzip", lambda: _Gzip),
    (b"BZh", "bzip2", lambda: bz2.BZ2Decompressor),
    (b"\xfd7zXZ\0", "xz", lambda: lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=XZ_MEMORY)),
    (b"\x28\xb5\x2f\xfd", "zstd", lambda: _zstd().ZstdDecompressor),
    (b"\x50\x2a\x4d\x18", "zstd", lambda: _zstd().ZstdDecompressor),  # a skippable frame (RFC 8878), as of pzstd
)
"""How a file of each begins, and what gives a decompressor, one for each stream in it."""
