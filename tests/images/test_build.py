"""Images made out of directories and archives: reproducible, whole, and read by other tools."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from minikube_lite.images import build
from minikube_lite.images.image import ImageError

CONFIG = {"Entrypoint": ["/bin/sh"], "Env": ["PATH=/bin"]}
CREATED = "2026-01-01T00:00:00Z"


def make(source: Path, layout: Path) -> dict[str, Any]:
    """Build into `layout`; gives the manifest."""
    layout.mkdir()
    maker = build.from_directory if source.is_dir() else build.from_archive
    maker(source, layout, CONFIG, created=CREATED, made_by="test")
    [entry] = json.loads((layout / "index.json").read_text())["manifests"]
    return dict(json.loads(blob(layout, entry["digest"])))


def blob(layout: Path, digest: str) -> bytes:
    return (layout / "blobs" / digest.replace(":", "/")).read_bytes()


def make_root(root: Path) -> Path:
    (root / "bin").mkdir(parents=True)
    (root / "bin/tool").write_bytes(b"tool")
    (root / "bin/tool").chmod(0o4755)
    os.link(root / "bin/tool", root / "bin/same")
    (root / "bin/link").symlink_to("/etc/passwd")
    with open(root / "sparse", "wb") as file:
        file.seek(10 << 20)
        file.write(b"x")
    os.setxattr(root / "bin/tool", "user.note", b"\xff\0")
    for path in [*root.rglob("*"), root]:
        os.utime(path, (1, 1), follow_symlinks=False)
    return root


def test_the_same_files_make_the_same_image(tmp_path: Path) -> None:
    first = make(make_root(tmp_path / "a"), tmp_path / "first")
    second = make(make_root(tmp_path / "b"), tmp_path / "second")
    assert first == second


def test_the_config_says_what_was_asked_for(tmp_path: Path) -> None:
    manifest = make(make_root(tmp_path / "root"), tmp_path / "layout")
    config = json.loads(blob(tmp_path / "layout", manifest["config"]["digest"]))
    assert config["config"] == CONFIG
    assert config["created"] == CREATED
    assert config["os"] == "linux"
    assert config["history"] == [{"created": CREATED, "created_by": "test"}]


@pytest.mark.root
def test_umoci_unpacks_what_was_packed(tmp_path: Path) -> None:
    if not shutil.which("umoci"):
        pytest.skip("no umoci (apt-get install umoci)")
    root = make_root(tmp_path / "root")
    os.mknod(root / "bin/device", 0o20600, os.makedev(1, 3))
    os.chown(root / "bin/tool", 12, 34)
    (root / "bin/tool").chmod(0o4755)
    manifest = make(root, tmp_path / "layout")
    index = json.loads((tmp_path / "layout/index.json").read_text())
    index["manifests"][0]["annotations"] = {"org.opencontainers.image.ref.name": "it"}
    (tmp_path / "layout/index.json").write_text(json.dumps(index))
    unpack = ["umoci", "unpack", "--image", f"{tmp_path}/layout:it", str(tmp_path / "bundle")]
    subprocess.run(unpack, check=True, capture_output=True)
    there = tmp_path / "bundle/rootfs"
    found = (there / "bin/tool").stat()
    assert (found.st_mode & 0o7777, found.st_uid, found.st_gid, found.st_nlink) == (0o4755, 12, 34, 2)
    assert os.readlink(there / "bin/link") == "/etc/passwd"
    assert os.getxattr(there / "bin/tool", "user.note") == b"\xff\0"
    assert (there / "bin/device").stat().st_rdev == os.makedev(1, 3)
    assert (there / "sparse").stat().st_size == (10 << 20) + 1
    assert len(manifest["layers"]) == 1


def test_an_archive_becomes_an_image_whatever_it_is_compressed_with(tmp_path: Path) -> None:
    root = make_root(tmp_path / "root")
    plain, small = tmp_path / "root.tar", tmp_path / "root.tar.xz"
    subprocess.run(["tar", "-C", root, "-cf", plain, "."], check=True)
    subprocess.run(["tar", "-C", root, "-cJf", small, "."], check=True)
    ids = []
    for file in (plain, small):
        manifest = make(file, tmp_path / f"{file.name}.layout")
        ids.append(json.loads(blob(tmp_path / f"{file.name}.layout", manifest["config"]["digest"])))
    assert ids[0] == ids[1]


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (lambda root: None, "is not a directory"),
        (lambda root: root.mkdir(), "is empty: a root file system is expected in it"),
        (lambda root: (root / "a/.wh.b").mkdir(parents=True), "names with `.wh.` mark deleted"),
    ],
)
def test_what_can_be_no_image_is_refused(tmp_path: Path, prepare: Any, message: str) -> None:
    prepare(tmp_path / "root")
    (tmp_path / "layout").mkdir()
    with pytest.raises(ImageError, match=message):
        build.from_directory(tmp_path / "root", tmp_path / "layout", {}, created=CREATED, made_by="test")


def test_the_machine_itself_is_refused(tmp_path: Path) -> None:
    (tmp_path / "layout").mkdir()
    for directory in (Path("/"), tmp_path, tmp_path / "layout"):
        with pytest.raises(ImageError, match="it cannot be in itself"):
            build.from_directory(directory, tmp_path / "layout", {}, created=CREATED, made_by="test")
    assert list((tmp_path / "layout").iterdir()) == []
