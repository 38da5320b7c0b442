"""An image of 5 layers and 200 MB, from a layout to unpacked layers: ours against `skopeo copy` + `umoci unpack`."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.measure import Table, ratio, spread, version

LAYERS, LAYER_BYTES, FILE_MAX = 5, 40_000_000, 20_000_000
TOPS = ("/usr/lib", "/usr/share", "/usr/bin", "/usr/include")
"""What the image is made of: this machine's own programs, libraries and documents, so as many files as real images."""
RESOLVE = "import sys, pathlib; from minikube_lite.images.store import ImageStore; " + (
    "ImageStore(pathlib.Path(sys.argv[1])).resolve(sys.argv[2], pathlib.Path('/'))"
)


def measure(work: Path, rounds: int) -> Table:
    layout, files, size = _make(work)
    image = f"{layout}:v1"
    cli = [sys.executable, "-m", "minikube_lite"]
    ways: dict[str, Callable[[Path], list[list[str]]]] = {
        "`skopeo copy` + `umoci unpack`": lambda at: [
            ["skopeo", "--insecure-policy", "copy", "--quiet", f"oci:{image}", f"oci:{at}/copy:v1"],
            ["umoci", "unpack", "--image", f"{at}/copy:v1", f"{at}/bundle"],
        ],
        "**`minikube-lite image load`**": lambda at: [[*cli, "--root", str(at), "image", "load", image]],
        "**`image: ./layout:v1` in a pod**": lambda at: [[sys.executable, "-c", RESOLVE, f"{at}/images", image]],
    }
    took: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds):
        for name in random.sample(list(ways), len(ways)):
            target = work / f"round{number}"
            target.mkdir()
            os.sync()
            begin = time.perf_counter()
            for command in ways[name](target):
                subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            took[name].append(time.perf_counter() - begin)
            shutil.rmtree(target)
    table = Table("An image of 200 MB", ("", "median", "spread", "× skopeo + umoci"))
    first = next(iter(took.values()))
    for name, seconds in took.items():
        table.rows.append((name, *spread(seconds, "s"), ratio(seconds, first)))
    table.notes.append(
        f"{rounds} rounds, each runs every row once, in random order, from an OCI layout of {LAYERS} gzip layers, "
        f"{size / 1e6:.0f} MB and {files} files unpacked, to a new directory. All start as new processes, check every "
        "digest and keep owners, modes and times. `umoci` unpacks the layers over one another and writes a manifest of "
        "the tree (mtree); minikube-lite keeps each layer by itself. `image load` also keeps the blobs, as `skopeo` "
        "does, and waits until they are on the disk (fsync), which `skopeo` does not."
    )
    table.notes.append(f"{version('skopeo', '--version')}, {version('umoci', '--version')}.")
    return table


def _make(work: Path) -> tuple[Path, int, int]:
    """The layout, how many files it has, and their bytes."""
    layout, files, size = work / "layout", 0, 0
    subprocess.run(["umoci", "init", "--layout", layout], check=True)
    subprocess.run(["umoci", "new", "--image", f"{layout}:v1"], check=True)
    found = _files()
    for _ in range(LAYERS):
        layer, end = work / "layer.tar", size + LAYER_BYTES
        with tarfile.open(layer, "w") as archive:
            while size < end and (path := next(found, None)):
                archive.add(path, arcname=path[1:], recursive=False)
                files, size = files + 1, size + os.lstat(path).st_size
        subprocess.run(["umoci", "raw", "add-layer", "--image", f"{layout}:v1", layer], check=True)
        layer.unlink()
    return layout, files, size


def _files() -> Iterator[str]:
    for top in TOPS:
        for directory, folders, names in os.walk(top):
            folders.sort()
            for name in sorted(names):
                path = os.path.join(directory, name)
                if os.path.isfile(path) and os.lstat(path).st_size <= FILE_MAX:
                    yield path
