"""Instants and durations in the words of Kubernetes and of Go. Called by status, printing and pod_object."""

from __future__ import annotations

from datetime import UTC, datetime


def timestamp(wall: float) -> str | None:
    """Seconds since the epoch as Kubernetes writes a time; None where it is not known (0)."""
    return datetime.fromtimestamp(int(wall), UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if wall else None


def seconds(stamp: object) -> float | None:
    """A time as Kubernetes writes it in seconds since the epoch; None where it is none."""
    if not isinstance(stamp, str):
        return None
    try:
        return datetime.fromisoformat(stamp).timestamp()
    except ValueError:
        return None


def go_duration(seconds: float) -> str:
    """As Go prints a `time.Duration` of whole milliseconds: `35ms`, `4s`, `1.5s`, `1m0s`, `1h0m0s`."""
    milli = round(seconds * 1000)
    if 0 < milli < 1000:
        return f"{milli}ms"
    hours, rest = divmod(milli, 3_600_000)
    minutes, rest = divmod(rest, 60_000)
    tail = f"{rest / 1000:g}s"
    if hours:
        return f"{hours}h{minutes}m{tail}"
    return f"{minutes}m{tail}" if minutes else tail


def human_duration(seconds: float) -> str:
    """As kubectl says an age: two units at most, coarser as it grows; up to two seconds of the future are now.

    After `HumanDuration` in apimachinery's `util/duration`.
    """
    whole = int(seconds)
    if whole < -1:
        return "<invalid>"
    if whole < 120:
        return f"{max(whole, 0)}s"
    minutes, hours, days = whole // 60, whole // 3600, whole // 86400
    if minutes < 10:
        return _two(minutes, "m", whole % 60, "s")
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return _two(hours, "h", minutes % 60, "m")
    if hours < 48:
        return f"{hours}h"
    if days < 8:
        return _two(days, "d", hours % 24, "h")
    if days < 365 * 2:
        return f"{days}d"
    if days < 365 * 8:
        return _two(days // 365, "y", days % 365, "d")
    return f"{days // 365}y"


def _two(major: int, unit: str, minor: int, minor_unit: str) -> str:
    return f"{major}{unit}" + (f"{minor}{minor_unit}" if minor else "")
