"""Manifest bytes → documents: which run, which are skipped and why, which are wrong and where.

`node` reads the manifests directory with `read_manifest`, and cuts documents out with `without_document`; `cli` and
`api` read what a person hands them. Neither ever raises for what stands in the bytes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from minikube_lite.spec import kinds
from minikube_lite.spec.claims import Claim, read_claim
from minikube_lite.spec.compose import Node
from minikube_lite.spec.configs import Config, read_config
from minikube_lite.spec.dump import dump_yaml
from minikube_lite.spec.pods import read_pod
from minikube_lite.spec.problems import Problem
from minikube_lite.spec.yaml import Path, RawDocument, read_documents, shown

if TYPE_CHECKING:
    from minikube_lite.spec.objects import Pod

_PROPERTIES = re.compile(r"(?:[&!]\S*\s+)+")


@dataclass(frozen=True, slots=True)
class Document:
    """One object of a manifest: a `pod`, a `config` or a `claim`. With `problems` it is none; with `skipped`, it is
    well formed and not used."""

    kind: str
    api_version: str
    namespace: str
    name: str
    pod: Pod | None
    raw: dict[str, Any]
    """The object as read, as JSON would carry it; {} where it could not be read."""
    problems: tuple[Problem, ...] = ()
    warnings: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    """Fields that are accepted and of no consequence here."""
    skipped: str = ""
    start: int = 0
    """Bytes: `data[:start] + data[end:]` is the file without it (but see `without_document` for what is `in_list`)."""
    end: int = 0
    line: int = 0
    """Where its content begins, from 1."""
    config: Config | None = None
    claim: Claim | None = None
    image_spans: tuple[tuple[int, int, str], ...] = ()
    """(start, end, value) of each container's `image`, in bytes of the file, quotes included."""
    list_span: tuple[int, int] | None = field(default=None, repr=False)
    """Bytes of the List document that it is an item of."""

    @property
    def in_list(self) -> bool:
        """Whether it is an item of a List."""
        return self.list_span is not None

    @property
    def key(self) -> str:
        """`namespace/name`."""
        return f"{self.namespace}/{self.name}"

    @property
    def used(self) -> bool:
        """Whether it is in order, and of a kind that is used here."""
        return not self.problems and not self.skipped

    @property
    def id(self) -> str:
        """Which object it is: a pod's `namespace/name`, any other's with the kind in front of it."""
        return f"{self.kind}/{self.key}" if self.kind in kinds.KEPT else self.key


@dataclass(frozen=True, slots=True)
class Manifest:
    """A file as read. `problems` are those of the file as a whole: each document carries its own."""

    documents: tuple[Document, ...] = ()
    problems: tuple[Problem, ...] = ()


def read_manifest(data: bytes, source: str, *, default_namespace: str = "default", build: bool = True) -> Manifest:
    """Read YAML or JSON. Lines, columns and `source` (the file's name) go into each Problem.

    Without `build` all is told but no document has its `pod`, and pydantic is not imported.
    """
    raw_documents, problems = read_documents(data, source)
    documents: list[Document] = []
    first: dict[str, int] = {}
    for raw_document in raw_documents:
        for document, path in _documents(raw_document, default_namespace, build):
            documents.append(_claim(document, first, raw_document, path))
    return Manifest(tuple(documents), tuple(problems))


def _claim(document: Document, first: dict[str, int], raw_document: RawDocument, path: Path) -> Document:
    """Two objects of one name in one file: the first one keeps it."""
    if not document.used:
        return document
    if document.id not in first:
        first[document.id] = document.line
        return document
    kind = document.kind if document.kind in kinds.KEPT else "pod"
    message = f'{kind} "{document.name}" is here twice, first on line {first[document.id]}'
    hint = f"a {kind} needs a name of its own in its namespace"
    problem = raw_document.problem(message, (*path, "metadata", "name"), hint=hint)
    return replace(document, pod=None, config=None, claim=None, problems=(problem,))


