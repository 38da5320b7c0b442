"""Reads a container's log: CRI-format files in, plain lines out. Called by `logs`; knows nothing of HTTP.

A record is `<RFC 3339 time> <stdout|stderr> <F|P> <text>`; P says that the line goes on in the next record
(https://github.com/kubernetes/design-proposals-archive/blob/main/node/kubelet-cri-logging.md). The file being
written keeps its name for as long as the container runs; full ones are renamed, the oldest is dropped.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import ExitStack, aclosing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from minikube_lite.node.service import LogFiles, ServiceError

BLOCK = 64 * 1024
"""Bytes read at a time, so that a huge log neither fills the memory nor holds the loop."""
POLL = 0.1
"""Seconds between looks at the file, only while somebody follows."""


@dataclass(frozen=True, slots=True)
class LogOptions:
    """As Kubernetes' PodLogOptions."""

    follow: bool = False
    timestamps: bool = False
    tail_lines: int | None = None
    since: int | None = None
    """Nanoseconds since the epoch: only records of that instant and later."""
    limit_bytes: int | None = None


def nanoseconds(stamp: str) -> int:
    """RFC 3339 with up to nine digits of a second, as nanoseconds since the epoch. Raises ValueError."""
    whole, dot, rest = stamp.partition(".")
    digits = rest[: len(rest) - len(rest.lstrip("0123456789"))]
    zone = rest[len(digits) :] if dot else ""
    moment = datetime.fromisoformat(whole + zone)
    if moment.tzinfo is None or (dot and not digits):
        raise ValueError(f"{stamp!r} is not an RFC 3339 time")
    return int(moment.timestamp()) * 10**9 + int(digits[:9].ljust(9, "0") or 0)


async def read_log(find: Callable[[], LogFiles], options: LogOptions) -> AsyncGenerator[bytes, None]:
    """The log's text in chunks. With `follow` it goes on until the container has stopped, through rotations.

    `find` is asked again at each end of the file. Raises what it raises at first, and OSError.
    """
    left = options.limit_bytes
    lines = _Lines(options)
    async with aclosing(_records(find, options)) as blocks:
        async for records in blocks:
            chunk = lines.text(records)
            if left is not None:
                chunk = chunk[:left]
                left -= len(chunk)
            if chunk:
                yield chunk
            if left == 0:
                return


class _Lines:
    """Records → text. A time stamp stands where a line begins, not where its parts do."""

    def __init__(self, options: LogOptions) -> None:
        self.options = options
        self.stream = b""
        """Whose line is open ("": none)."""

    def text(self, records: Sequence[bytes]) -> bytes:
        parts: list[bytes] = []
        for record in records:
            fields = record.split(b" ", 3)
            if len(fields) < 3 or fields[1] not in (b"stdout", b"stderr"):
                continue  # a record cut short by a full disk or a crash
            stamp, stream, tag = fields[:3]
            if self.options.since is not None and not self._recent(stamp):
                continue
            if self.stream and self.stream != stream:  # the other stream cuts in: its text is a line of its own
                parts.append(b"\n")
                self.stream = b""
            if not self.stream and self.options.timestamps:
                parts += (stamp, b" ")
            parts.append(fields[3] if len(fields) == 4 else b"")
            if _goes_on([tag]):
                self.stream = stream
            else:
                parts.append(b"\n")
                self.stream = b""
        return b"".join(parts)

    def _recent(self, stamp: bytes) -> bool:
        assert self.options.since is not None
        try:
            return nanoseconds(stamp.decode("ascii", "replace")) >= self.options.since
        except ValueError:
            return True


def _goes_on(tag: Sequence[bytes]) -> bool:
    return bool(tag) and tag[0].split(b":")[0] == b"P"  # a tag may have more, after colons


async def _records(find: Callable[[], LogFiles], options: LogOptions) -> AsyncGenerator[list[bytes], None]:
    """Whole records, block by block, over all files."""
    found = find()
    run = found.files[-1:]
    start, offset = 0, 0
    if options.tail_lines is not None:
        start, offset = await asyncio.to_thread(_tail, found.files, options.tail_lines)
    rest = b""
    with ExitStack() as stack:
        file = _open_newer(stack, None, found.files[start:])
        newer: BinaryIO | None = None
        if file is not None:
            file.seek(offset)
        while True:
            running = found.running  # known before the read, so that the last words are read, too
            while file is not None and (block := file.read(BLOCK)):
                whole, _, rest = (rest + block).rpartition(b"\n")
                yield whole.split(b"\n")
                await asyncio.sleep(0)  # a long log must not hold the loop
            if newer is None:
                newer = _open_newer(stack, file, found.files)
                if newer is not None and file is not None:
                    continue  # the old one may have been written to between our last read and its renaming
            if newer is not None:
                if rest:
                    yield [rest]
                if file is not None:
                    file.close()
                file, newer, rest = newer, None, b""
                continue
            if not (options.follow and running):
                if rest:
                    yield [rest]
                return
            await asyncio.sleep(POLL)
            found = _find_again(find, run)


def _find_again(find: Callable[[], LogFiles], run: tuple[Path, ...]) -> LogFiles:
    """The same run's files; none where the pod is gone or the container has been started anew."""
    try:
        found = find()
    except ServiceError:
        return LogFiles((), running=False)
    return found if found.files[-1:] == run else LogFiles((), running=False)


def _open_newer(stack: ExitStack, file: BinaryIO | None, files: Sequence[Path]) -> BinaryIO | None:
    """The file after ours, by inode, since names move on; the oldest where ours is not among them any more."""
    with ExitStack() as opened:
        candidates = [found for path in files if (found := _open(opened, path))]
        if file is not None:
            ours = os.fstat(file.fileno())
            for index, other in enumerate(candidates):
                if os.path.samestat(ours, os.fstat(other.fileno())):
                    del candidates[: index + 1]
                    break
        if not candidates:
            return None
        return stack.enter_context(open(os.dup(candidates[0].fileno()), "rb", buffering=0))


def _open(stack: ExitStack, path: Path) -> BinaryIO | None:
    """Unbuffered; None where it has just been dropped from the ring."""
    try:
        return stack.enter_context(open(path, "rb", buffering=0))
    except FileNotFoundError:
        return None


def _tail(files: Sequence[Path], count: int) -> tuple[int, int]:
    """(index of the file, offset in it) where the last `count` lines begin. Reads from the end, block by block."""
    place: tuple[int, int] | None = None
    ends = 0
    with ExitStack() as stack:
        for index in reversed(range(len(files))):
            file = _open(stack, files[index])
            if file is None:
                continue
            if place is None and count == 0:
                return index, file.seek(0, os.SEEK_END)
            for offset, record in _backwards(file):
                if place is None or not _goes_on(record.split(b" ", 3)[2:3]):
                    ends += 1
                    if ends > count and place is not None:
                        return place
                place = (index, offset)
    return place or (0, 0)


def _backwards(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """(offset, record), the last record first."""
    end, rest = file.seek(0, os.SEEK_END), b""
    while end > 0:
        begin = max(0, end - BLOCK)
        file.seek(begin)
        data = file.read(end - begin) + rest
        cut = data.find(b"\n") + 1 if begin else 0  # before it: a record that begins in an earlier block
        if begin and not cut:
            rest, end = data, begin
            continue
        position = begin + len(data)
        for record in reversed(data[cut:].split(b"\n")):
            position -= len(record)
            if record:
                yield position, record
            position -= 1
        rest, end = data[:cut], begin
