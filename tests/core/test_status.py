"""A pod in Kubernetes' words: phases, conditions, container states; from a healthy pod, one change per row."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from minikube_lite.core.model import ContainerObserved, Exit, Failure, PodObserved, SandboxObserved, Termination
from minikube_lite.core.status import pod_object, status
from tests.core.healthy import NOW, POLICY, UID, WALL, container, ended, exited, observed, pod, seen

POD = pod()
AT = {0: "2023-11-14T22:13:20Z", -5: "2023-11-14T22:13:15Z", -500: "2023-11-14T22:05:00Z", -600: "2023-11-14T22:03:20Z"}
"""`WALL` plus so many seconds, as Kubernetes writes it."""


def say(of: PodObserved, now: float = NOW) -> dict[str, Any]:
    return status(of, now, POLICY)


def app(of: PodObserved, now: float = NOW) -> dict[str, Any]:
    return next(dict(item) for item in say(of, now)["containerStatuses"] if item["name"] == "app")


def one(*containers: ContainerObserved, of: Any = POD, **changes: Any) -> PodObserved:
    return observed(of, *containers, **changes)


@pytest.mark.parametrize(
    ("edited", "generation"),
    [
        (pod(), 3),
        (pod(container(command=["sleep", "1"])), 2),
        (pod(container(resources={"limits": {"cpu": "1"}})), 2),
        (pod(metadata={"labels": {"a": "b"}}), 3),
        (pod(container(), container("second")), 3),
        (pod(container("other")), 2),
    ],
    ids=["nothing", "command", "limit", "label", "one more", "another"],
)
def test_the_status_speaks_of_the_generation_that_runs(edited: Any, generation: int) -> None:
    assert say(observed(edited, seen(POD), generation=3))["observedGeneration"] == generation


def test_a_healthy_pod_is_told_in_full() -> None:
    assert say(observed()) == {
        "observedGeneration": 1,
        "phase": "Running",
        "conditions": [
            {
                "type": kind,
                "status": "True",
                "lastProbeTime": None,
                "lastTransitionTime": AT[-500] if "Ready" in kind and "To" not in kind else AT[-600],
            }
            for kind in ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled")
        ],
        "startTime": AT[-600],
        "containerStatuses": [
            {
                "name": "app",
                "state": {"running": {"startedAt": AT[-500]}},
                "lastState": {},
                "ready": True,
                "started": True,
                "restartCount": 0,
                "image": "host",
                "imageID": "sha256:0",
                "containerID": f"minikube-lite://{UID}/app/0",
                "resources": {
                    "limits": {"cpu": "200m", "memory": "64Mi"},
                    "requests": {"cpu": "100m", "memory": "64Mi"},
                },
                "allocatedResources": {"cpu": "100m", "memory": "64Mi"},
            }
        ],
        "qosClass": "Burstable",
    }


def test_the_same_observation_gives_the_same_status_at_any_time() -> None:
    for of in (observed(), one(exited(POD, 1, failures=3)), one(exited(POD, 0, failures=3))):
        assert say(of, NOW) == say(of, NOW + 0.5)


def test_containers_are_told_in_the_order_of_their_names() -> None:
    of = observed(pod(container("b"), container("a")))
    assert [item["name"] for item in say(of)["containerStatuses"]] == ["a", "b"]


# -- container states ------------------------------------------------------------------------------------------------

FRESH = ContainerObserved("app", image="ready", image_reference="host")


def pull_failure(count: int, reason: str = "ErrImagePull") -> ContainerObserved:
    failure = Failure(reason, "no such directory", NOW, count)
    return ContainerObserved("app", image_reference="host", image_failure=failure)


@pytest.mark.parametrize(
    ("of", "reason", "message"),
    [
        (one(FRESH), "ContainerCreating", None),
        (one(ContainerObserved("app", image="pulling", image_reference="host")), "ContainerCreating", None),
        (
            one(FRESH, sandbox=None, sandbox_failure=Failure("FailedCreatePodSandBox", "no space left", NOW)),
            "ContainerCreating",
            "no space left",
        ),
        (one(pull_failure(1)), "ErrImagePull", "no such directory"),
        (
            one(pull_failure(3)),
            "ImagePullBackOff",
            'Back-off pulling image "host": ErrImagePull: no such directory',
        ),
        (one(pull_failure(3, "InvalidImageName")), "InvalidImageName", "no such directory"),
        (one(replace(pull_failure(3), image_reference="older")), "ContainerCreating", None),
        (
            one(replace(FRESH, create_failure=Failure("CreateContainerError", "no command specified", NOW))),
            "CreateContainerError",
            "no command specified",
        ),
    ],
    ids=[
        "about to start",
        "its image on its way",
        "no sandbox to be had",
        "no image to be had",
        "no image to be had, again",
        "a bad image name stays one",
        "another image could not be had",
        "cannot be made",
    ],
)
def test_a_container_that_never_ran_says_what_it_waits_for(of: PodObserved, reason: str, message: str | None) -> None:
    expected = {"reason": reason} | ({"message": message} if message else {})
    assert app(of)["state"] == {"waiting": expected}
    assert app(of)["lastState"] == {}
    assert "containerID" not in app(of)
    assert not app(of)["ready"]
    assert say(of)["phase"] == "Pending"


def terminated(code: int, reason: str, **more: Any) -> dict[str, Any]:
    return {
        "terminated": {
            "exitCode": code,
            "reason": reason,
            "containerID": f"minikube-lite://{UID}/app/0",
            "startedAt": AT[-5],
            "finishedAt": AT[0],
            **more,
        }
    }


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        (ended(0), terminated(0, "Completed")),
        (ended(3), terminated(3, "Error")),
        (ended(143, signal=15), terminated(143, "Error", signal=15)),
        (ended(137, signal=9, oom_killed=True), terminated(137, "OOMKilled", signal=9)),
        (ended(1, message="no such table: users"), terminated(1, "Error", message="no such table: users")),
        (ended(128, reason="StartError"), terminated(128, "StartError")),
        (ended(137, reason="ContainerStatusUnknown"), terminated(137, "ContainerStatusUnknown")),
    ],
    ids=lambda value: "" if isinstance(value, Exit) else value["terminated"]["reason"],
)
def test_a_container_that_is_over_says_how_it_ended(end: Exit, expected: dict[str, Any]) -> None:
    never = pod(restartPolicy="Never")
    of = one(seen(never, state="exited", exit=end), of=never)
    assert app(of)["state"] == expected
    assert app(of)["lastState"] == {}


def test_a_crash_that_waits_for_its_restart_is_in_back_off_and_says_until_when() -> None:
    of = one(exited(POD, 1, failures=3, restart_count=3))
    assert app(of)["state"] == {
        "waiting": {
            "reason": "CrashLoopBackOff",
            "message": f"back-off 4s restarting failed container=app pod=web_default({UID}), "
            "next try at 2023-11-14T22:13:24Z",
        }
    }
    assert app(of)["lastState"]["terminated"]["exitCode"] == 1
    assert app(of)["restartCount"] == 3
    assert say(of)["phase"] == "Running"


def test_a_crash_that_is_restarted_at_once_is_not_in_back_off() -> None:
    assert app(one(exited(POD, 1)))["state"]["terminated"]["reason"] == "Error"
    assert app(one(exited(POD, 1, failures=3)), NOW + 4)["state"]["terminated"]["reason"] == "Error"


def test_a_clean_exit_that_waits_for_its_restart_is_completed_not_a_crash_loop() -> None:
    state = app(one(exited(POD, 0, failures=3)))["state"]["terminated"]
    assert state["reason"] == "Completed"
    assert state["message"].startswith("back-off 4s restarting completed container=app")


def test_a_restarted_container_remembers_how_its_last_run_ended() -> None:
    of = one(seen(POD, restart_count=2, last_exit=ended(137, ago=500.0, oom_killed=True)))
    assert "running" in app(of)["state"]
    assert app(of)["lastState"]["terminated"]["reason"] == "OOMKilled"
    assert app(of)["lastState"]["terminated"]["containerID"].endswith("/app/1")
    assert app(of)["containerID"].endswith("/app/2")


def test_a_restart_that_lacks_its_image_says_so_and_how_the_last_run_ended() -> None:
    of = one(replace(exited(POD, 1), image="absent", image_failure=Failure("ErrImagePull", "gone", NOW)))
    assert app(of)["state"] == {"waiting": {"reason": "ErrImagePull", "message": "gone"}}
    assert app(of)["lastState"]["terminated"]["exitCode"] == 1


def test_a_running_container_whose_next_image_cannot_be_had_is_still_running() -> None:
    newer = pod(container(image="newer"))
    failed = seen(POD, image="absent", image_reference="newer", image_failure=Failure("ErrImagePull", "gone", NOW))
    assert "running" in app(one(failed, of=newer))["state"]
    assert say(one(failed, of=newer))["phase"] == "Running"


def test_a_terminating_pod_waits_for_nothing() -> None:
    of = one(exited(POD, 1, failures=5), termination=Termination(NOW, NOW + 30, "Deleted"))
    assert app(of)["state"]["terminated"]["reason"] == "Error"
    assert say(of)["phase"] == "Failed"


def test_a_container_that_asks_for_nothing_reports_no_resources() -> None:
    assert "resources" not in app(observed(pod(container(resources={}))))


# -- phases ----------------------------------------------------------------------------------------------------------

RUNNING, CLEAN, CRASHED, WAITING = "running", "exited 0", "exited 1", "waiting"


@pytest.mark.parametrize(
    ("states", "always", "on_failure", "never"),
    [
        ((RUNNING, RUNNING), "Running", "Running", "Running"),
        ((RUNNING, WAITING), "Pending", "Pending", "Pending"),
        ((WAITING, WAITING), "Pending", "Pending", "Pending"),
        ((RUNNING, CLEAN), "Running", "Running", "Running"),
        ((RUNNING, CRASHED), "Running", "Running", "Running"),
        ((CLEAN, CLEAN), "Running", "Succeeded", "Succeeded"),
        ((CLEAN, CRASHED), "Running", "Running", "Failed"),
        ((CRASHED, CRASHED), "Running", "Running", "Failed"),
        ((CLEAN, WAITING), "Pending", "Pending", "Pending"),
    ],
    ids=str,
)
def test_the_phase_is_as_the_kubelet_sums_it_up(
    states: tuple[str, ...], always: str, on_failure: str, never: str
) -> None:
    for policy, phase in (("Always", always), ("OnFailure", on_failure), ("Never", never)):
        of = pod(container("app"), container("side"), restartPolicy=policy)
        made = {
            RUNNING: lambda name, of=of: seen(of, name),
            CLEAN: lambda name, of=of: exited(of, 0, name=name),
            CRASHED: lambda name, of=of: exited(of, 1, name=name, failures=5),
            WAITING: lambda name: ContainerObserved(name),
        }
        containers = [made[state](name) for state, name in zip(states, ("app", "side"), strict=True)]
        assert say(observed(of, *containers))["phase"] == phase, policy


def test_a_fresh_pod_is_pending() -> None:
    fresh = observed(sandbox=None, containers={})
    assert say(fresh)["phase"] == "Pending"
    assert app(fresh)["state"] == {"waiting": {"reason": "ContainerCreating"}}


# -- conditions ------------------------------------------------------------------------------------------------------


def conditions(of: PodObserved) -> dict[str, dict[str, Any]]:
    return {item["type"]: item for item in say(of)["conditions"]}


def test_a_pod_with_a_container_down_is_not_ready_since_it_went_down() -> None:
    two = pod(container("app"), container("side"))
    of = observed(two, seen(two, "app"), exited(two, 1, name="side", ago=5.0, failures=9))
    for kind in ("Ready", "ContainersReady"):
        assert conditions(of)[kind] == {
            "type": kind,
            "status": "False",
            "lastProbeTime": None,
            "lastTransitionTime": AT[-5],
            "reason": "ContainersNotReady",
            "message": "containers with unready status: [side]",
        }
    assert conditions(of)["Initialized"]["status"] == "True"


@pytest.mark.parametrize(("code", "reason"), [(0, "PodCompleted"), (1, "PodFailed")])
def test_a_finished_pod_is_not_ready_any_more(code: int, reason: str) -> None:
    never = pod(restartPolicy="Never")
    found = conditions(one(exited(never, code), of=never))["Ready"]
    assert (found["status"], found["reason"], found["lastTransitionTime"]) == ("False", reason, AT[0])


def test_a_pod_that_never_was_ready_is_not_ready_since_it_was_made() -> None:
    assert conditions(observed(sandbox=None, containers={}))["Ready"]["lastTransitionTime"] == AT[-600]


@pytest.mark.parametrize(("sandbox", "expected"), [(None, "False"), (SandboxObserved(False, "v1:x"), "False")])
def test_a_pod_without_a_sandbox_is_not_ready_to_start_containers(
    sandbox: SandboxObserved | None, expected: str
) -> None:
    assert conditions(one(FRESH, sandbox=sandbox))["PodReadyToStartContainers"]["status"] == expected


# -- the object ------------------------------------------------------------------------------------------------------


def whole(of: PodObserved, **more: Any) -> dict[str, Any]:
    return pod_object(of, {"phase": "Running"}, **more)


def test_the_object_is_the_pod_as_written_and_as_it_is() -> None:
    found = whole(observed(pod(metadata={"labels": {"a": "b"}})), node_name="box", resource_version="7", generation=2)
    assert found["apiVersion"] == "v1"
    assert found["kind"] == "Pod"
    assert found["metadata"] == {
        "name": "web",
        "namespace": "default",
        "uid": UID,
        "creationTimestamp": AT[-600],
        "labels": {"a": "b"},
        "resourceVersion": "7",
        "generation": 2,
    }
    assert found["spec"]["nodeName"] == "box"
    assert found["spec"]["restartPolicy"] == "Always"
    assert found["spec"]["terminationGracePeriodSeconds"] == 30
    assert found["spec"]["containers"][0]["command"] == ["sleep", "inf"]
    assert "args" not in found["spec"]["containers"][0]
    assert found["status"] == {"phase": "Running"}


def test_what_another_cluster_said_of_the_pod_is_not_repeated() -> None:
    foreign = {"uid": "theirs", "resourceVersion": "1", "deletionTimestamp": AT[0], "creationTimestamp": AT[0]}
    assert whole(observed(pod(metadata=foreign)))["metadata"] == {
        "name": "web",
        "namespace": "default",
        "uid": UID,
        "creationTimestamp": AT[-600],
    }


@pytest.mark.parametrize(("override", "grace", "when"), [(None, 30, "22:13:50"), (0.0, 0, "22:13:20")])
def test_a_terminating_pod_says_by_when_it_is_gone(override: float | None, grace: int, when: str) -> None:
    going = observed(termination=Termination(NOW, NOW + 30, "Deleted", at_wall=WALL), grace_override=override)
    meta = whole(going)["metadata"]
    assert meta["deletionTimestamp"] == f"2023-11-14T{when}Z"
    assert meta["deletionGracePeriodSeconds"] == grace


def test_a_spec_change_under_way_is_not_a_crash() -> None:
    changed = pod(container(args=["x"]))
    assert app(one(exited(POD, 143, failures=9), of=changed))["state"]["terminated"]["exitCode"] == 143
