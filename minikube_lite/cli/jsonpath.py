"""kubectl's JSONPath templates: `{.metadata.name}`, `{range .items[*]}{.metadata.name}{"\\n"}{end}`. Pure.

Called by output (`-o jsonpath`, `custom-columns`), sorting and wait. The dialect is that of
k8s.io/client-go/util/jsonpath (parser.go, jsonpath.go), a template language rather than RFC 9535's JSONPath: an
expression gives a list of values, they are printed with a space between, and a field that is not there gives none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from minikube_lite.cli.jsonpath_steps import (
    OPERATORS,
    JsonPathError,
    Step,
    compare,
    constant,
    descendants,
    field,
    go_text,
    index,
    selecting,
    slice_,
    wildcard,
)

_SLICE = re.compile(r"^(-?\d*)(:-?\d*)?(:-?\d*)?$")
_COMPARISON = re.compile(r"^([^!<>=]+)([!<>=]+)(.+?)$", re.DOTALL)
_RELAXED = re.compile(r"^\{\.?([^{}]+)\}$|^\.?([^{}]+)$")
_NUMBER = re.compile(r"[+-]?\d+(\.\d*)?")
_WORD = re.compile(r"\w+")
_FIELD = re.compile(r"(?:\\.|[^\s.,\[\]$@{}\\])*")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", '"': '"', "'": "'", "0": "\0", "a": "\a", "b": "\b", "f": "\f"}


def relaxed(expression: str) -> str:
    """`x.y`, `.x.y`, `{x.y}` and `{.x.y}` alike, as custom-columns, --sort-by and wait take them."""
    found = _RELAXED.match(expression)
    if found is None:
        raise JsonPathError(
            f"unexpected path string, expected a 'name1.name2' or '.name1.name2' or '{{name1.name2}}' or "
            f"'{{.name1.name2}}', not '{expression}'"
        )
    return "{." + (found[1] or found[2]) + "}"


class JsonPath:
    """A template, read once. Raises JsonPathError."""

    def __init__(self, template: str) -> None:
        self._template = template
        self._blocks = _Blocks(template).read()

    def text(self, value: Any) -> str:
        """The template filled in."""
        return "".join(" ".join(map(go_text, values)) for values in self._results(self._blocks, value))

    def values(self, value: Any) -> list[Any]:
        """All that its expressions find."""
        return [found for values in self._results(self._blocks, value) for found in values]

    def _results(self, blocks: list[Any], value: Any) -> Iterator[list[Any]]:
        for block in blocks:
            if isinstance(block, _Range):
                for item in _walk(block.steps, [value]):
                    yield from self._results(block.body, item)
            elif isinstance(block, str):
                yield [block]
            else:
                yield _walk(block, [value])


class _Range:
    """`{range …}` up to its `{end}`."""

    def __init__(self, steps: list[Step]) -> None:
        self.steps = steps
        self.body: list[Any] = []


def _walk(steps: list[Step], values: list[Any]) -> list[Any]:
    for step in steps:
        values = step(values)
    return values


class _Blocks:
    """Splits a template into text, expressions and ranges."""

    def __init__(self, template: str) -> None:
        self._template = template

    def read(self) -> list[Any]:
        top: list[Any] = []
        open_ranges: list[_Range] = []
        position = 0
        while position < len(self._template):
            into = open_ranges[-1].body if open_ranges else top
            brace = self._template.find("{", position)
            if brace < 0:
                into.append(self._template[position:])
                break
            if brace > position:
                into.append(self._template[position:brace])
            expression = _Expression(self._template, brace + 1)
            steps = expression.read()
            position = expression.position
            if expression.keyword == "end":
                if not open_ranges:
                    raise self._wrong("not in range, nothing to end")
                open_ranges.pop()
            elif expression.keyword == "range":
                into.append(block := _Range(steps))
                open_ranges.append(block)
            else:
                into.append(steps)
        return top

    def _wrong(self, what: str) -> JsonPathError:
        return JsonPathError(f"error parsing jsonpath {self._template}, {what}")


class _Expression:
    """Reads one `{…}`; `position` is just behind the brace that opened it, and then behind the one that closes it."""

    def __init__(self, text: str, position: int) -> None:
        self._text = text
        self.position = position
        self.keyword = ""

    def _wrong(self, what: str) -> JsonPathError:
        return JsonPathError(f"error parsing jsonpath {self._text}, {what}")

    def read(self, *, closed: bool = True) -> list[Step]:
        """The steps. `closed` False: all of the text is the expression (within a filter), no brace closes it."""
        steps: list[Step] = []
        while True:
            rest = self._text[self.position : self.position + 3]
            char = rest[:1]
            if not char or char == "\n":
                if closed:
                    raise self._wrong("unclosed action")
                return steps
            if char == "}" and closed:
                self.position += 1
                return steps
            if rest == "[?(":
                steps.append(self._filter())
            elif char == "[":
                steps += self._brackets()
            elif rest[:2] == "..":
                self.position += 1 if rest[2:] not in ("", "[", "}", " ") else 2
                steps.append(descendants)
            elif char == ".":
                self.position += 1
                steps.append(self._field())
            elif char in " @$":
                self.position += 1  # "the current object, just pass it"
            elif char in "\"'":
                steps.append(constant(self._quoted(char)))
            elif char in "+-" or char.isdigit():
                steps.append(constant(self._number()))
            elif char.isalnum() or char == "_":
                self._identifier(steps)
            else:
                raise self._wrong(f"unrecognized character in action: U+{ord(char):04X} '{char}'")

    def _match(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self._text, self.position)
        if found is None:
            return ""
        self.position = found.end()
        return found[0]

    def _field(self) -> Step:
        name = self._match(_FIELD)
        return wildcard if name == "*" else field(re.sub(r"\\(.)", r"\1", name))

    def _identifier(self, steps: list[Step]) -> None:
        word = self._match(_WORD)
        if word in ("true", "false"):
            steps.append(constant(word == "true"))
        elif word in ("range", "end") and not steps:
            self.keyword = word
        else:
            raise self._wrong(f"unrecognized identifier {word}")

    def _number(self) -> int | float:
        text = self._match(_NUMBER)
        try:
            return float(text) if "." in text else int(text)
        except ValueError:
            raise self._wrong(f"cannot parse number {text}") from None

    def _quoted(self, quote: str) -> str:
        self.position += 1
        result: list[str] = []
        while True:
            char = self._text[self.position : self.position + 1]
            self.position += 1
            if not char or char == "\n":
                raise self._wrong("unterminated quoted string")
            if char == quote:
                return "".join(result)
            if char == "\\":
                escaped = self._text[self.position : self.position + 1]
                self.position += 1
                if escaped == "u" and (digits := self._match(re.compile("[0-9a-fA-F]{4}"))):
                    char = chr(int(digits, 16))
                elif escaped in _ESCAPES:
                    char = _ESCAPES[escaped]
                else:
                    raise self._wrong(f"invalid escape \\{escaped}")
            result.append(char)

    def _brackets(self) -> list[Step]:
        """`[*]`, `[0]`, `[-1]`, `[1:3:2]`, `['key']`, `[0,2]`, `['a','b']`."""
        content, end, quote = [""], self.position + 1, ""
        while True:
            char = self._text[end : end + 1]
            end += 1
            if not char or char == "\n":
                raise self._wrong("unterminated array")
            if quote:
                quote = "" if char == quote else quote
            elif char in "'\"":
                quote = char
            elif char == "]":
                break
            elif char == ",":
                content.append("")
                continue
            content[-1] += char
        self.position = end
        choices = [self._subscript(text.strip()) for text in content]
        if len(choices) == 1:
            return choices
        return [lambda values: [found for choice in choices for found in choice(values)]]

    def _subscript(self, text: str) -> Step:
        if text == "*":
            return wildcard
        if len(text) >= 2 and text[0] == text[-1] and text[0] in "'\"":
            return field(re.sub(r"\\(.)", r"\1", text[1:-1]))
        found = _SLICE.match(text)
        if found is None or not text:
            raise self._wrong(f"invalid array index {text}")
        if found[2] is None and found[3] is None:
            return index(int(found[1]) if found[1] not in ("", "-") else 0)
        start, stop, step = (int(part.lstrip(":")) if part and part != ":" else None for part in found.groups())
        return slice_(start, stop, step)

    def _filter(self) -> Step:
        start = end = self.position + 3
        quote = ""
        while True:
            char = self._text[end : end + 1]
            if not char or char == "\n":
                raise self._wrong("unterminated filter")
            if quote:
                quote = "" if char == quote and self._text[end - 1] != "\\" else quote
            elif char in "'\"":
                quote = char
            elif char == ")":
                break
            end += 1
        if self._text[end + 1 : end + 2] != "]":
            raise self._wrong("unclosed array expect ]")
        text = self._text[start:end]
        self.position = end + 2
        found = _COMPARISON.match(text)
        if found is None:
            wanted = self._within(text)
            return selecting(lambda item: bool(_walk(wanted, [item])))
        operator = OPERATORS.get(found[2])
        if operator is None:
            raise self._wrong(f"unrecognized filter operator {found[2]}")
        left, right = self._within(found[1]), self._within(found[3])
        return selecting(lambda item: compare(_walk(left, [item]), _walk(right, [item]), operator))

    def _within(self, text: str) -> list[Step]:
        return _Expression(text, 0).read(closed=False)
