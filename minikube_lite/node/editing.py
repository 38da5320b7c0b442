"""Changes the manifests directory: what `apply`, `delete` and the API's writes do. Called by `node.node`.

The directory is the one desired state. A document is added as a file of its own, replaced where it stands, or cut out;
the file goes when nothing is left in it. Each file is replaced whole (written beside under a name that is not read,
fsynced, renamed), so a reader sees the old or the new.
"""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from minikube_lite.node.manifests import ManifestDirectory
from minikube_lite.node.service import ApplyItem, ApplyOutcome
from minikube_lite.spec.manifest import Document, read_manifest, without_document
from minikube_lite.spec.problems import InvalidManifest, Problem


def replace_file(path: Path, data: bytes) -> None:
    """Write `data` to `path`, whole or not at all, and durably. Raises OSError, and then nothing has changed."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            os.chmod(temporary, path.stat().st_mode & 0o7777)
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

    def find(self, key: str) -> Place | None:
        """The document of this pod: its owner's, else any that names it, broken ones too."""
        owner = os.path.basename(self._directory.owners.get(key, ""))
        for name in sorted(self._directory.files, key=lambda name: (name != owner, name)):
            for index, document in enumerate(self._directory.files[name].documents):
                if document.kind == "Pod" and f"{document.namespace}/{document.name}" == key:
                    return Place(name, index)
        return None

    def apply(self, data: bytes, *, source: str, base_dir: str, namespace: str, dry_run: bool) -> ApplyOutcome:
        """Bring every good document of `data` into the directory. Raises OSError where it cannot be written.

        A document with problems is reported and left out; the others go in, as kubectl does it.
        """
        try:
            manifest = read_manifest(data, source, default_namespace=namespace)
        except InvalidManifest as error:
            return ApplyOutcome(problems=error.problems)
        items = []
        problems = list(manifest.problems)
        for document in manifest.documents:
            problems += [problem for problem in document.problems if problem not in problems]
            if document.problems:
                continue
            if document.pod is None:
                items.append(
                    ApplyItem(document.kind, document.namespace, document.name, "skipped", (), document.skipped)
                )
                continue
            items.append(self._apply_one(data, document, base_dir, dry_run))
        return ApplyOutcome(tuple(items), tuple(problems))

    def _apply_one(self, data: bytes, document: Document, base_dir: str, dry_run: bool) -> ApplyItem:
        assert document.pod is not None
        pod = document.pod
        text = self._text(data, document, base_dir)
        place = self.find(pod.key)
        meta = pod.metadata

        def item(result: str) -> ApplyItem:
            return ApplyItem("Pod", meta.namespace, meta.name, result, document.warnings)  # type: ignore[arg-type]

        if place is None:
            if not dry_run:
                replace_file(self._new_path(meta.namespace, meta.name), text)
            return item("created")
        file = self._directory.files[place.file]
        present = file.documents[place.index]
        fresh = read_manifest(text, document.name).documents
        if present.pod is not None and fresh and fresh[0].pod == present.pod:
            return item("unchanged")
        if not dry_run:
            rest = file.data[: present.start], file.data[present.end :]
            if _alone(rest[0]) and _alone(rest[1]):
                replace_file(self._directory.path / place.file, text)
            else:
                rest_data = without_document(file.data, place.index)
                replace_file(self._directory.path / place.file, _join(rest_data, text))
        return item("configured")

    def _text(self, data: bytes, document: Document, base_dir: str) -> bytes:
        """The document as a file of its own: its own text where it stands alone, images as absolute paths."""
        edits = []
        for start, end, value in document.image_spans:
            if value.startswith(("./", "../")) or value == ".":
                absolute = os.path.normpath(os.path.join(base_dir, value))
                edits.append((start, end, _quote(absolute)))
        text = data[: document.end]
        for start, end, new in sorted(edits, reverse=True):
            text = text[:start] + new + text[end:]
        text = text[document.start :].lstrip()
        explicit = document.raw.get("metadata", {}).get("namespace")
        if document.in_list or (not explicit and document.namespace != "default"):
            return self._rendered(document, base_dir)
        if text.startswith(b"---"):
            text = text[3:].lstrip(b" \t").lstrip(b"\r\n") if text[3:4] in (b"\n", b"\r", b" ") else text
        return text.rstrip() + b"\n"

    def _rendered(self, document: Document, base_dir: str) -> bytes:
        """The document written anew, where its own text cannot stand alone (an item of a List, a namespace of `-n`)."""
        import yaml

        raw = dict(document.raw)
        raw.setdefault("apiVersion", "v1")
        raw.setdefault("kind", "Pod")
        raw["metadata"] = {**raw.get("metadata", {}), "namespace": document.namespace}
        spec = dict(raw.get("spec") or {})
        containers = []
        for container in spec.get("containers") or []:
            image = container.get("image")
            if isinstance(image, str) and (image.startswith(("./", "../")) or image == "."):
                container = {**container, "image": os.path.normpath(os.path.join(base_dir, image))}
            containers.append(container)
        spec["containers"] = containers
        raw["spec"] = spec
        return yaml.safe_dump(raw, sort_keys=False, allow_unicode=True).encode()

    def _new_path(self, namespace: str, name: str) -> Path:
        """A file name that is not taken: `web.yaml`, or `ns_web.yaml` outside the default namespace."""
        stem = name if namespace == "default" else f"{namespace}_{name}"
        path = self._directory.path / f"{stem}.yaml"
        number = 2
        while os.path.lexists(path):
            path = self._directory.path / f"{stem}-{number}.yaml"
            number += 1
        return path

    def delete(self, key: str) -> bool:
        """Cut every document of this pod out of the directory; says whether there was one. Raises OSError."""
        found = False
        while (place := self.find(key)) is not None:
            found = True
            file = self._directory.files[place.file]
            left = without_document(file.data, place.index)
            path = self._directory.path / place.file
            if left.strip():
                replace_file(path, left)
            else:
                remove_file(path)
            self._directory.refresh([place.file])
        return found


def _alone(data: bytes) -> bool:
    """Whether nothing but comments, blanks and document markers stands here."""
    return all(
        not line.strip() or line.lstrip().startswith(b"#") or line.strip() in (b"---", b"...")
        for line in data.splitlines()
    )


def _join(before: bytes, document: bytes) -> bytes:
    before = before.rstrip()
    return before + b"\n---\n" + document if before else document


def _quote(path: str) -> bytes:
    """A path as a YAML double-quoted scalar, which JSON's string is (YAML 1.2, section 1.3)."""
    import json

    return json.dumps(path).encode()


def not_found(key: str) -> Problem:
    """A pod that is not in the directory."""
    return Problem(f'pods "{key.partition("/")[2]}" not found')
