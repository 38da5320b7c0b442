"""The steps of a JSONPath: each takes the values found so far and gives those it leads to. Pure. Called by jsonpath.

Source of the semantics: k8s.io/client-go/util/jsonpath/jsonpath.go (`evalField`, `evalArray`, `evalFilter`, …).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from minikube_lite.cli.errors import CliError

Step = Callable[[list[Any]], list[Any]]


class JsonPathError(CliError):
    """A template that cannot be read, or not be applied to the object at hand."""


def go_text(value: Any) -> str:
    """A value as Go prints it: text as it is, objects and lists as compact JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, (dict, list)):
        text = json.dumps(value, separators=(",", ":"), sort_keys=True, ensure_ascii=False)
        return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")  # encoding/json's habit
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e21 else repr(value)
    return json.dumps(value)


def constant(value: Any) -> Step:
    return lambda values: [value]


def field(name: str) -> Step:
    if not name:
        return lambda values: values
    return lambda values: [value[name] for value in values if isinstance(value, dict) and name in value]


def _children(value: Any) -> list[Any]:
    return list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []


def wildcard(values: list[Any]) -> list[Any]:
    return [child for value in values for child in _children(value)]


def descendants(values: list[Any]) -> list[Any]:
    """Each object and list with something in it, from the outside in."""
    result = []
    for value in values:
        if children := _children(value):
            result += [value, *descendants(children)]
    return result


def _lists(values: list[Any]) -> Iterator[list[Any]]:
    for value in values:
        if value is None:
            continue
        if not isinstance(value, list):
            raise JsonPathError(f"error executing jsonpath: {go_text(value)[:80]} is not array or slice")
        yield value


def _out_of_bounds(index: int, length: int) -> JsonPathError:
    return JsonPathError(f"error executing jsonpath: array index out of bounds: index {index}, length {length}")


def index(index: int) -> Step:
    def step(values: list[Any]) -> list[Any]:
        found = []
        for value in _lists(values):
            if not -len(value) <= index < len(value):
                raise _out_of_bounds(index if index >= 0 else index + len(value), len(value))
            found.append(value[index])
        return found

    return step


def slice_(start: int | None, stop: int | None, step: int | None) -> Step:
    def take(values: list[Any]) -> list[Any]:
        found = []
        for value in _lists(values):
            length = len(value)
            first = (start or 0) + (length if (start or 0) < 0 else 0)
            last = length if stop is None else stop + (length if stop < 0 else 0)
            if first == last:
                continue
            if not 0 <= first < length:
                raise _out_of_bounds(first, length)
            if not 0 <= last <= length:
                raise _out_of_bounds(last - 1, length)
            if first > last:
                raise JsonPathError(
                    f"error executing jsonpath: starting index {first} is greater than ending index {last}"
                )
            if step is not None and step <= 0:
                raise JsonPathError(f"error executing jsonpath: step must be > 0, not {step}")
            found += value[first : last : step or 1]
        return found

    return take


def selecting(wanted: Callable[[Any], bool]) -> Step:
    return lambda values: [item for value in _lists(values) for item in value if wanted(item)]


def compare(left: list[Any], right: list[Any], operator: Callable[[Any, Any], bool]) -> bool:
    if not left or not right:
        return False
    if len(left) > 1 or len(right) > 1:
        raise JsonPathError("error executing jsonpath: can only compare one element at a time")
    numbers = all(isinstance(side[0], (int, float)) and not isinstance(side[0], bool) for side in (left, right))
    if not numbers and type(left[0]) is not type(right[0]):
        raise JsonPathError("error executing jsonpath: incompatible types for comparison")
    return operator(left[0], right[0])


OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "==": lambda a, b: bool(a == b),
    "!=": lambda a, b: bool(a != b),
    "<": lambda a, b: bool(a < b),
    "<=": lambda a, b: bool(a <= b),
    ">": lambda a, b: bool(a > b),
    ">=": lambda a, b: bool(a >= b),
}
