"""A response that goes on: chunks from an async iterator, ended by the client, the node's stop or a time limit.

Used by watch and log. Starlette's StreamingResponse neither closes its iterator nor knows of the node's stop.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable

from starlette.responses import Response
from starlette.types import Receive, Scope, Send


class Stream(Response):
    """Sends each chunk as it comes. The generator is always closed, on every way out.

    `seconds` None: no limit; `last` gives what is sent once they are over.
    """

    def __init__(
        self,
        chunks: AsyncGenerator[bytes, None],
        stopping: asyncio.Event,
        *,
        media_type: str,
        seconds: float | None = None,
        last: Callable[[], bytes] = bytes,
    ) -> None:
        self.chunks = chunks
        self.stopping = stopping
        self.seconds = seconds
        self.last = last
        self.status_code = 200
        self.media_type = media_type
        self.background = None
        self.init_headers({"cache-control": "no-cache, private"})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        body = asyncio.create_task(self._send_chunks(send))
        gone = asyncio.create_task(_until_gone(receive))
        stop = asyncio.create_task(self.stopping.wait())
        tasks = (body, gone, stop)
        try:
            ended, _ = await asyncio.wait(tasks, timeout=self.seconds, return_when=asyncio.FIRST_COMPLETED)
            if body.done():
                body.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self.chunks.aclose()
        await send({"type": "http.response.body", "body": b"" if ended else self.last(), "more_body": False})

    async def _send_chunks(self, send: Send) -> None:
        async for chunk in self.chunks:
            if chunk:  # an empty HTTP chunk would end the body
                await send({"type": "http.response.body", "body": chunk, "more_body": True})


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
