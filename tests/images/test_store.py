"""The store: one tree per content, however many ask, whenever they are killed."""

from __future__ import annotations

import gzip
import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from minikube_lite.images import local as local_module
from minikube_lite.images import trees as trees_module
from minikube_lite.images.store import ImageError, ImageStore
from tests.images.archives import directory, file, small_rootfs, tar, tree

RESOLVE = "import sys, pathlib; from minikube_lite.images.store import ImageStore; " + (
    "print(ImageStore(pathlib.Path(sys.argv[1])).resolve(sys.argv[2], pathlib.Path('/')).layers[0])"
)


def resolver(store: ImageStore, archive: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", RESOLVE, str(store.root), str(archive)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    archive = tmp_path / "rootfs.tar.gz"
    archive.write_bytes(gzip.compress(tar(small_rootfs())))
    return archive


@pytest.fixture
def big(tmp_path: Path) -> Path:
    """One that takes long enough to be met in the middle."""
    archive = tmp_path / "big.tar"
    archive.write_bytes(tar([directory("bin"), *(file(f"bin/{n}", os.urandom(2000)) for n in range(6000))]))
    return archive


def settled(store: ImageStore) -> None:
    for thread in threading.enumerate():
        if thread.name.startswith("sync "):
            thread.join()
    assert not list((store.root / "unsynced").glob("*"))


def test_the_id_is_the_digest_of_the_archive(store: ImageStore, archive: Path) -> None:
    image = store.resolve(str(archive), Path("/"))
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    assert image.id == f"sha256:{digest}"
    assert image.layers == (store.root / "rootfs" / digest,)


def test_the_same_content_is_unpacked_once_whatever_its_path(store: ImageStore, archive: Path) -> None:
    first = store.resolve(str(archive), Path("/"))
    inode = (first.layers[0] / "bin/app").stat().st_ino
    copy = archive.with_name("copy")
    copy.write_bytes(archive.read_bytes())
    second = store.resolve("./copy", archive.parent)
    assert (second.id, second.layers, second.reference) == (first.id, first.layers, "./copy")
    assert (second.layers[0] / "bin/app").stat().st_ino == inode


def test_an_archive_that_has_not_changed_is_not_read_again(
    store: ImageStore, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not store.is_cheap(str(archive), Path("/"))
    image = store.resolve(str(archive), Path("/"))
    assert not store.is_cheap(str(archive), Path("/"))  # it has just changed: its times may not tell the next change
    [known] = (store.root / "known").iterdir()
    later = known.stat().st_mtime + 10
    os.utime(known, (later, later))
    assert store.is_cheap(str(archive), Path("/"))
    monkeypatch.setattr(local_module.hashlib, "file_digest", lambda *_: pytest.fail("read again"))
    assert store.resolve(str(archive), Path("/")) == image


@pytest.mark.parametrize("change", ["content", "replaced", "time"])
def test_a_changed_archive_is_read_again(store: ImageStore, archive: Path, change: str) -> None:
    before = store.resolve(str(archive), Path("/"))
    [known] = (store.root / "known").iterdir()
    later = known.stat().st_mtime + 10
    os.utime(known, (later, later))
    if change == "time":
        os.utime(archive, (1, 1))
    else:
        data = gzip.compress(tar([directory("bin"), file("bin/new")]))
        if change == "replaced":
            archive.unlink()
        archive.write_bytes(data)
    assert not store.is_cheap(str(archive), Path("/"))
    after = store.resolve(str(archive), Path("/"))
    assert (after.id == before.id) == (change == "time")
    assert before.layers[0].is_dir()


def test_an_archive_that_changes_while_it_is_read_is_refused(
    store: ImageStore, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unpack_and_write(pieces: object, target: Path) -> None:
        (target / "bin").mkdir()
        archive.write_bytes(b"other")

    monkeypatch.setattr(local_module, "unpack", unpack_and_write)
    with pytest.raises(ImageError, match="it changed while it was read"):
        store.resolve(str(archive), Path("/"))
    assert not list((store.root / "rootfs").iterdir())


def test_many_threads_that_want_one_archive_make_one_tree(
    store: ImageStore, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = local_module.unpack, []

    def counted(pieces: object, target: Path) -> None:
        calls.append(target)
        real(pieces, target)  # type: ignore[arg-type]

    monkeypatch.setattr(local_module, "unpack", counted)
    with ThreadPoolExecutor(8) as pool:
        images = set(pool.map(lambda _: store.resolve(str(archive), Path("/")).layers, range(8)))
    assert (len(images), len(calls)) == (1, 1)
    settled(store)


def test_two_processes_that_want_one_archive_get_one_tree(store: ImageStore, big: Path) -> None:
    both = [resolver(store, big) for _ in range(2)]
    answers = {process.communicate()[0] for process in both}
    assert [process.returncode for process in both] == [0, 0]
    assert len(answers) == 1
    assert len(list(Path(answers.pop().strip()).rglob("*"))) == 6001
    assert not list((store.root / "tmp").iterdir())


def test_killed_while_unpacking_it_is_unpacked_whole_the_next_time(store: ImageStore, big: Path) -> None:
    process = resolver(store, big)
    while not list((store.root / "tmp").glob("*/bin/1*")):
        assert process.poll() is None, "it was too quick to be killed"
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert list((store.root / "tmp").iterdir())
    assert not list((store.root / "rootfs").iterdir())
    layer = store.resolve(str(big), Path("/")).layers[0]
    assert len(list(layer.rglob("*"))) == 6001
    assert not list((store.root / "tmp").iterdir())


def test_sweep_removes_what_a_killed_one_left_and_nothing_that_is_being_made(store: ImageStore, big: Path) -> None:
    process = resolver(store, big)
    while not list((store.root / "tmp").glob("*/bin/1*")):
        assert process.poll() is None, "it was too quick to be met"
        time.sleep(0.001)
    store.sweep()
    assert process.poll() is not None or list((store.root / "tmp").iterdir())
    process.send_signal(signal.SIGKILL)
    process.communicate()
    store.sweep()
    store.sweep()
    assert not list((store.root / "tmp").iterdir())


def test_a_tree_that_a_power_cut_may_have_damaged_is_made_again(
    store: ImageStore, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trees_module.Trees, "_sync", lambda self, name: None)  # the power goes before the disk has it
    image = store.resolve(str(archive), Path("/"))
    app = image.layers[0] / "bin/app"
    whole = tree(image.layers[0])
    app.write_bytes(b"")
    assert store.resolve(str(archive), Path("/")).layers == image.layers
    monkeypatch.setattr(trees_module, "_boot", lambda: "the next boot")
    assert not store.is_cheap(str(archive), Path("/"))
    monkeypatch.undo()
    (mark,) = (store.root / "unsynced").iterdir()
    mark.write_text("the boot before")
    assert tree(store.resolve(str(archive), Path("/")).layers[0]) == whole
    settled(store)
    mark.write_text("the boot before")
    store.sweep()
    assert not list((store.root / "rootfs").iterdir())
    assert not list((store.root / "known").iterdir())


def test_only_what_is_used_is_kept(store: ImageStore, archive: Path, tmp_path: Path) -> None:
    (tmp_path / "other.tar").write_bytes(tar([directory("bin")]))
    used, unused = store.resolve(str(archive), Path("/")), store.resolve("./other.tar", tmp_path)
    host = store.resolve("host", tmp_path)
    store.lease("pod/app", used)
    settled(store)
    assert store.collect() > 0
    assert used.layers[0].is_dir()
    assert host.layers[0].is_dir()
    assert not unused.layers[0].exists()
    assert store.collect() == 0
    store.release("pod/app")
    store.release("pod/app")
    assert store.collect() > 0
    assert not used.layers[0].exists()
    with pytest.raises(ImageError, match="was removed just now"):
        store.lease("pod/app", used)
    assert store.resolve("./other.tar", tmp_path).layers[0].is_dir()


def test_a_store_that_was_never_used_sweeps_and_removes_nothing(store: ImageStore) -> None:
    store.sweep()
    assert store.collect() == 0
    assert not store.root.exists()


@pytest.mark.root
def test_a_full_disk_is_an_image_error_and_leaves_nothing(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m,nr_inodes=500", "tmpfs", disk], check=True)
    try:
        for name, entries in {
            "bytes": [file("bin/a", os.urandom(2 << 20))],
            "files": [file(f"bin/{number}", b"") for number in range(600)],
            "bytes bit by bit": [file(f"bin/{number}", b"x") for number in range(400)],
        }.items():
            (tmp_path / "rootfs.tar").write_bytes(tar(entries))
            with pytest.raises(ImageError) as caught:
                ImageStore(disk / "images").resolve("./rootfs.tar", tmp_path)
            assert "the disk has free" in caught.value.message or "No space left" in caught.value.message, name
            assert not list((disk / "images/tmp").iterdir()), name
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        with pytest.raises(ImageError, match="cannot make the image `host`"):
            ImageStore(disk / "images").resolve("host", tmp_path)
    finally:
        subprocess.run(["umount", disk], check=True)
