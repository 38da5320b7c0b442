"""PersistentVolumeClaims: what is kept, for whom, and until when. Read from inside, and through the command line."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.yard import Yard

pytestmark = pytest.mark.root

Json = dict[str, Any]


def spec(*modes: str, storage: str = "1Gi", **fields: Any) -> Json:
    return {"accessModes": list(modes or ("ReadWriteOnce",)), "resources": {"requests": {"storage": storage}}, **fields}


def claim(yard: Yard, name: str = "store", *modes: str, **fields: Any) -> Path:
    """Drop a claim's file; returns where its data will lie."""
    document = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": spec(*modes)}
    yard.node.put(f"{name}.json", document | fields)
    return yard.node.paths.claims / "default" / name / "data"


def using(name: str = "store", **fields: Any) -> list[Json]:
    return [{"name": "data", "persistentVolumeClaim": {"claimName": name, **fields}}]


def run(yard: Yard, pod: str, volumes: list[Json], **spec: Any) -> Json:
    return yard.run(pod, yard.container(volumeMounts=[{"name": "data", "mountPath": "/data"}]), volumes=volumes, **spec)


def put(yard: Yard, pod: str, volumes: list[Json], **spec: Any) -> None:
    yard.put(pod, yard.container(volumeMounts=[{"name": "data", "mountPath": "/data"}]), volumes=volumes, **spec)


def row(yard: Yard, name: str = "store") -> list[str]:
    """The row of `get pvc`, or nothing."""
    lines = yard.node.cli("get", "pvc").stdout.splitlines()
    return next((line.split() for line in lines if line.split()[0] == name), [])


def wait_status(yard: Yard, status: str, name: str = "store") -> None:
    yard.node.wait_until(lambda: row(yard, name)[1:2] == ([status] if status else []), f"{name} is {status or 'gone'}")


def remove(yard: Yard, name: str = "store") -> None:
    """By name: document and data."""
    yard.node.cli("delete", "pvc", name)
    wait_status(yard, "", name)


def test_the_data_outlives_the_pod(yard: Yard) -> None:
    data = claim(yard)
    run(yard, "web", using())
    assert yard.exec("web", "stat", "-c", "%a", "/data") == "777\n"
    yard.sh("web", "echo kept >/data/file")
    yard.remove("web")
    assert (data / "file").read_text() == "kept\n"
    run(yard, "other", using())
    assert yard.exec("other", "cat", "/data/file") == "kept\n"
    yard.remove("other")
    remove(yard)
    assert not data.parent.exists()


def test_get_and_describe_show_it_as_kubectl_does(yard: Yard) -> None:
    claim(yard, "store", "ReadWriteMany", "ReadWriteOnce")
    wait_status(yard, "Bound")
    header = yard.node.cli("get", "pvc").stdout.splitlines()[0]
    wanted = "NAME STATUS VOLUME CAPACITY ACCESS MODES STORAGECLASS VOLUMEATTRIBUTESCLASS AGE"
    assert header.split() == wanted.split()
    found = row(yard)
    assert (found[0], found[1], found[3], found[4]) == ("store", "Bound", "1Gi", "RWO,RWX")
    assert found[2].startswith("pvc-")
    told = yard.node.cli("describe", "pvc", "store").stdout
    assert "Status:        Bound" in told
    remove(yard)


def test_a_pod_waits_for_its_claim(yard: Yard) -> None:
    put(yard, "web", using())
    yard.wait_event("web", "FailedMount", 'persistentvolumeclaim "store" not found')
    assert yard.wait_state("web", "waiting")["reason"] == "ContainerCreating"
    claim(yard)
    yard.node.wait_phase("web", "Running")
    yard.remove("web")
    remove(yard)


