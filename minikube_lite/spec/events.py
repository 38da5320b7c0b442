"""YAML text → parser events, in constant stack. Called by `spec.compose`.

libyaml by PyYAML's C parser; PyYAML's pure one where that is not compiled. Both stop at `\\'` in double quotes, which
go-yaml reads: the text is mended in place, each character where it was.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import yaml

MAX_REPAIRS = 100
"""Times that a text is read again for the sake of `\\'`."""

_REST_OF_STRING = re.compile(r'(?:[^"\\]|\\.)*', re.DOTALL)
APOSTROPHE = "\u2029"
"""Stands for `\\'` while libyaml reads, which does not know that escape; go-yaml does."""


def without_apostrophe_escapes(error: yaml.MarkedYAMLError, text: str) -> str:
    """The text with each `\\'` of the double-quoted string that libyaml stopped in as `\\P`, which is as long."""
    mark = error.problem_mark
    if mark is None or "unknown escape character" not in (error.problem or ""):
        return text
    start = next((at for at in (mark.index, mark.index - 1) if text.startswith("\\'", at)), -1)
    closing = _REST_OF_STRING.match(text, max(start, 0))
    if start < 0 or closing is None:
        return text
    inside = re.sub(r"\\(.)", lambda match: "\\P" if match[1] == "'" else match[0], closing[0], flags=re.DOTALL)
    return text[:start] + inside + text[closing.end() :]


def event_source(text: str) -> Callable[[], Any]:
    """A source of events, None at the end."""
    if yaml.__with_libyaml__:
        from yaml.cyaml import CParser  # type: ignore[attr-defined]  # compiled: its stub does not name it

        next_event: Callable[[], Any] = CParser(text).get_event
        return next_event
    return _PureParser(text).get_event


class _PureParser(yaml.reader.Reader, yaml.scanner.Scanner, yaml.parser.Parser):
    """PyYAML's own parser."""

    def __init__(self, text: str) -> None:
        yaml.reader.Reader.__init__(self, text)
        yaml.scanner.Scanner.__init__(self)
        yaml.parser.Parser.__init__(self)
