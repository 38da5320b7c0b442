"""What is done about one pod: from a healthy one, one change per row."""

from __future__ import annotations

from dataclasses import replace

import pytest

from minikube_lite.core import hashes
from minikube_lite.core.model import (
    AcceptSpec,
    Action,
    BeginTermination,
    ContainerObserved,
    CreatePod,
    CreateSandbox,
    Failure,
    ForgetContainer,
    KillContainer,
    Plan,
    PodDesired,
    PodObserved,
    PullImage,
    RemovePod,
    SandboxObserved,
    StartContainer,
    Stop,
    StopContainer,
    Termination,
    UpdateResources,
)
from minikube_lite.core.plan import plan
from minikube_lite.core.restart import NOT_IN_SPEC, SANDBOX_LOST, SPEC_CHANGED
from tests.core.healthy import NOW, POLICY, container, ended, exited, observed, pod, seen, wanted

POD = pod()
DELETED = "the pod is deleted"
REPLACED = "the pod is replaced"


def decide(desired: PodDesired | None, seen: PodObserved | None, now: float = NOW) -> Plan:
    return plan(desired, seen, now, POLICY)


def actions(desired: PodDesired | None, seen: PodObserved | None, now: float = NOW) -> tuple[Action, ...]:
    return decide(desired, seen, now).actions


# -- the pod ---------------------------------------------------------------------------------------------------------


def test_nothing_asked_for_and_nothing_there_is_nothing_to_do() -> None:
    assert decide(None, None) == Plan()


def test_a_pod_that_is_not_there_gets_a_record_first() -> None:
    assert decide(wanted(), None) == Plan((CreatePod(),))


def test_a_healthy_pod_is_left_alone_and_wakes_nobody() -> None:
    assert decide(wanted(), observed()) == Plan()


def test_a_fresh_pod_gets_its_sandbox_and_its_images_at_once() -> None:
    two = [container("app"), container("side")]
    fresh = observed(pod(*two), sandbox=None, containers={})
    assert decide(wanted(*two), fresh) == Plan((CreateSandbox(), PullImage("app"), PullImage("side")))


def test_a_container_starts_once_its_sandbox_and_its_image_are_there() -> None:
    ready = ContainerObserved("app", image="ready", image_reference="host")
    assert actions(wanted(), observed(POD, ready)) == (StartContainer("app", 0, 0),)


def test_a_container_does_not_wait_for_the_image_of_another() -> None:
    two = [container("app"), container("side")]
    ready = ContainerObserved("app", image="ready", image_reference="host")
    slow = ContainerObserved("side", image="pulling", image_reference="host")
    assert actions(wanted(*two), observed(pod(*two), ready, slow)) == (StartContainer("app", 0, 0),)


@pytest.mark.parametrize(
    "edit",
    [
        {"metadata": {"labels": {"tier": "front"}}},
        {"metadata": {"annotations": {"note": "x"}}},
        {"terminationGracePeriodSeconds": 5},
        {"restartPolicy": "OnFailure"},
    ],
    ids=str,
)
def test_an_edit_that_concerns_no_process_is_only_accepted(edit: dict[str, object]) -> None:
    assert decide(wanted(**edit), observed()) == Plan((AcceptSpec(),))  # type: ignore[arg-type]


def test_a_manifest_that_moved_to_another_file_is_accepted_from_there() -> None:
    moved = replace(wanted(), source="/etc/manifests/other.yaml")
    assert decide(moved, observed()) == Plan((AcceptSpec(),))


@pytest.mark.parametrize(
    "edit",
    [
        {"hostNetwork": True},
        {"hostPID": True},
        {"hostIPC": True},
        {"shareProcessNamespace": True},
        {"hostname": "other"},
        {"metadata": {"uid": "another"}},
    ],
    ids=str,
)
def test_a_change_of_the_sandbox_replaces_the_pod(edit: dict[str, object]) -> None:
    deadline = NOW + 30
    assert decide(wanted(**edit), observed()) == Plan(  # type: ignore[arg-type]
        (BeginTermination(deadline, "Replaced"), StopContainer("app", deadline, REPLACED)), deadline
    )


