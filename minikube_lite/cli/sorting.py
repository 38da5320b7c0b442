"""`--sort-by`: sorts objects by a field. Called by get."""

from __future__ import annotations

from typing import Any

from minikube_lite.cli.errors import CliError
from minikube_lite.cli.jsonpath import JsonPath, relaxed


def sorted_by(rows: list[dict[str, Any]], path: str, of: Any) -> list[dict[str, Any]]:
    """`rows` in the order of the field at `path` of the object that `of` finds in a row; those without it first."""
    found = JsonPath(relaxed(path))
    keyed = [((found.values(of(row)) or [None])[0], row) for row in rows]
    if rows and all(value is None for value, _ in keyed):
        raise CliError(f'couldn\'t find any field with path "{path}" in the list of objects')
    return [row for _, row in sorted(keyed, key=lambda pair: _key(pair[0]))]


def _key(value: Any) -> tuple[int, Any]:
    """Numbers by size, quantities by amount, text by its letters; unlike things by type."""
    if value is None:
        return 0, 0
    if isinstance(value, (bool, int, float)):
        return 1, value
    if not isinstance(value, str):
        return 3, str(value)
    if value[:1].isdigit():
        from minikube_lite.spec.quantity import Quantity

        try:
            return 1, Quantity.parse(value).value
        except ValueError:
            return 2, value
    return 2, value
