"""Blobs come in whole or not at all: checked while they are written, taken up where they were left."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from minikube_lite.images.blobs import BlobStore
from minikube_lite.images.digests import sha256
from minikube_lite.images.image import ImageError, unavailable
from minikube_lite.images.progress import Step
from minikube_lite.images.source import Descriptor, OffsetNotSupported

DATA = os.urandom(300_000)
BLOB = Descriptor("", sha256(DATA), len(DATA))


class Server:
    """Gives DATA, or `data`, in pieces; remembers the offsets that it was asked for."""

    def __init__(self, data: bytes = DATA, breaks_at: int | None = None, offsets: bool = True) -> None:
        self.data, self.breaks_at, self.offsets = data, breaks_at, offsets
        self.asked: list[int] = []

    def __call__(self, descriptor: Descriptor, offset: int = 0) -> Iterator[bytes]:
        self.asked.append(offset)
        if offset and not self.offsets:
            raise OffsetNotSupported
        return self._pieces(offset)

    def _pieces(self, offset: int) -> Iterator[bytes]:
        for at in range(offset, len(self.data), 10_000):
            if self.breaks_at is not None and at >= self.breaks_at:
                raise unavailable("the connection broke")
            yield self.data[at : at + 10_000]


@pytest.fixture
def blobs(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path / "images")


def partial(blobs: BlobStore) -> Path:
    return blobs.root / "partial" / BLOB.digest.replace(":", ".")


def test_a_blob_comes_in_once_and_is_read_as_it_was(blobs: BlobStore) -> None:
    server, steps = Server(), list[Step]()
    blobs.fetch(BLOB, server, steps.append)
    blobs.fetch(BLOB, server)
    assert server.asked == [0]
    assert blobs.read(BLOB.digest) == b"".join(blobs.pieces(BLOB.digest)) == DATA
    assert b"".join(blobs.pieces(BLOB.digest, 100)) == DATA[100:]
    assert (blobs.size(BLOB.digest), blobs.digests()) == (len(DATA), [BLOB.digest])
    assert [step.done for step in steps] == sorted(step.done for step in steps)
    assert steps[-1] == Step("copying", BLOB.digest, len(DATA), len(DATA))
    assert not list((blobs.root / "partial").iterdir())


def test_bytes_are_stored_under_their_digest(blobs: BlobStore) -> None:
    assert blobs.put(b"") == sha256(b"")
    assert blobs.put(DATA) == BLOB.digest
    assert blobs.read(BLOB.digest) == DATA


@pytest.mark.parametrize("algorithm", ["sha384", "sha512"])
def test_every_registered_digest_is_checked(blobs: BlobStore, algorithm: str) -> None:
    digest = f"{algorithm}:{hashlib.new(algorithm, DATA).hexdigest()}"
    blobs.fetch(Descriptor("", digest, len(DATA)), Server())
    assert blobs.read(digest) == DATA
    with pytest.raises(ImageError, match="have another digest"):
        blobs.fetch(Descriptor("", f"{algorithm}:{hashlib.new(algorithm, b'x').hexdigest()}", len(DATA)), Server())


def test_a_broken_download_goes_on_where_it_was_left(blobs: BlobStore) -> None:
    with pytest.raises(ImageError, match="the connection broke"):
        blobs.fetch(BLOB, Server(breaks_at=120_000))
    assert not blobs.has(BLOB.digest)
    server = Server()
    blobs.fetch(BLOB, server)
    assert server.asked == [120_000]
    assert blobs.read(BLOB.digest) == DATA


def test_one_that_cannot_go_on_begins_anew(blobs: BlobStore) -> None:
    with pytest.raises(ImageError, match="the connection broke"):
        blobs.fetch(BLOB, Server(breaks_at=120_000))
    server = Server(offsets=False)
    blobs.fetch(BLOB, server)
    assert server.asked == [120_000, 0]
    assert blobs.read(BLOB.digest) == DATA


@pytest.mark.parametrize("left", [DATA[:50_000] + b"damaged", bytes(300_000), DATA, DATA + b"more", b""])
def test_what_was_left_is_trusted_as_far_as_it_is_right(blobs: BlobStore, left: bytes) -> None:
    partial(blobs).parent.mkdir(parents=True)
    partial(blobs).write_bytes(left)
    server = Server()
    blobs.fetch(BLOB, server)
    assert server.asked == {50_007: [50_007, 0], 300_000: [] if left == DATA else [0]}.get(len(left), [0])
    assert blobs.read(BLOB.digest) == DATA


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (DATA[:-1], "is cut off: 299999 of its 300000 bytes came"),
        (DATA + b"x", "is longer than the 300000 bytes"),
        (DATA[:-1] + b"\0" if DATA[-1] else DATA[:-1] + b"\1", "have another digest: sha256:"),
        (b"", "is cut off: 0 of"),
    ],
)
def test_wrong_bytes_are_refused_and_a_retry_works(blobs: BlobStore, data: bytes, says: str) -> None:
    with pytest.raises(ImageError, match=BLOB.digest) as caught:
        blobs.fetch(BLOB, Server(data))
    assert says in caught.value.message
    assert blobs.digests() == []
    blobs.fetch(BLOB, Server())
    assert blobs.read(BLOB.digest) == DATA


def test_many_threads_that_want_one_blob_fetch_it_once(blobs: BlobStore) -> None:
    server, ready = Server(), threading.Barrier(8)

    def fetch(_: int) -> None:
        ready.wait()
        blobs.fetch(BLOB, server)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(fetch, range(8)))
    assert server.asked == [0]


def test_the_next_takes_over_from_one_that_failed(blobs: BlobStore) -> None:
    first_in, go_on = threading.Event(), threading.Event()

    def breaks(descriptor: Descriptor, offset: int) -> Iterator[bytes]:
        yield DATA[:70_000]
        first_in.set()
        go_on.wait()
        raise unavailable("the connection broke")

    server = Server()
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(blobs.fetch, BLOB, breaks)
        first_in.wait()
        second = pool.submit(blobs.fetch, BLOB, server)
        go_on.set()
        with pytest.raises(ImageError):
            first.result()
        second.result()
    assert server.asked in ([70_000], [0])  # 0: it took the lock before the first one did anything
    assert blobs.read(BLOB.digest) == DATA


HOLD = """
import sys, time; from pathlib import Path
from minikube_lite.images.blobs import BlobStore; from minikube_lite.images.source import Descriptor
def pieces(descriptor, offset):
    yield bytes(1000)
    print("in", flush=True)
    time.sleep(1000)
