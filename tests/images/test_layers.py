"""One layer over another: what overlayfs is to see, what is kept of each file, and what an attacker tries."""

from __future__ import annotations

import gzip
import hashlib
import os
import stat
import subprocess
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from minikube_lite.images import layers as layers_module
from minikube_lite.images.store import Image, ImageError, ImageStore
from tests.images import tools
from tests.images.archives import Entry, directory, entry, file, hardlink, symlink, tar, tree
from tests.images.registry.layouts import Layout

pytestmark = pytest.mark.root  # overlayfs' marks are trusted attributes

Entries = Sequence[Entry]


@pytest.fixture
def resolve(store: ImageStore, tmp_path: Path) -> Callable[..., Image]:
    """The image of these layers, each a list of members or the bytes of an archive; bottom first."""

    def resolve(*layers: Entries | bytes, **config: Any) -> Image:
        layout = Layout(tmp_path / f"layout{len(list(tmp_path.iterdir()))}")
        data = [layer if isinstance(layer, bytes) else tar(layer) for layer in layers]
        layout.name(layout.image(data, **config), "v1")
        return store.resolve(str(layout.root), tmp_path)

    return resolve


class Merged:
    """What a container sees of the layers, mounted as they are for one."""

    def __init__(self, image: Image, point: Path) -> None:
        self.root = point
        point.mkdir()
        for name in ("upper", "work"):
            point.with_name(f"{point.name}-{name}").mkdir()
        lower = ":".join(map(str, reversed(image.layers)))
        upper = f"upperdir={point}-upper,workdir={point}-work"
        subprocess.run(["mount", "-t", "overlay", "-o", f"lowerdir={lower},{upper}", "overlay", point], check=True)

    def __enter__(self) -> Path:
        return self.root

    def __exit__(self, *_: object) -> None:
        subprocess.run(["umount", self.root], check=True)


LOWER: list[Entry] = [
    directory("bin"), directory("a"), file("a/one", b"1"), file("a/two", b"2"), directory("a/sub"),
    file("a/sub/x", b"x"), file("f", b"f"), symlink("link", "a"),
]  # fmt: skip
"""What the layers of the table are laid over."""
ALL = {"a/one", "a/two", "a/sub/x", "f"}

CHANGES: dict[str, tuple[list[Entry], set[str]]] = {
    "nothing": ([], ALL),
    "a file deleted": ([file(".wh.f", b"")], ALL - {"f"}),
    "a file deleted in a directory": ([directory("a"), file("a/.wh.one", b"")], ALL - {"a/one"}),
    "a directory deleted": ([file(".wh.a", b"")], {"f"}),
    "a file changed": ([file("f", b"new")], ALL),
    "deleted and made anew, in this order": ([file(".wh.f", b""), file("f", b"new")], ALL),
    "made anew and deleted, which only hides what is below": ([file("f", b"new"), file(".wh.f", b"")], ALL),
    "a directory deleted and made anew": ([file(".wh.a", b""), directory("a"), file("a/new")], {"a/new", "f"}),
    "a directory made anew and deleted": ([directory("a"), file("a/new"), file(".wh.a", b"")], {"a/new", "f"}),
    "a directory deleted, then only implied": ([file(".wh.a", b""), file("a/new")], {"a/new", "f"}),
    "an opaque directory": ([directory("a"), file("a/.wh..wh..opq", b""), file("a/new")], {"a/new", "f"}),
    "an opaque mark after its files": ([directory("a"), file("a/new"), file("a/.wh..wh..opq", b"")], {"a/new", "f"}),
    "an opaque mark alone": ([file("a/sub/.wh..wh..opq", b"")], ALL - {"a/sub/x"}),
    "all opaque": ([file(".wh..wh..opq", b""), directory("bin"), file("new")], {"new"}),
    "a file in place of a directory": ([file("a", b"file")], {"a", "f"}),
    "a directory in place of a file": ([directory("f"), file("f/new")], ALL - {"f"} | {"f/new"}),
    "a link in place of a directory": ([symlink("a", "bin")], {"f"}),
    "aufs' own books": ([directory(".wh..wh.plnk"), file(".wh..wh.plnk/1.2", b""), file(".wh..wh.aufs", b"")], ALL),
    "the mark of a name that is not there": ([file(".wh.nothing", b""), file("a/.wh.nothing", b"")], ALL),
    "a mark that is no file": ([directory(".wh.f")], ALL - {"f"}),
}


