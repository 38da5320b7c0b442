"""HTTP/1.1 to the node over its unix socket: one request per connection. Called by the commands through `cli.session`.

Written by hand because of start-up time: importing http.client or h11 costs more than the whole of `get pods` takes.
It knows what our own server says (RFC 9112: Content-Length, chunked, or until the connection closes), no more.
"""

from __future__ import annotations

import json
import socket

from minikube_lite.cli.errors import ApiError, CliError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    Query = list[tuple[str, str]]

SAFE = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
HEAD_LIMIT = 65536
PIECE = 65536
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"


def quote(text: str) -> str:
    """Percent-encoding of RFC 3986 (urllib.parse costs 3 ms)."""
    return "".join(chr(byte) if byte in SAFE else f"%{byte:02X}" for byte in text.encode("utf-8", "surrogateescape"))


def target(path: str, query: Query | None = None) -> str:
    text = "&".join(f"{quote(key)}={quote(value)}" for key, value in query or ())
    return f"{path}?{text}" if text else path


class Client:
    """Speaks to the node at `path`. `start` is how one starts a node there."""

    def __init__(self, path: str, start: str) -> None:
        self.path = path
        self._start = start

    def connect(self) -> socket.socket:
        """A connection to the node. Raises CliError that says what to do where there is none."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.connect(self.path)
        except OSError as error:
            connection.close()
            raise self._unreachable(error) from error
        return connection

    def _unreachable(self, error: OSError) -> CliError:
        if isinstance(error, (FileNotFoundError, ConnectionRefusedError, NotADirectoryError)):
            return CliError(f"no node is running at {self.path} (start one with: {self._start})")
        if isinstance(error, PermissionError):
            return CliError(f"permission denied on {self.path}: the socket is root's (try again with sudo)")
        return CliError(f"cannot connect to {self.path}: {error.strerror or error}")

    def request(
        self,
        method: str,
        path: str,
        query: Query | None = None,
        *,
        body: bytes = b"",
        accept: str = "application/json",
        content_type: str = "application/yaml",
    ) -> Response:
        """Send a request; the answer's body is still to be read. Raises ApiError for a failure status.

        Parameters of the query that are empty were not asked for, and are left out.
        """
        given = [(key, value) for key, value in query or () if value]
        head = [f"{method} {target(path, given)} HTTP/1.1", "Host: localhost", "Connection: close", f"Accept: {accept}"]
        if body or method in ("POST", "PUT"):
            head += [f"Content-Type: {content_type}", f"Content-Length: {len(body)}"]
        connection = self.connect()
        try:
            try:
                connection.sendall("\r\n".join([*head, "", ""]).encode("ascii") + body)
            except (BrokenPipeError, ConnectionResetError):
                pass  # the node may answer before it has read all (413): its answer is the better message
            response = Response(connection)
            if response.status >= 400:
                raise ApiError.of(response.status, response.json_or_none())
            return response
        except BaseException:
            connection.close()
            raise

    def get(self, path: str, query: Query | None = None, *, accept: str = "application/json") -> Any:
        """The decoded JSON of a GET."""
        return self.request("GET", path, query, accept=accept).json()

    def watch(self, path: str, query: Query, *, accept: str = "application/json") -> Events:
        return Events(self.request("GET", path, [*query, ("watch", "true")], accept=accept))

    def send(self, method: str, path: str, query: Query | None = None, *, body: bytes = b"") -> Any:
        """The decoded JSON that another method answers with."""
        return self.request(method, path, query, body=body).json()


class Response:
    """An answer: its head has been read, its body comes in pieces. Closes itself at the end of the body."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._buffer = bytearray()
        self._done = False
        self.status, self.headers = self._head()
        length = self.headers.get("content-length")
        self._chunked = "chunked" in self.headers.get("transfer-encoding", "").lower()
        self._left = -1 if self._chunked or length is None else int(length)
        """Bytes left of the body or of the chunk; -1: not known (yet)."""

    def _head(self) -> tuple[int, dict[str, str]]:
        while (end := self._buffer.find(b"\r\n\r\n")) < 0:
            if len(self._buffer) > HEAD_LIMIT or not self._fill(None):
                raise CliError("the node closed the connection without an answer")
        lines = self._buffer[:end].decode("latin-1").split("\r\n")
        del self._buffer[: end + 4]
        try:
            status = int(lines[0].split(" ", 2)[1])
        except (IndexError, ValueError):
            raise CliError("what answers at the socket does not speak HTTP") from None
        pairs = (line.partition(":") for line in lines[1:])
        return status, {name.strip().lower(): value.strip() for name, _, value in pairs}

    def _fill(self, timeout: float | None) -> bool:
        """Read some more. False at the end of the connection; raises TimeoutError."""
        self._connection.settimeout(timeout)
        try:
            data = self._connection.recv(PIECE)
        except ConnectionResetError:
            data = b""
        except BlockingIOError:
            raise TimeoutError from None
        self._buffer += data
        return bool(data)

    def piece(self, timeout: float | None = None) -> bytes:
        """The next bytes of the body as they come; b"" at its end. Raises TimeoutError, after which it can go on."""
        while not self._done:
            if self._chunked and self._left < 0 and not self._chunk_head():
                pass
            elif self._left == 0 and not self._chunked:
                self.close()
                break
            elif self._buffer:
                return self._take()
            if not self._done and not self._fill(timeout):
                complete = self._left < 0 and not self._chunked
                self.close()
                if not complete:
                    raise CliError("the node closed the connection in the middle of an answer")
        return b""

    def _chunk_head(self) -> bool:
        """Read the size line of a chunk (and the end of the one before); False where it is not all there yet."""
        start = 2 if self._buffer.startswith(b"\r\n") else 0
        end = self._buffer.find(b"\r\n", start)
        if end < 0:
            return False
        size = int(self._buffer[start:end].split(b";")[0], 16)
        del self._buffer[: end + 2]
        if size == 0:
            self.close()
            return False
        self._left = size
        return bool(self._buffer)

    def _take(self) -> bytes:
        size = len(self._buffer) if self._left < 0 else min(self._left, len(self._buffer))
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        if self._left >= 0:
            self._left -= size
            if self._chunked and self._left == 0:
                self._left = -1
        return data

    def read(self) -> bytes:
        """All of the body."""
        return b"".join(self.pieces())

    def pieces(self) -> Iterator[bytes]:
        while data := self.piece():
            yield data

    def json(self) -> Any:
        data = self.read()
        try:
            return json.loads(data)
        except ValueError:
            raise CliError("the node's answer is not JSON") from None

    def json_or_none(self) -> Any:
        data = self.read()
        try:
            return json.loads(data)
        except ValueError:
            return None

    def rest(self) -> bytes:
        """What has been read beyond the head, where no body follows (101 Switching Protocols)."""
        return bytes(self._buffer)

    def fileno(self) -> int:
        """For select(2); what has been read ahead does not show there."""
        return self._connection.fileno()

    def close(self) -> None:
        self._done = True
        self._connection.close()


class WatchEnded(Exception):
    """The node ended a watch: it stops, or the time that the watch asked for is over."""


class Events:
    """The events of a watch, one JSON object per line."""

    def __init__(self, response: Response) -> None:
        self._response = response
        self._buffer = b""

    def next(self, timeout: float | None = None) -> dict[str, Any] | None:
        """The next event; None after `timeout` seconds. Raises WatchEnded, and ApiError for an `ERROR` event."""
        while b"\n" not in self._buffer:
            try:
                data = self._response.piece(timeout)
            except TimeoutError:
                return None
            if not data:
                raise WatchEnded
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        event: dict[str, Any] = json.loads(line)
        if event.get("type") == "ERROR":
            raise ApiError.of(500, event.get("object"))
        return event

    def close(self) -> None:
        self._response.close()
