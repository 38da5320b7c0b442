"""What is checked without pydantic is what the models would be: the same names, defaults and values, and verdicts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minikube_lite.spec import shapes
from minikube_lite.spec.fields import OBJECTS, Field, Type, Verdict
from minikube_lite.spec.objects import Pod
from minikube_lite.spec.view import view_of
from tests.spec.agreement import assert_alike, read_both_ways
from tests.spec.shapes import text
from tests.spec.test_objects import IN_CONTAINER, PLACES, SHAPES, shaped

REPOSITORY = Path(__file__).parents[2]


def test_the_shapes_are_those_of_the_models() -> None:
    written = Path(str(shapes.__file__)).read_text(encoding="utf-8")
    assert written == text(), "write them anew: python -m tests.spec.shapes"


def test_a_view_has_the_defaults_of_the_models() -> None:
    document: dict[str, Any] = {"metadata": {"name": "web"}, "spec": {"containers": [{"name": "a"}]}}
    assert_alike(view_of(document), Pod.model_validate(document))


def test_a_view_has_what_was_written_in_the_models_types() -> None:
    container = {
        "name": "a",
        "command": ["sh"],
        "env": [{"name": "A"}, {"name": "B", "value": "5"}],
        "ports": [{"containerPort": 80, "hostIP": "::"}],
        "resources": {"limits": {"cpu": 0.5, "memory": "1Gi"}, "requests": {"cpu": "100m"}},
        "securityContext": {"runAsUser": 5, "capabilities": {"add": ["ALL"]}},
    }
    spec = {"containers": [container], "hostPID": True, "securityContext": {"supplementalGroups": [5, 6]}}
    document = {"metadata": {"name": "web", "labels": {"a": "b"}}, "spec": spec}
    assert_alike(view_of(document), Pod.model_validate(document))


def test_a_view_does_not_change() -> None:
    view = view_of({"metadata": {"name": "web"}, "spec": {"containers": []}})
    with pytest.raises(AttributeError, match="does not change"):
        view.spec.hostname = "x"  # type: ignore[misc]
    with pytest.raises(AttributeError, match="does not change"):
        del view.spec.hostname
    assert view.spec.hostname == ""


@pytest.mark.parametrize("file", sorted(REPOSITORY.glob("examples/**/*.yaml")), ids=lambda file: file.name)
def test_an_example_is_good_in_both_ways(file: Path) -> None:
    manifest = read_both_ways(file.read_bytes(), file.name)
    assert all(document.used or document.skipped for document in manifest.documents)


@pytest.mark.parametrize("place", PLACES + IN_CONTAINER)
def test_a_value_of_any_shape_has_the_same_verdict_in_both_ways(place: str) -> None:
    for number, value in enumerate(SHAPES):
        read_both_ways(json.dumps(shaped(place, value, number)).encode(), "pod.json")


TAME: dict[str, st.SearchStrategy[Any]] = {
    "string": st.sampled_from(["web", "a", "b-1"]),
    "int": st.sampled_from([1, 30, 65535]),
    "bool": st.booleans(),
    "int-or-string": st.sampled_from([80, "http"]),
    "quantity": st.sampled_from(["1", "100m", "0", "1Gi", "1e3", 2, 0.5]),
    "any": st.sampled_from(["", "a", 1, True, {}, [], {"a": [1]}]),
}
WILD = TAME | {
    "string": st.sampled_from(["", "web", "A", "/x", "a b", "\0", "é", "${TAG}"]),
    "int": st.sampled_from([0, 1, -1, 70000, 2**31, 2**63 - 1, 2**63]),
    "quantity": st.sampled_from(["1", "0.1", "-1", "1GB", "1e999", "9Ei", ""]),
}
WRONG = st.sampled_from(SHAPES)
TAME_KEYS = st.sampled_from(["cpu", "memory"])
WILD_KEYS = st.sampled_from(["cpu", "ephemeral-storage", "hugepages-2Mi", "nvidia.com/gpu", "app", "", "A b"])


def values(type_: Type, depth: int, wild: bool) -> st.SearchStrategy[Any]:
    """Of a field of this type; wild ones are at times of any shape."""
    if type_.item is not None:
        item = values(type_.item, depth, wild)
        keys = WILD_KEYS if wild else TAME_KEYS
        right = st.lists(item, min_size=1, max_size=3) if type_.kind == "list" else st.dictionaries(keys, item)
    elif type_.kind == "object":
        right = objects(type_.name, depth - 1, wild)
    else:
        right = (WILD if wild else TAME)[type_.kind]
    return st.integers(0, 19).flatmap(lambda roll: WRONG if roll == 7 else right) if wild else right


def objects(name: str, depth: int, wild: bool) -> st.SearchStrategy[dict[str, Any]]:
    """What is required, and a few of the other fields; those that are refused only in wild ones."""

    def entry(field: Field) -> st.SearchStrategy[Any]:
        return st.sampled_from(field.one_of) if field.one_of else values(field.type, depth, wild)

    def chosen(names: set[str]) -> st.SearchStrategy[dict[str, Any]]:
        return st.fixed_dictionaries({name: entry(known[name]) for name in sorted(names | required)})

    known = OBJECTS[name]
    required = {field.name for field in known.values() if field.required}
    others = sorted(field.name for field in known.values() if wild or field.verdict is not Verdict.REFUSED)
    return st.sets(st.sampled_from(others), max_size=4).flatmap(chosen) if depth > 0 else chosen(set())


@pytest.mark.parametrize("wild", [False, True], ids=["tame", "wild"])
def test_a_pod_that_nobody_would_write_has_the_same_verdict_in_both_ways(wild: bool) -> None:
    good = 0

    @settings(max_examples=200, deadline=None)
    @given(objects("Pod", 5, wild))
    def check(pod: dict[str, Any]) -> None:
        nonlocal good
        containers = pod["spec"].get("containers") if isinstance(pod["spec"], dict) else None
        if isinstance(pod["metadata"], dict):
            pod["metadata"]["name"] = "web"
        for number, container in enumerate(containers if isinstance(containers, list) else []):
            if isinstance(container, dict):
                container |= {"name": f"c{number}", "image": "host"}
        (document,) = read_both_ways(json.dumps(pod).encode(), "pod.json").documents
        good += document.pod is not None

    check()
    assert good > 10 or wild, "too few of them are any good for this test to be"
