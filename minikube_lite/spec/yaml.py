"""YAML and JSON bytes → documents with positions, read as kubectl reads them. Called by `spec.manifest`.

kubectl splits a stream on `---` lines, parses each part with go-yaml v2 (a YAML 1.1 of its own: see `spec.scalars`)
and hands on JSON. So each part stands alone here too: what is broken in one harms no other. Never raises for what it
is given: everything wrong becomes a Problem.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from minikube_lite.spec import jsontext
from minikube_lite.spec.compose import Node, compose
from minikube_lite.spec.malformed import Malformed
from minikube_lite.spec.problems import Problem

MAX_SIZE = 3 << 20
"""Bytes in one file: what Kubernetes' API server takes in one request (`MaxRequestBodyBytes`)."""
MAX_DOCUMENTS = 10_000
"""In one file; what comes after them is not read, which is a problem of the file."""

Path = tuple[str | int, ...]

_MARKER = re.compile(rb"^(?:---|\.\.\.)(?=[ \t\r\n]|\Z)", re.MULTILINE)
_DIRECTIVE = re.compile(rb"^%", re.MULTILINE)
_NOTHING = re.compile(rb"(?:[ \t\r]*(?:#[^\n]*)?(?:\n|\Z))*")
_TEMPLATE = re.compile(r"\{\{.*?\}\}|\{%.*?%\}|<%.*?%>|\$\{\w+(?:[:?+=-][^}\n]*)?\}")
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True, slots=True)
class RawDocument:
    """One document as read. Offsets inside `Node`s count characters of `text`; `start`, `end`: bytes of the file."""

    text: str
    root: Node | None
    problems: tuple[Problem, ...]
    source: str
    start: int
    """Where the document begins in the file, its `---` included."""
    end: int
    text_start: int
    """Where `text` begins in the file."""
    first_line: int = field(repr=False)
    """The line of the file on which `text` begins, from 1."""
    partial: dict[str, Any] = field(default_factory=dict, repr=False)
    """Of a mapping that cannot be read to its end, the entries before the break."""

    @property
    def line(self) -> int:
        """The line on which the document's content begins, from 1."""
        return self.position(self.root.start)[0] if self.root is not None else self.first_line

    def position(self, offset: int) -> tuple[int, int]:
        """(line, column) in the file of a character of `text`, both from 1."""
        return position(self.text, offset, self.first_line)

    def byte(self, offset: int) -> int:
        """The offset in the file, in bytes, of a character of `text`."""
        if self.text.isascii():
            return self.text_start + min(offset, len(self.text))
        return self.text_start + len(self.text[:offset].encode())

    def find(self, path: Path) -> Node | None:
        """The node at `path`; None where the document has none."""
        node = self.root
        for part in path:
            node = None if node is None else node.child(part)
        return node

    def offset(self, path: Path, *, key: bool = False) -> int:
        """Where the value at `path` begins (or its key), or the nearest thing around it that is there."""
        node = self.root
        offset = node.start if node is not None else 0
        for number, part in enumerate(path):
            child = None if node is None else node.child(part)
            if node is None or child is None:
                break
            at_key = child.start == child.end or (key and number == len(path) - 1)  # a value left out has no place
            offset = node.keys[part] if at_key and isinstance(part, str) and node.keys else child.start
            node = child
        return offset

    def problem(self, message: str, path: Path = (), *, key: bool = False, hint: str = "") -> Problem:
        """A problem with the field at `path`, where a person finds it."""
        line, column = self.position(self.offset(path, key=key))
        return Problem(message, self.source, line, column, dotted(path), hint)


def dotted(path: Path) -> str:
    """`spec.containers[0].image`; a key that would not read well so is written in brackets."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        elif re.fullmatch(r"[\w-]+", part):
            text += f".{part}" if text else part
        else:
            text += f"[{part}]"
    return text


def position(text: str, offset: int, first_line: int = 1) -> tuple[int, int]:
    """(line, column), both from 1, of a character; only `\\n` ends a line, as in every editor."""
    begin = text.rfind("\n", 0, offset) + 1
    return first_line + text.count("\n", 0, begin), offset - begin + 1


def template_in(text: str) -> str:
    """The first piece of a template language in `text` (`{{ .Values.image }}`, `${TAG}`); "" where there is none."""
    match = _TEMPLATE.search(text)
    return match[0] if match is not None else ""


def read_documents(data: bytes, source: str) -> tuple[list[RawDocument], list[Problem]]:
    """Every document that says something, and the problems that are the whole file's. Bounded in time and memory."""
    problem = _unreadable(data, source)
    if problem is not None:
        return [], [problem]
    documents: list[RawDocument] = []
    counted, line = 0, 1
    for start, end in _parts(data):
        line += data.count(b"\n", counted, start)
        counted = start
        for document in _read_part(data, source, start, end, line):
            if len(documents) == MAX_DOCUMENTS:
                where = document.position(0)
                return documents, [Problem(f"the file holds more than {MAX_DOCUMENTS} documents", source, *where)]
            if document.root is not None or document.problems:  # a byte order mark alone says nothing
                documents.append(document)
    return documents, []


