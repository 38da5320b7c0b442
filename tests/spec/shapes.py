"""What `minikube_lite/spec/shapes.py` has to say, read off the models.

`python -m tests.spec.shapes` writes it anew: to be done whenever a model changes.
"""

from __future__ import annotations

import json
import types
from pathlib import Path
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from minikube_lite.spec import shapes
from minikube_lite.spec.model import Model, to_json
from minikube_lite.spec.objects import Pod
from minikube_lite.spec.quantity import Quantity

HEAD = '''\
"""The attributes of the models in `spec.objects`, as plain data: read by `spec.view`, which may not import pydantic.

Made from the models by `python -m tests.spec.shapes`: do not edit.
"""

from __future__ import annotations

from typing import Any

SHAPES: dict[str, dict[str, tuple[str, str, Any]]] = {
'''
TAIL = '''\
}
"""Model → attribute → (its name in JSON, type as in `spec.fields`, what it is in JSON where it is not given).

Type `any` is the value as it stands.
"""
'''


def type_of(annotation: Any, found: list[type[Model]]) -> str:
    """The type in `spec.fields`' words. Models in it are put into `found`."""
    arguments = [item for item in get_args(annotation) if item is not type(None)]
    if get_origin(annotation) in (Union, types.UnionType) and len(arguments) == 1:
        return type_of(arguments[0], found)
    if get_origin(annotation) is Annotated:
        return type_of(arguments[0], found)
    if get_origin(annotation) is tuple:
        return f"[{type_of(arguments[0], found)}]"
    if get_origin(annotation) is dict:
        return f"{{{type_of(arguments[1], found)}}}"
    if isinstance(annotation, type) and issubclass(annotation, Model):
        found.append(annotation)
        return annotation.__name__
    return "quantity" if annotation is Quantity else "any"


def default_of(field: FieldInfo) -> Any:
    """In JSON's terms; None for what is required."""
    value = field.get_default(call_default_factory=True)
    if value is PydanticUndefined:
        return None
    if isinstance(value, Model):
        return to_json(value)
    if isinstance(value, tuple):
        return list(value)
    return str(value) if isinstance(value, Quantity) else value


def literal(value: Any) -> str:
    return json.dumps(value) if isinstance(value, str) else repr(value)


def text() -> str:
    """The module."""
    todo: list[type[Model]] = [Pod]
    parts: dict[str, str] = {}
    while todo:
        model = todo.pop(0)
        if model.__name__ in parts:
            continue
        rows = [
            f'        "{name}": ("{field.alias or name}", "{type_of(field.annotation, todo)}", '
            f"{literal(default_of(field))}),\n"
            for name, field in model.model_fields.items()
        ]
        parts[model.__name__] = f'    "{model.__name__}": {{\n{"".join(rows)}    }},\n'
    return HEAD + "".join(parts.values()) + TAIL


if __name__ == "__main__":
    Path(str(shapes.__file__)).write_text(text(), encoding="utf-8")