BlobStore(Path(sys.argv[1])).fetch(Descriptor("", sys.argv[2], 300_000), pieces)
"""


def test_sweep_takes_what_nobody_goes_on_with_and_nothing_that_is_coming_in(blobs: BlobStore) -> None:
    other = subprocess.Popen([sys.executable, "-c", HOLD, blobs.root, BLOB.digest], stdout=subprocess.PIPE)
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == b"in\n"
        blobs.sweep(0)
        assert partial(blobs).exists()
    finally:
        other.kill()
        other.communicate()
    blobs.sweep()
    assert partial(blobs).stat().st_size == 1000  # young: the next one goes on with it
    os.utime(partial(blobs), (1, 1))
    blobs.sweep()
    assert not partial(blobs).exists()


@pytest.mark.root
def test_a_full_disk_gets_back_what_the_half_took(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", disk], check=True)
    try:
        blobs = BlobStore(disk / "images")
        with pytest.raises(ImageError, match=rf"cannot store {BLOB.digest} in .*: No space left on device"):
            blobs.fetch(BLOB, Server())
        assert not list((blobs.root / "partial").iterdir())
        subprocess.run(["mount", "-o", "remount,size=2m", disk], check=True)
        blobs.fetch(BLOB, Server())
        assert blobs.read(BLOB.digest) == DATA
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_blob_that_the_disk_changed_is_not_handed_out(blobs: BlobStore) -> None:
    blobs.put(DATA)
    blobs.path(BLOB.digest).write_bytes(DATA[:-1] + bytes([DATA[-1] ^ 1]))
    with pytest.raises(ImageError, match="is damaged"):
        blobs.read(BLOB.digest)
