"""Where the parts of an OCI image come from: a registry, a layout, an archive. Called by what copies them into a store.

A source hands out bytes and promises nothing of them: whoever takes them checks size and digest against the descriptor.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Descriptor:
    """What an image says of one of its parts (OCI image-spec, descriptor.md)."""

    media_type: str
    digest: str
    """`sha256:<hex>`."""
    size: int
    """Bytes."""
    platform: Mapping[str, Any] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)


class Source(Protocol):
    """One image's parts. Methods may be called from several threads. Raises ImageError with the true cause."""

    def manifest(self, reference: str) -> tuple[str, bytes]:
        """(media type, bytes) of a manifest or index. `reference`: a tag, a digest, or "" for the only one there is."""

    def blob(self, descriptor: Descriptor, offset: int = 0) -> Iterator[bytes]:
        """The blob's bytes from `offset` on, in pieces. A source that cannot begin there begins at 0 and says so by
        raising OffsetNotSupported before the first piece."""


class OffsetNotSupported(Exception):
    """The source gives this blob only from its start."""


@contextmanager
def closing(pieces: Iterator[bytes]) -> Iterator[Iterator[bytes]]:
    """Close what `blob` gave, in any case, if it can be closed, as a generator can: a connection may be behind it."""
    try:
        yield pieces
    finally:
        if isinstance(pieces, Generator):
            pieces.close()
