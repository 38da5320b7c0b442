"""Beside GNU tar: an archive made by it, unpacked by both, is the same file by file. Owners and devices need root."""

from __future__ import annotations

import os
import struct
import subprocess
from pathlib import Path

import pytest

from minikube_lite.images.store import ImageStore
from tests.images.archives import tree

pytestmark = pytest.mark.root

FORMS = {
    "v7": ["--exclude=./dev/*", "--exclude=./var/pipe"],
    "oldgnu": ["--sparse"],
    "gnu": ["--sparse"],
    "ustar": ["--exclude=./dev/disk"],
    "posix": ["--xattrs", "--xattrs-include=*"],
    "posix, sparse 0.0": ["--sparse", "--sparse-version=0.0", "--xattrs", "--xattrs-include=*"],
    "posix, sparse 0.1": ["--sparse", "--sparse-version=0.1", "--xattrs", "--xattrs-include=*"],
    "posix, sparse 1.0": ["--sparse", "--sparse-version=1.0", "--xattrs", "--xattrs-include=*"],
}
CAPABILITY = struct.pack("<IIIII", 0x02000001, 1 << 10, 0, 0, 0)
"""A vfs_cap_data of revision 2 with cap_net_bind_service, effective (linux/capability.h)."""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tree with everything that a root file system may hold."""
    root = tmp_path_factory.mktemp("gnu") / "source"
    for name in ("bin", "dev", "etc", "tmp", "usr/lib", "var"):
        (root / name).mkdir(parents=True)
    (root / "tmp").chmod(0o1777)
    (root / "bin/su").write_bytes(b"su")
    os.chown(root / "bin/su", 0, 12)
    (root / "bin/su").chmod(0o6755)
    os.link(root / "bin/su", root / "bin/sudo")
    (root / "bin/ping").write_bytes(os.urandom(3000))
    os.setxattr(root / "bin/ping", "security.capability", CAPABILITY)
    (root / "etc/file").write_bytes(b"data" * 1000)
    os.setxattr(root / "etc/file", "user.binary", b"a\0b\xff=\n")
    os.chown(root / "etc/file", 1234, 54321)
    (root / "etc/secret").write_bytes(b"")
    (root / "etc/secret").chmod(0)
    os.mknod(root / "dev/null", 0o666 | 0o020000, os.makedev(1, 3))
    os.mknod(root / "dev/disk", 0o640 | 0o060000, os.makedev(259, 70000))
    os.mkfifo(root / "var/pipe", 0o620)
    (root / "usr/lib/link").symlink_to("../../etc/file")
    (root / "usr/lib/absolute").symlink_to("/etc/passwd")
    (root / "usr/lib/dangling").symlink_to("no/such/" + "x" * 80)
    os.chown(root / "usr/lib/link", 7, 8, follow_symlinks=False)
    os.link(root / "usr/lib/link", root / "usr/lib/link2", follow_symlinks=False)
    (root / "usr/lib/a b\n\\é").write_bytes(b"name")
    (root / os.fsdecode(b"usr/lib/\xff\xfe")).write_bytes(b"not UTF-8")
    (root / "usr/empty").mkdir(mode=0o500)
    os.chown(root / "usr/empty", 99, 100)
    with open(root / "var/sparse", "wb") as sparse:
        for at in range(40):  # more pieces than a header block holds, and than one block after it does
            sparse.seek(at * 65536)
            sparse.write(b"piece %d" % at)
        sparse.truncate(16 << 20)
    with open(root / "var/hole", "wb") as hole:
        hole.truncate(1 << 20)
    for number, path in enumerate(sorted(root.rglob("*"), reverse=True)):
        os.utime(path, ns=(0, (1_600_000_000 + number) * 10**9 + number * 1_000_001), follow_symlinks=False)
    return root


def compare(source: Path, tmp_path: Path, options: list[str]) -> tuple[Path, Path]:
    archive, theirs = tmp_path / "rootfs.tar", tmp_path / "theirs"
    subprocess.run(["tar", *options, "-C", source, "-cf", archive, "."], check=True, stderr=subprocess.DEVNULL)
    theirs.mkdir()
    unpack = ["tar", "--numeric-owner", "--xattrs", "--xattrs-include=*", "-C", theirs, "-xpf", archive]
    subprocess.run(unpack, check=True, stderr=subprocess.DEVNULL)
    ours = ImageStore(tmp_path / "images").resolve(str(archive), tmp_path).layers[0]
    return ours, theirs


@pytest.mark.parametrize("form", FORMS)
def test_what_gnu_tar_packs_is_unpacked_as_gnu_tar_does(source: Path, tmp_path: Path, form: str) -> None:
    options = [f"--format={form.split(',')[0]}", *FORMS[form]]
    ours, theirs = compare(source, tmp_path, options)
    assert tree(ours) == tree(theirs)
    assert len(tree(ours)) > 20
    if "--sparse" in options:
        assert (ours / "var/sparse").stat().st_blocks < 1000
        assert (ours / "var/hole").stat().st_blocks == 0
    if form.startswith("posix"):
        assert os.getxattr(ours / "bin/ping", "security.capability") == CAPABILITY
        assert tree(ours) == tree(source)


def test_a_long_path_and_a_long_link_survive_in_each_form(tmp_path: Path) -> None:
    source = tmp_path / "source"
    deep = source / "bin" / ("d" * 120) / ("e" * 120)
    deep.mkdir(parents=True)
    (deep / ("f" * 200)).write_bytes(b"x")
    (deep / "link").symlink_to("g" * 300)
    os.link(deep / ("f" * 200), deep / "hard")
    for form in ("gnu", "oldgnu", "posix"):
        (tmp_path / form).mkdir()
        ours, theirs = compare(source, tmp_path / form, [f"--format={form}"])
        assert tree(ours) == tree(theirs)
        assert (deep.relative_to(source) / "hard").as_posix() in tree(ours)


def test_an_archive_with_file_twice_is_unpacked(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "bin").mkdir(parents=True)
    (source / "bin/a").write_bytes(b"a")
    archive = tmp_path / "twice.tar"
    subprocess.run(["tar", "-C", source, "-cf", archive, "bin/a", "bin/a", "./bin/a"], check=True)
    ours = ImageStore(tmp_path / "images").resolve(str(archive), tmp_path).layers[0]
    assert (ours / "bin/a").read_bytes() == b"a"
