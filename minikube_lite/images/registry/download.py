"""Gives a blob's bytes from any of several endpoints, and takes up again what broke off. Called by client.

Whoever takes the bytes checks them. A mirror's are checked here too, so that the next try asks somebody else.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING

from minikube_lite.images.registry.failure import Failure, one_line, size, together
from minikube_lite.images.source import Descriptor, OffsetNotSupported

if TYPE_CHECKING:
    from minikube_lite.images.registry.endpoint import Endpoint
    from minikube_lite.images.registry.transport import Response

STUCK = 5
"""How often a download is taken up again without getting on."""
PROGRESS = 1 << 20
"""Bytes that are getting on."""


def download(
    endpoints: list[Endpoint], descriptor: Descriptor, offset: int, wrong: set[tuple[str, str]]
) -> Iterator[bytes]:
    """The bytes from `offset` on. Notes in `wrong` which mirror has a false blob.

    Raises Failure, OffsetNotSupported.
    """
    algorithm, _, wanted = descriptor.digest.partition(":")
    failures: list[Failure] = []
    state = _State(descriptor, offset)
    for endpoint in endpoints:
        is_mirror = endpoint is not endpoints[-1]
        state.digest = hashlib.new(algorithm) if is_mirror and not state.position else None
        try:
            yield from _from(endpoint, state)
            if state.digest is not None and wanted != state.digest.hexdigest():
                wrong.add((endpoint.host, descriptor.digest))
                raise Failure(endpoint.host, f"the mirror's blob {descriptor.digest} has another content", status=200)
            return
        except Failure as problem:
            failures.append(problem)
            if state.position == descriptor.size and state.position:
                break  # all was handed on, and is wrong
    raise together(failures)


class _State:
    """How far one download has come."""

    def __init__(self, descriptor: Descriptor, offset: int) -> None:
        self.descriptor = descriptor
        self.offset = self.position = offset
        self.digest: hashlib._Hash | None = None


def _from(endpoint: Endpoint, state: _State) -> Iterator[bytes]:
    """What is missing, from one endpoint. Raises Failure when it gives no more."""
    stuck, mark = 0, state.position
    while state.position < state.descriptor.size or not state.descriptor.size:
        try:
            yield from _once(endpoint, state)
            return
        except Failure as problem:
            if state.position - mark >= PROGRESS:
                stuck, mark = 0, state.position
            # With some bytes here already, also a registry that cannot be reached may come back: it was there.
            again = problem.transient or (state.position > state.offset and not problem.status)
            if not again or stuck == STUCK or state.position > state.descriptor.size:
                raise
            endpoint.wait(stuck, problem.after)
            stuck += 1


def _once(endpoint: Endpoint, state: _State) -> Iterator[bytes]:
    """One request. Raises Failure (transient) when the bytes end before the blob does."""
    descriptor, begin = state.descriptor, state.position
    what = f"the blob {descriptor.digest}"
    response = endpoint.ask(
        "GET",
        f"blobs/{descriptor.digest}",
        what,
        headers={"Range": f"bytes={begin}-"} if begin else {},
        ok=(200, 206),
    )
    with closing(response):
        if begin and response.status == 200 and begin == state.offset:
            raise OffsetNotSupported(f"{response.host} gives blobs only from their start")
        # Later it is too late to say so: what is known already is read over.
        skip = begin if response.status == 200 else 0
        _check_length(response, state, skip)
        for piece in response.pieces():
            if skip:
                over = min(skip, len(piece))
                skip, piece = skip - over, piece[over:]
            if state.position + len(piece) > descriptor.size:
                raise Failure(response.host, f"{what} is longer than {descriptor.size} bytes", status=200)
            if state.digest is not None:
                state.digest.update(piece)
            state.position += len(piece)
            if piece:
                yield piece
        if state.position < descriptor.size:
            raise Failure(
                response.host,
                f"{what} was cut off after {size(state.position)} of {size(descriptor.size)}",
                transient=True,
            )


def _check_length(response: Response, state: _State, skip: int) -> None:
    """Whether what comes is the piece that was asked for, as far as the headers tell."""
    what, descriptor = f"the blob {state.descriptor.digest}", state.descriptor
    begin = state.position - skip
    if response.status == 206:
        text = response.headers.get("Content-Range", "")
        if not re.fullmatch(rf"bytes {begin}-\d+/(\d+|\*)", text):
            got = f"it sent the piece `{one_line(text, 60)}` of {what}"
            raise Failure(response.host, f"{got} where `bytes {begin}-` was asked for")
    length = response.headers.get("Content-Length", "")
    if length.isdecimal() and len(length) < 19 and int(length) != descriptor.size - begin:
        raise Failure(
            response.host,
            f"{what} has {int(length) + begin} bytes there, {descriptor.size} in the image's manifest",
            status=200,
        )
