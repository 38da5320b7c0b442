"""READY, STATUS, RESTARTS and AGE as kubectl prints them."""

from __future__ import annotations

from typing import Any

import pytest

from minikube_lite.core.status import columns, human_duration, pod_object, status
from minikube_lite.core.times import go_duration, timestamp
from tests.core.healthy import NOW, POLICY, WALL, container, exited, observed, pod

RUNNING = {"running": {"startedAt": timestamp(WALL)}}


def item(
    name: str = "app", state: dict[str, Any] = RUNNING, ready: bool = True, restarts: int = 0, **more: Any
) -> dict[str, Any]:
    return {"name": name, "state": state, "ready": ready, "restartCount": restarts, **more}


def waiting(reason: str) -> dict[str, Any]:
    return {"waiting": {"reason": reason}}


def terminated(code: int, reason: str = "", signal: int = 0) -> dict[str, Any]:
    return {"terminated": {"exitCode": code, "reason": reason, "signal": signal, "finishedAt": timestamp(WALL - 5)}}


def shown(
    *statuses: dict[str, Any],
    phase: str = "Running",
    containers: int = 1,
    init: tuple[dict[str, Any], ...] = (),
    init_statuses: tuple[dict[str, Any], ...] = (),
    conditions: dict[str, str] | None = None,
    deleted: bool = False,
    reason: str = "",
) -> tuple[str, str, str, str]:
    return columns(
        {
            "metadata": {
                "creationTimestamp": timestamp(WALL - 90),
                **({"deletionTimestamp": timestamp(WALL)} if deleted else {}),
            },
            "spec": {"containers": [{}] * containers, "initContainers": list(init)},
            "status": {
                "phase": phase,
                "reason": reason,
                "containerStatuses": list(statuses),
                "initContainerStatuses": list(init_statuses),
                "conditions": [{"type": kind, "status": value} for kind, value in (conditions or {}).items()],
            },
        },
        WALL,
    )


def test_a_healthy_pod() -> None:
    assert shown(item()) == ("1/1", "Running", "0", "90s")


@pytest.mark.parametrize(
    ("statuses", "more", "ready", "word"),
    [
        ((item(ready=False),), {}, "0/1", "Running"),
        ((item(state=waiting("ContainerCreating"), ready=False),), {"phase": "Pending"}, "0/1", "ContainerCreating"),
        ((item(state=waiting("CrashLoopBackOff"), ready=False),), {}, "0/1", "CrashLoopBackOff"),
        ((item(state=terminated(0, "Completed"), ready=False),), {"phase": "Succeeded"}, "0/1", "Completed"),
        ((item(state=terminated(137, "OOMKilled"), ready=False),), {"phase": "Failed"}, "0/1", "OOMKilled"),
        ((item(state=terminated(3), ready=False),), {"phase": "Failed"}, "0/1", "ExitCode:3"),
        ((item(state=terminated(137, signal=9), ready=False),), {"phase": "Failed"}, "0/1", "Signal:9"),
        ((), {"phase": "Pending"}, "0/1", "Pending"),
        ((), {"phase": "Pending", "reason": "InvalidManifest"}, "0/1", "InvalidManifest"),
        ((), {"phase": "Failed", "reason": "Evicted"}, "0/1", "Evicted"),
        (
            (item("a", waiting("ErrImagePull"), ready=False), item("b", terminated(1, "Error"), ready=False)),
            {"containers": 2},
            "0/2",
            "ErrImagePull",
        ),
        (
            (item("a"), item("b", terminated(0, "Completed"), ready=False)),
            {"containers": 2, "conditions": {"Ready": "True"}},
            "1/2",
            "Running",
        ),
        (
            (item("a"), item("b", terminated(0, "Completed"), ready=False)),
            {"containers": 2, "conditions": {"Ready": "False"}},
            "1/2",
            "NotReady",
        ),
        ((item(),), {"deleted": True}, "1/1", "Terminating"),
        ((item(state=terminated(0, "Completed")),), {"deleted": True, "phase": "Succeeded"}, "0/1", "Completed"),
        ((item(),), {"deleted": True, "reason": "NodeLost"}, "1/1", "Unknown"),
    ],
)
def test_the_status_is_the_word_of_the_container_that_has_something_to_say(
    statuses: tuple[dict[str, Any], ...], more: dict[str, Any], ready: str, word: str
) -> None:
    assert shown(*statuses, **more)[:2] == (ready, word)


