"""The socket: who may open it, whose it is, how it ends, and that it sleeps when nobody asks."""

from __future__ import annotations

import asyncio
import errno
import os
import socket as sockets
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from minikube_lite.api.server import Server, serve
from tests.api.fake_node import FakeNode
from tests.api.http_client import Client


async def test_the_socket_is_for_its_owner_and_group(server: Server, socket: Path) -> None:
    found = os.stat(socket)
    assert stat.S_ISSOCK(found.st_mode)
    assert stat.S_IMODE(found.st_mode) == 0o660
    assert found.st_uid == os.geteuid()


async def test_the_socket_goes_when_the_node_does(node: FakeNode, socket: Path) -> None:
    async with serve(node, socket):
        assert socket.exists()
    assert not socket.exists()


async def test_a_dead_nodes_socket_is_replaced(node: FakeNode, socket: Path) -> None:
    with sockets.socket(sockets.AF_UNIX) as dead:
        dead.bind(str(socket))
    async with serve(node, socket):
        assert (await Client(socket).get("/healthz")).code == 200


async def test_a_living_nodes_socket_is_left_alone(node: FakeNode, server: Server, client: Client) -> None:
    with pytest.raises(OSError, match="another minikube-lite node serves here") as caught:
        async with serve(node, client.socket):
            pass
    assert caught.value.errno == errno.EADDRINUSE
    assert (await client.get("/healthz")).code == 200


async def test_a_file_in_the_way_is_left_alone(node: FakeNode, socket: Path) -> None:
    socket.write_text("precious")
    with pytest.raises(OSError, match="not a socket"):
        async with serve(node, socket):
            pass
    assert socket.read_text() == "precious"


async def test_a_path_too_long_is_said_to_be(node: FakeNode, socket: Path) -> None:
    with pytest.raises(OSError, match="shorter --root"):
        async with serve(node, socket.parent / ("x" * 120)):
            pass


async def test_another_nodes_socket_in_our_place_stays(node: FakeNode, socket: Path) -> None:
    async with serve(node, socket):
        socket.unlink()
        async with serve(node, socket):
            pass
        async with serve(node, socket) as second:
            kept = os.stat(socket)
            del second
            assert os.path.samestat(kept, os.stat(socket))


async def test_stopping_lets_a_short_request_finish(
    node: FakeNode, server: Server, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, go = asyncio.Event(), asyncio.Event()
    delete = node.delete_pod

    async def slow(*arguments: object) -> object:
        asked.set()
        await go.wait()
        return await delete(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(node, "delete_pod", slow)
    request = asyncio.create_task(client.ask("DELETE", "/api/v1/namespaces/default/pods/web"))
    await asked.wait()
    stopping = asyncio.create_task(server.stop())
    await asyncio.sleep(0)
    go.set()
    assert (await request).code == 200
    await stopping


async def test_stopping_does_not_wait_for_one_that_never_ends(
    node: FakeNode, server: Server, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("minikube_lite.api.server.STOP_WITHIN", 0.05)
    asked = asyncio.Event()

    async def stuck(*_: object) -> None:
        asked.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(node, "delete_pod", stuck)
    reader, writer = await asyncio.open_unix_connection(str(client.socket))
    writer.write(b"DELETE /api/v1/namespaces/default/pods/web HTTP/1.1\r\nhost: node\r\n\r\n")
    await asked.wait()
    async with asyncio.timeout(10):
        await server.stop()
        await reader.read()
    writer.close()


async def test_stopping_closes_connections_that_only_wait(server: Server, client: Client) -> None:
    reader, writer = await asyncio.open_unix_connection(str(client.socket))
    while not server.state.connections:
        await asyncio.sleep(0.01)
    async with asyncio.timeout(10):
        await server.stop()
        assert await reader.read() == b""
    writer.close()


async def test_stopping_does_not_hang_on_a_client_that_does_not_read(
    node: FakeNode, server: Server, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("minikube_lite.api.server.STOP_WITHIN", 0.05)
    node.objects["Pod", "default", "web"]["metadata"]["annotations"] = {"big": "x" * 5_000_000}
    _, writer = await asyncio.open_unix_connection(str(client.socket), limit=1024)
    writer.write(b"GET /api/v1/pods?watch=true HTTP/1.1\r\nhost: node\r\n\r\n")
    while not server.state.tasks:
        await asyncio.sleep(0.01)
    async with asyncio.timeout(10):
        await server.stop()
    writer.transport.abort()


async def test_an_idle_server_has_nothing_to_wake_for(server: Server, client: Client) -> None:
    """No timer is left in the loop once a connection has gone: that is what wakes an idle asyncio program."""
    assert (await client.get("/healthz")).code == 200
    while server.state.connections:
        await asyncio.sleep(0.01)
    timers = [timer for timer in asyncio.get_running_loop()._scheduled if not timer.cancelled()]  # type: ignore[attr-defined]
    assert timers == []


def test_the_websocket_library_is_not_loaded_before_it_is_needed() -> None:
    code = (
        "import sys, minikube_lite.api.server; print([name for name in sys.modules if name.startswith('websockets')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
