"""Keeps the parts of images under their digests: all of one is there, or nothing. Called by store and copying.

<root>/blobs/<algorithm>/<hex>     a part: manifest, image config, or layer as it travelled
<root>/partial/<algorithm>.<hex>   the first bytes of one, flock(2)ed by who fetches it; the next who wants it goes on
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from minikube_lite.images.digests import hasher, is_digest, matches, sha256
from minikube_lite.images.image import unavailable
from minikube_lite.images.progress import Progress, Step, nobody
from minikube_lite.images.source import Descriptor, OffsetNotSupported, closing

PIECE = 1 << 20
PARTIAL_SECONDS = 24 * 3600
"""What nobody went on with for so long is swept away."""

Fetch = Callable[[Descriptor, int], Iterator[bytes]]
"""As `Source.blob`."""


class BlobStore:
    """The blobs below `root`; made where missing. Any number of threads and processes may use one root at once."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, digest: str) -> Path:
        assert is_digest(digest), digest  # whoever read it from outside has checked it: see `manifest.descriptor`
        algorithm, _, encoded = digest.partition(":")
        return self.root / "blobs" / algorithm / encoded

    def has(self, digest: str) -> bool:
        return self.path(digest).is_file()

    def size(self, digest: str) -> int:
        """Bytes; 0 for one that is not there."""
        try:
            return self.path(digest).stat().st_size
        except FileNotFoundError:
            return 0

    def read(self, digest: str) -> bytes:
        """All of a small blob, its digest checked again. Raises FileNotFoundError; ImageError where the disk lies."""
        data = self.path(digest).read_bytes()
        if not matches(data, digest):
            raise unavailable(f"the stored blob {digest} is damaged (hint: remove the image and get it again)")
        return data

    def pieces(self, digest: str, offset: int = 0) -> Iterator[bytes]:
        """The blob's bytes in pieces of 1 MiB. Raises FileNotFoundError before the first."""
        with open(self.path(digest), "rb", buffering=0) as file:
            file.seek(offset)
            while piece := file.read(PIECE):
                yield piece

    def put(self, data: bytes) -> str:
        """Store these bytes; returns their digest. Raises ImageError where the disk does not take them."""
        digest = sha256(data)
        self.fetch(Descriptor("", digest, len(data)), lambda _, offset: iter((data[offset:],)))
        return digest

    def fetch(self, descriptor: Descriptor, fetch: Fetch, progress: Progress = nobody) -> None:
        """Bring the blob in, unless it is there; one that another thread or process is bringing in is waited for.

        Raises ImageError: what `fetch` raises, or where the bytes are not those of the descriptor, or the disk does not
        take them. What came until then stays for the next try, unless it is wrong or the disk is full.
        """
        try:
            with self._partial(descriptor.digest) as file:
                if file is not None:
                    self._complete(descriptor, fetch, progress, file)
        except OSError as error:
            raise unavailable(f"cannot store {descriptor.digest} in `{self.root}`: {error.strerror}") from error
        progress(Step("copying", descriptor.digest, descriptor.size, descriptor.size))

    def remove(self, digest: str) -> int:
        """Remove a blob; returns the bytes that went. The caller knows that nothing needs it."""
        size = self.size(digest)
        self.path(digest).unlink(missing_ok=True)
        return size

    def digests(self) -> list[str]:
        found = sorted((self.root / "blobs").glob("*/*"))
        return [digest for path in found if is_digest(digest := f"{path.parent.name}:{path.name}")]

    def sweep(self, seconds: float = PARTIAL_SECONDS) -> None:
        """Remove what was begun and not gone on with for `seconds`, unless somebody is at it now."""
        directory = self.root / "partial"
        for path in directory.iterdir() if directory.is_dir() else ():
            with contextlib.suppress(FileNotFoundError, BlockingIOError), open(path, "rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if time.time() - os.fstat(file.fileno()).st_mtime >= seconds:
                    path.unlink()

    # -- one blob on its way in --------------------------------------------------------------------------------------

    def _partial_path(self, digest: str) -> Path:
        return self.root / "partial" / digest.replace(":", ".")

    @contextlib.contextmanager
    def _partial(self, digest: str) -> Iterator[Any]:
        """The locked file of what came so far; None where the blob is there (by now)."""
        path = self._partial_path(digest)
        while True:
            if self.has(digest):
                yield None
                return
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.parent.mkdir(exist_ok=True)
            with open(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "r+b", buffering=0) as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                if _is_at(file, path):  # else its last holder finished or removed it
                    yield file
                    return

    def _complete(self, descriptor: Descriptor, fetch: Fetch, progress: Progress, file: Any) -> None:
        path, target = self._partial_path(descriptor.digest), self.path(descriptor.digest)
        incoming = _Incoming(descriptor, file, progress)
        try:
            if incoming.resume() and incoming.size == descriptor.size and not incoming.is_right():
                incoming.restart()
            if incoming.size < descriptor.size or not descriptor.size:
                resumed = incoming.size > 0
                incoming.receive(fetch)
                if resumed and not incoming.is_right():  # what was left may be wrong, after a power cut for one
                    incoming.restart()
                    incoming.receive(fetch)
            if not incoming.is_right():
                path.unlink()
                raise unavailable(f"the bytes of {descriptor.digest} have another digest: {incoming.digest()}")
            os.fsync(file.fileno())
            target.parent.mkdir(parents=True, exist_ok=True)
            os.rename(path, target)
            _sync_directory(target.parent)
        except OSError:
            path.unlink(missing_ok=True)  # a full disk gets back what the half of it took
            raise


class _Incoming:
    """A blob on its way into a file: what came so far, and its hash."""

    def __init__(self, descriptor: Descriptor, file: Any, progress: Progress) -> None:
        self.descriptor = descriptor
        self.size = 0
        self._file = file
        self._hash = hasher(descriptor.digest)
        self._progress = progress

    def resume(self) -> int:
        """Take up what is in the file; returns its bytes."""
        if os.fstat(self._file.fileno()).st_size > self.descriptor.size:
            self.restart()
        while piece := self._file.read(PIECE):
            self._hash.update(piece)
            self.size += len(piece)
        return self.size

    def restart(self) -> None:
        self._file.truncate(0)
        self._file.seek(0)
        self.size, self._hash = 0, hasher(self.descriptor.digest)

    def receive(self, fetch: Fetch) -> None:
        """Append the rest. Raises ImageError where it is too long or cut off; what came stays in the file."""
        try:
            with closing(fetch(self.descriptor, self.size)) as pieces:
                self._append(pieces)
        except OffsetNotSupported:
            self.restart()
            with closing(fetch(self.descriptor, 0)) as pieces:
                self._append(pieces)
        if self.size < self.descriptor.size:
            raise unavailable(
                f"{self.descriptor.digest} is cut off: {self.size} of its {self.descriptor.size} bytes came"
            )

    def _append(self, pieces: Iterator[bytes]) -> None:
        digest, total = self.descriptor.digest, self.descriptor.size
        for piece in pieces:
            if self.size + len(piece) > total:
                self.restart()
                raise unavailable(f"{digest} is longer than the {total} bytes that it should have")
            self._hash.update(piece)
            view = memoryview(piece)
            while view:
                view = view[self._file.write(view) :]
            self.size += len(piece)
            self._progress(Step("copying", digest, min(self.size, total - 1), total))

    def digest(self) -> str:
        return f"{self._hash.name}:{self._hash.hexdigest()}"

    def is_right(self) -> bool:
        return self.digest() == self.descriptor.digest


def _is_at(file: Any, path: Path) -> bool:
    """Whether the open file is the one at `path` now."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.stat(path))
    except FileNotFoundError:
        return False


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
