"""Events: counted, in order, bounded, and kept across a restart of the node."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from minikube_lite.node import events as module
from minikube_lite.node.events import MESSAGE_LIMIT, TTL, Events
from minikube_lite.node.store import ObjectStore


class Clock:
    now = 1_700_000_000.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "wall", lambda: clock.now)
    return clock


class Log:
    def __init__(self, path: Path) -> None:
        self.store = ObjectStore()
        self.events = Events(self.store, path / "events.jsonl", "node")

    def record(self, reason: str, message: str = "m", name: str = "web", **options: Any) -> None:
        self.events.record("default", name, "uid", reason, message, **options)

    @property
    def items(self) -> list[dict[str, Any]]:
        """As they came, the oldest first."""
        return sorted(self.store.list("Event", None).items, key=lambda item: int(item["metadata"]["resourceVersion"]))

    @property
    def reasons(self) -> list[str]:
        return [item["reason"] for item in self.items]


def test_an_event_is_a_kubernetes_event(tmp_path: Path, clock: Clock) -> None:
    log = Log(tmp_path)
    log.record("BackOff", "why", type="Warning", container="app")
    (event,) = log.items
    assert event["kind"] == "Event"
    assert event["involvedObject"] == {
        "kind": "Pod",
        "apiVersion": "v1",
        "name": "web",
        "namespace": "default",
        "uid": "uid",
        "fieldPath": "spec.containers{app}",
    }
    assert (event["type"], event["reason"], event["message"], event["count"]) == ("Warning", "BackOff", "why", 1)
    assert event["firstTimestamp"] == event["lastTimestamp"] == "2023-11-14T22:13:20Z"
    assert event["metadata"]["namespace"] == "default"


def test_equal_events_are_one_with_a_count_and_the_last_time(tmp_path: Path, clock: Clock) -> None:
    log = Log(tmp_path)
    log.record("A")
    log.record("B")
    clock.now += 60
    log.record("A")
    assert log.reasons == ["B", "A"]
    event = log.items[-1]
    assert (event["count"], event["firstTimestamp"], event["lastTimestamp"]) == (
        2,
        "2023-11-14T22:13:20Z",
        "2023-11-14T22:14:20Z",
    )


@pytest.mark.parametrize(
    "other", [{"reason": "B"}, {"message": "n"}, {"name": "db"}, {"type": "Warning"}, {"container": "app"}], ids=str
)
def test_events_that_differ_in_anything_are_two(tmp_path: Path, other: dict[str, Any]) -> None:
    log = Log(tmp_path)
    log.record("A")
    log.record(**{"reason": "A", **other})
    assert [item["count"] for item in log.items] == [1, 1]


def test_a_message_is_cut_to_what_an_event_may_hold(tmp_path: Path) -> None:
    log = Log(tmp_path)
    log.record("A", "x" * 5000)
    log.record("A", "x" * 5001)
    (event,) = log.items
    assert (len(event["message"]), event["message"][-1], event["count"]) == (MESSAGE_LIMIT, "…", 2)


def test_there_are_never_more_than_the_bound_and_the_oldest_go_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BOUND", 10)
    log = Log(tmp_path)
    for number in range(25):
        log.record("A", str(number))
    assert [item["message"] for item in log.items] == [str(number) for number in range(15, 25)]


def test_an_event_goes_an_hour_after_it_was_last_seen(tmp_path: Path, clock: Clock) -> None:
    log = Log(tmp_path)
    log.record("Old")
    log.record("SeenAgain")
    clock.now += TTL / 2
    log.record("SeenAgain")
    clock.now += TTL / 2 + 1
    log.record("New")
    assert log.reasons == ["SeenAgain", "New"]


def test_events_are_kept_across_a_restart_and_counted_on(tmp_path: Path, clock: Clock) -> None:
    log = Log(tmp_path)
    log.record("A")
    log.record("B")
    log.record("A")
    log.events.save()
    clock.now += 60
    after = Log(tmp_path)
    after.events.load()
    assert after.reasons == ["B", "A"]
    after.record("B")
    assert [(item["reason"], item["count"]) for item in after.items] == [("A", 2), ("B", 2)]


def test_what_grew_too_old_while_no_node_ran_is_not_shown(tmp_path: Path, clock: Clock) -> None:
    log = Log(tmp_path)
    log.record("A")
    log.events.save()
    clock.now += TTL + 1
    after = Log(tmp_path)
    after.events.load()
    assert after.items == []


@pytest.mark.parametrize(
    "line",
    ['[["a"], 1.0, {"meta', "null", "{}", "[1, 2, 3]", '[1, 2, {"metadata": {"name": "x", "namespace": "y"}}]', "\x00"],
)
def test_a_line_that_cannot_be_read_is_left_out_and_said(tmp_path: Path, line: str) -> None:
    log = Log(tmp_path)
    log.record("A")
    log.record("B")
    log.events.save()
    path = tmp_path / "events.jsonl"
    first, second = path.read_text().splitlines()
    path.write_text(f"{first}\n{line}\n{second}\n{second[: len(second) // 2]}")
    after = Log(tmp_path)
    with capture_logs() as logs:
        after.events.load()
    assert after.reasons == ["A", "B"]
    assert [(entry["event"], entry["lines"]) for entry in logs] == [("events_not_loaded", 2)]
    after.events.save()
    after.record("C")


@pytest.mark.parametrize("data", [b"\xff\xfe", b"", b"\n\n"])
def test_a_file_of_another_kind_is_no_reason_not_to_start(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "events.jsonl").write_bytes(data)
    log = Log(tmp_path)
    log.events.load()
    assert log.items == []


def test_a_full_disk_loses_events_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = Log(tmp_path)
    log.record("A")
    log.events.save()
    before = (tmp_path / "events.jsonl").read_bytes()
    log.record("B")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched, capture_logs() as logs:
        patched.setattr(os, "replace", full)
        log.events.save()
    assert [entry["event"] for entry in logs] == ["events_not_saved"]
    assert {item.name: item.read_bytes() for item in tmp_path.iterdir()} == {"events.jsonl": before}
    assert log.reasons == ["A", "B"]
    log.events.save()
    lines = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert [event["reason"] for _, _, event in lines] == ["A", "B"]


def test_nothing_new_is_not_written(tmp_path: Path) -> None:
    log = Log(tmp_path)
    log.record("A")
    log.events.save()
    before = (tmp_path / "events.jsonl").stat().st_ino
    log.events.save()
    assert (tmp_path / "events.jsonl").stat().st_ino == before
