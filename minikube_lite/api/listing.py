"""GET of collections and of single objects. Routes for `app`."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from minikube_lite.api.context import Context
from minikube_lite.api.negotiation import json_response, shape_of
from minikube_lite.api.query import boolean, integer
from minikube_lite.api.resources import EVENTS, NAMESPACES, NODES, WATCHABLE, Resource
from minikube_lite.api.selectors import Predicate, select
from minikube_lite.api.watch import watch


def routes(context: Context) -> list[Route]:
    """The read-only paths; those of one namespace's pods and the like are shared with the writes and live in `pods`."""

    def collection(resource: Resource) -> Route:
        async def endpoint(request: Request) -> Response:
            return list_or_watch(context, request, resource)

        scope = "/namespaces/{namespace}" if resource is EVENTS else ""
        return Route(f"/api/v1{scope}/{resource.plural}", endpoint)

    def single(resource: Resource) -> Route:
        async def endpoint(request: Request) -> Response:
            return get(context, request, resource)

        scope = "/namespaces/{namespace}" if resource.namespaced else ""
        return Route(f"/api/v1{scope}/{resource.plural}/{{name}}", endpoint)

    by_name = {resource.plural: resource for resource in WATCHABLE}

    async def everywhere(request: Request) -> Response:
        return list_or_watch(context, request, by_name[request.scope["path"].rsplit("/", 1)[1]])

    return [
        *(Route(f"/api/v1/{plural}", everywhere) for plural in by_name),
        collection(EVENTS),
        collection(NODES),
        collection(NAMESPACES),
        single(EVENTS),
        single(NODES),
        single(NAMESPACES),
    ]


def selection(request: Request, resource: Resource) -> Predicate:
    """What `labelSelector` and `fieldSelector` ask for together."""
    query = request.query_params
    return select(resource, query.get("labelSelector", ""), query.get("fieldSelector", ""))


def list_or_watch(context: Context, request: Request, resource: Resource) -> Response:
    """A collection, of the path's namespace or of all. `limit` and `continue` are read and not needed."""
    namespace = request.path_params.get("namespace")
    wanted = selection(request, resource)
    if boolean(request.query_params, "watch"):
        return watch(context, request, resource, namespace, wanted)
    integer(request.query_params, "limit")
    shape = shape_of(request)
    listed = context.node.list(resource.kind, namespace)
    items = [item for item in listed.items if wanted(item)]
    shown = shape.many(resource, items, listed.resource_version, context.clock())
    return json_response(shown, pretty=shape.pretty)


def get(context: Context, request: Request, resource: Resource) -> Response:
    """One object. Raises 404."""
    shape = shape_of(request)
    item = context.node.get(resource.kind, request.path_params.get("namespace", ""), request.path_params["name"])
    return json_response(shape.one(resource, item, context.clock()), pretty=shape.pretty)