def test_a_uid_that_the_pod_already_has_or_was_accepted_with_replaces_nothing() -> None:
    assert actions(wanted(metadata={"uid": observed().uid}), observed()) == (AcceptSpec(),)
    given = pod(metadata={"uid": "given"})
    assert actions(wanted(metadata={"uid": "given"}), observed(given)) == ()


def test_a_changed_sandbox_that_was_never_made_is_just_made() -> None:
    fresh = observed(sandbox=None, containers={})
    assert actions(wanted(hostNetwork=True), fresh) == (AcceptSpec(), CreateSandbox(), PullImage("app"))


# -- the end of a pod ------------------------------------------------------------------------------------------------


def test_a_pod_that_is_not_asked_for_any_more_is_stopped_within_its_grace() -> None:
    quick = pod(terminationGracePeriodSeconds=7)
    assert decide(None, observed(quick)) == Plan(
        (BeginTermination(NOW + 7, "Deleted"), StopContainer("app", NOW + 7, DELETED)), NOW + 7
    )


def test_the_grace_that_delete_asked_for_wins() -> None:
    assert actions(None, observed(grace_override=3.0))[0] == BeginTermination(NOW + 3, "Deleted")


def test_no_grace_is_an_immediate_kill() -> None:
    assert decide(None, observed(grace_override=0.0)) == Plan(
        (BeginTermination(NOW, "Deleted"), KillContainer("app", DELETED))
    )


def test_a_pod_in_which_nothing_runs_is_removed_at_once() -> None:
    done = observed(POD, exited(POD))
    assert actions(None, done) == (BeginTermination(NOW + 30, "Deleted"), RemovePod("Deleted"))


GOING = Termination(NOW - 10, NOW + 20, "Deleted")
STOPPING = Stop(NOW - 10, NOW + 20, DELETED)


@pytest.mark.parametrize(
    ("app", "at", "expected"),
    [
        (seen(POD), NOW, Plan((StopContainer("app", NOW + 20, DELETED),), NOW + 20)),
        (seen(POD, stop=STOPPING), NOW, Plan((), NOW + 20)),
        (seen(POD, stop=STOPPING), NOW + 20, Plan((KillContainer("app", DELETED),))),
        (seen(POD, stop=replace(STOPPING, killed=True)), NOW + 21, Plan()),
        (seen(POD, stop=Stop(NOW, NOW + 300, SPEC_CHANGED)), NOW, Plan((), NOW + 20)),
        (seen(POD, stop=Stop(NOW, NOW + 5, SPEC_CHANGED)), NOW, Plan((), NOW + 5)),
        (exited(POD, 0), NOW, Plan((RemovePod("Deleted"),))),
        (exited(POD, 1), NOW, Plan((RemovePod("Deleted"),))),
        (ContainerObserved("app", image="ready", image_reference="host"), NOW, Plan((RemovePod("Deleted"),))),
        (ContainerObserved("app", image="pulling", image_reference="host"), NOW, Plan((RemovePod("Deleted"),))),
    ],
    ids=[
        "not yet asked: asked with the one deadline",
        "asked: waited for",
        "at the deadline: killed",
        "killed: waited for",
        "a stop under way with more time: the pod's deadline holds",
        "a stop under way with less time: its own deadline holds",
        "ended well: removed",
        "ended badly: removed, not restarted",
        "never started: removed, not started",
        "its image is on its way: removed",
    ],
)
@pytest.mark.parametrize("desired", [None, wanted(), wanted(container(image="other"))], ids=["gone", "back", "changed"])
def test_a_terminating_pod_only_ends(
    desired: PodDesired | None, app: ContainerObserved, at: float, expected: Plan
) -> None:
    assert decide(desired, observed(POD, app, termination=GOING), at) == expected