def _documents(document: RawDocument, default_namespace: str, build: bool) -> Iterator[tuple[Document, Path]]:
    """One raw document is one object, or a list of them, or nothing (`null`). With each, the path to it."""
    raw = document.root.value if document.root is not None else None
    if raw is None and not document.problems:
        return
    place: dict[str, Any] = {"start": document.start, "end": document.end}
    if not isinstance(raw, dict):
        problems = document.problems or (_not_an_object(document, raw),)
        known = _described(document.partial, default_namespace)
        # Of a List that breaks off nobody can say which objects it was to hold.
        known = Document("", "", "", "", None, {}) if known.kind.endswith("List") else known
        yield replace(known, raw={}, problems=problems, line=document.line, **place), ()
        return
    kind, api_version = raw.get("kind"), raw.get("apiVersion")
    if not (isinstance(kind, str) and isinstance(api_version, str) and kinds.is_list(kind, raw)):
        yield replace(_object(document, raw, (), default_namespace, build), **place), ()
        return
    if document.problems:
        yield Document(kind, api_version, "", "", None, raw, document.problems, line=document.line, **place), ()
        return
    for number, item in enumerate(raw.get("items") or []):
        found = _item(document, number, item, default_namespace, build)
        yield replace(found, list_span=(document.start, document.end)), ("items", number)


def _item(document: RawDocument, number: int, item: Any, default_namespace: str, build: bool) -> Document:
    """One object of a List. Items of a PodList need not say what they are."""
    assert document.root is not None
    kind, api_version = document.root.value["kind"], document.root.value["apiVersion"]
    path: Path = ("items", number)
    if not isinstance(item, dict):
        problem = document.problem(f"expected an object, found {shown(item)}", path)
        found = Document("", "", "", "", None, {}, (problem,), line=problem.line)
    else:
        if kind != "List":
            item = {"apiVersion": api_version, "kind": kind.removesuffix("List"), **item}
        found = _object(document, item, path, default_namespace, build)
    start, end = _item_span(document, number)
    return replace(found, start=start, end=end)


def _not_an_object(document: RawDocument, raw: object) -> Problem:
    found = shown(raw)
    return document.problem(f"expected a Kubernetes object (apiVersion, kind, …), found {found}")


def _object(document: RawDocument, raw: dict[str, Any], path: Path, default_namespace: str, build: bool) -> Document:
    base = replace(
        _described(raw, default_namespace),
        problems=document.problems,
        line=document.position(document.offset(path))[0],
    )
    problems = (*document.problems, *_identity(document, raw, path))
    if problems:
        return replace(base, problems=problems)
    if kinds.is_config(base.api_version, base.kind):
        read = read_config(document, raw, path, default_namespace)
        return replace(base, config=read.config, problems=read.problems, ignored=read.ignored)
    if kinds.is_claim(base.api_version, base.kind):
        found = read_claim(document, raw, path, default_namespace)
        return replace(base, claim=found.claim, problems=found.problems, warnings=found.warnings, ignored=found.ignored)
    if not kinds.is_pod(base.api_version, base.kind):
        return replace(base, skipped=kinds.skipped(base.api_version, base.kind))
    result = read_pod(document, raw, path, default_namespace, build=build)
    return replace(
        base,
        pod=result.pod,
        problems=result.problems,
        warnings=result.warnings,
        ignored=result.ignored,
        image_spans=tuple(_image_spans(document, path)),
    )


def _described(raw: dict[str, Any], default_namespace: str) -> Document:
    """Kind, apiVersion, namespace and name, as far as they can be told."""

    def text(value: Any) -> str:
        return value if isinstance(value, str) else ""

    metadata = raw.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    kind, name = text(raw.get("kind")), text(metadata.get("name"))
    namespace = (text(metadata.get("namespace")) or default_namespace) if kinds.has_namespace(kind) else ""
    return Document(kind, text(raw.get("apiVersion")), namespace, name, None, raw)


def _identity(document: RawDocument, raw: dict[str, Any], path: Path) -> Iterator[Problem]:
    """What is wrong with apiVersion and kind."""
    missing = [name for name in ("apiVersion", "kind") if raw.get(name) in (None, "")]
    if missing:
        hint = ""
        if "services" in raw and "metadata" not in raw:
            hint = "this looks like a docker compose file"
        elif len(missing) == 2:
            hint = "a pod begins with `apiVersion: v1` and `kind: Pod`"
        yield document.problem(f"{' and '.join(missing)} must be set", path, hint=hint)
        return
    for name in ("apiVersion", "kind"):
        if not isinstance(raw[name], str):
            yield document.problem(f"must be a string, found {shown(raw[name])}", (*path, name))
            return
    wrong = kinds.mistaken(raw["apiVersion"], raw["kind"])
    if wrong is not None:
        name, message, hint = wrong
        yield document.problem(message, (*path, name), hint=hint)


