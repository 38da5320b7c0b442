"""One Pod document → a checked and defaulted Pod, or all that is wrong with it. Called by `spec.manifest`.

What is wrong with it can be told without building the Pod, and then without importing pydantic.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from minikube_lite.spec.checks import check_pod, warn_pod
from minikube_lite.spec.environment_checks import check_environment
from minikube_lite.spec.fields import parse_type
from minikube_lite.spec.problems import Problem
from minikube_lite.spec.token import TOKEN_MISSING, without_token
from minikube_lite.spec.view import view_of
from minikube_lite.spec.volume_checks import check_volumes
from minikube_lite.spec.walk import Findings, walk
from minikube_lite.spec.yaml import Path, RawDocument

if TYPE_CHECKING:
    from minikube_lite.spec.objects import Pod

_POD = parse_type("Pod")


@dataclass(frozen=True, slots=True)
class PodResult:
    """`pod` is None where there are problems, or where it was not to be built."""

    pod: Pod | None
    problems: tuple[Problem, ...] = ()
    warnings: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()


def read_pod(
    document: RawDocument, raw: dict[str, Any], prefix: Path, default_namespace: str, *, build: bool
) -> PodResult:
    """Read the Pod at `prefix` of a document. Problems carry the place of the field, or the nearest one around it."""
    findings = Findings()
    raw, had_token = without_token(raw)
    if had_token:
        findings.warnings.append(TOKEN_MISSING)
    clean = walk(raw, _POD, (), findings)
    if findings.problems:
        problems = tuple(
            document.problem(message, prefix + path, key=key, hint=hint)
            for path, key, message, hint in findings.problems
        )
        return PodResult(None, problems)
    metadata = dict(clean["metadata"])
    metadata["namespace"] = metadata.get("namespace") or default_namespace
    clean["metadata"] = metadata
    clean.pop("status", None)
    pod = None
    if build:
        from minikube_lite.spec.build import build_pod

        built = build_pod(document, clean, prefix)
        if isinstance(built, tuple):
            return PodResult(None, built)
        pod = built
    view = view_of(clean)
    wrong = [*check_pod(view), *check_volumes(clean)]
    for number, container in enumerate(clean["spec"]["containers"]):
        wrong += check_environment(container, ("spec", "containers", number))
    if wrong:
        return PodResult(None, tuple(document.problem(words, prefix + path, hint=hint) for path, words, hint in wrong))
    return PodResult(pod, (), (*findings.warnings, *warn_pod(view)), tuple(findings.ignored))