def test_a_second_delete_brings_the_deadline_nearer_counted_from_the_first() -> None:
    stopping = observed(POD, seen(POD, stop=STOPPING), termination=GOING)
    assert decide(None, replace(stopping, grace_override=15.0)) == Plan((), NOW + 5)
    assert decide(None, replace(stopping, grace_override=0.0)) == Plan((KillContainer("app", DELETED),))
    assert decide(None, replace(stopping, grace_override=600.0)) == Plan((), NOW + 20)


# -- the sandbox -----------------------------------------------------------------------------------------------------


def lost(*containers: ContainerObserved) -> PodObserved:
    healthy = observed(POD, *containers)
    assert healthy.sandbox is not None
    return replace(healthy, sandbox=replace(healthy.sandbox, ready=False))


def test_what_runs_in_a_lost_sandbox_is_killed_before_it_is_made_anew() -> None:
    assert decide(wanted(), lost()) == Plan((KillContainer("app", SANDBOX_LOST),))
    assert decide(wanted(), lost(seen(POD, stop=Stop(NOW, NOW, SANDBOX_LOST, killed=True)))) == Plan()
    assert actions(wanted(), lost(exited(POD, 137))) == (CreateSandbox(),)


def test_a_finished_pod_gets_no_new_sandbox_after_a_reboot() -> None:
    done = pod(restartPolicy="Never")
    sandbox = SandboxObserved(False, hashes.sandbox_hash(done), hashes.pod_resources_hash(done))
    assert decide(wanted(restartPolicy="Never"), observed(done, exited(done, 0), sandbox=sandbox)) == Plan()


def test_a_sandbox_that_could_not_be_made_is_tried_again_after_its_back_off() -> None:
    broken = observed(
        POD,
        ContainerObserved("app", image="ready", image_reference="host"),
        sandbox=None,
        sandbox_failure=Failure("FailedCreatePodSandBox", "no space left", at=NOW, count=3),
    )
    assert decide(wanted(), broken) == Plan((), NOW + 4)
    assert actions(wanted(), broken, NOW + 4) == (CreateSandbox(),)


# -- images ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("app", "at", "expected"),
    [
        (ContainerObserved("app"), NOW, Plan((PullImage("app"),))),
        (ContainerObserved("app", image="pulling", image_reference="host"), NOW, Plan()),
        (ContainerObserved("app", image="pulling", image_reference="older"), NOW, Plan((PullImage("app"),))),
        (ContainerObserved("app", image="ready", image_reference="older"), NOW, Plan((PullImage("app"),))),
        (
            ContainerObserved("app", image_reference="host", image_failure=Failure("ErrImagePull", "", NOW, 2)),
            NOW,
            Plan((), NOW + 20),
        ),
        (
            ContainerObserved("app", image_reference="host", image_failure=Failure("ErrImagePull", "", NOW, 2)),
            NOW + 20,
            Plan((PullImage("app"),)),
        ),
        (
            ContainerObserved("app", image_reference="host", image_failure=Failure("ErrImageNeverPull", "", NOW, 9)),
            NOW,
            Plan((), NOW + 10),
        ),
        (
            ContainerObserved("app", image_reference="older", image_failure=Failure("ErrImagePull", "", NOW, 9)),
            NOW,
            Plan((PullImage("app"),)),
        ),
        (
            ContainerObserved("app", image_reference="host", image_failure=Failure("ErrImagePull", "", NOW + 9e5, 9)),
            NOW,
            Plan((PullImage("app"),)),
        ),
    ],
    ids=[
        "absent: pulled",
        "on its way: waited for",
        "another on its way: not waited for",
        "another there: pulled",
        "failed: waited ten seconds, doubled",
        "failed, waited for long enough: pulled",
        "never pulled: looked for every ten seconds",
        "failed for another reference: pulled at once",
        "failed before a reboot: pulled at once",
    ],
)
def test_an_image_is_brought_in_before_its_container_starts(app: ContainerObserved, at: float, expected: Plan) -> None:
    assert decide(wanted(), observed(POD, app), at) == expected


