"""Changes the manifests directory: what `apply`, `delete` and the API's writes do. Called by `node.node`.

The directory is the one desired state. A document is added as a file of its own, replaced where it stands, or cut out;
the file goes when nothing is left in it. Each file is replaced whole (written beside under a name that is not read,
fsynced, renamed), so a reader sees the old or the new.
"""

from __future__ import annotations

import errno
import json
import os
import secrets
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from minikube_lite.node.manifests import ManifestDirectory, being_written
from minikube_lite.node.service import ApplyItem, ApplyOutcome
from minikube_lite.spec import kinds
from minikube_lite.spec.claims import Claim
from minikube_lite.spec.configs import Config, forbidden_changes
from minikube_lite.spec.manifest import Document, read_manifest, without_document
from minikube_lite.spec.objects import Pod
from minikube_lite.spec.problems import InvalidManifest, Problem


def replace_file(path: Path, data: bytes, *, private: bool = False) -> None:
    """Write `data` to `path`, whole or not at all, and durably. Raises OSError, and then nothing has changed.

    `private`: a new file is its owner's alone. One that is there keeps its owner and rights.
    """
    temporary = path.with_name(f".new-{secrets.token_hex(8)}")  # short: a name may have 255 bytes, and no more
    try:
        private = private or path.exists()  # until it has the rights of the old one
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        with open(os.open(temporary, flags, 0o600 if private else 0o666), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            status = path.stat()
            os.chown(temporary, status.st_uid, status.st_gid)
            os.chmod(temporary, status.st_mode & 0o7777)
        os.replace(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    _sync_directory(path.parent)


def remove_file(path: Path) -> None:
    """Remove a file durably; one that is gone already is fine."""
    path.unlink(missing_ok=True)
    _sync_directory(path.parent)


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a document stands."""

    file: str
    index: int


class Editor:
    """Writes into one manifests directory."""

    def __init__(self, directory: ManifestDirectory) -> None:
        self._directory = directory

    def find(self, id: str) -> Place | None:
        """The document of this object (`Document.id`): its owner's, else any that names it, broken ones too."""
        owner = os.path.basename(self._directory.owners.get(id, ""))
        for name in sorted(self._directory.files, key=lambda name: (name != owner, name)):
            for index, document in enumerate(self._directory.files[name].documents):
                if kinds.is_used(document.kind) and document.id == id:
                    return Place(name, index)
        return None

    def apply(
        self, data: bytes, *, source: str, base_dir: str, namespace: str, dry_run: bool, create: bool = False
    ) -> ApplyOutcome:
        """Bring every good document of `data` into the directory. Raises OSError where it cannot be written.

        A document with problems is reported and left out; the others go in, as kubectl does it. `create`: what is
        there already is left alone.
        """
        try:
            manifest = read_manifest(data, source, default_namespace=namespace)
        except InvalidManifest as error:
            return ApplyOutcome(problems=error.problems)
        items: list[ApplyItem] = []
        problems = list(manifest.problems)
        for document in manifest.documents:
            found = document.problems or namespace_problems(document, namespace, source)
            problems += [problem for problem in found if problem not in problems]
            if found:
                continue
            if not document.used:
                items.append(
                    ApplyItem(document.kind, document.namespace, document.name, "skipped", (), document.skipped)
                )
                continue
            if create and self.find(document.id) is not None:
                items.append(ApplyItem(document.kind, document.namespace, document.name, "exists"))
                continue
            if forbidden := self._forbidden(document, source):
                problems += forbidden
                continue
            try:
                items.append(self._apply_one(data, document, base_dir, dry_run))
            except OSError as error:
                if not any(item.result in ("created", "configured") for item in items):
                    raise
                message = f"cannot write {document.name} to {self._directory.path}: {error.strerror}"
                problems.append(Problem(message, source, document.line))
        return ApplyOutcome(tuple(items), tuple(problems))

    def _forbidden(self, document: Document, source: str) -> list[Problem]:
        """What an update may not change: what an immutable ConfigMap or Secret holds, and a Secret's type."""
        present = self._directory.configs.get(document.id)
        if not isinstance(present, Config) or document.config is None:
            return []
        hint = f"delete the {document.kind} first: what uses it reads it anew"
        return [
            Problem(message, source, document.line, field=field, hint=hint)
            for field, message in forbidden_changes(present, document.config)
        ]

    def _apply_one(self, data: bytes, document: Document, base_dir: str, dry_run: bool) -> ApplyItem:
        text, wanted = self._text(data, document, base_dir)
        place = self.find(document.id)

        def item(result: Literal["created", "configured", "unchanged"]) -> ApplyItem:
            return ApplyItem(document.kind, document.namespace, document.name, result, document.warnings)

        if place is None:
            if not dry_run:
                self._write(document, self._new_path(document), text)
            return item("created")
        present = self._directory.files[place.file].documents[place.index]
        if present.used and _content(present) == wanted:
            return item("unchanged")
        if not dry_run:
            self._settled(place.file)
            self._write(document, self._directory.path / place.file, self._replaced(place, text))
        return item("configured")

    def _write(self, document: Document, path: Path, data: bytes) -> None:
        """Who applies an object says where it is from now on, whatever another file says of it."""
        replace_file(path, data, private=document.kind == "Secret")
        self._directory.owners[document.id] = str(path)
        self._directory.refresh([path.name])

    def _settled(self, name: str) -> None:
        """What somebody is writing just now must not be lost. Raises OSError."""
        with (self._directory.path / name).open("rb") as file:
            if being_written(file.fileno()):
                raise OSError(errno.EBUSY, f"{name} is open for writing in another program")

    def _replaced(self, place: Place, text: bytes) -> bytes:
        """The file with this text in the place of that document; the rest of it stays byte for byte."""
        file = self._directory.files[place.file]
        old = file.documents[place.index]
        before, after = file.data[: old.start], file.data[old.end :]
        if _alone(before) and _alone(after):
            return text
        if not old.in_list:
            marker = b"---\n" if file.data[old.start :].startswith(b"---") else b""
            data = before + marker + text + after
            wanted = [document.raw for document in file.documents]
            wanted[place.index] = read_manifest(text, "").documents[0].raw
            if [document.raw for document in read_manifest(data, "").documents] == wanted:
                return data
        return _join(without_document(file.data, place.index), text)

    def _text(self, data: bytes, document: Document, base_dir: str) -> tuple[bytes, Pod | Config | Claim | None]:
        """The document as a file of its own: its own text where it stands alone, images as absolute paths."""
        explicit = document.raw.get("metadata", {}).get("namespace")
        if document.in_list or (not explicit and document.namespace != "default"):
            return self._rendered(document, base_dir)
        moved = False
        text = data[: document.end]
        for start, end, value in sorted(document.image_spans, reverse=True):
            if _is_relative(value):
                moved = True
                text = text[:start] + _quote(_absolute(value, base_dir)) + text[end:]
        text = text[document.start :].lstrip()
        if text.startswith(b"---"):
            text = text[3:].lstrip(b" \t").lstrip(b"\r\n") if text[3:4] in (b"\n", b"\r", b" ") else text
        text = text.rstrip() + b"\n"
        again = read_manifest(text, "").documents
        if len(again) == 1 and again[0].id == document.id and (moved or _content(again[0]) == _content(document)):
            return text, _content(again[0])
        return self._rendered(document, base_dir)

    def _rendered(self, document: Document, base_dir: str) -> tuple[bytes, Pod | Config | Claim | None]:
        """The document written anew, where its own text cannot stand alone (an item of a List, a namespace of `-n`)."""
        import yaml

        raw = dict(document.raw)
        raw.setdefault("apiVersion", "v1")
        raw.setdefault("kind", "Pod")
        raw["metadata"] = {**raw.get("metadata", {}), "namespace": document.namespace}
        if document.pod is not None:
            raw["spec"] = spec = dict(raw["spec"])
            for group in ("initContainers", "containers"):
                if spec.get(group):
                    spec[group] = [_with_absolute_image(container, base_dir) for container in spec[group]]
        data = yaml.safe_dump(raw, sort_keys=False, allow_unicode=True).encode()
        again = read_manifest(data, "").documents
        if len(again) == 1 and again[0].raw == raw:
            return data, _content(again[0])
        data = json.dumps(raw, indent=2).encode() + b"\n"  # PyYAML and kubectl do not quote the same scalars
        return data, _content(read_manifest(data, "").documents[0])

    def _new_path(self, document: Document) -> Path:
        """A file name that is not taken: `web.yaml`, or `ns_web.yaml` outside the default namespace; `secret-web.yaml`
        where it is not a pod."""
        name = document.name if document.pod is not None else f"{document.kind.lower()}-{document.name}"
        stem = name if document.namespace == "default" else f"{document.namespace}_{name}"
        if len(stem) > 200:  # with the suffix it has to fit into 255 bytes
            stem = f"{stem[:190]}-{zlib.crc32(stem.encode()):08x}"
        path = self._directory.path / f"{stem}.yaml"
        number = 2
        while os.path.lexists(path):
            path = self._directory.path / f"{stem}-{number}.yaml"
            number += 1
        return path

    def delete(self, id: str) -> bool:
        """Cut every document of this object out of the directory; says whether there was one. Raises OSError."""
        found = False
        while (place := self.find(id)) is not None:
            found = True
            self._settled(place.file)
            file = self._directory.files[place.file]
            left = without_document(file.data, place.index)
            path = self._directory.path / place.file
            if left.strip():
                replace_file(path, left)
            else:
                remove_file(path)
            self._directory.refresh([place.file])
        return found


def _content(document: Document) -> Pod | Config | Claim | None:
    return document.config or document.claim or document.pod


def _alone(data: bytes) -> bool:
    """Whether nothing but comments, blanks and document markers stands here."""
    return all(
        not line.strip() or line.lstrip().startswith(b"#") or line.strip() in (b"---", b"...")
        for line in data.splitlines()
    )


def _join(before: bytes, document: bytes) -> bytes:
    before = before.rstrip()
    return before + b"\n---\n" + document if before else document


def _is_relative(image: str) -> bool:
    """Whether `images` would read it as a path that begins at the manifest's directory."""
    return image.startswith(("./", "../")) or image in (".", "..")


def _absolute(image: str, base_dir: str) -> str:
    """Not normalised beyond its beginning: what `..` means behind a symlink, the kernel decides."""
    while image.startswith("./"):
        image = image[2:].lstrip("/")
    return os.path.join(base_dir, image) if image not in ("", ".") else base_dir


def _with_absolute_image(container: dict[str, Any], base_dir: str) -> dict[str, Any]:
    image = container.get("image")
    if isinstance(image, str) and _is_relative(image):
        return {**container, "image": _absolute(image, base_dir)}
    return container


def _quote(path: str) -> bytes:
    """A path as a YAML double-quoted scalar, which JSON's string is (YAML 1.2, section 1.3)."""
    return json.dumps(path).encode()


def namespace_problems(document: Document, namespace: str, source: str) -> tuple[Problem, ...]:
    """As kubectl: who names a namespace means the objects of that one. `default` may just not have been named."""
    explicit = document.raw.get("metadata", {}).get("namespace")
    if not document.used or not explicit or namespace in ("default", explicit):
        return ()
    message = f'the namespace of the object "{explicit}" does not match the namespace "{namespace}"'
    return (Problem(message, source, document.line, field="metadata.namespace", hint=f"use --namespace={explicit}"),)
