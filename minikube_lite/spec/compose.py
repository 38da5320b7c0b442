"""One YAML document's text → nodes: plain data, and beside it where each key and value stands. Called by `spec.yaml`.

libyaml's events (PyYAML's C parser; the pure one where that is not compiled) are put together without recursion and
with bounds on depth and on what aliases expand to, so that no text can exhaust the stack or memory.
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import yaml

from minikube_lite.spec.events import APOSTROPHE, MAX_REPAIRS, event_source, without_apostrophe_escapes
from minikube_lite.spec.malformed import Malformed, duplicate_key, syntax_error
from minikube_lite.spec.scalars import Scalar, key_text, resolve

MAX_DEPTH = 100
"""Levels of nesting; a CustomResourceDefinition needs some 40."""
MAX_NODES = 100_000
"""Values in one document: more would keep the node busy for seconds."""
MAX_ALIASED = 100_000
"""Nodes that aliases may stand for in one document ("billion laughs")."""

_TAG = "tag:yaml.org,2002:"


@dataclass(slots=True)
class Node:
    """A value and its place. `start` and `end` are characters of the document's text, `end` is exclusive."""

    value: Any
    """As JSON would carry it; shared with the parent's `value`."""
    start: int
    end: int
    children: dict[str, Node] | list[Node] | None
    keys: dict[str, int] | None
    """Where each key of a mapping begins."""

    def child(self, part: str | int) -> Node | None:
        """The node of a key or an index."""
        if isinstance(self.children, dict):
            return self.children.get(part) if isinstance(part, str) else None
        if isinstance(self.children, list) and isinstance(part, int) and 0 <= part < len(self.children):
            return self.children[part]
        return None

    def attach(self, place: str | int, node: Node) -> None:
        """Put a child in."""
        if isinstance(self.children, dict):
            self.children[str(place)] = node
            self.value[place] = node.value
        elif isinstance(self.children, list):
            self.children.append(node)
            self.value.append(node.value)


class _Stop(Exception):
    """Nothing more can be made of this document."""

    def __init__(self, malformed: Malformed) -> None:
        super().__init__(malformed.message)
        self.malformed = malformed


@dataclass(slots=True)
class _Frame:
    """A collection under way."""

    node: Node
    anchor: str | None
    key: str | None = None
    """The key whose value comes next."""
    merging: bool = False
    """Whether the value that comes next is that of `<<`."""
    merged: set[str] | None = None
    """Keys that came with `<<`."""
    size: int = 1
    height: int = 1


@dataclass(frozen=True, slots=True)
class Composed:
    """What a text gave. `partial`: of a mapping that breaks off, the entries that were complete before it did."""

    root: Node | None
    malformed: tuple[Malformed, ...] = ()
    partial: dict[str, Any] = field(default_factory=dict)


def compose(text: str) -> Composed:
    """Read one document. Never raises for what stands in it."""
    given = text if text.endswith("\n") else text + "\n"  # as go-yaml: a literal block at a file's end has its line end
    composer = _Composer(escaped=False)
    for _ in range(MAX_REPAIRS):
        try:
            return Composed(composer.run(event_source(given)), tuple(composer.malformed))
        except _Stop as stop:
            return composer.broken(stop.malformed)
        except yaml.reader.ReaderError as error:
            # The C reader counts bytes here, the pure one characters; the character itself tells.
            character = error.character if isinstance(error.character, int) else ord(error.character[:1] or "\0")
            offset = max(text.find(chr(character)), 0)
            return composer.broken(Malformed(offset, f"the control character U+{character:04X} is not allowed in YAML"))
        except yaml.MarkedYAMLError as error:
            repaired = without_apostrophe_escapes(error, given)
            if repaired == given or APOSTROPHE in text or "\\P" in text:
                return composer.broken(syntax_error(error, text))
            given = repaired
            composer = _Composer(escaped=True)
    hint = "in double quotes an apostrophe needs no backslash"
    return Composed(None, (Malformed(0, "too many strings with \\' in them", hint),))


