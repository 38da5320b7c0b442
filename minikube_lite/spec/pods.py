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
TOKEN_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"


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
    clean = walk(_without_token(raw, findings), _POD, (), findings)
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
    try:
        pod = Pod.model_validate(clean)
    except ValidationError as error:
        return PodResult(None, tuple(_translated(document, prefix, details) for details in error.errors()))
    wrong = list(check_pod(pod))
    if wrong:
        return PodResult(None, tuple(document.problem(words, prefix + path, hint=hint) for path, words, hint in wrong))
    return PodResult(pod, (), (*findings.warnings, *warn_pod(pod)), tuple(findings.ignored))


def _without_token(raw: dict[str, Any], findings: Findings) -> dict[str, Any]:
    """Without the mount of the service account's token, which an API server puts into every pod that it gives out."""
    spec = raw.get("spec")
    containers = spec.get("containers") if isinstance(spec, dict) else None
    if not isinstance(containers, list):
        return raw
    kept = [_without_token_mount(container) for container in containers]
    if kept == containers:
        return raw
    findings.warnings.append(f"{TOKEN_PATH} is not there: there are no service accounts")
    return {**raw, "spec": {**raw["spec"], "containers": kept}}


def _without_token_mount(container: Any) -> Any:
    mounts = container.get("volumeMounts") if isinstance(container, dict) else None
    if not isinstance(mounts, list) or not mounts:
        return container
    if any(not isinstance(mount, dict) or mount.get("mountPath") != TOKEN_PATH for mount in mounts):
        return container
    return {name: value for name, value in container.items() if name != "volumeMounts"}


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
