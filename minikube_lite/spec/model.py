"""What all models of `spec` have in common: frozen, camelCase outside and snake_case inside, nothing unknown let in."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Strict
from pydantic.alias_generators import to_camel

Int = Annotated[int, Strict()]
Bool = Annotated[bool, Strict()]
Json = Any
"""A field that is known by name and kept as it stands: its own fields are checked by `spec.fields`."""


class Model(BaseModel):
    """Base of every model. Lists are tuples, and nothing is converted that Kubernetes would not convert."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)


def to_json(model: BaseModel, *, defaults: bool = False) -> dict[str, Any]:
    """The object as Kubernetes' JSON: camelCase, what was not set left out (unless `defaults`), no nulls."""
    dumped: dict[str, Any] = model.model_dump(mode="json", by_alias=True, exclude_unset=not defaults, exclude_none=True)
    return dumped
