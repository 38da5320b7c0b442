"""ConfigMaps and Secrets over the API, as pods are: read, watched, created, replaced, deleted."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from minikube_lite.spec.problems import Problem
from tests.api.fake_node import FakeNode, make_config
from tests.api.http_client import TABLE, Client

KINDS = {"ConfigMap": "configmaps", "Secret": "secrets"}
kinds = pytest.mark.parametrize("kind", KINDS)


def path(kind: str, name: str = "", namespace: str = "default") -> str:
    return f"/api/v1/namespaces/{namespace}/{KINDS[kind]}" + (f"/{name}" if name else "")


def new(kind: str, **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": "conf"}, "data": data}


@kinds
async def test_it_is_read_alone_in_its_namespace_and_in_all(kind: Any, node: FakeNode, client: Client) -> None:
    node.add(kind, make_config(kind, "conf"))
    node.add(kind, make_config(kind, "conf", "shop"))
    one = (await client.get(path(kind, "conf"))).json
    assert (one["kind"], one["metadata"]["name"]) == (kind, "conf")
    listed = (await client.get(path(kind))).json
    assert (listed["kind"], len(listed["items"])) == (f"{kind}List", 1)
    assert len((await client.get(f"/api/v1/{KINDS[kind]}")).json["items"]) == 2
    missing = await client.get(path(kind, "nope"))
    assert (missing.code, missing.json["message"]) == (404, f'{KINDS[kind]} "nope" not found')
    assert missing.json["details"] == {"name": "nope", "kind": KINDS[kind]}


async def test_a_table_tells_how_many_values_there_are_and_none_of_them(node: FakeNode, client: Client) -> None:
    node.add("ConfigMap", make_config("ConfigMap", "conf", binaryData={"logo": "AAH/"}))
    node.add("Secret", make_config("Secret", "keys"))
    node.add("Secret", make_config("Secret", "empty", data={"password": ""}) | {"data": None})
    rows = {}
    for kind in KINDS:
        table = (await client.ask("GET", f"{path(kind)}?includeObject=Metadata", headers={"accept": TABLE})).json
        assert "aHVudGVyMg==" not in json.dumps(table)
        rows[kind] = [row["cells"][:-1] for row in table["rows"]]
        assert [column["name"] for column in table["columnDefinitions"]][-1] == "Age"
    assert rows == {
        "ConfigMap": [["conf", "2"]],
        "Secret": [["empty", "Opaque", "0"], ["keys", "Opaque", "1"]],
    }


@kinds
async def test_it_is_created_once(kind: Any, node: FakeNode, client: Client) -> None:
    replies = await asyncio.gather(*(client.ask("POST", path(kind), new(kind, a="Yg==")) for _ in range(3)))
    assert sorted(reply.code for reply in replies) == [201, 409, 409]
    assert (kind, "default", "conf") in node.objects
    again = await client.ask("POST", path(kind), new(kind))
    assert (again.json["reason"], again.json["message"]) == ("AlreadyExists", f'{KINDS[kind]} "conf" already exists')


@kinds
async def test_it_is_replaced_if_it_is_still_the_version_that_was_read(
    kind: Any, node: FakeNode, client: Client
) -> None:
    assert (await client.ask("PUT", path(kind, "conf"), new(kind))).code == 404
    node.add(kind, make_config(kind, "conf"))
    stale = new(kind, a="Yg==")
    stale["metadata"]["resourceVersion"] = "1"
    reply = await client.ask("PUT", path(kind, "conf"), stale)
    assert (reply.code, reply.json["reason"]) == (409, "Conflict")
    assert f'cannot be fulfilled on {KINDS[kind]} "conf"' in reply.json["message"]
    assert (await client.ask("PUT", path(kind, "conf"), new(kind, a="Yg=="))).code == 200
    assert node.objects[kind, "default", "conf"]["data"] == {"a": "Yg=="}


@kinds
async def test_server_side_apply_makes_and_changes_it(kind: Any, node: FakeNode, client: Client) -> None:
    headers = {"content-type": "application/apply-patch+yaml"}
    assert (await client.ask("PATCH", path(kind, "conf"), new(kind), headers=headers)).code == 201
    assert (await client.ask("PATCH", path(kind, "conf"), new(kind, a="Yg=="), headers=headers)).code == 200
    assert node.objects[kind, "default", "conf"]["data"] == {"a": "Yg=="}


@kinds
async def test_it_is_deleted_alone_or_with_all_that_are_selected(kind: Any, node: FakeNode, client: Client) -> None:
    for name in ("a", "b", "c"):
        node.add(kind, make_config(kind, name, metadata={"labels": {"app": name}}))
    assert (await client.ask("DELETE", f"{path(kind, 'a')}?dryRun=All")).code == 200
    assert (kind, "default", "a") in node.objects
    assert (await client.ask("DELETE", path(kind, "a"))).code == 200
    assert (await client.ask("DELETE", path(kind, "a"))).code == 404
    assert (await client.ask("DELETE", f"{path(kind)}?labelSelector=app%3Db")).code == 200
    assert [name for of, _, name in node.objects if of == kind] == ["c"]


@kinds
async def test_it_is_watched(kind: Any, node: FakeNode, client: Client) -> None:
    async with client.stream("GET", f"{path(kind)}?watch=true&resourceVersion={node.revision}") as watch:
        node.add(kind, make_config(kind, "conf"))
        node.remove(kind, "default", "conf")
        for expected in ("ADDED", "DELETED"):
            type_, item = await watch.event()
            assert (type_, item["kind"], item["metadata"]["name"]) == (expected, kind, "conf")


@kinds
async def test_another_kind_than_the_paths_is_refused(kind: Any, client: Client) -> None:
    other = next(name for name in KINDS if name != kind)
    reply = await client.ask("POST", path(kind), new(other))
    assert reply.code == 400
    assert f"this resource is v1, Kind={kind}" in reply.json["message"]


@kinds
async def test_what_is_wrong_is_told_field_by_field(kind: Any, node: FakeNode, client: Client) -> None:
    node.problems = (Problem("Forbidden: field is immutable when `immutable` is set", field="data"),)
    reply = await client.ask("POST", path(kind), new(kind))
    message = f'{kind} "conf" is invalid: data: Forbidden: field is immutable when `immutable` is set'
    assert (reply.code, reply.json["message"]) == (422, message)
    assert reply.json["details"]["kind"] == kind


async def test_documents_are_created_and_what_is_there_is_left(node: FakeNode, client: Client) -> None:
    node.add("ConfigMap", make_config("ConfigMap", "conf"))
    body = "\n---\n".join(json.dumps(new(kind, a="Yg==")) for kind in KINDS)
    reply = await client.ask("POST", "/apis/node.minikube-lite/v1/create", body.encode())
    results = [(item["kind"], item["result"]) for item in reply.json["items"]]
    assert results == [("ConfigMap", "exists"), ("Secret", "created")]
