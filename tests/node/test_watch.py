"""The watch of the manifests directory, on a real directory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from minikube_lite.node import watch
from minikube_lite.node.manifests import being_written, is_manifest_name
from minikube_lite.node.watch import DirectoryWatch


class Looks:
    def __init__(self) -> None:
        self.seen: list[set[str] | None] = []
        self.unsettled = False

    def __call__(self, names: set[str] | None) -> bool:
        self.seen.append(names)
        return self.unsettled

    @property
    def names(self) -> set[str]:
        return set().union(*(names for names in self.seen if names is not None))


@asynccontextmanager
async def watching(path: Path) -> AsyncIterator[Looks]:
    looks = Looks()
    watcher = DirectoryWatch(path, looks)
    watcher.start()
    try:
        yield looks
    finally:
        watcher.stop()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


async def test_a_file_is_news_when_it_is_closed_moved_in_linked_or_removed(tmp_path: Path) -> None:
    directory, elsewhere = tmp_path / "manifests", tmp_path / "elsewhere"
    directory.mkdir()
    elsewhere.mkdir()
    (directory / "old.yaml").touch()
    async with watching(directory) as looks:
        (directory / "written.yaml").write_text("x")
        (elsewhere / "moved.yaml").write_text("x")
        (elsewhere / "moved.yaml").rename(directory / "moved.yaml")
        (directory / "linked.yaml").symlink_to(elsewhere / "nothing.yaml")
        (directory / "old.yaml").unlink()
        wanted = {"written.yaml", "moved.yaml", "linked.yaml", "old.yaml"}
        await until(lambda: wanted <= looks.names)


async def test_many_files_dropped_at_once_are_few_looks(tmp_path: Path) -> None:
    async with watching(tmp_path) as looks:
        for number in range(200):
            (tmp_path / f"{number}.yaml").write_text("x")
        await until(lambda: len(looks.names) == 200)
        assert len(looks.seen) < 100


async def test_an_unsettled_file_is_looked_at_again(tmp_path: Path) -> None:
    async with watching(tmp_path) as looks:
        looks.unsettled = True
        (tmp_path / "a.yaml").write_text("x")
        await until(lambda: None in looks.seen)


async def test_a_directory_that_vanishes_is_news_and_is_watched_again_when_it_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "POLL", 0.02)
    directory = tmp_path / "manifests"
    directory.mkdir()
    async with watching(directory) as looks:
        directory.rename(tmp_path / "away")
        await until(lambda: None in looks.seen)
        directory.mkdir()
        before = len(looks.seen)
        await until(lambda: len(looks.seen) > before)
        (directory / "new.yaml").write_text("x")
        await until(lambda: "new.yaml" in looks.names or looks.seen.count(None) > before + 1)


async def test_a_directory_that_is_replaced_within_an_instant_is_watched_anew(tmp_path: Path) -> None:
    directory = tmp_path / "manifests"
    directory.mkdir()
    async with watching(directory) as looks:
        directory.rmdir()
        directory.mkdir()  # often with the same inode number
        await until(lambda: None in looks.seen)
        (directory / "new.yaml").write_text("x")
        await until(lambda: "new.yaml" in looks.names)


async def test_a_symlink_to_a_directory_is_followed_and_its_turning_is_news(tmp_path: Path) -> None:
    first, second, link = tmp_path / "first", tmp_path / "second", tmp_path / "manifests"
    first.mkdir()
    second.mkdir()
    link.symlink_to(first)
    async with watching(link) as looks:
        (first / "a.yaml").write_text("x")
        await until(lambda: "a.yaml" in looks.names)
        (tmp_path / "new").symlink_to(second)
        (tmp_path / "new").rename(link)
        await until(lambda: None in looks.seen)
        (second / "b.yaml").write_text("x")
        await until(lambda: "b.yaml" in looks.names)


async def test_a_config_map_volume_that_turns_over_is_news_of_every_file(tmp_path: Path) -> None:
    for version in ("..1", "..2"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "web.yaml").write_text(version)
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "web.yaml").symlink_to("..data/web.yaml")
    async with watching(tmp_path) as looks:
        (tmp_path / "..data_tmp").symlink_to("..2")
        (tmp_path / "..data_tmp").rename(tmp_path / "..data")
        await until(lambda: None in looks.seen)


async def test_reading_a_file_is_no_news(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("x")
    async with watching(tmp_path) as looks:
        (tmp_path / "a.yaml").read_text()
        (tmp_path / "b.yaml").write_text("x")
        await until(lambda: "b.yaml" in looks.names)
        assert "a.yaml" not in looks.names


@pytest.mark.parametrize("step", ["schedule", "start"])
async def test_without_inotify_the_directory_is_polled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    class NoInotify(watch.Observer):  # type: ignore[misc, name-defined]
        def schedule(self, *args: Any, **options: Any) -> Any:
            if step == "schedule":
                raise OSError(24, "inotify instance limit reached")
            return super().schedule(*args, **options)

        def start(self) -> None:
            raise OSError(28, "inotify watch limit reached")

    monkeypatch.setattr(watch, "Observer", NoInotify)
    monkeypatch.setattr(watch, "POLL", 0.02)
    async with watching(tmp_path) as looks:
        await until(lambda: looks.seen.count(None) >= 3)


def test_only_manifests_are_read_and_no_editors_files() -> None:
    names = [
        "a.yaml",
        "b.yml",
        "c.json",
        ".a.yaml.swp",
        ".hidden.yaml",
        "a.yaml~",
        "#a.yaml#",
        "4913",
        "README.md",
        "a.yaml.bak",
        "yaml",
    ]
    assert [name for name in names if is_manifest_name(name)] == ["a.yaml", "b.yml", "c.json"]


def test_a_file_open_for_writing_is_told_from_one_that_is_not(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("x")
    with path.open("rb") as reader:
        assert not being_written(reader.fileno())
        with path.open("ab"):
            assert being_written(reader.fileno())
        assert not being_written(reader.fileno())
