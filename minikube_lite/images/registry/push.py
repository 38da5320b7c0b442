"""Brings an image from a source into a registry: what it lacks, then the manifests that name it. Called by cli.

Uploads are those of OCI distribution-spec, "Pushing Blobs": one PATCH with all that is left, then the PUT that closes.
So do Docker and crane; pieces of a size of our own choosing are refused here and there.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from minikube_lite.images.digests import sha256
from minikube_lite.images.image import unavailable
from minikube_lite.images.registry.failure import Failure
from minikube_lite.images.source import Descriptor, OffsetNotSupported, Source

if TYPE_CHECKING:
    from minikube_lite.images.registry.client import Repository
    from minikube_lite.images.registry.endpoint import Endpoint
    from minikube_lite.images.registry.transport import Response

CONCURRENCY = 3
"""Blobs that are on their way at once; as many as Docker's."""
STUCK = 5
"""How often an upload is taken up again without getting on."""
NESTED = 3
"""Indexes in indexes."""

Progress = Callable[[Descriptor, int], None]
"""Called from several threads with a blob and how many of its bytes the registry has; all of them at its end."""


@dataclass(frozen=True, slots=True)
class _Document:
    """A manifest or index, as it is pushed."""

    media_type: str
    data: bytes

    @property
    def digest(self) -> str:
        return sha256(self.data)


def push(
    source: Source,
    repository: Repository,
    reference: str = "",
    *,
    progress: Progress = lambda descriptor, done: None,
    mount_from: str = "",
) -> str:
    """Push what `source` has under `reference` to the repository, under its remote's tag; returns the digest.

    `mount_from`: another repository of the same registry that may have the blobs. Of an index all images are pushed.
    Raises ImageError; what was uploaded until then is found there by the next try.
    """
    remote = repository.remote
    documents, blobs = _read(source, reference)
    top = documents[-1]
    if remote.digest and remote.digest != top.digest:
        raise unavailable(f"cannot push `{remote}`: the digest of the image is `{top.digest}`")
    uploads = _Uploads(source, repository.origin, progress, mount_from)
    try:
        with ThreadPoolExecutor(CONCURRENCY, "image push") as pool:
            parts = [pool.submit(uploads.bring, blob) for blob in blobs]
            try:
                for part in parts:
                    part.result()
            finally:
                uploads.stopped = True
        for document in documents[:-1]:
            uploads.name(document, document.digest)
        uploads.name(top, remote.tag or top.digest)
    except Failure as problem:
        raise repository.error(problem, "push") from problem
    return top.digest


def _read(source: Source, reference: str, depth: int = 0) -> tuple[list[_Document], list[Descriptor]]:
    """The manifests, each after those that it names, and the blobs that they name, each once."""
    media_type, data = source.manifest(reference)
    try:
        found = json.loads(data)
        if "manifests" in found:
            if depth == NESTED:
                raise unavailable(f"cannot push `{reference}`: it has indexes in indexes, more than {NESTED} deep")
            documents: dict[str, _Document] = {}
            blobs: dict[str, Descriptor] = {}
            for entry in found["manifests"]:
                inner, parts = _read(source, entry["digest"], depth + 1)
                documents |= {document.digest: document for document in inner}
                blobs |= {blob.digest: blob for blob in parts}
            return [*documents.values(), _Document(media_type, data)], list(blobs.values())
        parts = [_descriptor(entry) for entry in (found["config"], *found["layers"])]
    except (ValueError, KeyError, TypeError) as error:
        raise unavailable(f"cannot push `{reference}`: its manifest is damaged ({error!r})") from error
    # A layer that must not be handed on (OCI layer.md): its manifest says where it is to be had.
    parts = [part for part in parts if not re.search(r"\.(foreign|nondistributable)\.", part.media_type)]
    return [_Document(media_type, data)], list({part.digest: part for part in parts}.values())


def _descriptor(entry: dict[str, Any]) -> Descriptor:
    return Descriptor(str(entry.get("mediaType", "")), str(entry["digest"]), int(entry["size"]))


