"""`logs`: what containers have written."""

from __future__ import annotations

import sys
from typing import Any

from minikube_lite.cli.client import Client, Response
from minikube_lite.cli.commands.get import SELECTOR
from minikube_lite.cli.durations import duration, whole
from minikube_lite.cli.errors import CliError, UsageError
from minikube_lite.cli.params import Command, Option
from minikube_lite.cli.resources import POD, first_container, pod_name
from minikube_lite.cli.session import Session, warn

Json = dict[str, Any]

UNSET = -2
"""`--tail` was not given; -1 means all."""


class Log:
    """One container's log."""

    def __init__(self, pod: Json, container: str) -> None:
        self.namespace = pod["metadata"].get("namespace", "default")
        self.pod = pod["metadata"]["name"]
        self.container = container

    @property
    def prefix(self) -> bytes:
        return f"[pod/{self.pod}/{self.container}] ".encode()


def run(session: Session, words: list[str], **options: Any) -> int:
    selector = options["selector"]
    if selector and words:
        raise UsageError("only a selector (-l) or a POD name is allowed")
    if not selector and not words:
        raise UsageError(
            "expected 'logs [-f] [-p] (POD | TYPE/NAME) [-c CONTAINER]'.\n"
            "POD or TYPE/NAME is a required argument for the logs command"
        )
    if len(words) > 2:
        raise UsageError("only a POD and a CONTAINER can be named")
    container = options["container"]
    if words[1:]:
        if container:
            raise UsageError("only one of -c or an inline [CONTAINER] arg is allowed")
        container = words[1]
    if options["since"] and options["since_time"]:
        raise UsageError("at most one of `sinceTime` or `sinceSeconds` may be specified")
    client = session.client
    if selector:
        pods = client.get(POD.path(session.namespace), [("labelSelector", selector)])["items"]
        if not pods:
            warn(f"No resources found in {session.namespace} namespace.")
            return 0
    else:
        pods = [client.get(POD.path(session.namespace, pod_name(words[0])))]
    logs = [log for pod in pods for log in _chosen(pod, container, options["all_containers"])]
    query = _query(options, many=bool(selector))
    prefixed = options["prefix"]
    if options["follow"] and len(logs) > 1:
        _follow_all(client, logs, query, prefixed)
    else:
        for log in logs:
            _copy(_open(client, log, query), log.prefix if prefixed else b"")
    return 0


def _chosen(pod: Json, container: str, all_containers: bool) -> list[Log]:
    spec = pod.get("spec") or {}
    names = [item["name"] for key in ("initContainers", "containers") for item in spec.get(key) or []]
    if all_containers:
        return [Log(pod, name) for name in names]
    return [Log(pod, container or first_container(pod))]


def _query(options: dict[str, Any], *, many: bool) -> list[tuple[str, str]]:
    tail = options["tail"] if options["tail"] != UNSET else 10 if many else -1
    seconds = options["since"]
    if seconds < 0:
        raise CliError("--since must be greater than 0")
    return [
        ("follow", "true" if options["follow"] else ""),
        ("previous", "true" if options["previous"] else ""),
        ("timestamps", "true" if options["timestamps"] else ""),
        ("tailLines", str(tail) if tail >= 0 else ""),
        ("sinceSeconds", str(max(1, round(seconds))) if seconds else ""),
        ("sinceTime", options["since_time"]),
        ("limitBytes", str(options["limit_bytes"]) if options["limit_bytes"] else ""),
    ]


def _open(client: Client, log: Log, query: list[tuple[str, str]]) -> Response:
    path = POD.path(log.namespace, log.pod) + "/log"
    return client.request("GET", path, [("container", log.container), *query], accept="*/*")


def _copy(response: Response, prefix: bytes) -> None:
    """The log to standard output, as it comes."""
    sys.stdout.flush()
    out = sys.stdout.buffer
    lines = _Lines(prefix)
    for piece in response.pieces():
        out.write(lines.add(piece) if prefix else piece)
        out.flush()
    out.write(lines.rest())
    out.flush()


class _Lines:
    """Puts a prefix before each line, whatever pieces it comes in."""

    def __init__(self, prefix: bytes) -> None:
        self._prefix = prefix
        self._part = b""

    def add(self, piece: bytes) -> bytes:
        """The lines that are whole now."""
        *lines, self._part = (self._part + piece).split(b"\n")
        return b"".join(self._prefix + line + b"\n" for line in lines)

    def rest(self) -> bytes:
        part, self._part = self._part, b""
        return self._prefix + part + b"\n" if part else b""


def _follow_all(client: Client, logs: list[Log], query: list[tuple[str, str]], prefixed: bool) -> None:
    """Several logs at once, line by line; whichever has something is read."""
    import selectors

    with selectors.DefaultSelector() as selector:
        for log in logs:
            response = _open(client, log, query)
            selector.register(response, selectors.EVENT_READ, _Lines(log.prefix if prefixed else b""))
        ready: list[tuple[Response, _Lines]] = [(key.fileobj, key.data) for key in selector.get_map().values()]  # type: ignore[misc]
        while selector.get_map():
            for response, lines in ready:
                text = _read_some(response, lines, selector)
                sys.stdout.buffer.write(text)
            sys.stdout.buffer.flush()
            if selector.get_map():
                ready = [(key.fileobj, key.data) for key, _ in selector.select()]  # type: ignore[misc]


def _read_some(response: Response, lines: _Lines, selector: Any) -> bytes:
    text = b""
    while True:
        descriptor = response.fileno()
        try:
            piece = response.piece(0)
        except TimeoutError:
            return text
        if not piece:
            selector.unregister(descriptor)
            return text + lines.rest()
        text += lines.add(piece)


COMMAND = Command(
    "logs",
    run,
    summary="Show what a container has written.",
    usage="(POD | pod/NAME | -l SELECTOR) [CONTAINER]",
    examples="""
minikube-lite logs web
minikube-lite logs -f web -c sidecar --tail=20
minikube-lite logs web --previous
minikube-lite logs -l app=web --all-containers --prefix
""",
    completes=("pod",),
    options=(
        Option("-c", "--container", metavar="NAME", help="Which container (the pod's default one)."),
        Option("-f", "--follow", flag=True, help="Go on with what comes."),
        Option("-p", "--previous", flag=True, help="Of the run before the current one."),
        Option(
            "--tail",
            metavar="LINES",
            read=whole,
            default=UNSET,
            help="So many of the last lines only (all; 10 with -l).",
        ),
        Option("--since", metavar="DURATION", read=duration, default=0.0, help="Not older than 5s, 2m or 3h."),
        Option("--since-time", metavar="TIME", help="Not older than this (RFC 3339)."),
        Option("--timestamps", flag=True, help="With the time of each line."),
        Option("--all-containers", flag=True, help="Of all containers of the pod."),
        Option("--prefix", flag=True, help="With pod and container before each line."),
        Option("--limit-bytes", metavar="BYTES", read=whole, default=0, help="No more than so many bytes."),
        SELECTOR,
    ),
)
