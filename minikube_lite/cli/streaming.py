"""The client's end of `exec`: one websocket, one loop over socket, standard input and the window's size.

Called by commands.exec. Speaks v5.channel.k8s.io (KEP-4006): each message begins with its channel; `255, n` closes
channel n; channel 3 brings the outcome as a `Status`. Signals wake the loop through a pipe (signal.set_wakeup_fd).
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import sys
import termios
import tty
from collections.abc import Iterator
from typing import Any

from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import Event
from websockets.uri import parse_uri

from minikube_lite.cli.client import Client, target
from minikube_lite.cli.errors import ApiError, CliError
from minikube_lite.cli.session import warn

STDIN, STDOUT, STDERR, ERROR, RESIZE, CLOSE = 0, 1, 2, 3, 4, 255
PROTOCOLS = ["v5.channel.k8s.io", "v4.channel.k8s.io"]
PIECE = 32768
HIGH_WATER = 1 << 20
"""Bytes waiting to be sent above which standard input is left alone."""


class Streams:
    """One command running in a container."""

    def __init__(self, client: Client, path: str, query: list[tuple[str, str]], *, stdin: bool, tty: bool) -> None:
        self._client = client
        self._target = target(path, query)
        self._stdin = stdin
        self._tty = tty
        self._out = bytearray()
        self._status: dict[str, Any] | None = None
        self._channel = -1
        """Of the message that a continuation frame goes on with."""
        self._early: list[Event] = []
        """What came together with the answer to the handshake."""
        self._over = False

    def run(self) -> int:
        """Until the command ends; gives its exit code. Raises ApiError where it could not be started."""
        with self._client.connect() as connection:
            self._socket = connection
            self._shake_hands()
            connection.setblocking(False)
            with _terminal(self._tty), _wakeups() as wakeups:
                if self._tty:
                    self._resize()
                self._loop(wakeups)
        return self._exit_code()

    def _shake_hands(self) -> None:
        uri = parse_uri(f"ws://localhost{self._target}")
        self._protocol = ClientProtocol(uri, subprotocols=PROTOCOLS, max_size=None)  # type: ignore[arg-type]
        self._protocol.send_request(self._protocol.connect())
        for data in self._protocol.data_to_send():
            self._socket.sendall(data)
        answer: Response | None = None
        while answer is None:
            data = self._socket.recv(65536)
            self._protocol.receive_data(data) if data else self._protocol.receive_eof()
            for event in self._protocol.events_received():
                if isinstance(event, Response):
                    answer = event
                else:
                    self._early.append(event)
            if not data and answer is None:
                raise CliError("the node closed the connection without an answer")
        if self._protocol.handshake_exc is not None:
            self._refused(answer, self._protocol.handshake_exc)

    def _refused(self, answer: Response, error: Exception) -> None:
        try:
            body = json.loads(bytes(answer.body or b""))
        except ValueError:
            body = None
        if answer.status_code >= 400:
            raise ApiError.of(answer.status_code, body)
        raise CliError(f"the node does not speak the protocol of exec: {error}")

    def _loop(self, wakeups: int) -> None:
        for event in self._early:
            self._event(event)
        stdin_open = self._stdin
        stdin = 0
        while not self._over:
            for data in self._protocol.data_to_send():
                self._out += data
            readers = [self._socket.fileno(), wakeups]
            if stdin_open and len(self._out) < HIGH_WATER:
                readers.append(stdin)
            ready, writable, _ = select.select(readers, [self._socket] if self._out else [], [])
            if wakeups in ready and os.read(wakeups, 1024) and self._tty:
                self._resize()
            if stdin in ready:
                data = os.read(stdin, PIECE)
                self._send(STDIN, data) if data else self._close_stdin()
                stdin_open = bool(data)
            if writable:
                self._flush()
            if self._socket.fileno() in ready:
                self._receive()

    def _flush(self) -> None:
        try:
            sent = self._socket.send(self._out)
        except BlockingIOError:
            return
        except (BrokenPipeError, ConnectionResetError):
            sent = len(self._out)  # nobody reads any more; what was said before that is still to be received
        del self._out[:sent]

    def _receive(self) -> None:
        try:
            data = self._socket.recv(65536)
        except BlockingIOError:
            return
        except ConnectionResetError:
            data = b""
        self._protocol.receive_data(data) if data else self._protocol.receive_eof()
        for event in self._protocol.events_received():
            self._event(event)
        self._over = self._over or not data

    def _event(self, frame: Event) -> None:
        if not isinstance(frame, Frame):
            return
        if frame.opcode is Opcode.CLOSE:
            self._over = True
            for data in self._protocol.data_to_send():
                with contextlib.suppress(OSError):
                    self._socket.send(data)
        if frame.opcode not in (Opcode.BINARY, Opcode.TEXT, Opcode.CONT):
            return
        payload = bytes(frame.data)
        if frame.opcode is Opcode.CONT:
            channel = self._channel
        elif not payload:
            return
        else:
            channel, payload = payload[0], payload[1:]
            self._channel = channel
        if channel == STDOUT:
            _write(1, payload)
        elif channel == STDERR:
            _write(2, payload)
        elif channel == ERROR and payload:
            self._status = json.loads(payload)

    def _send(self, channel: int, data: bytes) -> None:
        self._protocol.send_binary(bytes([channel]) + data)

    def _close_stdin(self) -> None:
        if self._protocol.subprotocol == PROTOCOLS[0]:
            self._protocol.send_binary(bytes([CLOSE, STDIN]))

    def _resize(self) -> None:
        try:
            size = os.get_terminal_size(0)
        except OSError:
            return
        self._send(RESIZE, json.dumps({"Width": size.columns, "Height": size.lines}).encode())

    def _exit_code(self) -> int:
        status = self._status
        if status is None:
            raise CliError("the connection to the node was lost: the command's outcome is not known")
        if status.get("status") == "Success":
            return 0
        if status.get("reason") == "NonZeroExitCode":
            for cause in (status.get("details") or {}).get("causes") or []:
                if cause.get("reason") == "ExitCode":
                    code = int(cause.get("message") or 1)
                    warn(f"command terminated with exit code {code}")
                    return code
        raise ApiError.of(int(status.get("code") or 500), status)


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


@contextlib.contextmanager
def _terminal(wanted: bool) -> Iterator[None]:
    """The terminal raw for as long as the command has it (termios(3), cfmakeraw)."""
    if not wanted:
        yield
        return
    before = termios.tcgetattr(0)
    sys.stdout.flush()
    try:
        tty.setraw(0, termios.TCSADRAIN)  # unlike the default, what has been typed ahead is kept
        yield
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, before)


@contextlib.contextmanager
def _wakeups() -> Iterator[int]:
    """A descriptor that becomes readable when the window's size has changed."""
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    with reader, writer:
        before = signal.signal(signal.SIGWINCH, lambda signo, frame: None)
        descriptor = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        try:
            yield reader.fileno()
        finally:
            signal.set_wakeup_fd(descriptor)
            signal.signal(signal.SIGWINCH, before)
