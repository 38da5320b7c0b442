"""A container's variables as the kubelet makes them: every source, its order, and what is missing."""

from __future__ import annotations

import json
from typing import Any

import pytest

from minikube_lite.core.environment import CannotRun, Environment, Facts, environment
from minikube_lite.core.references import Reference, references
from minikube_lite.spec.configs import Config
from minikube_lite.spec.objects import Pod
from minikube_lite.spec.quantity import Quantity
from minikube_lite.spec.volumes import Volume
from tests.spec.agreement import read_both_ways

CONFIGS = (
    Config("ConfigMap", "default", "conf", {"PORT": b"8080", "a.b": b"dotted", "raw": b"\0"}, frozenset({"raw"})),
    Config("ConfigMap", "default", "more", {"PORT": b"9090", "EMPTY": b""}),
    Config("ConfigMap", "other", "conf", {"PORT": b"1"}),
    Config("Secret", "default", "keys", {"PASSWORD": b"s3cret", "nul": b"a\0b", "latin": b"\xe9"}, type="Opaque"),
    Config("Secret", "default", "plain", {"USER": b"admin"}, type="Opaque"),
)
FACTS = Facts(
    uid="1-2-3",
    node_name="box",
    host_ips=("10.0.0.5", "fd00::5"),
    pod_ips=("10.1.0.9", "fd01::9"),
    allocatable={"cpu": Quantity("4"), "memory": Quantity("8Gi"), "ephemeral-storage": Quantity("100Gi")},
)


def pod(env: Any = (), env_from: Any = (), metadata: dict[str, Any] | None = None, **fields: Any) -> Pod:
    container = {"name": "app", "image": "host", "env": list(env), "envFrom": list(env_from)} | fields
    side = {"name": "side", "image": "host", "resources": {"limits": {"cpu": "250m"}, "requests": {"memory": "1Mi"}}}
    whole = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "web", "labels": {"app": "shop", "x.io/a": "b"}, "annotations": {"Note": "hi"}}
        | (metadata or {}),
        "spec": {"containers": [container, side], "serviceAccountName": "robot"},
    }
    (document,) = read_both_ways(json.dumps(whole).encode(), "pod.yaml").documents
    assert document.pod is not None, document.problems
    return document.pod


def made(
    env: Any = (), env_from: Any = (), metadata: dict[str, Any] | None = None, facts: Facts = FACTS, **fields: Any
) -> Environment:
    by_id = {config.id: config for config in CONFIGS}
    asked = pod(env, env_from, metadata, **fields)
    return environment(asked, asked.spec.containers[0], lambda *id: by_id.get("/".join(id)), facts)


def var(name: str, value: str = "", **source: Any) -> dict[str, Any]:
    return {"name": name} | ({"valueFrom": source} if source else {"value": value})


def key(kind: str, name: str, of: str, **more: Any) -> dict[str, Any]:
    return {f"{kind}KeyRef": {"name": name, "key": of, **more}}


def whole(kind: str, name: str, prefix: str = "", **more: Any) -> dict[str, Any]:
    return {f"{kind}Ref": {"name": name, **more}} | ({"prefix": prefix} if prefix else {})


# (env, envFrom, what comes of it)
MADE: dict[str, tuple[list[Any], list[Any], dict[str, str]]] = {
    "nothing": ([], [], {}),
    "a value": ([var("A", "1"), var("B")], [], {"A": "1", "B": ""}),
    "a key of a ConfigMap": ([var("A", **key("configMap", "conf", "PORT"))], [], {"A": "8080"}),
    "a key of a Secret": ([var("A", **key("secret", "keys", "PASSWORD"))], [], {"A": "s3cret"}),
    "an empty value": ([var("A", **key("configMap", "more", "EMPTY"))], [], {"A": ""}),
    "a whole ConfigMap, but not its bytes": ([], [whole("configMap", "conf")], {"PORT": "8080", "a.b": "dotted"}),
    "a whole Secret": ([], [whole("secret", "plain")], {"USER": "admin"}),
    "with a prefix": ([], [whole("configMap", "more", "X_")], {"X_PORT": "9090", "X_EMPTY": ""}),
    "the later of two wins": (
        [],
        [whole("configMap", "conf"), whole("configMap", "more")],
        {"PORT": "9090", "a.b": "dotted", "EMPTY": ""},
    ),
    "env wins over envFrom": ([var("PORT", "1")], [whole("configMap", "more")], {"PORT": "1", "EMPTY": ""}),
    "a reference to envFrom": (
        [var("URL", ":$(PORT)")],
        [whole("configMap", "more")],
        {"PORT": "9090", "EMPTY": "", "URL": ":9090"},
    ),
    "a reference backwards": ([var("A", "1"), var("B", "$(A)2"), var("A", "3")], [], {"A": "3", "B": "12"}),
    "no reference forwards": ([var("B", "$(A)"), var("A", "1")], [], {"B": "$(A)", "A": "1"}),
    "an escaped reference": ([var("A", "1"), var("B", "$$(A)")], [], {"A": "1", "B": "$(A)"}),
    "what was looked up is not looked into": (
        [var("PORT", "x"), var("A", **key("configMap", "conf", "PORT")), var("B", "$(A)")],
        [],
        {"PORT": "x", "A": "8080", "B": "8080"},
    ),
    "a missing object that is optional": (
        [
            var("A", **key("configMap", "none", "k", optional=True)),
            var("B", **key("secret", "none", "k", optional=True)),
        ],
        [whole("configMap", "none", optional=True), whole("secret", "none", optional=True)],
        {},
    ),
    "a missing key that is optional": ([var("A", **key("secret", "keys", "none", optional=True))], [], {}),
    "a missing one leaves what there was": (
        [var("A", "1"), var("A", **key("secret", "keys", "none", optional=True))],
        [],
        {"A": "1"},
    ),
}


