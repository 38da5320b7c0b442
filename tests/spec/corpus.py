"""The corpus of manifests that others wrote, and what is expected of each of its documents.

`python -m tests.spec.corpus` writes the table anew from what the loader says now: read the difference, then keep it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from minikube_lite.spec.kinds import KEPT
from minikube_lite.spec.manifest import Document
from tests.spec.agreement import read_both_ways

CORPUS = Path(__file__).parents[3] / "shared" / "corpus"
VERDICTS = Path(__file__).with_name("corpus_verdicts.json")


def files() -> list[str]:
    """Every manifest of the corpus, relative to it."""
    found = (path for path in CORPUS.rglob("*") if path.suffix in (".yaml", ".yml", ".json") and path.is_file())
    return sorted(str(path.relative_to(CORPUS)) for path in found)


def verdict(document: Document) -> str:
    """One line: kind, name, what becomes of it; for a problem its place, field and first words."""
    head = f"{document.kind or '?'} {document.name or '?'}"
    if document.problems:
        return f"{head}: " + "; ".join(
            f"{problem.line}:{problem.column} {problem.field} {problem.message.split(':')[0]}"
            for problem in document.problems
        )
    if document.skipped:
        return f"{head}: skipped"
    if document.kind in KEPT:
        return f"{head}: kept"
    lost = [warning.split(" ")[0] for warning in document.warnings]
    return f"{head}: runs" + (f", without {' '.join(lost)}" if lost else "")


def verdicts(file: str) -> list[str]:
    """Those of a file's documents."""
    manifest = read_both_ways((CORPUS / file).read_bytes(), file)
    return [*map(str, manifest.problems), *map(verdict, manifest.documents)]


def table() -> dict[str, Any]:
    """The committed verdicts by file."""
    loaded: dict[str, Any] = json.loads(VERDICTS.read_text(encoding="utf-8"))
    return loaded


if __name__ == "__main__":
    VERDICTS.write_text(json.dumps({file: verdicts(file) for file in files()}, indent=1, ensure_ascii=False) + "\n")
