"""Every failure is a `Status` with the matching HTTP code, whatever is asked."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from minikube_lite.api.app import create_app
from minikube_lite.node.service import LogFiles
from tests.api.fake_node import FakeNode, log_file, make_pod
from tests.api.http_client import Client

PODS = "/api/v1/namespaces/default/pods"


@pytest.mark.parametrize(
    "target", ["/", "/api/", "/api/v2", "/apis/apps/v1/deployments", f"{PODS}/web/nothing", "/api/v1/pods/", "/%ff%fe"]
)
async def test_an_unknown_path_is_not_found(client: Client, target: str) -> None:
    reply = await client.get(target)
    assert (reply.code, reply.json["kind"], reply.json["reason"]) == (404, "Status", "NotFound")
    assert reply.json["message"] == "the server could not find the requested resource"


async def test_an_object_that_is_not_there_is_named(client: Client) -> None:
    status = (await client.get(f"{PODS}/none")).json
    assert status == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": 'pods "none" not found',
        "reason": "NotFound",
        "details": {"name": "none", "kind": "pods"},
        "code": 404,
    }


@pytest.mark.parametrize(
    ("method", "target", "allowed"),
    [
        ("PUT", PODS, "DELETE, GET, HEAD, POST"),
        ("POST", f"{PODS}/web", "DELETE, GET, HEAD, PATCH, PUT"),
        ("DELETE", "/api/v1/nodes/box", "GET, HEAD"),
        ("POST", "/api/v1/pods", "GET, HEAD"),
        ("PUT", f"{PODS}/web/status", "GET, HEAD"),
        ("BREW", "/version", "GET, HEAD"),
        ("GET", "/apis/node.minikube-lite/v1/apply", "POST"),
    ],
)
async def test_a_method_that_does_not_fit_is_not_allowed(
    client: Client, method: str, target: str, allowed: str
) -> None:
    reply = await client.ask(method, target)
    assert (reply.code, reply.json["reason"]) == (405, "MethodNotAllowed")
    assert reply.headers["allow"] == allowed


async def test_a_bug_of_ours_is_an_internal_error_that_only_the_log_explains(
    node: FakeNode, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> Any:
        raise KeyError("a secret detail")

    monkeypatch.setattr(node, "list", broken)
    with capture_logs() as logs:
        reply = await client.get(PODS)
    assert (reply.code, reply.json["reason"]) == (500, "InternalError")
    assert "secret" not in reply.body.decode()
    (entry,) = [entry for entry in logs if entry["event"] == "request_failed"]
    assert (entry["path"], entry["log_level"]) == (PODS, "error")
    assert isinstance(entry["exc_info"], KeyError)


async def test_a_bug_in_the_middle_of_a_stream_cuts_it_and_is_logged(
    node: FakeNode, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: Any) -> Any:
        raise KeyError("oops")
        yield

    monkeypatch.setattr(node, "watch", broken)
    with capture_logs() as logs:
        reader, writer = await asyncio.open_unix_connection(str(client.socket))
        writer.write(f"GET {PODS}?watch=true HTTP/1.1\r\nhost: node\r\n\r\n".encode())
        async with asyncio.timeout(10):
            answer = await reader.read()
        writer.close()
    assert answer.startswith(b"HTTP/1.1 200")
    assert not answer.endswith(b"0\r\n\r\n")
    assert [entry["event"] for entry in logs if entry["log_level"] == "error"] == ["request_failed"]


@pytest.mark.parametrize(
    "junk", [b"hello\r\n\r\n", b"GET / HTTP/1.1\r\nhost node\r\n\r\n", b"\x16\x03\x01\x02\x00\r\n\r\n"]
)
async def test_what_is_not_http_gets_a_status_too(client: Client, junk: bytes) -> None:
    reader, writer = await asyncio.open_unix_connection(str(client.socket))
    writer.write(junk)
    async with asyncio.timeout(10):
        answer = await reader.read()
    writer.close()
    assert answer.startswith(b"HTTP/1.1 400")
    assert b'"kind":"Status"' in answer


async def ask_directly(app: Any, target: str, query: bytes) -> int:
    """One request without a socket: the code of the answer. The client goes as soon as it has it."""
    codes: list[int] = []
    answered = asyncio.Event()

    async def receive() -> dict[str, Any]:
        await answered.wait()
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            codes.append(message["status"])
            answered.set()

    scope = {"type": "http", "method": "GET", "path": target, "query_string": query, "headers": [], "root_path": ""}
    await app(scope, receive, send)
    return codes[0]


KEYS = [
    *("watch", "labelSelector", "fieldSelector", "resourceVersion", "timeoutSeconds", "allowWatchBookmarks"),
    *("sendInitialEvents", "limit", "continue", "pretty", "includeObject", "dryRun"),
    *("follow", "tailLines", "sinceSeconds", "sinceTime", "limitBytes", "timestamps", "container", "previous"),
]
VALUES = st.one_of(
    st.text(max_size=12),
    st.integers().map(str),
    st.sampled_from(
        ["true", "0", "", "a=b", "a in (b)", "metadata.name=web", "2024-05-01T12:00:00Z", "app", "1e9", "-0"]
    ),
)


@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    target=st.sampled_from([PODS, f"{PODS}/web", f"{PODS}/web/log", "/api/v1/events", "/api/v1/nodes", "/version"]),
    query=st.lists(st.tuples(st.sampled_from(KEYS), VALUES), max_size=5),
)
def test_no_query_makes_the_server_fail(tmp_path: Path, target: str, query: list[tuple[str, str]]) -> None:
    async def ask() -> int:
        node = FakeNode()
        node.add("Pod", make_pod("web"))
        file = log_file(tmp_path / "0.log", "stdout F hello")
        node.logs["web", None, False] = LogFiles((file,), running=False)
        encoded = "&".join(f"{key}={value}" for key, value in query).encode("utf-8", "surrogatepass")
        async with asyncio.timeout(10):
            return await ask_directly(create_app(node, lambda: 1714565100.0), target, encoded)

    assert asyncio.run(ask()) in (200, 400, 404, 405, 406, 410, 422)


@settings(deadline=None, max_examples=200)
@given(path=st.text(max_size=30), query=st.binary(max_size=30))
def test_no_path_makes_the_server_fail(path: str, query: bytes) -> None:
    app = create_app(FakeNode(), lambda: 0.0)
    assert asyncio.run(ask_directly(app, f"/api/v1/{path}", query)) in (200, 400, 404, 405, 406)
