"""Images made by tools that are not ours: umoci puts them together, skopeo and podman write them in other forms."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

NAME = "example.org/app:v1"


def need(*programs: str) -> None:
    """Skip the test where one of the programs is missing; tests/run.sh installs them."""
    for program in programs:
        if not shutil.which(program):
            pytest.skip(f"the program {program} is not installed (apt-get install {program})")


def run(*command: str | Path, cwd: Path | None = None) -> str:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, cwd=cwd)
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout


def layout(work: Path, rootfs: Path) -> Path:
    """An OCI layout of one image, `v1`, in `work`, with every way that a layer has to change those below it.

    Its layers: the root file system, and /data with `old` and `kept`; one more file; a file deleted, and a directory;
    /data emptied but for `new`. /private is 0700 and 1000's in the first layer, and a later one only has a file in it.
    """
    need("umoci")
    target = work / "layout"
    run("umoci", "init", "--layout", target)
    image = f"{target}:v1"
    run("umoci", "new", "--image", image)
    first = work / "first"
    shutil.copytree(rootfs, first, symlinks=True)
    for name in ("data/old", "data/kept", "private/secret", "gone/file", "etc/gone"):
        (first / name).parent.mkdir(exist_ok=True)
        (first / name).write_text(f"{name}\n")
    shutil.chown(first / "private", 1000, 1000)
    (first / "private").chmod(0o700)
    run("umoci", "insert", "--image", image, first, "/")
    new = work / "new"
    new.mkdir()
    (new / "new").write_text("new\n")
    run("umoci", "insert", "--image", image, new / "new", "/private/new")
    run("umoci", "insert", "--image", image, "--whiteout", "/etc/gone")
    run("umoci", "insert", "--image", image, "--whiteout", "/gone")
    run("umoci", "insert", "--image", image, "--opaque", new, "/data")
    entrypoint = [f"--config.entrypoint={word}" for word in ("/bin/sh", "-c")]
    command = [f"--config.cmd={word}" for word in ("echo $GREETING; exec sleep infinity",)]
    settings = ("--config.env=GREETING=hello", "--config.workingdir=/data", "--config.user=0", "--os=linux")
    run("umoci", "config", "--image", image, *entrypoint, *command, *settings)
    shutil.rmtree(first)
    return target


def convert(source: str, target: str, *options: str) -> None:
    """`skopeo copy`, of names as containers-transports(5) has them."""
    need("skopeo")
    run("skopeo", "--insecure-policy", "copy", "--quiet", *options, source, target)


def compressed(path: Path, program: str) -> Path:
    """The file, compressed beside itself by `gzip`, `zstd` or `xz`."""
    need(program)
    target = path.with_name(f"{path.name}.{program}")
    with target.open("wb") as out:
        subprocess.run([program, "-1", "-c", path], stdout=out, check=True)
    return target
