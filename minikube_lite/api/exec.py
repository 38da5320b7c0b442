"""`…/pods/{name}/exec`: a command in a container over a websocket. Routes for `app`.

The protocol is Kubernetes' remotecommand (k8s.io/apimachinery/pkg/util/remotecommand, KEP-4006): a message is one byte,
the channel, and its data. v4 and v5 tell the outcome as a `Status` on the error channel; v5 can also close stdin.
A failure is told on that channel, too, as the API server does: a client of a refused handshake would never see why.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import structlog
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from minikube_lite.api.context import Context
from minikube_lite.api.descriptors import readable, writable
from minikube_lite.api.failures import bad_request, internal_error, of_service_error
from minikube_lite.api.negotiation import encode
from minikube_lite.api.query import boolean
from minikube_lite.node.service import ExecSession, Json, ServiceError

log = structlog.get_logger(__name__)

STDIN, STDOUT, STDERR, ERROR, RESIZE, CLOSE = 0, 1, 2, 3, 4, 255
PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io", "channel.k8s.io")
CHUNK = 32 * 1024
QUIET = 0.1
"""Seconds without output after the command's end, until a descriptor that somebody else still holds is given up."""


def routes(context: Context) -> list[BaseRoute]:
    path = "/api/v1/namespaces/{namespace}/pods/{name}/exec"

    async def exec_(websocket: WebSocket) -> None:
        offered = websocket.scope["subprotocols"]
        protocol = next((known for known in PROTOCOLS if known in offered), None)
        if offered and protocol is None:
            raise bad_request(f"unable to upgrade: none of {offered} is known (hint: one of {', '.join(PROTOCOLS)})")
        await websocket.accept(protocol)
        connection = _Connection(websocket, protocol or PROTOCOLS[-1])
        try:
            await _run(context, connection)
        except Exception as error:  # the handshake is over, so `app` could not tell of it any more
            status = internal_error()
            if isinstance(error, ServiceError):
                status = of_service_error(error, kind="pods", name=websocket.path_params["name"])
            else:
                log.error("request_failed", method="EXEC", path=websocket.scope["path"], exc_info=error)
            with suppress(ClientGone):
                await connection.finish(status)

    async def no_upgrade(_: Request) -> Response:
        raise bad_request(f"Upgrade request required: exec speaks WebSocket ({', '.join(PROTOCOLS)}), not SPDY")

    return [WebSocketRoute(path, exec_), Route(path, no_upgrade, methods=["GET", "POST"])]


async def _run(context: Context, connection: _Connection) -> None:
    query, path = connection.websocket.query_params, connection.websocket.path_params
    command = query.getlist("command")
    if not command:
        raise bad_request("you must specify at least 1 command for the exec")
    tty, stdin = boolean(query, "tty"), boolean(query, "stdin")
    session = await context.node.exec(
        path["namespace"], path["name"], query.get("container") or None, command, tty=tty, stdin=stdin
    )
    try:
        for descriptor in (session.stdin, session.stdout, session.stderr):
            if descriptor is not None:
                os.set_blocking(descriptor, False)
        await _Exec(connection, session).run()
    finally:
        await session.close()


class ClientGone(Exception):
    """The client has closed the connection, or lost it."""


class _Connection:
    """The websocket, by channels."""

    def __init__(self, websocket: WebSocket, protocol: str) -> None:
        self.websocket = websocket
        self.protocol = protocol
        self.peer_gone: Callable[[], bool] = websocket.scope["extensions"].get("peer_gone", lambda: False)
        """Whether the client has hung up, even while nothing is read from it; `server` gives it."""

    async def send(self, channel: int, data: bytes) -> None:
        """Waits while the client does not read (back-pressure). Raises ClientGone."""
        try:
            await self.websocket.send_bytes(bytes((channel,)) + data)
        except (WebSocketDisconnect, RuntimeError) as error:  # RuntimeError: the closing handshake is under way
            raise ClientGone from error

    async def receive(self) -> tuple[int, bytes]:
        """(channel, data) of the next message. Raises ClientGone."""
        while True:
            message = await self.websocket.receive()
            if message["type"] == "websocket.disconnect":
                raise ClientGone
            data = message.get("bytes") or (message.get("text") or "").encode("utf-8", "replace")
            if data:
                return data[0], data[1:]

    async def finish(self, status: Json) -> None:
        """Tell the outcome and close. The oldest protocol knows only a failure's text."""
        if self.protocol != PROTOCOLS[-1]:
            await self.send(ERROR, encode(status))
        elif status["status"] != "Success":
            await self.send(ERROR, status["message"].encode("utf-8", "replace"))
        try:
            await self.websocket.close()
        except (WebSocketDisconnect, RuntimeError) as error:
            raise ClientGone from error


