"""One Pod document → a checked and defaulted Pod, or all that is wrong with it. Called by `spec.manifest`.

What is wrong with it can be told without building the Pod, and then without importing pydantic.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from minikube_lite.spec.checks import check_pod, warn_pod
from minikube_lite.spec.fields import parse_type
from minikube_lite.spec.problems import Problem
from minikube_lite.spec.view import view_of
from minikube_lite.spec.walk import Findings, walk
from minikube_lite.spec.yaml import Path, RawDocument

if TYPE_CHECKING:
    from minikube_lite.spec.objects import Pod

_POD = parse_type("Pod")
TOKEN_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"


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
    pod = None
    if build:
        from minikube_lite.spec.build import build_pod

        built = build_pod(document, clean, prefix)
        if isinstance(built, tuple):
            return PodResult(None, built)
        pod = built
    view = view_of(clean)
    wrong = list(check_pod(view))
    if wrong:
        return PodResult(None, tuple(document.problem(words, prefix + path, hint=hint) for path, words, hint in wrong))
    return PodResult(pod, (), (*findings.warnings, *warn_pod(view)), tuple(findings.ignored))


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
