"""A clean document with the attributes of the models, without pydantic. Made by `spec.pods`, read by `spec.checks`.

Importing pydantic and building the models takes longer than all the rest of `minikube-lite validate`. So what is
checked is a view: the same names, defaults and types as a `Pod` has, by the table in `spec.shapes`. It trusts the
document, which `spec.walk` has been through. Methods and properties of the models it has none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from minikube_lite.spec.fields import Type, parse_type
from minikube_lite.spec.quantity import Quantity
from minikube_lite.spec.shapes import SHAPES

if TYPE_CHECKING:
    from minikube_lite.spec.objects import Pod


class View:
    """One object. Frozen, as the models are."""

    def __init__(self, name: str, document: dict[str, Any]) -> None:
        attributes = self.__dict__
        for attribute, json_name, type_, default in _shape(name):
            attributes[attribute] = _built(document.get(json_name, default), type_)
        if name in _COMPLETIONS:
            attributes.update(_COMPLETIONS[name](self))

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("a View does not change")

    def __delattr__(self, name: str) -> None:
        raise AttributeError("a View does not change")


def view_of(document: dict[str, Any]) -> Pod:
    """The Pod of a clean document, to look at."""
    return cast("Pod", View("Pod", document))


def complete_requests(limits: dict[str, Quantity], requests: dict[str, Quantity]) -> dict[str, Quantity]:
    """`requests`, and for each limit without one the limit itself.

    As the API server does (pkg/apis/core/v1/defaults.go, SetDefaults_Pod).
    """
    return requests | {name: limit for name, limit in limits.items() if name not in requests}


_COMPLETIONS: dict[str, Callable[[Any], dict[str, Any]]] = {
    "ResourceRequirements": lambda view: {"requests": complete_requests(view.limits, view.requests)},
}
"""What the models' validators put in."""

_shapes: dict[str, list[tuple[str, str, Type, Any]]] = {}


def _shape(name: str) -> list[tuple[str, str, Type, Any]]:
    found = _shapes.get(name)
    if found is None:
        rows = SHAPES[name].items()
        found = [(attribute, json_name, parse_type(text), default) for attribute, (json_name, text, default) in rows]
        _shapes[name] = found
    return found


def _built(value: Any, type_: Type) -> Any:
    if value is None or type_.kind == "any":
        return value
    if type_.kind == "object":
        return View(type_.name, value)
    if type_.kind == "quantity":
        return Quantity.parse(value)
    item = type_.item
    assert item is not None
    if type_.kind == "map":
        return {name: _built(entry, item) for name, entry in value.items()}
    return tuple(_built(entry, item) for entry in value)
