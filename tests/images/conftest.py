"""An image store of its own for each test, and proof that failures leave nothing in it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from minikube_lite.images.store import ImageError, ImageStore


@pytest.fixture
def store(tmp_path: Path) -> ImageStore:
    return ImageStore(tmp_path / "images")


@pytest.fixture
def refused(store: ImageStore, tmp_path: Path) -> Callable[[bytes], str]:
    """Resolve an archive of these bytes, which must fail, change nothing and leave nothing; returns the message."""

    def refused(data: bytes) -> str:
        outside = tmp_path / "outside"
        outside.mkdir(exist_ok=True)
        (outside / "secret").write_text("secret")
        archive = tmp_path / "rootfs.tar"
        archive.write_bytes(data)
        with pytest.raises(ImageError) as caught:
            store.resolve("./rootfs.tar", tmp_path)
        assert caught.value.reason == "ErrImagePull"
        assert str(archive) in caught.value.message
        assert sorted(os.listdir(tmp_path)) in (["images", "outside", "rootfs.tar"], ["outside", "rootfs.tar"])
        assert {path.name: path.read_text() for path in outside.iterdir()} == {"secret": "secret"}
        for kind in ("rootfs", "tmp", "unsynced", "known"):
            assert not list((store.root / kind).glob("*")), kind
        return caught.value.message

    return refused
