"""How far the work on an image has come. Told by what copies and unpacks; shown by the command line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Step:
    """One part of an image, and how much of it is done."""

    stage: Literal["copying", "unpacking"]
    part: str
    """The digest of the part as it travels (`sha256:<hex>`)."""
    done: int
    """Bytes; equal to `total` in the last step of a part, also where the part was there before."""
    total: int


Progress = Callable[[Step], None]
"""Called from several threads, about once for every MiB of a part; what it raises ends the work."""


def nobody(step: Step) -> None:
    """The progress that nobody watches."""