def test_a_document_that_goes_takes_no_data_along(yard: Yard) -> None:
    data = claim(yard)
    run(yard, "web", using())
    yard.sh("web", "echo kept >/data/file")
    (yard.node.manifests / "store.json").unlink()
    wait_status(yard, "Released")
    assert yard.exec("web", "cat", "/data/file") == "kept\n"
    os.kill(yard.pid("web"), 9)
    yard.wait_restarts("web", 1)
    yard.remove("web")
    assert (data / "file").read_text() == "kept\n"
    put(yard, "other", using())
    yard.wait_event("other", "FailedMount", "not found (its data is kept")
    claim(yard)
    yard.node.wait_phase("other", "Running")
    assert yard.exec("other", "cat", "/data/file") == "kept\n"
    yard.remove("other")
    (yard.node.manifests / "store.json").unlink()
    wait_status(yard, "Released")
    remove(yard)
    assert not data.parent.exists()


def test_a_broken_edit_of_its_document_changes_nothing(yard: Yard) -> None:
    claim(yard)
    run(yard, "web", using())
    (yard.node.manifests / "store.json").write_text('{"apiVersion": "v1", "kind": "PersistentVolumeClaim", "meta')
    yard.node.wait_until(lambda: "InvalidManifest" in yard.node.cli("get", "pods").stdout, "it is said")
    assert row(yard)[1] == "Bound"
    claim(yard)
    yard.remove("web")
    remove(yard)


def test_what_is_in_use_goes_when_its_last_pod_does(yard: Yard) -> None:
    data = claim(yard)
    run(yard, "web", using())
    yard.sh("web", "echo x >/data/file")
    assert yard.node.cli("delete", "pvc", "store").stdout == 'persistentvolumeclaim "store" deleted\n'
    assert row(yard)[1] == "Terminating"
    assert not (yard.node.manifests / "store.json").exists()
    assert yard.exec("web", "cat", "/data/file") == "x\n"
    put(yard, "late", using())
    yard.wait_event("late", "FailedMount", 'persistentvolumeclaim "store" is being deleted')
    yard.remove("web")
    wait_status(yard, "")
    assert not data.parent.exists()
    claim(yard)
    yard.node.wait_phase("late", "Running")
    assert yard.exec("late", "ls", "/data") == ""
    yard.remove("late")
    remove(yard)


def test_what_is_to_go_is_remembered_by_the_next_node(fresh: Yard) -> None:
    data = claim(fresh)
    run(fresh, "web", using())
    fresh.sh("web", "echo x >/data/file")
    fresh.node.cli("delete", "pvc", "store")
    fresh.node.stop(9)
    fresh.node.start()
    assert row(fresh)[1] == "Terminating"
    assert fresh.exec("web", "cat", "/data/file") == "x\n"
    fresh.remove("web")
    wait_status(fresh, "")
    assert not data.parent.exists()


def test_kept_data_is_there_after_a_restart_of_the_node(fresh: Yard) -> None:
    data = claim(fresh)
    wait_status(fresh, "Bound")
    volume = row(fresh)[2]
    (data / "file").write_text("kept\n")
    fresh.node.stop(9)
    (fresh.node.manifests / "store.json").unlink()
    fresh.node.start()
    assert row(fresh)[1:3] == ["Released", volume]
    claim(fresh)
    run(fresh, "web", using())
    assert fresh.exec("web", "cat", "/data/file") == "kept\n"
    assert row(fresh)[1:3] == ["Bound", volume]


def test_read_only_is_for_every_container(yard: Yard) -> None:
    claim(yard)
    run(yard, "web", using(readOnly=True))
    assert "Read-only file system" in yard.sh("web", "(echo x >/data/file) 2>&1; true")
    yard.remove("web")
    remove(yard)


def test_one_pod_at_a_time_where_the_claim_says_so(yard: Yard) -> None:
    claim(yard, "store", "ReadWriteOncePod")
    run(yard, "first", using())
    put(yard, "second", using())
    yard.wait_event("second", "FailedMount", "ReadWriteOncePod access mode: default/first")
    yard.remove("first")
    yard.node.wait_phase("second", "Running")
    yard.remove("second")
    remove(yard)


