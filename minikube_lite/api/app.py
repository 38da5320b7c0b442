"""The API as an ASGI application: routes, and a `Status` for every failure. Called by `server` and by tests.

An endpoint returns a Response or raises ServiceError; what else comes out of one is our own bug: 500, and a traceback
in the log.
"""

from __future__ import annotations

from collections.abc import Callable
from email.utils import formatdate

import structlog
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import BaseRoute, Route, Router
from starlette.types import Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from minikube_lite.api import discovery, exec, listing, logs, manifests, pods
from minikube_lite.api.context import Context
from minikube_lite.api.failures import (
    NO_METHOD,
    NO_ROUTE,
    REASONS,
    internal_error,
    of_service_error,
    status_failure,
)
from minikube_lite.api.negotiation import json_response
from minikube_lite.api.resources import RESOURCES
from minikube_lite.node.clock import wall
from minikube_lite.node.service import Json, NodeService, ServiceError

log = structlog.get_logger(__name__)

_NARROWEST = sorted(RESOURCES, key=lambda resource: not resource.namespaced)
"""What stands in a namespace first: `namespaces` is in the path of each of them."""


def create_app(node: NodeService, clock: Callable[[], float] = wall) -> Api:
    """The API of this node. `clock` is the wall clock, in seconds since the epoch."""
    return Api(Context(node, clock))


class Api:
    """An ASGI application. `context.stopping` ends its streams."""

    def __init__(self, context: Context) -> None:
        self.context = context
        routes: list[BaseRoute] = []
        for module in (discovery, listing, pods, logs, exec, manifests):
            routes += module.routes(context)
        self._router = Router(routes, redirect_slashes=False, default=_no_route)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["app"] = self  # so that the router raises, rather than answering in plain text
        started = False

        async def dated(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                date = formatdate(self.context.clock(), usegmt=True).encode()
                message["headers"] = [*message.get("headers", ()), (b"date", date)]
            started = True
            await send(message)

        try:
            await self._router(scope, receive, dated)
        except ClientDisconnect:
            return
        except Exception as error:
            status = self._status_of(scope, error)
            if started:  # too late for an answer: the server closes the connection, and the client sees it cut short
                return
            response = json_response(status, status["code"])
            if status["code"] == 405:
                response.headers["allow"] = ", ".join(self._methods(scope))
            if scope["type"] == "websocket":
                del response.headers["content-length"]  # some versions of the server add theirs to it
                await WebSocket(scope, receive, dated).send_denial_response(response)
            else:
                await response(scope, receive, dated)

    def _status_of(self, scope: Scope, error: Exception) -> Json:
        if isinstance(error, ServiceError):
            path = scope.get("path_params", {})
            segments = scope["path"].split("/")
            kind = next((item.plural for item in _NARROWEST if item.plural in segments[-4:]), "")
            return of_service_error(error, kind=kind, name=path.get("name", ""))
        if isinstance(error, HTTPException):
            message = NO_METHOD if error.status_code == 405 else NO_ROUTE
            return status_failure(error.status_code, REASONS.get(error.status_code, "Unknown"), message)
        log.error("request_failed", method=scope.get("method", ""), path=scope["path"], exc_info=error)
        return internal_error()

    def _methods(self, scope: Scope) -> list[str]:
        matching = (
            route for route in self._router.routes if isinstance(route, Route) and route.path_regex.match(scope["path"])
        )
        return sorted({method for route in matching for method in route.methods or ()})


async def _no_route(scope: Scope, receive: Receive, send: Send) -> None:
    raise HTTPException(404)
