"""Images go when the disk fills up, from a real store on a disk whose size the test says."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from minikube_lite.images import build
from minikube_lite.images.forms import open_layout
from minikube_lite.images.store import ImageStore
from minikube_lite.node import image_gc
from minikube_lite.node.image_gc import ImageCollector, NotEnough, Thresholds


class Disk:
    """A store with images of one layer each; `available` is what statvfs(2) tells of its disk of 1000 MiB."""

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.path = path
        self.store = ImageStore(path / "images")
        self.warned: list[tuple[str, str]] = []
        self.collector = ImageCollector(self.store, Thresholds(), lambda *said: self.warned.append(said))
        self.available = 1000
        self.now = 1_000_000_000.0
        monkeypatch.setattr(image_gc, "wall", lambda: self.now)
        real = os.statvfs

        def statvfs(where: Path) -> object:
            if Path(where) != self.store.root:
                return real(where)
            return SimpleNamespace(f_blocks=1000, f_bavail=self.available, f_frsize=1 << 20)

        monkeypatch.setattr(image_gc.os, "statvfs", statvfs)

    def pull(self, name: str, mebibytes: int, used: float, *, by_hand: bool = False) -> None:
        root = self.path / "rootfs" / name
        (root / "bin").mkdir(parents=True)
        (root / "bin/data").write_bytes(os.urandom(mebibytes << 20))
        layout = self.path / "layouts" / name
        layout.mkdir(parents=True)
        build.from_directory(root, layout, {"Cmd": ["x"]}, created="2026-01-01T00:00:00Z", made_by="test")
        with contextlib.closing(open_layout(layout)) as source:
            image = self.store.pull(name, source, at="", by_hand=by_hand)
        os.utime(self.store.root / "used" / image.id.removeprefix("sha256:"), (used, used))

    @property
    def names(self) -> list[str]:
        return [image.names[0].removeprefix("docker.io/library/").removesuffix(":1") for image in self.store.images()]


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Disk:
    made = Disk(tmp_path, monkeypatch)
    made.now = 4_000_000_000.0  # all that is pulled now is old
    for name, used in (("old:1", 100.0), ("new:1", 300.0), ("middle:1", 200.0)):
        made.pull(name, 5, used)
    return made


@pytest.mark.root
def test_nothing_goes_while_the_disk_has_room(disk: Disk) -> None:
    disk.available = 160
    disk.collector.collect()
    assert disk.names == ["middle", "new", "old"]


@pytest.mark.root
def test_the_longest_unused_goes_first_and_no_more_than_has_to(disk: Disk) -> None:
    disk.available = 150
    disk.collector._thresholds = Thresholds(85, 84)  # 10 MiB have to go: one image has 10 (its layer twice)
    assert disk.collector.collect() >= 10 << 20
    assert disk.names == ["middle", "new"]


@pytest.mark.root
def test_what_runs_and_what_came_by_hand_stays_whatever_happens(disk: Disk) -> None:
    disk.pull("own:1", 1, 1.0, by_hand=True)
    disk.store.lease("uid/0-x", disk.store.resolve("old:1", Path("/")))
    disk.available = 10
    with pytest.raises(NotEnough, match=r"^Failed to garbage collect required amount of images\. Attempted to free"):
        disk.collector.collect()
    assert disk.names == ["old", "own"]
    disk.store.release("uid/0-x")
    with pytest.raises(NotEnough):
        disk.collector.collect()
    assert disk.names == ["own"]


@pytest.mark.root
async def test_what_cannot_be_freed_is_an_event_and_so_is_failing_again(disk: Disk) -> None:
    disk.available = 10
    await disk.collector.look()
    assert [reason for reason, _ in disk.warned] == ["FreeDiskSpaceFailed"]
    await disk.collector.look()
    assert [reason for reason, _ in disk.warned] == ["FreeDiskSpaceFailed"] * 2 + ["ImageGCFailed"]
    assert "but only found 0 bytes eligible to free." in disk.warned[-1][1]


@pytest.mark.root
def test_what_came_just_now_stays(disk: Disk) -> None:
    disk.available = 10
    disk.now = min(image.recorded for image in disk.store.images()) + 60
    with pytest.raises(NotEnough):
        disk.collector.collect()
    assert len(disk.names) == 3


@pytest.mark.root
def test_a_pull_that_finds_no_room_is_given_some_below_the_high_threshold_too(disk: Disk) -> None:
    disk.available = 195
    assert disk.collector.make_room() >= 5 << 20
    assert disk.names == ["middle", "new"]
    disk.collector._thresholds = Thresholds(high=100)
    assert disk.collector.make_room() == 0
