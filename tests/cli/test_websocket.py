"""The hand-written websocket against frames built here, whole and in pieces, and against a library's server end."""

from __future__ import annotations

import socket

import pytest
from websockets.frames import Frame, Opcode
from websockets.protocol import SERVER, Protocol, State

from minikube_lite.cli.client import Client
from minikube_lite.cli.errors import CliError
from minikube_lite.cli.websocket import WebSocket


@pytest.fixture
def websocket() -> WebSocket:
    return WebSocket(socket.socket(), "v5", b"")


@pytest.fixture(autouse=True)
def closed(websocket: WebSocket) -> None:
    websocket.connection.close()


def library() -> Protocol:
    """The server's end."""
    return Protocol(SERVER, state=State.OPEN, max_size=None)


@pytest.mark.parametrize("size", [0, 1, 5, 125, 126, 65535, 65536, 200_000])
def test_messages_of_every_size_arrive_on_both_sides(size: int, websocket: WebSocket) -> None:
    message = bytes(range(251)) * (size // 251 + 1)
    message = message[:size]
    websocket.send(message)
    other = library()
    other.receive_data(bytes(websocket.out))
    assert [bytes(event.data) for event in other.events_received() if isinstance(event, Frame)] == [message]
    other.send_binary(message)
    assert websocket.feed(b"".join(other.data_to_send())) == [message]


def test_a_message_may_come_byte_by_byte_and_in_fragments_with_a_ping_between(websocket: WebSocket) -> None:
    frames = [
        Frame(Opcode.BINARY, b"one ", fin=False),
        Frame(Opcode.PING, b"there?"),
        Frame(Opcode.CONT, b"two", fin=True),
        Frame(Opcode.TEXT, b"three"),
    ]
    data = b"".join(frame.serialize(mask=False) for frame in frames)
    assert [message for byte in data for message in websocket.feed(bytes((byte,)))] == [b"one two", b"three"]
    other = library()
    other.receive_data(bytes(websocket.out))
    [pong] = other.events_received()
    assert isinstance(pong, Frame)
    assert (pong.opcode, bytes(pong.data)) == (Opcode.PONG, b"there?")


def test_a_close_is_answered_once(websocket: WebSocket) -> None:
    data = Frame(Opcode.CLOSE, b"\x03\xe8bye").serialize(mask=False)
    assert websocket.feed(data + data) == []
    assert websocket.closed
    other = library()
    other.receive_data(bytes(websocket.out))
    [close] = other.events_received()
    assert isinstance(close, Frame)
    assert (close.opcode, bytes(close.data)) == (Opcode.CLOSE, b"\x03\xe8")


@pytest.mark.parametrize("head", [b"", b"Sec-WebSocket-Accept: x\r\nSec-WebSocket-Protocol: v5\r\n"])
def test_a_peer_that_cannot_shake_hands_is_refused(head: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = socket.socketpair()
    monkeypatch.setattr(Client, "connect", lambda self: ours)
    with theirs:
        theirs.sendall(b"HTTP/1.1 101 Switching Protocols\r\n" + head + b"\r\n")
        with pytest.raises(CliError, match="does not speak the protocol of exec"):
            WebSocket.open(Client("", ""), "/exec", [], ["v5"])
