"""What the mounts of a container become, when volumes are set up, and what their edit means."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from minikube_lite.core import hashes
from minikube_lite.core.model import (
    ContainerObserved,
    CreateSandbox,
    Eviction,
    Failure,
    KillContainer,
    PullImage,
    RemovePod,
    SetUpVolumes,
    StartContainer,
    Stop,
    VolumesObserved,
)
from minikube_lite.core.plan import plan
from minikube_lite.core.status import columns, status
from minikube_lite.core.volumes import MOUNT_ROOTS, MissingValue, fs_group, volume_mounts
from minikube_lite.spec.objects import Pod
from tests.core import healthy

Json = dict[str, Any]
READY = VolumesObserved(ready=True, fresh=True)
PLACES = {"data": "/var/data"}


def pod(mount: Json | None = None, source: Json | None = None, **spec: Any) -> Pod:
    container = healthy.container(volumeMounts=[{"name": "data", "mountPath": "/data"} | (mount or {})])
    return healthy.pod(container, volumes=[{"name": "data"} | (source or {})], **spec)


def mounts(of: Pod, env: dict[str, str] | None = None) -> tuple[list[Json], dict[str, str]]:
    return volume_mounts(of, of.spec.containers[0], PLACES, env or {})


def test_a_mount_is_a_bind_of_the_volume_private_and_writable() -> None:
    expected = {"destination": "/data", "type": "bind", "source": "/var/data", "options": ["rbind", "rprivate", "rw"]}
    assert mounts(pod()) == ([expected], {})


OPTIONS: list[tuple[Json, Json, list[str]]] = [
    ({"readOnly": True}, {}, ["rbind", "rprivate", "ro"]),
    ({"readOnly": True, "recursiveReadOnly": "Disabled"}, {}, ["rbind", "rprivate", "ro"]),
    ({"readOnly": True, "recursiveReadOnly": "IfPossible"}, {}, ["rbind", "rprivate", "ro", "rro"]),
    ({"readOnly": True, "recursiveReadOnly": "Enabled"}, {}, ["rbind", "rprivate", "ro", "rro"]),
    ({"mountPropagation": "HostToContainer"}, {}, ["rbind", "rslave", "rw"]),
    ({"mountPropagation": "Bidirectional"}, {}, ["rbind", "rshared", "rw"]),
    ({"bindMountOptions": ["nosuid", "nosuid", "noexec"]}, {}, ["rbind", "rprivate", "rw", "nosuid", "noexec"]),
    ({}, {"configMap": {"name": "a"}}, ["rbind", "rprivate", "ro"]),
    ({}, {"secret": {"secretName": "a"}}, ["rbind", "rprivate", "ro"]),
    ({}, {"downwardAPI": {}}, ["rbind", "rprivate", "ro"]),
    ({}, {"projected": {}}, ["rbind", "rprivate", "ro"]),
    ({}, {"image": {"reference": "a"}}, ["rbind", "rprivate", "ro", "noexec"]),
    ({}, {"persistentVolumeClaim": {"claimName": "a"}}, ["rbind", "rprivate", "rw"]),
    ({}, {"persistentVolumeClaim": {"claimName": "a", "readOnly": True}}, ["rbind", "rprivate", "ro"]),
    ({}, {"ephemeral": {}}, ["rbind", "rprivate", "rw"]),
    ({}, {"hostPath": {"path": "/a"}}, ["rbind", "rprivate", "rw"]),
]


@pytest.mark.parametrize(("mount", "source", "expected"), OPTIONS, ids=str)
def test_options_come_from_the_mount_and_the_kind_of_volume(mount: Json, source: Json, expected: list[str]) -> None:
    assert mounts(pod(mount, source))[0][0]["options"] == expected


@pytest.mark.parametrize(
    ("path", "expected"), [("/data/", "/data"), ("data", "/data"), ("//a//b/./c", "/a/b/c")], ids=str
)
def test_a_mount_path_is_made_absolute_and_plain(path: str, expected: str) -> None:
    assert mounts(pod({"mountPath": path}))[0][0]["destination"] == expected


PARTS: list[tuple[Json, dict[str, str], str]] = [
    ({"subPath": "a/b"}, {}, "/var/data/a/b"),
    ({"subPath": "a//b/."}, {}, "/var/data/a/b"),
    ({"subPathExpr": "$(A)/x-$(B)"}, {"A": "one", "B": "two"}, "/var/data/one/x-two"),
    ({"subPathExpr": "$$(A)"}, {}, "/var/data/$(A)"),
]


@pytest.mark.parametrize(("mount", "env", "source"), PARTS, ids=str)
@pytest.mark.parametrize(("kind", "create"), [({}, True), ({"configMap": {"name": "a"}}, False)], ids=str)
def test_a_part_of_a_volume_may_not_lead_out_of_it(
    mount: Json, env: dict[str, str], source: str, kind: Json, create: bool
) -> None:
    (entry,), annotations = mounts(pod(mount, kind), env)
    assert entry["source"] == source
    assert json.loads(annotations[MOUNT_ROOTS]) == {"/data": {"root": "/var/data", "create": create}}


@pytest.mark.parametrize("sub_path", [".", "./", "./."])
def test_all_of_a_volume_is_no_part_of_it(sub_path: str) -> None:
    (entry,), annotations = mounts(pod({"subPath": sub_path}))
    assert (entry["source"], annotations) == ("/var/data", {})


@pytest.mark.parametrize(
    ("expr", "env", "error"),
    [("$(A)", {}, MissingValue), ("$(A)", {"A": "../x"}, ValueError), ("$(A)/x", {"A": ""}, ValueError)],
)
def test_an_expression_that_leads_out_or_nowhere_is_an_error(
    expr: str, env: dict[str, str], error: type[ValueError]
) -> None:
    with pytest.raises(error, match="data"):
        mounts(pod({"subPathExpr": expr}), env)


def test_the_group_of_the_volumes_is_the_pod_s() -> None:
    assert fs_group(pod()) is None
    assert fs_group(pod(securityContext={"fsGroup": 5})) == 5


# -- when ------------------------------------------------------------------------------------------------------------


def actions(of: Pod, *containers: ContainerObserved, **changes: Any) -> tuple[object, ...]:
    wanted = healthy.wanted()
    seen = healthy.observed(of, *containers, **changes)
    return plan(replace(wanted, pod=of), seen, healthy.NOW, healthy.POLICY).actions


def test_volumes_are_made_before_anything_starts() -> None:
    of = pod()
    assert actions(of, sandbox=None, containers={}) == (CreateSandbox(), SetUpVolumes(), PullImage("app"))
    waiting = {"app": healthy.seen(of, state="waiting", pid=0, started_at=0.0)}
    assert actions(of, containers=waiting) == (SetUpVolumes(),)
    assert isinstance(actions(of, containers=waiting, volumes=READY)[0], StartContainer)


def test_while_they_are_made_nothing_is_done_twice_and_nothing_starts() -> None:
    of = pod()
    waiting = {"app": healthy.seen(of, state="waiting", pid=0, started_at=0.0)}
    assert actions(of, containers=waiting, volumes=VolumesObserved(busy=True, fresh=True)) == ()


def test_what_has_changed_is_written_anew_and_stops_nothing() -> None:
    of = pod()
    stale = VolumesObserved(ready=True)
    assert actions(of, volumes=stale) == (SetUpVolumes(),)
    assert actions(of, volumes=READY) == ()
    waiting = {"app": healthy.seen(of, state="waiting", pid=0, started_at=0.0)}
    assert [type(action) for action in actions(of, containers=waiting, volumes=stale)] == [SetUpVolumes, StartContainer]


def test_a_pod_that_is_over_needs_no_volumes() -> None:
    of = pod(restartPolicy="Never")
    assert actions(of, containers={"app": healthy.exited(of, 0)}) == ()


def test_after_a_failure_it_waits() -> None:
    of = pod()
    failure = Failure("FailedMount", "why", healthy.NOW)
    waiting = {"app": healthy.seen(of, state="waiting", pid=0, started_at=0.0)}
    seen = healthy.observed(of, containers=waiting, volumes=VolumesObserved(failure=failure))
    decided = plan(replace(healthy.wanted(), pod=of), seen, healthy.NOW, healthy.POLICY)
    assert (decided.actions, decided.wake_at) == ((), healthy.NOW + 1)
    (told,) = status(seen, healthy.NOW, healthy.POLICY)["containerStatuses"]
    assert told["state"] == {"waiting": {"reason": "ContainerCreating", "message": "why"}}


def test_a_pod_without_volumes_is_never_asked_for_them() -> None:
    of = healthy.pod()
    assert actions(of, sandbox=None, containers={}) == (CreateSandbox(), PullImage("app"))


CHANGES: list[tuple[Json, bool]] = [
    ({"emptyDir": {}}, False),
    ({"emptyDir": {"medium": ""}}, False),
    ({"emptyDir": {"sizeLimit": "1Gi"}}, True),
    ({"hostPath": {"path": "/a"}}, True),
]


@pytest.mark.parametrize(("source", "other"), CHANGES, ids=str)
def test_changed_volumes_make_a_new_pod(source: Json, other: bool) -> None:
    assert hashes.changed(hashes.sandbox_hash(pod()), hashes.sandbox_hash(pod(source=source))) == other


def test_a_changed_mount_makes_a_new_container_only() -> None:
    before, after = pod(), pod({"readOnly": True})
    assert hashes.sandbox_hash(before) == hashes.sandbox_hash(after)
    one, other = before.spec.containers[0], after.spec.containers[0]
    assert hashes.changed(hashes.container_hash(one, before), hashes.container_hash(other, after))


# -- eviction --------------------------------------------------------------------------------------------------------

EVICTED = Eviction("too much", healthy.WALL)


def test_an_evicted_pod_is_killed_at_once_and_starts_no_more() -> None:
    of = pod()
    (action,) = actions(of, volumes=READY, evicted=EVICTED)
    assert isinstance(action, KillContainer)
    dead = healthy.exited(of, 137, stop=Stop(healthy.NOW, healthy.NOW, "the pod is evicted", killed=True))
    assert actions(of, dead, volumes=READY, evicted=EVICTED) == ()


def test_an_evicted_pod_has_failed_and_says_why() -> None:
    of = pod()
    dead = healthy.exited(of, 137)
    told = status(healthy.observed(of, dead, evicted=EVICTED), healthy.NOW, healthy.POLICY)
    assert (told["phase"], told["reason"], told["message"]) == ("Failed", "Evicted", "too much")
    assert "terminated" in told["containerStatuses"][0]["state"]
    assert columns({"spec": {"containers": [{}]}, "status": told, "metadata": {}}, healthy.WALL)[0] == "0/1"


def test_an_evicted_pod_goes_with_its_manifest_and_an_edit_makes_a_new_one() -> None:
    of = pod()
    dead = healthy.exited(of, 137)
    seen = healthy.observed(of, dead, evicted=EVICTED)
    assert RemovePod("Deleted") in plan(None, seen, healthy.NOW, healthy.POLICY).actions
    edited = replace(healthy.wanted(), pod=pod(terminationGracePeriodSeconds=5))
    assert RemovePod("Replaced") in plan(edited, seen, healthy.NOW, healthy.POLICY).actions
