"""A container's log, read as `kubectl logs` shows it."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from minikube_lite.api import log_reader
from minikube_lite.api.log_reader import LogOptions, nanoseconds, read_log
from minikube_lite.node.service import LogFiles, ServiceError


def record(text: str, second: int = 0, stream: str = "stdout", tag: str = "F") -> str:
    return f"2024-05-01T12:00:{second:02}.123456789Z {stream} {tag} {text}\n"


def write(path: Path, *records: str) -> Path:
    path.write_text("".join(records))
    return path


async def read(*files: Path, **options: object) -> str:
    found = LogFiles(files, running=False)
    chunks = [chunk async for chunk in read_log(lambda: found, LogOptions(**options))]  # type: ignore[arg-type]
    return b"".join(chunks).decode()


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return write(tmp_path / "0.log", *(record(f"line {n}", n) for n in range(5)))


async def test_a_log_is_its_lines_without_the_records_head(log: Path) -> None:
    assert await read(log) == "line 0\nline 1\nline 2\nline 3\nline 4\n"


async def test_timestamps_stand_before_each_line_as_they_were_written(log: Path) -> None:
    assert (await read(log, timestamps=True)).splitlines()[1] == "2024-05-01T12:00:01.123456789Z line 1"


async def test_parts_of_a_line_are_joined_under_the_first_ones_time(tmp_path: Path) -> None:
    path = write(tmp_path / "0.log", record("one ", 1, tag="P"), record("two ", 2, tag="P"), record("three", 3))
    assert await read(path, timestamps=True) == "2024-05-01T12:00:01.123456789Z one two three\n"


async def test_the_other_stream_never_lands_within_a_line(tmp_path: Path) -> None:
    path = write(tmp_path / "0.log", record("prompt> ", tag="P"), record("oops", stream="stderr"), record("rest"))
    assert await read(path) == "prompt> \noops\nrest\n"


async def test_empty_lines_and_carriage_returns_are_kept(tmp_path: Path) -> None:
    path = write(tmp_path / "0.log", record(""), record("a\rb\r"), record("  two  spaces "))
    assert await read(path) == "\na\rb\r\n  two  spaces \n"


async def test_bytes_that_are_not_utf8_pass_unharmed(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    path.write_bytes(b"2024-05-01T12:00:00Z stdout F \xff\xfe\x00\n")
    found = LogFiles((path,), running=False)
    assert b"".join([chunk async for chunk in read_log(lambda: found, LogOptions())]) == b"\xff\xfe\x00\n"


async def test_a_record_cut_short_by_a_full_disk_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    path.write_text("2024-05-01T12\n" + record("whole"))
    assert await read(path) == "whole\n"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"tail_lines": 0}, []),
        ({"tail_lines": 1}, ["line 4"]),
        ({"tail_lines": 3}, ["line 2", "line 3", "line 4"]),
        ({"tail_lines": 5}, [f"line {n}" for n in range(5)]),
        ({"tail_lines": 99}, [f"line {n}" for n in range(5)]),
        ({"since": nanoseconds("2024-05-01T12:00:03Z")}, ["line 3", "line 4"]),
        ({"since": nanoseconds("2024-05-01T12:00:03.123456789Z")}, ["line 3", "line 4"]),
        ({"since": nanoseconds("2024-05-01T12:00:03.123456790Z")}, ["line 4"]),
        ({"since": nanoseconds("2024-05-01T14:00:04+02:00")}, ["line 4"]),
        ({"since": nanoseconds("2024-05-01T12:00:01Z"), "tail_lines": 2}, ["line 3", "line 4"]),
        ({"limit_bytes": 9}, ["line 0", "li"]),
        ({"limit_bytes": 7}, ["line 0"]),
    ],
)
async def test_only_what_was_asked_for_is_shown(log: Path, options: dict[str, int], expected: list[str]) -> None:
    assert (await read(log, **options)).splitlines() == expected


async def test_a_tail_reaches_back_into_older_files_of_the_ring(tmp_path: Path) -> None:
    older = write(tmp_path / "0.log.1", record("a"), record("b"), record("c"))
    newer = write(tmp_path / "0.log", record("d"))
    assert await read(older, newer, tail_lines=3) == "b\nc\nd\n"
    assert await read(older, newer) == "a\nb\nc\nd\n"


async def test_a_tail_counts_lines_not_records(tmp_path: Path) -> None:
    path = write(tmp_path / "0.log", record("1"), record("2a", tag="P"), record("2b"), record("3", tag="P"))
    assert await read(path, tail_lines=2) == "2a2b\n3"


@pytest.mark.parametrize("count", [1, 10, 700, 1999])
async def test_a_tail_is_right_whatever_the_block_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    monkeypatch.setattr(log_reader, "BLOCK", 64 + count)
    texts = [f"{n} " + "x" * (n * 7 % 300) for n in range(2000)]
    path = write(tmp_path / "0.log", *map(record, texts))
    assert (await read(path, tail_lines=count)).splitlines() == texts[-count:]


async def test_a_tail_of_a_huge_log_does_not_read_its_beginning(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    with path.open("wb") as file:
        file.truncate(1 << 40)  # a terabyte of nothing, which no test could read
        file.seek(0, os.SEEK_END)
        file.write(b"\n" + "".join(record(f"line {n}") for n in range(3)).encode())
    assert await read(path, tail_lines=2) == "line 1\nline 2\n"


async def test_a_log_that_is_not_there_yet_is_empty(tmp_path: Path) -> None:
    assert await read(tmp_path / "0.log") == ""
    assert await read(tmp_path / "0.log", tail_lines=4) == ""


class Container:
    """A container that writes; `find` is what the node says of it."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "0.log"
        self.path.touch()
        self.running = True
        self.gone = False

    def find(self) -> LogFiles:
        if self.gone:
            raise ServiceError(404, "NotFound", 'pods "web" not found')
        older = sorted(self.path.parent.glob(f"{self.path.name}.*"), reverse=True)
        return LogFiles((*older, self.path), self.running)

    def say(self, text: str) -> None:
        with self.path.open("a") as file:
            file.write(record(text))

    def rotate(self, keep: int = 3) -> None:
        (self.path.parent / f"{self.path.name}.{keep}").unlink(missing_ok=True)
        for number in range(keep - 1, 0, -1):
            older = self.path.parent / f"{self.path.name}.{number}"
            if older.exists():
                older.rename(self.path.parent / f"{self.path.name}.{number + 1}")
        self.path.rename(self.path.parent / f"{self.path.name}.1")
        self.path.touch()


