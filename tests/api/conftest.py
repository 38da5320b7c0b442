"""A fake node served on a real unix socket, and a client of it."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from minikube_lite.api.server import Server, serve
from tests.api.fake_node import FakeNode, make_pod
from tests.api.http_client import Client

NOW = 1714565100.0
"""2024-05-01T12:05:00Z: five minutes after the objects of `fake_node` were made."""


@pytest.fixture
def node() -> FakeNode:
    node = FakeNode()
    node.add("Pod", make_pod("web"))
    return node


@pytest.fixture
def socket() -> Iterator[Path]:
    """A short path: tmp_path may be longer than a unix socket's may be."""
    with tempfile.TemporaryDirectory(prefix="api-") as directory:
        yield Path(directory) / "api.sock"


@pytest.fixture
async def server(node: FakeNode, socket: Path) -> AsyncIterator[Server]:
    async with serve(node, socket, clock=lambda: NOW) as server:
        yield server


@pytest.fixture
async def client(server: Server, socket: Path) -> Client:
    return Client(socket)