@pytest.mark.parametrize(("upper", "expected"), CHANGES.values(), ids=CHANGES)
def test_what_a_layer_changes_is_what_overlayfs_shows(
    resolve: Callable[..., Image], tmp_path: Path, upper: list[Entry], expected: set[str]
) -> None:
    with Merged(resolve(LOWER, upper), tmp_path / "merged") as root:
        found = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file() and not path.is_symlink()}
        assert found == expected
        if "f" in expected and any(isinstance(item, tuple) and item[0].name == "f" for item in upper):
            assert (root / "f").read_bytes() == b"new"


def test_a_directory_that_a_layer_only_implies_stays_as_the_one_below_says(
    resolve: Callable[..., Image], tmp_path: Path
) -> None:
    private = {"mode": 0o2750, "uid": 1000, "gid": 1001, "mtime": 1_000_000_000}
    lower = [directory("bin"), directory("tmp", mode=0o1777), directory("p", **private), directory("p/q", mode=0o700)]
    image = resolve(lower, [file("tmp/x"), file("p/q/x")], [file("p/y"), file("own/z")], [file(".wh.own", b"")])
    with Merged(image, tmp_path / "merged") as root:
        assert stat.S_IMODE((root / "tmp").stat().st_mode) == 0o1777
        found = (root / "p").stat()
        assert (stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid) == (0o2750, 1000, 1001)
        assert found.st_mtime == 1_000_000_000
        assert stat.S_IMODE((root / "p/q").stat().st_mode) == 0o700
        assert sorted(os.listdir(root / "p")) == ["q", "y"]
        assert os.listdir(root / "p/q") == ["x"]
        assert not (root / "own").exists()
    assert resolve(lower, [file("tmp/x"), file("p/q/x")], [file("p/y"), file("own/z")]).layers[:3] == image.layers[:3]


@pytest.mark.parametrize(
    "upper",
    [
        [file("a/new"), file(".wh.a", b"")],  # deleted and implied: the old one's mode is not the new one's
        [directory("a", mode=0o755), file("a/new")],
        [directory("link"), file("link/new")],
        [file("b/c/new")],
    ],
)
def test_where_no_layer_below_counts_none_is_asked(resolve: Callable[..., Image], upper: list[Entry]) -> None:
    assert len(resolve([directory("bin"), directory("a", mode=0o700), symlink("link", "/")], upper).layers) == 2