@pytest.mark.parametrize("what", MADE)
def test_variables_come_from(what: str) -> None:
    env, env_from, expected = MADE[what]
    assert made(env, env_from).values == expected


# (env, envFrom, words)
CANNOT: dict[str, tuple[list[Any], list[Any], str]] = {
    "no such ConfigMap": ([var("A", **key("configMap", "none", "k"))], [], 'configmap "none" not found'),
    "no such Secret": ([var("A", **key("secret", "none", "k"))], [], 'secret "none" not found'),
    "no such ConfigMap as a whole": ([], [whole("configMap", "none")], 'configmap "none" not found'),
    "no such Secret as a whole": ([], [whole("secret", "none")], 'secret "none" not found'),
    "no such key": ([var("A", **key("configMap", "conf", "k"))], [], "couldn't find key k in ConfigMap default/conf"),
    "no such key in a Secret": (
        [var("A", **key("secret", "keys", "k"))],
        [],
        "couldn't find key k in Secret default/keys",
    ),
    "bytes of a ConfigMap": (
        [var("A", **key("configMap", "conf", "raw"))],
        [],
        "couldn't find key raw in ConfigMap default/conf (it is in binaryData, which is not for variables)",
    ),
    "a NUL": (
        [var("A", **key("secret", "keys", "nul"))],
        [],
        "key nul in Secret default/keys is binary, which no variable can hold: mount it as a volume",
    ),
    "not UTF-8": (
        [var("A", **key("secret", "keys", "latin"))],
        [],
        "key latin in Secret default/keys is binary, which no variable can hold: mount it as a volume",
    ),
    "a Secret with bytes as a whole": (
        [],
        [whole("secret", "keys")],
        "key latin in Secret default/keys is binary, which no variable can hold: mount it as a volume",
    ),
    "a container that the pod has not": (
        [var("A", resourceFieldRef={"resource": "limits.cpu", "containerName": "none"})],
        [],
        "container none not found",
    ),
}


@pytest.mark.parametrize("what", CANNOT)
def test_a_container_cannot_be_made_for(what: str) -> None:
    env, env_from, words = CANNOT[what]
    with pytest.raises(CannotRun) as caught:
        made(env, env_from)
    assert (caught.value.reason, caught.value.message) == ("CreateContainerConfigError", words)


def test_another_namespace_is_never_read() -> None:
    with pytest.raises(CannotRun, match='secret "keys" not found'):
        made([var("A", **key("secret", "keys", "PASSWORD"))], metadata={"namespace": "other"})
    assert made([], [whole("configMap", "conf")], metadata={"namespace": "other"}).values == {"PORT": "1"}


FIELDS = {
    "metadata.name": "web",
    "metadata.namespace": "default",
    "metadata.uid": "1-2-3",
    "metadata.labels['app']": "shop",
    "metadata.labels['x.io/a']": "b",
    "metadata.labels['none']": "",
    "metadata.annotations['Note']": "hi",
    "metadata.annotations['none']": "",
    "spec.nodeName": "box",
    "spec.serviceAccountName": "robot",
    "status.hostIP": "10.0.0.5",
    "status.hostIPs": "10.0.0.5,fd00::5",
    "status.podIP": "10.1.0.9",
    "status.podIPs": "10.1.0.9,fd01::9",
}


@pytest.mark.parametrize("path", FIELDS)
def test_a_field_of_the_pod(path: str) -> None:
    assert made([var("A", fieldRef={"fieldPath": path})]).values == {"A": FIELDS[path]}


