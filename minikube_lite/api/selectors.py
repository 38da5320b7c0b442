"""Label and field selectors: text → a test of one object. Called by listing, watching and deletecollection.

The grammar is that of k8s.io/apimachinery/pkg/labels (`Parse`) and pkg/fields (`ParseSelector`). Raises 400.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from minikube_lite.api.failures import bad_request
from minikube_lite.api.resources import Resource
from minikube_lite.node.service import Json, ServiceError

Predicate = Callable[[Json], bool]
Labels = dict[str, str]

_TOKEN = re.compile(r"\s*(==|!=|[=!,()<>]|[^\s=!,()<>]+)")
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")
_PREFIX = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")
_SPECIAL = frozenset(("==", "!=", "=", "!", ",", "(", ")", "<", ">"))


def everything(_: Json) -> bool:
    return True


def select(resource: Resource, labels: str, fields: str) -> Predicate:
    """The test that both selectors make; `everything` itself where neither says anything."""
    tests = [parse(text) for parse, text in ((label_selector, labels), (_fields_of(resource), fields)) if text.strip()]
    if not tests:
        return everything
    return lambda item: all(test(item) for test in tests)


def label_selector(text: str) -> Predicate:
    """`a=b,c!=d,e in (f,g),h notin (i),j,!k,l>1` as a test of an object's labels."""
    requirements = list(_Labels(text).requirements())

    def test(item: Json) -> bool:
        labels = item.get("metadata", {}).get("labels") or {}
        return all(requirement(labels) for requirement in requirements)

    return test


class _Labels:
    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = _TOKEN.findall(text)
        self.at = 0

    def wrong(self, why: str) -> ServiceError:
        return bad_request(f'unable to parse label selector "{self.text}": {why}')

    def peek(self) -> str:
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def take(self) -> str:
        token = self.peek()
        self.at += 1
        return token

    def requirements(self) -> Iterator[Callable[[Labels], bool]]:
        while self.peek():
            yield self.requirement()
            separator = self.take()
            if separator not in (",", ""):
                raise self.wrong(f"found '{separator}', expected: ',' or end")
            if separator == "," and not self.peek():
                raise self.wrong("found '', expected: a key after ','")

    def requirement(self) -> Callable[[Labels], bool]:
        absent = self.peek() == "!"
        if absent:
            self.take()
        key = self.key()
        if absent:
            return lambda labels: key not in labels
        if self.peek() in ("", ","):
            return lambda labels: key in labels
        operator = self.take()
        if operator in ("=", "=="):
            wanted = self.value()
            return lambda labels: labels.get(key) == wanted
        if operator == "!=":
            wanted = self.value()
            return lambda labels: labels.get(key) != wanted
        if operator == "in":
            among = self.values()
            return lambda labels: labels.get(key) in among
        if operator == "notin":
            among = self.values()
            return lambda labels: labels.get(key) not in among
        if operator in ("<", ">"):
            return self.comparison(key, operator)
        raise self.wrong(f"found '{operator}', expected: in, notin, =, ==, !=, >, <")

    def comparison(self, key: str, operator: str) -> Callable[[Labels], bool]:
        bound = _integer(self.value())
        if bound is None:
            raise self.wrong(f"for '{operator}' the value must be an integer")

        def test(labels: Labels) -> bool:
            number = _integer(labels.get(key, ""))
            return number is not None and (number > bound if operator == ">" else number < bound)

        return test

    def key(self) -> str:
        key = self.take()
        prefix, slash, name = key.rpartition("/")
        good_prefix = not slash or (len(prefix) <= 253 and _PREFIX.fullmatch(prefix))
        if not good_prefix or not _NAME.fullmatch(name):
            raise self.wrong(
                f"'{key}' is not a label key (hint: [prefix/]name, name of at most 63 letters, digits, '-_.')"
            )
        return key

    def value(self) -> str:
        value = "" if self.peek() in ("", ",") else self.take()
        return self.checked(value)

    def values(self) -> frozenset[str]:
        """`(a, b)`; an empty member is the empty value, as in Kubernetes."""
        if self.take() != "(":
            raise self.wrong("expected: '(' after in or notin")
        values = []
        while True:
            values.append(self.checked("" if self.peek() in (",", ")") else self.take()))
            end = self.take()
            if end == ")":
                return frozenset(values)
            if end != ",":
                raise self.wrong(f"found '{end}', expected: ',' or ')'")

    def checked(self, value: str) -> str:
        if value in _SPECIAL or (value and not _NAME.fullmatch(value)):
            raise self.wrong(f"'{value}' is not a label value (hint: at most 63 letters, digits, '-_.')")
        return value


def _integer(text: str) -> int | None:
    return int(text) if re.fullmatch(r"[+-]?[0-9]{1,19}", text) else None


def _fields_of(resource: Resource) -> Callable[[str], Predicate]:
    return lambda text: field_selector(resource, text)


def field_selector(resource: Resource, text: str) -> Predicate:
    """`status.phase=Running,spec.nodeName!=x` as a test of an object; `\\,`, `\\=` and `\\\\` are escapes."""
    known = ("metadata.name", *(("metadata.namespace",) if resource.namespaced else ()), *resource.fields)
    terms: list[tuple[str, bool, str]] = []
    for part in re.findall(r"(?:\\.|[^,\\])+", text):
        term = re.fullmatch(r"\s*([A-Za-z.]+)(!=|==|=)((?:\\[,=\\]|[^\\=])*)", part)
        if term is None:
            raise bad_request(
                f"invalid field selector '{text}': can't understand '{part}' (hint: key=value, key!=value)"
            )
        if term[1] not in known:
            raise bad_request(f"field label not supported: {term[1]} (hint: one of {', '.join(known)})")
        terms.append((term[1], term[2] != "!=", re.sub(r"\\(.)", r"\1", term[3])))
    return lambda item: all((_field(item, path) == value) is equal for path, equal, value in terms)


def _field(item: Json, path: str) -> str:
    if path == "source" and isinstance(item.get("source"), dict):  # a field selector's `source` is its component
        return str(item["source"].get("component", ""))
    value: Any = item
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    if value is None:
        return "false" if path in ("spec.hostNetwork", "spec.unschedulable") else ""
    return str(value).lower() if isinstance(value, bool) else str(value)
