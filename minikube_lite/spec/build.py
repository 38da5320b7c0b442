"""A document that `spec.walk` found good → the Pod, by pydantic. Called by `spec.pods`, imported only when needed."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from minikube_lite.spec.objects import Pod
from minikube_lite.spec.problems import Problem
from minikube_lite.spec.yaml import Path, RawDocument, shown


def build_pod(document: RawDocument, clean: dict[str, Any], prefix: Path) -> Pod | tuple[Problem, ...]:
    """The Pod, or what pydantic has against it."""
    try:
        return Pod.model_validate(clean)
    except ValidationError as error:
        return tuple(_translated(document, prefix, details) for details in error.errors())


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