def test_addresses_that_are_not_known_are_empty() -> None:
    env = [var(path, fieldRef={"fieldPath": f"status.{path}"}) for path in ("podIP", "podIPs", "hostIP")]
    assert made(env, facts=Facts()).values == {"podIP": "", "podIPs": "", "hostIP": ""}


LIMITED = {"limits": {"cpu": "1500m", "memory": "100Mi", "ephemeral-storage": "1Gi"}, "requests": {"cpu": "100m"}}
# (resources, resource, divisor, container, value)
RESOURCES = [
    (LIMITED, "limits.cpu", None, "", "2"),
    (LIMITED, "limits.cpu", "1m", "", "1500"),
    (LIMITED, "limits.cpu", "1", "", "2"),
    (LIMITED, "limits.cpu", "0", "", "2"),
    (LIMITED, "requests.cpu", None, "", "1"),
    (LIMITED, "requests.cpu", "1m", "", "100"),
    (LIMITED, "limits.memory", None, "", str(100 << 20)),
    (LIMITED, "limits.memory", "1Mi", "", "100"),
    (LIMITED, "limits.memory", "1M", "", "105"),
    (LIMITED, "limits.memory", "1Gi", "", "1"),
    (LIMITED, "requests.memory", "1Ki", "", str(100 << 10)),  # a limit alone is the request too
    (LIMITED, "limits.ephemeral-storage", "1Mi", "", "1024"),
    (LIMITED, "limits.cpu", "1m", "side", "250"),
    (LIMITED, "limits.memory", "1Gi", "side", "8"),
    ({}, "limits.cpu", None, "", "4"),
    ({}, "limits.memory", "1Gi", "", "8"),
    ({}, "limits.ephemeral-storage", "1Gi", "", "100"),
    ({}, "requests.cpu", None, "", "0"),
    ({}, "requests.memory", None, "", "0"),
    ({"limits": {"cpu": "0"}}, "limits.cpu", None, "", "4"),
    ({"limits": {"cpu": "1u"}}, "limits.cpu", "1m", "", "1"),
    ({}, "limits.hugepages-2Mi", None, "", "0"),
]


@pytest.mark.parametrize(("resources", "resource", "divisor", "container", "value"), RESOURCES)
def test_a_resource_of_a_container(
    resources: dict[str, Any], resource: str, divisor: str | None, container: str, value: str
) -> None:
    source = {"resource": resource} | ({"divisor": divisor} if divisor else {})
    source |= {"containerName": container} if container else {}
    assert made([var("A", resourceFieldRef=source)], resources=resources).values == {"A": value}


def test_what_holds_something_of_a_secret_is_secret() -> None:
    env = [
        var("PASSWORD", **key("secret", "keys", "PASSWORD")),
        var("URL", "db://$(PASSWORD)@host"),
        var("AGAIN", "$(URL)"),
        var("PORT", **key("configMap", "conf", "PORT")),
        var("PLAIN", "$$(PASSWORD)"),
        var("USER", "nobody"),
    ]
    found = made(env, [whole("secret", "plain"), whole("secret", "plain", "X_")])
    assert found.secret >= {"PASSWORD", "URL", "AGAIN", "X_USER"}
    assert not found.secret & {"PORT", "USER"}, "what took a secret's place is none"
    assert "s3cret" not in "".join(found.public.values.values()) + repr(found)
    assert found.public.values["USER"] == "nobody"


def test_the_pod_says_what_it_refers_to() -> None:
    asked = pod(
        [var("A", **key("configMap", "one", "k")), var("B", **key("secret", "two", "k", optional=True))],
        [whole("configMap", "three"), whole("secret", "four")],
        metadata={"namespace": "shop"},
    )
    volumes = [
        {"name": "a", "configMap": {"name": "five"}},
        {"name": "b", "secret": {"secretName": "six"}},
        {"name": "c", "projected": {"sources": [{"configMap": {"name": "seven"}}, {"secret": {"name": "eight"}}, {}]}},
        {"name": "d", "emptyDir": {}},
    ]
    more = {"volumes": [Volume.model_validate(volume) for volume in volumes], "image_pull_secrets": [{"name": "nine"}]}
    spec = asked.spec.model_copy(update=more)
    assert references(asked.model_copy(update={"spec": spec})) == {
        *(Reference("ConfigMap", "shop", name) for name in ("one", "three", "five", "seven")),
        *(Reference("Secret", "shop", name) for name in ("two", "four", "six", "eight", "nine")),
    }
    assert references(pod()) == frozenset()
