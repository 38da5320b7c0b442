"""Turns what lies at a path into an `Image`: a directory, an archive or a layout, used where it is. Called by store.

<root>/rootfs/<sha256>   the tree of the root file system archive with this digest (see `trees`)
<root>/known/<sha256>    what was found at this path when it had this size and time, so as not to read it again

Of an image with layers only these are kept (see `layers`); it gets no name and its blobs stay where they are.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from minikube_lite.images import directory, forms, records, tar
from minikube_lite.images.archive import ArchiveError, open_stream
from minikube_lite.images.copying import look
from minikube_lite.images.image import Image, ImageError, unavailable
from minikube_lite.images.layers import Layers
from minikube_lite.images.leases import Leases
from minikube_lite.images.progress import Progress, nobody
from minikube_lite.images.trees import Trees
from minikube_lite.images.unpack import unpack


class Local:
    """The images at paths, unpacked below `root`."""

    def __init__(self, root: Path, trees: Trees, layers: Layers, leases: Leases) -> None:
        self.root = root
        self._trees = trees
        self._layers = layers
        self._leases = leases

    def resolve(self, image: str, path: Path, base_dir: Path, progress: Progress = nobody) -> Image:
        """What a container runs on whose image is at `path`. Raises ImageError."""
        at, name = forms.split_path(path)
        mode = _mode(at)
        with self.named(at):
            if stat.S_ISDIR(mode):
                if not forms.is_layout(at):
                    _no_name(at, name)
                    return directory.open_directory(image, at, base_dir, self.root)
                stamp = _stamp(os.stat(forms.index(at)))
                known = self._known(image, at, name, stamp)
                return known or self._unpack(image, at, name, stamp, forms.open_layout(at))
            with open(at, "rb", buffering=0) as file:
                stamp = _stamp(os.fstat(file.fileno()))
                if known := self._known(image, at, name, stamp):
                    return known
                self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
                if found := forms.open_archive(file, self.root):
                    return self._unpack(image, at, name, stamp, found)
                _no_name(at, name)
                return self._rootfs(image, at, stamp, file)

    @contextlib.contextmanager
    def open(self, path: Path) -> Iterator[forms.ImageFile]:
        """The images at a path as a source. Raises ImageError, also for a root file system: it is no image to load."""
        mode = _mode(path)
        with self.named(path):
            if stat.S_ISDIR(mode):
                found: forms.ImageFile | None = forms.open_layout(path) if forms.is_layout(path) else None
            else:
                self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
                with open(path, "rb", buffering=0) as file:
                    found = forms.open_archive(file, self.root)
            if found is None:
                raise unavailable("it is a root file system, not an image with a config (hint: use its path as it is)")
        with contextlib.closing(found):
            yield found

    @contextlib.contextmanager
    def named(self, path: Path) -> Iterator[None]:
        """Say with every failure what it was that could not be used."""
        try:
            yield
        except ArchiveError as error:
            raise unavailable(f"cannot unpack `{path}`: {error}") from error
        except OSError as error:
            raise unavailable(f"cannot unpack `{path}` into `{self.root}`: {error.strerror}") from error
        except ImageError as error:
            if str(path) in error.message:
                raise
            raise ImageError(error.reason, f"cannot use `{path}`: {error.message}") from error

    def is_cheap(self, path: Path) -> bool:
        """Whether `resolve` would answer at once."""
        at, name = forms.split_path(path)
        found = os.stat(forms.index(at) if forms.is_layout(at) else at)
        return not stat.S_ISREG(found.st_mode) or self._known("", at, name, _stamp(found)) is not None

    def sweep(self) -> None:
        """Forget what was found where its trees are no more."""
        for path in records.paths(self.root / "known"):
            known = records.read(path)
            if known is None or not self._has(known):
                path.unlink(missing_ok=True)
        records.sweep(self.root / "known")

    def _unpack(self, image: str, path: Path, name: str, stamp: list[int], source: forms.ImageFile) -> Image:
        with contextlib.closing(source), self._leases.hold() as hold:
            found = look(source, name)
            config = found.config
            hold.image(found.target, found.manifest, config)
            self._layers.make_all(config.diff_ids, found.manifest.layers, source.blob)
            stack = self._layers.stack(config.diff_ids)
        known = {"id": config.digest, "diff_ids": config.diff_ids, "config": config.config}
        self._remember(path, name, stamp, known)
        return Image(image, config.digest, stack, config.config)

    def _rootfs(self, image: str, path: Path, stamp: list[int], file: io.FileIO) -> Image:
        file.seek(0)
        next(tar.members(tar.Reader(open_stream(file))), None)  # tells what is no archive before all is read
        file.seek(0)
        digest = hashlib.file_digest(file, "sha256").hexdigest()

        def build(target: Path) -> None:
            file.seek(0)
            unpack(open_stream(file), target)
            if _stamp(os.fstat(file.fileno())) != stamp:
                raise ArchiveError("it changed while it was read")

        with self._leases.hold() as hold:
            hold.add(trees=(f"rootfs/{digest}",))
            layer = self._trees.make("rootfs", digest, build)
        self._remember(path, "", stamp, {"id": f"sha256:{digest}", "rootfs": digest})
        return Image(image, f"sha256:{digest}", (layer,))

    # -- what was found before ---------------------------------------------------------------------------------------

    def _known_file(self, path: Path, name: str) -> Path:
        key = os.fsencode(os.path.realpath(path)) + (b"\0" + name.encode() if name else b"")
        return self.root / "known" / hashlib.sha256(key).hexdigest()

    def _known(self, image: str, path: Path, name: str, stamp: list[int]) -> Image | None:
        """The image, where it was read before and its size and time stamps are still the same."""
        file = self._known_file(path, name)
        known = records.read(file)
        if known is None or known["stamp"] != stamp or not self._has(known):
            return None
        # A file can change twice within one tick of its time stamp: one that had just changed is not trusted (git's
        # racy-git.txt). A tick is at most 10 ms, of FAT 2 s.
        try:
            if file.stat().st_mtime_ns - stamp[4] < 2_000_000_000:
                return None
        except FileNotFoundError:
            return None
        if "rootfs" in known:
            return Image(image, known["id"], (self.root / "rootfs" / known["rootfs"],))
        try:
            return Image(image, known["id"], self._layers.stack(known["diff_ids"]), known["config"])
        except FileNotFoundError:  # removed just now
            return None

    def _has(self, known: dict[str, Any]) -> bool:
        if "rootfs" in known:
            return self._trees.has("rootfs", known["rootfs"])
        return all(self._layers.has(diff_id) for diff_id in known["diff_ids"])

    def _remember(self, path: Path, name: str, stamp: list[int], known: dict[str, Any]) -> None:
        with contextlib.suppress(OSError):  # on a full disk the image is there all the same: it is read again next time
            records.write(self._known_file(path, name), {"path": os.fspath(path), "stamp": stamp, **known})


def _mode(path: Path) -> int:
    """Of what is there. Raises ImageError where nothing is, or what can be no image."""
    try:
        mode = os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        raise unavailable(directory.missing(path)) from None
    except OSError as error:
        raise unavailable(f"cannot look at `{path}`: {error.strerror}") from error
    if not stat.S_ISDIR(mode) and not stat.S_ISREG(mode):
        raise unavailable(f"`{path}` is {directory.kind_of(mode)}: a directory or a tar archive is expected")
    return mode


def _no_name(path: Path, name: str) -> None:
    if name:
        raise unavailable(f"`{path}` is a root file system: it holds no image of the name `{name}`")


def _stamp(found: os.stat_result) -> list[int]:
    return [found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns]
