"""Request bodies: bounded, and parsed into one object. Called by the endpoints that write; raises 400, 413, 415."""

from __future__ import annotations

import json
from typing import Any, NoReturn

from starlette.requests import Request

from minikube_lite.api.failures import bad_request, failure
from minikube_lite.node.service import Json
from minikube_lite.spec.manifest import read_manifest

OBJECT_LIMIT = 3 * 1024 * 1024
"""Bytes; the API server's own limit for one object (MaxRequestBodyBytes)."""
MANIFEST_LIMIT = 64 * 1024 * 1024
"""Bytes; `apply` posts whole files, and it is the manifest's reader that says what is wrong with a huge one."""

JSON_TYPES = ("application/json",)
YAML_TYPES = ("application/yaml", "application/x-yaml", "text/yaml", "text/x-yaml")
APPLY_TYPES = ("application/apply-patch+yaml",)


async def read_body(request: Request, limit: int) -> bytes:
    """The whole body. Raises 413 as soon as it is known to be too large."""
    declared = request.headers.get("content-length", "0")
    if declared.isdecimal() and int(declared) > limit:
        raise _too_large(limit)
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            raise _too_large(limit)
        chunks.append(chunk)
    return b"".join(chunks)


def _too_large(limit: int) -> Exception:
    return failure(413, f"Request entity too large: limit is {limit // 1024 // 1024} MiB")


def media_type_of(request: Request) -> str:
    """The body's media type, without parameters; JSON where the client does not say, as the API server assumes."""
    return (request.headers.get("content-type") or "application/json").split(";")[0].strip().lower()


def check_media_type(request: Request, accepted: tuple[str, ...]) -> str:
    media_type = media_type_of(request)
    if media_type not in accepted:
        raise failure(
            415,
            f"the body of the request was in an unknown format - accepted media types include: {', '.join(accepted)}",
        )
    return media_type


async def read_object(request: Request, accepted: tuple[str, ...] = JSON_TYPES + YAML_TYPES) -> Json:
    """The body as one object."""
    media_type = check_media_type(request, accepted)
    data = await read_body(request, OBJECT_LIMIT)
    value = parse_json(data) if media_type in JSON_TYPES or data.lstrip()[:1] == b"{" else _parse_yaml(data, request)
    if not isinstance(value, dict):
        raise bad_request(f"the body of the request is not an object but {type(value).__name__}")
    return value


async def read_options(request: Request) -> Json:
    """DeleteOptions: the body may be empty."""
    data = await read_body(request, OBJECT_LIMIT)
    if not data.strip():
        return {}
    check_media_type(request, JSON_TYPES)
    value = parse_json(data)
    if not isinstance(value, dict):
        raise bad_request("DeleteOptions must be an object")
    return value


def parse_json(data: bytes) -> Any:
    """Strict JSON: no NaN, no Infinity, no bytes that are not UTF-8, no nesting beyond the interpreter's."""
    try:
        return json.loads(data.decode(), parse_constant=_no_constant)
    except RecursionError:
        raise bad_request("couldn't parse the body: nested too deeply") from None
    except ValueError as error:
        raise bad_request(f"couldn't parse the body as JSON: {error}") from None


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _parse_yaml(data: bytes, request: Request) -> Any:
    manifest = read_manifest(data, "request", default_namespace=request.path_params["namespace"], build=False)
    problems = [*manifest.problems, *(p for document in manifest.documents for p in document.problems)]
    if len(manifest.documents) == 1 and manifest.documents[0].raw:
        return manifest.documents[0].raw
    if problems:
        raise bad_request("; ".join(map(str, problems)))
    raise bad_request(f"the body of the request has {len(manifest.documents)} YAML documents, expected one")
