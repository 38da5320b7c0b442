"""Values of options: Go durations (`1m30s`), whole numbers. Called through `Option(read=…)`. Raise ValueError."""

from __future__ import annotations

UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


def duration(text: str) -> float:
    """Seconds of `300ms`, `1.5h`, `1h30m`, `-1s`, `0`. As Go's time.ParseDuration; a bare number is seconds."""
    import re

    if not re.fullmatch(r"[+-]?((\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h))+|[+-]?(\d+\.?\d*|\.\d+)", text):
        raise ValueError("must be a duration such as 30s, 5m or 1h30m")
    sign = -1.0 if text[0] == "-" else 1.0
    parts = re.findall(r"([\d.]+)(\D*)", text.lstrip("+-"))
    return sign * sum(float(number) * UNITS[unit or "s"] for number, unit in parts)


def whole(text: str) -> int:
    """A whole number."""
    try:
        return int(text)
    except ValueError:
        raise ValueError("must be a whole number") from None
