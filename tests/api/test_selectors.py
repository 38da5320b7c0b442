"""Label and field selectors, by Kubernetes' own grammar."""

from __future__ import annotations

import pytest

from minikube_lite.api.resources import EVENTS, PODS
from minikube_lite.api.selectors import field_selector, label_selector, select
from minikube_lite.node.service import ServiceError


def matches(selector: str, **labels: str) -> bool:
    return label_selector(selector)({"metadata": {"labels": labels}})


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ("app=web", True),
        ("app==web", True),
        (" app = web ", True),
        ("app=db", False),
        ("app!=db", True),
        ("app!=web", False),
        ("other!=web", True),
        ("app", True),
        ("other", False),
        ("!app", False),
        ("! other", True),
        ("empty=", True),
        ("app=", False),
        ("empty", True),
        ("app in (web)", True),
        ("app in (db, web)", True),
        ("app in (db,cache)", False),
        ("app in(web)", True),
        ("empty in (,x)", True),
        ("app notin (db,cache)", True),
        ("app notin (web)", False),
        ("other notin (web)", True),
        ("count>2", True),
        ("count > 3", False),
        ("count<4", True),
        ("app>1", False),
        ("other<1", False),
        ("app=web,count>2,!other", True),
        ("app=web,count>3", False),
        ("app in (web,db),empty", True),
        ("example.com/role=front", True),
        ("in in (notin)", False),
    ],
)
def test_a_label_selector_says_which_objects_it_means(selector: str, expected: bool) -> None:
    labels = {"app": "web", "empty": "", "count": "3", "example.com/role": "front"}
    assert matches(selector, **labels) == expected


@pytest.mark.parametrize(
    "selector",
    [
        *(
            "=",
            "app=web,",
            ",",
            "app in",
            "app in web",
            "app in (web",
            "app in (web))",
            "app web",
            "app=(web)",
            "a b c",
        ),
        *(
            "-x=1",
            "a/b/c",
            "Example.com/x",
            "app=web!",
            "app>x",
            "x" * 64,
            "app=" + "x" * 64,
            "!",
            "!!a",
            "app=a=b",
            "é",
        ),
    ],
)
def test_a_label_selector_that_cannot_be_read_is_a_bad_request(selector: str) -> None:
    with pytest.raises(ServiceError, match="unable to parse label selector") as caught:
        label_selector(selector)
    assert caught.value.code == 400


def test_an_object_without_labels_is_selected_by_what_it_lacks() -> None:
    assert label_selector("!app")({"metadata": {}})
    assert not label_selector("app")({"metadata": {"labels": None}})


POD = {
    "metadata": {"name": "web", "namespace": "default"},
    "spec": {"nodeName": "box", "hostNetwork": True},
    "status": {"phase": "Running"},
}


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ("metadata.name=web", True),
        ("metadata.name==web", True),
        ("metadata.name!=web", False),
        ("metadata.namespace=default,status.phase=Running", True),
        ("status.phase!=Running", False),
        ("spec.nodeName=box", True),
        ("spec.nodeName=", False),
        ("status.podIP=", True),
        ("spec.hostNetwork=true", True),
        (r"metadata.name=a\,b", False),
        ("", True),
    ],
)
def test_a_field_selector_says_which_objects_it_means(selector: str, expected: bool) -> None:
    assert field_selector(PODS, selector)(POD) == expected


def test_escapes_in_a_field_selector_are_the_characters_themselves() -> None:
    event = {"metadata": {}, "reason": r"a,b=c\d"}
    assert field_selector(EVENTS, r"reason=a\,b\=c\\d")(event)


@pytest.mark.parametrize(
    "selector", ["x", "=a", "metadata.name", "metadata.name>1", "metadata.name=a=b", "spec.image=x"]
)
def test_a_field_selector_that_cannot_be_read_is_a_bad_request(selector: str) -> None:
    with pytest.raises(ServiceError) as caught:
        field_selector(PODS, selector)
    assert caught.value.code == 400


def test_both_selectors_must_agree() -> None:
    pod = {"metadata": {"name": "web", "labels": {"app": "web"}}}
    assert select(PODS, "app=web", "metadata.name=web")(pod)
    assert not select(PODS, "app=web", "metadata.name=db")(pod)
    assert not select(PODS, "app=db", "metadata.name=web")(pod)
    assert select(PODS, " ", "")(pod)
