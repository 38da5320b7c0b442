"""Serves the API on a unix socket, inside the node's event loop. Called by `node.run` through `cli`.

Of uvicorn only its protocol classes are used: `uvicorn.Server` ticks ten times a second, and an idle node must not
wake. What its loop did is done here on demand: `app` makes the Date header, `stopping` is an event.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
import stat
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import h11
import structlog
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from minikube_lite.api.app import Api, create_app
from minikube_lite.api.failures import status_failure
from minikube_lite.api.negotiation import encode
from minikube_lite.node.clock import wall
from minikube_lite.node.service import NodeService

if TYPE_CHECKING:
    from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

log = structlog.get_logger(__name__)

STOP_WITHIN = 2.0
"""Seconds that requests under way get to end when the node stops; then they are cut off."""
HEADER_LIMIT = 1024 * 1024
"""Bytes of request line and headers, as Go's net/http has it: `exec` has its whole command in the URL."""
PATH_LIMIT = 107
"""Bytes of a unix socket's path (unix(7))."""


@asynccontextmanager
async def serve(node: NodeService, path: Path, clock: Callable[[], float] = wall) -> AsyncIterator[Server]:
    """Serve until the context ends. Raises OSError: EADDRINUSE where a living node has the socket."""
    listener = _listen(path)
    ours = os.stat(path)
    server = Server(create_app(node, clock))
    try:
        await server.start(listener)
        log.info("api_serving", socket=str(path))
        try:
            yield server
        finally:
            await server.stop()
    finally:
        _remove(path, ours)
        listener.close()


class Server:
    """Connections of one listening socket."""

    def __init__(self, app: Api) -> None:
        self.app = app
        self.state = ServerState()
        # What goes wrong in the application `app` logs; uvicorn's own words about broken clients are not for a person.
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
        self.config = Config(
            cast(Any, app),
            http=_Http,
            ws="none",
            interface="asgi3",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,
            ws_ping_interval=None,
            ws_per_message_deflate=False,
            h11_max_incomplete_event_size=HEADER_LIMIT,
        )
        self.config.load()
        self._server: asyncio.Server | None = None

    async def start(self, listener: socket.socket) -> None:
        def protocol() -> asyncio.Protocol:
            return _Http(self.config, self.state, {})

        self._server = await asyncio.get_running_loop().create_unix_server(protocol, sock=listener, backlog=128)

    async def stop(self) -> None:
        """End streams, let short requests finish, then cut off what is left. Never waits longer than `STOP_WITHIN`."""
        if self._server is not None:
            self._server.close()
        self.app.context.stopping.set()
        for connection in list(self.state.connections):
            connection.shutdown()
        tasks = set(self.state.tasks)
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=STOP_WITHIN)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        for connection in list(self.state.connections):
            connection.transport.abort()
        await asyncio.sleep(0)  # lets the loop tell the protocols


class _Http(H11Protocol):
    """uvicorn's HTTP protocol, failures as `Status`; the websocket library is imported when it is first asked for."""

    def _should_upgrade(self) -> bool:
        return self._get_upgrade() == b"websocket"

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        from minikube_lite.api.websocket import WebSocketProtocol

        self.ws_protocol_class = cast("type[WebSocketsSansIOProtocol]", WebSocketProtocol)
        # The websocket library bounds the request line at 8 KiB, and a command may be longer: it gets the bare path.
        path, _, query = event.target.partition(b"?")
        bare = h11.Request(method=event.method, target=path, headers=event.headers, http_version=event.http_version)
        super().handle_websocket_upgrade(bare)
        protocol = self.transport.get_protocol()
        if isinstance(protocol, WebSocketProtocol):
            protocol.complete_scope(query, self.transport)

    def send_400_response(self, msg: str) -> None:
        body = encode(status_failure(400, "BadRequest", msg))
        headers = [("content-type", "application/json"), ("content-length", str(len(body))), ("connection", "close")]
        for event in (h11.Response(status_code=400, headers=headers), h11.Data(data=body), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()


def _listen(path: Path) -> socket.socket:
    """A bound socket at `path`, mode 0660 from its first moment. A dead node's socket is replaced."""
    if len(os.fsencode(path)) > PATH_LIMIT:
        raise OSError(
            errno.ENAMETOOLONG,
            f"longer than {PATH_LIMIT} bytes (hint: use a shorter --root, or a symbolic link)",
            str(path),
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_stale(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        os.fchmod(listener.fileno(), 0o660)  # Linux makes the file with the socket's own mode less the umask
        listener.bind(str(path))
        os.chmod(path, 0o660)
    except OSError as error:
        listener.close()
        raise OSError(error.errno, error.strerror, str(path)) from error
    return listener


def _remove_stale(path: Path) -> None:
    """Raises EADDRINUSE where somebody answers, or where the path is something other than a socket."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise OSError(errno.EADDRINUSE, "is in the way: not a socket (hint: move it away)", str(path))
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
            return
        except FileNotFoundError:
            return
        except BlockingIOError:
            pass  # its backlog is full: somebody lives there
    raise OSError(
        errno.EADDRINUSE, "another minikube-lite node serves here (hint: stop it, or use another --root)", str(path)
    )


def _remove(path: Path, ours: os.stat_result) -> None:
    """Take our socket's file away, and only ours."""
    with suppress(FileNotFoundError):
        if os.path.samestat(os.lstat(path), ours):
            path.unlink()
