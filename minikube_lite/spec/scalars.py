"""What an unquoted YAML scalar means to kubectl. Called by `spec.compose` for each plain scalar.

kubectl reads with go-yaml v2 (sigs.k8s.io/yaml/goyaml.v2, resolve.go): YAML 1.1's booleans and octals, Go's
`strconv.ParseInt(s, 0, 64)` for integers, no base 60, dates stay strings. Numbers then travel as JSON: 1e3 is 1000.
"""

from __future__ import annotations

import re
from decimal import Decimal
from functools import lru_cache

_WORDS: dict[str, bool | float | None] = {
    **dict.fromkeys(("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"), True),
    **dict.fromkeys(("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"), False),
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), float("inf")),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), float("-inf")),
}
_INT = re.compile(r"([+-]?)(?:0[xX]([0-9a-fA-F]+)|0[bB]([01]+)|0[oO]?([0-7]+)|(0|[1-9][0-9]*))", re.ASCII)
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", re.ASCII)
_LONE_UNDERSCORE = re.compile(r"(?<![0-9])_|_(?![0-9])", re.ASCII)
_DATE = re.compile(r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:[Tt ].*)?", re.ASCII)
_MAX_UINT64 = 2**64 - 1
_MIN_INT64 = -(2**63)

Scalar = str | int | float | bool | None


@lru_cache(maxsize=4096)
def resolve(text: str) -> Scalar:
    """The value of a plain scalar. May be nan or an infinity, which no JSON can carry."""
    if text in _WORDS:
        return _WORDS[text]
    first = text[0]
    if not (first.isdigit() or first in "+-."):
        return text
    plain = text.replace("_", "")
    match = _INT.fullmatch(plain)
    if match is not None and first != ".":
        number = _integer(match)
        if number is not None:
            return number
    if first == "." and _LONE_UNDERSCORE.search(text):
        return text
    if _FLOAT.fullmatch(plain) and not _DATE.fullmatch(text):
        return number_of_float(float(plain), text)
    return text


def _integer(match: re.Match[str]) -> int | None:
    """Of 64 bits, signed or not; a larger one is a float to Go."""
    sign, hexadecimal, binary, octal, decimal = match.groups()
    digits, base = next(
        (text, base) for text, base in ((hexadecimal, 16), (binary, 2), (octal, 8), (decimal, 10)) if text is not None
    )
    if len(digits) > 64:
        return None
    number = int(digits, base)
    number = -number if sign == "-" else number
    # ParseUint takes no sign, so +2^63 is no integer.
    limit = _MAX_UINT64 if not sign else 2**63 - 1
    return number if _MIN_INT64 <= number <= limit else None


def number_of_float(number: float, text: str) -> Scalar:
    """As it comes out of Go's JSON: 1000.0 is 1000. What overflows stays the string that it was."""
    if number in (float("inf"), float("-inf")):
        return text
    if number.is_integer() and abs(number) < 1e21:
        return int(Decimal(repr(number)))  # Go writes the shortest digits that say this float, then zeros
    return number


def key_text(value: Scalar) -> str | None:
    """A scalar as a key of JSON, as sigs.k8s.io/yaml converts it; None where it cannot be one."""
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
