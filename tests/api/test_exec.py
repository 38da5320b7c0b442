"""`…/pods/{name}/exec` over a websocket, spoken as a Kubernetes client speaks it."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from structlog.testing import capture_logs
from websockets.asyncio.client import ClientConnection, unix_connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from minikube_lite.api.server import Server
from tests.api.fake_node import FakeNode
from tests.api.http_client import Client

STDIN, STDOUT, STDERR, ERROR, RESIZE, CLOSE = 0, 1, 2, 3, 4, 255
pytestmark = pytest.mark.usefixtures("server")


@dataclass
class Outcome:
    out: bytes = b""
    err: bytes = b""
    status: dict[str, Any] = field(default_factory=dict)
    error: bytes = b""

    @property
    def code(self) -> int:
        if self.status.get("status") == "Success":
            return 0
        assert self.status["reason"] == "NonZeroExitCode"
        return int(self.status["details"]["causes"][0]["message"])


@asynccontextmanager
async def exec_(
    socket: Path, *command: str, protocol: str | None = "v5.channel.k8s.io", pod: str = "web", **options: Any
) -> AsyncIterator[ClientConnection]:
    query = urlencode(
        [("command", part) for part in command] + list(({"stdout": "true", "stderr": "true"} | options).items())
    )
    uri = f"ws://node/api/v1/namespaces/default/pods/{pod}/exec?{query}"
    protocols = [Subprotocol(protocol)] if protocol else None
    async with asyncio.timeout(30), unix_connect(str(socket), uri, subprotocols=protocols, max_size=None) as websocket:
        yield websocket


async def outcome(websocket: ClientConnection) -> Outcome:
    """Everything until the server closes."""
    seen = Outcome()
    async for message in websocket:
        assert isinstance(message, bytes)
        channel, data = message[0], message[1:]
        if channel == STDOUT:
            seen.out += data
        elif channel == STDERR:
            seen.err += data
        else:
            assert channel == ERROR
            seen.error += data
    if seen.error[:1] == b"{":
        seen.status = json.loads(seen.error)
    return seen


async def run(socket: Path, *command: str, **options: Any) -> Outcome:
    async with exec_(socket, *command, **options) as websocket:
        return await outcome(websocket)


async def gone(node: FakeNode) -> None:
    """The only session has been closed and its process is dead."""
    async with asyncio.timeout(10):
        while not node.sessions or not node.sessions[0].closed or not node.sessions[0].ended.is_set():
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("protocol", ["v5.channel.k8s.io", "v4.channel.k8s.io"])
async def test_both_outputs_and_success_are_told(node: FakeNode, socket: Path, protocol: str) -> None:
    seen = await run(socket, "sh", "-c", "echo out; echo err >&2", protocol=protocol)
    assert (seen.out, seen.err, seen.code) == (b"out\n", b"err\n", 0)
    assert seen.status == {"metadata": {}, "status": "Success"}
    await gone(node)


async def test_an_exit_code_is_told_as_kubernetes_tells_it(socket: Path) -> None:
    seen = await run(socket, "sh", "-c", "exit 3")
    assert seen.status["status"] == "Failure"
    assert seen.status["reason"] == "NonZeroExitCode"
    assert seen.status["details"] == {"causes": [{"reason": "ExitCode", "message": "3"}]}
    assert "exit status 3" in seen.status["message"]


async def test_a_killed_command_is_128_and_its_signal(socket: Path) -> None:
    assert (await run(socket, "sh", "-c", "kill -9 $$")).code == 137


async def test_the_command_arrives_word_by_word(node: FakeNode, socket: Path) -> None:
    seen = await run(socket, "printf", "[%s]", "a b", "", "ü&=+%", container="app")
    assert seen.out.decode() == "[a b][][ü&=+%]"
    assert node.calls[-1][1] | {"command": None} == {"container": "app", "command": None, "tty": False, "stdin": False}


async def test_a_command_longer_than_a_request_line_usually_is(socket: Path) -> None:
    script = "echo hello; " + "# " + "x" * 100_000
    assert (await run(socket, "sh", "-c", script)).out == b"hello\n"


async def test_stdin_is_fed_and_closed(socket: Path) -> None:
    async with exec_(socket, "sh", "-c", "cat; echo end", stdin="true") as websocket:
        await websocket.send(bytes([STDIN]) + b"hello ")
        await websocket.send(bytes([STDIN]) + b"world\n")
        await websocket.send(bytes([CLOSE, STDIN]))
        seen = await outcome(websocket)
    assert (seen.out, seen.code) == (b"hello world\nend\n", 0)


async def test_every_byte_passes_both_ways_however_many(socket: Path) -> None:
    data = os.urandom(4_000_000)

    async def feed(websocket: ClientConnection) -> None:
        for start in range(0, len(data), 50_000):
            await websocket.send(bytes([STDIN]) + data[start : start + 50_000])
        await websocket.send(bytes([CLOSE, STDIN]))

    async with exec_(socket, "cat", stdin="true") as websocket, asyncio.TaskGroup() as group:
        group.create_task(feed(websocket))
        seen = await outcome(websocket)
    assert seen.out == data
    assert seen.code == 0


async def test_output_waits_for_a_client_that_does_not_read(node: FakeNode, socket: Path, tmp_path: Path) -> None:
    count = tmp_path / "count"
    script = f"i=0; while [ $i -lt 2000 ]; do printf %65536s; i=$((i+1)); echo $i > {count}; done"
    async with exec_(socket, "sh", "-c", script) as websocket:
        await websocket.recv()
        settled, before = 0, -1
        while settled < 10:  # until it writes no more
            await asyncio.sleep(0.05)
            now = int(count.read_text() or 0) if count.exists() else 0
            settled, before = (settled + 1, now) if now == before else (0, now)
        assert before < 1000  # of the 130 MB, only what the buffers between take has been written
        websocket.transport.abort()
    await gone(node)


async def test_a_command_that_ends_without_reading_its_stdin_is_no_trouble(socket: Path) -> None:
    async with exec_(socket, "true", stdin="true") as websocket:
        try:
            for _ in range(50):
                await websocket.send(bytes([STDIN]) + b"x" * 65536)
        except ConnectionClosed:
            pass  # it has ended, and has been told to
        seen = await outcome(websocket)
    assert seen.status.get("status", "Success") == "Success"


async def test_a_terminal_has_one_output_and_a_size(node: FakeNode, socket: Path) -> None:
    async with exec_(
        socket, "sh", "-c", "read line; stty size; test -t 0 && echo tty", stdin="true", tty="true"
    ) as websocket:
        await websocket.send(bytes([RESIZE]) + json.dumps({"Width": 99, "Height": 33}).encode())
        await websocket.send(bytes([STDIN]) + b"go\n")
        seen = await outcome(websocket)
    assert seen.out.replace(b"\r\n", b"\n").endswith(b"33 99\ntty\n")
    assert (seen.err, seen.code) == (b"", 0)
    assert node.sessions[0].size == (33, 99)


@pytest.mark.parametrize(
    "size", [b"", b"x", b"[]", b'{"Width": 1}', b'{"Width": -1, "Height": 1e9}', b'{"Width":"a","Height":{}}']
)
async def test_a_size_that_is_none_changes_nothing(node: FakeNode, socket: Path, size: bytes) -> None:
    async with exec_(socket, "cat", stdin="true") as websocket:
        await websocket.send(bytes([RESIZE]) + size)
        await websocket.send(b"")
        await websocket.send("text")
        await websocket.send(bytes([CLOSE, STDIN]))
        assert (await outcome(websocket)).code == 0
    assert node.sessions[0].size is None


async def test_a_client_that_goes_kills_the_command(node: FakeNode, socket: Path) -> None:
    async with exec_(socket, "sh", "-c", "echo started; sleep 1000") as websocket:
        await websocket.recv()
    await gone(node)
    assert await node.sessions[0].wait() == 137


async def test_a_client_that_vanishes_while_nobody_reads_its_input_kills_the_command(
    node: FakeNode, socket: Path
) -> None:
    async with exec_(socket, "sleep", "1000", stdin="true") as websocket:
        sender = asyncio.create_task(websocket.send(bytes([STDIN]) + b"x" * 1_000_000))
        while not node.sessions:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.2)
        sender.cancel()
        websocket.transport.abort()  # as when the client's process is killed: no closing handshake
    await gone(node)


async def test_what_a_command_leaves_running_does_not_hold_the_session(node: FakeNode, socket: Path) -> None:
    seen = await run(socket, "sh", "-c", "sleep 1000 & echo done")
    assert (seen.out, seen.code) == (b"done\n", 0)
    await gone(node)
    os.killpg(node.sessions[0].process.pid, 9)  # the fake's `close` kills only what has not ended


async def test_output_written_just_before_the_end_is_not_lost(socket: Path) -> None:
    for _ in range(20):
        seen = await run(socket, "head", "-c", "60000", "/dev/zero")
        assert len(seen.out) == 60000


async def test_the_nodes_stop_ends_the_session(node: FakeNode, server: Server, socket: Path) -> None:
    async with exec_(socket, "sleep", "1000") as websocket:
        while not node.sessions:
            await asyncio.sleep(0.01)
        await server.stop()
        with pytest.raises(ConnectionClosed):
            await websocket.recv()
    await gone(node)


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        ({"pod": "none"}, 404, 'pods "none" not found'),
        ({"container": "none"}, 400, "container none is not valid for pod web"),
    ],
)
async def test_why_it_cannot_be_done_is_told_on_the_error_channel(
    socket: Path, options: dict[str, str], code: int, message: str
) -> None:
    seen = await run(socket, "true", **options)
    assert (seen.status["kind"], seen.status["code"], seen.status["message"]) == ("Status", code, message)


async def test_a_bug_of_ours_is_told_without_its_details(
    node: FakeNode, socket: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: Any, **__: Any) -> Any:
        raise KeyError("a secret detail")

    monkeypatch.setattr(node, "exec", broken)
    with capture_logs() as logs:
        seen = await run(socket, "true")
    assert (seen.status["code"], seen.status["reason"]) == (500, "InternalError")
    assert b"secret" not in seen.error
    assert [entry["event"] for entry in logs if entry["log_level"] == "error"] == ["request_failed"]


async def test_a_command_is_needed(socket: Path) -> None:
    assert (await run(socket)).status["message"] == "you must specify at least 1 command for the exec"


@pytest.mark.parametrize("protocol", ["channel.k8s.io", None])
async def test_the_oldest_protocol_tells_only_of_failures(socket: Path, protocol: str | None) -> None:
    assert (await run(socket, "true", protocol=protocol)).error == b""
    assert b"exit status 4" in (await run(socket, "sh", "-c", "exit 4", protocol=protocol)).error


async def test_a_protocol_that_nobody_knows_is_refused(socket: Path) -> None:
    with pytest.raises(InvalidStatus) as caught:
        await run(socket, "true", protocol="v9.channel.k8s.io")
    assert caught.value.response.status_code == 400
    assert b'"kind":"Status"' in (caught.value.response.body or b"")


async def test_a_websocket_elsewhere_is_not_found(socket: Path) -> None:
    with pytest.raises(InvalidStatus) as caught:
        async with unix_connect(str(socket), "ws://node/api/v1/nothing"):
            pass
    assert caught.value.response.status_code == 404


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_without_a_websocket_exec_says_what_it_needs(client: Client, method: str) -> None:
    headers = {"connection": "upgrade", "upgrade": "SPDY/3.1"}
    reply = await client.ask(method, "/api/v1/namespaces/default/pods/web/exec?command=ls", headers=headers)
    assert (reply.code, reply.json["kind"]) == (400, "Status")
    assert "WebSocket" in reply.json["message"]
