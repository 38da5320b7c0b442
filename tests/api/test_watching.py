"""Watches: what changed, in order, until the client, the time limit or the node ends it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from minikube_lite.api.server import Server
from tests.api.fake_node import FakeNode, make_event, make_pod
from tests.api.http_client import TABLE, Client

PODS = "/api/v1/namespaces/default/pods"


def told(event: tuple[str, Any]) -> tuple[str, str]:
    type_, item = event
    return type_, item["metadata"]["name"]


async def until(condition: Any) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


async def test_a_watch_without_a_version_begins_with_what_is_there(node: FakeNode, client: Client) -> None:
    async with client.stream("GET", f"{PODS}?watch=true") as watch:
        assert watch.headers["content-type"] == "application/json"
        assert told(await watch.event()) == ("ADDED", "web")
        node.add("Pod", make_pod("db"))
        assert told(await watch.event()) == ("ADDED", "db")
        node.add("Pod", make_pod("db", status={"phase": "Failed"}))
        assert told(await watch.event()) == ("MODIFIED", "db")
        node.remove("Pod", "default", "db")
        assert told(await watch.event()) == ("DELETED", "db")


async def test_a_watch_goes_on_from_a_lists_version_and_misses_nothing(node: FakeNode, client: Client) -> None:
    version = (await client.get(PODS)).json["metadata"]["resourceVersion"]
    node.add("Pod", make_pod("db"))
    async with client.stream("GET", f"{PODS}?watch=1&resourceVersion={version}") as watch:
        assert told(await watch.event()) == ("ADDED", "db")


async def test_a_watch_is_of_one_namespace_or_of_all(node: FakeNode, client: Client) -> None:
    url = f"?watch=true&resourceVersion={node.revision}"
    async with client.stream("GET", PODS + url) as one, client.stream("GET", "/api/v1/pods" + url) as all_:
        node.add("Pod", make_pod("x", "lab"))
        node.add("Pod", make_pod("y"))
        assert told(await one.event()) == ("ADDED", "y")
        assert told(await all_.event()) == ("ADDED", "x")


async def test_a_version_too_old_is_told_as_expired(node: FakeNode, client: Client) -> None:
    async with client.stream("GET", f"{PODS}?watch=true&resourceVersion=5") as watch:
        type_, status = await watch.event()
        assert (type_, status["kind"], status["code"], status["reason"]) == ("ERROR", "Status", 410, "Expired")
        assert await watch.event() == ("", None)


async def test_an_object_that_no_longer_matches_leaves_the_watch(node: FakeNode, client: Client) -> None:
    async with client.stream("GET", f"{PODS}?watch=true&fieldSelector=status.phase=Running") as watch:
        assert told(await watch.event()) == ("ADDED", "web")
        node.add("Pod", make_pod("never", status={"phase": "Pending"}))
        node.add("Pod", make_pod("web", status={"phase": "Failed"}))
        assert told(await watch.event()) == ("DELETED", "web")
        node.add("Pod", make_pod("web", status={"phase": "Failed", "message": "still"}))
        node.add("Pod", make_pod("web"))
        assert told(await watch.event()) == ("ADDED", "web")
        node.add("Pod", make_pod("web", status={"message": "ok"}))
        assert told(await watch.event()) == ("MODIFIED", "web")
        node.remove("Pod", "default", "never")
        node.remove("Pod", "default", "web")
        assert told(await watch.event()) == ("DELETED", "web")


async def test_a_selective_watch_that_goes_on_knows_what_its_list_told(node: FakeNode, client: Client) -> None:
    node.add("Pod", make_pod("idle", status={"phase": "Pending"}))
    url = f"{PODS}?watch=true&fieldSelector=status.phase=Running&resourceVersion={node.revision}"
    async with client.stream("GET", url) as watch:
        node.add("Pod", make_pod("idle", status={"phase": "Pending", "message": "x"}))
        node.add("Pod", make_pod("web", status={"phase": "Failed"}))
        assert told(await watch.event()) == ("DELETED", "web")


async def test_a_change_before_the_watch_began_is_told_as_a_leaving(node: FakeNode, client: Client) -> None:
    version = node.revision
    node.add("Pod", make_pod("web", status={"phase": "Failed"}))
    url = f"{PODS}?watch=true&fieldSelector=status.phase=Running&resourceVersion={version}"
    async with client.stream("GET", url) as watch:
        assert told(await watch.event()) == ("DELETED", "web")


async def test_a_table_watch_sends_its_columns_once(node: FakeNode, client: Client) -> None:
    async with client.stream("GET", f"{PODS}?watch=true", headers={"accept": TABLE}) as watch:
        _, first = await watch.event()
        assert first["columnDefinitions"][0]["name"] == "Name"
        assert first["rows"][0]["cells"][0] == "web"
        node.add("Pod", make_pod("db"))
        _, second = await watch.event()
        assert second["columnDefinitions"] is None
        assert second["rows"][0]["cells"][:2] == ["db", "1/1"]


async def test_events_are_watched_too(node: FakeNode, client: Client) -> None:
    async with client.stream("GET", "/api/v1/events?watch=true") as watch:
        node.add("Event", make_event())
        assert told(await watch.event()) == ("ADDED", "web.1")


async def test_the_initial_objects_end_with_a_bookmark_if_asked_for(client: Client) -> None:
    url = f"{PODS}?watch=true&sendInitialEvents=true&allowWatchBookmarks=true&resourceVersionMatch=NotOlderThan"
    async with client.stream("GET", url) as watch:
        assert told(await watch.event()) == ("ADDED", "web")
        type_, item = await watch.event()
        assert type_ == "BOOKMARK"
        assert item["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}


async def test_a_watch_ends_after_the_time_it_was_given_with_a_bookmark(node: FakeNode, client: Client) -> None:
    url = f"{PODS}?watch=true&timeoutSeconds=1&allowWatchBookmarks=true"
    async with client.stream("GET", url) as watch:
        assert told(await watch.event()) == ("ADDED", "web")
        type_, item = await watch.event()
        assert (type_, item["metadata"]["resourceVersion"]) == ("BOOKMARK", str(node.revision))
        assert await watch.event() == ("", None)
    await until(lambda: node.watchers == 0)


async def test_a_client_that_goes_takes_its_watch_along(node: FakeNode, client: Client) -> None:
    async with client.stream("GET", f"{PODS}?watch=true") as watch:
        await watch.event()
        await until(lambda: node.watchers == 1)
    await until(lambda: node.watchers == 0)


async def test_the_nodes_stop_ends_every_watch_in_order(node: FakeNode, server: Server, client: Client) -> None:
    async with client.stream("GET", f"{PODS}?watch=true") as watch:
        await watch.event()
        await server.stop()
        assert await watch.event() == ("", None)
    assert node.watchers == 0


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("resourceVersion=x", 400),
        ("resourceVersion=-1", 400),
        ("timeoutSeconds=soon", 400),
        ("timeoutSeconds=-1", 400),
        ("labelSelector=a%3D%3D%3D", 400),
        ("sendInitialEvents=true", 422),
    ],
)
async def test_a_watch_that_cannot_be_is_refused_before_it_begins(client: Client, query: str, code: int) -> None:
    reply = await client.get(f"{PODS}?watch=true&{query}")
    assert (reply.code, reply.json["kind"]) == (code, "Status")


async def test_nodes_are_not_watched(client: Client) -> None:
    assert (await client.get("/api/v1/nodes?watch=true")).code == 405


async def test_watch_false_is_a_list(client: Client) -> None:
    assert (await client.get(f"{PODS}?watch=false")).json["kind"] == "PodList"
    assert (await client.get(f"{PODS}?watch=0")).json["kind"] == "PodList"