INIT = ({"name": "first"}, {"name": "second"})
SIDECAR = ({"name": "proxy", "restartPolicy": "Always"},)
CREATING = item(state=waiting("PodInitializing"), ready=False)


@pytest.mark.parametrize(
    ("init", "init_statuses", "ready", "word"),
    [
        (INIT, (item("first", RUNNING, False), item("second", waiting("PodInitializing"), False)), "0/1", "Init:0/2"),
        (INIT, (item("first", terminated(0, "Completed")), item("second", RUNNING, False)), "0/1", "Init:1/2"),
        (INIT, (item("first", terminated(2, "Error"), False),), "0/1", "Init:Error"),
        (INIT, (item("first", terminated(2), False),), "0/1", "Init:ExitCode:2"),
        (INIT, (item("first", terminated(137, signal=9), False),), "0/1", "Init:Signal:9"),
        (INIT, (item("first", waiting("CrashLoopBackOff"), False),), "0/1", "Init:CrashLoopBackOff"),
        (SIDECAR, (item("proxy", RUNNING, True, started=True),), "1/2", "PodInitializing"),
        (SIDECAR, (item("proxy", RUNNING, False, started=False),), "0/2", "Init:0/1"),
    ],
)
def test_a_pod_that_initializes_says_how_far_it_is(
    init: tuple[dict[str, Any], ...], init_statuses: tuple[dict[str, Any], ...], ready: str, word: str
) -> None:
    assert shown(CREATING, phase="Pending", init=init, init_statuses=init_statuses)[:2] == (ready, word)


def test_a_running_pod_whose_manifest_is_broken_says_so() -> None:
    broken = {"type": "ManifestValid", "status": "False", "reason": "InvalidManifest"}
    obj = pod_object(observed(), status(observed(), NOW, POLICY))
    obj["status"]["conditions"].append(broken)
    assert columns(obj, WALL)[:2] == ("1/1", "InvalidManifest")


@pytest.mark.parametrize(
    ("restarts", "last", "expected"),
    [
        (0, {}, "0"),
        (3, terminated(1, "Error"), "3 (5s ago)"),
        (3, {}, "3"),
        (0, terminated(1, "Error"), "0"),
    ],
)
def test_restarts_say_when_the_last_was(restarts: int, last: dict[str, Any], expected: str) -> None:
    assert shown(item(restarts=restarts, lastState=last))[2] == expected


def test_restarts_are_those_of_all_containers() -> None:
    two = (item("a", restarts=2, lastState=terminated(1)), item("b", restarts=1))
    assert shown(*two, containers=2)[2] == "3 (5s ago)"


def test_a_pod_of_ours_in_back_off_is_printed_as_kubectl_prints_one() -> None:
    of = pod(container("app"))
    crashed = observed(of, exited(of, 1, ago=3.0, failures=4, restart_count=4))
    obj = pod_object(crashed, status(crashed, NOW, POLICY))
    assert columns(obj, WALL) == ("0/1", "CrashLoopBackOff", "4 (3s ago)", "10m")


def test_an_object_without_a_time_has_no_age() -> None:
    assert columns({"metadata": {}, "spec": {}, "status": {}}, WALL) == ("0/0", "", "0", "<unknown>")


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (-3, "<invalid>"),
        (-1, "0s"),
        (0.9, "0s"),
        (119.9, "119s"),
        (120, "2m"),
        (121, "2m1s"),
        (599, "9m59s"),
        (600, "10m"),
        (659, "10m"),
        (3 * 3600 - 1, "179m"),
        (3 * 3600, "3h"),
        (3 * 3600 + 60, "3h1m"),
        (8 * 3600 - 1, "7h59m"),
        (8 * 3600, "8h"),
        (48 * 3600 - 1, "47h"),
        (48 * 3600, "2d"),
        (49 * 3600, "2d1h"),
        (8 * 86400 - 1, "7d23h"),
        (8 * 86400, "8d"),
        (730 * 86400 - 1, "729d"),
        (730 * 86400, "2y"),
        (731 * 86400, "2y1d"),
        (8 * 365 * 86400, "8y"),
        (100 * 365 * 86400, "100y"),
    ],
)
def test_an_age_is_said_as_kubectl_says_it(seconds: float, expected: str) -> None:
    assert human_duration(seconds) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"), [(0, "0s"), (4, "4s"), (1.5, "1.5s"), (60, "1m0s"), (300, "5m0s"), (3600, "1h0m0s")]
)
def test_a_delay_is_said_as_go_says_it(seconds: float, expected: str) -> None:
    assert go_duration(seconds) == expected
