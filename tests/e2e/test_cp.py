"""`cp` into real containers and out of them."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

import pytest

from tests.e2e.yard import Yard

pytestmark = pytest.mark.root


def test_bytes_and_directories_go_in_and_come_back(yard: Yard, tmp_path: Path) -> None:
    yard.run("web", yard.container(), yard.container(name="other"))
    source = tmp_path / "tree"
    (source / "deep/er").mkdir(parents=True)
    (source / "deep/er/data").write_bytes(os.urandom(3_000_001))
    (source / "run").write_text("#!/bin/sh\necho ran\n")
    (source / "run").chmod(0o755)
    yard.node.cli("cp", str(source), "web:/tmp", "-c", "other")
    assert yard.sh("web", "test -e /tmp/tree || echo none") == "none\n", "only into the container that was named"
    assert yard.exec("web", "/tmp/tree/run", container="other") == "ran\n"
    sums = yard.exec("web", "sha256sum", "/tmp/tree/deep/er/data", container="other").split()
    assert sums[0] == hashlib.sha256((source / "deep/er/data").read_bytes()).hexdigest()
    yard.sh("web", "ln -s /etc/passwd /tmp/tree/link", container="other")
    done = yard.node.cli("cp", "default/web:/tmp/tree", str(tmp_path / "back"), "-c", "other")
    assert 'warning: skipping symlink: "' in done.stderr
    assert (tmp_path / "back/deep/er/data").read_bytes() == (source / "deep/er/data").read_bytes()
    assert sorted(path.name for path in (tmp_path / "back").iterdir()) == ["deep", "run"]


def test_files_belong_to_whom_the_container_runs_as(yard: Yard, tmp_path: Path) -> None:
    yard.run("web", yard.container(securityContext={"runAsUser": 1000, "runAsGroup": 1000}))
    (tmp_path / "file").write_text("x")
    yard.node.cli("cp", str(tmp_path / "file"), "web:/tmp/file")
    assert yard.exec("web", "stat", "-c", "%u:%g", "/tmp/file") == "1000:1000\n"


def test_an_image_without_tar_is_told(yard: Yard, rootfs: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    (bare / "bin").mkdir(parents=True)
    shutil.copy2(rootfs / "bin/busybox", bare / "bin/sleep")
    yard.run("web", {**yard.container(), "image": str(bare)})
    done = yard.node.cli("cp", "web:/etc/hosts", str(tmp_path / "hosts"), check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(
        'error: no tar in container "app": exec: "tar": executable file not found in $PATH (hint: cp needs it'
    )
    assert not (tmp_path / "hosts").exists()


def test_the_annotation_says_which_container_is_meant(yard: Yard, tmp_path: Path) -> None:
    annotations = {"kubectl.kubernetes.io/default-container": "other"}
    containers = (yard.container("echo first; sleep infinity"), yard.container("echo other; sleep infinity", "other"))
    yard.run("web", *containers, metadata={"annotations": annotations})
    yard.log_says("web", "other", "other")
    assert yard.node.cli("logs", "web").stdout == "other\n"
    yard.sh("web", "echo here >/tmp/mark", container="other")
    done = yard.node.cli("exec", "web", "--", "cat", "/tmp/mark")
    assert (done.stdout, done.stderr) == ("here\n", "")
    yard.node.cli("cp", "web:/tmp/mark", str(tmp_path / "mark"))
    assert (tmp_path / "mark").read_text() == "here\n"
