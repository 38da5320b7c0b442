"""Our own endpoints: apply, create and delete whole manifest files, for the CLI. Routes for `app`."""

from __future__ import annotations

from dataclasses import asdict

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from minikube_lite.api.body import MANIFEST_LIMIT, read_body
from minikube_lite.api.context import Context
from minikube_lite.api.failures import invalid
from minikube_lite.api.negotiation import json_response
from minikube_lite.api.query import dry_run, integer
from minikube_lite.node.service import ApplyOutcome

GROUP = "/apis/node.minikube-lite/v1"


def routes(context: Context) -> list[Route]:
    async def apply(request: Request) -> Response:
        return await write(request, create=False)

    async def create(request: Request) -> Response:
        return await write(request, create=True)

    async def write(request: Request, *, create: bool) -> Response:
        query = request.query_params
        dry = dry_run(query)
        data = await read_body(request, MANIFEST_LIMIT)
        async with context.writing:
            outcome = await context.node.apply(
                data,
                source=query.get("source") or "request",
                base_dir=query.get("baseDir") or "/",
                namespace=query.get("namespace") or "default",
                dry_run=dry,
                create=create,
            )
        return _answer(outcome)

    async def delete(request: Request) -> Response:
        query = request.query_params
        dry, grace = dry_run(query), integer(query, "gracePeriodSeconds")
        if grace is not None and grace < 0:
            raise invalid("DeleteOptions", "", "gracePeriodSeconds", grace, "must be greater than or equal to 0")
        data = await read_body(request, MANIFEST_LIMIT)
        async with context.writing:
            outcome = await context.node.delete_documents(
                data,
                source=query.get("source") or "request",
                namespace=query.get("namespace") or "default",
                grace=None if grace is None else float(grace),
                dry_run=dry,
            )
        return _answer(outcome)

    return [
        Route(f"{GROUP}/create", create, methods=["POST"]),
        Route(f"{GROUP}/apply", apply, methods=["POST"]),
        Route(f"{GROUP}/delete", delete, methods=["POST"]),
    ]


def _answer(outcome: ApplyOutcome) -> Response:
    return json_response(
        {
            "kind": "ApplyOutcome",
            "apiVersion": "node.minikube-lite/v1",
            "items": [asdict(item) for item in outcome.items],
            "problems": [asdict(problem) for problem in outcome.problems],
        }
    )
