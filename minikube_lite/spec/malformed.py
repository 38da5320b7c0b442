"""What is wrong with a text, in a person's words. Made by `spec.compose` and `spec.jsontext`, placed by `spec.yaml`."""

from __future__ import annotations

from dataclasses import dataclass

import yaml


@dataclass(frozen=True, slots=True)
class Malformed:
    """What is wrong with the text at `offset`. `{line}` in the message stands for the line of `earlier`."""

    offset: int
    message: str
    hint: str = ""
    path: tuple[str | int, ...] = ()
    earlier: int | None = None
    syntax: bool = False
    """Whether the text could not be read at all, as with a template."""


def duplicate_key(key: str, offset: int, earlier: int, path: tuple[str | int, ...]) -> Malformed:
    """Two equal keys: kubectl takes the last one silently, which is never what was meant."""
    name = key.replace("{", "{{").replace("}", "}}")
    return Malformed(offset, f'the key "{name}" is here twice, first on line {{line}}', "", path, earlier)


_WORDS = {
    "mapping values are not allowed in this context": (
        "a `:` cannot stand here",
        "check the indentation; a value that holds `: ` needs quotes",
    ),
    "did not find expected key": ("expected a key here", "check the indentation of this line and of those above it"),
    "did not find expected '-' indicator": ("expected a list item (`- …`) here", "check the indentation"),
    "could not find expected ':'": ("expected a `:` after the key", "`key: value`, with a space after the colon"),
    "found unexpected end of stream": ("the quote that opens here is never closed", ""),
    "block sequence entries are not allowed in this context": (
        "a list item (`- …`) cannot stand here",
        "begin the list on a line of its own",
    ),
    "found unknown escape character": (
        "this escape is not known inside double quotes",
        "use single quotes, or \\\\ for a backslash",
    ),
    # libyaml from 0.2.6 on reads ahead and gives up at 1000 levels, before `spec.compose` sees the first one.
    "exceeded maximum nesting depth": ("nested more than 100 levels deep", ""),
    "did not find expected ',' or '}'": ("expected `,` or `}` here", "a value that holds { } [ ] , needs quotes"),
    "did not find expected ',' or ']'": ("expected `,` or `]` here", "a value that holds { } [ ] , needs quotes"),
}


def syntax_error(error: yaml.MarkedYAMLError, text: str) -> Malformed:
    """libyaml's words into a person's."""
    problem = error.problem or "this cannot be read"
    mark = error.problem_mark or error.context_mark
    if problem == "found unexpected end of stream" and error.context_mark is not None:
        mark = error.context_mark
    offset = mark.index if mark is not None else 0
    if problem == "found character that cannot start any token" and offset < len(text):
        if text[offset] == "\t":
            return Malformed(offset, "a tab cannot indent YAML", "use spaces", syntax=True)
        return Malformed(offset, f"a value cannot begin with {text[offset]}", "put it in quotes", syntax=True)
    message, hint = _WORDS.get(problem, (f"{problem} {error.context or ''}".strip(), ""))
    return Malformed(offset, message, hint, syntax=True)
