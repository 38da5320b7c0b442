"""Makes an image of one layer out of a directory or an archive. Called by `image build-from-dir` and `image import`.

The same files make the same image, byte for byte, on every machine: members are sorted by name, the archive has no time
but those of the files, and `created` is the caller's. Packing is GNU tar's: it knows hard links, holes, xattrs, owners.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import subprocess
import tempfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minikube_lite.images import manifest as formats
from minikube_lite.images import platforms
from minikube_lite.images.archive import ArchiveError, open_stream
from minikube_lite.images.blobs import PIECE, BlobStore
from minikube_lite.images.image import unavailable
from minikube_lite.images.source import Descriptor

_TAR = (
    *("tar", "--create", "--file=-", "--sort=name", "--numeric-owner", "--one-file-system", "--sparse"),
    *("--format=pax", "--pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime"),
    *("--xattrs", "--xattrs-include=user.*", "--xattrs-include=security.capability"),
)
_GZIP_LAYER = f"{formats.OCI_LAYER}+gzip"


@dataclass(frozen=True, slots=True)
class Built:
    """An image that was made: all its parts are in the store, and no name leads to it yet."""

    manifest: Descriptor
    config_digest: str


def from_directory(
    directory: Path, blobs: BlobStore, config: Mapping[str, Any], *, created: str, made_by: str
) -> Built:
    """Pack the directory, which is only read; symbolic links in it are kept as links, other file systems left out.

    `config`: the OCI config's `config` object; `created`: RFC 3339; `made_by`: a line for the image's history.
    Raises ImageError.
    """
    if not directory.is_dir():
        raise unavailable(f"`{directory}` is not a directory")
    if not any(os.scandir(directory)):
        raise unavailable(f"the directory `{directory}` is empty: a root file system is expected in it")
    _refuse_marks(directory)
    return _build(_packed(directory), blobs, config, created, made_by)


def from_archive(file: Path, blobs: BlobStore, config: Mapping[str, Any], *, created: str, made_by: str) -> Built:
    """Take a tar archive of a root file system, plain or compressed, as the layer. Raises ImageError."""
    try:
        with open(file, "rb", buffering=0) as opened:
            return _build(open_stream(opened), blobs, config, created, made_by)
    except ArchiveError as error:
        raise unavailable(f"cannot read `{file}`: {error}") from error
    except OSError as error:
        raise unavailable(f"cannot read `{file}`: {error.strerror}") from error


def _build(pieces: Iterator[bytes], blobs: BlobStore, config: Mapping[str, Any], created: str, made_by: str) -> Built:
    blobs.root.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=blobs.root) as file:
        diff_id, layer = _compress(pieces, file)

        def stored(_: Descriptor, offset: int) -> Iterator[bytes]:
            file.seek(offset)
            return iter(lambda: file.read(PIECE), b"")

        blobs.fetch(layer, stored)
    architecture, variant = platforms.this_machine()
    document = {
        "created": created,
        "architecture": architecture,
        **({"variant": variant} if variant else {}),
        "os": "linux",
        "config": dict(config),
        "rootfs": {"type": "layers", "diff_ids": [diff_id]},
        "history": [{"created": created, "created_by": made_by}],
    }
    written = _json(document)
    config_digest = blobs.put(written)
    manifest = _json(
        {
            "schemaVersion": 2,
            "mediaType": formats.OCI_MANIFEST,
            "config": {"mediaType": formats.OCI_CONFIG, "digest": config_digest, "size": len(written)},
            "layers": [{"mediaType": layer.media_type, "digest": layer.digest, "size": layer.size}],
        }
    )
    return Built(Descriptor(formats.OCI_MANIFEST, blobs.put(manifest), len(manifest)), config_digest)


def _compress(pieces: Iterator[bytes], file: Any) -> tuple[str, Descriptor]:
    """Write the archive, compressed, into the file; gives its digest before, and what describes it after."""
    before, after = hashlib.sha256(), hashlib.sha256()
    gzip = zlib.compressobj(6, zlib.DEFLATED, 31)  # 31: with gzip's header, which has no name and no time in it
    size = 0

    def keep(data: bytes) -> int:
        after.update(data)
        file.write(data)
        return len(data)

    try:
        for piece in pieces:
            before.update(piece)
            size += keep(gzip.compress(piece))
        size += keep(gzip.flush())
        file.flush()
    except OSError as error:
        raise unavailable(f"cannot store the layer: {error.strerror}") from error
    return f"sha256:{before.hexdigest()}", Descriptor(_GZIP_LAYER, f"sha256:{after.hexdigest()}", size)


def _packed(directory: Path) -> Iterator[bytes]:
    """The directory as a tar archive, in pieces. Raises ImageError with tar's own last words."""
    environment = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"}
    command = [*_TAR, "--directory", os.fspath(directory.absolute()), "."]
    with tempfile.TemporaryFile() as words, contextlib.ExitStack() as stack:
        try:
            tar = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=words, env=environment)
        except FileNotFoundError:
            raise unavailable("cannot pack the directory: GNU tar is not installed") from None
        stack.callback(tar.wait)
        stack.callback(tar.kill)  # of no effect where it has ended
        assert tar.stdout
        stack.enter_context(tar.stdout)
        while piece := tar.stdout.read(PIECE):
            yield piece
        if tar.wait() != 0:
            words.seek(0)
            said = words.read().decode(errors="replace").strip().splitlines() or [f"tar ended with {tar.returncode}"]
            raise unavailable(f"cannot pack `{directory}`: {said[0].removeprefix('tar: ')}")


def _refuse_marks(directory: Path) -> None:
    """A file of such a name would delete others where layers are put together (OCI layer.md, "Whiteouts")."""
    for parent, directories, files in os.walk(directory):
        for name in (*directories, *files):
            if name.startswith(".wh."):
                raise unavailable(f"`{parent}/{name}` cannot be in an image: names with `.wh.` mark deleted files")


def _json(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, separators=(",", ":"), sort_keys=True).encode()
