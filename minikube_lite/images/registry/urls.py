"""What servers mean by the URLs that they name. Called by endpoint and auth; pure."""

from __future__ import annotations

from urllib.parse import urljoin, urlsplit


def resolve(base: str, location: str) -> str:
    """The URL that a server means by `location`; "" where it is none that can be asked."""
    try:
        url = urljoin(base, location)
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        return ""
    return url if good else ""


def origin(url: str) -> tuple[str, str, int]:
    """Scheme, host and port (RFC 6454): what is the same server."""
    parts = urlsplit(url)
    return parts.scheme, (parts.hostname or ""), parts.port or (443 if parts.scheme == "https" else 80)
