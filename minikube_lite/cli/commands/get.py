"""`get`: shows objects, as a table or whole; `-w` goes on with what changes."""

from __future__ import annotations

import sys

from minikube_lite.cli.client import TABLE, WatchEnded
from minikube_lite.cli.errors import ApiError, CliError, UsageError
from minikube_lite.cli.output import Columns, ObjectPrinter, TableStyle, object_list, table_rows
from minikube_lite.cli.params import Command, Option
from minikube_lite.cli.resources import KINDS, Kind, resources
from minikube_lite.cli.session import Session, say, warn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from minikube_lite.cli.client import Client

    Json = dict[str, Any]


class Wanted:
    """What was asked for, and how it is to be shown."""

    def __init__(self, session: Session, words: list[str], **options: Any) -> None:
        if not words:
            raise UsageError(
                f"You must specify the type of resource to get: {', '.join(kind.plural for kind in KINDS)}\n"
                "See 'minikube-lite get --help' for usage and examples."
            )
        self.client: Client = session.client
        self.targets = resources(words)
        self.prefixed = len({kind for kind, _ in self.targets}) > 1 or words[0] == "all"
        self.all = bool(options["all_namespaces"])
        self.namespace = None if self.all else session.namespace
        self.query = [("labelSelector", options["selector"]), ("fieldSelector", options["field_selector"])]
        self.output: str = options["output"]
        self.headings = not options["no_headers"]
        self.sort_by: str = options["sort_by"]
        self.ignore_not_found = bool(options["ignore_not_found"])
        self.show_labels = bool(options["show_labels"])
        self.label_columns = [label for text in options["label_columns"] for label in text.split(",")]
        self.named = any(name for _, name in self.targets)
        if self.named and self.all:
            raise CliError("a resource cannot be retrieved by name across all namespaces")
        if self.named and any(value for _, value in self.query):
            raise CliError("name cannot be provided when a selector is specified")

    @property
    def table(self) -> bool:
        return self.output in ("", "wide")

    def style(self, kind: Kind) -> TableStyle:
        return TableStyle(
            wide=self.output == "wide",
            headings=self.headings,
            namespaces=self.all and kind.namespaced,
            prefix=f"{kind.singular}/" if self.prefixed else "",
            show_labels=self.show_labels,
            label_columns=self.label_columns,
        )

    def fetch(self, kind: Kind, name: str, *, accept: str) -> Json:
        whole = [("includeObject", "Object")] if accept == TABLE and self.sort_by else []
        query = whole if name else [*self.query, *whole]
        answer: Json = self.client.get(kind.path(self.namespace, name), query, accept=accept)
        return answer


def run(session: Session, words: list[str], *, watch: bool, watch_only: bool, **options: Any) -> int:
    wanted = Wanted(session, words, **options)
    if watch or watch_only:
        return _watch(wanted, show_first=not watch_only)
    return _tables(wanted) if wanted.table else _objects(wanted)


class Gathered:
    """Answers, with the failures that are told at the end so that one missing name does not hide the others."""

    def __init__(self, wanted: Wanted, accept: str) -> None:
        self.answers: list[tuple[Kind, Json]] = []
        self.failures: list[ApiError] = []
        for kind, name in wanted.targets:
            try:
                self.answers.append((kind, wanted.fetch(kind, name, accept=accept)))
            except ApiError as error:
                if not (error.reason == "NotFound" and wanted.ignore_not_found):
                    self.failures.append(error)

    def finish(self) -> int:
        for failure in self.failures:
            warn(str(failure))
        return 1 if self.failures else 0


def _tables(wanted: Wanted) -> int:
    gathered = Gathered(wanted, TABLE)
    tables: list[tuple[Kind, Json]] = []
    for kind, answer in gathered.answers:
        if tables and tables[-1][0] is kind:
            tables[-1][1]["rows"] += answer["rows"]
        else:
            tables.append((kind, answer))
    tables = [(kind, table) for kind, table in tables if table["rows"]]
    for index, (kind, table) in enumerate(tables):
        rows = _sorted(table["rows"], wanted.sort_by, lambda row: row["object"])
        if index:
            say()
        lines = Columns().lines(table_rows(table["columnDefinitions"], rows, wanted.style(kind)))
        sys.stdout.write("".join(line + "\n" for line in lines))
    if not tables and not gathered.failures and not wanted.ignore_not_found:
        scoped = any(kind.namespaced for kind, _ in wanted.targets) and wanted.namespace is not None
        warn(f"No resources found in {wanted.namespace} namespace." if scoped else "No resources found")
    return gathered.finish()


def _objects(wanted: Wanted) -> int:
    printer = ObjectPrinter(wanted.output)
    gathered = Gathered(wanted, "application/json")
    items: list[Json] = []
    for kind, answer in gathered.answers:
        if answer.get("kind") == f"{kind.kind}List":
            items += [{"apiVersion": "v1", "kind": kind.kind, **item} for item in answer["items"]]
        else:
            items.append(answer)
    items = _sorted(items, wanted.sort_by, lambda item: item)
    single = wanted.named and len(wanted.targets) == 1
    if items or not single:
        sys.stdout.write(printer.text(items[0] if single else object_list(items), headings=wanted.headings))
    return gathered.finish()


