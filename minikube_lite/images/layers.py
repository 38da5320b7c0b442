"""Keeps each layer of an image unpacked, once for all images that have it. Called by store and local.

<root>/layers/<hex>/root         the files of the layer whose diff ID is sha256:<hex>, as overlayfs takes them
<root>/layers/<hex>/layer.json   what else is to know of it: see `Layer`
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from minikube_lite.images.archive import ArchiveError, decompress
from minikube_lite.images.digests import hasher
from minikube_lite.images.image import unavailable
from minikube_lite.images.layer_tree import LayerTree
from minikube_lite.images.pipe import ahead
from minikube_lite.images.progress import Progress, Step, nobody
from minikube_lite.images.source import Descriptor
from minikube_lite.images.tree import Parts
from minikube_lite.images.trees import Trees
from minikube_lite.images.unpack import fill

KIND = "layers"
RATIO_MAX, RATIO_FROM = 200, 1 << 30
"""A layer that unpacks to more than 1 GiB and to more than 200 times its own size is refused as a bomb."""

Blob = Callable[[Descriptor], Iterator[bytes]]
"""Gives a blob's bytes, from its start."""


@dataclass(frozen=True, slots=True)
class Layer:
    """One unpacked layer."""

    path: Path
    size: int
    """Bytes of the disk that its files take."""
    members: int
    """Names in it; 0 for an empty one."""
    opaque: bool
    """Nothing of the layers below it is to be seen."""
    implied: tuple[str, ...]
    """Directories that it does not describe, but has files in; `/` between the parts, surrogateescape."""


class Layers:
    """The layers below `root`, as trees of the kind `layers`."""

    def __init__(self, root: Path, trees: Trees) -> None:
        self.root = root
        self._trees = trees

    def has(self, diff_id: str) -> bool:
        return self._trees.has(KIND, tree_name(diff_id))

    def get(self, diff_id: str) -> Layer:
        """Raises FileNotFoundError."""
        directory = self.root / KIND / tree_name(diff_id)
        known = json.loads((directory / "layer.json").read_bytes())
        return Layer(directory / "root", known["size"], known["members"], known["opaque"], tuple(known["implied"]))

    def make(self, diff_id: str, descriptor: Descriptor, blob: Blob, progress: Progress = nobody) -> None:
        """Unpack the layer, unless it is there. Raises ImageError; leaves nothing half-done."""

        def build(target: Path) -> None:
            (target / "root").mkdir()
            pieces = ahead(_Check(diff_id, descriptor, progress).through(blob(descriptor)), f"layer {diff_id[7:19]}")
            with LayerTree(target / "root") as tree:
                count = 0

                def expect(parts: object, member: object) -> None:
                    nonlocal count
                    count += 1

                fill(tree, pieces, expect, end_mark=False)  # its digest tells whether it is whole
                tree.finish()
                _write(target, tree.size, count, tree.opaque, tree.implied)

        try:
            self._trees.make(KIND, tree_name(diff_id), build)
        except ArchiveError as error:
            raise unavailable(f"cannot unpack its layer {descriptor.digest}: {error}") from error
        except OSError as error:
            where = f"cannot unpack its layer {descriptor.digest} into `{self.root}`"
            raise unavailable(f"{where}: {error.strerror}") from error
        progress(Step("unpacking", descriptor.digest, descriptor.size, descriptor.size))

    def make_all(
        self, diff_ids: Sequence[str], descriptors: Sequence[Descriptor], blob: Blob, progress: Progress = nobody
    ) -> None:
        """Unpack those layers that are not there, several at a time. Raises ImageError."""
        lacking = {diff_id: at for diff_id, at in zip(diff_ids, descriptors, strict=True) if not self.has(diff_id)}
        if not lacking:
            return
        with ThreadPoolExecutor(min(len(lacking), (os.cpu_count() or 1) + 1), "image unpack") as pool:
            parts = [pool.submit(self.make, diff_id, at, blob, progress) for diff_id, at in lacking.items()]
            try:
                for part in parts:
                    part.result()
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise

    def stack(self, diff_ids: Sequence[str]) -> tuple[Path, ...]:
        """The directories to mount over one another, bottom first; at least one. Raises FileNotFoundError."""
        stack: list[Path] = []
        for diff_id in reversed(diff_ids):
            layer = self.get(diff_id)
            # Overlayfs takes no directory twice; all that the lower one has, the upper one has.
            if layer.members and layer.path not in stack:
                stack.append(layer.path)
            if layer.opaque:
                break
        return tuple(reversed(stack)) or (self._empty(),)

    def _empty(self) -> Path:
        """What an image of no files runs on."""

        def build(target: Path) -> None:
            (target / "root").mkdir()
            _write(target, 0, 0, False, ())

        return self._trees.make(KIND, _EMPTY, build) / "root"


_EMPTY = hashlib.sha256(bytes(1024)).hexdigest()
"""Of a tar archive with nothing in it."""


def _write(target: Path, size: int, members: int, opaque: bool, implied: Iterable[Parts]) -> None:
    names = sorted(os.fsdecode(b"/".join(parts)) for parts in implied)
    known = {"size": size, "members": members, "opaque": opaque, "implied": names}
    (target / "layer.json").write_text(json.dumps(known))


def tree_name(diff_id: str) -> str:
    """The tree's name: the hexadecimal digits alone."""
    return diff_id.partition(":")[2]


class _Check:
    """Sees a layer's bytes pass: counts them, and compares both digests at the end."""

    def __init__(self, diff_id: str, descriptor: Descriptor, progress: Progress) -> None:
        self._diff_id, self._descriptor, self._progress = diff_id, descriptor, progress
        self._size = 0
        self._digest = hasher(descriptor.digest)

    def through(self, blob: Iterator[bytes]) -> Iterator[bytes]:
        """The archive's bytes, uncompressed. Raises ArchiveError where they are not what they should be."""
        unpacked, diff = 0, hasher(self._diff_id)
        for piece in decompress(self._count(blob)):
            unpacked += len(piece)
            if unpacked > RATIO_FROM and unpacked > RATIO_MAX * self._descriptor.size:
                raise ArchiveError(
                    f"it unpacks to more than {RATIO_MAX} times its {self._descriptor.size} bytes: a bomb"
                )
            diff.update(piece)
            yield piece
        _compare("bytes", self._descriptor.digest, self._digest)
        _compare("unpacked bytes", self._diff_id, diff)

    def _count(self, blob: Iterator[bytes]) -> Iterator[bytes]:
        for piece in blob:
            self._digest.update(piece)
            self._size += len(piece)
            self._progress(Step("unpacking", self._descriptor.digest, self._size, self._descriptor.size))
            yield piece


def _compare(what: str, wanted: str, found: object) -> None:
    digest = f"{found.name}:{found.hexdigest()}"  # type: ignore[attr-defined]
    if digest != wanted:
        raise ArchiveError(f"its {what} have another digest than they should: {digest}, not {wanted}")
