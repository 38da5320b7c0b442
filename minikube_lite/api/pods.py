"""Pods, ConfigMaps, Secrets and claims of one namespace: read, created, replaced, applied, deleted. Routes for `app`.

A write changes the manifests directory, by `node.apply`, `node.delete_pod` and `node.delete_config`; the watcher does
the rest. So what is answered to a create is the object as the node shows it once it has seen the file.
"""

from __future__ import annotations

import asyncio
import copy
import json
import re
import secrets
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any, cast

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from minikube_lite.api.body import APPLY_TYPES, media_type_of, read_object, read_options
from minikube_lite.api.context import Context
from minikube_lite.api.failures import ApiError, bad_request, failure, invalid
from minikube_lite.api.listing import get, list_or_watch, selection
from minikube_lite.api.negotiation import json_response, shape_of
from minikube_lite.api.query import dry_run, integer
from minikube_lite.api.resources import PODS, WRITABLE, Resource
from minikube_lite.node.service import ApplyItem, ApplyOutcome, Json, ServiceError, Watched

SEEN_WITHIN = 1.0
"""Seconds to wait for the node to see a file that was just written, before answering with what was sent."""

SERVER_FIELDS = (
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "generateName",
    "generation",
    "managedFields",
    "resourceVersion",
    "selfLink",
    "uid",
)
"""Metadata that the node gives: not part of what was asked for, so not written to the manifest."""

_AWKWARD = re.compile("[\x7f-\x9f\u2028\u2029\ufeff]")


def routes(context: Context) -> list[Route]:
    found = [route for resource in WRITABLE for route in _routes(context, resource)]

    async def status(request: Request) -> Response:
        return get(context, request, PODS)

    return [*found, Route("/api/v1/namespaces/{namespace}/pods/{name}/status", status)]


def _routes(context: Context, resource: Resource) -> list[Route]:
    collection = f"/api/v1/namespaces/{{namespace}}/{resource.plural}"
    single = f"{collection}/{{name}}"
    writer = _Writer(context, resource)

    async def read_collection(request: Request) -> Response:
        return list_or_watch(context, request, resource)

    async def read_one(request: Request) -> Response:
        return get(context, request, resource)

    return [
        Route(collection, read_collection),
        Route(collection, writer.create, methods=["POST"]),
        Route(collection, writer.delete_collection, methods=["DELETE"]),
        Route(single, read_one),
        Route(single, writer.replace, methods=["PUT"]),
        Route(single, writer.patch, methods=["PATCH"]),
        Route(single, writer.delete, methods=["DELETE"]),
    ]


@dataclass(frozen=True, slots=True)
class _Written:
    object: Json
    item: ApplyItem
    before: int
    """The collection's version before the write."""