def _unreadable(data: bytes, source: str) -> Problem | None:
    if len(data) > MAX_SIZE:
        size = f"{len(data) / (1 << 20):.1f} MiB"
        return Problem(f"the file is too large to be a manifest: {size}, the limit is {MAX_SIZE >> 20} MiB", source)
    if data.startswith(_UTF16):
        return Problem("the file is UTF-16", source, 1, 1, hint="save it as UTF-8")
    if (nul := data.find(b"\0")) >= 0:
        line = data.count(b"\n", 0, nul) + 1
        column = nul - data.rfind(b"\n", 0, nul)
        return Problem("this is not a text file: it has a NUL byte here", source, line, column)
    return None


def _parts(data: bytes) -> Iterator[tuple[int, int]]:
    """Byte ranges of the stream's parts: one starts at each `---`, one ends after each `...`. Blank ones left out."""
    begin = 0
    for marker in _MARKER.finditer(data):
        if marker[0] == b"---":
            # Directives (%YAML 1.1) and comments above them belong to the document that the marker begins.
            if _DIRECTIVE.search(data, begin, marker.start()) and _only_directives(data[begin : marker.start()]):
                continue
            stop = marker.start()
        else:
            stop = data.find(b"\n", marker.end()) + 1 or len(data)
        if not _is_blank(data, begin, stop):
            yield begin, stop
        begin = stop
    if not _is_blank(data, begin, len(data)):
        yield begin, len(data)


def _only_directives(part: bytes) -> bool:
    return all(not line.strip() or line.startswith((b"%", b"#")) for line in part.splitlines())


def _is_blank(data: bytes, start: int, end: int) -> bool:
    """Whether nothing stands there but markers, comments and blanks."""
    if data.startswith((b"---", b"..."), start, end) and data[start + 3 : start + 4] in (
        b"",
        b" ",
        b"\t",
        b"\r",
        b"\n",
    ):
        start += 3
    match = _NOTHING.match(data, start, end)
    rest = data[match.end() if match is not None else start : end]
    return not rest.strip() or (rest.startswith(b"...") and not rest[3:].strip())


def _read_part(data: bytes, source: str, start: int, end: int, line: int) -> Iterator[RawDocument]:
    """One part, usually one document; JSON objects may follow each other without any marker."""
    part = data[start:end]
    bom = 3 if part.startswith(b"\xef\xbb\xbf") else 0
    try:
        text = part[bom:].decode()
    except UnicodeDecodeError as error:
        good = part[bom : bom + error.start].decode()
        where = position(good, len(good), line)
        problem = Problem(f"byte 0x{part[bom + error.start]:02x} is not UTF-8", source, *where, hint="save it as UTF-8")
        yield RawDocument("", None, (problem,), source, start, end, start, line)
        return
    # `begin` and `stop` are the places in `text` between which an object stands, `byte` and `line` those in the file.
    begin, byte = 0, start + bom
    for node, malformed, stop in jsontext.read_objects(text):
        piece = text[begin:stop]
        length = len(piece.encode())
        problems = tuple(_problem(item, piece, source, line) for item in malformed)
        if node is None:
            yield _parse(piece, source, byte, end, byte, line)
        else:
            yield RawDocument(piece, node, problems, source, byte if begin else start, byte + length, byte, line)
        begin, byte, line = stop, byte + length, line + piece.count("\n")
    if not begin:
        yield _parse(text, source, start, end, start + bom, line)


def _parse(text: str, source: str, start: int, end: int, text_start: int, line: int) -> RawDocument:
    composed = compose(text)
    problems = tuple(_problem(item, text, source, line, template=True) for item in composed.malformed)
    return RawDocument(text, composed.root, problems, source, start, end, text_start, line, composed.partial)


def _problem(malformed: Malformed, text: str, source: str, line: int, *, template: bool = False) -> Problem:
    offset, message, hint, earlier = malformed.offset, malformed.message, malformed.hint, malformed.earlier
    if template and malformed.syntax:
        found = _template_near(text, offset)
        if found is not None:
            offset, piece = found
            message = f"this is a template, not YAML yet: {piece}"
            hint = "fill it in first (helm template, envsubst, kustomize) and use the result"
    if earlier is not None:
        message = message.format(line=position(text, earlier, line)[0])
    return Problem(message, source, *position(text, offset, line), dotted(malformed.path), hint)


def _template_near(text: str, offset: int) -> tuple[int, str] | None:
    """A piece of a template on the line of `offset`; else one of the kinds that break YAML wherever they stand."""
    begin = text.rfind("\n", 0, offset) + 1
    stop = text.find("\n", offset)
    match = _TEMPLATE.search(text, begin, len(text) if stop < 0 else stop)
    if match is None:
        match = next((found for found in _TEMPLATE.finditer(text) if found[0].startswith(("{{", "{%", "<%"))), None)
    return (match.start(), match[0]) if match is not None else None


def shown(value: object) -> str:
    """A value in words, for messages: `the string "80x"`, `a list`."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f'the string "{value if len(value) <= 60 else value[:57] + "..."}"'
    if isinstance(value, (int, float)):
        return f"the number {value}"
    return "a list" if isinstance(value, Sequence) else "a mapping"