def _image_spans(document: RawDocument, path: Path) -> Iterator[tuple[int, int, str]]:
    seen = set()
    for group in ("containers", "initContainers"):
        containers = document.find((*path, "spec", group))
        for container in (
            containers.children if containers is not None and isinstance(containers.children, list) else []
        ):
            image = container.child("image")
            if image is None or not isinstance(image.value, str) or image.start in seen:
                continue
            seen.add(image.start)
            start, end = _scalar_span(document.text, image)
            yield document.byte(start), document.byte(end), image.value


def _scalar_span(text: str, node: Node) -> tuple[int, int]:
    """Without an anchor or tag before it, and the line end that a block scalar reaches over."""
    properties = _PROPERTIES.match(text, node.start, node.end)
    start = properties.end() if properties is not None else node.start
    return start, start + len(text[start : node.end].rstrip())


def _item_span(document: RawDocument, number: int) -> tuple[int, int]:
    """Bytes of an item of a List: whole lines in block style, with the comments above it; else just its own text."""
    items = document.find(("items",))
    assert items is not None
    assert isinstance(items.children, list)
    text, item = document.text, items.children[number]
    begin = text.rfind("\n", 0, item.start) + 1
    if text[begin : item.start].strip() != "-":
        return document.byte(item.start), document.byte(item.end)
    if number + 1 < len(items.children):
        end = _above_comments(text, text.rfind("\n", 0, items.children[number + 1].start) + 1)
    else:
        line_start = text.rfind("\n", 0, item.end) + 1
        end = line_start if not text[line_start : item.end].strip() else item.end
    return document.byte(_above_comments(text, begin)), document.byte(end)


def _above_comments(text: str, line_start: int) -> int:
    """The beginning of the comment lines that stand right above a line."""
    while line_start > 0:
        above = text.rfind("\n", 0, line_start - 1) + 1
        if not text[above:line_start].lstrip().startswith("#"):
            break
        line_start = above
    return line_start


def without_document(data: bytes, index: int) -> bytes:
    """The file without its document number `index`; b"" when nothing is left that matters.

    Comments and layout of the rest stay, except where an item of a List cannot be cut out of the text: then that List
    is written anew.
    """
    documents = read_manifest(data, "", build=False).documents
    document = documents[index]
    start, end = document.start, document.end
    if document.list_span is not None:
        siblings = [other for other in documents if other.list_span == document.list_span and other is not document]
        if siblings:
            return _without_item(data, documents, index)
        start, end = document.list_span
    rest = data[:start] + data[end:]
    if start and data[end:].lstrip().startswith(b"%"):
        rest = data[:start].rstrip() + b"\n...\n" + data[end:]  # a directive needs the end of a document before it
    return rest if read_documents(rest, "")[0] else b""


def _without_item(data: bytes, documents: tuple[Document, ...], index: int) -> bytes:
    document = documents[index]
    wanted = [other.raw for number, other in enumerate(documents) if number != index]
    cut = data[: document.start] + data[document.end :]
    if [other.raw for other in read_manifest(cut, "", build=False).documents] == wanted:
        return cut
    assert document.list_span is not None
    start, end = document.list_span
    whole = data[start:end]
    position = [other for other in documents if other.list_span == document.list_span].index(document)
    return data[:start] + _list_without(whole, position) + data[end:]


def _list_without(data: bytes, position: int) -> bytes:
    root = read_documents(data, "")[0][0].root
    assert root is not None
    raw = dict(root.value)
    raw["items"] = [item for number, item in enumerate(raw["items"]) if number != position]
    if data.lstrip().startswith(b"{"):
        return json.dumps(raw, indent=2, ensure_ascii=False).encode() + b"\n"
    marker = b"---\n" if data.startswith(b"---") else b""
    return marker + dump_yaml(raw).encode()
