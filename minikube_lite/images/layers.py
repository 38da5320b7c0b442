"""Keeps each layer of an image unpacked, once for all images that have it. Called by store and local.

<root>/layers/<hex>/root         the files of the layer whose diff ID is sha256:<hex>, as overlayfs takes them
<root>/layers/<hex>/layer.json   what else is to know of it: see `Layer`
<root>/implied/<sha256>/root     a last layer for images of these layers, where one is needed: see `implied`
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from minikube_lite.images import implied
from minikube_lite.images.archive import ArchiveError, decompress
from minikube_lite.images.digests import hasher
from minikube_lite.images.image import unavailable
from minikube_lite.images.layer_tree import LayerTree
from minikube_lite.images.pipe import ahead
from minikube_lite.images.progress import Progress, Step, nobody
from minikube_lite.images.source import Descriptor, closing
from minikube_lite.images.tree import Parts
from minikube_lite.images.trees import Trees
from minikube_lite.images.unpack import fill

KIND, IMPLIED = "layers", "implied"
KINDS = (KIND, IMPLIED)
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
            check = _Check(diff_id, descriptor, progress)
            with (
                closing(blob(descriptor)) as came,
                contextlib.closing(ahead(check.through(came), f"layer {diff_id[7:19]}")) as pieces,
                LayerTree(target / "root") as tree,
            ):
                count = fill(tree, pieces, end_mark=False)  # its digest tells whether it is whole
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

    @contextlib.contextmanager
    def unpacking(self, blob: Blob, progress: Progress = nobody) -> Iterator[Callable[[str, Descriptor], None]]:
        """Yields what takes layers (diff ID, descriptor), several at a time; its end waits. Raises ImageError there."""
        with ThreadPoolExecutor((os.cpu_count() or 1) + 1, "image unpack") as pool:
            parts: list[Future[None]] = []
            try:
                yield lambda diff_id, at: parts.append(pool.submit(self.make, diff_id, at, blob, progress))
                for part in parts:
                    part.result()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def make_all(self, diff_ids: Sequence[str], descriptors: Sequence[Descriptor], blob: Blob) -> None:
        """Unpack those layers that are not there. Raises ImageError."""
        lacking = {diff_id: at for diff_id, at in zip(diff_ids, descriptors, strict=True) if not self.has(diff_id)}
        if lacking:
            with self.unpacking(blob) as unpack:
                for diff_id, at in lacking.items():
                    unpack(diff_id, at)

    def stack(self, diff_ids: Sequence[str]) -> tuple[Path, ...]:
        """The directories to mount over one another, bottom first; at least one. Raises FileNotFoundError."""
        stack: list[Layer] = []
        for diff_id in reversed(diff_ids):
            layer = self.get(diff_id)
            # Overlayfs takes no directory twice; all that the lower one has, the upper one has.
            if layer.members and layer not in stack:
                stack.append(layer)
            if layer.opaque:
                break
        stack.reverse()
        paths = tuple(layer.path for layer in stack)
        if any(layer.implied for layer in stack[1:]):
            paths += self._implied(diff_ids, stack)
        return paths or (self._empty(),)

    def _implied(self, diff_ids: Sequence[str], stack: Sequence[Layer]) -> tuple[Path, ...]:
        def build(target: Path) -> None:
            (target / "root").mkdir()
            levels = [implied.Level(layer.path, frozenset(layer.implied)) for layer in stack]
            if not implied.build(levels, target / "root"):
                (target / "root").rmdir()

        path = self._trees.make(IMPLIED, _chain(diff_ids), build) / "root"
        return (path,) if path.is_dir() else ()

    def _empty(self) -> Path:
        """What an image of no files runs on."""

        def build(target: Path) -> None:
            (target / "root").mkdir()
            _write(target, 0, 0, False, ())

        return self._trees.make(KIND, _EMPTY, build) / "root"


_EMPTY = hashlib.sha256(bytes(1024)).hexdigest()
"""Of a tar archive with nothing in it."""


def layer_trees(diff_ids: Sequence[str]) -> set[str]:
    """`<kind>/<name>` of every tree that an image of these layers may need."""
    return {f"{KIND}/{tree_name(diff_id)}" for diff_id in diff_ids} | {f"{IMPLIED}/{_chain(diff_ids)}"}


def _chain(diff_ids: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(diff_ids).encode()).hexdigest()


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
