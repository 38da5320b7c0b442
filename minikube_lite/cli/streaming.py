"""The client's end of `exec`: one websocket, one loop over socket, standard input and the window's size.

Called by commands.exec and commands.cp. Speaks v5.channel.k8s.io (KEP-4006): each message begins with its channel;
`255, n` closes channel n; channel 3 brings the outcome as a `Status`. Signals wake the loop through a pipe
(signal.set_wakeup_fd).
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
from collections.abc import Callable, Iterator
from typing import Any

from minikube_lite.cli.client import Client
from minikube_lite.cli.errors import ApiError, CliError
from minikube_lite.cli.session import warn
from minikube_lite.cli.websocket import WebSocket

STDIN, STDOUT, STDERR, ERROR, RESIZE, CLOSE = 0, 1, 2, 3, 4, 255
PROTOCOLS = ["v5.channel.k8s.io", "v4.channel.k8s.io"]
PIECE = 32768
HIGH_WATER = 1 << 20
"""Bytes waiting to be sent above which standard input is left alone."""


class ConnectionLost(CliError):
    """The node has gone, and what became of the command is not known."""


class Streams:
    """One command running in a container. `source` is read for its standard input, `take(channel, data)` gets what it
    says."""

    def __init__(
        self,
        client: Client,
        path: str,
        query: list[tuple[str, str]],
        *,
        source: int | None = None,
        take: Callable[[int, bytes], None] | None = None,
        tty: bool = False,
    ) -> None:
        self._client = client
        self._path = path
        self._query = query
        self._source = source
        self._take = take or _write
        self._tty = tty
        self._status: dict[str, Any] | None = None

    def run(self) -> int:
        """Until the command ends; gives its exit code, and tells of one that is not 0."""
        code = self.outcome()
        if code:
            warn(f"command terminated with exit code {code}")
        return code

    def outcome(self) -> int:
        """Until the command ends; gives its exit code. Raises ApiError where it could not be started."""
        self._websocket = WebSocket.open(self._client, self._path, self._query, PROTOCOLS)
        with self._websocket.connection as connection:
            connection.setblocking(False)
            with _terminal(self._tty), _wakeups() as wakeups:
                if self._tty:
                    self._resize()
                self._loop(connection, wakeups)
        return self._exit_code()

    def _loop(self, connection: socket.socket, wakeups: int) -> None:
        websocket, stdin, stdin_open, open_ = self._websocket, self._source, self._source is not None, True
        self._received(b"")  # what came together with the answer to the handshake
        while open_ and not (websocket.closed and not websocket.out):
            readers = [connection.fileno(), wakeups]
            if stdin is not None and stdin_open and len(websocket.out) < HIGH_WATER:
                readers.append(stdin)
            ready, writable, _ = select.select(readers, [connection] if websocket.out else [], [])
            if wakeups in ready and os.read(wakeups, 1024) and self._tty:
                self._resize()
            if stdin is not None and stdin in ready:
                data = os.read(stdin, PIECE)
                self._send(STDIN, data) if data else self._close_stdin()
                stdin_open = bool(data)
            if writable:
                self._flush(connection)
            if connection.fileno() in ready:
                open_ = self._receive(connection)

    def _flush(self, connection: socket.socket) -> None:
        try:
            sent = connection.send(self._websocket.out)
        except BlockingIOError:
            return
        except (BrokenPipeError, ConnectionResetError):
            sent = len(self._websocket.out)  # nobody reads any more; what was said before that is still to come
        del self._websocket.out[:sent]

    def _receive(self, connection: socket.socket) -> bool:
        """Take in what has come; False at the end of the connection."""
        try:
            data = connection.recv(65536)
        except BlockingIOError:
            return True
        except ConnectionResetError:
            return False
        self._received(data)
        return bool(data)

    def _received(self, data: bytes) -> None:
        for message in self._websocket.feed(data):
            channel, payload = message[:1], message[1:]
            if channel in (bytes((STDOUT,)), bytes((STDERR,))):
                self._take(channel[0], payload)
            elif channel == bytes((ERROR,)) and payload:
                self._status = json.loads(payload)

    def _send(self, channel: int, data: bytes) -> None:
        self._websocket.send(bytes((channel,)) + data)

    def _close_stdin(self) -> None:
        if self._websocket.protocol == PROTOCOLS[0]:
            self._send(CLOSE, bytes((STDIN,)))

    def _resize(self) -> None:
        try:
            size = os.get_terminal_size(0)
        except OSError:
            return
        self._send(RESIZE, json.dumps({"Width": size.columns, "Height": size.lines}).encode())

    def _exit_code(self) -> int:
        status = self._status
        if status is None:
            raise ConnectionLost("the connection to the node was lost: the command's outcome is not known")
        if status.get("status") == "Success":
            return 0
        if status.get("reason") == "NonZeroExitCode":
            for cause in (status.get("details") or {}).get("causes") or []:
                if cause.get("reason") == "ExitCode":
                    return int(cause.get("message") or 1)
        raise ApiError.of(int(status.get("code") or 500), status)


def _write(descriptor: int, data: bytes) -> None:
    """The channels of output have the numbers of the descriptors that they are for."""
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
