"""What a client changes: create, replace, server-side apply, delete, and whole manifest files."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from minikube_lite.node.service import ServiceError
from minikube_lite.spec.problems import Problem
from tests.api.fake_node import FakeNode, make_pod
from tests.api.http_client import Client

PODS = "/api/v1/namespaces/default/pods"
NEW: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "new"},
    "spec": {"containers": [{"name": "app", "image": "host"}]},
}
APPLY = {"content-type": "application/apply-patch+yaml"}


def calls(node: FakeNode, name: str) -> list[dict[str, Any]]:
    return [arguments for called, arguments in node.calls if called == name]


async def test_a_created_pod_is_answered_as_the_node_shows_it(node: FakeNode, client: Client) -> None:
    reply = await client.ask("POST", PODS, NEW)
    assert reply.code == 201
    assert reply.json["metadata"]["uid"] == "uid-new"
    assert ("Pod", "default", "new") in node.objects


async def test_creating_what_is_there_is_already_exists(client: Client) -> None:
    reply = await client.ask("POST", PODS, NEW | {"metadata": {"name": "web"}})
    assert reply.code == 409
    assert reply.json["reason"] == "AlreadyExists"
    assert reply.json["message"] == 'pods "web" already exists'


async def test_a_manifest_is_written_without_what_the_node_adds(node: FakeNode, client: Client) -> None:
    again = make_pod("copy", metadata={"resourceVersion": "7", "managedFields": [], "annotations": {"a": "1e3"}})
    again["metadata"]["name"] = "copy"
    await client.ask("POST", PODS, again)
    written = json.loads(calls(node, "apply")[0]["data"])
    assert set(written) == {"apiVersion", "kind", "metadata", "spec"}
    assert written["metadata"] == {
        "name": "copy",
        "namespace": "default",
        "labels": {"app": "web"} | {"app": "copy"},
        "annotations": {"a": "1e3"},
    }


async def test_a_name_is_made_up_where_only_its_beginning_is_given(node: FakeNode, client: Client) -> None:
    reply = await client.ask("POST", PODS, NEW | {"metadata": {"generateName": "job-"}})
    name = reply.json["metadata"]["name"]
    assert name.startswith("job-")
    assert len(name) == 9
    assert ("Pod", "default", name) in node.objects


async def test_a_dry_run_changes_nothing(node: FakeNode, client: Client) -> None:
    reply = await client.ask("POST", f"{PODS}?dryRun=All", NEW)
    assert (reply.code, reply.json["metadata"]["name"]) == (201, "new")
    assert ("Pod", "default", "new") not in node.objects
    assert (await client.ask("DELETE", f"{PODS}/web?dryRun=All")).code == 200
    assert (await client.ask("DELETE", f"{PODS}/web", {"dryRun": ["All"]})).code == 200
    assert ("Pod", "default", "web") in node.objects
    assert (await client.ask("DELETE", f"{PODS}/web?dryRun=Some")).code == 400


async def test_what_is_wrong_with_a_pod_is_told_field_by_field(node: FakeNode, client: Client) -> None:
    node.problems = (
        Problem("unknown field", field="spec.contianers", hint='did you mean "containers"?'),
        Problem("required", field="spec.containers"),
    )
    reply = await client.ask("POST", PODS, NEW)
    assert (reply.code, reply.json["reason"]) == (422, "Invalid")
    assert 'did you mean "containers"?' in reply.json["message"]
    fields = [cause["field"] for cause in reply.json["details"]["causes"]]
    assert fields == ["spec.contianers", "spec.containers"]


async def test_a_problem_without_a_field_is_in_the_message_alone(node: FakeNode, client: Client) -> None:
    node.problems = (Problem("tabs are not allowed", "request", 3, 1),)
    status = (await client.ask("POST", PODS, NEW)).json
    assert status["message"] == 'Pod "new" is invalid: tabs are not allowed'
    assert "causes" not in status["details"]


async def test_two_who_create_the_same_pod_at_once_make_one(node: FakeNode, client: Client) -> None:
    replies = await asyncio.gather(*(client.ask("POST", PODS, NEW) for _ in range(5)))
    assert sorted(reply.code for reply in replies) == [201, 409, 409, 409, 409]


async def test_warnings_travel_in_their_header(node: FakeNode, client: Client) -> None:
    node.warnings = ('spec.x: "é" is\nignored',)
    reply = await client.ask("POST", PODS, NEW)
    assert reply.headers["warning"] == '299 - "spec.x: \\"\\\\xe9\\" is ignored"'


async def test_replacing_needs_a_pod_that_is_there(node: FakeNode, client: Client) -> None:
    assert (await client.ask("PUT", f"{PODS}/new", NEW)).code == 404
    reply = await client.ask("PUT", f"{PODS}/web", NEW | {"metadata": {"name": "web", "labels": {"v": "2"}}})
    assert reply.code == 200
    assert node.objects["Pod", "default", "web"]["metadata"]["labels"] == {"v": "2"}


async def test_replacing_an_older_version_is_a_conflict(node: FakeNode, client: Client) -> None:
    stale = NEW | {"metadata": {"name": "web", "resourceVersion": "1"}}
    reply = await client.ask("PUT", f"{PODS}/web", stale)
    assert (reply.code, reply.json["reason"]) == (409, "Conflict")
    current = str(node.objects["Pod", "default", "web"]["metadata"]["resourceVersion"])
    fresh = NEW | {"metadata": {"name": "web", "resourceVersion": current}}
    assert (await client.ask("PUT", f"{PODS}/web", fresh)).code == 200


async def test_server_side_apply_creates_and_then_replaces(client: Client) -> None:
    body = json.dumps(NEW).encode()
    target = f"{PODS}/new?fieldManager=test&force=true"
    assert (await client.ask("PATCH", target, body, APPLY)).code == 201
    assert (await client.ask("PATCH", target, body, APPLY)).code == 200


@pytest.mark.parametrize(
    "media_type",
    ["application/merge-patch+json", "application/strategic-merge-patch+json", "application/json-patch+json"],
)
async def test_other_patches_are_refused_with_what_works(client: Client, media_type: str) -> None:
    reply = await client.ask("PATCH", f"{PODS}/web", b"{}", {"content-type": media_type})
    assert (reply.code, reply.json["reason"]) == (415, "UnsupportedMediaType")
    assert "--server-side" in reply.json["message"]


@pytest.mark.parametrize(
    "body",
    [
        NEW | {"kind": "Service"},
        NEW | {"apiVersion": "v2"},
        NEW | {"metadata": {"name": "new", "namespace": "lab"}},
        NEW | {"metadata": {"name": 5}},
        NEW | {"metadata": []},
        [],
        "text",
        None,
        b"{",
        b"\xff\xfe",
        b'{"a": NaN}',
        b"[" * 100_000,
        json.dumps(NEW).replace('"host"', "1e999").encode(),
    ],
)
async def test_a_body_that_is_no_pod_is_a_bad_request(client: Client, body: Any) -> None:
    reply = await client.ask("POST", PODS, json.dumps(body).encode() if body is None else body)
    assert (reply.code, reply.json["reason"]) == (400, "BadRequest")


async def test_the_path_and_the_body_must_name_the_same_pod(client: Client) -> None:
    reply = await client.ask("PUT", f"{PODS}/web", NEW)
    assert reply.code == 400
    assert "does not match" in reply.json["message"]


YAML = b"# in yaml\napiVersion: v1\nkind: Pod\nmetadata: {name: new}\nspec: {containers: [{name: app, image: host}]}\n"


@pytest.mark.parametrize(
    ("method", "path", "media_type"),
    [
        ("POST", "", "application/yaml"),
        ("PATCH", "/new", "application/apply-patch+yaml; charset=utf-8"),
    ],
)
async def test_yaml_is_as_good_as_json(node: FakeNode, client: Client, method: str, path: str, media_type: str) -> None:
    target = f"/api/v1/namespaces/lab/pods{path}"
    assert (await client.ask(method, target, YAML, {"content-type": media_type})).code == 201
    assert ("Pod", "lab", "new") in node.objects


@pytest.mark.parametrize(
    "body", [b"a: [", b"", b"--- \n", b"- a", b"text", b"a: 1\n---\nb: 2\n", b"\x00\x01", b"\tx: 1"]
)
async def test_yaml_that_is_no_pod_is_a_bad_request(client: Client, body: bytes) -> None:
    reply = await client.ask("POST", PODS, body, {"content-type": "application/yaml"})
    assert (reply.code, reply.json["reason"]) == (400, "BadRequest")


async def test_a_lone_surrogate_does_no_harm(node: FakeNode, client: Client) -> None:
    body = json.dumps(NEW | {"metadata": {"name": "new", "annotations": {"a": "\ud800\x7f\u2028"}}}).encode()
    assert (await client.ask("POST", PODS, body)).code == 201
    assert json.loads(calls(node, "apply")[0]["data"])["metadata"]["annotations"] == {"a": "?\x7f\u2028"}


async def test_a_body_too_large_is_refused(client: Client) -> None:
    reply = await client.ask("POST", PODS, b" " * (3 * 1024 * 1024 + 1))
    assert (reply.code, reply.json["reason"]) == (413, "RequestEntityTooLarge")
    chunked = await client.ask("POST", PODS, b" " * 4_000_000, {"transfer-encoding": "chunked", "content-length": "0"})
    assert chunked.code in (400, 413)


async def test_a_body_of_another_type_is_refused(client: Client) -> None:
    reply = await client.ask("POST", PODS, b"x", {"content-type": "application/vnd.kubernetes.protobuf"})
    assert (reply.code, reply.json["reason"]) == (415, "UnsupportedMediaType")


# -- delete ----------------------------------------------------------------------------------------------------------


async def test_a_deleted_pod_is_answered_as_it_was(node: FakeNode, client: Client) -> None:
    reply = await client.ask("DELETE", f"{PODS}/web")
    assert (reply.code, reply.json["metadata"]["name"]) == (200, "web")
    assert ("Pod", "default", "web") not in node.objects
    again = await client.ask("DELETE", f"{PODS}/web")
    assert (again.code, again.json["message"]) == (404, 'pods "web" not found')


@pytest.mark.parametrize(
    ("query", "body", "grace"),
    [
        ("", None, None),
        ("?gracePeriodSeconds=0", None, 0.0),
        ("?gracePeriodSeconds=7", {"gracePeriodSeconds": 3}, 7.0),
        ("", {"kind": "DeleteOptions", "gracePeriodSeconds": 3, "propagationPolicy": "Background"}, 3.0),
    ],
)
async def test_the_grace_is_from_the_query_or_the_options(
    node: FakeNode, client: Client, query: str, body: Any, grace: float | None
) -> None:
    assert (await client.ask("DELETE", f"{PODS}/web{query}", body)).code == 200
    assert calls(node, "delete_pod")[0]["grace"] == grace


@pytest.mark.parametrize(
    ("query", "body", "code"),
    [
        ("?gracePeriodSeconds=soon", None, 400),
        ("?gracePeriodSeconds=-1", None, 422),
        ("", {"gracePeriodSeconds": "3"}, 400),
        ("", {"gracePeriodSeconds": True}, 400),
        ("", [], 400),
        ("", {"preconditions": {"uid": "another"}}, 409),
    ],
)
async def test_options_that_cannot_be_met_delete_nothing(
    node: FakeNode, client: Client, query: str, body: Any, code: int
) -> None:
    assert (await client.ask("DELETE", f"{PODS}/web{query}", body)).code == code
    assert ("Pod", "default", "web") in node.objects


async def test_a_collection_is_deleted_as_far_as_it_is_selected(node: FakeNode, client: Client) -> None:
    node.add("Pod", make_pod("db"))
    node.add("Pod", make_pod("cache"))
    reply = await client.ask("DELETE", f"{PODS}?labelSelector=app+in+(db,cache)")
    assert [item["metadata"]["name"] for item in reply.json["items"]] == ["cache", "db"]
    assert [item["metadata"]["name"] for item in node.list("Pod").items] == ["web"]


# -- whole files -----------------------------------------------------------------------------------------------------

OWN = "/apis/node.minikube-lite/v1"


async def test_apply_hands_on_the_files_bytes_and_answers_per_document(node: FakeNode, client: Client) -> None:
    data = (
        b"# a comment\n"
        + json.dumps(NEW).encode()
        + b"\n---\n"
        + json.dumps(NEW | {"metadata": {"name": "b"}}).encode()
    )
    node.warnings = ("careful",)
    reply = await client.ask("POST", f"{OWN}/apply?source=dir/a.yaml&baseDir=/srv&namespace=lab", data)
    assert reply.code == 200
    assert reply.json["kind"] == "ApplyOutcome"
    assert reply.json["items"][0] == {
        "kind": "Pod",
        "namespace": "lab",
        "name": "new",
        "result": "created",
        "warnings": ["careful"],
        "message": "",
    }
    (call,) = calls(node, "apply")
    assert call == {"data": data, "source": "dir/a.yaml", "base_dir": "/srv", "namespace": "lab", "dry": False}


async def test_apply_tells_each_problem_with_its_place(node: FakeNode, client: Client) -> None:
    node.problems = (Problem("unknown field", "a.yaml", 3, 7, "spec.x", "did you mean y?"),)
    reply = await client.ask("POST", f"{OWN}/apply?source=a.yaml&dryRun=All", b"x")
    assert reply.json["problems"] == [
        {
            "message": "unknown field",
            "source": "a.yaml",
            "line": 3,
            "column": 7,
            "field": "spec.x",
            "hint": "did you mean y?",
        }
    ]
    assert calls(node, "apply")[0]["dry"]


async def test_apply_takes_files_larger_than_an_object_may_be(node: FakeNode, client: Client) -> None:
    data = b"#" * (8 * 1024 * 1024)
    node.problems = (Problem("nothing in it"),)
    assert (await client.ask("POST", f"{OWN}/apply", data)).code == 200
    assert calls(node, "apply")[0]["data"] == data


async def test_delete_takes_a_files_pods_away(node: FakeNode, client: Client) -> None:
    data = json.dumps(NEW | {"metadata": {"name": "web"}}).encode()
    target = f"{OWN}/delete?namespace=default&gracePeriodSeconds=2"
    assert (await client.ask("POST", target, data)).json["items"][0]["result"] == "deleted"
    assert (await client.ask("POST", target, data)).json["items"][0]["result"] == "not found"
    assert calls(node, "delete_documents")[0]["grace"] == 2.0


async def test_what_the_node_cannot_do_is_told_in_its_words(
    node: FakeNode, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(*_: Any, **__: Any) -> Any:
        raise ServiceError(507, "InternalError", "cannot write manifests: No space left on device")

    monkeypatch.setattr(node, "apply", full)
    reply = await client.ask("POST", f"{OWN}/apply", b"x")
    assert (reply.code, reply.json["message"]) == (507, "cannot write manifests: No space left on device")
