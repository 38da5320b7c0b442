"""Makes an image of one layer out of a directory or an archive. Called by `image build-from-dir` and `image import`.

What comes out is an OCI image layout (image-layout.md), for the store or any other tool to load. The same files make
the same image, byte for byte, on every machine: members are sorted by name, there is no time in it but those of the
files, and `created` is the caller's. Packing is GNU tar's: it knows hard links, holes, xattrs and owners.
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
from pathlib import Path
from typing import Any

from minikube_lite.images import manifest as formats
from minikube_lite.images import platforms, tar
from minikube_lite.images.archive import ArchiveError, open_stream
from minikube_lite.images.digests import sha256
from minikube_lite.images.image import unavailable

_TAR = (
    *("tar", "--create", "--file=-", "--sort=name", "--numeric-owner", "--one-file-system"),
    *("--sparse", "--sparse-version=0.0"),  # the other versions put tar's process id into a name
    *("--format=pax", "--pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime"),
    *("--xattrs", "--xattrs-include=user.*", "--xattrs-include=security.capability"),
)
PIECE = 1 << 20


def from_directory(directory: Path, layout: Path, config: Mapping[str, Any], *, created: str, made_by: str) -> None:
    """Pack the directory, which is only read; symbolic links in it are kept as links, other file systems left out.

    `layout`: an empty directory, to become the OCI layout; `config`: the OCI config's `config` object; `created`: RFC
    3339; `made_by`: a line for the image's history. Raises ImageError.
    """
    if not directory.is_dir():
        raise unavailable(f"`{directory}` is not a directory")
    if layout.resolve().is_relative_to(directory.resolve()):
        raise unavailable(f"`{directory}` holds the place where the image is made ({layout}): it cannot be in itself")
    if not os.listdir(directory):
        raise unavailable(f"the directory `{directory}` is empty: a root file system is expected in it")
    _refuse_marks(directory)
    _build(_packed(directory), layout, config, created, made_by)


def from_archive(file: Path, layout: Path, config: Mapping[str, Any], *, created: str, made_by: str) -> None:
    """Take a tar archive of a root file system, plain or compressed, as the layer. As `from_directory`."""
    try:
        with open(file, "rb", buffering=0) as opened:
            next(tar.members(tar.Reader(open_stream(opened))), None)  # tells what is no archive before all is read
            opened.seek(0)
            _build(open_stream(opened), layout, config, created, made_by)
    except ArchiveError as error:
        raise unavailable(f"cannot read `{file}`: {error}") from error
    except OSError as error:
        raise unavailable(f"cannot read `{file}`: {error.strerror}") from error


def _build(pieces: Iterator[bytes], layout: Path, config: Mapping[str, Any], created: str, made_by: str) -> None:
    architecture, variant = platforms.this_machine()
    try:
        (layout / "blobs/sha256").mkdir(parents=True)
        diff_id, layer = _compress(pieces, layout)
        document = {
            "created": created,
            "architecture": architecture,
            **({"variant": variant} if variant else {}),
            "os": "linux",
            "config": dict(config),
            "rootfs": {"type": "layers", "diff_ids": [diff_id]},
            "history": [{"created": created, "created_by": made_by}],
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": formats.OCI_MANIFEST,
            "config": _put(layout, formats.OCI_CONFIG, document),
            "layers": [layer],
        }
        index = {"schemaVersion": 2, "manifests": [_put(layout, formats.OCI_MANIFEST, manifest)]}
        (layout / "index.json").write_bytes(_json(index))
        (layout / "oci-layout").write_bytes(b'{"imageLayoutVersion":"1.0.0"}')
    except OSError as error:
        raise unavailable(f"cannot write the image to `{layout}`: {error.strerror}") from error


def _put(layout: Path, media_type: str, document: Mapping[str, Any]) -> dict[str, Any]:
    """Write a document into the layout; returns its descriptor."""
    data = _json(document)
    digest = sha256(data)
    (layout / "blobs" / digest.replace(":", "/")).write_bytes(data)
    return {"mediaType": media_type, "digest": digest, "size": len(data)}


def _compress(pieces: Iterator[bytes], layout: Path) -> tuple[str, dict[str, Any]]:
    """Write the layer into the layout; returns the digest of its archive, and the descriptor of what was written."""
    before, after = hashlib.sha256(), hashlib.sha256()
    gzip = zlib.compressobj(6, zlib.DEFLATED, 31)  # 31: with gzip's header, which has no name and no time in it
    unfinished = layout / "blobs/layer"
    with open(unfinished, "wb", buffering=0) as file:

        def keep(data: bytes) -> None:
            after.update(data)
            view = memoryview(data)
            while view:
                view = view[file.write(view) :]

        for piece in pieces:
            before.update(piece)
            keep(gzip.compress(piece))
        keep(gzip.flush())
        size = file.tell()
    unfinished.rename(layout / "blobs/sha256" / after.hexdigest())
    layer = {"mediaType": f"{formats.OCI_LAYER}+gzip", "digest": f"sha256:{after.hexdigest()}", "size": size}
    return f"sha256:{before.hexdigest()}", layer


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
