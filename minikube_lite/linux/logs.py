"""Writes a container's output in the CRI log format, in a bounded ring of files. Called by the shim; read by the node.

A line is `2026-01-01T00:00:00.000000000Z stdout F text`: time (UTC), stream, F for a full line or P for a part of
one (longer than 16 KiB, or not ended yet), as the kubelet reads it (CRI, kubelet's `logs.go`). The newest file is
`path`, older ones are `path.1`, `path.2`…; together they never hold more than maxFiles × maxBytes.
A disk that is full, or a directory that is gone, loses lines and nothing else: they are counted, and the next try
is the next write.
"""

from __future__ import annotations

import os
from time import gmtime, strftime, time_ns

MAX_LINE = 16384
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW


class LogRing:
    """`max_bytes` is the size of one file, `max_files` how many there are with the newest."""

    __slots__ = ("_fd", "_size", "lost", "max_bytes", "max_files", "path")

    def __init__(self, path: str, max_bytes: int, max_files: int) -> None:
        self.path, self.max_bytes, self.max_files = path, max(max_bytes, 1), max(max_files, 1)
        self._fd, self._size = -1, 0
        self.lost = 0
        """Records that could not be written."""

    def open(self) -> None:
        """Open (and go on after what an earlier run wrote). Raises OSError."""
        self._fd = os.open(self.path, _FLAGS, 0o640)
        self._size = os.fstat(self._fd).st_size

    def write(self, records: list[bytes]) -> None:
        """Append these whole records, each in one file; never raises OSError."""
        batch: list[bytes] = []
        size = 0
        for record in records:
            if self._size + size + len(record) > self.max_bytes and self._size + size > 0:
                self._append(batch, size)
                batch, size = [], 0
                self._rotate()
            if len(record) > self.max_bytes:
                self.lost += 1
                continue
            batch.append(record)
            size += len(record)
        self._append(batch, size)

    def _append(self, batch: list[bytes], size: int) -> None:
        if not batch:
            return
        try:
            if self._fd < 0:
                self.open()
            written = os.write(self._fd, b"".join(batch))
            if written < size:  # the disk filled up on the way: leave no half a record behind
                os.ftruncate(self._fd, self._size)
                self.lost += len(batch)
            else:
                self._size += size
        except OSError:
            self.lost += len(batch)

    def _rotate(self) -> None:
        """Every file gets one older, the oldest is replaced; without room for two the only one starts anew."""
        self.close()
        try:
            if self.max_files == 1:
                os.truncate(self.path, 0)
            for age in range(self.max_files - 1, 0, -1):
                newer = f"{self.path}.{age - 1}" if age > 1 else self.path
                if os.path.lexists(newer):
                    os.rename(newer, f"{self.path}.{age}")
        except OSError:
            pass  # then the file at `path` goes on, or the next write counts what it loses
        try:
            self.open()
        except OSError:
            self._size = 0

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1


class LogStream:
    """One of the two streams of a container: cuts what comes out of its pipe into records."""

    __slots__ = ("_head", "_part", "_second", "name", "ring")

    def __init__(self, ring: LogRing, name: str) -> None:
        self.ring, self.name = ring, name.encode()
        self._part = b""
        self._second, self._head = -1, b""

    @property
    def pending(self) -> bool:
        """Whether the start of a line waits for its end."""
        return bool(self._part)

    def feed(self, data: bytes) -> None:
        """Write the lines that are complete; keep the start of the last one."""
        lines = (self._part + data).split(b"\n")
        self._part = lines.pop()
        stamp = self._stamp()
        records: list[bytes] = []
        for line in lines:
            while len(line) > MAX_LINE:
                records.append(stamp + b"P " + line[:MAX_LINE] + b"\n")
                line = line[MAX_LINE:]
            records.append(stamp + b"F " + line + b"\n")
        while len(self._part) > MAX_LINE:
            records.append(stamp + b"P " + self._part[:MAX_LINE] + b"\n")
            self._part = self._part[MAX_LINE:]
        self.ring.write(records)

    def flush(self) -> None:
        """Write the start of a line whose end does not come, so that a prompt is seen and nothing is lost."""
        if self._part:
            self.ring.write([self._stamp() + b"P " + self._part + b"\n"])
            self._part = b""

    def _stamp(self) -> bytes:
        second, nano = divmod(time_ns(), 1_000_000_000)
        if second != self._second:
            self._second, self._head = second, strftime("%Y-%m-%dT%H:%M:%S.", gmtime(second)).encode()
        return self._head + b"%09dZ " % nano + self.name + b" "
