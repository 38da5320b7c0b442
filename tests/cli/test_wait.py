"""`wait` and `events`."""

from __future__ import annotations

from typing import Any

import pytest

from minikube_lite.cli.conditions import condition, why_not_ready
from minikube_lite.cli.errors import CliError
from tests.api.fake_node import make_event, make_pod
from tests.cli.conftest import Cli, ServedNode

READY = make_pod()
NOT_READY = make_pod(status={"conditions": [{"type": "Ready", "status": "False"}]})


@pytest.mark.parametrize(
    ("text", "pod", "met"),
    [
        ("condition=Ready", READY, True),
        ("condition=ready", READY, True),
        ("condition=Ready=true", READY, True),
        ("condition=Ready=False", READY, False),
        ("condition=Ready", NOT_READY, False),
        ("condition=Ready=false", NOT_READY, True),
        ("condition=Other", READY, False),
        ("condition=Ready", None, False),
        ("delete", None, True),
        ("delete", READY, False),
        ("create", READY, True),
        ("create", None, False),
        ("jsonpath={.status.phase}=Running", READY, True),
        ("jsonpath='{.status.phase}'=Running", READY, True),
        ("jsonpath={.status.phase}=Failed", READY, False),
        ("jsonpath=.status.phase=Running", READY, True),
        ("jsonpath={.status.podIP}", READY, True),
        ("jsonpath={.status.nope}", READY, False),
        ("jsonpath={.status.nope}=x", READY, False),
        ('jsonpath={.status.conditions[?(@.type=="Ready")].status}=True', READY, True),
        ("jsonpath={.status.phase}=Running", None, False),
        (
            "condition=Ready",
            make_pod(metadata={"generation": 2}, status=READY["status"] | {"observedGeneration": 1}),
            False,
        ),
    ],
)
def test_a_condition_is_met_or_not(text: str, pod: dict[str, Any] | None, met: bool) -> None:
    assert condition(text).met(pod) is met


@pytest.mark.parametrize("text", ["Ready", "jsonpath={.a}=", "jsonpath={.a}x", "jsonpath={.a"])
def test_what_is_no_condition_is_refused(text: str) -> None:
    with pytest.raises(CliError):
        condition(text)


def test_a_path_to_more_than_a_value_is_refused() -> None:
    with pytest.raises(CliError, match="nested object or list"):
        condition("jsonpath={.status}=x").met(READY)


def state(**changes: Any) -> dict[str, Any]:
    return make_pod(status={"conditions": [], "containerStatuses": [{"name": "app", "ready": False, **changes}]})


@pytest.mark.parametrize(
    ("pod", "why"),
    [
        (None, "it does not exist"),
        (make_pod(status={"reason": "InvalidManifest", "message": "line 3"}), "InvalidManifest: line 3"),
        (
            state(state={"waiting": {"reason": "ErrImagePull", "message": "no"}}),
            "container app waits: ErrImagePull: no",
        ),
        (
            state(
                state={"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 2s"}},
                lastState={"terminated": {"exitCode": 3, "reason": "Error", "message": "no configuration"}},
            ),
            "container app is in CrashLoopBackOff: Error: no configuration (exit code 3)",
        ),
        (
            state(state={"terminated": {"reason": "Error", "exitCode": 1}}),
            "container app has ended: Error (exit code 1)",
        ),
        (state(state={"running": {"startedAt": "x"}}), "container app runs but is not ready"),
        (make_pod(status={"phase": "Pending", "containerStatuses": []}), "its phase is Pending"),
    ],
)
def test_why_a_pod_is_not_ready(pod: dict[str, Any] | None, why: str) -> None:
    assert why_not_ready(pod) == why


@pytest.mark.parametrize(
    "words", [["pod/web"], ["pod", "web"], ["pods", "-l", "app=web"], ["pods", "--all"], ["po", "-A", "--all"]]
)
def test_a_met_condition_is_said(words: list[str], node: ServedNode, cli: Cli) -> None:
    shown = cli("wait", "--for=condition=Ready", *words)
    assert (shown.code, shown.out, shown.err) == (0, "pod/web condition met\n", "")