def test_an_image_to_ask_for_anew_is_asked_for_when_the_container_is_to_start_again_and_not_before() -> None:
    over = replace(exited(POD, 1, failures=3), image="absent")
    start = decide(wanted(), observed(POD, exited(POD, 1, failures=3))).wake_at
    assert start is not None
    assert decide(wanted(), observed(POD, over)) == Plan((), start)
    assert actions(wanted(), observed(POD, over), start) == (PullImage("app"),)


# -- restarts --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("restart_policy", "code", "again"),
    [
        ("Always", 0, True),
        ("Always", 1, True),
        ("OnFailure", 0, False),
        ("OnFailure", 1, True),
        ("OnFailure", 137, True),
        ("Never", 0, False),
        ("Never", 1, False),
    ],
)
def test_a_container_that_ended_is_started_again_as_its_restart_policy_says(
    restart_policy: str, code: int, again: bool
) -> None:
    of = pod(restartPolicy=restart_policy)
    found = actions(wanted(restartPolicy=restart_policy), observed(of, exited(of, code)))
    assert [type(action) for action in found] == ([StartContainer] if again else [])


@pytest.mark.parametrize(
    ("failures", "after", "wait", "recorded"),
    [
        (0, 5, 0, 1),
        (1, 5, 1, 2),
        (2, 5, 2, 3),
        (4, 5, 8, 5),
        (30, 5, 60, 31),
        (30, 119, 60, 31),
        (30, 120, 0, 0),
    ],
)
def test_restarts_wait_longer_each_time_until_a_good_run_forgives(
    failures: int, after: float, wait: float, recorded: int
) -> None:
    crashed = observed(POD, exited(POD, 1, after=after, failures=failures, restart_count=failures))
    if wait:
        assert decide(wanted(), crashed) == Plan((), NOW + wait)
    found = actions(wanted(), crashed, NOW + wait)
    assert found == (StartContainer("app", failures + 1, recorded, "after Error, exit code 1"),)


def test_a_run_that_ended_before_a_reboot_does_not_hold_up_its_restart() -> None:
    crashed = observed(POD, seen(POD, state="exited", failures=9, exit=ended(1, ago=-90_000)))
    assert [type(action) for action in actions(wanted(), crashed)] == [StartContainer]


def test_a_start_on_record_that_never_began_is_made_good_without_counting_it_twice() -> None:
    torn = observed(POD, seen(POD, state="waiting", pid=0, restart_count=4, failures=2))
    assert actions(wanted(), torn) == (StartContainer("app", 4, 2),)


def test_a_container_that_could_not_be_made_is_tried_again_after_its_back_off() -> None:
    failed = seen(
        POD, state="waiting", ever_started=False, create_failure=Failure("CreateContainerError", "", NOW, count=2)
    )
    assert decide(wanted(), observed(POD, failed)) == Plan((), NOW + 2)
    assert actions(wanted(), observed(POD, failed), NOW + 2) == (StartContainer("app", 0, 0),)


def test_an_edit_makes_an_end_of_the_back_off() -> None:
    failed = seen(
        POD, state="waiting", ever_started=False, create_failure=Failure("CreateContainerError", "", NOW, count=9)
    )
    crashed = exited(POD, 1, failures=9, restart_count=9)
    edited = container(command=["sleep", "60"])
    assert actions(wanted(edited), observed(POD, failed)) == (AcceptSpec(), StartContainer("app", 0, 0))
    assert actions(wanted(edited), observed(POD, crashed)) == (AcceptSpec(), StartContainer("app", 10, 0, SPEC_CHANGED))


def test_a_start_that_failed_keeps_the_counts_it_was_decided_with() -> None:
    failed = exited(
        POD, 1, ago=60, restart_count=3, failures=4, create_failure=Failure("CreateContainerError", "", NOW - 60)
    )
    assert actions(wanted(), observed(POD, failed)) == (StartContainer("app", 4, 4, "after Error, exit code 1"),)


