"""Kills a process at each of its steps in turn and looks at what it leaves. Run by test_killed: WORK LAYOUT DO.

DO is `load`, `resolve`, `tag` or `collect`. For N = 1, 2, …: a child does it on a store and kills itself (SIGKILL) at
its Nth call of what changes a disk or takes a lock; then another looks whether the store is as it has to be, and does
it again. Ends when a child comes to its end alive; prints the number of steps. Here are no threads, so it may fork.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import sys
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from minikube_lite.images.store import ImageError, ImageStore

STEPS = (
    *("rename", "open", "mkdir", "rmdir", "link", "symlink", "unlink", "mknod"),
    *("fsync", "write", "pwrite", "setxattr", "utime"),
)
NAME = "docker.io/library/layout:v1"


def main(work: Path, layout: Path, what: str) -> None:
    step = 0
    while True:
        step += 1
        root = work / f"store{step}"
        if what != "load":
            _child(partial(_prepare, root, layout, what))
        killed = _child(partial(_dies_at, step, partial(_do, root, layout, what)), may_die=True)
        _child(partial(_look, root, layout, what))
        shutil.rmtree(root)
        if not killed:
            break
    print(step)


def _prepare(root: Path, layout: Path, what: str) -> None:
    store = ImageStore(root)
    if what == "resolve":
        return
    store.load(layout)
    if what == "collect":
        store.lease("pod", store.resolve(NAME, root))
        store.load(layout.with_name("other"))
        assert store.remove("other:v1")


def _do(root: Path, layout: Path, what: str) -> None:
    store = ImageStore(root)
    match what:
        case "load":
            store.load(layout)
        case "resolve":
            store.resolve(str(layout), root)
        case "tag":
            store.tag(NAME, "second:v2")
            store.remove(NAME)
        case "collect":
            store.collect()


def _look(root: Path, layout: Path, what: str) -> None:
    """The store after a kill: nothing half is taken for whole, nothing is left over, and it goes on."""
    before = ImageStore(root)
    for image in before.images():
        _is_whole(before, image.names[0])
    named = {name for image in before.images() for name in image.names}
    assert len(named) == len(list(root.glob("names/[0-9a-f]*"))), "a name is of no image"
    if what == "tag":
        assert named & {NAME, "docker.io/library/second:v2"}
    store = ImageStore(root)
    store.sweep()
    for left in ("tmp", "holds"):
        assert not list((root / left).glob("*")), f"{left} is not empty"
    assert not list(root.glob("names/.*")), "a name was half written"
    if what == "collect":
        assert all(layer.is_dir() for layer in store.resolve(NAME, root).layers)
        store.collect()
        assert len(store.images()) == 1
        assert len(list((root / "layers").iterdir())) == 2
    if what in ("load", "resolve"):
        _do(root, layout, what)
    if what == "resolve":
        _has_files(store.resolve(str(layout), root).layers)
        return
    if what == "tag":
        store.load(layout)
    _is_whole(store, NAME)
    store.collect()
    _is_whole(store, NAME)
    assert not list((root / "partial").iterdir())
    blobs = len(store.blobs.digests())
    assert blobs == 4, f"{blobs} blobs"


def _is_whole(store: ImageStore, name: str) -> None:
    image = store.find(name)
    assert image is not None, name
    for digest in (image.manifest.digest, image.id, *(layer.digest for layer in image.manifest.layers)):
        store.blobs.read(digest)
    _has_files(store.resolve(name, store.root).layers)


def _has_files(layers: tuple[Path, ...]) -> None:
    files = {path.name: path.stat().st_size for layer in layers for path in layer.rglob("*") if path.is_file()}
    assert files == {"one": 3000, "two": 2_000_000}, files


def _dies_at(step: int, do: Callable[[], None]) -> None:
    left = step

    def counted(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            nonlocal left
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*arguments, **named)

        return call

    for name in STEPS:
        setattr(os, name, counted(getattr(os, name)))
    fcntl.flock = counted(fcntl.flock)  # type: ignore[assignment]
    do()


def _child(do: Callable[[], None], may_die: bool = False) -> bool:
    """Whether the child was killed; a failure of it ends us."""
    pid = os.fork()
    if pid == 0:
        try:
            do()
        except (Exception, ImageError):
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if status == -signal.SIGKILL and may_die:
        return True
    if status:
        sys.exit(f"a child ended with {status}")
    return False


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
