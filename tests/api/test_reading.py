"""What a client reads: discovery, lists, single objects, tables, and the shapes it may ask for."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.api.fake_node import FakeNode, make_event, make_pod
from tests.api.http_client import TABLE, Client

PODS = "/api/v1/namespaces/default/pods"


def names(reply: Any) -> list[str]:
    return [item["metadata"]["name"] for item in reply.json["items"]]


async def test_discovery_names_every_resource_and_its_verbs(client: Client) -> None:
    assert (await client.get("/api")).json["versions"] == ["v1"]
    assert (await client.get("/apis")).json["groups"] == []
    resources = {entry["name"]: entry for entry in (await client.get("/api/v1")).json["resources"]}
    pods = {"pods", "pods/exec", "pods/log", "pods/status"}
    assert set(resources) == pods | {"configmaps", "events", "namespaces", "nodes", "persistentvolumeclaims", "secrets"}
    assert resources["pods"]["shortNames"] == ["po"]
    assert resources["pods"]["namespaced"]
    assert not resources["nodes"]["namespaced"]


async def test_the_version_is_kubernetes_and_ours(client: Client) -> None:
    version = (await client.get("/version")).json
    assert (version["major"], version["minor"]) == ("1", "32")
    assert version["gitVersion"] == "v1.32.0+minikube-lite-0.1.0"


@pytest.mark.parametrize("path", ["/healthz", "/livez", "/readyz"])
async def test_a_living_node_says_ok(client: Client, path: str) -> None:
    assert (await client.get(path)).body == b"ok"


async def test_every_answer_has_a_date(client: Client) -> None:
    assert (await client.get("/api")).headers["date"] == "Wed, 01 May 2024 12:05:00 GMT"


async def test_a_list_has_the_collections_version_and_whole_objects(node: FakeNode, client: Client) -> None:
    reply = await client.get(PODS)
    assert reply.code == 200
    assert reply.headers["content-type"] == "application/json"
    assert reply.json["kind"] == "PodList"
    assert reply.json["metadata"]["resourceVersion"] == str(node.revision)
    assert reply.json["items"][0]["status"]["phase"] == "Running"


async def test_a_list_is_of_one_namespace_or_of_all(node: FakeNode, client: Client) -> None:
    node.add("Pod", make_pod("other", "lab"))
    assert names(await client.get(PODS)) == ["web"]
    assert names(await client.get("/api/v1/namespaces/lab/pods")) == ["other"]
    assert names(await client.get("/api/v1/pods")) == ["web", "other"]
    assert names(await client.get("/api/v1/namespaces/nowhere/pods")) == []
    assert names(await client.get("/api/v1/pods?limit=1&continue=x&resourceVersion=0")) == ["web", "other"]


async def test_nodes_namespaces_and_events_are_there_too(node: FakeNode, client: Client) -> None:
    node.add("Event", make_event())
    assert names(await client.get("/api/v1/nodes")) == ["box"]
    assert (await client.get("/api/v1/nodes/box")).json["kind"] == "Node"
    assert names(await client.get("/api/v1/namespaces")) == ["default"]
    assert (await client.get("/api/v1/namespaces/default")).json["kind"] == "Namespace"
    assert names(await client.get("/api/v1/events")) == ["web.1"]
    assert names(await client.get("/api/v1/namespaces/default/events")) == ["web.1"]
    assert (await client.get("/api/v1/namespaces/default/events/web.1")).json["reason"] == "Started"


async def test_one_pod_is_got_by_name_and_its_status_by_path(client: Client) -> None:
    assert (await client.get(f"{PODS}/web")).json["metadata"]["name"] == "web"
    assert (await client.get(f"{PODS}/web/status")).json["status"]["phase"] == "Running"


async def test_a_connection_serves_many_requests(client: Client) -> None:
    reader, writer = await asyncio.open_unix_connection(str(client.socket))
    for _ in range(3):
        writer.write(b"GET /healthz HTTP/1.1\r\nhost: node\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200")
        assert await reader.readexactly(2) == b"ok"
    writer.close()


async def test_pretty_is_for_people(client: Client) -> None:
    assert b'\n  "kind": "Pod"' in (await client.get(f"{PODS}/web?pretty=true")).body
    assert b"\n  " not in (await client.get(f"{PODS}/web")).body


# -- tables ----------------------------------------------------------------------------------------------------------


def cells(table: Any, wide: bool = True) -> list[dict[str, Any]]:
    columns = [c["name"] for c in table["columnDefinitions"] if wide or c["priority"] == 0]
    return [dict(zip(columns, row["cells"], strict=False)) for row in table["rows"]]


async def test_pods_as_a_table_have_kubectls_columns(client: Client) -> None:
    table = (await client.get(PODS, TABLE)).json
    assert (table["kind"], table["apiVersion"]) == ("Table", "meta.k8s.io/v1")
    columns = [(column["name"], column["priority"]) for column in table["columnDefinitions"]]
    assert [name for name, priority in columns if priority == 0] == ["Name", "Ready", "Status", "Restarts", "Age"]
    assert [name for name, priority in columns if priority] == ["IP", "Node", "Nominated Node", "Readiness Gates"]
    assert table["rows"][0]["cells"] == ["web", "1/1", "Running", "0", "5m", "10.0.0.1", "box", "<none>", "<none>"]


async def test_readiness_gates_are_counted(node: FakeNode, client: Client) -> None:
    gates = [{"conditionType": "Ready"}, {"conditionType": "example.com/other"}]
    node.add("Pod", make_pod("web", spec={"readinessGates": gates}))
    assert cells((await client.get(PODS, TABLE)).json)[0]["Readiness Gates"] == "1/2"


async def test_a_table_of_one_object_is_its_row(client: Client) -> None:
    table = (await client.get(f"{PODS}/web", TABLE)).json
    assert [row["cells"][0] for row in table["rows"]] == ["web"]


@pytest.mark.parametrize(
    ("include", "kind", "has_spec"),
    [("", "PartialObjectMetadata", False), ("Object", "Pod", True), ("None", None, False)],
)
async def test_a_row_carries_as_much_of_its_object_as_was_asked_for(
    client: Client, include: str, kind: str | None, has_spec: bool
) -> None:
    row = (await client.get(f"{PODS}?includeObject={include}", TABLE)).json["rows"][0]
    assert row.get("object", {}).get("kind") == kind
    assert ("spec" in row.get("object", {})) == has_spec


async def test_events_as_a_table_say_what_happened_to_what(node: FakeNode, client: Client) -> None:
    node.add("Event", make_event())
    table = (await client.get("/api/v1/events", TABLE)).json
    assert cells(table, wide=True)[0] == {
        "Last Seen": "4m",
        "Type": "Normal",
        "Reason": "Started",
        "Object": "pod/web",
        "Subobject": "",
        "Source": "minikube-lite, box",
        "Message": "Started container app",
        "First Seen": "5m",
        "Count": "3",
        "Name": "web.1",
    }


async def test_nodes_and_namespaces_have_tables_too(client: Client) -> None:
    assert cells((await client.get("/api/v1/nodes", TABLE)).json)[0]["Status"] == "Unknown"
    assert (await client.get("/api/v1/namespaces", TABLE)).json["rows"][0]["cells"] == ["default", "Active", "5m"]


# -- content negotiation ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("", "PodList"),
        ("*/*", "PodList"),
        ("application/*", "PodList"),
        ("application/vnd.kubernetes.protobuf,application/json", "PodList"),
        (f"{TABLE},application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json", "Table"),
        ("application/json;as=Table;v=v2;g=meta.k8s.io,application/json", "PodList"),
        (f"{TABLE};q=0.1,application/json", "PodList"),
        ("application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io", "PartialObjectMetadataList"),
    ],
)
async def test_the_first_shape_that_is_spoken_here_is_given(client: Client, accept: str, kind: str) -> None:
    assert (await client.get(PODS, accept)).json["kind"] == kind


@pytest.mark.parametrize("accept", ["text/html", "application/vnd.kubernetes.protobuf", "application/json;q=0", ";;=,"])
async def test_a_shape_that_is_not_spoken_here_is_not_acceptable(client: Client, accept: str) -> None:
    reply = await client.get(PODS, accept)
    assert reply.code == 406
    assert reply.json["reason"] == "NotAcceptable"


# -- selectors -------------------------------------------------------------------------------------------------------


async def test_selectors_narrow_a_list(node: FakeNode, client: Client) -> None:
    node.add("Pod", make_pod("db", status={"phase": "Pending"}))
    assert names(await client.get(f"{PODS}?labelSelector=app%3Ddb")) == ["db"]
    assert names(await client.get(f"{PODS}?labelSelector=app+in+(web,db),!x")) == ["db", "web"]
    assert names(await client.get(f"{PODS}?fieldSelector=status.phase%3DRunning")) == ["web"]
    assert names(await client.get(f"{PODS}?fieldSelector=metadata.name!=web&labelSelector=app")) == ["db"]


async def test_events_are_selected_by_what_they_are_about(node: FakeNode, client: Client) -> None:
    node.add("Event", make_event())
    node.add("Event", make_event("db.1", about="db"))
    selector = "involvedObject.name=db,involvedObject.namespace=default,involvedObject.uid=uid-db"
    assert names(await client.get(f"/api/v1/namespaces/default/events?fieldSelector={selector}")) == ["db.1"]
    assert names(await client.get("/api/v1/events?fieldSelector=source=minikube-lite,reason=Started")) == [
        "db.1",
        "web.1",
    ]
