"""`GET …/pods/{name}/log` over HTTP; what a log is made of is tested in test_log_reader."""

from __future__ import annotations

from pathlib import Path

import pytest

from minikube_lite.api.server import Server
from minikube_lite.node.service import LogFiles
from tests.api.fake_node import FakeNode, log_file
from tests.api.http_client import Client

LOG = "/api/v1/namespaces/default/pods/web/log"


@pytest.fixture
def log(node: FakeNode, tmp_path: Path) -> Path:
    path = log_file(tmp_path / "0.log", "stdout F one", "stderr F two", "stdout F three")
    node.logs["web", None, False] = node.logs["web", "app", False] = LogFiles((path,), running=False)
    return path


async def test_a_log_is_plain_text(log: Path, client: Client) -> None:
    reply = await client.get(LOG)
    assert (reply.code, reply.body) == (200, b"one\ntwo\nthree\n")
    assert reply.headers["content-type"].startswith("text/plain")


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("container=app", b"one\ntwo\nthree\n"),
        ("tailLines=1", b"three\n"),
        ("tailLines=0", b""),
        ("limitBytes=5", b"one\nt"),
        ("sinceTime=2024-05-01T12:00:01Z", b"two\nthree\n"),
        ("sinceSeconds=298", b"three\n"),
        ("sinceSeconds=100000", b"one\ntwo\nthree\n"),
        ("timestamps=true&tailLines=1", b"2024-05-01T12:00:02.5Z three\n"),
        ("follow=true", b"one\ntwo\nthree\n"),
    ],
)
async def test_the_parameters_are_kubernetes(log: Path, client: Client, query: str, expected: bytes) -> None:
    assert (await client.get(f"{LOG}?{query}")).body == expected


async def test_the_previous_run_has_its_own_log(node: FakeNode, client: Client, tmp_path: Path) -> None:
    node.logs["web", None, True] = LogFiles((log_file(tmp_path / "1.log", "stdout F before"),), running=False)
    assert (await client.get(f"{LOG}?previous=true")).body == b"before\n"


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("tailLines=-1", 422),
        ("tailLines=all", 400),
        ("limitBytes=0", 422),
        ("sinceSeconds=0", 422),
        ("sinceSeconds=1&sinceTime=2024-05-01T12:00:00Z", 422),
        ("sinceTime=yesterday", 400),
        ("container=none", 400),
        ("previous=true", 400),
    ],
)
async def test_what_cannot_be_shown_is_a_status(log: Path, client: Client, query: str, code: int) -> None:
    reply = await client.get(f"{LOG}?{query}")
    assert (reply.code, reply.json["kind"]) == (code, "Status")


async def test_a_pod_that_is_not_there_has_no_log(client: Client) -> None:
    assert (await client.get("/api/v1/namespaces/default/pods/none/log")).code == 404


async def test_a_followed_log_comes_as_it_is_written(log: Path, node: FakeNode, client: Client) -> None:
    node.logs["web", None, False] = LogFiles((log,), running=True)
    async with client.stream("GET", f"{LOG}?follow=true&tailLines=1") as stream:
        assert await stream.line() == b"three\n"
        with log.open("a") as file:
            file.write("2024-05-01T12:00:09Z stdout F four\n")
        assert await stream.line() == b"four\n"
        node.logs["web", None, False] = LogFiles((log,), running=False)
        assert await stream.line() == b""


async def test_the_nodes_stop_ends_a_followed_log(log: Path, node: FakeNode, server: Server, client: Client) -> None:
    node.logs["web", None, False] = LogFiles((log,), running=True)
    async with client.stream("GET", f"{LOG}?follow=true&tailLines=1") as stream:
        assert await stream.line() == b"three\n"
        await server.stop()
        assert await stream.line() == b""


async def test_a_big_log_arrives_whole(node: FakeNode, client: Client, tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    text = "x" * 200
    path.write_text("".join(f"2024-05-01T12:00:00Z stdout F {number} {text}\n" for number in range(50_000)))
    node.logs["web", None, False] = LogFiles((path,), running=False)
    lines = (await client.get(LOG)).body.decode().splitlines()
    assert [line.split()[0] for line in lines] == [str(number) for number in range(50_000)]
