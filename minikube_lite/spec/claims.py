"""One PersistentVolumeClaim document → a checked value, or all that is wrong with it. Called by `spec.manifest`.

Rules and words are those of Kubernetes' own validation (`spec.claim_checks`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from minikube_lite.spec.checks import check_metadata
from minikube_lite.spec.claim_checks import check_claim_spec
from minikube_lite.spec.fields import parse_type
from minikube_lite.spec.problems import Problem
from minikube_lite.spec.view import View
from minikube_lite.spec.walk import Findings, walk
from minikube_lite.spec.yaml import Path, RawDocument

if TYPE_CHECKING:
    from minikube_lite.spec.objects import ObjectMeta

CLAIM = "PersistentVolumeClaim"


@dataclass(frozen=True, slots=True)
class Claim:
    """A claim. Equal to another where all that was written is equal."""

    namespace: str
    name: str
    spec: Mapping[str, Any]
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """`namespace/name`."""
        return f"{self.namespace}/{self.name}"

    @property
    def id(self) -> str:
        """As `Document.id` has it: `PersistentVolumeClaim/default/data`."""
        return f"{CLAIM}/{self.key}"

    def to_json(self) -> dict[str, Any]:
        """The object as an API server gives it out, but for what says how it is."""
        metadata: dict[str, Any] = {"name": self.name, "namespace": self.namespace}
        for part in ("labels", "annotations"):
            if getattr(self, part):
                metadata[part] = dict(getattr(self, part))
        return {"apiVersion": "v1", "kind": CLAIM, "metadata": metadata, "spec": dict(self.spec)}


@dataclass(frozen=True, slots=True)
class ClaimResult:
    """`claim` is None where there are problems."""

    claim: Claim | None
    problems: tuple[Problem, ...] = ()
    warnings: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()


def read_claim(document: RawDocument, raw: dict[str, Any], prefix: Path, default_namespace: str) -> ClaimResult:
    """Read the claim at `prefix` of a document. Problems carry the place of the field."""
    findings = Findings()
    clean = walk(raw, parse_type(CLAIM), (), findings)
    if not findings.problems:
        metadata = {**clean["metadata"], "namespace": clean["metadata"].get("namespace") or default_namespace}
        for path, message, hint in check_metadata(cast("ObjectMeta", View("ObjectMeta", metadata))):
            findings.problem(path, message, hint)
        for path, message, hint in check_claim_spec(clean["spec"], ("spec",)):
            findings.problem(path, message, hint)
    if findings.problems:
        wrong = (
            document.problem(words, prefix + path, key=key, hint=hint) for path, key, words, hint in findings.problems
        )
        return ClaimResult(None, tuple(wrong))
    labels, annotations = metadata.get("labels") or {}, metadata.get("annotations") or {}
    claim = Claim(metadata["namespace"], metadata["name"], clean["spec"], labels, annotations)
    return ClaimResult(claim, (), tuple(findings.warnings), tuple(findings.ignored))
