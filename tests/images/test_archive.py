"""An archive of a root file system: every format that is read, and every way in which one can be broken."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import random
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from minikube_lite.images import tree as tree_module
from minikube_lite.images.store import ImageError, ImageStore
from tests.images.archives import Entry, directory, entry, file, hardlink, small_rootfs, symlink, tar, tree

FORMS = [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]


def unpacked(store: ImageStore, data: bytes, base: Path) -> Path:
    (base / "rootfs.tar").write_bytes(data)
    return store.resolve("./rootfs.tar", base).layers[0]


@pytest.mark.parametrize("form", FORMS, ids=["ustar", "gnu", "pax"])
def test_every_header_format_gives_the_same_tree(store: ImageStore, tmp_path: Path, form: int) -> None:
    entries = small_rootfs()
    root = unpacked(store, tar(entries, form=form), tmp_path)
    data = {item[0].name: item[1] for item in entries if isinstance(item, tuple)}
    for name, content in data.items():
        assert (root / name).read_bytes() == content
    assert os.readlink(root / "lib") == "usr/lib"
    assert (root / "usr/lib/again").stat().st_ino == (root / "usr/lib/lib.so").stat().st_ino
    assert (root / "etc/pipe").is_fifo()


COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "two gzip streams": lambda data: gzip.compress(data[:1000]) + gzip.compress(data[1000:]),
    "gzip with zeros after it": lambda data: gzip.compress(data) + bytes(4096),
    "two xz streams": lambda data: lzma.compress(data[:1000]) + bytes(8) + lzma.compress(data[1000:]),
}


@pytest.mark.parametrize("compress", COMPRESSIONS.values(), ids=COMPRESSIONS)
def test_a_compression_is_told_by_content(
    store: ImageStore, tmp_path: Path, compress: Callable[[bytes], bytes]
) -> None:
    data = tar(small_rootfs())
    root = unpacked(store, compress(data), tmp_path)
    assert tree(root) == tree(unpacked(ImageStore(tmp_path / "other"), data, tmp_path))


def test_zstd_is_read(store: ImageStore, tmp_path: Path) -> None:
    if not shutil.which("zstd"):
        pytest.skip("the program zstd, which makes the archive, is not installed")
    data = subprocess.run(["zstd", "-c"], input=tar(small_rootfs()), capture_output=True, check=True).stdout
    assert (unpacked(store, data, tmp_path) / "bin/app").stat().st_size == 70_000
    (tmp_path / "cut").write_bytes(data[:-100])
    with pytest.raises(ImageError, match="cut off"):
        store.resolve("./cut", tmp_path)
    frame = b"\x50\x2a\x4d\x18\x04\0\0\0note"  # skippable: RFC 8878, 3.1.2; zstd:chunked has one at the end
    (tmp_path / "framed").write_bytes(frame + data + frame)
    assert store.resolve("./framed", tmp_path).layers[0].joinpath("bin/app").stat().st_size == 70_000
    (tmp_path / "damaged").write_bytes(data[:5000] + b"damage" + data[5006:])
    with pytest.raises(ImageError, match="its zstd compression is damaged"):
        store.resolve("./damaged", tmp_path)


BROKEN: dict[str, tuple[bytes | Callable[[], bytes], str]] = {
    "nothing": (b"", "it is empty (0 bytes)"),
    "text": (b"hello\n", "it is not a tar archive"),
    "noise": (os.urandom(70_000), "it is not a tar archive"),
    "a short zero": (bytes(100), "it is not a tar archive"),
    "an archive of nothing": (tar([]), "it is an archive of nothing"),
    "only the root": (tar([directory("./")]), "it is an archive of nothing"),
    "a zip": (b"PK\3\4" + bytes(600), "it is a zip archive"),
    "a program": (b"\x7fELF" + bytes(600), "it is a program (ELF)"),
    "gzip of nothing": (gzip.compress(b""), "it is not a tar archive"),
    "gzip of text": (gzip.compress(b"hello"), "it is not a tar archive"),
    "a gzip header alone": (b"\x1f\x8b", "it is cut off"),
    "gzip and noise": (gzip.compress(tar(small_rootfs())) + b"noise" * 9, "its gzip compression is damaged"),
    "a wrong gzip checksum": (
        lambda: (lambda data: data[:-8] + b"\0\0\0\0" + data[-4:])(gzip.compress(tar(small_rootfs()))),
        "its gzip compression is damaged",
    ),
    "xz that needs 1.5 GiB": (
        lambda: lzma.compress(bytes(9), filters=[{"id": lzma.FILTER_LZMA2, "dict_size": 1536 << 20}]),
        "its xz compression is damaged (Memory usage limit",
    ),
    "docker save": (tar([directory("blobs"), file("manifest.json", b"[]")]), "it has no image"),
    "an OCI archive": (tar([directory("blobs"), file("./oci-layout", b"{}")]), "without an `index.json`"),
    "packed with its directory": (
        tar([directory("debian"), directory("debian/bin"), file("debian/bin/sh")]),
        "below `debian/`, not at its top (hint: pack it with `tar -C debian -c .`)",
    ),
    "a damaged header": (
        lambda: (lambda data: data[:1536] + b"!" + data[1537:])(tar([directory("bin"), file("a"), file("b")])),
        "a header has a wrong checksum",
    ),
    "an unknown kind": (tar([directory("bin"), entry("x", b"Q")]), "a kind that is not known"),
    "no end mark": (lambda: tar([directory("bin"), file("a")])[:1536], "its end mark is missing"),
    "a link to nothing": (tar([directory("bin"), hardlink("a", "bin/no")]), "leads to `bin/no`, which is not in it"),
    "a name too long": (tar([directory("bin"), file("n" * 256)]), "File name too long"),
    "a NUL in a name": (tar([directory("bin"), file("a", pax_headers={"path": "a\0b"})]), "null"),
    "an owner too large": (tar([directory("bin"), file("a", pax_headers={"uid": "4294967295"})]), "4294967295"),
    "a pax size of letters": (tar([directory("bin"), file("a", pax_headers={"size": "ten"})]), "it is damaged"),
    "a file over a full directory": (tar([directory("bin"), file("bin/a"), file("bin")]), "Directory not empty"),
    "too deep": (tar([directory("bin"), file("d/" * 201 + "x")]), "more than 200 deep"),
}


@pytest.mark.parametrize(("data", "says"), BROKEN.values(), ids=BROKEN)
def test_a_broken_archive_is_one_clear_error_and_leaves_nothing(
    refused: Callable[[bytes], str], data: bytes | Callable[[], bytes], says: str
) -> None:
    assert says in refused(data() if callable(data) else data)


@pytest.mark.parametrize(
    "compress", [bytes, gzip.compress, bz2.compress, lzma.compress], ids=["plain", "gz", "bz2", "xz"]
)
def test_an_archive_cut_anywhere_leaves_nothing(
    refused: Callable[[bytes], str], compress: Callable[[bytes], bytes]
) -> None:
    whole = tar(small_rootfs())
    data = compress(whole)
    end = len(whole.rstrip(b"\0")) if compress is bytes else len(data) - 1
    for cut in [*random.Random(end).sample(range(1, end), 25), 512, end]:
        message = refused(data[:cut])
        assert "it is cut off" in message or "it is not a tar archive" in message, cut


def test_an_archive_cut_at_a_member_is_not_taken_for_whole(refused: Callable[[bytes], str]) -> None:
    whole = tar([directory("bin"), file("bin/a"), file("bin/b")])
    for cut in (512, 512 * 3, 512 * 5):
        assert "its end mark is missing" in refused(whole[:cut])


def test_random_damage_never_ends_in_anything_but_an_image_error(tmp_path: Path) -> None:
    chance = random.Random(7)
    whole = tar(small_rootfs(), form=tarfile.GNU_FORMAT)
    for turn in range(150):
        data = bytearray(whole)
        for _ in range(chance.choice([1, 3, 20])):
            at = chance.randrange(len(data))
            data[at] = chance.randrange(256)
            block = at - at % 512
            header = data[block : block + 148] + b" " * 8 + data[block + 156 : block + 512]
            data[block + 148 : block + 156] = b"%06o\0 " % sum(header)  # as an attacker would
        store = ImageStore(tmp_path / f"store{turn}")
        (tmp_path / "rootfs.tar").write_bytes(data)
        try:
            store.resolve("./rootfs.tar", tmp_path)
        except ImageError:
            assert not list((store.root / "tmp").glob("*"))
        shutil.rmtree(store.root, ignore_errors=True)


def test_a_bomb_is_refused_before_the_disk_is_full(store: ImageStore, tmp_path: Path) -> None:
    info = entry("bin/bomb", size=1 << 50)
    data = tar([directory("bin")])[:512] + info.tobuf(tarfile.GNU_FORMAT) + bytes(10 << 20)
    (tmp_path / "bomb.tar").write_bytes(gzip.compress(data))
    with pytest.raises(ImageError, match=r"more than the \d+ MiB that the disk has free"):
        store.resolve("./bomb.tar", tmp_path)
    assert not list((store.root / "tmp").iterdir())


def test_a_header_of_a_terabyte_is_refused_before_it_is_read(refused: Callable[[bytes], str]) -> None:
    header = entry("x", b"x", size=1 << 40).tobuf(tarfile.GNU_FORMAT)
    assert "an extended header of 1099511627776 bytes" in refused(tar([directory("bin")])[:512] + header + bytes(4096))


def test_members_under_one_name_replace_one_another(store: ImageStore, tmp_path: Path) -> None:
    entries: list[Entry] = [
        directory("bin"), file("a", b"1"), file("a", b"2"), symlink("b", "a"), directory("b"), file("b/c"),
        directory("d"), symlink("d", "a"), hardlink("a", "a"), file("e"), hardlink("f", "e"), hardlink("f", "a"),
    ]  # fmt: skip
    root = unpacked(store, tar(entries), tmp_path)
    assert (root / "a").read_bytes() == b"2"
    assert (root / "b/c").is_file()
    assert os.readlink(root / "d") == "a"
    assert (root / "f").stat().st_ino == (root / "a").stat().st_ino


def test_a_members_directory_need_not_come_before_it(store: ImageStore, tmp_path: Path) -> None:
    entries: list[Entry] = [file("usr/bin/sh"), directory("usr/bin", mode=0o500, mtime=7), directory("usr", mode=0o711)]
    root = unpacked(store, tar(entries), tmp_path)
    assert [oct(path.stat().st_mode & 0o7777) for path in (root, root / "usr", root / "usr/bin")] == [
        "0o755", "0o711", "0o500",
    ]  # fmt: skip
    assert (root / "usr/bin").stat().st_mtime == 7


def test_the_reserve_of_the_disk_is_kept(store: ImageStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "rootfs.tar").write_bytes(tar(small_rootfs()))
    real = os.fstatvfs(os.open(tmp_path, os.O_RDONLY))
    tight = os.statvfs_result((real[0], real[1], 1 << 20, 900, 10, *real[5:]))
    monkeypatch.setattr(tree_module.os, "fstatvfs", lambda descriptor: tight)
    with pytest.raises(ImageError, match="more than the"):
        store.resolve("./rootfs.tar", tmp_path)
    assert not list((store.root / "tmp").iterdir())
