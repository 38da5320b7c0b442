"""The client's end of a websocket (RFC 6455), as bytes in and bytes out. Called by streaming.

Written by hand like cli.client, and for the same reason: importing a library takes longer than a whole `exec`.
Whoever uses it moves the bytes: what `feed` is given has been read from the socket, what is in `out` is to be sent.
"""

from __future__ import annotations

import binascii
import hashlib
import os

from minikube_lite.cli.client import Client, Response, target
from minikube_lite.cli.errors import ApiError, CliError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence

    from minikube_lite.cli.client import Query

MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
FINAL, MASKED = 0x80, 0x80


class WebSocket:
    """An open websocket on `connection`, which the caller closes."""

    def __init__(self, connection: socket.socket, protocol: str, received: bytes) -> None:
        self.connection = connection
        self.protocol = protocol
        """The subprotocol that the server chose."""
        self.out = bytearray()
        """Bytes to be sent."""
        self.closed = False
        """Whether the server has said that nothing more will come."""
        self._in = bytearray(received)
        self._message = bytearray()

    @classmethod
    def open(cls, client: Client, path: str, query: Query, protocols: Sequence[str]) -> WebSocket:
        """Connect and shake hands. Raises ApiError where the server refuses, CliError where there is none."""
        key = binascii.b2a_base64(os.urandom(16), newline=False)
        head = [
            f"GET {target(path, query)} HTTP/1.1",
            "Host: localhost",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Key: {key.decode()}",
            "Sec-WebSocket-Version: 13",
            f"Sec-WebSocket-Protocol: {', '.join(protocols)}",
        ]
        connection = client.connect()
        try:
            connection.sendall("\r\n".join([*head, "", ""]).encode("ascii"))
            answer = Response(connection)
            if answer.status != 101:
                raise ApiError.of(answer.status, answer.json_or_none())
            accept = binascii.b2a_base64(hashlib.sha1(key + MAGIC, usedforsecurity=False).digest(), newline=False)
            protocol = answer.headers.get("sec-websocket-protocol", "")
            if answer.headers.get("sec-websocket-accept") != accept.decode() or protocol not in protocols:
                raise CliError("what answers at the socket does not speak the protocol of exec")
            return cls(connection, protocol, answer.rest())
        except BaseException:
            connection.close()
            raise

    def send(self, message: bytes, opcode: int = BINARY) -> None:
        """Put a message, as one frame, into `out`."""
        size = len(message)
        if size < 126:
            length = bytes((MASKED | size,))
        elif size < 1 << 16:
            length = bytes((MASKED | 126,)) + size.to_bytes(2, "big")
        else:
            length = bytes((MASKED | 127,)) + size.to_bytes(8, "big")
        mask = os.urandom(4)
        self.out += bytes((FINAL | opcode,)) + length + mask + _masked(message, mask)

    def feed(self, data: bytes) -> list[bytes]:
        """The messages that are whole now. Pings are answered, and a close is, by what goes into `out`."""
        self._in += data
        messages = []
        while (frame := self._frame()) is not None:
            final, opcode, payload = frame
            if opcode == PING:
                self.send(payload, PONG)
            elif opcode == CLOSE and not self.closed:
                self.closed = True
                self.send(payload[:2], CLOSE)
            elif opcode in (CONTINUATION, TEXT, BINARY):
                self._message += payload
                if final:
                    messages.append(bytes(self._message))
                    self._message.clear()
        return messages

    def _frame(self) -> tuple[bool, int, bytes] | None:
        """(final, opcode, payload) of the next frame; None where it is not all there yet. A server's has no mask."""
        if len(self._in) < 2:
            return None
        size, start = self._in[1] & 0x7F, 2
        if size >= 126:
            start = 4 if size == 126 else 10
            if len(self._in) < start:
                return None
            size = int.from_bytes(self._in[2:start], "big")
        if len(self._in) < start + size:
            return None
        first, payload = self._in[0], bytes(self._in[start : start + size])
        del self._in[: start + size]
        return bool(first & FINAL), first & 0x0F, payload


def _masked(data: bytes, mask: bytes) -> bytes:
    """Each byte of `data` XOR the byte of the mask that goes round with it: as one large number, which is quick."""
    repeated = (mask * (len(data) // 4 + 1))[: len(data)]
    return (int.from_bytes(data, "big") ^ int.from_bytes(repeated, "big")).to_bytes(len(data), "big")