class _Exec:
    """One session's pumps: they run until the command has ended and its output is out, or the client is gone."""

    def __init__(self, connection: _Connection, session: ExecSession) -> None:
        self.connection = connection
        self.session = session
        self.exited = asyncio.Event()

    async def run(self) -> None:
        listener = asyncio.create_task(self._listen())
        outcome = asyncio.create_task(self._outcome())
        try:
            await asyncio.wait((listener, outcome), return_when=asyncio.FIRST_COMPLETED)
            if outcome.done():
                await self.connection.finish(exit_status(outcome.result()))
        except ClientGone:
            pass  # there is nobody to tell; `session.close` kills what is left
        finally:
            for task in (listener, outcome):
                task.cancel()
            await asyncio.gather(listener, outcome, return_exceptions=True)

    async def _outcome(self) -> int:
        """The exit code, once all output has been sent."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._pump(self.session.stdout, STDOUT))
            group.create_task(self._pump(self.session.stderr, STDERR))
            code = await self.session.wait()
            self.exited.set()
        return code

    async def _pump(self, descriptor: int | None, channel: int) -> None:
        if descriptor is None:
            return
        while True:
            try:
                data = os.read(descriptor, CHUNK)
            except BlockingIOError:
                if not await readable(descriptor, self.exited, QUIET):
                    return
                continue
            except OSError:  # EIO: the last one closed the terminal (pty(7))
                return
            if not data:
                return
            try:
                await self.connection.send(channel, data)
            except ClientGone:
                return  # the listener knows, too, and ends the session

    async def _listen(self) -> None:
        """What the client says, until it is gone."""
        while True:
            try:
                channel, data = await self.connection.receive()
            except ClientGone:
                return
            if channel == STDIN and not await self._write(data):
                return
            if channel == RESIZE:
                self._resize(data)
            elif channel == CLOSE and data[:1] == bytes((STDIN,)):
                self._close_stdin()

    async def _write(self, data: bytes) -> bool:
        """To the command's stdin; false when the client has gone while the command was not reading."""
        view = memoryview(data)
        while view and self.session.stdin is not None:
            try:
                view = view[os.write(self.session.stdin, view) :]
            except BlockingIOError:
                # Nothing is read from the client meanwhile (back-pressure), so its going has to be asked for.
                while not await writable(self.session.stdin, 1.0):
                    if self.connection.peer_gone():
                        return False
            except OSError:  # EPIPE, EIO: nobody reads it any more; what comes is thrown away
                self._close_stdin()
        return True

    def _close_stdin(self) -> None:
        """End of file for the command. A terminal stays open: there ^D is typed."""
        if self.session.stdin is not None and self.session.stdin != self.session.stdout:
            os.close(self.session.stdin)
            self.session.stdin = None

    def _resize(self, data: bytes) -> None:
        try:
            size: Any = json.loads(data)
            rows, columns = int(size["Height"]), int(size["Width"])
        except (ValueError, KeyError, TypeError):
            return  # not a size: nothing to do, as the kubelet does
        if 0 < rows < 65536 and 0 < columns < 65536:
            self.session.resize(rows, columns)


def exit_status(code: int) -> Json:
    """The outcome of a command, as the kubelet tells it (pkg/kubelet/server/remotecommand/exec.go)."""
    if code == 0:
        return {"metadata": {}, "status": "Success"}
    return {
        "metadata": {},
        "status": "Failure",
        "message": f"command terminated with non-zero exit code: exit status {code}",
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
        "code": 500,
    }
