"""Why a registry did not give what was asked of it, in one line. Made by transport, endpoint and auth; pure.

`Failure` goes between the modules of this package, for which it says whether to try again; what leaves it is an
ImageError (`client`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from urllib.parse import parse_qsl


class Failure(Exception):
    """One endpoint did not do one thing. The message begins with the host and is fit for an event."""

    def __init__(
        self,
        host: str,
        why: str,
        *,
        status: int = 0,
        code: str = "",
        transient: bool = False,
        after: float | None = None,
    ) -> None:
        self.host, self.why = one_line(host, 100), why  # a host may be one that a server redirected to
        super().__init__(f"{self.host}: {why}")
        self.status = status
        """Of the response; 0 where none came."""
        self.code = code
        """The first error code of the body (distribution-spec, Error Codes); "" without one."""
        self.transient = transient
        """Whether the same request may work in a moment."""
        self.after = after
        """Seconds that the server asks to wait (Retry-After)."""


def of_status(host: str, what: str, status: int, headers: Mapping[str, str], body: bytes) -> Failure:
    """What a response that is no success means. `what`: what was asked for, as "the manifest `latest`"."""
    code, words = said(headers, body)
    after = _retry_after(headers)
    if status == 404 and code == "NAME_UNKNOWN":
        why = f"there is no such repository{words}"
    elif status == 404:
        why = f"it does not have {what}{words}"
    elif status == 429:
        when = f"try again in {after:.0f} s" if after is not None else "try again later"
        why = f"too many requests, {when}{words} (hint: with credentials the limit is often higher)"
    elif status == 403:
        why = f"access to {what} is denied (403){words}"
    elif status >= 500:
        why = f"it failed with {status} when asked for {what}{words}"
    else:
        why = f"it answered {status} when asked for {what}{words}"
    transient = status in (408, 425, 429, 500, 502, 503, 504)
    return Failure(host, why, status=status, code=code, transient=transient, after=after)


def looks_like_html(headers: Mapping[str, str], body: bytes) -> bool:
    return headers.get("Content-Type", "").startswith("text/html") or body[:200].lstrip().lower().startswith(
        (b"<!doctype", b"<html", b"<?xml")
    )


def html(host: str, what: str) -> Failure:
    """A page for people came: a portal, a proxy, or no registry at all."""
    return Failure(
        host, f"an HTML page came where {what} belongs (hint: is this a registry, or is a proxy or portal between?)"
    )


def together(failures: list[Failure]) -> Failure:
    """The last failure, the registry's own, and what the mirrors had said before it."""
    *mirrors, last = failures
    before = "; ".join(f"mirror {each}" for each in mirrors)
    return Failure(last.host, f"{last.why} (before it, {before})", status=last.status) if mirrors else last


def size(count: int) -> str:
    """`count` bytes for people."""
    for unit, factor in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count} bytes"


def said(headers: Mapping[str, str], body: bytes) -> tuple[str, str]:
    """(first error code, what the registry says itself as an appendix to a sentence)."""
    try:
        first = json.loads(body)["errors"][0]
        code, message = str(first.get("code", "")), str(first.get("message", ""))
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
        if looks_like_html(headers, body):
            return "", "; the answer is an HTML page (hint: is this a registry?)"
        code, message = "", body[:200].decode(errors="replace").strip()
    line = one_line(": ".join(word for word in (code, message) if word))
    return code, f"; it says `{line}`" if line else ""


def one_line(text: str, limit: int = 300) -> str:
    """What a stranger wrote, fit for one line: no control characters, no terminal escapes."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds. A date is not read: it would need the wall clocks of both machines to be right."""
    text = headers.get("Retry-After", "").strip()
    return float(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


def link_parameter(link: str, name: str) -> str:
    """The parameter `name` of the URL in a header `Link: <URL>; rel="next"`; "" where there is none."""
    url, bracket, rest = link.strip().removeprefix("<").partition(">")
    if not bracket or "next" not in rest:
        return ""
    return dict(parse_qsl(url.partition("?")[2].partition("#")[0])).get(name, "")
