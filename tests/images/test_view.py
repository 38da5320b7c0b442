"""An image's files seen without a mount: layers, whiteouts, opaque directories, and links that would lead out."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import pytest

from minikube_lite.images.copy_up import copy_directory
from minikube_lite.images.view import Directory, View
from tests.images.archives import tree


@pytest.fixture
def layers(tmp_path: Path) -> list[Path]:
    made = [tmp_path / name for name in ("bottom", "middle", "top")]
    for layer in made:
        (layer / "etc").mkdir(parents=True)
    return made


def read(view: View, path: str) -> str:
    with view.open(path) as descriptor:
        return os.read(descriptor, 100).decode()


def test_the_topmost_layer_that_has_a_file_wins(layers: list[Path]) -> None:
    (layers[0] / "etc/a").write_text("bottom")
    (layers[1] / "etc/a").write_text("middle")
    (layers[0] / "etc/b").write_text("only")
    with View(layers) as view:
        assert (read(view, "/etc/a"), read(view, "etc/b")) == ("middle", "only")
        etc = view.find("/etc")
        assert isinstance(etc, Directory)
        assert view.names(etc) == ["a", "b"]


@pytest.mark.parametrize(
    ("link", "path"),
    [
        ("/real", "/etc/link/file"),
        ("../real", "/etc/link/file"),
        ("../../../../../real", "/etc/link/file"),
        ("/../../real", "/etc/link/file"),
        (".//../real/./", "etc/link/file"),
    ],
)
def test_links_are_followed_inside_the_image_through_all_layers(layers: list[Path], link: str, path: str) -> None:
    (layers[0] / "real").mkdir()
    (layers[0] / "real/file").write_text("inside")
    (layers[2] / "etc/link").symlink_to(link)
    with View(layers) as view:
        assert read(view, path) == "inside"


@pytest.mark.parametrize("link", ["/etc/hostname", "../../../../../../../etc/hostname", "/proc/self/root/etc/hostname"])
def test_no_link_leads_to_this_machine_s_files(layers: list[Path], link: str) -> None:
    (layers[1] / "etc/passwd").symlink_to(link)
    assert Path("/etc/hostname").exists()
    with View(layers) as view, pytest.raises(FileNotFoundError), view.open("/etc/passwd"):
        pass


def test_links_in_a_circle_are_an_error(layers: list[Path]) -> None:
    (layers[0] / "a").symlink_to("b")
    (layers[0] / "b").symlink_to("a")
    with View(layers) as view, pytest.raises(OSError, match="symbolic links"):
        view.find("/a")


@pytest.mark.parametrize("path", ["/etc/a/b", "/etc/none", "/none/x", "/etc/a/.."])
def test_what_is_not_there_is_not_found(layers: list[Path], path: str) -> None:
    (layers[0] / "etc/a").write_text("a file")
    with View(layers) as view:
        assert view.find(path) is None


@pytest.mark.root
def test_whiteouts_and_opaque_directories_hide_what_is_below(layers: list[Path]) -> None:
    for name in ("gone", "kept"):
        (layers[0] / f"etc/{name}").write_text(name)
    (layers[0] / "data").mkdir()
    (layers[0] / "data/old").write_text("old")
    os.mknod(layers[1] / "etc/gone", 0o600 | stat.S_IFCHR, 0)
    (layers[1] / "data").mkdir()
    os.setxattr(layers[1] / "data", "trusted.overlay.opaque", b"y")
    (layers[2] / "data").mkdir()
    (layers[2] / "data/new").write_text("new")
    with View(layers) as view:
        assert view.find("/etc/gone") is None
        assert read(view, "/etc/kept") == "kept"
        assert view.find("/data/old") is None
        for path, names in (("/etc", ["kept"]), ("/data", ["new"])):
            found = view.find(path)
            assert isinstance(found, Directory)
            assert view.names(found) == names


@pytest.mark.root
def test_a_directory_above_a_file_and_a_file_above_a_directory(layers: list[Path]) -> None:
    (layers[0] / "a").write_text("file")
    (layers[1] / "a").mkdir()
    (layers[1] / "a/x").write_text("x")
    (layers[0] / "b").mkdir()
    (layers[0] / "b/x").write_text("x")
    (layers[1] / "b").write_text("file")
    with View(layers) as view:
        assert read(view, "/a/x") == "x"
        assert read(view, "/b") == "file"
        assert view.find("/b/x") is None


@pytest.mark.root
def test_a_copy_is_what_the_kernel_s_overlay_shows(layers: list[Path], tmp_path: Path) -> None:
    data = layers[0] / "data"
    (data / "deep/er").mkdir(parents=True)
    (data / "deep/file").write_bytes(b"x" * 3_000_000)
    (data / "gone").write_text("gone")
    with open(data / "holes", "wb") as file:
        file.seek(50 << 20)
        file.write(b"end")
    (data / "link").symlink_to("/etc/passwd")
    os.mkfifo(data / "pipe")
    os.link(data / "deep/file", data / "again")
    os.chown(data / "deep", 999, 998)
    (data / "deep").chmod(0o2750)
    (layers[1] / "data/deep").mkdir(parents=True)
    (layers[1] / "data/deep/more").write_text("more")
    (layers[1] / "data/deep/more").chmod(0o4711)
    os.mknod(layers[1] / "data/gone", 0o600 | stat.S_IFCHR, 0)
    os.chown(layers[1] / "data", 101, 102)
    (layers[1] / "data").chmod(0o700)
    target = tmp_path / "copy"
    target.mkdir()
    with View(layers) as view:
        assert copy_directory(view, "/data", target)
        assert not copy_directory(view, "/none", target)
    merged = tmp_path / "merged"
    merged.mkdir()
    script = (
        f"mount -t overlay overlay -o lowerdir={':'.join(map(str, reversed(layers)))} {merged} "
        f"&& cp -a {merged}/data {tmp_path}/expected"
    )
    subprocess.run(["unshare", "-m", "sh", "-c", script], check=True)
    assert tree(target) == tree(tmp_path / "expected")
    assert (target / "holes").stat().st_blocks < 1000
