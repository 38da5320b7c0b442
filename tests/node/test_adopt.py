"""Another node takes over: killed at any boundary, over a reboot, with broken records. Nothing is lost or run twice."""

from __future__ import annotations

import itertools
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from minikube_lite.node import records
from minikube_lite.node.records import PodRecord
from minikube_lite.node.runtime import RuntimeFailure
from tests.node.harness import GRACE, KEY, Life, NodeKilled, app, wanted


@pytest.fixture
def life(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Life:
    return Life(tmp_path / "root", monkeypatch)


FIRST = wanted(app("a", resources={"limits": {"cpu": "100m"}}), app("b"))
SECOND = wanted(app("a", resources={"limits": {"cpu": "200m"}}), app("b", command=["true"]), app("c"))
THIRD = wanted(app("a"), hostname="other")
LIFE: dict[str, Callable[[Life], Awaitable[None]]] = {
    "created": lambda life: life.want(FIRST),
    "a ends": lambda life: _end(life, "a"),
    "a ends again": lambda life: _end(life, "a"),
    "configured": lambda life: life.want(SECOND),
    "replaced": lambda life: life.want(THIRD),
    "deleted": lambda life: life.want(None),
}


async def _end(life: Life, container: str) -> None:
    if container in life.running:
        life.runtime.end(container, 1)
    await life.settle()
    await life.pass_time(20)


class Ledger:
    """Watches over starts: no run has a count that an earlier one of the same container had."""

    def __init__(self, life: Life) -> None:
        self.counts: dict[tuple[str, str], int] = {}
        life.runtime.on_start = self.on_start
        self.life = life

    def on_start(self, record: PodRecord, container: str, bundle: str) -> None:
        key, count = (record.observed.uid, container), record.container(container).restart_count
        saved = records.load(self.life.paths.pod_state(record.observed.uid))
        assert saved.container(container).restart_count == count, "stored before the start"
        assert count >= self.counts.get(key, 0), "restart counts never fall"
        ran = [run for (uid, _), run in self.life.runtime.runs.items() if (uid, run.container) == key]
        assert len(ran) <= count, "each run has a count of its own"
        self.counts[key] = count


async def _live(life: Life, kill_at: int | None) -> bool:
    """A whole life; the node dies at boundary number `kill_at`. Says whether there was one."""
    boundaries = itertools.count()
    killed = False

    def boundary(where: str) -> None:
        nonlocal killed
        if next(boundaries) == kill_at:
            killed = True
            life.runtime.watched.clear()
            raise NodeKilled(where)

    life.runtime.boundary = boundary
    ledger = Ledger(life)
    for step in LIFE.values():
        try:
            await step(life)
        except NodeKilled:
            await life.adopt()
            await step(life)
        await life.pass_time(20)
        wanted_now = life.desired.get(KEY)
        names = [item.name for item in wanted_now.pod.spec.containers] if wanted_now else []
        assert life.running == sorted(names), "it comes to what is asked for"
        if wanted_now is not None:
            assert [life.seen(name).state for name in names] == ["running"] * len(names)
            saved = life.on_disk()
            for name in names:
                assert saved.container(name).restart_count == life.seen(name).restart_count
                assert saved.bundles[name] == life.pod.bundles[name]
    assert ledger.counts
    for directory in (life.paths.pods, life.paths.run / "pods"):
        assert list(directory.iterdir()) == [], "nothing is left"
    return killed


async def test_a_node_that_is_killed_at_any_boundary_is_taken_over_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = records.write_json
    number = 0
    while True:
        life = Life(tmp_path / str(number), monkeypatch)

        def write_json(path: Path, value: Any, life: Life = life) -> None:
            life.runtime.boundary(f"before {path.name}")
            write(path, value)
            life.runtime.boundary(f"after {path.name}")

        monkeypatch.setattr(records, "write_json", write_json)
        if not await _live(life, number):
            break
        number += 1
    assert number > 50, "boundaries were met"


async def test_what_runs_goes_on_with_the_same_pid_and_count_and_is_in_control(life: Life) -> None:
    await life.want(wanted())
    life.runtime.end("app", 1)
    await life.settle()
    pid, count = life.seen().pid, life.seen().restart_count
    calls = list(life.runtime.calls)
    assert await life.adopt() == 1
    await life.settle()
    assert life.runtime.calls == calls
    assert (life.seen().state, life.seen().pid, life.seen().restart_count) == ("running", pid, count)
    life.runtime.end("app", 1)
    await life.settle()
    await life.pass_time(10)
    assert life.seen().restart_count == count + 1


async def test_back_off_is_kept(life: Life) -> None:
    await life.want(wanted())
    for _ in range(4):
        life.runtime.end("app", 1)
        await life.settle()
        await life.pass_time(10)
    life.runtime.end("app", 1)
    await life.settle()
    due = life.wake[KEY]
    await life.adopt()
    await life.settle()
    assert life.running == []
    assert life.wake[KEY] == due


async def test_an_end_that_no_node_saw_counts(life: Life) -> None:
    await life.want(wanted(restartPolicy="Never"))
    life.runtime.watched.clear()
    life.runtime.end("app", 3)
    assert await life.adopt() == 0
    await life.settle()
    ended = life.seen().exit
    assert ended is not None
    assert (life.seen().state, ended.code, life.starts()) == ("exited", 3, 1)


async def test_a_command_that_could_not_be_started_is_not_tried_again_by_the_next_node(life: Life) -> None:
    life.runtime.fail_start = [RuntimeFailure("StartError", "no such file or directory")]
    await life.want(wanted(restartPolicy="Never"))
    await life.adopt()
    await life.settle()
    assert life.starts() == 0
    ended = life.seen().exit
    assert ended is not None
    assert ended.code == 128


async def test_deadlines_stay_where_they_were_and_what_was_asked_to_end_is_asked_again(life: Life) -> None:
    life.runtime.obeys_term = False
    await life.want(wanted())
    began = life.now
    await life.want(None)
    life.now += 10
    await life.adopt()
    await life.settle()
    assert life.wake[KEY] == began + GRACE
    assert [call for call in life.runtime.calls if call[0] == "signal"] == [("signal", "app", "15")] * 2
    await life.pass_time(GRACE - 10)
    assert (life.running, life.pods.get(KEY)) == ([], None)


async def test_a_manifest_that_changed_meanwhile_is_carried_out(life: Life) -> None:
    await life.want(wanted())
    life.desired[KEY] = wanted(app(command=["true"]))
    await life.adopt()
    await life.settle()
    assert life.seen().restart_count == 1
    life.desired.clear()
    await life.adopt()
    await life.settle()
    assert life.pods.get(KEY) is None


async def test_after_a_reboot_all_is_started_anew_and_counts_are_kept(life: Life) -> None:
    await life.want(wanted())
    life.runtime.end("app", 1)
    await life.settle()
    uid = life.pod.observed.uid
    assert await life.reboot() == 0
    sandbox = life.pod.observed.sandbox
    assert sandbox is not None
    assert not sandbox.ready
    await life.settle()
    await life.pass_time(10)
    assert life.running == ["app"]
    assert (life.pod.observed.uid, life.seen().restart_count) == (uid, 2)
    assert life.on_disk().boot_id == life.boot_id


async def test_a_pod_that_was_going_is_gone_after_a_reboot(life: Life) -> None:
    life.runtime.obeys_term = False
    await life.want(wanted())
    await life.want(None)
    await life.reboot()
    await life.settle()
    assert life.pods.get(KEY) is None


async def test_a_container_of_which_nobody_knows_what_it_does_is_killed_and_started_anew(life: Life) -> None:
    await life.want(wanted())
    life.runtime.fail_inspect = [RuntimeFailure("CreateContainerError", "the shim does not say what it does")]
    assert await life.adopt() == 0
    ended = life.seen().exit
    assert ended is not None
    assert (ended.reason, ended.message) == ("ContainerStatusUnknown", "the shim does not say what it does")
    await life.settle()
    await life.pass_time(10)
    assert (life.running, life.seen().restart_count) == (["app"], 1)


@pytest.mark.parametrize(
    "broken",
    ["", "{", "null", "[]", '{"version": 1}', '{"version": 999}', b"\xff\xfe\x00"],
    ids=["empty", "torn", "null", "a list", "no fields", "a newer version", "binary"],
)
async def test_a_record_that_cannot_be_read_is_set_aside_swept_and_the_pod_is_made_anew(
    life: Life, broken: str | bytes
) -> None:
    await life.want(wanted())
    uid = life.pod.observed.uid
    life.runtime.runs.clear()  # its cgroup is swept too, which the kernel's tests show
    life.runtime.sandboxes.clear()
    data = broken.encode() if isinstance(broken, str) else broken
    (life.paths.pod_state(uid) / "record.json").write_bytes(data)
    with capture_logs() as logs:
        assert await life.adopt() == 0
    assert {entry["event"] for entry in logs} == {"record_set_aside", "orphan_swept"}
    assert list(life.paths.pods.iterdir()) == []
    assert list((life.paths.run / "pods").iterdir()) == []
    await life.settle()
    assert life.running == ["app"]
    assert life.pod.observed.uid != uid


async def test_two_records_of_one_pod_are_one_too_many(life: Life) -> None:
    await life.want(wanted())
    directory = life.paths.pod_state(life.pod.observed.uid)
    other = life.paths.pod_state("zzz")
    other.mkdir()
    for name in ("pod.json", "record.json"):
        value = json.loads((directory / name).read_text())
        (other / name).write_text(json.dumps({**value, "uid": "zzz"} if name == "record.json" else value))
    assert await life.adopt() == 1
    assert list(life.paths.pods.iterdir()) == [directory]


async def test_logs_of_pods_that_are_no_more_are_swept_and_others_stay(life: Life) -> None:
    await life.want(wanted())
    logs = life.paths.logs / "pods"
    mine = logs / f"default_web_{life.pod.observed.uid}"
    for directory in (mine, logs / "default_gone_1234"):
        directory.mkdir(parents=True)
    await life.adopt()
    assert list(logs.iterdir()) == [mine]


async def test_a_state_directory_that_is_not_there_is_an_empty_one(life: Life) -> None:
    life.paths.pods.rmdir()
    assert await life.adopt() == 0
