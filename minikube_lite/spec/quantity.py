"""Kubernetes resource quantities (`500m`, `1.5Gi`, `1e3`), exactly. Called by the models of `spec.objects`.

Rules and oddities are those of apimachinery's `resource.Quantity`
(https://pkg.go.dev/k8s.io/apimachinery/pkg/api/resource#Quantity): nothing is finer than one nano, what is finer is
rounded away from zero; binary quantities are capped at 2^63-1.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
    from pydantic_core import CoreSchema

NANO = 10**9
MAX_INT64 = 2**63 - 1
MAX_EXPONENT = 1000
"""`1e1000000000` would need a gigabyte to hold; Kubernetes tries."""

_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
_DECIMAL_NAMES = {exponent: name for name, exponent in _DECIMAL.items()}
_SPLIT = re.compile(r"([+-]?)(?=\.?[0-9])([0-9]*)(?:\.([0-9]*))?([eEinumkKMGTP]*[-+]?[0-9]*)", re.ASCII)
_EXPONENT = re.compile(r"[eE]([+-]?[0-9]+)", re.ASCII)


class Quantity:
    """An immutable amount. Equal, ordered and hashed by value; prints as Kubernetes prints it."""

    __slots__ = ("_nanos", "_text")
    _nanos: int
    _text: str

    def __init__(self, value: str | int | float | Decimal | Quantity) -> None:
        """Same as `Quantity.parse`. Raises ValueError."""
        if isinstance(value, Quantity):
            nanos, text = value._nanos, value._text
        else:
            nanos, text = _parse(_as_text(value))
        object.__setattr__(self, "_nanos", nanos)
        object.__setattr__(self, "_text", text)

    @classmethod
    def parse(cls, value: str | int | float | Decimal | Quantity) -> Quantity:
        """Read a quantity. Raises ValueError with words for a person."""
        return value if isinstance(value, cls) else cls(value)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("a Quantity does not change")

    def __delattr__(self, name: str) -> None:
        raise AttributeError("a Quantity does not change")

    @property
    def nanos(self) -> int:
        """The exact amount in thousand-millionths of a unit: always whole, for exact sums."""
        return self._nanos

    @property
    def value(self) -> Decimal:
        """The exact amount, in whole units (cores, bytes)."""
        return Decimal(f"{self._nanos}e-9")

    @property
    def milli(self) -> int:
        """Thousandths, rounded up (away from zero): millicores of a CPU amount."""
        return _divide_up(self._nanos, NANO // 1000)

    @property
    def bytes(self) -> int:
        """Whole units, rounded up (away from zero): bytes of a memory amount."""
        return _divide_up(self._nanos, NANO)

    def __str__(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return f"Quantity({self._text!r})"

    def __hash__(self) -> int:
        return hash(self._nanos)

    def __eq__(self, other: object) -> bool:
        return self._nanos == other._nanos if isinstance(other, Quantity) else NotImplemented

    def __lt__(self, other: Quantity) -> bool:
        return self._nanos < other._nanos

    def __le__(self, other: Quantity) -> bool:
        return self._nanos <= other._nanos

    def __gt__(self, other: Quantity) -> bool:
        return self._nanos > other._nanos

    def __ge__(self, other: Quantity) -> bool:
        return self._nanos >= other._nanos

    def __bool__(self) -> bool:
        return self._nanos != 0

    def __reduce__(self) -> tuple[Any, ...]:
        return (Quantity, (self._text,))

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        from pydantic_core import core_schema  # `validate` reads quantities without pydantic

        return core_schema.no_info_plain_validator_function(
            cls.parse, serialization=core_schema.plain_serializer_function_ser_schema(str)
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"anyOf": [{"type": "string"}, {"type": "number"}]}


def _divide_up(number: int, by: int) -> int:
    """Integer division rounded away from zero."""
    return -(-number // by) if number >= 0 else number // by


def _as_text(value: object) -> str:
    """A number as JSON would carry it, which is what Kubernetes parses."""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, bool) or not isinstance(value, (int, float, Decimal)):
        raise ValueError(f"expected a quantity such as 500m or 128Mi, found {value!r}")
    if not isinstance(value, float):
        return str(value)
    # encoding/json, floatEncoder: 1000.0 is 1000, and an exponent is written only for the very large and small.
    if value == 0 or 1e-6 <= abs(value) < 1e21:
        return format(Decimal(repr(value)).normalize(), "f")
    return re.sub("e([+-])0", r"e\1", repr(value))


def _parse(text: str) -> tuple[int, str]:
    """(nanos, as Kubernetes prints it)."""
    if text == "0":
        return 0, text
    match = _SPLIT.fullmatch(text)
    if match is None or len(text) > MAX_EXPONENT:
        raise ValueError(_not_a_quantity(text))
    sign, whole, fraction, suffix = match[1], match[2].lstrip("0"), match[3] or "", match[4]
    binary, exponent, notation = _interpret(text, suffix)
    digits = int((whole + fraction) or "0")
    if binary:
        scaled, ten = digits << exponent, 9 - len(fraction)
    else:
        scaled, ten = digits, 9 - len(fraction) + exponent
    nanos = scaled * 10**ten if ten >= 0 else _divide_up(scaled, 10**-ten)
    if binary:
        nanos = min(nanos, MAX_INT64 * NANO)
    signed = -nanos if sign == "-" else nanos
    if _is_printed_as_given(whole or "0", fraction, exponent, binary):
        return signed, text
    return signed, _canonical(signed, notation)


def _interpret(text: str, suffix: str) -> tuple[bool, int, str]:
    """(whether binary, exponent of 2 or of 10, notation to print in). Raises ValueError."""
    if suffix in _DECIMAL:
        return False, _DECIMAL[suffix], ""
    if suffix in _BINARY:
        return True, _BINARY[suffix], "Ki"
    match = _EXPONENT.fullmatch(suffix)
    if match is None:
        raise ValueError(_not_a_quantity(text))
    exponent = int(match[1])
    if abs(exponent) > MAX_EXPONENT:
        raise ValueError(f"{_short(text)} is out of range: the exponent may be at most {MAX_EXPONENT}")
    return False, exponent, "e"


def _is_printed_as_given(whole: str, fraction: str, exponent: int, binary: bool) -> bool:
    """Whether Kubernetes keeps the text: what ParseQuantity takes for canonical, so also `+5`, `5.`, `007`, `1E3`."""
    if binary:
        precise = not fraction and 15 - len(whole) - int(exponent * 3 / 10) - 1 >= 0
        return precise and int(whole) << exponent <= MAX_INT64 and int(whole) & 7 != 0
    shifted, scale = whole + fraction, exponent - len(fraction)
    canonical = scale % 3 == 0 and not shifted.endswith("000") and not shifted.startswith("0")
    return canonical and len(shifted) <= 18 and scale >= -9


def _canonical(nanos: int, notation: str) -> str:
    """No fraction, the largest suffix that loses nothing (`CanonicalizeBytes`). `notation`: "Ki", "" or "e"."""
    if nanos == 0:
        return "0"
    whole, rest = divmod(nanos, NANO)
    if notation == "Ki" and not rest and abs(whole) >= 1024:
        suffix = ""
        for name in _BINARY:
            if whole % 1024:
                break
            whole, suffix = whole // 1024, name
        return f"{whole}{suffix}"
    exponent = -9
    while nanos % 1000 == 0:
        nanos, exponent = nanos // 1000, exponent + 3
    if notation != "e" and exponent in _DECIMAL_NAMES:
        return f"{nanos}{_DECIMAL_NAMES[exponent]}"
    return f"{nanos}e{exponent}" if exponent else str(nanos)


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:37] + "...")


def _not_a_quantity(text: str) -> str:
    """Words for a person, with a guess at what was meant: `1GB` is a frequent one."""
    match = re.match(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)", text, re.ASCII)
    if match is None:
        return f"{_short(text)} is not a quantity: a number such as 0.5, 500m, 128Mi or 1e3 is needed"
    suffix = text[match.end() :]
    likely = {name.lower(): name for name in (*_BINARY, "k")} | {"b": "", "kb": "k", "mb": "M", "gb": "G", "tb": "T"}
    likely |= {f"{name.lower()}b": name for name in _BINARY}
    guess = likely.get(suffix.strip().lower())
    hint = f"; did you mean {match[0]}{guess}?" if guess is not None else ""
    known = "n u m k M G T P E, Ki Mi Gi Ti Pi Ei, or e and a number"
    return f"{_short(text)} is not a quantity: {_short(suffix)} is not a suffix (there are {known}){hint}"
