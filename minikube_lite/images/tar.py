"""Reads the members of a tar archive from a stream, forwards only. Called by unpack.

Knows v7, ustar, GNU (long names, sparse) and pax (POSIX.1-2001, with GNU's sparse 0.0, 0.1 and 1.0 and SCHILY.xattr):
what `docker export`, GNU tar and bsdtar write. The standard library's tarfile is not used, since it takes a damaged
header for the end, and reads headers of any size and depth into memory: an attacker may have written them.
Formats: tar(5) of libarchive; "Basic Tar Format" and "Storing Sparse Files" in GNU tar's manual.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from dataclasses import dataclass, field

from minikube_lite.images.archive import ArchiveError

BLOCK = 512
HEADER_MAX = 1 << 20
"""Bytes of one extended header or sparse map. Linux allows 4 KiB of name and 64 KiB per extended attribute."""

FILE, LINK, SYMLINK, CHARACTER, BLOCK_DEVICE, DIRECTORY, FIFO = b"0", b"1", b"2", b"3", b"4", b"5", b"6"
_KINDS = {kind: kind for kind in (FILE, LINK, SYMLINK, CHARACTER, BLOCK_DEVICE, DIRECTORY, FIFO)}
_KINDS |= {b"\0": FILE, b"7": FILE, b"S": FILE, b"D": DIRECTORY}
_PAX, _PAX_FOR_ALL, _LONG_NAME, _LONG_LINK, _LABEL = (b"x", b"X"), b"g", b"L", b"K", b"V"
_XATTR = "SCHILY.xattr."
_ZEROS = bytes(BLOCK)
_TIME_LIMIT = 1 << 62


@dataclass(slots=True)
class Member:
    """One entry of the archive. Names are bytes, as the kernel's."""

    name: bytes
    kind: bytes
    mode: int
    uid: int
    gid: int
    size: int
    """Bytes of data that follow in the archive."""
    mtime_ns: int
    link: bytes
    major: int = 0
    minor: int = 0
    xattrs: dict[str, bytes] = field(default_factory=dict)
    real_size: int = 0
    """Bytes of the file: more than `size` if it is sparse."""
    pieces: list[tuple[int, int]] | None = None
    """Where the data of a sparse file goes: (offset, length) each."""


