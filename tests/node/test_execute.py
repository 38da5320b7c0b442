"""Carrying plans out: whole lives of a pod against a runtime of values, on a clock that only the test turns."""

from __future__ import annotations

import asyncio
import errno
import threading
from pathlib import Path
from typing import Any

import pytest

from minikube_lite.core.model import CreatePod, Plan
from minikube_lite.images.image import ImageError
from minikube_lite.node import execute, records
from minikube_lite.node.records import PodRecord
from minikube_lite.node.runtime import RuntimeFailure
from tests.node.harness import GRACE, KEY, Life, app, wanted

FULL = OSError(errno.ENOSPC, "No space left on device")


@pytest.fixture
def life(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Life:
    return Life(tmp_path / "root", monkeypatch)


async def test_a_wanted_pod_gets_a_record_a_sandbox_and_its_containers(life: Life) -> None:
    await life.want(wanted(app("a"), app("b")))
    assert life.runtime.calls == [("sandbox", KEY), ("start", "a"), ("start", "b")]
    assert life.running == ["a", "b"]
    assert {life.seen(name).state for name in ("a", "b")} == {"running"}
    assert life.seen("a").restart_count == 0
    assert life.wake[KEY] is None
    assert life.published


async def test_what_is_wanted_and_there_needs_nothing(life: Life) -> None:
    await life.want(wanted())
    calls = list(life.runtime.calls)
    await life.settle()
    assert life.runtime.calls == calls


async def test_count_bundle_and_spec_are_on_disk_before_the_start(life: Life) -> None:
    told: list[tuple[int, str, str]] = []

    def on_start(record: PodRecord, container: str, bundle: str) -> None:
        saved = life.on_disk()
        told.append((saved.container("app").restart_count, saved.bundles["app"], saved.boot_id))
        assert saved.observed.pod == record.observed.pod
        assert saved.bundles["app"] == bundle

    life.runtime.on_start = on_start
    await life.want(wanted())
    for _ in range(3):
        life.runtime.end("app", 1)
        await life.settle()
        await life.pass_time(10)
    assert [count for count, _, _ in told] == [0, 1, 2, 3]
    assert len({bundle for _, bundle, _ in told}) == 4


# -- restarts


async def test_the_first_restart_is_at_once_and_then_back_off_doubles_to_its_bound(life: Life) -> None:
    await life.want(wanted())
    waits = []
    for count in range(1, 8):
        life.runtime.end("app", 1)
        await life.settle()
        began = life.now
        while life.running == []:
            at = life.wake[KEY]
            assert at is not None
            await life.pass_time(at - life.now)
        waits.append(life.now - began)
        assert life.seen().restart_count == count
    assert waits == [0, 1, 2, 4, 8, 8, 8]
    assert "Back-off restarting failed container app in pod default/web" in life.said("BackOff")


async def test_a_run_long_enough_forgives(life: Life) -> None:
    await life.want(wanted())
    for _ in range(4):
        life.runtime.end("app", 1)
        await life.settle()
        await life.pass_time(10)
    await life.pass_time(200)
    life.runtime.end("app", 1)
    await life.settle()
    assert life.running == ["app"]
    assert life.seen().failures == 0


@pytest.mark.parametrize(
    ("policy", "code", "again"),
    [
        ("Always", 0, True),
        ("Always", 1, True),
        ("OnFailure", 0, False),
        ("OnFailure", 1, True),
        ("Never", 0, False),
        ("Never", 1, False),
    ],
)
async def test_restart_policy_decides_what_an_end_means(life: Life, policy: str, code: int, again: bool) -> None:
    await life.want(wanted(restartPolicy=policy))
    life.runtime.end("app", code)
    await life.settle()
    await life.pass_time(100)
    assert life.starts() == (2 if again else 1)
    assert (life.running == ["app"]) == again
    if not again:
        ended = life.seen().exit
        assert ended is not None
        assert ended.code == code
        assert life.wake[KEY] is None


@pytest.mark.parametrize(("policy", "again"), [("Always", True), ("OnFailure", True), ("Never", False)])
async def test_a_command_that_cannot_be_started_is_an_end_with_128(life: Life, policy: str, again: bool) -> None:
    life.runtime.fail_start = [RuntimeFailure("StartError", 'exec: "nope": executable file not found in $PATH')]
    await life.want(wanted(restartPolicy=policy))
    ended = life.seen().exit or life.seen().last_exit
    assert ended is not None
    assert (ended.code, ended.reason) == (128, "StartError")
    assert "executable file not found" in ended.message
    assert (life.running == ["app"]) == again
    assert life.seen().restart_count == (1 if again else 0)
    assert any("could not be started" in message for message in life.said("StartError"))


async def test_starts_that_fail_again_and_again_leave_no_bundle_behind(life: Life) -> None:
    life.runtime.fail_start = [RuntimeFailure("StartError", "no") for _ in range(6)]
    bundles: list[str] = []
    life.runtime.on_start = lambda record, container, bundle: bundles.append(bundle)
    await life.want(wanted())
    await life.pass_time(100)
    assert life.running == ["app"]
    gone = {bundle for _, bundle, _ in life.runtime.forgotten}
    gone_with_log = {bundle for _, bundle, log in life.runtime.forgotten if log}
    assert gone == set(bundles[:-1])
    assert gone_with_log == set(bundles[:-2]), "the log of the run before is kept"


async def test_a_container_that_cannot_be_made_is_tried_again_with_back_off_and_counts_no_restart(life: Life) -> None:
    life.runtime.fail_start = [RuntimeFailure("CreateContainerError", "no such user") for _ in range(3)]
    await life.want(wanted(restartPolicy="Never"))
    failure = life.seen().create_failure
    assert failure is not None
    assert (failure.reason, failure.message, failure.count) == ("CreateContainerError", "no such user", 1)
    assert life.wake[KEY] == life.now + 1
    await life.pass_time(1 + 2 + 4)
    assert life.running == ["app"]
    assert (life.seen().restart_count, life.seen().create_failure) == (0, None)
    assert len(life.runtime.forgotten) == 3, "what was begun of it is removed"


async def test_the_end_before_a_failed_start_is_not_forgotten(life: Life) -> None:
    await life.want(wanted())
    life.runtime.fail_start = [RuntimeFailure("CreateContainerError", "no")]
    bundle = life.pod.bundles["app"]
    life.runtime.end("app", 3)
    await life.settle()
    seen = life.seen()
    assert seen.exit is not None
    assert (seen.state, seen.exit.code, seen.restart_count) == ("exited", 3, 0)
    assert life.pod.bundles["app"] == bundle, "logs shows what it said"
    await life.pass_time(10)
    assert (life.running, life.seen().restart_count) == (["app"], 1)
    assert life.pod.previous_bundles["app"] == bundle


async def test_a_sandbox_that_cannot_be_made_is_tried_again_with_back_off(life: Life) -> None:
    life.runtime.fail_sandbox = [RuntimeFailure("FailedCreatePodSandBox", "no") for _ in range(2)]
    await life.want(wanted())
    assert life.running == []
    assert life.wake[KEY] == life.now + 1
    assert life.said("FailedCreatePodSandBox")
    await life.pass_time(3)
    assert life.running == ["app"]
    assert life.pod.observed.sandbox_failure is None


async def test_an_image_that_cannot_be_had_is_tried_again_with_back_off_and_holds_up_no_other(life: Life) -> None:
    life.images.fail["/gone"] = [ImageError("ErrImagePull", "no such directory") for _ in range(2)]
    await life.want(wanted(app("a", image="/gone"), app("b")))
    assert life.running == ["b"]
    failure = life.seen("a").image_failure
    assert failure is not None
    assert (failure.reason, failure.count) == ("ErrImagePull", 1)
    await life.pass_time(2 + 4)
    assert life.running == ["a", "b"]


async def test_a_relative_image_is_one_of_the_manifests_directory(life: Life) -> None:
    await life.want(wanted(app(image="./rootfs"), source="/m/web.yaml"))
    assert life.images.resolved == [("./rootfs", Path("/m"))]


async def test_a_long_pull_goes_on_in_the_background_once(life: Life, monkeypatch: pytest.MonkeyPatch) -> None:
    gate, resolve = threading.Event(), life.images.resolve

    def slow(reference: str, base: Path) -> Any:
        assert reference not in life.images.slow or gate.wait(10)
        return resolve(reference, base)

    life.images.slow.add("/big")
    monkeypatch.setattr(life.images, "resolve", slow)
    await life.want(wanted(app("a", image="/big"), app("b")))
    assert life.running == ["b"]
    assert life.seen("a").image == "pulling"
    await life.settle()
    gate.set()
    while life.running != ["a", "b"]:
        await life.settle()
    assert [reference for reference, _ in life.images.resolved].count("/big") == 1


async def test_a_pod_that_goes_while_its_image_is_pulled_is_gone(life: Life, monkeypatch: pytest.MonkeyPatch) -> None:
    gate, resolve = threading.Event(), life.images.resolve

    def slow(reference: str, base: Path) -> Any:
        assert reference not in life.images.slow or gate.wait(10)
        return resolve(reference, base)

    life.images.slow.add("/big")
    monkeypatch.setattr(life.images, "resolve", slow)
    await life.want(wanted(app("a", image="/big")))
    await life.want(None)
    gate.set()
    await life.settle()
    await life.executor.close()
    assert life.pods.get(KEY) is None


# -- what the image's config asks for


async def test_a_container_is_asked_to_end_with_its_image_s_signal_after_a_restart_of_the_node_too(life: Life) -> None:
    life.images.config["/web"] = {"StopSignal": "SIGQUIT", "Healthcheck": {"Test": ["CMD", "true"]}}
    life.runtime.obeys_term = False
    await life.want(wanted(app(image="/web")))
    assert life.seen().image_healthcheck
    await life.adopt()
    await life.want(None)
    assert [call for call in life.runtime.calls if call[0] == "signal"] == [("signal", "app", "3")]
    await life.adopt()
    assert [call for call in life.runtime.calls if call[0] == "signal"] == [("signal", "app", "3")] * 2


async def test_a_stop_signal_that_is_none_is_said_and_sigterm_sent(life: Life) -> None:
    life.images.config["/web"] = {"StopSignal": "SIGNONE"}
    await life.want(wanted(app(image="/web")))
    assert life.said("NotHonoured") == ["the image's StopSignal `SIGNONE` is no signal: SIGTERM is sent instead"]
    await life.want(None)
    assert ("signal", "app", "15") in life.runtime.calls


# -- edits


@pytest.mark.parametrize(
    ("edit", "calls"),
    [
        ({"meta": {"labels": {"a": "b"}}}, []),
        ({"meta": {"annotations": {"a": "b"}}}, []),
        ({"terminationGracePeriodSeconds": 5}, []),
        ({"restartPolicy": "OnFailure"}, []),
        ({"source": "/m/other.yaml"}, []),
    ],
    ids=str,
)
async def test_an_edit_that_concerns_no_process_touches_none(
    life: Life, edit: dict[str, Any], calls: list[Any]
) -> None:
    await life.want(wanted(app("a"), app("b")))
    del life.runtime.calls[:]
    await life.want(wanted(app("a"), app("b"), **edit))
    assert life.runtime.calls == calls
    saved = life.on_disk().observed
    assert (saved.pod, saved.source) == (life.desired[KEY].pod, life.desired[KEY].source)


@pytest.mark.parametrize("change", [{"command": ["true"]}, {"image": "/other"}, {"env": [{"name": "A", "value": "1"}]}])
async def test_a_changed_container_is_restarted_and_no_other(life: Life, change: dict[str, Any]) -> None:
    await life.want(wanted(app("a"), app("b"), restartPolicy="Never"))
    del life.runtime.calls[:]
    await life.want(wanted(app("a", **change), app("b"), restartPolicy="Never"))
    assert [call[:2] for call in life.runtime.calls] == [("signal", "a"), ("start", "a"), ("forget", "a")]
    assert (life.seen("a").restart_count, life.seen("b").restart_count) == (1, 0)
    assert life.running == ["a", "b"]


async def test_what_runs_is_not_taken_down_for_an_image_that_cannot_be_had(life: Life) -> None:
    await life.want(wanted())
    life.images.fail["/gone"] = [ImageError("ErrImagePull", "no such directory")] * 3
    await life.want(wanted(app(image="/gone")))
    assert life.running == ["app"]
    assert life.starts() == 1
    await life.pass_time(100)
    assert (life.starts(), life.running) == (2, ["app"])


async def test_changed_limits_are_written_to_what_runs(life: Life) -> None:
    await life.want(wanted(app("a", resources={"limits": {"cpu": "100m"}}), app("b")))
    del life.runtime.calls[:]
    await life.want(wanted(app("a", resources={"limits": {"cpu": "200m"}}), app("b")))
    assert ("resize", "a") in life.runtime.calls
    assert {call[0] for call in life.runtime.calls} == {"resize"}
    assert life.said("Resized")
    calls = list(life.runtime.calls)
    await life.settle()
    assert life.runtime.calls == calls


async def test_a_limit_that_the_kernel_refuses_is_said_once_and_nothing_dies(life: Life) -> None:
    await life.want(wanted())
    life.runtime.fail_resize = [OSError(errno.EINVAL, "Invalid argument")] * 2
    await life.want(wanted(app(resources={"limits": {"cpu": "200m"}})))
    assert life.said("ResizeFailed")
    assert life.running == ["app"]


async def test_a_container_that_the_spec_no_longer_has_ends_and_is_forgotten(life: Life) -> None:
    await life.want(wanted(app("a"), app("b")))
    await life.want(wanted(app("a")))
    assert life.running == ["a"]
    assert set(life.pod.observed.containers) == set(life.pod.bundles) == {"a"}
    await life.want(wanted(app("a"), app("b")))
    assert (life.running, life.seen("b").restart_count) == (["a", "b"], 0)


async def test_a_changed_sandbox_is_another_pod_after_the_old_one_is_dead(life: Life) -> None:
    await life.want(wanted())
    uid = life.pod.observed.uid
    del life.runtime.calls[:]
    await life.want(wanted(hostname="other"))
    assert [call[0] for call in life.runtime.calls] == ["signal", "remove", "sandbox", "start"]
    assert life.pod.observed.uid != uid
    assert life.seen().restart_count == 0


async def test_a_sandbox_that_is_lost_is_made_anew_with_what_ran_in_it(life: Life) -> None:
    await life.want(wanted())
    del life.runtime.calls[:]
    life.executor.sandbox_lost(life.pod.observed.uid)
    await life.settle()
    await life.pass_time(10)
    assert [call[0] for call in life.runtime.calls if call[0] != "forget"] == ["kill", "sandbox", "start"]
    assert life.running == ["app"]


# -- the end


async def test_a_pod_that_is_not_wanted_any_more_is_asked_then_removed(life: Life) -> None:
    await life.want(wanted(app("a"), app("b")))
    del life.runtime.calls[:]
    await life.want(None)
    assert life.runtime.calls == [("signal", "a", "15"), ("signal", "b", "15"), ("remove", KEY)]
    assert life.pods.get(KEY) is None
    assert list(life.paths.pods.iterdir()) == []


async def test_what_does_not_obey_is_killed_at_the_one_deadline(life: Life) -> None:
    life.runtime.obeys_term = False
    await life.want(wanted(app("a"), app("b")))
    began = life.now
    await life.want(None)
    assert life.running == ["a", "b"]
    assert life.wake[KEY] == began + GRACE
    await life.pass_time(GRACE - 1)
    assert life.running == ["a", "b"]
    await life.pass_time(1)
    assert life.running == []
    assert life.pods.get(KEY) is None
    assert [call for call in life.runtime.calls if call[0] == "signal"] == [
        ("signal", "a", "15"),
        ("signal", "b", "15"),
    ]


async def test_no_grace_is_an_immediate_kill(life: Life) -> None:
    await life.want(wanted(terminationGracePeriodSeconds=0))
    del life.runtime.calls[:]
    await life.want(None)
    assert life.runtime.calls == [("kill", "app"), ("remove", KEY)]


async def test_a_kill_that_fails_is_tried_again(life: Life) -> None:
    await life.want(wanted(terminationGracePeriodSeconds=0))
    life.runtime.fail_kill = [OSError(errno.EIO, "Input/output error")]
    await life.want(None)
    assert life.running == ["app"]
    assert life.said("FailedSync")
    await life.pass_time(execute.RETRY)
    assert life.pods.get(KEY) is None


async def test_a_removal_that_fails_is_tried_again(life: Life) -> None:
    await life.want(wanted())
    life.runtime.fail_remove = [OSError(errno.EBUSY, "Device or resource busy")] * 2
    await life.want(None)
    assert life.pods.get(KEY) is not None
    await life.pass_time(execute.RETRY)
    assert life.pods.get(KEY) is None


async def test_a_pod_that_is_wanted_again_while_it_goes_is_a_new_one_afterwards(life: Life) -> None:
    life.runtime.obeys_term = False
    await life.want(wanted())
    uid = life.pod.observed.uid
    await life.want(None)
    await life.want(wanted())
    assert life.pod.observed.uid == uid
    assert life.pod.observed.termination is not None
    await life.pass_time(GRACE)
    assert life.pod.observed.uid != uid
    assert life.running == ["app"]


async def test_less_grace_for_what_is_going_already_brings_the_end_nearer(life: Life) -> None:
    life.runtime.obeys_term = False
    await life.want(wanted())
    await life.want(None)
    life.pods.save(life.pod.with_(grace_override=2.0))
    await life.settle()
    assert life.wake[KEY] == life.now + 2
    await life.pass_time(2)
    assert life.pods.get(KEY) is None


async def test_nothing_starts_in_a_pod_that_goes(life: Life) -> None:
    life.runtime.obeys_term = False
    await life.want(wanted(app("a"), app("b")))
    await life.want(None)
    life.runtime.end("a", 1)
    await life.settle()
    await life.pass_time(5)
    assert life.running == ["b"]


# -- news meanwhile


async def test_an_exit_during_a_start_is_not_lost(life: Life) -> None:
    def on_start(record: PodRecord, container: str, bundle: str) -> None:
        if container == "b":
            life.runtime.on_start = lambda *_: None
            life.runtime.end("a", 1)

    life.runtime.on_start = on_start
    await life.want(wanted(app("a"), app("b")))
    assert life.running == ["a", "b"]
    assert life.seen("a").restart_count == 1


async def test_an_exit_while_an_image_is_looked_up_after_a_restart_is_not_lost(
    life: Life, monkeypatch: pytest.MonkeyPatch
) -> None:
    await life.want(wanted(app("a"), app("b")))
    life.runtime.watched.clear()
    life.runtime.end("b", 1)
    assert await life.adopt() == 1
    resolve = life.images.resolve
    loop = asyncio.get_running_loop()

    def while_resolving(reference: str, base: Path) -> Any:
        done = threading.Event()

        def end() -> None:
            life.runtime.end("a", 1)
            done.set()

        monkeypatch.setattr(life.images, "resolve", resolve)
        loop.call_soon_threadsafe(end)
        assert done.wait(10)
        return resolve(reference, base)

    monkeypatch.setattr(life.images, "resolve", while_resolving)
    await life.settle()
    assert life.running == ["a", "b"]
    assert (life.seen("a").restart_count, life.seen("b").restart_count) == (1, 1)


async def test_an_exit_that_is_told_twice_or_of_an_older_run_is_no_news(life: Life) -> None:
    await life.want(wanted())
    uid, bundle = life.pod.observed.uid, life.pod.bundles["app"]
    life.runtime.end("app", 1)
    ended = life.seen().exit
    assert ended is not None
    await life.settle()
    life.executor.container_exited(uid, "app", bundle, ended)
    life.executor.container_exited("another uid", "app", bundle, ended)
    assert life.seen().state == "running"


# -- a disk that is full


async def test_a_start_that_cannot_be_recorded_is_not_made_and_tried_again(
    life: Life, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(records, "write_json", _full)
        await life.want(wanted())
        assert life.starts() == 0
        assert life.said("FailedSync")
    await life.pass_time(execute.RETRY)
    assert life.running == ["app"]


async def test_a_restart_that_cannot_be_recorded_waits(life: Life, monkeypatch: pytest.MonkeyPatch) -> None:
    await life.want(wanted(app("a"), app("b")))
    with monkeypatch.context() as patched:
        patched.setattr(records, "write_json", _full)
        life.runtime.end("a", 1)
        await life.settle()
        assert life.running == ["b"], "the pod is left alone"
        assert life.seen("a").restart_count == 0
    await life.pass_time(execute.RETRY)
    assert life.running == ["a", "b"]
    assert life.seen("a").restart_count == 1


async def test_an_end_does_not_wait_until_a_full_disk_has_room(life: Life, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is deleted may be what fills the disk. A node that dies meanwhile begins the end anew: nothing is lost."""
    await life.want(wanted())
    with monkeypatch.context() as patched:
        patched.setattr(records, "write_json", _full)
        await life.want(None)
        assert life.pods.get(KEY) is None
        assert life.running == []


async def test_a_plan_that_never_settles_is_said_and_does_not_spin(life: Life, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execute, "plan", lambda *_: Plan((CreatePod(),)))
    await life.want(wanted())
    assert life.wake[KEY] == life.now + execute.RETRY


async def test_a_bug_of_ours_in_one_pod_is_tried_again_later(life: Life, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(execute, "plan", _bug)
        await life.want(wanted())
    assert life.wake[KEY] == life.now + execute.RETRY
    await life.pass_time(execute.RETRY)
    assert life.running == ["app"]


def _full(*_: object, **__: object) -> None:
    raise FULL


def _bug(*_: object) -> None:
    raise AssertionError("a bug")