def test_all_that_a_file_can_have_is_kept(resolve: Callable[..., Image], tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    (work / "bin").mkdir()
    (work / "bin/su").write_bytes(b"su")
    os.chown(work / "bin/su", 1, 2)
    os.chmod(work / "bin/su", 0o4711)
    (work / "bin/ping").write_bytes(b"ping")
    capability = bytes.fromhex("0100000200200000000000000000000000000000")
    os.setxattr(work / "bin/ping", "security.capability", capability)
    os.setxattr(work / "bin/ping", "user.note", b"\x00binary\xff")
    os.setxattr(work / "bin", "user.note", b"of a directory")
    os.link(work / "bin/ping", work / "ping")
    os.symlink("/etc/nowhere", work / "link")
    os.lchown(work / "link", 7, 8)
    os.mkfifo(work / "fifo", 0o640)
    os.mknod(work / "null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    os.mknod(work / "disk", 0o660 | stat.S_IFBLK, os.makedev(7, 200))
    with open(work / "sparse", "wb") as sparse:
        for at in (0, 5 << 20, 9 << 20):
            sparse.seek(at)
            sparse.write(b"data")
        sparse.truncate(32 << 20)
    os.utime(work / "link", ns=(1, 1_234_567_890_123_456_789), follow_symlinks=False)
    os.utime(work / "bin", ns=(1, 1_234_567_890_987_654_321))
    made = {}
    for form, options in {
        "pax": ["--format=pax", "--xattrs", "--xattrs-include=*", "--sparse"],
        "sparse 0.0": ["--format=pax", "--xattrs", "--xattrs-include=*", "--sparse", "--sparse-version=0.0"],
        "gnu": ["--format=gnu", "--sparse"],
    }.items():
        data = subprocess.run(["tar", "-C", work, *options, "-c", "."], capture_output=True, check=True).stdout
        made[form] = resolve(data).layers[-1]
    expected = tree(work)
    for form, root in made.items():
        found = tree(root)
        assert (root / "sparse").stat().st_blocks * 512 < 1 << 20
        if form == "gnu":  # it has no attributes, and whole seconds
            continue
        assert {name: value for name, value in found.items() if name != "."} == {
            name: value for name, value in expected.items() if name != "."
        }, form
    assert os.getxattr(made["pax"] / "ping", "security.capability") == capability


REFUSED: dict[str, tuple[Callable[[str], list[Entry]], str]] = {
    "dot dot": (lambda out: [file("../../../../outside/secret")], "climbs out of it"),
    "dot dot in a mark": (lambda out: [file("../.wh.secret", b"")], "climbs out of it"),
    "a file through a link of the same layer": (lambda out: [symlink("x", out), file("x/secret")], "is a symbolic li"),
    "a mark through a link": (lambda out: [symlink("x", out), file("x/.wh.secret", b"")], "is a symbolic link"),
    "an opaque mark through a link": (lambda out: [symlink("x", out), file("x/.wh..wh..opq", b"")], "is a symbolic"),
    "a mark of its own directory": (lambda out: [file(".wh..", b"")], "deletes no name"),
    "a mark of the one above": (lambda out: [file("a/.wh...", b"")], "deletes no name"),
    "a mark of nothing": (lambda out: [file("a/.wh.", b"")], "deletes no name"),
    "a file below a mark": (lambda out: [directory(".wh.a"), file(".wh.a/x")], "below a mark of a deleted file"),
    "overlayfs' own mark": (lambda out: [entry("bin/sh", b"3", devmajor=0, devminor=0)], "0:0"),
    "a hard link out": (lambda out: [hardlink("x", "../../../../outside/secret")], "climbs out of it"),
    "a hard link by its path": (lambda out: [hardlink("x", f"{out}/secret")], "which is not in it"),
    "a hard link through a link": (lambda out: [symlink("x", out), hardlink("y", "x/secret")], "is a symbolic link"),
    "a hard link to a mark": (lambda out: [file(".wh.f", b""), hardlink("y", "f")], "`f`, a deleted file"),
    "too deep": (lambda out: [file("d/" * 201 + "x")], "more than 200 deep"),
}  # fmt: skip


@pytest.mark.parametrize(("attack", "says"), REFUSED.values(), ids=REFUSED)
def test_a_layer_that_leads_out_is_refused(
    store: ImageStore,
    resolve: Callable[..., Image],
    tmp_path: Path,
    attack: Callable[[str], list[Entry]],
    says: str,
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("secret")
    with pytest.raises(ImageError, match="cannot unpack its layer sha256:") as caught:
        resolve(LOWER, attack(str(outside)))
    assert says in caught.value.message
    assert {path.name: path.read_text() for path in outside.iterdir()} == {"secret": "secret"}
    assert not list((store.root / "tmp").iterdir())
    store.sweep()
    assert store.collect() > 0  # the good layer
    assert not list((store.root / "layers").iterdir())


def test_a_link_of_a_lower_layer_leads_nowhere_for_the_upper(resolve: Callable[..., Image], tmp_path: Path) -> None:
    """CVE-2019-14271's kind: what one layer planted, the next one walks through. Layers never see one another."""
    outside = tmp_path / "outside"
    outside.mkdir()
    image = resolve([directory("bin"), symlink("x", str(outside))], [file("x/planted"), file("x/.wh.secret", b"")])
    assert not list(outside.iterdir())
    with Merged(image, tmp_path / "merged") as root:
        assert (root / "x/planted").is_file()
        assert not (root / "x").is_symlink()
    assert not list(outside.iterdir())


def test_attributes_that_overlayfs_would_obey_are_left_out(resolve: Callable[..., Image]) -> None:
    attributes = {
        "SCHILY.xattr.trusted.overlay.redirect": "/etc",
        "SCHILY.xattr.trusted.overlay.opaque": "y",
        "SCHILY.xattr.trusted.overlay.metacopy": "",
        "SCHILY.xattr.user.overlay.opaque": "y",
        "SCHILY.xattr.user.mine": "kept",
    }
    root = resolve([directory("bin", pax_headers=attributes), file("f", pax_headers=attributes)]).layers[0]
    for name in ("bin", "f"):
        assert os.listxattr(root / name) == ["user.mine"]


def damaged(layout: Layout, how: str) -> None:
    """Spoil the one layer of the layout."""
    [blob] = [path for path in layout.root.glob("blobs/sha256/*") if path.read_bytes()[:2] == b"\x1f\x8b"]
    data = blob.read_bytes()
    blob.write_bytes(
        {
            "cut off": data[:-100],
            "longer": data + b"more",
            "another": gzip.compress(tar([directory("bin"), file("other")])),
            "a bit": data[:500] + bytes([data[500] ^ 1]) + data[501:],
            "empty": b"",
        }[how]
    )


@pytest.mark.parametrize("how", ["cut off", "longer", "another", "a bit", "empty"])
def test_a_layer_that_is_not_what_the_manifest_says_is_refused(store: ImageStore, tmp_path: Path, how: str) -> None:
    layout = Layout(tmp_path / "layout")
    layout.name(layout.image([tar([directory("bin"), file("f", os.urandom(3000))])]), "v1")
    damaged(layout, how)
    with pytest.raises(ImageError, match=r"cannot unpack its layer sha256:|cannot store") as caught:
        store.resolve("./layout", tmp_path)
    assert str(layout.root) in caught.value.message
    with pytest.raises(ImageError):
        store.load(layout.root)
    assert not list((store.root / "layers").iterdir())
    assert store.images() == []
    assert store.blobs.digests() == []


def test_a_wrong_diff_id_is_refused(store: ImageStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layout = Layout(tmp_path / "layout")
    real = hashlib.sha256
    data = tar([directory("bin"), file("f", os.urandom(3000))])
    monkeypatch.setattr("tests.images.registry.layouts.hashlib.sha256", lambda of: real(b"other" if of == data else of))
    descriptor = layout.image([data])
    monkeypatch.undo()
    layout.name(descriptor, "v1")
    with pytest.raises(ImageError, match="its unpacked bytes have another digest than they should"):
        store.resolve("./layout", tmp_path)
    assert not list((store.root / "layers").iterdir())


def test_a_bomb_is_refused_before_it_fills_the_disk(
    store: ImageStore, resolve: Callable[..., Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layers_module, "RATIO_FROM", 10 << 20)
    with pytest.raises(ImageError, match="unpacks to more than 200 times its"):
        resolve([directory("bin"), file("zeros", bytes(20 << 20))])
    assert not list((store.root / "tmp").iterdir())
    monkeypatch.undo()
    assert resolve([directory("bin"), file("zeros", bytes(20 << 20))]).layers


def test_an_image_of_no_layers_or_empty_ones_has_a_root(resolve: Callable[..., Image], tmp_path: Path) -> None:
    none, empty, twice = resolve(), resolve(tar([])), resolve([file("f")], tar([]), [file("f")])
    assert none.layers == empty.layers
    assert [list(layer.iterdir()) for layer in none.layers] == [[]]
    assert len(twice.layers) == 1
    with Merged(twice, tmp_path / "merged") as root:
        assert os.listdir(root) == ["f"]


def test_a_layer_without_its_end_mark_is_whole_by_its_digest(resolve: Callable[..., Image]) -> None:
    whole = tar([directory("bin"), file("f", b"x" * 600)], form=tarfile.USTAR_FORMAT)
    marked = 512 + 512 + 600
    assert (resolve(whole[:marked]).layers[0] / "f").read_bytes() == b"x" * 600
    with pytest.raises(ImageError, match="cut off"):
        resolve(whole[: marked - 1])


def test_the_same_as_umoci_makes_of_it(store: ImageStore, tmp_path: Path, rootfs: Path) -> None:
    layout = tools.layout(tmp_path, rootfs)
    tools.run("umoci", "unpack", "--image", f"{layout}:v1", tmp_path / "bundle")
    image = store.resolve(f"{layout}:v1", tmp_path)
    with Merged(image, tmp_path / "merged") as root:
        ours, theirs = tree(root), tree(tmp_path / "bundle/rootfs")
    assert ours.keys() == theirs.keys()
    for path in ours.keys() - {"."}:
        assert ours[path] == theirs[path], path