class Reader:
    """A stream of pieces of any size, read as a file is; never holds more than one piece."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._piece = memoryview(b"")

    def some(self, size: int) -> memoryview:
        """At least one byte, at most `size` > 0; none only at the end of the stream."""
        while not self._piece:
            piece = next(self._pieces, None)
            if piece is None:
                break
            self._piece = memoryview(piece)
        got, self._piece = self._piece[:size], self._piece[size:]
        return got

    def up_to(self, size: int) -> bytes:
        """`size` bytes, fewer only at the end of the stream."""
        got = bytes(self.some(size))
        while len(got) < size and (more := self.some(size - len(got))):
            got += more
        return got

    def data(self, size: int) -> Iterator[memoryview]:
        """Exactly the next `size` bytes, in pieces."""
        while size:
            if not (got := self.some(size)):
                raise ArchiveError("it is cut off in the middle")
            size -= len(got)
            yield got

    def skip(self, size: int) -> None:
        for _ in self.data(size):
            pass


class SeekingReader(Reader):
    """A file that is read from its start, and jumps over what is skipped."""

    def __init__(self, file: io.RawIOBase) -> None:
        super().__init__(iter(lambda: file.read(1 << 16) or b"", b""))
        self._file = file
        self._size = file.seek(0, os.SEEK_END)
        file.seek(0)

    @property
    def position(self) -> int:
        """Where the next byte to read is in the file."""
        return self._file.tell() - len(self._piece)

    def skip(self, size: int) -> None:
        if size <= len(self._piece):
            self._piece = self._piece[size:]
            return
        to = self.position + size
        if to > self._size:
            raise ArchiveError("it is cut off in the middle")
        self._piece = memoryview(b"")
        self._file.seek(to)


def members(reader: Reader, end_mark: bool = True) -> Iterator[Member]:
    """Each member in turn; the caller reads its data, exactly `size` bytes, from `reader` before it asks for the next.

    Raises ArchiveError where the archive is damaged, or ends without its end mark. That, and the padding
    before it, may be missing only with `end_mark` false: where a digest tells whether it is whole. `umoci insert` does
    not write them, and Go's tar reader, by which others read layers, does not miss them.
    """
    for_all: dict[str, bytes] = {}
    pax: dict[str, bytes] = {}
    names: dict[bytes, bytes] = {}
    first = True
    while (block := reader.up_to(BLOCK)) != _ZEROS:
        if not block and not end_mark:
            return
        if len(block) < BLOCK:
            raise ArchiveError("it is not a tar archive" if first else "it is cut off: its end mark is missing")
        try:
            kind, member = _header(block, first)
            first = False
            if kind in _PAX:
                pax = _records(_text(reader, member))
            elif kind == _PAX_FOR_ALL:
                for_all |= _records(_text(reader, member))
                if len(for_all) > 100:
                    raise ArchiveError("it has too many global headers")
            elif kind in (_LONG_NAME, _LONG_LINK):
                names[kind] = _text(reader, member).split(b"\0", 1)[0]
            else:
                member.name, member.link = names.get(_LONG_NAME, member.name), names.get(_LONG_LINK, member.link)
                _extend(member, {key: value for key, value in (for_all | pax).items() if value})
                padding = -member.size % BLOCK
                _find_pieces(reader, member, for_all | pax, block if kind == b"S" else b"")
                if kind != _LABEL:
                    member.kind = _kind(kind, member)
                    if member.kind != FILE:  # no data, whatever the size says; except of a GNU dump directory
                        stored, member.size = member.size if kind == b"D" else 0, 0
                        reader.skip(stored)
                        padding = -stored % BLOCK
                    yield member
                if len(reader.up_to(padding)) < padding and end_mark:
                    raise ArchiveError("it is cut off in the middle")
                pax, names = {}, {}
        except (ValueError, LookupError) as error:
            if isinstance(error, ArchiveError):
                raise
            raise ArchiveError(f"it is damaged: {error}") from error
    while reader.some(1 << 20):  # to the end of the stream, where a checksum of the compression may be
        pass


def _header(block: bytes, first: bool) -> tuple[bytes, Member]:
    """The fields of a header block; the type flag as it stands there."""
    try:
        ok = int(block[148:156].strip(b"\0 "), 8) == sum(block) - sum(block[148:156]) + 8 * 32
    except ValueError:
        ok = False
    if not ok:
        raise ArchiveError("it is not a tar archive" if first else "it is damaged: a header has a wrong checksum")
    name = block[:100].split(b"\0", 1)[0]
    kind, magic = block[156:157], block[257:265]
    prefix = block[345:500].split(b"\0", 1)[0] if magic[:6] == b"ustar\0" else b""
    mtime = max(-_TIME_LIMIT, min(_TIME_LIMIT, _number(block[136:148]) * 1_000_000_000))
    size, special = _number(block[124:136]), kind in (CHARACTER, BLOCK_DEVICE)
    return kind, Member(
        name=prefix + b"/" + name if prefix else name,
        kind=kind,
        mode=_number(block[100:108]) & 0o7777,
        uid=_number(block[108:116]),
        gid=_number(block[116:124]),
        size=size,
        mtime_ns=mtime,
        link=block[157:257].split(b"\0", 1)[0],
        major=_number(block[329:337]) if special else 0,
        minor=_number(block[337:345]) if special else 0,
        real_size=size,
    )


def _kind(flag: bytes, member: Member) -> bytes:
    if flag not in _KINDS:
        raise ArchiveError(f"it has a member of a kind that is not known: {flag!r}")
    # Before POSIX a directory was a file whose name ends in a slash.
    return DIRECTORY if flag in (b"\0", FILE) and member.name.endswith(b"/") else _KINDS[flag]


def _number(text: bytes) -> int:
    """Octal digits; or, where the first bit is set, big-endian binary (GNU)."""
    if text[0] & 0x80:
        return int.from_bytes(text, signed=True) if text[0] == 0xFF else int.from_bytes(text[1:])
    return int(text.split(b"\0", 1)[0].strip() or b"0", 8)


def _text(reader: Reader, member: Member) -> bytes:
    """The body of an extended header."""
    if not 0 <= member.size <= HEADER_MAX:
        raise ArchiveError(f"it has an extended header of {member.size} bytes")
    text = b"".join(reader.data(member.size))
    reader.skip(-member.size % BLOCK)
    return text


def _records(text: bytes) -> dict[str, bytes]:
    """The records `LENGTH KEY=VALUE\\n` of a pax header. An empty value takes a key back."""
    records: dict[str, bytes] = {}
    pairs: list[bytes] = []
    at = 0
    while at < len(text):
        space = text.index(b" ", at)
        end = at + int(text[at:space])
        key, equals, value = text[space + 1 : end - 1].partition(b"=")
        if not equals or text[end - 1 : end] != b"\n" or end <= space:
            raise ArchiveError("it is damaged: a pax header has a wrong length")
        if key in (b"GNU.sparse.offset", b"GNU.sparse.numbytes"):  # version 0.0 repeats them, in turn
            pairs.append(value)
        records[key.decode("utf-8", "surrogateescape")] = value
        at = end
    if pairs:
        records["GNU.sparse.map"] = b",".join(pairs)
    return records


def _extend(member: Member, pax: dict[str, bytes]) -> None:
    """What a pax header says is more exact than the header block."""
    if not pax:
        return
    member.name = pax.get("GNU.sparse.name") or pax.get("path") or member.name
    member.link = pax.get("linkpath") or member.link
    member.uid = int(pax.get("uid", member.uid))
    member.gid = int(pax.get("gid", member.gid))
    member.size = member.real_size = int(pax.get("size", member.size))
    if "mtime" in pax:
        seconds, _, fraction = pax["mtime"].partition(b".")
        nanoseconds = int((fraction + b"000000000")[:9])
        whole = int(seconds or b"0") * 1_000_000_000
        exact = whole - nanoseconds if seconds.startswith(b"-") else whole + nanoseconds
        member.mtime_ns = max(-_TIME_LIMIT, min(_TIME_LIMIT, exact))
    member.xattrs = {key.removeprefix(_XATTR): value for key, value in pax.items() if key.startswith(_XATTR)}


def _find_pieces(reader: Reader, member: Member, pax: dict[str, bytes], old_gnu: bytes) -> None:
    """For a sparse file: where its data goes. Reads the map where it lies before the data."""
    if old_gnu:
        member.real_size = _number(old_gnu[483:495])
        numbers = _old_gnu_map(old_gnu[386:482], old_gnu[482], reader)
    elif "GNU.sparse.map" in pax:
        member.real_size = int(pax["GNU.sparse.size"])
        numbers = [int(number) for number in pax["GNU.sparse.map"].split(b",") if number]
    elif "GNU.sparse.major" in pax:
        member.real_size = int(pax["GNU.sparse.realsize"])
        numbers, read = _map_before_data(reader, member.size)
        member.size -= read
    else:
        if member.size < 0:
            raise ArchiveError("it is damaged: a member has a negative size")
        return
    member.pieces = list(zip(numbers[::2], numbers[1::2], strict=True))
    end = 0
    for offset, length in member.pieces:
        if length < 0 or offset < end:
            raise ArchiveError("it is damaged: a sparse file has its pieces out of order")
        end = offset + length
    if end > member.real_size or sum(length for _, length in member.pieces) != member.size:
        raise ArchiveError("it is damaged: a sparse file and its map differ in size")


def _old_gnu_map(entries: bytes, more: int, reader: Reader) -> list[int]:
    """Entries of 12 + 12 characters, 4 in the header and 21 in each block after it."""
    numbers: list[int] = []
    while True:
        for at in range(0, len(entries), 12):
            if entries[at]:
                numbers.append(_number(entries[at : at + 12]))
        if not more:
            return numbers
        if len(numbers) * 12 > HEADER_MAX:
            raise ArchiveError("it has a sparse file of too many pieces")
        block = b"".join(reader.data(BLOCK))
        entries, more = block[:504], block[504]


def _map_before_data(reader: Reader, size: int) -> tuple[list[int], int]:
    """Version 1.0: decimal numbers, one per line, first how many pairs; and the bytes they took (whole blocks)."""
    text = b""
    wanted = 1
    while text.count(b"\n") < wanted:
        if len(text) >= min(size, HEADER_MAX):
            raise ArchiveError("it is damaged: the map of a sparse file has no end")
        text += b"".join(reader.data(BLOCK))
        if wanted == 1 and b"\n" in text:
            wanted += 2 * int(text[: text.index(b"\n")])
    numbers = [int(line) for line in text.split(b"\n", wanted)[1:wanted]]
    return numbers, len(text)
