"""`$(VAR)` in env, command and args. Called by core.oci.

The rules are those of Kubernetes' `expansion.Expand`: `$(NAME)` of a known name is replaced, of an unknown one left as
it stands; `$$` is a `$` that begins nothing; everything else, `$NAME` and `${NAME}` too, is the shell's business. What
was put in is not looked at again.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

_TOKEN = re.compile(r"\$(?:\$|\(([^)]*)\))")


def expand(text: str, variables: Mapping[str, str]) -> str:
    """`text` with each reference to a known variable replaced by its value."""

    def value(match: re.Match[str]) -> str:
        name = match[1]
        return "$" if name is None else variables.get(name, match[0])

    return _TOKEN.sub(value, text)


def expand_environment(entries: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The environment in order of first mention. A value sees only what stands before it; the last of a name wins."""
    known: dict[str, str] = {}
    for name, value in entries:
        known[name] = expand(value, known)
    return known