def test_it_waits_for_a_change(node: ServedNode, cli: Cli) -> None:
    node.when_watched(lambda: node.fake.add("Pod", make_pod(status={"phase": "Failed"})))
    assert cli("wait", "--for=jsonpath={.status.phase}=Failed", "pod/web").out == "pod/web condition met\n"


def test_it_waits_for_a_pod_to_come_and_to_go(node: ServedNode, cli: Cli) -> None:
    node.when_watched(lambda: node.fake.add("Pod", make_pod("new")))
    assert cli("wait", "--for=create", "pod/new").out == "pod/new condition met\n"
    node.when_watched(lambda: node.fake.remove("Pod", "default", "new"))
    assert cli("wait", "--for=delete", "pod/new").out == "pod/new condition met\n"
    assert cli("wait", "--for=delete", "pod/new").code == 0


def test_it_gives_up_with_the_reason(node: ServedNode, cli: Cli) -> None:
    node.add("Pod", NOT_READY)
    shown = cli("wait", "--for=condition=Ready", "pod/web", "--timeout=0")
    assert (shown.code, shown.out) == (1, "")
    assert shown.err == "error: timed out waiting for the condition on pods/web: its phase is Running\n"


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["pod/web"], "error: --for is needed"),
        (["--for=delete"], "error: name what to wait for"),
        (["--for=delete", "pods"], "error: resource(s) were provided, but no name was specified"),
        (["--for=condition=Ready", "pod/nope"], 'Error from server (NotFound): pods "nope" not found'),
        (["--for=condition=Ready", "pods", "-l", "app=nope"], "error: no matching resources found"),
        (["--for=Ready", "pod/web"], 'error: unrecognized condition: "Ready"'),
    ],
)
def test_what_cannot_be_waited_for_is_an_error(argv: list[str], message: str, node: ServedNode, cli: Cli) -> None:
    shown = cli("wait", *argv)
    assert (shown.code, shown.out) == (1, "")
    assert shown.err.startswith(message)


def test_a_node_that_stops_ends_the_wait(node: ServedNode, cli: Cli) -> None:
    node.when_watched(node._stop.set)
    shown = cli("wait", "--for=delete", "pod/web")
    assert shown.code == 1
    assert "no node is running at" in shown.err


# -- events ----------------------------------------------------------------------------------------------------------


def recent(name: str, about: str, minutes: int, **changes: Any) -> dict[str, Any]:
    from datetime import UTC, datetime, timedelta

    stamp = (datetime.now(UTC) - timedelta(minutes=minutes)).strftime("%Y-%m-%dT%H:%M:%SZ")
    return make_event(name, about=about, firstTimestamp=stamp, lastTimestamp=stamp, count=1) | changes


def test_events_stand_in_the_order_they_happened(node: ServedNode, cli: Cli) -> None:
    node.add("Event", recent("a", "web", 20))
    node.add("Event", recent("b", "db", 200, type="Warning", reason="BackOff", message="again"))
    assert cli("events").lines == [
        "LAST SEEN   TYPE      REASON    OBJECT    MESSAGE",
        "3h20m       Warning   BackOff   Pod/db    again",
        "20m         Normal    Started   Pod/web   Started container app",
    ]
    assert len(cli("events", "--for", "pod/web").lines) == 2
    assert [line.split()[1] for line in cli("events", "--types=Warning", "--no-headers").lines] == ["Warning"]
    assert cli("events", "-A").lines[1].startswith("default     3h20m")
    assert cli("events", "-o", "name").lines == ["event/b", "event/a"]


def test_a_watch_of_events_goes_on(node: ServedNode, cli: Cli) -> None:
    node.add("Event", recent("a", "web", 20))
    node.when_watched(lambda: [node.fake.add("Event", recent("b", "web", 5, reason="Killing")), node._stop.set()])
    shown = cli("events", "-w")
    assert [line.split()[2] for line in shown.lines] == ["TYPE", "Started", "Killing"]
    assert (shown.code, shown.err) == (1, "error: the node ended the watch\n")


def test_no_events_are_no_error(node: ServedNode, cli: Cli) -> None:
    shown = cli("events")
    assert (shown.code, shown.out, shown.err) == (0, "", "No events found in default namespace.\n")
    assert cli("events", "--types=Odd").err == "error: valid --types are Normal or Warning\n"
