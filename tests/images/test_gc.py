"""Which images go when the disk fills up: one change per row, from three images that nobody uses."""

from __future__ import annotations

from dataclasses import replace

import pytest

from minikube_lite.images.gc import Candidate, Choice, bytes_to_free, choose

NOW = 1_000_000.0
OLD = Candidate("old", {"a": 10}, 100.0, 500.0)
MIDDLE = Candidate("middle", {"b": 20}, 100.0, 600.0)
NEW = Candidate("new", {"c": 40}, 100.0, 700.0)


@pytest.mark.parametrize(
    ("available", "bytes_"),
    [(1000, 0), (160, 0), (150, 50), (0, 200)],
    ids=["empty", "84 %", "85 %", "full"],
)
def test_above_the_high_threshold_all_down_to_the_low_one_must_go(available: int, bytes_: int) -> None:
    assert bytes_to_free(1000, available, 85, 80) == bytes_


@pytest.mark.parametrize(
    ("images", "need", "expected"),
    [
        ((OLD, MIDDLE, NEW), 0, Choice((), 0)),
        ((OLD, MIDDLE, NEW), 1, Choice(("old",), 10)),
        ((NEW, OLD, MIDDLE), 10, Choice(("old",), 10)),
        ((OLD, MIDDLE, NEW), 11, Choice(("old", "middle"), 30)),
        ((OLD, MIDDLE, NEW), 999, Choice(("old", "middle", "new"), 70)),
        ((replace(OLD, in_use=True), MIDDLE, NEW), 999, Choice(("middle", "new"), 60)),
        ((replace(OLD, by_hand=True), MIDDLE, NEW), 999, Choice(("middle", "new"), 60)),
        ((replace(OLD, first_seen=NOW - 119), MIDDLE), 999, Choice(("middle",), 20)),
        ((replace(OLD, first_seen=NOW - 120), MIDDLE), 999, Choice(("old", "middle"), 30)),
        ((replace(OLD, first_seen=NOW + 900), MIDDLE), 1, Choice(("old",), 10)),
        ((replace(OLD, last_used=0.0, first_seen=650.0), MIDDLE), 1, Choice(("middle",), 20)),
        ((replace(OLD, last_used=0.0), MIDDLE), 1, Choice(("old",), 10)),
        ((replace(OLD, layers={"b": 20, "a": 10}), MIDDLE), 20, Choice(("old", "middle"), 30)),
        ((replace(OLD, layers={"b": 20, "a": 10}), replace(MIDDLE, in_use=True)), 99, Choice(("old",), 10)),
        ((), 5, Choice((), 0)),
    ],
    ids=[
        "nothing needed",
        "one is enough",
        "order does not matter",
        "one more",
        "more than there is",
        "in use",
        "by hand",
        "too young",
        "just old enough",
        "from the future",
        "never used: since it came",
        "never used, and came first",
        "a shared layer is free with its last user",
        "a shared layer of what runs is not freed",
        "none",
    ],
)
def test_the_longest_unused_go_first_and_nothing_that_is_used(
    images: tuple[Candidate, ...], need: int, expected: Choice
) -> None:
    assert choose(images, need, NOW, 120.0) == expected