# -- a changed container ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "edit",
    [
        {"command": ["sleep", "60"]},
        {"args": ["x"]},
        {"env": [{"name": "A", "value": "1"}]},
        {"workingDir": "/tmp"},
        {"securityContext": {"readOnlyRootFilesystem": True}},
    ],
    ids=str,
)
def test_a_changed_container_is_stopped_within_its_grace(edit: dict[str, object]) -> None:
    assert decide(wanted(container(**edit)), observed()) == Plan(
        (AcceptSpec(), StopContainer("app", NOW + 30, SPEC_CHANGED)), NOW + 30
    )


def test_only_the_changed_container_of_a_pod_is_stopped() -> None:
    both = observed(pod(container("app"), container("side")))
    assert actions(wanted(container("app"), container("side", args=["x"])), both) == (
        AcceptSpec(),
        StopContainer("side", NOW + 30, SPEC_CHANGED),
    )


def test_a_changed_container_with_no_grace_is_killed() -> None:
    assert actions(wanted(container(args=["x"]), terminationGracePeriodSeconds=0), observed()) == (
        AcceptSpec(),
        KillContainer("app", SPEC_CHANGED),
    )


@pytest.mark.parametrize(
    ("stop", "at", "expected"),
    [
        (Stop(NOW, NOW + 30, SPEC_CHANGED), NOW + 1, Plan((), NOW + 30)),
        (Stop(NOW, NOW + 30, SPEC_CHANGED), NOW + 30, Plan((KillContainer("app", SPEC_CHANGED),))),
        (Stop(NOW, NOW + 30, SPEC_CHANGED, killed=True), NOW + 31, Plan()),
    ],
    ids=["waited for", "killed at the deadline", "killed once"],
)
@pytest.mark.parametrize("edit", [{"args": ["x"]}, {"args": ["y"]}, {}], ids=["edited", "edited again", "edited back"])
def test_a_stop_under_way_runs_its_course(edit: dict[str, object], stop: Stop, at: float, expected: Plan) -> None:
    changed = pod(container(args=["x"]))
    stopping = observed(changed, seen(POD, stop=stop))
    found = decide(wanted(container(**edit)), stopping, at)
    assert replace(found, actions=tuple(a for a in found.actions if a != AcceptSpec())) == expected


@pytest.mark.parametrize("restart_policy", ["Always", "OnFailure", "Never"])
@pytest.mark.parametrize("code", [0, 143])
def test_a_container_stopped_for_its_new_spec_is_started_at_once_whatever_its_restart_policy(
    restart_policy: str, code: int
) -> None:
    new = wanted(container(args=["x"]), restartPolicy=restart_policy)
    old = pod(restartPolicy=restart_policy)
    for stop in (Stop(NOW - 1, NOW + 29, SPEC_CHANGED), None):  # the hash alone tells too
        stopped = exited(old, code, failures=7, restart_count=8, stop=stop)
        assert decide(new, observed(new.pod, stopped)) == Plan((StartContainer("app", 9, 0, SPEC_CHANGED),))


def test_a_container_stopped_for_a_spec_that_was_taken_back_is_started_at_once() -> None:
    never = pod(restartPolicy="Never")
    stopped = exited(never, 143, failures=7, restart_count=8, stop=Stop(NOW - 1, NOW + 29, SPEC_CHANGED))
    assert actions(wanted(restartPolicy="Never"), observed(never, stopped)) == (
        StartContainer("app", 9, 0, SPEC_CHANGED),
    )