class _Writer:
    """Of one kind of objects."""

    def __init__(self, context: Context, resource: Resource) -> None:
        self.context = context
        self.node = context.node
        self.resource = resource

    async def create(self, request: Request) -> Response:
        pod = _checked(self.resource, await read_object(request), request.path_params["namespace"])
        name = pod["metadata"].get("name")
        if not name and pod["metadata"].get("generateName"):
            name = pod["metadata"]["name"] = pod["metadata"]["generateName"] + secrets.token_hex(3)[:5]
        async with self.context.writing:
            if self._current(pod) is not None:
                plural = self.resource.plural
                message = f'{plural} "{name}" already exists'
                raise ApiError(409, message, reason="AlreadyExists", kind=plural, name=name or "")
            written = await self._write(request, pod)
        return await self._answer(request, written, 201)

    async def replace(self, request: Request) -> Response:
        body, path = await read_object(request), request.path_params
        pod = _checked(self.resource, body, path["namespace"], path["name"])
        async with self.context.writing:
            current = self._current(pod)
            if current is None:
                raise failure(404, f'{self.resource.plural} "{pod["metadata"]["name"]}" not found')
            self._check_precondition(pod["metadata"], current)
            written = await self._write(request, pod)
        return await self._answer(request, written, 200)

    async def patch(self, request: Request) -> Response:
        """Server-side apply: the body is the whole of what is wanted, so the object becomes exactly that."""
        if media_type_of(request) not in APPLY_TYPES:
            raise failure(
                415,
                f"{media_type_of(request)} is not supported: only {APPLY_TYPES[0]} is"
                " (hint: kubectl apply --server-side, or minikube-lite apply)",
            )
        body, path = await read_object(request, APPLY_TYPES), request.path_params
        pod = _checked(self.resource, body, path["namespace"], path["name"])
        async with self.context.writing:
            code = 200 if self._current(pod) is not None else 201
            written = await self._write(request, pod)
        return await self._answer(request, written, code)

    async def delete(self, request: Request) -> Response:
        options = await read_options(request)
        dry, grace = dry_run(request.query_params, options), _grace(request, options)
        namespace, name = request.path_params["namespace"], request.path_params["name"]
        async with self.context.writing:
            if isinstance(options.get("preconditions"), dict):
                self._check_precondition(options["preconditions"], self.node.get(self.resource.kind, namespace, name))
            gone = await self._delete(namespace, name, grace, dry)
        shape = shape_of(request)
        return json_response(shape.one(self.resource, gone, self.context.clock()), pretty=shape.pretty)

    async def _delete(self, namespace: str, name: str, grace: float | None, dry: bool) -> Json:
        kind = self.resource.kind
        if kind == "ConfigMap" or kind == "Secret":
            return await self.node.delete_config(kind, namespace, name, dry)
        if kind == "PersistentVolumeClaim":
            return await self.node.delete_claim(namespace, name, dry)
        return await self.node.delete_pod(namespace, name, grace, dry)

    async def delete_collection(self, request: Request) -> Response:
        options = await read_options(request)
        dry, grace = dry_run(request.query_params, options), _grace(request, options)
        wanted, shape = selection(request, self.resource), shape_of(request)
        namespace = request.path_params["namespace"]
        async with self.context.writing:
            listed = self.node.list(self.resource.kind, namespace)
            deleted = []
            for item in filter(wanted, listed.items):
                try:
                    deleted.append(await self._delete(namespace, item["metadata"]["name"], grace, dry))
                except ServiceError as error:
                    if error.code != 404:  # gone in the meantime is what was wanted
                        raise
        shown = shape.many(self.resource, deleted, listed.resource_version, self.context.clock())
        return json_response(shown, pretty=shape.pretty)

    def _current(self, pod: Json) -> Json | None:
        metadata = pod["metadata"]
        try:
            return self.node.get(self.resource.kind, metadata["namespace"], metadata.get("name") or "")
        except ServiceError as error:
            if error.code != 404:
                raise
            return None

    async def _write(self, request: Request, pod: Json) -> _Written:
        """Apply one object; `writing` is held."""
        namespace, name = pod["metadata"]["namespace"], pod["metadata"].get("name") or ""
        before = self.node.list(self.resource.kind, namespace).resource_version
        outcome = await self.node.apply(
            as_manifest(pod), source="request", base_dir="/", namespace=namespace, dry_run=dry_run(request.query_params)
        )
        _raise_problems(outcome, self.resource.kind, name)
        return _Written(pod, outcome.items[0], before)

    async def _answer(self, request: Request, written: _Written, code: int) -> Response:
        """The object as the node has it then; as it was sent, for a dry run."""
        shown, item, shape = written.object, written.item, shape_of(request)
        if not dry_run(request.query_params):
            if item.result != "unchanged":
                await self._until_seen(item.namespace, item.name, written.before)
            shown = self._current(shown) or shown
        response = json_response(shape.one(self.resource, shown, self.context.clock()), code, pretty=shape.pretty)
        for warning in item.warnings:  # RFC 7234, 5.5, as the API server sends them; kubectl prints them
            text = warning.encode("ascii", "backslashreplace").decode().replace("\\", "\\\\").replace('"', '\\"')
            response.headers.append("warning", f'299 - "{" ".join(text.split())}"')
        return response

    async def _until_seen(self, namespace: str, name: str, since: int) -> None:
        changes = self.node.watch(cast(Watched, self.resource.kind), namespace, since)
        try:
            async with asyncio.timeout(SEEN_WITHIN):
                async for event in changes:
                    if event.object.get("metadata", {}).get("name") == name:
                        return
        except TimeoutError:
            return  # written all the same: the next get shows it
        finally:
            if isinstance(changes, AsyncGenerator):
                await changes.aclose()

    def _check_precondition(self, wanted: Json, current: Json) -> None:
        """`resourceVersion` and `uid`, where given, must be those of the object that is there. Raises 409."""
        metadata = current.get("metadata", {})
        name = metadata.get("name", "")
        for field in ("uid", "resourceVersion"):
            if wanted.get(field) and str(wanted[field]) != str(metadata.get(field, "")):
                raise failure(
                    409,
                    f'Operation cannot be fulfilled on {self.resource.plural} "{name}": {field} is'
                    f" {metadata.get(field)}, not {wanted[field]}; the object has been modified"
                    " (hint: apply your change to the latest version)",
                )


