"""Archives made to write outside of their tree. Each is refused, or lands inside; nothing outside changes."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from minikube_lite.images.store import ImageStore
from tests.images.archives import Entry, directory, entry, file, hardlink, symlink, tar

# `{}` is a directory outside of the store, with the file `secret` in it.
REFUSED: dict[str, tuple[Callable[[str], list[Entry]], str]] = {
    "dot dot": (lambda out: [file("../../../outside/secret")], "climbs out of it"),
    "dot dot in the middle": (lambda out: [file("bin/../../x")], "climbs out of it"),
    "dot dot after a slash": (lambda out: [file("/../../x")], "climbs out of it"),
    "a directory above": (lambda out: [directory("..", mode=0o777)], "climbs out of it"),
    "an absolute link, then through it": (lambda out: [symlink("x", out), file("x/secret")], "`x`, which is a symb"),
    "a relative link, then through it": (
        lambda out: [symlink("x", "../../../outside"), file("x/secret")],
        "`x`, which is a symbolic link",
    ),
    "two links, each harmless": (
        lambda out: [symlink("a", "."), symlink("a/b", ".."), file("a/b/secret")],
        "`a`, which is a symbolic link",
    ),
    "a link in the place of a directory": (
        lambda out: [directory("x"), symlink("x", out), file("x/secret")],
        "`x`, which is a symbolic link",
    ),
    "a directory member through a link": (lambda out: [symlink("x", out), directory("x/y")], "`x`, which is a symb"),
    "a link through a link": (lambda out: [symlink("x", out), symlink("x/y", "z")], "`x`, which is a symbolic link"),
    "a device through a link": (
        lambda out: [symlink("x", out), entry("x/null", b"3", devmajor=1, devminor=3)],
        "`x`, which is a symbolic link",
    ),
    "a hard link to above": (lambda out: [hardlink("x", "../../../outside/secret")], "climbs out of it"),
    "a hard link through a link": (lambda out: [symlink("x", out), hardlink("y", "x/secret")], "`x`, which is a symb"),
    "a hard link to the outside by its path": (lambda out: [hardlink("x", f"{out}/secret")], "which is not in it"),
    "a hard link to nothing": (lambda out: [hardlink("x", "/")], "leads to nothing"),
    "overlayfs' mark of a deleted file": (lambda out: [entry("bin/sh", b"3", devmajor=0, devminor=0)], "0:0"),
}


@pytest.mark.parametrize(("entries", "says"), REFUSED.values(), ids=REFUSED)
def test_a_member_that_leads_out_is_refused(
    refused: Callable[[bytes], str], tmp_path: Path, entries: Callable[[str], list[Entry]], says: str
) -> None:
    attack = entries(str(tmp_path / "outside"))
    assert says in refused(tar([directory("bin"), *attack]))


INSIDE: dict[str, tuple[Callable[[str], list[Entry]], str]] = {
    "an absolute name": (lambda out: [file(f"{out}/secret", b"new")], "{out}/secret"),
    "an absolute directory": (lambda out: [directory(out, mode=0o700)], "{out}"),
    "a file in the place of a link": (lambda out: [symlink("x", f"{out}/secret"), file("x", b"new")], "x"),
    "a directory in the place of a link": (
        lambda out: [symlink("x", out), directory("x"), file("x/secret")],
        "x/secret",
    ),
    "a link that is hard linked": (lambda out: [symlink("x", f"{out}/secret"), hardlink("y", "x")], "y"),
    "an absolute hard link": (lambda out: [file("x", b"new"), hardlink("y", "/x")], "y"),
    "a pipe in the place of a link": (lambda out: [symlink("x", f"{out}/secret"), entry("x", b"6")], "x"),
}


@pytest.mark.parametrize(("entries", "lands"), INSIDE.values(), ids=INSIDE)
def test_a_member_that_could_lead_out_lands_inside(
    store: ImageStore, tmp_path: Path, entries: Callable[[str], list[Entry]], lands: str
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir(mode=0o755)
    (outside / "secret").write_text("secret")
    before = outside.stat(), (outside / "secret").stat()
    (tmp_path / "rootfs.tar").write_bytes(tar([directory("bin"), *entries(str(outside))]))
    root = store.resolve("./rootfs.tar", tmp_path).layers[0]
    assert (outside / "secret").read_text() == "secret"
    assert (outside.stat().st_mode, outside.stat().st_mtime_ns) == (before[0].st_mode, before[0].st_mtime_ns)
    assert (outside / "secret").stat().st_nlink == 1
    assert os.path.lexists(root / lands.format(out=outside).lstrip("/"))


def test_attributes_that_overlayfs_would_obey_are_left_out(store: ImageStore, tmp_path: Path) -> None:
    attributes = {
        "SCHILY.xattr.trusted.overlay.redirect": "/etc",
        "SCHILY.xattr.trusted.overlay.opaque": "y",
        "SCHILY.xattr.user.overlay.opaque": "y",
        "SCHILY.xattr.security.selinux": "system_u",
        "SCHILY.xattr.user.mine": "kept",
    }
    (tmp_path / "rootfs.tar").write_bytes(tar([directory("bin", pax_headers=attributes)]))
    root = store.resolve("./rootfs.tar", tmp_path).layers[0]
    assert {name: os.getxattr(root / "bin", name) for name in os.listxattr(root / "bin")} == {"user.mine": b"kept"}


def test_nobody_but_the_owner_may_look_into_the_store(store: ImageStore, tmp_path: Path) -> None:
    (tmp_path / "rootfs.tar").write_bytes(tar([file("bin/su", mode=0o4755)]))
    assert (store.resolve("./rootfs.tar", tmp_path).layers[0] / "bin/su").stat().st_mode & 0o7777 == 0o4755
    assert store.root.stat().st_mode & 0o077 == 0
