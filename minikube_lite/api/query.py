"""Query parameters, read as the API server reads them. Called by the endpoints; raises 400 on what cannot be read.

Source: k8s.io/apimachinery/pkg/conversion/queryparams and pkg/runtime/conversion.go (`Convert_Slice_string_To_bool`:
only "false" and "0" are false, a bare `?watch` is true).
"""

from __future__ import annotations

import re

from starlette.datastructures import QueryParams

from minikube_lite.api.failures import bad_request

_INTEGER = re.compile(r"[+-]?[0-9]{1,19}")


def boolean(query: QueryParams, key: str, default: bool = False) -> bool:
    value = query.get(key)
    if value is None:
        return default
    return value.lower() not in ("false", "0")


def integer(query: QueryParams, key: str) -> int | None:
    """The parameter as a 64-bit integer; None where it is absent or empty."""
    value = query.get(key)
    if not value:
        return None
    number = int(value) if _INTEGER.fullmatch(value) else None
    if number is None or not -(2**63) <= number < 2**63:
        raise bad_request(f'invalid value for query parameter {key}: "{value}" is not a 64-bit integer')
    return number


def dry_run(query: QueryParams, body: object = None) -> bool:
    """Whether `dryRun=All` is asked for, in the query or in an options object."""
    asked = list(query.getlist("dryRun"))
    if isinstance(body, dict) and isinstance(body.get("dryRun"), list):
        asked += [str(value) for value in body["dryRun"]]
    wrong = [value for value in asked if value not in ("All", "")]
    if wrong:
        raise bad_request(f'Invalid value for dryRun: "{wrong[0]}" (supported values: "All")')
    return "All" in asked
