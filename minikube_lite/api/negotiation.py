"""In which shape the client wants its objects: whole, as a Table, or their metadata alone. Called by listing and watch.

Source: k8s.io/apiserver/pkg/endpoints/handlers/negotiation and
https://kubernetes.io/docs/reference/using-api/api-concepts/#alternate-representations-of-resources
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response

from minikube_lite.api.failures import bad_request, failure
from minikube_lite.api.query import boolean
from minikube_lite.api.resources import Resource
from minikube_lite.api.tables import columns_of, row_of
from minikube_lite.node.service import Json

META_VERSIONS = ("v1", "v1beta1")
Included = Literal["None", "Metadata", "Object"]
_INCLUDED: tuple[Included, ...] = ("None", "Metadata", "Object")


def encode(value: Any, *, pretty: bool = False) -> bytes:
    """JSON as UTF-8; what UTF-8 cannot say (a lone surrogate) becomes `?`."""
    text = json.dumps(
        value, ensure_ascii=False, indent=2 if pretty else None, separators=None if pretty else (",", ":")
    )
    return text.encode("utf-8", "replace")


def json_response(value: Any, code: int = 200, *, pretty: bool = False) -> Response:
    return Response(encode(value, pretty=pretty) + b"\n", code, media_type="application/json")


@dataclass(frozen=True, slots=True)
class Shape:
    """How objects go out. `metadata`: PartialObjectMetadata instead of the whole object."""

    form: Literal["object", "table", "metadata"] = "object"
    version: str = "v1"
    include: Included = "Metadata"
    """What a Table's row carries of its object."""
    pretty: bool = False

    def one(self, resource: Resource, item: Json, now: float, *, heading: bool = True) -> Json:
        """One object. `heading` False leaves a Table's column definitions out (a watch sends them once)."""
        if self.form == "table":
            return self._table(resource, [item], item.get("metadata", {}), now, heading=heading)
        if self.form == "metadata":
            return self._partial(item)
        return {"kind": resource.kind, "apiVersion": "v1", **item}

    def many(self, resource: Resource, items: Sequence[Json], version: int, now: float) -> Json:
        """The list object of all `items`, `version` being the collection's resource version."""
        metadata: Json = {"resourceVersion": str(version)}
        if self.form == "table":
            return self._table(resource, items, metadata, now)
        if self.form == "metadata":
            kind, api_version = "PartialObjectMetadataList", f"meta.k8s.io/{self.version}"
            return {
                "kind": kind,
                "apiVersion": api_version,
                "metadata": metadata,
                "items": [self._partial(item) for item in items],
            }
        return {"kind": f"{resource.kind}List", "apiVersion": "v1", "metadata": metadata, "items": list(items)}

    def _table(
        self, resource: Resource, items: Sequence[Json], metadata: Json, now: float, *, heading: bool = True
    ) -> Json:
        rows = []
        for item in items:
            row: Json = {"cells": row_of(resource, item, now)}
            if self.include == "Object":
                row["object"] = {"kind": resource.kind, "apiVersion": "v1", **item}
            elif self.include == "Metadata":
                row["object"] = self._partial(item)
            rows.append(row)
        return {
            "kind": "Table",
            "apiVersion": f"meta.k8s.io/{self.version}",
            "metadata": {"resourceVersion": metadata.get("resourceVersion", "")},
            "columnDefinitions": columns_of(resource) if heading else None,
            "rows": rows,
        }

    def _partial(self, item: Json) -> Json:
        return {
            "kind": "PartialObjectMetadata",
            "apiVersion": f"meta.k8s.io/{self.version}",
            "metadata": item.get("metadata", {}),
        }


def shape_of(request: Request) -> Shape:
    """The first shape in `Accept` that this API speaks. Raises 406 where there is none."""
    pretty = boolean(request.query_params, "pretty")
    for media_type, parameters in _accepted(request.headers.get("accept") or "*/*"):
        if media_type not in ("application/json", "application/*", "*/*"):
            continue
        wanted, version = parameters.get("as"), parameters.get("v", "v1")
        if wanted is None:
            return Shape(pretty=pretty)
        if parameters.get("g") != "meta.k8s.io" or version not in META_VERSIONS:
            continue
        if wanted == "Table":
            return Shape("table", version, _included(request.query_params), pretty)
        if wanted in ("PartialObjectMetadata", "PartialObjectMetadataList"):
            return Shape("metadata", version, pretty=pretty)
    supported = "application/json, application/json;as=Table;v=v1;g=meta.k8s.io"
    raise failure(406, f"only the following media types are accepted: {supported}")


def _included(query: QueryParams) -> Included:
    value = query.get("includeObject") or "Metadata"
    for known in _INCLUDED:
        if value == known:
            return known
    raise bad_request(f'unrecognized includeObject value: "{value}" (supported values: "None", "Metadata", "Object")')


def _accepted(header: str) -> list[tuple[str, dict[str, str]]]:
    """The media types of an Accept header with their parameters, the client's favourite first (RFC 9110, 12.5.1)."""
    clauses = []
    for clause in header.split(","):
        media_type, *parts = [part.strip() for part in clause.split(";")]
        parameters = dict(part.split("=", 1) for part in parts if "=" in part)
        try:
            quality = float(parameters.pop("q", "1"))
        except ValueError:
            quality = 0.0
        if quality > 0:
            clauses.append((quality, media_type.lower(), parameters))
    clauses.sort(key=lambda clause: -clause[0])
    return [(media_type, parameters) for _, media_type, parameters in clauses]
