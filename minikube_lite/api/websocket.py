"""uvicorn's websocket protocol with what `exec` needs beyond it. Imported by `server` when first asked for."""

from __future__ import annotations

import asyncio
import select
import socket
from typing import Any, cast

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol


class WebSocketProtocol(WebSocketsSansIOProtocol):
    """One websocket connection."""

    def complete_scope(self, query: bytes, transport: asyncio.Transport) -> None:
        """Before the application has begun: give it the query string and `peer_gone`.

        uvicorn stops reading while the application has a message to work on, and then does not notice that the
        client has gone; the application can ask.
        """
        if not hasattr(self, "scope"):
            return  # the handshake was refused
        connection: socket.socket = transport.get_extra_info("socket")
        scope = cast("dict[str, Any]", self.scope)
        scope["query_string"] = query
        scope["extensions"]["peer_gone"] = lambda: transport.is_closing() or _hung_up(connection.fileno())


def _hung_up(descriptor: int) -> bool:
    """Whether the peer has closed, without reading what it sent before (poll(2), POLLRDHUP)."""
    poll = select.poll()
    poll.register(descriptor, select.POLLRDHUP)
    return bool(poll.poll(0))
