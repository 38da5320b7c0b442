"""What the API shows of pods whose manifests are in order, broken, contested or gone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from minikube_lite.core.model import PodDesired, PodObserved, Policy
from minikube_lite.node.manifests import Snapshot
from minikube_lite.node.paths import Paths
from minikube_lite.node.pods import Pods
from minikube_lite.node.publish import HEALTHCHECK, Publisher
from minikube_lite.node.records import PodRecord
from minikube_lite.node.store import ObjectStore
from minikube_lite.spec.problems import Problem
from tests.node.harness import KEY, wanted

SOURCE = "/m/web.yaml"
PROBLEM = Problem("unknown field", SOURCE, 3, 5, "spec.x", "did you mean `y`?")
GOOD: dict[str, PodDesired] = {KEY: wanted()}


class Shown:
    def __init__(self, path: Path) -> None:
        self.store = ObjectStore()
        self.pods = Pods(Paths(path))
        self.publisher = Publisher(self.store, self.pods, Policy(), "node")

    def runs(self) -> None:
        self.pods.put(PodRecord(PodObserved(uid="1234", pod=wanted().pod, source=SOURCE, created_wall=1.0)))

    def look(self, snapshot: Snapshot, key: str = KEY) -> dict[str, Any] | None:
        self.publisher.publish_files(snapshot)
        self.publisher.publish(key, snapshot)
        return self.store.get("Pod", *key.split("/"))


@pytest.fixture
def shown(tmp_path: Path) -> Shown:
    return Shown(tmp_path)


def test_a_health_check_that_is_ignored_is_named(shown: Shown) -> None:
    shown.runs()
    shown.pods.put(shown.pods[KEY].with_container("app", image_healthcheck=True).with_container("b"))
    obj = shown.look(Snapshot(pods=GOOD))
    assert obj is not None
    assert obj["metadata"]["annotations"][HEALTHCHECK] == "app"


def trouble(obj: dict[str, Any] | None) -> tuple[str, str] | None:
    assert obj is not None
    found = [item for item in obj["status"]["conditions"] if item["type"] == "ManifestValid"]
    return (found[0]["reason"], found[0]["message"]) if found else None


TROUBLES = {
    "a document": (
        Snapshot(problems={KEY: (PROBLEM,)}, held={SOURCE: frozenset({KEY})}),
        "InvalidManifest",
        str(PROBLEM),
    ),
    "a file": (Snapshot(file_problems={"web.yaml": (PROBLEM,)}, held={SOURCE: None}), "InvalidManifest", str(PROBLEM)),
    "two files": (Snapshot(pods=GOOD, conflicts={KEY: "a and b"}), "Conflict", "a and b"),
    "the directory": (Snapshot(pods=GOOD, lost="it is gone"), "ManifestsLost", "it is gone"),
}


@pytest.mark.parametrize("what", TROUBLES)
def test_a_pod_that_runs_says_what_is_wrong_with_its_manifest_and_runs_on(shown: Shown, what: str) -> None:
    snapshot, reason, message = TROUBLES[what]
    shown.runs()
    assert trouble(shown.look(Snapshot(pods=GOOD))) is None
    obj = shown.look(snapshot)
    assert trouble(obj) == (reason, message)
    assert obj is not None
    assert (obj["metadata"]["uid"], len(obj["spec"]["containers"])) == ("1234", 1)
    assert trouble(shown.look(Snapshot(pods=GOOD))) is None


def test_a_pod_that_never_ran_is_shown_with_its_problem_since_when_it_has_it(shown: Shown) -> None:
    snapshot = Snapshot(problems={KEY: (PROBLEM,)})
    obj = shown.look(snapshot)
    assert trouble(obj) == ("InvalidManifest", str(PROBLEM))
    assert obj is not None
    assert (obj["status"]["phase"], obj["status"]["reason"]) == ("Pending", "InvalidManifest")
    since, version = obj["metadata"]["creationTimestamp"], shown.store.version
    again = shown.look(snapshot)
    assert again is not None
    assert (again["metadata"]["creationTimestamp"], shown.store.version) == (since, version), "no news"
    assert shown.look(Snapshot()) is None


def test_a_file_that_names_no_pod_is_shown_under_its_own_name(shown: Shown) -> None:
    shown.look(Snapshot(file_problems={"bad.yaml": (PROBLEM,)}))
    assert trouble(shown.store.get("Pod", "default", "bad.yaml")) == ("InvalidManifest", str(PROBLEM))
    shown.look(Snapshot())
    assert shown.store.get("Pod", "default", "bad.yaml") is None


def test_a_pod_whose_name_is_that_of_a_broken_file_is_the_pod(shown: Shown) -> None:
    pod = wanted(meta={"name": "bad.yaml"}).pod
    shown.pods.put(PodRecord(PodObserved(uid="1234", pod=pod, source=SOURCE)))
    obj = shown.look(Snapshot(file_problems={"bad.yaml": (PROBLEM,)}), "default/bad.yaml")
    assert obj is not None
    assert obj["metadata"]["uid"] == "1234"


def test_a_pod_that_is_gone_is_not_shown(shown: Shown) -> None:
    shown.runs()
    shown.look(Snapshot(pods=GOOD))
    shown.pods.drop(KEY)
    assert shown.look(Snapshot()) is None
