"""Watches: the node's changes as Kubernetes' chunked JSON lines. Called by listing when `watch=true`.

Source: https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from typing import cast

from starlette.requests import Request
from starlette.responses import Response

from minikube_lite.api.context import Context
from minikube_lite.api.failures import bad_request, failure, of_service_error
from minikube_lite.api.negotiation import Shape, encode, shape_of
from minikube_lite.api.query import boolean, integer
from minikube_lite.api.resources import WATCHABLE, Resource
from minikube_lite.api.selectors import Predicate, everything
from minikube_lite.api.streams import Stream
from minikube_lite.node.service import Json, ObjectList, ServiceError, Watched, WatchEvent


def watch(context: Context, request: Request, resource: Resource, namespace: str | None, wanted: Predicate) -> Response:
    """The response of one watch. Raises 400 for parameters, 405 where there is nothing to watch, 410 `Expired`."""
    if resource not in WATCHABLE:
        raise failure(405, f"watch is not supported on {resource.plural}")
    query, shape = request.query_params, shape_of(request)
    seconds = integer(query, "timeoutSeconds")
    if seconds is not None and seconds < 0:
        raise bad_request(f"invalid value for query parameter timeoutSeconds: {seconds} is negative")
    since = integer(query, "resourceVersion")
    bookmarks = boolean(query, "allowWatchBookmarks")
    if boolean(query, "sendInitialEvents") and not bookmarks:
        raise failure(422, "sendInitialEvents is forbidden unless allowWatchBookmarks is true")
    lines = _Lines(context, resource, shape, wanted, bookmarks)
    if since is not None and since < 0:
        raise bad_request(f"invalid resource version: {since}")
    if not since or boolean(query, "sendInitialEvents"):
        listed = context.node.list(resource.kind, namespace)
        initial, since = listed.items, listed.resource_version
        mark = boolean(query, "sendInitialEvents")
    else:
        initial, mark = [], False
        lines.resume(context.node.list(resource.kind, namespace))
    changes = context.node.watch(cast(Watched, resource.kind), namespace, since)
    lines.version = since
    chunks = lines.chunks(initial, changes, since if mark else None)
    return Stream(chunks, context.stopping, media_type="application/json", seconds=seconds or None, last=lines.last)


class _Lines:
    """Turns changes into lines. Remembers which objects matched, so that one that no longer does leaves as DELETED."""

    def __init__(self, context: Context, resource: Resource, shape: Shape, wanted: Predicate, bookmarks: bool) -> None:
        self.context = context
        self.resource = resource
        self.shape = shape
        self.wanted = wanted
        self.bookmarks = bookmarks
        self.heading = True
        self.matching: set[tuple[str, str]] = set()
        self.replayed_to = 0
        self.version = 0
        """Up to where everything has been sent."""

    def resume(self, listed: ObjectList) -> None:
        """Go on from an older list: what matches now was told of, unless a replayed change says otherwise."""
        self.matching.update(_key(item) for item in listed.items if self.wanted(item))
        self.replayed_to = listed.resource_version

    async def chunks(
        self, initial: list[Json], changes: AsyncIterator[WatchEvent], mark: int | None
    ) -> AsyncGenerator[bytes, None]:
        """Lines, `initial` first; `mark`: the version to tell of once all of `initial` has been sent."""
        try:
            for item in initial:
                for line in self.lines(WatchEvent("ADDED", item)):
                    yield line
            if mark is not None:
                metadata = {"resourceVersion": str(mark), "annotations": {"k8s.io/initial-events-end": "true"}}
                yield self.line("BOOKMARK", {"metadata": metadata})
            async for event in changes:
                for line in self.lines(event):
                    yield line
                self.version = max(self.version, _version(event.object))
        except ServiceError as error:  # too late for an HTTP code: a watch tells of its failure in an event
            yield encode({"type": "ERROR", "object": of_service_error(error)}) + b"\n"
        finally:
            if isinstance(changes, AsyncGenerator):
                await changes.aclose()

    def last(self) -> bytes:
        """At the end of the watch's time: where the next one can go on."""
        return self.line("BOOKMARK", {"metadata": {"resourceVersion": str(self.version)}}) if self.bookmarks else b""

    def lines(self, event: WatchEvent) -> list[bytes]:
        """No line, or one: what this change is to a client that sees only the objects it selected."""
        if event.type == "ERROR":
            return [encode({"type": "ERROR", "object": event.object}) + b"\n"]
        if event.type == "BOOKMARK":
            return [self.line("BOOKMARK", event.object)] if self.bookmarks else []
        if self.wanted is everything:
            return [self.line(event.type, event.object)]
        key = _key(event.object)
        known, wanted = key in self.matching, self.wanted(event.object)
        if event.type == "DELETED" or not wanted:
            self.matching.discard(key)
            # A replayed change: whether it matched before is not known, and a DELETED too many does no harm.
            replayed = _version(event.object) <= self.replayed_to
            return [self.line("DELETED", event.object)] if known or wanted or replayed else []
        self.matching.add(key)
        return [self.line("MODIFIED" if known and event.type == "MODIFIED" else "ADDED", event.object)]

    def line(self, type_: str, item: Json) -> bytes:
        shown = self.shape.one(self.resource, item, self.context.clock(), heading=self.heading)
        self.heading = False
        return encode({"type": type_, "object": shown}) + b"\n"


def _key(item: Json) -> tuple[str, str]:
    metadata = item.get("metadata", {})
    return metadata.get("namespace", ""), metadata.get("name", "")


def _version(item: Json) -> int:
    version = str(item.get("metadata", {}).get("resourceVersion", ""))
    return int(version) if version.isdecimal() else 0
