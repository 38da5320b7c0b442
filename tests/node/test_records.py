"""Pod records: what is saved is what is loaded, whole or not at all."""

from __future__ import annotations

import json
from dataclasses import MISSING, fields, replace
from pathlib import Path

import pytest

from minikube_lite.core.model import (
    ContainerObserved,
    Eviction,
    Exit,
    Failure,
    PodObserved,
    SandboxObserved,
    Stop,
    Termination,
    VolumesObserved,
)
from minikube_lite.node import records
from minikube_lite.node.records import BrokenRecord, PodRecord
from tests.node.harness import app, wanted

FAILURE = Failure("ErrImagePull", "no such directory", 12.5, 3, 1700000000000000)
EXIT = Exit(137, 9, True, 1.5, 2.5, 3.5, 4.5, "last words\n\u00e9", "OOMKilled")
CONTAINER = ContainerObserved(
    "app",
    "exited",
    7,
    True,
    "v1:abc",
    "v1:def",
    "ready",
    "host",
    FAILURE,
    "sha256:1",
    True,
    3,
    4242,
    1.25,
    2.25,
    EXIT,
    replace(EXIT, code=1),
    3,
    FAILURE,
    Stop(1.0, 31.0, "its spec changed", killed=True),
)
FULL = PodRecord(
    PodObserved(
        uid="1234",
        pod=wanted(
            app(
                resources={"limits": {"cpu": "0.5", "memory": "128Mi"}},
                env=[{"name": "A", "value": "$(B)\u2028"}],
                securityContext={"runAsUser": 1000, "capabilities": {"drop": ["ALL"]}},
            ),
            meta={"labels": {"a": "b"}, "annotations": {"c": ""}},
            restartPolicy="OnFailure",
            terminationGracePeriodSeconds=0,
        ).pod,
        source="/m/web.yaml",
        created_wall=1.75,
        sandbox=SandboxObserved(True, "v1:1", "v1:2"),
        sandbox_failure=FAILURE,
        volumes=VolumesObserved(ready=True),
        evicted=Eviction("too much", 4.0),
        containers={"app": CONTAINER},
        termination=Termination(1.0, 31.0, "Replaced", 5.0),
        grace_override=2.0,
        generation=4,
    ),
    bundles={"app": "7-abcdef"},
    previous_bundles={"app": "6-abcdef"},
    boot_id="boot",
)
BARE = PodRecord(PodObserved(uid="1234", pod=wanted().pod))


@pytest.mark.parametrize("record", [FULL, BARE], ids=["everything", "nothing"])
def test_what_is_saved_is_what_is_loaded(tmp_path: Path, record: PodRecord) -> None:
    records.save(tmp_path / "pod", record, spec=True)
    assert records.load(tmp_path / "pod") == record


def test_the_full_record_leaves_no_field_at_its_default() -> None:
    """Else the test above would not see a field that is not saved."""
    for value in (FULL, FULL.observed, CONTAINER, EXIT, FAILURE, CONTAINER.stop, FULL.observed.termination):
        assert value is not None
        for item in fields(value):
            if item.default is not MISSING:
                assert getattr(value, item.name) != item.default, f"{type(value).__name__}.{item.name}"


def test_only_the_record_is_written_where_the_spec_is_the_same(tmp_path: Path) -> None:
    records.save(tmp_path, FULL, spec=True)
    before = (tmp_path / "pod.json").stat().st_ino
    records.save(tmp_path, FULL.with_container("app", restart_count=8), spec=False)
    assert (tmp_path / "pod.json").stat().st_ino == before
    assert records.load(tmp_path).container("app").restart_count == 8
    assert sorted(item.name for item in tmp_path.iterdir()) == ["pod.json", "record.json"]


def test_a_field_of_a_newer_node_is_left_out_and_one_that_is_missing_has_its_default(tmp_path: Path) -> None:
    records.save(tmp_path, FULL, spec=True)
    path = tmp_path / "record.json"
    value = json.loads(path.read_text())
    value["new"] = 1
    value["containers"]["app"]["new"] = 1
    value["containers"]["app"]["exit"]["new"] = 1
    del value["containers"]["app"]["image_id"]
    path.write_text(json.dumps(value))
    assert records.load(tmp_path) == FULL.with_container("app", image_id="")


@pytest.mark.parametrize("name", ["pod.json", "record.json"])
@pytest.mark.parametrize("damage", ["gone", "empty", "cut", "other"])
def test_a_damaged_record_is_broken_and_nothing_else(tmp_path: Path, name: str, damage: str) -> None:
    records.save(tmp_path, FULL, spec=True)
    path = tmp_path / name
    data = path.read_bytes()
    path.unlink()
    if damage != "gone":
        path.write_bytes({"empty": b"", "cut": data[: len(data) // 2], "other": b'{"version": "x"}'}[damage])
    with pytest.raises(BrokenRecord, match=str(tmp_path)):
        records.load(tmp_path)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("containers", []),
        ("containers", {"app": 1}),
        ("sandbox", "x"),
        ("uid", None),
        ("bundles", None),
        ("version", None),
    ],
)
def test_a_field_of_a_wrong_type_is_a_broken_record(tmp_path: Path, field: str, value: object) -> None:
    records.save(tmp_path, FULL, spec=True)
    path = tmp_path / "record.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), field: value}))
    with pytest.raises(BrokenRecord):
        records.load(tmp_path)


def test_a_disk_that_is_full_leaves_the_old_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records.save(tmp_path, FULL, spec=True)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_text", full)
        with pytest.raises(OSError, match="No space left"):
            records.save(tmp_path, BARE, spec=True)
    assert records.load(tmp_path) == FULL
