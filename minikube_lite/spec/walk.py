"""A document against the table of fields: typos, wrong types, and what is lost. Called by `spec.pods` for each Pod.

Hands on the document without nulls (a null is as good as nothing to Kubernetes), ready for the models.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from minikube_lite.spec.fields import OBJECTS, PLACES, Field, Type, Verdict
from minikube_lite.spec.guess import nearest
from minikube_lite.spec.quantity import Quantity
from minikube_lite.spec.yaml import Path, dotted, shown, template_in

MAX_REPORTED = 20
"""Problems in one document after which looking for more helps nobody."""
LIKE = 0.7
"""How like a known name a wrong one must be for a guess (difflib's ratio)."""


@dataclass(slots=True)
class Findings:
    """What a walk found. `problems`: (path, whether it is the key's fault, message, hint)."""

    problems: list[tuple[Path, bool, str, str]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)

    def problem(self, path: Path, message: str, hint: str = "", *, key: bool = False) -> None:
        """Note something wrong."""
        self.problems.append((path, key, message, hint))


def walk(value: Any, type_: Type, path: Path, findings: Findings, quiet: bool = False) -> Any:
    """Check `value`, which is not null, and give it back without nulls. `quiet`: verdicts inside do not matter."""
    if len(findings.problems) >= MAX_REPORTED:
        return value
    if type_.kind == "object":
        return _object(value, type_, path, findings, quiet)
    if type_.kind == "list":
        return _list(value, type_, path, findings, quiet)
    if type_.kind == "map":
        return _map(value, type_, path, findings, quiet)
    wrong = _CHECKS[type_.kind](value)
    if wrong is not None:
        message, hint = wrong
        findings.problem(path, message, (type_.kind != "secret" and _template_hint(value)) or hint)
    return value


def _object(value: Any, type_: Type, path: Path, findings: Findings, quiet: bool) -> Any:
    known = OBJECTS[type_.name]
    if not isinstance(value, dict):
        findings.problem(path, f"expected a mapping, found {shown(value)}", _template_hint(value))
        return value
    clean: dict[str, Any] = {}
    meant = set()
    for name, item in value.items():
        entry = known.get(name)
        if entry is None:
            guess = nearest(name, known, LIKE)
            meant.add(guess)
            hint = f"did you mean `{guess}`?" if guess else _misplaced(name)
            findings.problem((*path, name), f'unknown field "{name}"', hint, key=True)
        elif item is not None and not (entry.one_of and item == ""):
            here = (*path, name)
            lost = _verdict(entry, item, here, findings, quiet)
            clean[name] = walk(item, entry.type, here, findings, quiet or lost)
            if entry.one_of and isinstance(item, str) and item and item not in entry.one_of:
                findings.problem(here, *_unsupported(item, entry.one_of))
    for entry in known.values():
        if entry.required and clean.get(entry.name) is None and entry.name not in meant:
            findings.problem((*path, entry.name), "Required value")
    return clean


def _verdict(entry: Field, value: Any, path: Path, findings: Findings, quiet: bool) -> bool:
    """Note what becomes of the field; whether what stands inside it does not matter any more."""
    if entry.verdict is Verdict.HONOURED:
        return False
    if quiet or value in ("", [], {}) or any(value == item and type(value) is type(item) for item in entry.harmless):
        return True
    if entry.verdict is Verdict.IGNORED:
        findings.ignored.append(dotted(path))
    elif entry.verdict is Verdict.NOT_YET:
        findings.warnings.append(f"{dotted(path)} is not supported yet: {entry.note}")
    else:
        findings.problem(path, f"not supported yet: {entry.note}", key=True)
    return True


def _list(value: Any, type_: Type, path: Path, findings: Findings, quiet: bool) -> Any:
    item_type = type_.item
    assert item_type is not None
    if not isinstance(value, list):
        hint = "put `- ` before it" if isinstance(value, (str, dict)) else ""
        findings.problem(path, f"expected a list, found {shown(value)}", _template_hint(value) or hint)
        return value
    empty = _EMPTY.get(item_type.kind)
    return [
        walk(empty() if item is None and empty is not None else item, item_type, (*path, number), findings, quiet)
        for number, item in enumerate(value)
    ]


_EMPTY: dict[str, Callable[[], Any]] = {"string": str, "secret": str, "object": dict, "list": list, "map": dict}
"""What Go makes of a null inside a list or a mapping."""


def _map(value: Any, type_: Type, path: Path, findings: Findings, quiet: bool) -> Any:
    item_type = type_.item
    assert item_type is not None
    if not isinstance(value, dict):
        findings.problem(path, f"expected a mapping, found {shown(value)}", _template_hint(value))
        return value
    empty: Any = "0" if item_type.kind == "quantity" else ""
    return {
        name: walk(empty if item is None else item, item_type, (*path, name), findings, quiet)
        for name, item in value.items()
    }


def _misplaced(name: str) -> str:
    """A field that stands at the wrong depth is the commonest slip of all."""
    for kind in ("Container", "PodSpec", "ObjectMeta", "ResourceRequirements", "SecurityContext", "Capabilities"):
        if name in OBJECTS[kind]:
            return f"`{name}` is a field of {PLACES[kind]}: check the indentation"
    return ""


def _unsupported(value: str, allowed: tuple[str, ...]) -> tuple[str, str]:
    guess = nearest(value, allowed, LIKE)
    words = ", ".join(f'"{word}"' for word in allowed)
    hint = f"did you mean `{guess}`?" if guess else ""
    return f'Unsupported value: "{value}": supported values: {words}', hint


def _template_hint(value: Any) -> str:
    found = template_in(value) if isinstance(value, str) else ""
    return f"{found} is a template: fill it in first (helm template, envsubst)" if found else ""


Wrong = tuple[str, str] | None


def _string(value: Any) -> Wrong:
    if isinstance(value, str):
        return None
    if isinstance(value, (bool, int, float)):
        return f"must be a string, found {shown(value)}", "put it in quotes"
    return f"expected a string, found {shown(value)}", ""


def _int(value: Any) -> Wrong:
    if isinstance(value, int) and not isinstance(value, bool):
        return None if -(2**63) <= value < 2**63 else (f"{value} does not fit into 64 bits", "")
    is_quoted = isinstance(value, str) and value.strip().lstrip("+-").isdecimal()
    return f"expected an integer, found {shown(value)}", "take away the quotes" if is_quoted else ""


def _bool(value: Any) -> Wrong:
    if isinstance(value, bool):
        return None
    is_quoted = isinstance(value, str) and value.lower() in ("true", "false")
    return f"expected true or false, found {shown(value)}", "take away the quotes" if is_quoted else ""


def _int_or_string(value: Any) -> Wrong:
    if isinstance(value, str) or _int(value) is None:
        return None
    return f"expected an integer or a string, found {shown(value)}", ""


def _quantity(value: Any) -> Wrong:
    if isinstance(value, (dict, list, bool)):
        return f"expected a quantity such as 500m or 128Mi, found {shown(value)}", ""
    try:
        Quantity.parse(value)
    except ValueError as error:
        return str(error), ""
    return None


def _secret(value: Any) -> Wrong:
    """A string that no message may show."""
    if isinstance(value, str):
        return None
    if isinstance(value, (bool, int, float)):
        return "must be a string", "put it in quotes"
    return f"expected a string, found {shown(value)}", ""


def _any(value: Any) -> Wrong:
    return None


_CHECKS: dict[str, Callable[[Any], Wrong]] = {
    "string": _string,
    "int": _int,
    "bool": _bool,
    "int-or-string": _int_or_string,
    "quantity": _quantity,
    "secret": _secret,
    "any": _any,
}
