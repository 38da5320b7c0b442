"""Fingerprints: what must change them, and what must not."""

from __future__ import annotations

from typing import Any

import pytest

from minikube_lite.core import hashes
from minikube_lite.spec.objects import Pod, to_json
from tests.core.healthy import LIMITS, container, pod


def container_hash(of: dict[str, Any], **spec: Any) -> str:
    whole = pod(of, **spec)
    return hashes.container_hash(whole.spec.containers[0], whole)


HEALTHY = container_hash(container())


def test_a_hash_names_its_recipe() -> None:
    assert HEALTHY.startswith("v1:")
    assert len(HEALTHY) == 3 + 16


def test_a_hash_is_the_same_on_every_machine_and_in_every_version() -> None:
    """The number itself: if it changes, every container of every user restarts at the next upgrade."""
    whole = pod({"name": "app", "image": "host", "command": ["sleep", "inf"], "env": [{"name": "Ä", "value": "1"}]})
    assert hashes.container_hash(whole.spec.containers[0], whole) == "v1:4804da1e0b76d5a3"
    assert hashes.sandbox_hash(whole) == "v1:44136fa355b3678a"
    assert hashes.sandbox_hash(pod(hostNetwork=True)) == "v1:5b46b87ec121e778"


@pytest.mark.parametrize(
    "change",
    [
        {"image": "other"},
        {"command": ["sleep", "60"]},
        {"args": ["x"]},
        {"workingDir": "/tmp"},
        {"env": [{"name": "A", "value": "1"}]},
        {"securityContext": {"readOnlyRootFilesystem": True}},
        {"securityContext": {"allowPrivilegeEscalation": False}},
    ],
    ids=str,
)
def test_what_the_process_is_made_from_changes_the_container_s_hash(change: dict[str, Any]) -> None:
    assert container_hash(container(**change)) != HEALTHY


@pytest.mark.parametrize(
    "change",
    [
        {"resources": {}},
        {"resources": {"limits": {"cpu": "1"}}},
        {"args": []},
        {"env": []},
        {"workingDir": ""},
        {"ports": [{"containerPort": 80}]},
        {"imagePullPolicy": "Never"},
    ],
    ids=str,
)
def test_what_the_process_does_not_see_leaves_the_container_s_hash_alone(change: dict[str, Any]) -> None:
    assert container_hash(container(**change)) == HEALTHY


@pytest.mark.parametrize(
    "change",
    [
        {"restartPolicy": "Never"},
        {"terminationGracePeriodSeconds": 1},
        {"metadata": {"labels": {"a": "b"}, "annotations": {"c": "d"}}},
        {"hostname": "other"},
    ],
    ids=str,
)
def test_the_pod_around_it_leaves_the_container_s_hash_alone(change: dict[str, Any]) -> None:
    assert container_hash(container(), **change) == HEALTHY


def test_the_pod_s_security_context_is_the_container_s_too_but_for_its_sysctls() -> None:
    assert container_hash(container(), securityContext={"runAsUser": 1000}) != HEALTHY
    sysctls = {"sysctls": [{"name": "net.core.somaxconn", "value": "1024"}]}
    assert container_hash(container(), securityContext=sysctls) == HEALTHY
    assert hashes.sandbox_hash(pod(securityContext=sysctls)) != hashes.sandbox_hash(pod())


@pytest.mark.parametrize("field", ["hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace"])
def test_the_pod_s_namespaces_change_the_sandbox_s_hash(field: str) -> None:
    assert hashes.sandbox_hash(pod(**{field: True})) != hashes.sandbox_hash(pod())
    assert hashes.sandbox_hash(pod(**{field: False})) == hashes.sandbox_hash(pod())


def test_containers_and_labels_leave_the_sandbox_s_hash_alone() -> None:
    other = pod(container(image="x"), container("side"), metadata={"labels": {"a": "b"}}, restartPolicy="Never")
    assert hashes.sandbox_hash(other) == hashes.sandbox_hash(pod())


def test_a_resources_hash_is_of_what_the_kernel_is_told() -> None:
    def of(resources: dict[str, Any]) -> str:
        return hashes.resources_hash(pod(container(resources=resources)).spec.containers[0])

    assert of(LIMITS) == of({"limits": {"cpu": "0.2", "memory": "65536Ki"}, "requests": {"cpu": 0.1}})
    assert of(LIMITS) != of({"limits": {"cpu": "201m", "memory": "64Mi"}, "requests": {"cpu": "100m"}})
    assert of(LIMITS) != of({"limits": {"cpu": "200m", "memory": "64Mi"}, "requests": {"cpu": "101m"}})
    assert of({}) != of(LIMITS)


@pytest.mark.parametrize(
    ("recorded", "current", "changed"),
    [("v1:a", "v1:a", False), ("v1:a", "v1:b", True), ("", "v1:b", False), ("v0:a", "v1:b", False)],
)
def test_only_hashes_of_one_recipe_are_compared(recorded: str, current: str, changed: bool) -> None:
    assert hashes.changed(recorded, current) is changed


def test_a_pod_read_back_from_its_record_is_the_same_pod() -> None:
    one = pod(container(resources=LIMITS, env=[{"name": "A"}]), hostPID=True)
    back = Pod.model_validate(to_json(one))
    assert hashes.same_pod(one, back)
    assert hashes.sandbox_hash(one) == hashes.sandbox_hash(back)
    assert hashes.container_hash(one.spec.containers[0], one) == hashes.container_hash(back.spec.containers[0], back)
    assert hashes.resources_hash(one.spec.containers[0]) == hashes.resources_hash(back.spec.containers[0])


def test_the_same_pod_in_another_layout_is_the_same_pod() -> None:
    one = pod(metadata={"labels": {"a": "1", "b": "2"}})
    other = pod(container(args=[]), metadata={"labels": {"b": "2", "a": "1"}}, restartPolicy="Always")
    assert hashes.same_pod(one, other)
    assert not hashes.same_pod(one, pod(metadata={"labels": {"a": "1"}}))
