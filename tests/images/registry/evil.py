"""A small server on loopback that answers as it is told, in threads, and keeps a log of what it was asked."""

from __future__ import annotations

import contextlib
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit


@dataclass(frozen=True)
class Asked:
    """One request."""

    method: str
    path: str
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes


@dataclass(frozen=True)
class Answer:
    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    length: int | None = None
    """The Content-Length that is claimed; None for the true one."""
    pause: threading.Event | None = None
    """After the body: waited for before the connection is closed."""


@dataclass
class Evil:
    """`answer` decides; tests set it. What raises there is kept in `broken` and fails the test."""

    host: str
    answer: Callable[[Asked], Answer]
    log: list[Asked] = field(default_factory=list)
    broken: list[Exception] = field(default_factory=list)

    def asked(self, method: str = "", contains: str = "") -> list[Asked]:
        return [a for a in self.log if (not method or a.method == method) and contains in a.path]


@contextlib.contextmanager
def evil(
    answer: Callable[[Asked], Answer] = lambda asked: Answer(404), tls: ssl.SSLContext | None = None
) -> Iterator[Evil]:
    """One that runs until the end of the block, on a port of its own."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 60

        def _do(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            parts = urlsplit(self.path)
            headers = {name.lower(): value for name, value in self.headers.items()}
            asked = Asked(self.command, parts.path, parse_qs(parts.query), headers, body)
            server.log.append(asked)
            try:
                found = server.answer(asked)
            except Exception as error:
                server.broken.append(error)
                found = Answer(500, b"the test is broken")
            self.send_response(found.status)
            for name, value in found.headers.items():
                self.send_header(name, value)
            length = len(found.body) if found.length is None else found.length
            self.send_header("Content-Length", str(length))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(found.body)
                self.wfile.flush()
                if found.pause is not None:
                    found.pause.wait(60)
                if length != len(found.body):
                    self.close_connection = True

        do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _do

        def log_message(self, format: str, *args: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            pass  # clients that go away are what is tested

    listener = Server(("127.0.0.1", 0), Handler)
    if tls is not None:
        listener.socket = tls.wrap_socket(listener.socket, server_side=True, do_handshake_on_connect=False)
    server = Evil(f"127.0.0.1:{listener.server_address[1]}", answer)
    thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server
        assert server.broken == []
    finally:
        listener.shutdown()
        listener.server_close()
        thread.join()