class _Uploads:
    """The uploads of one push."""

    def __init__(self, source: Source, endpoint: Endpoint, progress: Progress, mount_from: str) -> None:
        self._source, self._endpoint, self._progress = source, endpoint, progress
        self._mount_from = mount_from if mount_from != endpoint.repository else ""
        self.stopped = False
        """Set when another blob failed."""

    def name(self, document: _Document, reference: str) -> None:
        """Store a manifest under a tag or its digest."""
        what = f"the upload of the manifest `{reference}`"
        headers = {"Content-Type": document.media_type}
        response = self._ask("PUT", f"manifests/{reference}", what, headers=headers, body=document.data, ok=(200, 201))
        response.close()
        digest = response.headers.get("Docker-Content-Digest", document.digest)
        if digest != document.digest:
            raise Failure(self._endpoint.host, f"it stored {document.digest} as {digest} (does it change manifests?)")

    def bring(self, descriptor: Descriptor) -> None:
        """See to it that the registry has the blob."""
        if self.stopped:
            return
        if not self._has(descriptor):
            stuck = 0
            while not self._upload(descriptor):
                stuck += 1
                if stuck == STUCK:
                    raise Failure(self._endpoint.host, f"it loses the upload of {descriptor.digest} again and again")
        self._progress(descriptor, descriptor.size)

    def _has(self, descriptor: Descriptor) -> bool:
        response = self._ask("HEAD", f"blobs/{descriptor.digest}", f"the blob {descriptor.digest}", ok=(200, 404))
        response.close()
        return response.status == 200

    def _upload(self, descriptor: Descriptor) -> bool:
        """One upload from its start to its end; False if the registry does not know of it any more."""
        what = f"the upload of {descriptor.digest}"
        url = self._begin(descriptor, what)
        if not url:
            return True
        done, stuck = 0, 0
        try:
            while done < descriptor.size:
                before = done
                try:
                    url, done = self._send(url, descriptor, done, what)
                except Failure as problem:
                    if not problem.transient or stuck == STUCK:
                        raise
                    self._endpoint.wait(stuck, problem.after)
                    url, done = self._state(url, what)
                    if done <= 1:  # `0-0` is said of nothing and of one byte
                        self._cancel(url, what)
                        return False
                stuck = stuck + 1 if done <= before else 0
                if stuck > STUCK:
                    raise Failure(self._endpoint.host, f"{what} does not get on: it keeps {done} bytes")
            return self._finish(url, descriptor, what)
        except Failure as problem:
            if problem.status in (400, 404, 416) and problem.code in _FORGOTTEN:
                # So does docker-registry with what broke off: it knows the place only between two requests.
                return self._has(descriptor)
            self._cancel(url, what)
            raise

    def _begin(self, descriptor: Descriptor, what: str) -> str:
        """The URL to send to; "" where the blob could be mounted."""
        path, mount = "blobs/uploads/", ""
        if self._mount_from:
            path, mount = f"{path}?mount={descriptor.digest}&from={self._mount_from}", self._mount_from
        try:
            response = self._ask("POST", path, what, headers=_NOTHING, mount=mount, ok=(201, 202))
        except Failure as problem:
            if not mount or problem.status not in (400, 401, 403, 404, 405):
                raise
            # Who may not read there may still write here.
            response = self._ask("POST", "blobs/uploads/", what, headers=_NOTHING, ok=(201, 202))
        response.close()
        return "" if response.status == 201 else self._location(response)

    def _send(self, url: str, descriptor: Descriptor, begin: int, what: str) -> tuple[str, int]:
        """Send the rest; (where to go on, how much the registry has)."""
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(descriptor.size - begin)}
        if begin:
            headers["Content-Range"] = f"{begin}-{descriptor.size - 1}"

        def body() -> Iterator[bytes]:
            done = begin
            for piece in _from(self._source, descriptor, begin):
                if self.stopped:
                    raise unavailable("given up, because another part of the image failed")
                yield piece
                done += len(piece)
                self._progress(descriptor, min(done, descriptor.size - 1))

        response = self._ask("PATCH", url, what, headers=headers, body=body, ok=(202, 204), tries=1)
        response.close()
        return self._location(response, url), _kept(response, descriptor.size)

    def _state(self, url: str, what: str) -> tuple[str, int]:
        """Where to go on with an upload that broke off, and how many bytes of it the registry has."""
        response = self._ask("GET", url, what, ok=(204, 200))
        response.close()
        return self._location(response, url), _kept(response, 0)

    def _finish(self, url: str, descriptor: Descriptor, what: str) -> bool:
        closing_url = f"{url}{'&' if '?' in url else '?'}digest={descriptor.digest}"
        self._ask("PUT", closing_url, what, headers=_NOTHING, ok=(201, 204)).close()
        return True

    def _cancel(self, url: str, what: str) -> None:
        with contextlib.suppress(Failure):  # registries forget uploads by themselves, in a week or so
            self._ask("DELETE", url, what, ok=(200, 202, 204), tries=1).close()

    def _location(self, response: Response, otherwise: str = "") -> str:
        location = response.headers.get("Location", "") or otherwise
        if not location:
            raise Failure(response.host, "it does not say where to upload to (no Location in its answer)")
        return self._endpoint.locate(response.url, location)

    def _ask(self, method: str, path: str, what: str, **options: Any) -> Response:
        from minikube_lite.images.registry.endpoint import PUSH

        return self._endpoint.ask(method, path, what, actions=PUSH, **options)


_FORGOTTEN = ("BLOB_UPLOAD_UNKNOWN", "BLOB_UPLOAD_INVALID", "")
"""What is said of an upload that the registry does not go on with."""
_NOTHING = {"Content-Length": "0"}


def _kept(response: Response, otherwise: int) -> int:
    """The bytes that an upload has by the answer's `Range: 0-<last>`."""
    match = re.fullmatch(r"(?:bytes=)?0-(\d{1,18})", response.headers.get("Range", "").strip())
    return int(match[1]) + 1 if match else otherwise


def _from(source: Source, descriptor: Descriptor, begin: int) -> Iterator[bytes]:
    try:
        yield from source.blob(descriptor, begin)
    except OffsetNotSupported:
        skip = begin
        for piece in source.blob(descriptor):
            over = min(skip, len(piece))
            skip -= over
            if over < len(piece):
                yield piece[over:]
