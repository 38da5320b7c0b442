"""Images by name: brought in, named again, found, shared, taken away; what runs is never collected."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from minikube_lite.images.digests import sha256
from minikube_lite.images.files import DirectoryFiles
from minikube_lite.images.layout import Layout as LayoutSource
from minikube_lite.images.progress import Step
from minikube_lite.images.source import Descriptor
from minikube_lite.images.store import ImageError, ImageStore, NotPresent
from tests.images.archives import directory, file, tar
from tests.images.registry.layouts import Layout

pytestmark = pytest.mark.root  # layers need root

BASE = tar([directory("bin"), file("bin/base", os.urandom(40_000))])


def layer(name: str) -> bytes:
    return tar([file(name, os.urandom(20_000))])


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """`v1` and `v2` have the bottom layer in common."""
    made = Layout(tmp_path / "app")
    made.name(made.image([BASE, layer("one")], Cmd=["one"]), "v1")
    made.name(made.image([BASE, layer("two")], Cmd=["two"]), "v2")
    return made


class Counted:
    """The layout as a source that counts what is asked of it."""

    def __init__(self, layout: Layout) -> None:
        self._source = LayoutSource(DirectoryFiles(layout.root))
        self.manifests: list[str] = []
        self.blobs: list[str] = []

    def manifest(self, reference: str) -> tuple[str, bytes]:
        self.manifests.append(reference)
        return self._source.manifest(reference)

    def blob(self, descriptor: Descriptor, offset: int = 0) -> Iterator[bytes]:
        self.blobs.append(descriptor.digest)
        return self._source.blob(descriptor, offset)


def test_all_images_of_a_layout_are_brought_in_and_share_what_they_have_in_common(
    store: ImageStore, layout: Layout
) -> None:
    steps = list[Step]()
    assert store.load(layout.root, steps.append) == ["docker.io/library/app:v1", "docker.io/library/app:v2"]
    one, two = store.images()
    assert (one.names, two.names) == (("docker.io/library/app:v1",), ("docker.io/library/app:v2",))
    assert one.shared == two.shared > 40_000
    assert one.size - one.shared > 20_000
    assert len(list((store.root / "layers").iterdir())) == 3
    assert store.resolve("app:v1", Path("/")).layers[0] == store.resolve("app:v2", Path("/")).layers[0]
    for layer_of in (*one.manifest.layers, *two.manifest.layers):
        for stage in ("copying", "unpacking"):
            last = [step for step in steps if (step.stage, step.part) == (stage, layer_of.digest)][-1]
            assert last.done == last.total == layer_of.size


def test_of_several_images_a_path_means_none_and_says_which_there_are(store: ImageStore, layout: Layout) -> None:
    for use in (lambda: store.resolve("./app", layout.root.parent), lambda: store.load(layout.root, name="x")):
        with pytest.raises(ImageError, match=r"has several images.*`v1`, `v2`"):
            use()
    with pytest.raises(ImageError, match=r"it has no image `v3` \(hint: it has `v1`, `v2`\)"):
        store.resolve("./app:v3", layout.root.parent)
    assert store.resolve("./app:v2", layout.root.parent).config["Cmd"] == ["two"]
    assert store.load(Path(f"{layout.root}:v2"), name="mine/app:1") == ["docker.io/mine/app:1"]


def test_a_path_with_a_colon_is_itself_before_it_is_a_path_and_a_name(store: ImageStore, layout: Layout) -> None:
    other = layout.root.with_name("app:v1")
    layout.root.rename(other)
    made = Layout(layout.root)
    made.name(made.image([layer("three")], Cmd=["three"]), "v1")
    assert store.resolve("./app:v1:v2", made.root.parent).config["Cmd"] == ["two"]
    with pytest.raises(ImageError, match="has several images"):
        store.resolve("./app:v1", made.root.parent)


def test_an_image_has_many_names_and_lasts_as_long_as_one_of_them(store: ImageStore, layout: Layout) -> None:
    store.load(Path(f"{layout.root}:v1"))
    assert store.tag("app:v1", "quay.io/a/b:c") == "quay.io/a/b:c"
    [image] = store.images()
    assert image.names == ("docker.io/library/app:v1", "quay.io/a/b:c")
    assert image.digests == (f"docker.io/library/app@{image.target}", f"quay.io/a/b@{image.target}")
    assert store.resolve(f"quay.io/a/b@{image.target}", Path("/")).id == image.id
    assert store.resolve(f"quay.io/a/b:other@{image.target}", Path("/")).id == image.id
    assert store.remove("app:v1")
    assert not store.remove("app:v1")
    assert store.collect() == 0
    assert store.resolve("quay.io/a/b:c", Path("/")).id == image.id
    with pytest.raises(NotPresent) as caught:
        store.resolve("app:v1", Path("/"))
    assert (caught.value.name, caught.value.reason) == ("docker.io/library/app:v1", "ErrImagePull")
    assert store.remove("quay.io/a/b:c")
    assert store.collect() > 60_000
    assert store.blobs.digests() == []
    assert not list((store.root / "layers").iterdir())
    with pytest.raises(ImageError, match="is not on this machine"):
        store.tag("app:v1", "x")
    with pytest.raises(ImageError, match="has a digest"):
        store.tag("app:v1", f"x@{image.target}")


def test_a_short_name_is_also_that_of_podman(store: ImageStore, layout: Layout) -> None:
    store.load(Path(f"{layout.root}:v1"), name="localhost/app:v1")
    assert store.resolve("app:v1", Path("/")).config["Cmd"] == ["one"]
    store.load(Path(f"{layout.root}:v2"), name="app:v1")
    assert store.resolve("app:v1", Path("/")).config["Cmd"] == ["two"]
    assert store.resolve("localhost/app:v1", Path("/")).config["Cmd"] == ["one"]


def test_a_name_that_moves_on_leaves_the_old_image_to_who_runs_it(store: ImageStore, layout: Layout) -> None:
    store.load(Path(f"{layout.root}:v1"), name="app")
    old = store.resolve("app", Path("/"))
    store.lease("uid/app", old)
    store.load(Path(f"{layout.root}:v2"), name="app")
    store.collect()
    assert all((path / name).exists() for path, name in zip(old.layers, ("bin/base", "one"), strict=True))
    [lease] = store.leases().values()
    assert (lease.user, lease.image, lease.id) == ("uid/app", "app", old.id)
    store.release("uid/app")
    assert store.leases() == {}
    assert store.collect() > 0
    assert old.layers[0].exists()
    assert not old.layers[1].exists()


def test_what_is_being_brought_in_is_not_collected(store: ImageStore, layout: Layout) -> None:
    """A collection at every step of a pull takes nothing that the pull needs."""
    source, other = Counted(layout), ImageStore(store.root)

    class Collecting(Counted):
        def blob(self, descriptor: Descriptor, offset: int = 0) -> Iterator[bytes]:
            for piece in super().blob(descriptor, offset):
                other.collect()
                yield piece
            other.collect()

    image = store.pull("app:v1", Collecting(layout), lambda step: other.collect() and None)
    assert all(path.is_dir() for path in store.resolve("app:v1", Path("/")).layers)
    assert len(store.blobs.digests()) == 4
    assert source.blobs == []
    assert image.config.config == {"Cmd": ["one"]}


def test_many_that_pull_one_image_at_once_are_one(store: ImageStore, layout: Layout) -> None:
    source, ready = Counted(layout), threading.Barrier(6)

    def pull(number: int) -> str:
        own = ImageStore(store.root) if number % 2 else store
        ready.wait()
        return own.pull("app:v1", source).id

    with ThreadPoolExecutor(6) as pool:
        assert len(set(pool.map(pull, range(6)))) == 1
    layers = {layer.digest for layer in store.images()[0].manifest.layers}
    assert sorted(blob for blob in source.blobs if blob in layers) == sorted(layers)


PULL = """
import sys; from pathlib import Path
from minikube_lite.images.store import ImageStore
print(ImageStore(Path(sys.argv[1])).load(Path(sys.argv[2])))
"""


def test_processes_that_bring_in_the_same_share_the_work(store: ImageStore, layout: Layout) -> None:
    command = [sys.executable, "-c", PULL, store.root, layout.root]
    several = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    answers = {process.communicate()[0] for process in several}
    assert [process.returncode for process in several] == [0, 0, 0]
    assert answers == {"['docker.io/library/app:v1', 'docker.io/library/app:v2']\n"}
    assert len(store.images()) == 2
    assert not list((store.root / "tmp").iterdir())


def test_an_image_that_lost_a_part_is_not_present_and_comes_again(store: ImageStore, layout: Layout) -> None:
    store.load(Path(f"{layout.root}:v1"))
    [image] = store.images()
    config = store.blobs.path(image.id)
    config.unlink()
    again = ImageStore(store.root)
    assert again.images() == []
    assert again.find("app:v1") is None
    with pytest.raises(NotPresent):
        again.resolve("app:v1", Path("/"))
    again.load(Path(f"{layout.root}:v1"))
    assert again.resolve("app:v1", Path("/")).id == image.id


def test_pulling_again_what_has_not_changed_brings_nothing(store: ImageStore, layout: Layout) -> None:
    source = Counted(layout)
    store.pull("app:v1", source)
    source.blobs.clear()
    store.pull("app:v1", source)
    layers = {layer.digest for layer in store.images()[0].manifest.layers}
    assert not layers & set(source.blobs)


def spoiled(layout: Layout, change: dict[str, Any]) -> None:
    """Put other bytes under a digest of the layout."""
    for digest, data in change.items():
        (layout.root / "blobs/sha256" / digest.removeprefix("sha256:")).write_bytes(data)


def test_a_manifest_or_config_of_other_bytes_is_refused(store: ImageStore, layout: Layout) -> None:
    image = layout.image([BASE], Cmd=["three"])
    layout.name(image, "v3")
    whole = layout.read(image["digest"])
    spoiled(layout, {image["digest"]: whole.replace(b'"schemaVersion": 2', b'"schemaVersion":  2')})
    with pytest.raises(ImageError, match=f"the bytes of {sha256(whole)} have another digest"):
        store.load(Path(f"{layout.root}:v3"))
    assert store.images() == []
    assert store.blobs.digests() == []


@pytest.mark.parametrize("nested", [False, True])
def test_of_an_index_the_image_for_this_machine_is_taken(store: ImageStore, tmp_path: Path, nested: bool) -> None:
    made = Layout(tmp_path / "multi")
    index = made.index([made.image([BASE], "sparc64", Cmd=["no"]), made.image([BASE], Cmd=["yes"])])
    made.name(made.index([index]) if nested else index, "v1")
    [name] = store.load(made.root)
    [image] = store.images()
    assert store.resolve(name, Path("/")).config["Cmd"] == ["yes"]
    assert image.target != image.manifest.digest
    assert store.resolve(f"multi@{image.target}", Path("/")).id == image.id
    assert store.resolve(f"multi@{image.manifest.digest}", Path("/")).id == image.id
    only = made.index([made.image([BASE], "sparc64"), made.image([BASE], "mips")])
    made.name(only, "v2")
    with pytest.raises(ImageError, match=r"not made for this machine .*; it is for: linux/mips, linux/sparc64"):
        store.load(Path(f"{made.root}:v2"))


def test_a_full_disk_in_the_middle_leaves_a_store_that_goes_on(tmp_path: Path, layout: Layout) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", disk], check=True)
    try:
        store = ImageStore(disk / "images")
        store.load(Path(f"{layout.root}:v1"))
        big = layout.image([BASE, tar([file("big", os.urandom(2_300_000))])])
        layout.name(big, "big")
        with pytest.raises(ImageError, match=r"No space left|the disk has"):
            store.load(Path(f"{layout.root}:big"))
        huge = layout.image([tar([file("big", os.urandom(6_000_000))])])
        layout.name(huge, "huge")
        with pytest.raises(ImageError, match=r"its layers have 5 MiB, the disk has \d MiB free for it"):
            store.load(Path(f"{layout.root}:huge"))
        bomb = tmp_path / "bomb.tar.gz"
        bomb.write_bytes(gzip.compress(tar([file("index.json", b"{}"), file("oci-layout", bytes(50_000_000))])))
        with pytest.raises(ImageError, match=r"it unpacks to more than .* has room for"):
            store.load(bomb)
        assert [image.names for image in store.images()] == [("docker.io/library/app:v1",)]
        store.collect()
        assert not list((disk / "images/tmp").iterdir())
        assert store.resolve("app:v1", Path("/")).config["Cmd"] == ["one"]
        subprocess.run(["mount", "-o", "remount,size=32m", disk], check=True)
        assert store.load(Path(f"{layout.root}:big")) == ["docker.io/library/app:big"]
    finally:
        for thread in threading.enumerate():
            if thread.name.startswith("sync "):  # it has the disk open
                thread.join()
        subprocess.run(["umount", disk], check=True)