class Follower:
    """Somebody who follows a container's log."""

    def __init__(self, container: Container, **options: object) -> None:
        self.chunks = read_log(container.find, LogOptions(follow=True, **options))  # type: ignore[arg-type]

    async def next(self) -> str:
        async with asyncio.timeout(10):
            return (await anext(self.chunks)).decode()

    async def rest(self) -> str:
        async with asyncio.timeout(10):
            return b"".join([chunk async for chunk in self.chunks]).decode()


@pytest.fixture
def container(tmp_path: Path) -> Container:
    return Container(tmp_path)


async def test_following_shows_what_is_written_later(container: Container) -> None:
    container.say("one")
    follower = Follower(container)
    assert await follower.next() == "one\n"
    container.say("two")
    assert await follower.next() == "two\n"
    await follower.chunks.aclose()


async def test_following_ends_with_the_containers_last_words(container: Container) -> None:
    follower = Follower(container)
    container.say("one")
    assert await follower.next() == "one\n"
    container.say("last")
    container.running = False
    assert await follower.rest() == "last\n"


async def test_following_goes_through_rotations_and_loses_nothing(container: Container) -> None:
    follower = Follower(container)
    seen = ""
    for number in range(6):
        container.say(f"{number}a")
        seen += await follower.next()
        container.say(f"{number}b")  # written before the renaming, not yet read
        container.rotate()
        container.say(f"{number}c")
        while f"{number}c" not in seen:
            seen += await follower.next()
    container.running = False
    assert seen + await follower.rest() == "".join(f"{n}a\n{n}b\n{n}c\n" for n in range(6))


async def test_following_ends_where_the_pod_is_gone(container: Container) -> None:
    follower = Follower(container)
    container.say("one")
    assert await follower.next() == "one\n"
    container.gone = True
    assert await follower.rest() == ""


async def test_following_ends_where_the_container_has_been_started_anew(container: Container) -> None:
    follower = Follower(container)
    container.say("first run")
    assert await follower.next() == "first run\n"
    container.path = container.path.with_name("1.log")
    container.say("second run")
    assert await follower.rest() == ""


async def test_following_shows_half_a_record_once_it_is_whole(container: Container) -> None:
    follower = Follower(container)
    container.say("one")
    assert await follower.next() == "one\n"
    whole = record("two")
    with container.path.open("a", buffering=1) as file:
        file.write(whole[:20])
        file.flush()
        await asyncio.sleep(0)
        file.write(whole[20:])
    assert await follower.next() == "two\n"
    await follower.chunks.aclose()


async def test_a_reader_leaves_no_descriptor_open(container: Container) -> None:
    before = len(os.listdir("/proc/self/fd"))
    follower = Follower(container)
    container.say("one")
    await follower.next()
    container.rotate()
    container.say("two")
    await follower.next()
    await follower.chunks.aclose()
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("stamp", ["", "yesterday", "2024-05-01", "2024-05-01T12:00:00", "2024-05-01T12:00:00.Z", "12"])
def test_a_time_that_is_not_rfc_3339_is_refused(stamp: str) -> None:
    with pytest.raises(ValueError):
        nanoseconds(stamp)