@pytest.mark.parametrize("policy", ["Always", "OnRootMismatch"])
def test_the_volume_is_given_to_the_fs_group(yard: Yard, policy: str) -> None:
    data = claim(yard)
    wait_status(yard, "Bound")
    (data / "deep").mkdir()
    (data / "deep" / "file").write_text("x\n")
    (data / "deep" / "file").chmod(0o600)
    (data / "link").symlink_to("/etc/passwd")
    host = os.stat("/etc/passwd")
    run(yard, "web", using(), securityContext={"fsGroup": 4321, "fsGroupChangePolicy": policy})
    found = yard.sh("web", "cd /data; stat -c '%n %a %g' . deep deep/file").splitlines()
    assert found == [". 2777 4321", "deep 2775 4321", "deep/file 660 4321"]
    assert os.stat("/etc/passwd") == host
    yard.remove("web")
    (data / "deep" / "file").chmod(0o600)
    run(yard, "web", using(), securityContext={"fsGroup": 4321, "fsGroupChangePolicy": policy})
    again = stat.S_IMODE((data / "deep" / "file").stat().st_mode)
    assert again == (0o660 if policy == "Always" else 0o600)
    yard.remove("web")
    remove(yard)


def test_an_ephemeral_claim_comes_and_goes_with_its_pod(yard: Yard) -> None:
    volumes = [{"name": "data", "ephemeral": {"volumeClaimTemplate": {"spec": spec()}}}]
    run(yard, "web", volumes)
    assert row(yard, "web-data")[1] == "Bound"
    told = yard.node.get("/api/v1/namespaces/default/persistentvolumeclaims/web-data")
    assert told["metadata"]["ownerReferences"][0]["name"] == "web"
    yard.sh("web", "echo x >/data/file")
    os.kill(yard.pid("web"), 9)
    yard.wait_restarts("web", 1)
    assert yard.exec("web", "cat", "/data/file") == "x\n"
    yard.remove("web")
    wait_status(yard, "", "web-data")
    assert not list(yard.node.paths.claims.rglob("*"))


def test_an_ephemeral_claim_is_never_another_s(yard: Yard) -> None:
    data = claim(yard, "web-data")
    wait_status(yard, "Bound", "web-data")
    (data / "file").write_text("mine\n")
    put(yard, "web", [{"name": "data", "ephemeral": {"volumeClaimTemplate": {"spec": spec()}}}])
    words = "PVC default/web-data was not created for pod default/web (pod is not owner)"
    yard.wait_event("web", "FailedMount", words)
    yard.remove("web")
    assert (data / "file").read_text() == "mine\n"
    remove(yard, "web-data")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"spec": {"accessModes": ["ReadWriteOnce"]}}, "spec.resources.requests.storage: Required value"),
        ({"spec": spec("Everybody")}, 'Unsupported value: "Everybody"'),
        ({"spec": spec("ReadWriteOncePod", "ReadWriteOnce")}, "may not use ReadWriteOncePod with other access modes"),
        ({"spec": spec(storage="0")}, "must be greater than zero"),
        ({"spec": spec(volumeMode="Block")}, "block devices are not given out here"),
        ({"spec": spec(dataSource={"kind": "Snapshot", "name": "a"})}, "would start without this data"),
        ({"spec": spec(nodeName="a")}, 'unknown field "nodeName"'),
    ],
    ids=str,
)
def test_a_wrong_claim_is_refused_with_its_place(yard: Yard, change: Json, words: str) -> None:
    file = yard.node.root / "wrong.json"
    document = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "store"}} | change
    file.write_text(json.dumps(document))
    done = yard.node.cli("apply", "-f", str(file), check=False)
    assert done.returncode == 1
    assert words in done.stderr
    assert row(yard) == []
