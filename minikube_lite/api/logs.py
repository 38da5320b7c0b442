"""`GET …/pods/{name}/log`: a container's log as plain text. Routes for `app`.

Source of the parameters and their checks: PodLogOptions, kubernetes/pkg/apis/core/validation `ValidatePodLogOptions`.
"""

from __future__ import annotations

from functools import partial

from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from minikube_lite.api.context import Context
from minikube_lite.api.failures import bad_request, failure, invalid
from minikube_lite.api.log_reader import LogOptions, nanoseconds, read_log
from minikube_lite.api.query import boolean, integer
from minikube_lite.api.streams import Stream


def routes(context: Context) -> list[Route]:
    async def log(request: Request) -> Response:
        query, path = request.query_params, request.path_params
        options = _options(query, context.clock())
        find = partial(
            context.node.log_files,
            path["namespace"],
            path["name"],
            query.get("container") or None,
            boolean(query, "previous"),
        )
        find()  # what is wrong is said before the stream begins
        return Stream(read_log(find, options), context.stopping, media_type="text/plain")

    return [Route("/api/v1/namespaces/{namespace}/pods/{name}/log", log)]


def _options(query: QueryParams, now: float) -> LogOptions:
    tail, limit = _at_least(query, "tailLines", 0), _at_least(query, "limitBytes", 1)
    since_seconds, since_time = _at_least(query, "sinceSeconds", 1), query.get("sinceTime")
    if since_seconds is not None and since_time:
        raise failure(422, "at most one of `sinceTime` or `sinceSeconds` may be specified")
    since = None if since_seconds is None else int((now - since_seconds) * 1e9)
    if since_time:
        try:
            since = nanoseconds(since_time)
        except ValueError:
            raise bad_request(f'sinceTime "{since_time}" is not an RFC 3339 time') from None
    return LogOptions(
        follow=boolean(query, "follow"),
        timestamps=boolean(query, "timestamps"),
        tail_lines=tail,
        since=since,
        limit_bytes=limit,
    )


def _at_least(query: QueryParams, key: str, least: int) -> int | None:
    value = integer(query, key)
    if value is not None and value < least:
        raise invalid("PodLogOptions", "", key, value, f"must be greater than or equal to {least}")
    return value