def _sorted(rows: list[Json], path: str, of: Any) -> list[Json]:
    if not path:
        return rows
    from minikube_lite.cli.sorting import sorted_by

    return sorted_by(rows, path, of)


def _watch(wanted: Wanted, *, show_first: bool) -> int:
    if len(wanted.targets) != 1:
        raise CliError("you may only specify a single resource type, and one name, with --watch")
    kind, name = wanted.targets[0]
    query = [*wanted.query, ("fieldSelector", f"metadata.name={name}")] if name else list(wanted.query)
    accept = TABLE if wanted.table else "application/json"
    path = kind.path(wanted.namespace)
    if name:
        wanted.client.get(kind.path(wanted.namespace, name))  # NotFound is said at once
    first = wanted.client.get(path, query, accept=accept)
    shower = _Shower(wanted, kind, first.get("columnDefinitions") or [])
    if show_first:
        for row in _sorted(first["rows" if wanted.table else "items"], wanted.sort_by, _object_of):
            shower.show(row)
    shower.flush()
    version = str(first["metadata"].get("resourceVersion", ""))
    events = wanted.client.watch(path, [*query, ("resourceVersion", version)], accept=accept)
    while True:
        try:
            event = events.next()
        except WatchEnded:
            raise CliError("the node ended the watch") from None
        if event is not None and event["type"] in ("ADDED", "MODIFIED", "DELETED"):
            for row in event["object"]["rows"] if wanted.table else [event["object"]]:
                shower.show(row)
            shower.flush()


def _object_of(row: Json) -> Json:
    found: Json = row.get("object", row)
    return found


class _Shower:
    """Prints what a watch brings; the heading stands above the first of it."""

    def __init__(self, wanted: Wanted, kind: Kind, definitions: list[Json]) -> None:
        self._printer = None if wanted.table else ObjectPrinter(wanted.output)
        self._wanted = wanted
        self._kind = kind
        self._style = wanted.style(kind)
        self._columns = Columns()
        self._definitions = definitions
        self._rows: list[Json] = []

    def show(self, row: Json) -> None:
        if self._printer is None:
            self._rows.append(row)
        else:
            value = {"apiVersion": "v1", "kind": self._kind.kind, **row}
            sys.stdout.write(self._printer.text(value, headings=self._wanted.headings))

    def flush(self) -> None:
        if self._rows:
            for line in self._columns.lines(table_rows(self._definitions, self._rows, self._style)):
                say(line)
            self._style.headings = False
            self._rows = []
        sys.stdout.flush()


SELECTOR = Option("-l", "--selector", metavar="SELECTOR", help="Labels to select by: a=b,c!=d,e in (f,g),!h.")
ALL_NAMESPACES = Option("-A", "--all-namespaces", flag=True, help="Of all namespaces, not only the given one.")

COMMAND = Command(
    "get",
    run,
    summary="Show pods, ConfigMaps, Secrets, events, nodes or namespaces.",
    usage="(TYPE [NAME...] | TYPE/NAME...)",
    details="TYPE is pods (po), configmaps (cm), secrets, events (ev), nodes (no) or namespaces (ns).\n"
    "Output formats: wide, json, yaml, name, jsonpath=TEMPLATE, custom-columns=NAME:PATH,...",
    examples="""
minikube-lite get pods
minikube-lite get pods -A -o wide
minikube-lite get pod web -o yaml
minikube-lite get pods -l app=web -w
minikube-lite get pod web -o jsonpath='{.status.podIP}'
minikube-lite get pods -o custom-columns=NAME:.metadata.name,IMAGE:.spec.containers[*].image
""",
    completes=("pods", "configmaps", "secrets", "events", "nodes", "namespaces"),
    options=(
        ALL_NAMESPACES,
        Option("-o", "--output", metavar="FORMAT", help="wide, json, yaml, name, jsonpath=..., custom-columns=..."),
        SELECTOR,
        Option("--field-selector", metavar="SELECTOR", help="Fields to select by: status.phase=Running."),
        Option("-w", "--watch", flag=True, help="Go on with what changes."),
        Option("--watch-only", flag=True, help="Only what changes from now on."),
        Option("--no-headers", flag=True, help="Without the line of column names."),
        Option("--show-labels", flag=True, help="With a last column of all labels."),
        Option("-L", "--label-columns", many=True, metavar="LABEL", help="With a column for this label (repeatable)."),
        Option("--sort-by", metavar="PATH", help="JSONPath of the field to sort by: {.metadata.name}."),
        Option("--ignore-not-found", flag=True, help="What is not there is no error."),
    ),
)
