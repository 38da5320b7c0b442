"""The Pod as a value: every field known, defaults as Kubernetes', QoS class, who it runs as."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from minikube_lite.spec.container import (
    Capabilities,
    Container,
    ContainerPort,
    EnvVar,
    ResourceRequirements,
    SecurityContext,
)
from minikube_lite.spec.fields import OBJECTS, Type, Verdict
from minikube_lite.spec.manifest import read_manifest
from minikube_lite.spec.model import Model
from minikube_lite.spec.objects import ObjectMeta, Pod, PodSecurityContext, PodSpec, qos_class, run_as, to_json
from tests.spec.kubectl import needs_kubectl, wrongly_typed

MODELS: list[type[Model]] = [
    Pod,
    ObjectMeta,
    PodSpec,
    PodSecurityContext,
    Container,
    EnvVar,
    ContainerPort,
    ResourceRequirements,
    SecurityContext,
    Capabilities,
]


def make(*resources: dict[str, Any], spec: dict[str, Any] | None = None) -> Pod:
    containers = [{"name": f"c{n}", "image": "host", "resources": item} for n, item in enumerate(resources or ({},))]
    return Pod.model_validate({"metadata": {"name": "web"}, "spec": {"containers": containers, **(spec or {})}})


@pytest.mark.parametrize("model", MODELS, ids=[model.__name__ for model in MODELS])
def test_the_models_and_the_table_of_fields_know_the_same_names(model: type[Model]) -> None:
    aliases = {field.alias or name for name, field in model.model_fields.items()}
    assert aliases == set(OBJECTS[model.__name__])


def test_every_type_in_the_table_is_described() -> None:
    def names(type_: Type) -> list[str]:
        return names(type_.item) if type_.item else [type_.name] if type_.kind == "object" else []

    used = {name for fields in OBJECTS.values() for field in fields.values() for name in names(field.type)}
    assert used | {"Pod", "ConfigMap", "Secret", "PersistentVolumeClaim"} == set(OBJECTS)


def test_every_field_that_is_not_honoured_says_why() -> None:
    silent = [
        f"{name}.{field.name}"
        for name, fields in OBJECTS.items()
        for field in fields.values()
        if field.verdict is not Verdict.HONOURED and not field.note
    ]
    assert silent == []


def test_defaults_are_those_of_kubernetes() -> None:
    pod = make()
    spec = pod.spec
    assert (pod.key, pod.api_version, pod.kind) == ("default/web", "v1", "Pod")
    assert (spec.restart_policy, spec.termination_grace_period_seconds, spec.dns_policy) == (
        "Always",
        30,
        "ClusterFirst",
    )
    assert not any((spec.host_network, spec.host_pid, spec.host_ipc, spec.share_process_namespace))


def test_what_was_not_set_is_left_out_of_the_json_and_comes_back_equal() -> None:
    pod = make({"limits": {"cpu": 0.5}}, spec={"hostPID": True, "volumes": [{"name": "a"}]})
    written = to_json(pod)
    assert written == {
        "metadata": {"name": "web"},
        "spec": {
            "containers": [
                {"name": "c0", "image": "host", "resources": {"limits": {"cpu": "500m"}, "requests": {"cpu": "500m"}}}
            ],
            "hostPID": True,
            "volumes": [{"name": "a"}],
        },
    }
    assert Pod.model_validate_json(json.dumps(written)) == pod
    assert to_json(pod, defaults=True)["spec"]["restartPolicy"] == "Always"


def test_the_status_that_a_cluster_wrote_is_accepted_and_not_kept() -> None:
    pod = Pod.model_validate({**to_json(make()), "status": {"phase": "Running"}})
    assert "status" not in to_json(pod)


def test_values_do_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        make().spec.restart_policy = "Never"  # type: ignore[misc]


@pytest.mark.parametrize(
    "spec",
    [
        {"containers": [{"name": "a", "imagee": "b"}]},
        {"containers": [{"name": 5}]},
        {"containers": [], "hostNetwork": "yes"},
        {"containers": [], "terminationGracePeriodSeconds": "5"},
        {"containers": [], "restartPolicy": "always"},
    ],
)
def test_the_models_refuse_on_their_own_what_is_of_the_wrong_type(spec: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Pod.model_validate({"metadata": {}, "spec": spec})


def test_requests_default_to_limits_resource_by_resource() -> None:
    resources = make({"limits": {"cpu": "2", "memory": "1Gi"}, "requests": {"cpu": "1"}}).spec.containers[0].resources
    assert {name: str(amount) for name, amount in resources.requests.items()} == {"cpu": "1", "memory": "1Gi"}
    assert make({"requests": {"cpu": "1"}}).spec.containers[0].resources.limits == {}


GUARANTEED = {"limits": {"cpu": "1", "memory": "1Gi"}}


@pytest.mark.parametrize(
    ("resources", "expected"),
    [
        (({},), "BestEffort"),
        (({"limits": {"cpu": "0"}},), "BestEffort"),
        (({"limits": {"ephemeral-storage": "1Gi"}},), "BestEffort"),
        ((GUARANTEED,), "Guaranteed"),
        (({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1000m", "memory": "1024Mi"}},), "Guaranteed"),
        ((GUARANTEED, GUARANTEED), "Guaranteed"),
        ((GUARANTEED, {}), "Burstable"),
        ((GUARANTEED, {"limits": {"cpu": "1"}}), "Burstable"),
        (({"limits": {"cpu": "1"}},), "Burstable"),
        (({"requests": {"memory": "1"}},), "Burstable"),
        (({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}},), "Burstable"),
        (({"limits": {"cpu": "1", "memory": "0"}},), "Burstable"),
    ],
)
def test_the_qos_class_follows_from_cpu_and_memory_of_all_containers(
    resources: tuple[dict[str, Any], ...], expected: str
) -> None:
    assert qos_class(make(*resources)) == expected


@pytest.mark.parametrize(
    ("shared", "own", "expected"),
    [
        (None, None, (None, None, ())),
        ({"runAsUser": 1, "runAsGroup": 2}, None, (1, 2, ())),
        ({"runAsUser": 1, "runAsGroup": 2}, {"runAsUser": 0}, (0, 2, ())),
        (None, {"runAsUser": 5, "runAsGroup": 6}, (5, 6, ())),
        ({"supplementalGroups": [7, 8], "fsGroup": 8}, {}, (None, None, (7, 8))),
        ({"fsGroup": 0}, None, (None, None, (0,))),
    ],
)
def test_who_a_container_runs_as_is_its_own_word_then_the_pods(
    shared: dict[str, Any] | None, own: dict[str, Any] | None, expected: tuple[Any, ...]
) -> None:
    pod = Pod.model_validate(
        {
            "metadata": {"name": "web"},
            "spec": {"securityContext": shared, "containers": [{"name": "a", "securityContext": own}]},
        }
    )
    assert run_as(pod, pod.spec.containers[0]) == expected


TYPE_WORDS = ("expected", "must be a string", "is not a quantity")
# Values of every shape, tried in many fields: Kubernetes' own types and ours must agree on which are right.
SHAPES: list[Any] = ["text", "5", "", 5, 0, -1, 2.5, True, False, [], {}, ["a"], [1], {"a": "b"}, {"a": 1}, None]
PLACES = [
    "spec.hostname",
    "spec.hostNetwork",
    "spec.terminationGracePeriodSeconds",
    "spec.nodeSelector",
    "spec.tolerations",
    "spec.affinity",
    "spec.volumes",
    "spec.dnsConfig",
    "spec.dnsConfig.nameservers",
    "spec.priority",
    "spec.imagePullSecrets",
    "spec.securityContext",
    "spec.securityContext.runAsUser",
    "spec.securityContext.supplementalGroups",
    "spec.activeDeadlineSeconds",
    "spec.overhead",
    "spec.readinessGates",
    "spec.hostUsers",
    "spec.shareProcessNamespace",
    "metadata.labels",
    "metadata.annotations",
    "metadata.finalizers",
    "metadata.generation",
    "spec.restartPolicy",
]
IN_CONTAINER = [
    "command",
    "args",
    "env",
    "workingDir",
    "ports",
    "tty",
    "stdin",
    "image",
    "livenessProbe",
    "livenessProbe.httpGet",
    "livenessProbe.periodSeconds",
    "livenessProbe.exec",
    "lifecycle.preStop",
    "securityContext.privileged",
    "securityContext.capabilities",
    "securityContext.capabilities.drop",
    "securityContext.runAsNonRoot",
    "resources",
    "resources.limits",
    "resources.requests",
    "imagePullPolicy",
    "terminationMessagePath",
    "volumeMounts",
    "envFrom",
]


def shaped(place: str, value: Any, number: int) -> dict[str, Any]:
    pod: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"p{number}"},
        "spec": {"containers": [{"name": "a", "image": "host"}]},
    }
    at = pod if place.startswith(("spec.", "metadata.")) else pod["spec"]["containers"][0]
    *around, last = place.split(".")
    for part in around:
        at = at.setdefault(part, {})
    at[last] = value
    return pod


@needs_kubectl
def test_kubectl_finds_the_same_values_to_be_of_the_wrong_type() -> None:
    cases = [(place, value) for place in PLACES + IN_CONTAINER for value in SHAPES]
    files = [json.dumps(shaped(place, value, number)).encode() for number, (place, value) in enumerate(cases)]
    theirs = wrongly_typed(files)
    assert len(theirs) > 300
    for number, (case, data) in enumerate(zip(cases, files, strict=True)):
        (document,) = read_manifest(data, "f").documents
        refused = [problem for problem in document.problems if any(words in problem.message for words in TYPE_WORDS)]
        assert bool(refused) == (number in theirs), (case, [str(item) for item in document.problems])