def test_a_running_container_is_not_stopped_before_its_new_image_is_there() -> None:
    new = wanted(container(image="newer"))
    accepted = observed(new.pod, seen(POD))
    assert decide(new, observed()) == Plan((AcceptSpec(), PullImage("app")))
    assert decide(new, accepted) == Plan((PullImage("app"),))
    failed = seen(POD, image="absent", image_reference="newer", image_failure=Failure("ErrImagePull", "", NOW))
    assert decide(new, observed(new.pod, failed)) == Plan((), NOW + 10)
    there = seen(POD, image="ready", image_reference="newer")
    assert actions(new, observed(new.pod, there)) == (StopContainer("app", NOW + 30, SPEC_CHANGED),)


def test_a_hash_of_another_recipe_restarts_nothing() -> None:
    older = seen(POD, hash="v0:0123456789abcdef")
    healthy = observed(POD, older)
    assert healthy.sandbox is not None
    assert decide(wanted(), replace(healthy, sandbox=replace(healthy.sandbox, hash="v0:fedcba9876543210"))) == Plan()


# -- containers that come and go -------------------------------------------------------------------------------------


def test_a_container_that_the_spec_no_longer_has_is_stopped_and_then_forgotten() -> None:
    both = pod(container("app"), container("side"))
    assert decide(wanted(container("app")), observed(both)) == Plan(
        (AcceptSpec(), StopContainer("side", NOW + 30, NOT_IN_SPEC)), NOW + 30
    )
    over = observed(both, seen(both, "app"), exited(both, 0, name="side"))
    assert actions(wanted(container("app")), over) == (AcceptSpec(), ForgetContainer("side"), UpdateResources())


def test_a_container_that_was_added_is_brought_in_and_started() -> None:
    both = wanted(container("app"), container("side"))
    assert actions(both, observed()) == (AcceptSpec(), UpdateResources(), PullImage("side"))
    there = ContainerObserved("side", image="ready", image_reference="host")
    assert actions(both, observed(both.pod, seen(POD), there)) == (StartContainer("side", 0, 0),)


def test_an_added_container_waits_for_the_room_of_a_removed_one() -> None:
    """cgroup v1: a child may not be wider than its parent, nor a parent made narrower than its child."""
    new = wanted(container("next", resources={"limits": {"cpu": "2", "memory": "64Mi"}}))
    there = ContainerObserved("next", image="ready", image_reference="host")
    still = replace(observed(POD, seen(POD), there), pod=new.pod)
    assert actions(new, still) == (StopContainer("app", NOW + 30, NOT_IN_SPEC),)
    gone = replace(still, containers={"next": there})
    assert actions(new, gone) == (UpdateResources(), StartContainer("next", 0, 0))


# -- resources -------------------------------------------------------------------------------------------------------

WIDER = {"limits": {"cpu": "500m", "memory": "64Mi"}, "requests": {"cpu": "100m", "memory": "64Mi"}}


def test_a_changed_limit_is_written_in_place_the_pod_as_a_whole_and_then_the_container() -> None:
    assert decide(wanted(container(resources=WIDER)), observed()) == Plan(
        (AcceptSpec(), UpdateResources(), UpdateResources("app"))
    )


def test_the_same_limit_in_other_words_is_written_nowhere() -> None:
    words = {"limits": {"cpu": "0.2", "memory": "65536Ki"}, "requests": {"cpu": 0.1, "memory": 67108864}}
    assert UpdateResources() not in actions(wanted(container(resources=words)), observed())
    assert StopContainer not in [type(a) for a in actions(wanted(container(resources=words)), observed())]


def test_a_container_that_does_not_run_is_started_with_its_new_limits_not_resized() -> None:
    new = wanted(container(resources=WIDER))
    crashed = observed(POD, exited(POD, 1))
    assert actions(new, crashed) == (
        AcceptSpec(),
        UpdateResources(),
        StartContainer("app", 1, 1, "after Error, exit code 1"),
    )


def test_a_container_that_waits_for_its_new_image_gets_its_new_limits_meanwhile() -> None:
    new = wanted(container(resources=WIDER, image="newer"))
    assert actions(new, observed()) == (AcceptSpec(), UpdateResources(), UpdateResources("app"), PullImage("app"))
