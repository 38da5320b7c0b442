"""What the files of a volume hold: a table, from a healthy ConfigMap and Secret."""

from __future__ import annotations

from typing import Any

import pytest

from minikube_lite.core.environment import Facts
from minikube_lite.core.projection import File, NotThere, files_of, format_map, go_quote
from minikube_lite.spec.configs import Config, ConfigKind
from minikube_lite.spec.quantity import Quantity
from tests.core import healthy

Json = dict[str, Any]
THERE: dict[tuple[str, str], dict[str, bytes]] = {
    ("ConfigMap", "conf"): {"a": b"1", "b": b"\xff\x00"},
    ("Secret", "keys"): {"a": b"secret", "tls.key": b"key"},
}
FACTS = Facts(uid=healthy.UID, allocatable={"cpu": Quantity("4"), "memory": Quantity("8Gi")})


def lookup(kind: ConfigKind, namespace: str, name: str) -> Config | None:
    data = THERE.get((kind, name)) if namespace == "default" else None
    return None if data is None else Config(kind, namespace, name, data)


def files(**source: Any) -> dict[str, File]:
    pod = healthy.pod(metadata={"labels": {"app": "web", "b": 'x"y'}}, volumes=[{"name": "data", **source}])
    return files_of(pod.spec.volumes[0], pod, lookup, FACTS)


CONF = {"name": "conf"}
GOOD: list[tuple[Json, dict[str, tuple[bytes, int, int | None]]]] = [
    ({"configMap": CONF}, {"a": (b"1", 0o644, None), "b": (b"\xff\x00", 0o644, None)}),
    (
        {"configMap": CONF | {"defaultMode": 0o400, "defaultUser": 5, "items": [{"key": "a", "path": "x/y"}]}},
        {"x/y": (b"1", 0o400, 5)},
    ),
    (
        {"configMap": CONF | {"defaultMode": 0o400, "items": [{"key": "a", "path": "x", "mode": 0, "user": 0}]}},
        {"x": (b"1", 0, 0)},
    ),
    ({"configMap": {"name": "none", "optional": True}}, {}),
    ({"configMap": CONF | {"optional": True, "items": [{"key": "none", "path": "x"}]}}, {}),
    ({"secret": {"secretName": "keys", "items": [{"key": "tls.key", "path": "k"}]}}, {"k": (b"key", 0o644, None)}),
    ({"downwardAPI": {"items": []}}, {}),
]


@pytest.mark.parametrize(("source", "expected"), GOOD, ids=str)
def test_a_source_becomes_these_files(source: Json, expected: dict[str, tuple[bytes, int, int | None]]) -> None:
    assert {path: (file.data, file.mode, file.user) for path, file in files(**source).items()} == expected


def told(**item: Any) -> bytes:
    return files(downwardAPI={"items": [{"path": "x", **item}]})["x"].data


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("metadata.name", b"web"),
        ("metadata.namespace", b"default"),
        ("metadata.uid", healthy.UID.encode()),
        ("metadata.labels", b'app="web"\nb="x\\"y"'),
        ("metadata.labels['app']", b"web"),
        ("metadata.labels['none']", b""),
        ("metadata.annotations", b""),
    ],
)
def test_a_field_of_the_pod_is_a_file(field: str, expected: bytes) -> None:
    assert told(fieldRef={"fieldPath": field}) == expected


@pytest.mark.parametrize(
    ("resource", "divisor", "expected"),
    [
        ("limits.cpu", "1m", b"200"),
        ("limits.cpu", "1", b"1"),
        ("requests.cpu", "1m", b"100"),
        ("limits.memory", "1Mi", b"64"),
        ("limits.memory", "0", b"67108864"),
    ],
)
def test_a_limit_is_a_file_in_whole_divisors(resource: str, divisor: str, expected: bytes) -> None:
    ref = {"containerName": "app", "resource": resource, "divisor": divisor}
    assert told(resourceFieldRef=ref) == expected


def projected(*sources: Json) -> dict[str, File]:
    return files(projected={"sources": list(sources), "defaultMode": 0o440})


def test_projected_sources_are_put_together() -> None:
    found = projected(
        {"configMap": CONF},
        {"secret": {"name": "keys", "items": [{"key": "a", "path": "deep/a", "mode": 0o400}]}},
        {"downwardAPI": {"items": [{"path": "deep/name", "fieldRef": {"fieldPath": "metadata.name"}}]}},
    )
    assert {path: (file.data, file.mode) for path, file in found.items()} == {
        "a": (b"1", 0o440),
        "b": (b"\xff\x00", 0o440),
        "deep/a": (b"secret", 0o400),
        "deep/name": (b"web", 0o440),
    }


ITEM_A = {"items": [{"key": "a", "path": "a/b"}]}
BAD: list[tuple[Json, str]] = [
    ({"configMap": {"name": "none"}}, 'configmap "none" not found'),
    ({"secret": {"secretName": "none"}}, 'secret "none" not found'),
    (
        {"configMap": CONF | {"items": [{"key": "c", "path": "c"}]}},
        "configmap references non-existent config key: c (conf has a, b)",
    ),
    (
        {"secret": {"secretName": "keys", "items": [{"key": "c", "path": "c"}]}},
        "references non-existent secret key: c (keys has a, tls.key)",
    ),
    (
        {"projected": {"sources": [{"configMap": CONF}, {"secret": {"name": "keys"}}]}},
        "sources[0] (configMap conf) and sources[1] (secret keys) both write a",
    ),
    (
        {"projected": {"sources": [{"configMap": CONF}, {"secret": {"name": "keys", **ITEM_A}}]}},
        "sources[0] (configMap conf) writes the file a, and sources[1] (secret keys) writes a/b below it",
    ),
    (
        {"configMap": CONF | {"items": [{"key": "a", "path": "a"}, {"key": "b", "path": "a/b"}]}},
        "a is to be a file, and a/b to lie below it",
    ),
]


@pytest.mark.parametrize(("source", "words"), BAD, ids=lambda value: str(value)[:60])
def test_what_cannot_be_is_said(source: Json, words: str) -> None:
    with pytest.raises(NotThere) as caught:
        files(**source)
    assert str(caught.value) == words


def test_no_value_is_in_a_repr() -> None:
    assert "secret" not in repr(files(secret={"secretName": "keys"}))


@pytest.mark.parametrize(
    ("text", "expected"),
    [("a", '"a"'), ('"\\', '"\\"\\\\"'), ("\n\t\x00\x7f", '"\\n\\t\\x00\\x7f"'), ("é\u2028", '"é\\u2028"')],
)
def test_quoting_is_that_of_go(text: str, expected: str) -> None:
    assert go_quote(text) == expected


def test_pairs_are_sorted() -> None:
    assert format_map({"b": "2", "a": "1"}) == 'a="1"\nb="2"'
