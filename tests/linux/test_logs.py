"""The CRI log format, and a ring of files that never grows past its bound."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from minikube_lite.linux.logs import MAX_LINE, LogRing, LogStream

STAMP = re.compile(rb"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z ")


def records(path: Path) -> list[bytes]:
    """The records without their time, whose form is checked."""
    lines = path.read_bytes().splitlines()
    assert all(STAMP.match(line) for line in lines)
    return [STAMP.sub(b"", line) for line in lines]


@pytest.fixture
def ring(tmp_path: Path) -> LogRing:
    return LogRing(str(tmp_path / "log"), 1 << 20, 3)


def test_every_line_is_a_full_record(ring: LogRing, tmp_path: Path) -> None:
    LogStream(ring, "stdout").feed(b"one\n\nthree\n")
    assert records(tmp_path / "log") == [b"stdout F one", b"stdout F ", b"stdout F three"]


def test_a_line_that_comes_in_parts_is_one_record(ring: LogRing, tmp_path: Path) -> None:
    stream = LogStream(ring, "stderr")
    for part in (b"on", b"e", b" line\nrest"):
        stream.feed(part)
    assert records(tmp_path / "log") == [b"stderr F one line"]
    assert stream.pending


def test_a_line_without_an_end_is_written_as_a_part(ring: LogRing, tmp_path: Path) -> None:
    stream = LogStream(ring, "stdout")
    stream.feed(b"Password: ")
    stream.flush()
    stream.feed(b"ok\n")
    stream.flush()
    assert records(tmp_path / "log") == [b"stdout P Password: ", b"stdout F ok"]


@pytest.mark.parametrize(
    ("length", "expected"),
    [
        (MAX_LINE, [("F", MAX_LINE)]),
        (MAX_LINE + 1, [("P", MAX_LINE), ("F", 1)]),
        (2 * MAX_LINE + 5, [("P", MAX_LINE), ("P", MAX_LINE), ("F", 5)]),
    ],
)
def test_a_long_line_is_cut_into_parts(
    ring: LogRing, tmp_path: Path, length: int, expected: list[tuple[str, int]]
) -> None:
    stream = LogStream(ring, "stdout")
    data = b"x" * length + b"\n"
    for at in range(0, len(data), 1000):
        stream.feed(data[at : at + 1000])
    found = [(record.split(b" ")[1].decode(), len(record.split(b" ")[2])) for record in records(tmp_path / "log")]
    assert found == expected


def test_the_ring_holds_no_more_than_its_files_and_always_the_newest_lines(tmp_path: Path) -> None:
    ring = LogRing(str(tmp_path / "log"), 1000, 3)
    stream = LogStream(ring, "stdout")
    for number in range(500):
        stream.feed(b"line %d\n" % number)
    assert sorted(os.listdir(tmp_path)) == ["log", "log.1", "log.2"]
    assert all((tmp_path / name).stat().st_size <= 1000 for name in os.listdir(tmp_path))
    kept = [record for name in ("log.2", "log.1", "log") for record in records(tmp_path / name)]
    numbers = [int(record.split()[-1]) for record in kept]
    assert numbers == list(range(numbers[0], 500))
    assert len(numbers) > 40
    assert ring.lost == 0


def test_one_file_starts_anew_when_it_is_full(tmp_path: Path) -> None:
    ring = LogRing(str(tmp_path / "log"), 100, 1)
    for number in range(10):
        LogStream(ring, "stdout").feed(b"line %d\n" % number)
    assert os.listdir(tmp_path) == ["log"]
    assert records(tmp_path / "log")[-1] == b"stdout F line 9"
    assert (tmp_path / "log").stat().st_size <= 100


def test_a_later_run_goes_on_after_what_is_there(tmp_path: Path) -> None:
    for word in (b"first\n", b"second\n"):
        ring = LogRing(str(tmp_path / "log"), 1000, 3)
        LogStream(ring, "stdout").feed(word)
        ring.close()
    assert records(tmp_path / "log") == [b"stdout F first", b"stdout F second"]


@pytest.mark.root
def test_a_full_disk_loses_whole_lines_until_there_is_room_again(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    assert os.system(f"mount -t tmpfs -o size=64k tmpfs {small}") == 0
    try:
        ring = LogRing(str(small / "log"), 1 << 20, 2)
        stream = LogStream(ring, "stdout")
        for number in range(3000):
            stream.feed(b"line number %d\n" % number)
        assert ring.lost > 0
        kept = records(small / "log")
        assert all(re.fullmatch(rb"stdout F line number \d+", record) for record in kept)
        ring.write([])
        os.truncate(small / "log", 0)
        stream.feed(b"back\n")
        assert records(small / "log") == [b"stdout F back"]
        ring.close()
    finally:
        assert os.system(f"umount {small}") == 0
