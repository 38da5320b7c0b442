"""JSON text → nodes with positions. Called by `spec.yaml` for a part that begins with `{`.

YAML holds most of JSON, but not its surrogate pairs, nor objects that follow each other without a marker.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from minikube_lite.spec.compose import MAX_DEPTH, Node
from minikube_lite.spec.malformed import Malformed, duplicate_key

_DECODER = json.JSONDecoder(parse_constant=lambda name: _refuse(name))
_BLANK = re.compile(r"[ \t\r\n]*")
_TOKEN = re.compile(r'[ \t\r\n,:]*("(?:[^"\\]|\\.)*"|[{}\[\]]|[^ \t\r\n,:{}\[\]"]+)', re.DOTALL)

Read = tuple[Node | None, list[Malformed], int]


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def read_objects(text: str) -> Iterator[Read]:
    """(object, what is wrong with it, where in `text` its document ends); none where `text` does not begin with one.

    A last item without an object stands for the rest, which is not JSON.
    """
    begin = 0
    at = _skip(text, 0)
    while at < len(text):
        end = _object_end(text, at) if text[at] == "{" else -1
        if end < 0:
            if begin:
                yield None, [], len(text)
            return
        node, malformed = _compose(text, at, begin)
        at = _skip(text, end)
        begin = end if at < len(text) else len(text)
        yield node, malformed, begin


def _skip(text: str, at: int) -> int:
    match = _BLANK.match(text, at)
    return match.end() if match is not None else at


def _object_end(text: str, at: int) -> int:
    """Where the JSON object that begins at `at` ends; -1 where it is not valid (or too deep)."""
    try:
        return _DECODER.raw_decode(text, at)[1]
    except (ValueError, RecursionError):
        return -1


def _compose(text: str, at: int, base: int) -> tuple[Node | None, list[Malformed]]:
    """Nodes of an object that is known to be valid. `base` is where its document begins in `text`."""
    malformed: list[Malformed] = []
    stack: list[tuple[Node, list[str]]] = []  # a container and the key that waits for its value
    path: list[str | int] = []
    for token in _TOKEN.finditer(text, at):
        piece, start, end = token[1], token.start(1) - base, token.end(1) - base
        if piece in "}]":
            node, _ = stack.pop()
            node.end = end
            if not stack:
                return node, malformed
            path.pop()
            continue
        parent = stack[-1] if stack else None
        if parent is not None and parent[0].keys is not None and not parent[1]:
            key = json.loads(piece, strict=False)
            if key in parent[0].keys:
                malformed.append(duplicate_key(key, start, parent[0].keys[key], (*path, key)))
            parent[0].keys[key] = start
            parent[1].append(key)
            continue
        if piece == "{":
            node = Node({}, start, end, {}, {})
        elif piece == "[":
            node = Node([], start, end, [], None)
        else:
            node = Node(_scalar(piece), start, end, None, None)
        if parent is not None:
            place: str | int = parent[1].pop() if parent[0].keys is not None else len(parent[0].value)
            parent[0].attach(place, node)
            if piece in "{[":
                path.append(place)
        if piece in "{[":
            stack.append((node, []))
            if len(stack) > MAX_DEPTH:
                return None, [Malformed(start, f"nested more than {MAX_DEPTH} levels deep")]
    raise AssertionError("valid JSON ends")


def _scalar(piece: str) -> Any:
    return json.loads(piece, strict=False)