class _Composer:
    """Puts one document's events together."""

    def __init__(self, escaped: bool) -> None:
        self.malformed: list[Malformed] = []
        self._escaped = escaped
        self._stack: list[_Frame] = []
        self._anchors: dict[str, tuple[Node, int, int]] = {}  # node, expanded size, height
        self._aliased = 0
        self._root: Node | None = None

    def run(self, next_event: Callable[[], Any]) -> Node | None:
        documents = events = 0
        while (event := next_event()) is not None:
            kind = type(event)
            events += 1
            if events > 2 * MAX_NODES:
                self._stop(event, f"the document holds more than {MAX_NODES} values")
            if kind is yaml.ScalarEvent:
                self._scalar(event)
            elif kind is yaml.MappingStartEvent:
                start = event.start_mark.index
                self._open(_Frame(Node({}, start, start, {}, {}), event.anchor))
            elif kind is yaml.SequenceStartEvent:
                start = event.start_mark.index
                self._open(_Frame(Node([], start, start, [], None), event.anchor))
            elif kind is yaml.MappingEndEvent or kind is yaml.SequenceEndEvent:
                self._close(event.end_mark.index)
            elif kind is yaml.AliasEvent:
                self._alias(event)
            elif kind is yaml.DocumentStartEvent:
                documents += 1
                if documents > 1:
                    self._stop(event, "a second document begins here", "put --- on a line of its own between them")
        return self._root

    def broken(self, why: Malformed) -> Composed:
        """What there is, after `run` raised."""
        outermost = self._stack[0].node.value if self._stack else self._root.value if self._root is not None else {}
        return Composed(None, (*self.malformed, why), outermost if isinstance(outermost, dict) else {})

    def _stop(self, event: Any, message: str, hint: str = "", *, syntax: bool = False) -> None:
        raise _Stop(Malformed(event.start_mark.index, message, hint, self._path(), syntax=syntax))

    def _path(self) -> tuple[str | int, ...]:
        return tuple(
            frame.key if frame.key is not None else len(frame.node.value)
            for frame in self._stack
            if frame.key is not None or frame.node.keys is None
        )

    def _wants_key(self) -> bool:
        if not self._stack:
            return False
        frame = self._stack[-1]
        return frame.node.keys is not None and frame.key is None and not frame.merging

    def _open(self, frame: _Frame) -> None:
        if self._wants_key():
            start = frame.node.start
            raise _Stop(Malformed(start, "a key must be a plain word, not a list or a mapping", syntax=True))
        if len(self._stack) >= MAX_DEPTH:
            raise _Stop(Malformed(frame.node.start, f"nested more than {MAX_DEPTH} levels deep"))
        self._stack.append(frame)

    def _close(self, end: int) -> None:
        frame = self._stack.pop()
        node = frame.node
        node.end = end
        self._add(node, frame.anchor, frame.size, frame.height)

    def _scalar(self, event: Any) -> None:
        start, end = event.start_mark.index, event.end_mark.index
        plain = event.implicit[0] and event.tag is None
        if self._wants_key():
            frame = self._stack[-1]
            if plain and event.value == "<<":
                frame.merging = True
                return
            self._key(frame, self._value(event), event)
            return
        self._add(Node(self._value(event), start, end, None, None), event.anchor, 1, 0)

    def _key(self, frame: _Frame, value: Scalar, event: Any) -> None:
        start = event.start_mark.index
        key = key_text(value)
        if key is None:
            return self._stop(event, "a key may not be empty or null", "put it in quotes if it is meant")
        keys = frame.node.keys
        assert keys is not None
        if frame.merged and key in frame.merged:
            frame.merged.discard(key)
        elif key in keys:
            self.malformed.append(duplicate_key(key, start, keys[key], (*self._path(), key)))
        keys[key] = start
        frame.key = key
        if event.anchor is not None:
            self._anchors[event.anchor] = (Node(value, start, event.end_mark.index, None, None), 1, 0)
        return None

    def _alias(self, event: Any) -> None:
        if event.anchor not in self._anchors:
            inside = any(frame.anchor == event.anchor for frame in self._stack)
            what = "contains itself" if inside else "is not defined above"
            self._stop(event, f"the alias *{event.anchor} {what}", syntax=True)
        node, size, height = self._anchors[event.anchor]
        self._aliased += size
        if self._aliased > MAX_ALIASED:
            self._stop(event, f"the aliases stand for more than {MAX_ALIASED} values: refused, as it may be an attack")
        if len(self._stack) + height > MAX_DEPTH:
            self._stop(event, f"nested more than {MAX_DEPTH} levels deep")
        if self._wants_key():
            if node.children is not None:
                self._stop(event, "a key must be a plain word, not a list or a mapping")
            self._key(self._stack[-1], node.value, event)
            return
        self._add(node, None, size, height)

    def _add(self, node: Node, anchor: str | None, size: int, height: int) -> None:
        """Give a finished node to the collection that waits for it."""
        if anchor is not None:
            self._anchors[anchor] = (node, size, height)
        if not self._stack:
            self._root = node
            return
        frame = self._stack[-1]
        frame.size += size
        frame.height = max(frame.height, height + 1)
        if frame.merging:
            self._merge(frame, node)
            frame.merging = False
        elif frame.key is not None:
            frame.node.attach(frame.key, node)
            frame.key = None
        else:
            frame.node.attach(0, node)

    def _merge(self, frame: _Frame, node: Node) -> None:
        """`<<`: of several mappings the first one holds. As in go-yaml v2, later keys win over what was before them."""
        sources = node.children if isinstance(node.children, list) else [node]
        merged = frame.merged if frame.merged is not None else set()
        for source in reversed(sources):
            if not isinstance(source.children, dict) or source.keys is None:
                raise _Stop(Malformed(node.start, "<< needs a mapping or a list of mappings", path=self._path()))
            for key, child in source.children.items():
                merged.add(key)
                assert frame.node.keys is not None
                frame.node.keys[key] = source.keys[key]
                frame.node.attach(key, child)
        frame.merged = merged

    def _value(self, event: Any) -> Scalar:
        """What a scalar means: by its tag where it has one, else by its look where it is plain."""
        text: str = event.value
        if self._escaped and APOSTROPHE in text:
            text = text.replace(APOSTROPHE, "'")
        tag: str | None = event.tag
        if tag is None:
            value = resolve(text) if event.implicit[0] else text
        else:
            value = self._tagged(tag.removeprefix(_TAG) if tag.startswith(_TAG) else "str", text, event)
        if isinstance(value, float) and not math.isfinite(value):
            self._stop(event, f"{text} cannot be used: JSON has no such number", "put it in quotes if it is a word")
        return value

    def _tagged(self, tag: str, text: str, event: Any) -> Scalar:
        if tag == "binary":
            try:
                return base64.b64decode(text, validate=False).decode()
            except (binascii.Error, UnicodeDecodeError):
                self._stop(event, "!!binary needs text in base64")
        kinds: dict[str, tuple[type, ...]] = {
            "int": (int,),
            "float": (int, float),
            "bool": (bool,),
            "null": (type(None),),
        }
        if tag not in kinds:
            return text
        value = resolve(text)
        if not isinstance(value, kinds[tag]) or (isinstance(value, bool) and tag != "bool"):
            self._stop(event, f'"{text}" cannot be read as !!{tag}')
        return value
