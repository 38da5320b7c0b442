"""What was meant by a word that is not known. Called wherever `spec` says "did you mean"."""

from __future__ import annotations

from collections.abc import Iterable


def nearest(word: str, known: Iterable[str], cutoff: float) -> str:
    """The known word most like it, whatever its case; "" where none is as like as `cutoff` (0 to 1)."""
    from difflib import get_close_matches  # only something wrong needs it

    by_lower = {entry.lower(): entry for entry in known}
    close = get_close_matches(word.lower(), by_lower, n=1, cutoff=cutoff)
    return by_lower[close[0]] if close else ""