def _checked(resource: Resource, pod: Json, namespace: str, name: str = "") -> Json:
    """A copy of the body that says what the path says. Raises 400 where they disagree."""
    pod = copy.deepcopy(pod)
    if pod.get("kind") != resource.kind or pod.get("apiVersion") != "v1":
        sent = f"{pod.get('apiVersion', '')}, Kind={pod.get('kind', '')}"
        raise bad_request(
            f"the object provided is unrecognized: {sent} (hint: this resource is v1, Kind={resource.kind})"
        )
    metadata = pod.setdefault("metadata", {})
    if not isinstance(metadata, dict):
        raise bad_request("metadata must be an object")
    for field, wanted in (("namespace", namespace), ("name", name)):
        got: Any = metadata.get(field)
        if got is not None and not isinstance(got, str):
            raise bad_request(f"metadata.{field} must be a string")
        if wanted and got and got != wanted:
            where = "namespace" if field == "namespace" else "name"
            raise bad_request(
                f"the {where} of the provided object ({got}) does not match the {where} sent on the request ({wanted})"
            )
        if wanted:
            metadata[field] = wanted
    if not isinstance(metadata.get("generateName") or "", str):
        raise bad_request("metadata.generateName must be a string")
    return pod


def as_manifest(pod: Json) -> bytes:
    """What is asked for, without what the node adds: JSON, in which no YAML reader mistakes a string for a number."""
    metadata = {key: value for key, value in pod["metadata"].items() if key not in SERVER_FIELDS}
    wanted = {key: value for key, value in pod.items() if key != "status"} | {"metadata": metadata}
    try:
        text = json.dumps(wanted, ensure_ascii=False, indent=2, allow_nan=False)
    except ValueError as error:  # 1e999 reads as infinity
        raise bad_request(f"a number is out of range: {error}") from None
    return _AWKWARD.sub(lambda match: f"\\u{ord(match[0]):04x}", text).encode("utf-8", "replace") + b"\n"


def _grace(request: Request, options: Json) -> float | None:
    grace = integer(request.query_params, "gracePeriodSeconds")
    if grace is None:
        grace = options.get("gracePeriodSeconds")
    if grace is None:
        return None
    if isinstance(grace, bool) or not isinstance(grace, int):
        raise bad_request(f"gracePeriodSeconds must be an integer, not {grace!r}")
    if grace < 0:
        raise invalid("DeleteOptions", "", "gracePeriodSeconds", grace, "must be greater than or equal to 0")
    return float(grace)


def _raise_problems(outcome: ApplyOutcome, kind: str, name: str) -> None:
    """422 `Invalid`, one cause per problem; 400 where nothing could be made of the body at all."""
    if outcome.problems:
        told = [problem.message + (f" ({problem.hint})" if problem.hint else "") for problem in outcome.problems]
        fields = [problem.field for problem in outcome.problems]
        causes = [
            {"reason": "FieldValueInvalid", "message": text, "field": field}
            for text, field in zip(told, fields, strict=True)
            if field  # without one, kubectl shows the message, which has it all
        ]
        lines = [f"{field}: {text}" if field else text for text, field in zip(told, fields, strict=True)]
        text = lines[0] if len(lines) == 1 else f"[{', '.join(lines)}]"
        raise ApiError(422, f'{kind} "{name}" is invalid: {text}', causes=causes, kind=kind, name=name)
    if not outcome.items:
        raise bad_request("the body of the request holds no object")
    if outcome.items[0].result == "skipped":
        raise bad_request(outcome.items[0].message)
