"""`events`: what has happened, the latest last."""

from __future__ import annotations

import sys
import time
from typing import Any

from minikube_lite.cli.client import WatchEnded
from minikube_lite.cli.commands.get import ALL_NAMESPACES
from minikube_lite.cli.describing import since
from minikube_lite.cli.errors import CliError, UsageError
from minikube_lite.cli.output import Columns, ObjectPrinter, cell, object_list
from minikube_lite.cli.params import Command, Option
from minikube_lite.cli.resources import EVENT, resources
from minikube_lite.cli.session import Session, warn

Json = dict[str, Any]
HEADING = ["LAST SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"]


def run(
    session: Session,
    words: list[str],
    *,
    all_namespaces: bool,
    watch: bool,
    types: str,
    no_headers: bool,
    output: str,
    **options: str,
) -> int:
    if words:
        raise UsageError(f"unexpected: {' '.join(words)} (an object is given with --for pod/NAME)")
    query = []
    if options["for"]:
        if "/" not in options["for"]:
            raise UsageError("--for must be in resource/name form")
        [(kind, name)] = resources([options["for"]])
        query = [("fieldSelector", f"involvedObject.kind={kind.kind},involvedObject.name={name}")]
    wanted = {kind.lower() for kind in types.split(",") if kind}
    if wanted - {"normal", "warning"}:
        raise UsageError("valid --types are Normal or Warning")
    namespace = None if all_namespaces else session.namespace
    client = session.client
    answer = client.get(EVENT.path(namespace), query)
    events = sorted((event for event in answer["items"] if _is(event, wanted)), key=_last)
    shower = _Shower(output, namespaces=all_namespaces, headings=not no_headers)
    if events or output:
        shower.show(events, single=False)
    elif not watch:
        warn("No events found." if all_namespaces else f"No events found in {session.namespace} namespace.")
    if not watch:
        return 0
    changes = client.watch(
        EVENT.path(namespace), [*query, ("resourceVersion", str(answer["metadata"]["resourceVersion"]))]
    )
    while True:
        try:
            change = changes.next()
        except WatchEnded:
            raise CliError("the node ended the watch") from None
        if change is not None and change["type"] in ("ADDED", "MODIFIED") and _is(change["object"], wanted):
            shower.show([change["object"]], single=True)


def _is(event: Json, wanted: set[str]) -> bool:
    return not wanted or str(event.get("type", "")).lower() in wanted


def _last(event: Json) -> str:
    return str(
        (event.get("series") or {}).get("lastObservedTime")
        or event.get("lastTimestamp")
        or event.get("eventTime")
        or ""
    )


class _Shower:
    """Prints events as they come; the heading once."""

    def __init__(self, output: str, *, namespaces: bool, headings: bool) -> None:
        self._printer = ObjectPrinter(output) if output else None
        self._columns = Columns()
        self._namespaces = namespaces
        self._headings = headings

    def show(self, events: list[Json], *, single: bool) -> None:
        if self._printer is not None:
            sys.stdout.write(self._printer.text(events[0] if single else object_list(events)))
        else:
            rows = [["NAMESPACE"] * self._namespaces + HEADING] if self._headings else []
            self._headings = False
            rows += [self._row(event, time.time()) for event in events]
            sys.stdout.write("".join(line + "\n" for line in self._columns.lines(rows)))
        sys.stdout.flush()

    def _row(self, event: Json, now: float) -> list[str]:
        about = event.get("involvedObject") or {}
        seen = since(_last(event), now)
        if int(event.get("count") or 1) > 1:
            seen = f"{seen} (x{event['count']} over {since(event.get('firstTimestamp'), now)})"
        thing = f"{about.get('kind', '')}/{about.get('name', '')}"
        cells = [seen, event.get("type"), event.get("reason"), thing, str(event.get("message") or "").strip()]
        return [event["metadata"].get("namespace", "")] * self._namespaces + [cell(value) for value in cells]


COMMAND = Command(
    "events",
    run,
    summary="Show what has happened, the latest last.",
    usage="",
    examples="""
minikube-lite events
minikube-lite events --for pod/web -w
minikube-lite events -A --types=Warning
""",
    options=(
        ALL_NAMESPACES,
        Option("-w", "--watch", flag=True, help="Go on with what happens."),
        Option("--for", metavar="TYPE/NAME", help="About this object only."),
        Option("--types", metavar="TYPES", help="Normal, Warning or both."),
        Option("--no-headers", flag=True, help="Without the line of column names."),
        Option("-o", "--output", metavar="FORMAT", help="json, yaml, name, jsonpath=..., custom-columns=..."),
    ),
)
