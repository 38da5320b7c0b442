"""Waits for pods to become as a condition wants them, by one list and one watch. Called by wait, delete and apply.

Every wait has a deadline on the monotonic clock; what the node says is taken as it comes, nothing is polled.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from minikube_lite.cli.client import Client, Events, WatchEnded
from minikube_lite.cli.errors import ApiError
from minikube_lite.cli.resources import Kind

Json = dict[str, Any]
Key = tuple[str, str]
"""(namespace, name)"""

TICK = 0.1
"""Seconds between two looks of a progress display at the clock."""


class Waiter:
    """Follows the objects of one type. `objects` is what is known of them, by (namespace, name)."""

    def __init__(
        self, client: Client, kind: Kind, namespace: str | None, query: list[tuple[str, str]] | None = None
    ) -> None:
        self._client = client
        self._path = kind.path(namespace)
        self._query = query or []
        self._events: Events | None = None
        self.objects: dict[Key, Json] = {}
        self.list()

    def list(self) -> None:
        """Learn what there is now."""
        answer = self._client.get(self._path, self._query)
        self.objects = {_key(item): item for item in answer["items"]}
        self._version = str(answer["metadata"]["resourceVersion"])
        self.close()

    def news(self, deadline: float | None, tick: float | None = None) -> Iterator[Key | None]:
        """The key of each object that has changed, after `objects` shows it; ends at the deadline (None: never).

        With `tick`, None comes after so many seconds without news.
        """
        while True:
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                return
            timeout = min(value for value in (left, tick) if value is not None) if (left or tick) else None
            try:
                event = self._watch().next(timeout)
            except (WatchEnded, ApiError) as error:
                if isinstance(error, ApiError) and error.http_code != 410:
                    raise
                before = self.objects
                self.list()  # the node has ended the watch (or forgotten that far back): start anew
                yield from [key for key in {*before, *self.objects} if before.get(key) != self.objects.get(key)]
                continue
            if event is None:
                yield None
                continue
            key = _key(event["object"])
            if event["type"] == "DELETED":
                self.objects.pop(key, None)
            elif event["type"] in ("ADDED", "MODIFIED"):
                self.objects[key] = event["object"]
            else:
                continue
            yield key

    def _watch(self) -> Events:
        if self._events is None:
            query = [*self._query, ("resourceVersion", self._version)]
            self._events = self._client.watch(self._path, query)
        return self._events

    def __enter__(self) -> Waiter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the watch. Twice is as good as once."""
        if self._events is not None:
            self._events.close()
            self._events = None


def _key(item: Json) -> Key:
    return item["metadata"].get("namespace", ""), item["metadata"]["name"]


def until(
    waiter: Waiter, keys: Iterable[Key], done: Callable[[Key, Json | None], bool], deadline: float | None
) -> Iterator[Key]:
    """Each of `keys` as soon as it is done, in their order at first; ends when all are, or at the deadline."""
    left = list(keys)
    for key in list(left):
        if done(key, waiter.objects.get(key)):
            left.remove(key)
            yield key
    if not left:
        return
    for news in waiter.news(deadline):
        if news in left and done(news, waiter.objects.get(news)):
            left.remove(news)
            yield news
            if not left:
                return


def deadline_of(timeout: float) -> float:
    """When to give up: `timeout` seconds from now; a negative one means a week, as with kubectl."""
    return time.monotonic() + (timeout if timeout >= 0 else 7 * 86400)
