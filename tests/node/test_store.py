"""The object store: one counter of versions, watches that lose nothing."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from minikube_lite.node.service import ServiceError
from minikube_lite.node.store import HISTORY, ObjectStore


def pod(name: str, namespace: str = "default", **status: Any) -> dict[str, Any]:
    return {"kind": "Pod", "metadata": {"name": name, "namespace": namespace}, "status": status}


def test_an_equal_object_is_no_change() -> None:
    store = ObjectStore()
    assert store.put("Pod", "default/a", pod("a", phase="Running"))
    version = store.version
    assert not store.put("Pod", "default/a", pod("a", phase="Running"))
    assert store.version == version


def test_every_change_gets_the_next_version_whatever_its_kind() -> None:
    store = ObjectStore()
    store.put("Pod", "default/a", pod("a"))
    store.put("Event", "default/e", pod("e"))
    found = store.get("Event", "default", "e")
    assert found is not None
    assert int(found["metadata"]["resourceVersion"]) == store.version


def test_versions_of_a_later_node_are_greater() -> None:
    first = ObjectStore()
    for number in range(100):
        first.put("Pod", "default/a", pod("a", n=number))
    assert ObjectStore().version > first.version - 100


def test_a_list_is_sorted_by_namespace_and_name() -> None:
    store = ObjectStore()
    for namespace, name in (("b", "a"), ("a", "z"), ("a", "b"), ("a-b", "a")):
        store.put("Pod", f"{namespace}/{name}", pod(name, namespace))
    names = [(item["metadata"]["namespace"], item["metadata"]["name"]) for item in store.list("Pod", None).items]
    assert names == [("a", "b"), ("a", "z"), ("a-b", "a"), ("b", "a")]
    assert len(store.list("Pod", "a").items) == 2


async def collect(store: ObjectStore, since: int | None, count: int, namespace: str | None = None) -> list[Any]:
    seen = []
    async for event in store.watch("Pod", namespace, since):
        seen.append((event.type, event.object["metadata"]["name"]))
        if len(seen) == count:
            break
    return seen


async def test_a_watch_without_a_version_begins_with_all_that_is_there() -> None:
    store = ObjectStore()
    store.put("Pod", "default/a", pod("a"))
    task = asyncio.create_task(collect(store, None, 3))
    await asyncio.sleep(0)
    store.put("Pod", "default/a", pod("a", phase="Running"))
    store.drop("Pod", "default/a")
    assert await task == [("ADDED", "a"), ("MODIFIED", "a"), ("DELETED", "a")]


async def test_a_watch_from_a_version_replays_what_came_after_it() -> None:
    store = ObjectStore()
    store.put("Pod", "default/a", pod("a"))
    version = store.version
    store.put("Pod", "default/b", pod("b"))
    store.drop("Pod", "default/a")
    assert await collect(store, version, 2) == [("ADDED", "b"), ("DELETED", "a")]


async def test_a_watch_of_a_namespace_sees_no_other() -> None:
    store = ObjectStore()
    store.put("Pod", "x/a", pod("a", "x"))
    store.put("Pod", "y/b", pod("b", "y"))
    assert await collect(store, None, 1, "y") == [("ADDED", "b")]


async def test_a_version_too_old_to_be_replayed_is_expired() -> None:
    store = ObjectStore()
    old = store.version
    for number in range(HISTORY + 10):
        store.put("Pod", "default/a", pod("a", n=number))
    with pytest.raises(ServiceError) as caught:
        await collect(store, old, 1)
    assert (caught.value.code, caught.value.reason) == (410, "Expired")


async def test_closing_ends_every_watch() -> None:
    store = ObjectStore()
    task = asyncio.create_task(collect(store, None, 1))
    await asyncio.sleep(0)
    store.close()
    assert await task == []
