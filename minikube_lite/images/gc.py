"""Chooses which images go when the disk fills up. Called by node.image_gc; pure: reads no disk and no clock.

The kubelet's rule (pkg/kubelet/images/image_gc_manager.go): above the high threshold remove what is not used, the
longest unused first, until usage is at the low one; nothing younger than a minimum age. Two differences: layers that
another image shares are not counted as freed, and what was brought in by hand stays, for nobody could pull it again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Candidate:
    """An image as the collection sees it. Times are seconds since the epoch."""

    id: str
    layers: Mapping[str, int]
    """Digest → bytes on the disk."""
    first_seen: float
    last_used: float
    """0: never since it was brought in."""
    in_use: bool = False
    by_hand: bool = False


@dataclass(frozen=True, slots=True)
class Choice:
    """What to remove, in this order, and how many bytes that frees."""

    ids: tuple[str, ...]
    bytes: int


def bytes_to_free(capacity: int, available: int, high: int, low: int) -> int:
    """How many bytes must go so that usage comes down to `low` percent; 0 while it is below `high` percent."""
    used = 100 - available * 100 // capacity
    return max(capacity * (100 - low) // 100 - available, 0) if used >= high else 0


def choose(candidates: Iterable[Candidate], need: int, now: float, minimum_age: float) -> Choice:
    """The images to remove so that at least `need` bytes become free, or as many as can be. `minimum_age`: seconds."""
    everything = list(candidates)
    users: dict[str, int] = {}
    for item in everything:
        for layer in item.layers:
            users[layer] = users.get(layer, 0) + 1
    old = [item for item in everything if _may_go(item, now, minimum_age)]
    ids: list[str] = []
    freed = 0
    for item in sorted(old, key=lambda item: (item.last_used or item.first_seen, item.first_seen, item.id)):
        if freed >= need:
            break
        ids.append(item.id)
        for layer, size in item.layers.items():
            users[layer] -= 1
            if not users[layer]:
                freed += size
    return Choice(tuple(ids), freed)


def _may_go(item: Candidate, now: float, minimum_age: float) -> bool:
    if item.in_use or item.by_hand:
        return False
    return now - item.first_seen >= minimum_age or item.first_seen > now  # a clock that was set back
