"""Prints objects and tables as kubectl does. Called by get, events and describe. Only text is made here, no requests.

Source: k8s.io/cli-runtime/pkg/printers (tableprinter.go, name.go, json.go) and liggitt/tabwriter.
"""

from __future__ import annotations

from minikube_lite.cli.errors import CliError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    Json = dict[str, Any]

GAP = 3
NARROWEST = 6
"""Width of a column with next to nothing in it (printers.GetNewTabWriter)."""
NONE = "<none>"
FORMATS = "custom-columns,json,jsonpath,jsonpath-as-json,name,wide,yaml"


class Columns:
    """Aligns rows. Remembers the widths, so that what a watch adds later lines up with what stands above it."""

    def __init__(self) -> None:
        self._widths: list[int] = []

    def lines(self, rows: Iterable[Sequence[str]]) -> list[str]:
        """One line per row; the last cell of a row is not padded."""
        rows = list(rows)
        for row in rows:
            self._widths += [0] * (len(row) - len(self._widths))
            for index, cell in enumerate(row[:-1]):
                self._widths[index] = max(self._widths[index], len(cell) + GAP, NARROWEST)
        return [
            "".join(cell.ljust(width) for cell, width in zip(row[:-1], self._widths, strict=False)) + "".join(row[-1:])
            for row in rows
        ]


def cell(value: Any) -> str:
    """A cell on one line, nothing in it that a terminal would obey."""
    text = printable(value)
    for end in "\f\n\r":
        head, found, _ = text.partition(end)
        if found:
            text = head + "..."
    return "".join(_visible(char) for char in text) if not text.isprintable() else text


def printable(value: Any) -> str:
    if value is True or value is False:
        return "true" if value else "false"
    return "" if value is None else str(value)


def _visible(char: str) -> str:
    code = ord(char)
    if char == "\t" or code >= 160 or 32 <= code < 127:
        return char
    return f"^{chr(code ^ 64)}" if code < 128 else "?"


def labels_text(labels: Json | None) -> str:
    return ",".join(sorted(f"{key}={value}" for key, value in (labels or {}).items())) or NONE


class TableStyle:
    """What of a Table is shown."""

    def __init__(
        self,
        *,
        wide: bool = False,
        headings: bool = True,
        namespaces: bool = False,
        prefix: str = "",
        show_labels: bool = False,
        label_columns: Sequence[str] = (),
    ) -> None:
        self.wide = wide
        self.headings = headings
        self.namespaces = namespaces
        self.prefix = prefix
        """`pod/` where several types are shown."""
        self.show_labels = show_labels
        self.label_columns = label_columns


def table_rows(definitions: list[Json], rows: Iterable[Json], style: TableStyle) -> list[list[str]]:
    """The heading (if wanted) and the cells of a `meta.k8s.io/v1` Table."""
    shown = [index for index, column in enumerate(definitions) if style.wide or not column.get("priority")]
    result = []
    if style.headings:
        names = ["NAMESPACE"] if style.namespaces else []
        names += [str(definitions[index]["name"]).upper() for index in shown]
        names += [label.rsplit("/", 1)[-1].upper() for label in style.label_columns]
        result.append(names + (["LABELS"] if style.show_labels else []))
    for row in rows:
        metadata = (row.get("object") or {}).get("metadata") or {}
        cells = [metadata.get("namespace", "")] if style.namespaces else []
        for index in shown:
            text = cell(row["cells"][index])
            cells.append(style.prefix + text if definitions[index].get("format") == "name" else text)
        labels = metadata.get("labels") or {}
        cells += [cell(labels.get(label)) for label in style.label_columns]
        if style.show_labels:
            cells.append(labels_text(labels))
        result.append(cells)
    return result


def to_json(value: Any) -> str:
    """As Kubernetes prints JSON: keys sorted, four spaces."""
    import json

    return json.dumps(value, indent=4, sort_keys=True, ensure_ascii=False)


def object_list(items: list[Json]) -> Json:
    """Several objects as one `List`, as kubectl puts them together."""
    return {"apiVersion": "v1", "items": items, "kind": "List", "metadata": {"resourceVersion": ""}}


class ObjectPrinter:
    """Prints whole objects in one of the formats that are not tables. Raises CliError for one that is not known."""

    def __init__(self, output: str) -> None:
        self.format, equals, self.template = output.partition("=")
        self._columns = Columns()
        self._printed = False
        if self.format in ("jsonpath", "jsonpath-as-json", "custom-columns"):
            if not self.template:
                what = "custom-columns" if self.format == "custom-columns" else "template"
                raise CliError(f"{what} format specified but no {what} given")
            from minikube_lite.cli.jsonpath import JsonPath

            if self.format == "custom-columns":
                self._specs = [_column(spec) for spec in self.template.split(",")]
            else:
                self._path = JsonPath(self.template)
        elif self.format not in ("json", "yaml", "name") or equals:
            raise CliError(
                f'unable to match a printer suitable for the output format "{output}", allowed formats are: {FORMATS}'
            )

    def text(self, value: Json, *, headings: bool = True) -> str:
        """What to write for an object or a List, the end of the line included."""
        first, self._printed = not self._printed, True
        if self.format == "json":
            return to_json(value) + "\n"
        if self.format == "yaml":
            from minikube_lite.cli.yaml_text import to_yaml

            return ("" if first else "---\n") + to_yaml(value)
        items = value["items"] if value.get("kind") == "List" else [value]
        if self.format == "name":
            return "".join(f"{item['kind'].lower()}/{item['metadata']['name']}\n" for item in items)
        if self.format == "jsonpath":
            return self._path.text(value)
        if self.format == "jsonpath-as-json":
            return to_json(self._path.values(value)) + "\n"
        rows = [[name for name, _ in self._specs]] if headings and first else []
        rows += [[_found(path.values(item)) for _, path in self._specs] for item in items]
        return "".join(line + "\n" for line in self._columns.lines(rows))


def _column(spec: str) -> tuple[str, Any]:
    from minikube_lite.cli.jsonpath import JsonPath, relaxed

    name, colon, path = spec.partition(":")
    if not colon or not name or not path:
        raise CliError(f"unexpected custom-columns spec: {spec}, expected <header>:<json-path-expr>")
    return name, JsonPath(relaxed(path))


def _found(values: list[Any]) -> str:
    from minikube_lite.cli.jsonpath_steps import go_text

    return ",".join(NONE if value is None else go_text(value) for value in values) if values else NONE
