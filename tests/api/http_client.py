"""A small HTTP/1.1 client over a unix socket (h11), for the tests of the API."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h11

LONGEST = 10.0
"""Seconds after which a test that waits for the API has failed."""
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"


@dataclass
class Reply:
    code: int
    headers: dict[str, str]
    body: bytes = b""

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Stream(Reply):
    """A response whose body comes as it comes."""

    chunks: AsyncIterator[bytes] = field(default=None)  # type: ignore[assignment]
    rest: bytes = b""

    async def line(self) -> bytes:
        """The next line; b"" at the end."""
        async with asyncio.timeout(LONGEST):
            while b"\n" not in self.rest:
                try:
                    self.rest += await anext(self.chunks)
                except StopAsyncIteration:
                    line, self.rest = self.rest, b""
                    return line
        line, self.rest = self.rest.split(b"\n", 1)
        return line + b"\n"

    async def event(self) -> tuple[str, Any]:
        """The next event of a watch: its type and object; ("", None) at the end."""
        line = await self.line()
        if not line:
            return "", None
        event = json.loads(line)
        return event["type"], event["object"]


class Client:
    def __init__(self, socket: Path) -> None:
        self.socket = socket

    @asynccontextmanager
    async def stream(
        self, method: str, target: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> AsyncIterator[Stream]:
        reader, writer = await asyncio.open_unix_connection(str(self.socket))
        try:
            data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
            fields = {"host": "node", "connection": "close"}
            if body is not None:
                fields |= {"content-length": str(len(data)), "content-type": "application/json"}
            fields |= headers or {}
            connection = h11.Connection(h11.CLIENT)
            request = h11.Request(method=method, target=target, headers=list(fields.items()))
            writer.write(connection.send(request) or b"")
            if data:
                writer.write(connection.send(h11.Data(data=data)) or b"")
            writer.write(connection.send(h11.EndOfMessage()) or b"")

            async def events() -> AsyncIterator[Any]:
                while True:
                    event = connection.next_event()
                    if event is h11.NEED_DATA:
                        connection.receive_data(await reader.read(65536))
                        continue
                    if isinstance(event, h11.EndOfMessage | h11.ConnectionClosed):
                        return
                    yield event

            incoming = events()

            async def chunks() -> AsyncIterator[bytes]:
                async for event in incoming:
                    yield bytes(event.data)

            async with asyncio.timeout(LONGEST):
                head = await anext(incoming)
            names = {name.decode(): value.decode() for name, value in head.headers}
            yield Stream(head.status_code, names, chunks=chunks())
        finally:
            writer.close()

    async def ask(self, method: str, target: str, body: Any = None, headers: dict[str, str] | None = None) -> Reply:
        async with asyncio.timeout(LONGEST), self.stream(method, target, body, headers) as stream:
            stream.body = b"".join([chunk async for chunk in stream.chunks])
            return stream

    async def get(self, target: str, accept: str = "application/json") -> Reply:
        return await self.ask("GET", target, headers={"accept": accept})
