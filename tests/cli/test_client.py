"""The hand-written HTTP client against a peer that answers with exactly these bytes, whole and in pieces."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from minikube_lite.cli.client import Client, Events, WatchEnded, quote, target
from minikube_lite.cli.errors import ApiError, CliError

Peer = Callable[..., Client]


@pytest.fixture
def peer(root: Path) -> Iterator[Peer]:
    """`peer(answer, step=n)`: a server that gives one connection this answer, n bytes at a time, and hangs up."""
    path = root / "api.sock"
    threads: list[threading.Thread] = []
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()

    def start(answer: bytes, *, step: int = 1 << 20, read: bool = True) -> Client:
        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                if read:
                    connection.recv(65536)
                with contextlib.suppress(BrokenPipeError):  # the client may go once it has what it asked for
                    for start in range(0, len(answer), step):
                        connection.sendall(answer[start : start + step])
                if not read:
                    connection.shutdown(socket.SHUT_WR)
                    while connection.recv(65536):
                        pass

        threads.append(threading.Thread(target=serve))
        threads[-1].start()
        return Client(str(path), "minikube-lite run")

    yield start
    for thread in threads:
        thread.join()
    listener.close()


LENGTH = b'HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n{"a":1}'
CHUNKED = b'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\n{"a\r\n4;x=y\r\n":1}\r\n0\r\n\r\n'
TO_THE_END = b'HTTP/1.1 200 OK\r\n\r\n{"a":1}'


@pytest.mark.parametrize("step", [1, 2, 3, 1000])
@pytest.mark.parametrize("answer", [LENGTH, CHUNKED, TO_THE_END])
def test_an_answer_is_understood_in_whatever_pieces_it_comes(answer: bytes, step: int, peer: Peer) -> None:
    assert peer(answer, step=step).get("/x") == {"a": 1}


@pytest.mark.parametrize("answer", [LENGTH[:-1], CHUNKED[:-5], CHUNKED[:60]])
def test_an_answer_cut_short_is_an_error(answer: bytes, peer: Peer) -> None:
    with pytest.raises(CliError, match="in the middle of an answer"):
        peer(answer).get("/x")


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b"", "without an answer"),
        (b"HTTP/1.1 200 OK\r\nContent-", "without an answer"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "does not speak HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", "not JSON"),
    ],
)
def test_a_peer_that_is_no_node_is_named_so(answer: bytes, message: str, peer: Peer) -> None:
    with pytest.raises(CliError, match=message):
        peer(answer).get("/x")


def test_a_status_becomes_an_error_in_kubectls_words(peer: Peer) -> None:
    body = b'{"kind":"Status","status":"Failure","message":"pods \\"x\\" not found","reason":"NotFound","code":404}'
    answer = b"HTTP/1.1 404 Not Found\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    with pytest.raises(ApiError) as caught:
        peer(answer).get("/x")
    assert str(caught.value) == 'Error from server (NotFound): pods "x" not found'


def test_a_failure_that_is_no_status_names_its_code(peer: Peer) -> None:
    with pytest.raises(ApiError) as caught:
        peer(b"HTTP/1.1 502 Bad\r\nContent-Length: 2\r\n\r\nhm").get("/x")
    assert str(caught.value) == "Error from server: the node answered with HTTP status 502"


def test_an_answer_given_before_the_body_was_read_is_heard(peer: Peer) -> None:
    body = b'{"kind":"Status","message":"too large","reason":"RequestEntityTooLarge","code":413}'
    answer = b"HTTP/1.1 413 Too Large\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    with pytest.raises(ApiError, match="too large"):
        peer(answer, read=False).send("POST", "/x", body=b"x" * 5_000_000)


def test_a_watch_gives_an_event_a_line_and_says_when_it_ends(peer: Peer) -> None:
    line = b'{"type":"ADDED","object":{}}\n'
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (line[:5], line[5:] + line))
    events = peer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n").watch("/x", [])
    assert isinstance(events, Events)
    assert [events.next(), events.next()] == [{"type": "ADDED", "object": {}}] * 2
    with pytest.raises(WatchEnded):
        events.next()


def test_paths_and_queries_are_percent_encoded() -> None:
    assert quote("a/b c=é\udcff") == "a%2Fb%20c%3D%C3%A9%FF"
    assert target("/x", [("a", "1&2"), ("b", ""), ("a", "3")]) == "/x?a=1%262&b=&a=3"


def test_without_a_node_it_says_how_to_start_one(root: Path) -> None:
    with pytest.raises(CliError) as caught:
        Client(f"{root}/run/api.sock", f"minikube-lite --root {root} run").get("/x")
    assert str(caught.value) == (
        f"error: no node is running at {root}/run/api.sock (start one with: minikube-lite --root {root} run)"
    )
