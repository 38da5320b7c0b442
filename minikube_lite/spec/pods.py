"""One Pod document → a checked and defaulted Pod, or all that is wrong with it. Called by `spec.manifest`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from minikube_lite.spec.checks import check_pod, warn_pod
from minikube_lite.spec.fields import parse_type
from minikube_lite.spec.objects import Pod
from minikube_lite.spec.problems import Problem
from minikube_lite.spec.walk import Findings, walk
from minikube_lite.spec.yaml import Path, RawDocument, shown

_POD = parse_type("Pod")


@dataclass(frozen=True, slots=True)
class PodResult:
    """`pod` is None where there are problems."""

    pod: Pod | None
    problems: tuple[Problem, ...] = ()
    warnings: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()


def read_pod(document: RawDocument, raw: dict[str, Any], prefix: Path, default_namespace: str) -> PodResult:
    """Read the Pod at `prefix` of a document. Problems carry the place of the field, or the nearest one around it."""
    findings = Findings()
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
    if not clean["spec"].get("restartPolicy"):
        clean["spec"].pop("restartPolicy", None)
    try:
        pod = Pod.model_validate(clean)
    except ValidationError as error:
        return PodResult(None, tuple(_translated(document, prefix, details) for details in error.errors()))
    wrong = list(check_pod(pod))
    if wrong:
        return PodResult(None, tuple(document.problem(words, prefix + path, hint=hint) for path, words, hint in wrong))
    return PodResult(pod, (), (*findings.warnings, *warn_pod(pod)), tuple(findings.ignored))


def _translated(document: RawDocument, prefix: Path, details: ErrorDetails) -> Problem:
    """pydantic's words into plain ones. The walk finds these first, so this is the second wall."""
    kind, found = details["type"], shown(details["input"])
    words = {
        "missing": "Required value",
        "extra_forbidden": f'unknown field "{details["loc"][-1]}"' if details["loc"] else "unknown field",
        "string_type": f"must be a string, found {found}",
        "int_type": f"expected an integer, found {found}",
        "bool_type": f"expected true or false, found {found}",
        "tuple_type": f"expected a list, found {found}",
        "dict_type": f"expected a mapping, found {found}",
        "model_type": f"expected a mapping, found {found}",
        "literal_error": f"Unsupported value: {found}: supported values: {details.get('ctx', {}).get('expected', '')}",
    }
    message = words.get(kind) or f"{details['msg'].removeprefix('Value error, ')}, found {found}"
    return document.problem(message, prefix + tuple(details["loc"]), key=kind == "extra_forbidden")
