"""`get`: exact output, as kubectl prints it."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from tests.api.fake_node import make_event, make_pod
from tests.cli.conftest import Cli, ServedNode

TABLE = """\
NAME   READY   STATUS    RESTARTS   AGE
web    1/1     Running   0          5m
"""


def test_pods_are_a_table(node: ServedNode, cli: Cli) -> None:
    for words in (["pods"], ["pod"], ["po"], ["pods", "web"], ["pod/web"], ["po/web"]):
        shown = cli("get", *words)
        assert (shown.code, shown.out, shown.err) == (0, TABLE, "")


def test_columns_are_as_wide_as_their_widest_cell_and_three_blanks(node: ServedNode, cli: Cli) -> None:
    node.add("Pod", make_pod("a-very-long-name"))
    assert cli("get", "pods").lines == [
        "NAME               READY   STATUS    RESTARTS   AGE",
        "a-very-long-name   1/1     Running   0          5m",
        "web                1/1     Running   0          5m",
    ]


def test_all_namespaces_have_a_column(node: ServedNode, cli: Cli) -> None:
    node.add("Pod", make_pod("db", "data"))
    assert cli("get", "pods", "-A").lines == [
        "NAMESPACE   NAME   READY   STATUS    RESTARTS   AGE",
        "data        db     1/1     Running   0          5m",
        "default     web    1/1     Running   0          5m",
    ]


@pytest.mark.parametrize(
    "argv", [["-n", "data", "get", "pods"], ["get", "pods", "-n", "data"], ["get", "-ndata", "po"]]
)
def test_the_namespace_may_stand_before_and_behind_the_command(argv: list[str], node: ServedNode, cli: Cli) -> None:
    node.add("Pod", make_pod("db", "data"))
    assert cli(*argv).lines[1:] == ["db     1/1     Running   0          5m"]


def test_wide_tables_show_where_a_pod_is(node: ServedNode, cli: Cli) -> None:
    assert cli("get", "pods", "-o", "wide").lines == [
        "NAME   READY   STATUS    RESTARTS   AGE   IP         NODE   NOMINATED NODE   READINESS GATES",
        "web    1/1     Running   0          5m    10.0.0.1   box    <none>           <none>",
    ]


def test_labels_can_be_columns(node: ServedNode, cli: Cli) -> None:
    assert cli("get", "pods", "--show-labels", "-L", "app,x.io/tier").lines == [
        "NAME   READY   STATUS    RESTARTS   AGE   APP   TIER   LABELS",
        "web    1/1     Running   0          5m    web          app=web",
    ]


def test_the_heading_can_be_left_out(node: ServedNode, cli: Cli) -> None:
    assert cli("get", "pods", "--no-headers").out == "web   1/1   Running   0     5m\n"


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "No resources found in empty namespace.\n"),
        (["-l", "app=nothing", "-n", "default"], "No resources found in default namespace.\n"),
        (["-A", "-l", "app=nothing"], "No resources found\n"),
        (["-o", "wide"], "No resources found in empty namespace.\n"),
        (["-o", "name"], ""),
        (["--ignore-not-found"], ""),
    ],
)
def test_nothing_found_is_said_on_standard_error_and_is_no_error(
    argv: list[str], message: str, node: ServedNode, cli: Cli
) -> None:
    shown = cli("-n", "empty", "get", "pods", *argv)
    assert (shown.code, shown.out, shown.err) == (0, "", message)


def test_a_missing_name_does_not_hide_the_others(node: ServedNode, cli: Cli) -> None:
    shown = cli("get", "pods", "nope", "web", "neither")
    assert shown.out == TABLE
    assert shown.code == 1
    assert shown.err.splitlines() == [
        'Error from server (NotFound): pods "nope" not found',
        'Error from server (NotFound): pods "neither" not found',
    ]


def test_several_types_are_several_tables(node: ServedNode, cli: Cli) -> None:
    assert cli("get", "pods,ns").lines == [
        "NAME      READY   STATUS    RESTARTS   AGE",
        "pod/web   1/1     Running   0          5m",
        "",
        "NAME                STATUS   AGE",
        "namespace/default   Active   5m",
    ]


def test_events_are_a_table(node: ServedNode, cli: Cli) -> None:
    node.add("Event", make_event())
    assert cli("get", "ev").lines == [
        "LAST SEEN   TYPE     REASON    OBJECT    MESSAGE",
        "4m          Normal   Started   pod/web   Started container app",
    ]


def test_a_cell_stays_on_its_line_and_commands_no_terminal(node: ServedNode, cli: Cli) -> None:
    node.add("Event", make_event(message="bad \x1b[31mred\x07\nsecond line"))
    assert cli("get", "events").lines[1].endswith("pod/web   bad ^[[31mred^G...")


def test_json_is_sorted_and_indented_by_four(node: ServedNode, cli: Cli) -> None:
    one = cli("get", "pod", "web", "-o", "json").out
    assert one.startswith(
        '{\n    "apiVersion": "v1",\n    "kind": "Pod",\n    "metadata": {\n        "creationTimestamp"'
    )
    many = json.loads(cli("get", "pods", "-o", "json").out)
    assert (many["kind"], many["metadata"]) == ("List", {"resourceVersion": ""})
    assert [(item["kind"], item["metadata"]["name"]) for item in many["items"]] == [("Pod", "web")]
    assert json.loads(one) == many["items"][0]


def test_yaml_says_the_same_as_json(node: ServedNode, cli: Cli) -> None:
    node.add("Pod", make_pod("odd", metadata={"annotations": {"a": "yes", "b": "1", "c": "two\nlines\n", "d": "x: y"}}))
    text = cli("get", "pod", "odd", "-o", "yaml").out
    assert yaml.safe_load(text) == json.loads(cli("get", "pod", "odd", "-o", "json").out)
    assert '    a: "yes"\n    b: "1"\n    c: |\n      two\n      lines\n    d: \'x: y\'\n' in text
    assert "\n  containers:\n  - image: host\n    name: app\n" in text


@pytest.mark.parametrize(
    ("output", "text"),
    [
        ("name", "pod/db\npod/web\n"),
        ("jsonpath={.items[*].metadata.name}", "db web"),
        ("jsonpath-as-json={.items[*].metadata.name}", '[\n    "db",\n    "web"\n]\n'),
        (
            "custom-columns=NAME:.metadata.name,IP:status.podIP,X:.nope",
            "NAME   IP         X\ndb     10.0.0.1   <none>\nweb    10.0.0.1   <none>\n",
        ),
    ],
)
def test_other_formats(output: str, text: str, node: ServedNode, cli: Cli) -> None:
    node.add("Pod", make_pod("db"))
    assert cli("get", "pods", "-o", output).out == text


def test_rows_can_be_sorted_by_a_field(node: ServedNode, cli: Cli) -> None:
    for name, restarts in (("a", 10), ("b", 9), ("c", 100)):
        pod = make_pod(name)
        pod["status"]["containerStatuses"][0]["restartCount"] = restarts
        node.add("Pod", pod)
    names = [line.split()[0] for line in cli("get", "po", "--sort-by=.status.containerStatuses[0].restartCount").lines]
    assert names == ["NAME", "web", "b", "a", "c"]
    shown = cli("get", "pods", "--sort-by={.metadata.name}", "-o", "name")
    assert shown.lines == ["pod/a", "pod/b", "pod/c", "pod/web"]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "error: You must specify the type of resource to get: pods, configmaps, "),
        (["pdos"], 'error: the server doesn\'t have a resource type "pdos" (did you mean pods?)'),
        (
            ["deployments"],
            'error: the server doesn\'t have a resource type "deployments" (there are pods, configmaps, ',
        ),
        (
            ["pods", "-o", "xml"],
            'error: unable to match a printer suitable for the output format "xml", allowed formats are: '
            "custom-columns,json,jsonpath,jsonpath-as-json,name,wide,yaml",
        ),
        (["pods", "-o", "jsonpath={.a"], "error: error parsing jsonpath {.a, unclosed action"),
        (
            ["pods", "-o", "custom-columns=x"],
            "error: unexpected custom-columns spec: x, expected <header>:<json-path-expr>",
        ),
        (["pods", "web", "-A"], "error: a resource cannot be retrieved by name across all namespaces"),
        (["pods", "web", "-l", "a=b"], "error: name cannot be provided when a selector is specified"),
        (["pod/web", "db"], "error: there is no need to specify a resource type as a separate argument"),
        (["pod/"], 'error: arguments in resource/name form must have a single resource and name, not "pod/"'),
        (["pods", "--sort-by=.nope"], 'error: couldn\'t find any field with path ".nope" in the list of objects'),
    ],
)
def test_what_cannot_be_shown_is_an_error(argv: list[str], message: str, node: ServedNode, cli: Cli) -> None:
    shown = cli("get", *argv)
    assert (shown.code, shown.out) == (1, "")
    assert shown.err.startswith(message)


def test_a_selector_that_cannot_be_read_is_the_servers_error(node: ServedNode, cli: Cli) -> None:
    shown = cli("get", "pods", "-l", "a in (")
    assert shown.code == 1
    assert shown.err.startswith("Error from server (BadRequest): ")


def changes(node: ServedNode) -> None:
    failed: Any = make_pod("web", status={"phase": "Failed", "containerStatuses": []})
    node.when_watched(
        lambda: (
            node.fake.add("Pod", make_pod("a-long-newcomer")),
            node.fake.add("Pod", failed),
            node.fake.remove("Pod", "default", "web"),
            node._stop.set(),
        )
    )


def test_a_watch_goes_on_below_the_table_and_says_when_the_node_ends_it(node: ServedNode, cli: Cli) -> None:
    changes(node)
    shown = cli("get", "pods", "-w")
    assert shown.lines == [
        "NAME   READY   STATUS    RESTARTS   AGE",
        "web    1/1     Running   0          5m",
        "a-long-newcomer   1/1     Running   0          5m",
        "web               0/1     Failed    0          5m",
        "web               0/1     Failed    0          5m",
    ]
    assert (shown.code, shown.err) == (1, "error: the node ended the watch\n")


def test_a_watch_can_leave_out_what_is_there(node: ServedNode, cli: Cli) -> None:
    changes(node)
    assert cli("get", "pods", "--watch-only", "-o", "name").lines == ["pod/a-long-newcomer", "pod/web", "pod/web"]


def test_a_watch_of_one_name_shows_only_that(node: ServedNode, cli: Cli) -> None:
    changes(node)
    assert [line.split()[0] for line in cli("get", "pod/web", "-w").lines] == ["NAME", "web", "web", "web"]
