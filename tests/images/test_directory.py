"""A directory as an image: taken as it is, never written to, refused with a reason."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from minikube_lite.images.store import ImageError, ImageStore


def rootfs(path: Path) -> Path:
    (path / "bin").mkdir(parents=True)
    (path / "bin" / "sh").write_text("#!")
    return path


def test_a_directory_is_one_layer_and_is_not_written_to(store: ImageStore, tmp_path: Path) -> None:
    root = rootfs(tmp_path / "rootfs")
    before = [(path, path.lstat()) for path in sorted(root.rglob("*"))]
    image = store.resolve("./rootfs", tmp_path)
    assert (image.layers, image.id) == ((root.resolve(),), f"dir:{root.resolve()}")
    assert (image.config, image.mounts, image.reference) == ({}, (), "./rootfs")
    assert before == [(path, path.lstat()) for path in sorted(root.rglob("*"))]
    assert store.is_cheap("./rootfs", tmp_path)
    assert not store.root.exists()


def test_a_symbolic_link_to_a_directory_is_followed_once(store: ImageStore, tmp_path: Path) -> None:
    root = rootfs(tmp_path / "v1")
    (tmp_path / "current").symlink_to("v1")
    image = store.resolve("./current", tmp_path)
    assert image.layers == (root.resolve(),)


def test_a_directory_with_only_a_program_is_an_image(store: ImageStore, tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "server").write_bytes(b"\x7fELF")
    assert store.resolve("./app", tmp_path).layers


def test_a_dot_in_a_root_file_system_is_that_root_file_system(store: ImageStore, tmp_path: Path) -> None:
    root = rootfs(tmp_path / "rootfs")
    (root / "pod.yaml").touch()
    assert store.resolve(".", root).layers == (root.resolve(),)


def _fifo(path: Path) -> None:
    os.mkfifo(path / "x")


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(path / "x"))


@pytest.mark.parametrize(
    ("make", "reference", "says"),
    [
        (lambda path: None, "./x", "does not exist (its directory"),
        (lambda path: None, "./x/y/z", "the nearest that does is `{path}`"),
        (lambda path: (path / "x").symlink_to("gone"), "./x", "is a symbolic link to `gone`, where nothing is"),
        (lambda path: (path / "x").symlink_to("x"), "./x", "Too many levels of symbolic links"),
        (lambda path: (path / "f").touch(), "./f/x", "does not exist"),
        (lambda path: (path / "x").mkdir(), "./x", "is empty"),
        (_fifo, "./x", "is a named pipe"),
        (_socket, "./x", "is a socket"),
        (lambda path: None, "/dev/null", "is a character device"),
        (lambda path: None, "/", "hint: `image: host`"),
        (lambda path: (path / "pod.yaml").touch(), ".", "is a directory of manifests"),
        (lambda path: rootfs(path / "x" / "rootfs"), "./x/", "did you mean `./x/rootfs`?"),
        (lambda path: ((path / "x").mkdir(), (path / "x/oci-layout").touch()), "./x", "without an `index.json`"),
        (lambda path: rootfs(path / "images"), "./images", "minikube-lite's own files"),
        (lambda path: rootfs(path), ".", "minikube-lite's own files"),
        (lambda path: (path / "rootfs").mkdir(), "rootfs", "did you mean the path `./rootfs`?"),
        (lambda path: None, "nginx:1.25", "`docker.io/library/nginx:1.25` is not on this machine"),
    ],
)
def test_what_cannot_be_an_image_says_why(
    make: Callable[[Path], object], reference: str, says: str, tmp_path: Path
) -> None:
    store = ImageStore(tmp_path / "images")
    base = tmp_path if "own files" in says else tmp_path / "base"
    base.mkdir(exist_ok=True)
    make(base)
    with pytest.raises(ImageError) as caught:
        store.resolve(reference, base)
    assert caught.value.reason == "ErrImagePull"
    assert says.format(path=base) in caught.value.message
    assert store.is_cheap(reference, base)
