"""The door of `images`: a reference goes in, an `Image` or an `ImageError` comes out. Called by node, from a thread.

<root>/rootfs/<sha256>   the tree of the archive with this digest (see `trees`)
<root>/host/<sha256>     a skeleton of the built-in image `host`
<root>/known/<sha256>    what digest the archive of this path had at this size and time, so as not to read it again
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import stat
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from minikube_lite.images import directory, host, reference, tar
from minikube_lite.images.archive import ArchiveError, open_stream
from minikube_lite.images.image import Image, ImageError, unavailable
from minikube_lite.images.trees import Trees
from minikube_lite.images.unpack import unpack

__all__ = ["Image", "ImageError", "ImageStore"]


class ImageStore:
    """The images below `root`; made where missing. Any number of threads and processes may use one root at once."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._trees = Trees(root, ("rootfs", "host"))
        self._host_mounts: dict[str, tuple[Mapping[str, Any], ...]] = {}
        """By version. Asked once: mountinfo is long with a thousand pods; a mount that comes later is just not seen."""

    def resolve(self, image: str, base_dir: Path) -> Image:
        """What the reference `image` in a manifest of `base_dir` runs on. May block for as long as an archive unpacks.

        Raises ImageError: `InvalidImageName` for what can never work, `ErrImagePull` for what may work later.
        """
        match reference.parse(image, base_dir):
            case reference.BuiltIn():
                return self._host(image)
            case reference.Local(path):
                return self._local(image, path, base_dir)
            case reference.Remote() as remote:
                raise unavailable(_no_registry_yet(image, remote, base_dir))

    def _host(self, image: str) -> Image:
        version = host.fingerprint()
        try:
            layer = self._trees.make("host", version, host.build)
            if version not in self._host_mounts:
                self._host_mounts[version] = host.mounts()
        except OSError as error:
            raise unavailable(f"cannot make the image `host` in `{self.root}`: {error.strerror}") from error
        return Image(image, f"sha256:{version}", (layer,), host.CONFIG, self._host_mounts[version])

    def _local(self, image: str, path: Path, base_dir: Path) -> Image:
        try:
            found = os.stat(path)
        except (FileNotFoundError, NotADirectoryError):
            raise unavailable(directory.missing(path)) from None
        except OSError as error:
            raise unavailable(f"cannot look at `{path}`: {error.strerror}") from error
        if stat.S_ISDIR(found.st_mode):
            return directory.open_directory(image, path, base_dir, self.root)
        if not stat.S_ISREG(found.st_mode):
            kind = directory.kind_of(found.st_mode)
            raise unavailable(f"`{path}` is {kind}: a directory or a tar archive is expected")
        try:
            file = open(path, "rb", buffering=0)  # noqa: SIM115
        except OSError as error:
            raise unavailable(f"cannot read `{path}`: {error.strerror}") from error
        try:
            with file:
                return self._archive(image, path, file)
        except ArchiveError as error:
            raise unavailable(f"cannot unpack `{path}`: {error}") from error
        except OSError as error:
            raise unavailable(f"cannot unpack `{path}` into `{self.root}`: {error.strerror}") from error

    def _archive(self, image: str, path: Path, file: io.FileIO) -> Image:
        stamp = _stamp(os.fstat(file.fileno()))
        digest = self._known(path, stamp)
        if digest is None:
            next(tar.members(tar.Reader(open_stream(file))), None)  # tells what is no archive before all is read
            file.seek(0)
            digest = hashlib.file_digest(file, "sha256").hexdigest()

        def build(target: Path) -> None:
            file.seek(0)
            unpack(open_stream(file), target)
            if _stamp(os.fstat(file.fileno())) != stamp:
                raise ArchiveError("it changed while it was read")

        layer = self._trees.make("rootfs", digest, build)
        self._remember(path, stamp, digest)
        return Image(image, f"sha256:{digest}", (layer,))

    def _known_file(self, path: Path) -> Path:
        return self.root / "known" / hashlib.sha256(os.fsencode(os.path.realpath(path))).hexdigest()

    def _known(self, path: Path, stamp: list[int]) -> str | None:
        """The digest of the archive, where it was read before and its size and time stamps are still the same."""
        try:
            with open(self._known_file(path), "rb") as file:
                known, written = json.load(file), os.fstat(file.fileno()).st_mtime_ns
        except (FileNotFoundError, ValueError):
            return None
        # A file can change twice within one tick of its time stamp: one that had just changed is not trusted (git's
        # racy-git.txt). A tick is at most 10 ms, of FAT 2 s.
        fresh = written - stamp[4] < 2_000_000_000
        return str(known["digest"]) if known["stamp"] == stamp and not fresh else None

    def _remember(self, path: Path, stamp: list[int], digest: str) -> None:
        if self._known(path, stamp) == digest:
            return
        file = self._known_file(path)
        new = file.with_name(f"{file.name}.{os.getpid()}.{threading.get_ident()}")
        with contextlib.suppress(OSError):  # on a full disk the image is there all the same: it is read again next time
            file.parent.mkdir(exist_ok=True)
            new.write_text(json.dumps({"path": os.fspath(path), "stamp": stamp, "digest": digest}))
            new.rename(file)

    def is_cheap(self, image: str, base_dir: Path) -> bool:
        """Whether `resolve` would answer at once, be it with an error: it takes some stats."""
        try:
            match reference.parse(image, base_dir):
                case reference.BuiltIn():
                    return self._trees.has("host", host.fingerprint())
                case reference.Local(path) if path.is_file():
                    digest = self._known(path, _stamp(os.stat(path)))
                    return digest is not None and self._trees.has("rootfs", digest)
        except (ImageError, OSError):
            pass  # `resolve` will say it
        return True

    def sweep(self) -> None:
        """Remove what was being made when its maker was killed. For the node's start; twice is as good as once."""
        self._trees.sweep()
        known = self.root / "known"
        for file in known.iterdir() if known.is_dir() else ():
            try:
                digest = json.loads(file.read_bytes())["digest"]
            except ValueError:
                digest = ""
            if "." in file.name or not self._trees.has("rootfs", digest):
                file.unlink(missing_ok=True)

    def remove_unused(self, keep: set[str]) -> list[str]:
        """Remove every image whose `id` is not in `keep`; returns the ids that went.

        `keep` must name what runs and what is about to: no one else knows. A directory is not ours to remove.
        """
        unused = [(kind, name) for kind, name in self._trees.names() if f"sha256:{name}" not in keep]
        return [f"sha256:{name}" for kind, name in unused if self._trees.remove(kind, name)]


def _stamp(found: os.stat_result) -> list[int]:
    return [found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns]


def _no_registry_yet(image: str, remote: reference.Remote, base_dir: Path) -> str:
    if os.path.lexists(base_dir / image):
        return f"`{image}` is read as the registry image `{remote}` (hint: did you mean the path `./{image}`?)"
    return (
        f"cannot pull `{remote}`: pulling from registries is not supported yet. What works now: `host` (this machine's "
        "own programs), the path of a root file system directory, or of a tar archive of one; a path begins with `/`, "
        "`./` or `../` (hint: `docker export $(docker create IMAGE) > rootfs.tar`, or `debootstrap bookworm ./rootfs`)"
    )
