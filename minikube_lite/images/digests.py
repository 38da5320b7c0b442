"""Digests as OCI has them (`sha256:<hex>`): checked in form, and compared with bytes. Called all over `images`."""

from __future__ import annotations

import hashlib
import re
from typing import Any

_LENGTHS = {"sha256": 64, "sha384": 96, "sha512": 128}
_FORM = re.compile(r"(sha256|sha384|sha512):([0-9a-f]+)")


def is_digest(text: object) -> bool:
    """Whether `text` is a digest that can be checked: a registered algorithm (OCI descriptor.md) and all its digits."""
    match = _FORM.fullmatch(text) if isinstance(text, str) else None
    return match is not None and len(match[2]) == _LENGTHS[match[1]]


def sha256(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def hasher(digest: str) -> Any:
    """A new hashlib object of the digest's algorithm."""
    return hashlib.new(digest.partition(":")[0])


def matches(data: bytes, digest: str) -> bool:
    new = hasher(digest)
    new.update(data)
    return f"{new.name}:{new.hexdigest()}" == digest
