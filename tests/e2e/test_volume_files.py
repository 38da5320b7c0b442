"""Volumes that are made of files: configMap, secret, downwardAPI, projected. Read, and followed, from inside."""

from __future__ import annotations

import base64
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.yard import Yard

pytestmark = pytest.mark.root

Json = dict[str, Any]


def mount(path: str = "/data", name: str = "data", **fields: Any) -> Json:
    return {"name": name, "mountPath": path, **fields}


def volume(**source: Any) -> list[Json]:
    return [{"name": "data", **source}]


def config(yard: Yard, name: str = "conf", kind: str = "ConfigMap", **fields: Any) -> None:
    """Drop a ConfigMap's or Secret's file; `data` of a Secret is given as text."""
    if kind == "Secret" and "data" in fields:
        fields["data"] = {key: base64.b64encode(text.encode()).decode() for key, text in fields["data"].items()}
    yard.node.put(
        f"{kind.lower()}-{name}.json", {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}, **fields}
    )


def gone(yard: Yard, name: str = "conf", kind: str = "ConfigMap") -> None:
    (yard.node.manifests / f"{kind.lower()}-{name}.json").unlink()


def inside_becomes(yard: Yard, pod: str, path: str, text: str) -> None:
    yard.node.wait_until(lambda: yard.sh(pod, f"cat {path} 2>/dev/null; true") == text, f"{path} says {text!r}")


def start(yard: Yard, *mounts: Json, volumes: list[Json], **fields: Any) -> Json:
    return yard.run("web", yard.container(volumeMounts=list(mounts) or [mount()]), volumes=volumes, **fields)


@pytest.mark.parametrize(("kind", "source"), [("ConfigMap", "configMap"), ("Secret", "secret")])
def test_every_key_is_a_file_that_nobody_can_write(yard: Yard, kind: str, source: str) -> None:
    config(yard, kind=kind, data={"key": "one", "other.conf": "two\n"})
    start(yard, volumes=volume(**{source: {"name" if kind == "ConfigMap" else "secretName": "conf"}}))
    assert yard.sh("web", "ls /data; cat /data/key; cat /data/other.conf") == "key\nother.conf\nonetwo\n"
    assert yard.sh("web", "stat -Lc '%a %u %g' /data/key") == "644 0 0\n"
    assert "Read-only file system" in yard.sh("web", "(echo x >/data/key) 2>&1; true")
    assert yard.sh("web", "stat -f -c %T /data").strip() == "tmpfs"
    uid = yard.uid("web")
    gone(yard, kind=kind)
    yard.remove("web")
    yard.nothing_is_left_of(uid)


def test_the_layout_is_the_kubelet_s(yard: Yard) -> None:
    config(yard, data={"key": "one"})
    start(yard, volumes=volume(configMap={"name": "conf", "items": [{"key": "key", "path": "deep/er/key"}]}))
    assert yard.sh("web", "readlink /data/deep") == "..data/deep\n"
    stamp = yard.sh("web", "readlink /data/..data").strip()
    assert stamp.startswith("..20")
    assert yard.sh("web", f"cat /data/{stamp}/deep/er/key /data/deep/er/key") == "oneone"
    assert sorted(yard.sh("web", "ls -A /data").split()) == sorted(["..data", stamp, "deep"])
    gone(yard)


def test_items_choose_and_modes_are_set(yard: Yard) -> None:
    config(yard, kind="Secret", data={"a": "1", "b": "2", "c": "3"})
    items = [{"key": "a", "path": "first", "mode": 0o400}, {"key": "b", "path": "dir/second"}]
    start(yard, volumes=volume(secret={"secretName": "conf", "items": items, "defaultMode": 0o640, "defaultUser": 7}))
    assert yard.sh("web", "cd /data; ls; stat -Lc '%n %a %u' first dir/second").splitlines() == [
        *("dir", "first"),
        *("first 400 7", "dir/second 640 7"),
    ]
    gone(yard, kind="Secret")


def test_binary_data_and_nothing_are_kept_as_they_are(yard: Yard) -> None:
    raw = bytes(range(256))
    config(yard, data={"empty": ""}, binaryData={"raw": base64.b64encode(raw).decode()})
    start(yard, volumes=volume(configMap={"name": "conf"}))
    assert yard.sh("web", "wc -c </data/empty; md5sum </data/raw").split()[:1] == ["0"]
    assert base64.b64decode(yard.sh("web", "base64 /data/raw")) == raw
    gone(yard)


def test_a_change_reaches_the_files_within_a_second_and_restarts_nothing(yard: Yard) -> None:
    config(yard, data={"key": "one", "old": "x"})
    start(yard, mount(), mount("/part", subPath="key"), volumes=volume(configMap={"name": "conf"}))
    pid = yard.pid("web")
    before = yard.sh("web", "readlink /data/..data")
    config(yard, data={"key": "two", "new": "y"})
    inside_becomes(yard, "web", "/data/key", "two")
    assert yard.sh("web", "ls /data").split() == ["key", "new"]
    assert yard.sh("web", "readlink /data/..data") != before
    assert len(yard.sh("web", "ls -A /data").split()) == 4, "the old files are gone"
    assert yard.exec("web", "cat", "/part") == "one", "a subPath is not followed, as in Kubernetes"
    assert (yard.pid("web"), yard.restarts("web")) == (pid, 0)
    os.kill(pid, 9)
    yard.wait_restarts("web", 1)
    assert yard.exec("web", "cat", "/part") == "two"
    gone(yard)


def test_a_reader_sees_all_of_the_old_files_or_all_of_the_new(yard: Yard) -> None:
    config(yard, data={"a": "0", "b": "0"})
    script = """
        while true; do
            d=$(readlink /data/..data); a=$(cat /data/$d/a 2>/dev/null); b=$(cat /data/$d/b 2>/dev/null)
            [ -e /data/$d ] && [ "$a" != "$b" ] && echo torn "$a" "$b"
            [ "$a" = 20 ] && break
        done
        echo done; exec sleep infinity
    """
    yard.run("web", yard.container(script, volumeMounts=[mount()]), volumes=volume(configMap={"name": "conf"}))
    for number in range(1, 21):
        config(yard, data={"a": str(number), "b": str(number)})
        inside_becomes(yard, "web", "/data/b", str(number))
    assert yard.log_says("web", "done") == "done\n"
    gone(yard)


@pytest.mark.parametrize(
    ("kind", "source", "words"),
    [
        ("ConfigMap", {"configMap": {"name": "conf"}}, 'configmap "conf" not found'),
        ("Secret", {"secret": {"secretName": "conf"}}, 'secret "conf" not found'),
        ("Secret", {"projected": {"sources": [{"secret": {"name": "conf"}}]}}, 'secret "conf" not found'),
    ],
)
def test_a_pod_waits_for_what_is_missing_and_starts_when_it_comes(
    yard: Yard, kind: str, source: Json, words: str
) -> None:
    yard.put("web", yard.container(volumeMounts=[mount()]), volumes=volume(**source))
    event = yard.wait_event("web", "FailedMount")
    assert event["message"] == f'MountVolume.SetUp failed for volume "data" : {words}'
    assert yard.wait_state("web", "waiting")["reason"] == "ContainerCreating"
    config(yard, kind=kind, data={"key": "one"})
    yard.node.wait_phase("web", "Running")
    assert yard.exec("web", "cat", "/data/key") == "one"
    gone(yard, kind=kind)


def test_a_missing_key_is_named_with_those_that_are_there(yard: Yard) -> None:
    config(yard, data={"key": "one"})
    items = [{"key": "kay", "path": "key"}]
    yard.put("web", yard.container(volumeMounts=[mount()]), volumes=volume(configMap={"name": "conf", "items": items}))
    yard.wait_event("web", "FailedMount", "configmap references non-existent config key: kay (conf has key)")
    config(yard, data={"kay": "two"})
    yard.node.wait_phase("web", "Running")
    assert yard.exec("web", "cat", "/data/key") == "two"
    gone(yard)


def test_what_is_optional_may_be_missing_and_may_come_later(yard: Yard) -> None:
    items = [{"key": "key", "path": "key"}]
    start(yard, volumes=volume(configMap={"name": "conf", "optional": True, "items": items}))
    assert yard.exec("web", "ls", "/data") == ""
    config(yard, data={"other": "x"})
    config(yard, data={"key": "one"})
    inside_becomes(yard, "web", "/data/key", "one")
    gone(yard)
    inside_becomes(yard, "web", "/data/key", "")
    assert yard.restarts("web") == 0


def test_what_is_deleted_while_it_is_mounted_keeps_its_files(yard: Yard) -> None:
    config(yard, data={"key": "one"})
    start(yard, volumes=volume(configMap={"name": "conf"}))
    gone(yard)
    yard.wait_event("web", "FailedMount", 'configmap "conf" not found; what was mounted stays')
    assert yard.exec("web", "cat", "/data/key") == "one"
    os.kill(yard.pid("web"), 9)
    yard.wait_restarts("web", 1)
    assert yard.exec("web", "cat", "/data/key") == "one"
    config(yard, data={"key": "two"})
    inside_becomes(yard, "web", "/data/key", "two")
    gone(yard)


def test_the_pod_s_own_labels_are_files_that_follow_them(yard: Yard) -> None:
    refs = {
        "labels": "metadata.labels",
        "annotations": "metadata.annotations",
        "name": "metadata.name",
        "namespace": "metadata.namespace",
        "uid": "metadata.uid",
        "one": "metadata.labels['app']",
    }
    items: list[Json] = [{"path": path, "fieldRef": {"fieldPath": field}} for path, field in refs.items()]
    items += [
        {"path": "cpu", "resourceFieldRef": {"containerName": "app", "resource": "limits.cpu", "divisor": "1m"}},
        {"path": "memory", "resourceFieldRef": {"containerName": "app", "resource": "limits.memory", "divisor": "1Mi"}},
    ]
    metadata = {"labels": {"b": "2", "app": "web"}, "annotations": {"note": 'a "quoted"\nline'}}
    container = yard.container(volumeMounts=[mount()], resources={"limits": {"cpu": "250m", "memory": "64Mi"}})
    yard.run("web", container, volumes=volume(downwardAPI={"items": items}), metadata=metadata)
    assert yard.exec("web", "cat", "/data/labels") == 'app="web"\nb="2"'
    assert yard.exec("web", "cat", "/data/annotations") == 'note="a \\"quoted\\"\\nline"'
    assert yard.sh("web", "cat /data/name /data/namespace /data/one") == "webdefaultweb"
    assert yard.exec("web", "cat", "/data/uid") == yard.uid("web")
    assert yard.sh("web", "cat /data/cpu; echo; cat /data/memory") == "250\n64"
    pid = yard.pid("web")
    container["resources"]["limits"]["cpu"] = "500m"
    metadata["labels"] = {"app": "other"}
    yard.put("web", container, volumes=volume(downwardAPI={"items": items}), metadata=metadata)
    inside_becomes(yard, "web", "/data/labels", 'app="other"')
    inside_becomes(yard, "web", "/data/cpu", "500")
    assert (yard.pid("web"), yard.restarts("web")) == (pid, 0)


def test_a_projected_volume_is_several_in_one(yard: Yard) -> None:
    config(yard, data={"key": "one"})
    config(yard, kind="Secret", data={"password": "hidden"})
    sources = [
        {"configMap": {"name": "conf"}},
        {"secret": {"name": "conf", "items": [{"key": "password", "path": "deep/password", "mode": 0o400}]}},
        {"downwardAPI": {"items": [{"path": "deep/name", "fieldRef": {"fieldPath": "metadata.name"}}]}},
        {"configMap": {"name": "none", "optional": True}},
    ]
    start(yard, volumes=volume(projected={"sources": sources, "defaultMode": 0o444}))
    assert yard.sh("web", "cd /data; cat key deep/password deep/name") == "onehiddenweb"
    assert yard.sh("web", "cd /data; stat -Lc %a key deep/password deep/name").split() == ["444", "400", "444"]
    config(yard, kind="Secret", data={"password": "changed"})
    inside_becomes(yard, "web", "/data/deep/password", "changed")
    gone(yard)
    gone(yard, kind="Secret")


def test_two_sources_that_write_one_path_are_both_named(yard: Yard) -> None:
    config(yard, data={"key": "one"})
    config(yard, kind="Secret", data={"key": "two"})
    sources = [{"configMap": {"name": "conf"}}, {"secret": {"name": "conf"}}]
    yard.put("web", yard.container(volumeMounts=[mount()]), volumes=volume(projected={"sources": sources}))
    yard.wait_event("web", "FailedMount", "sources[0] (configMap conf) and sources[1] (secret conf) both write key")
    config(yard, kind="Secret", data={"other": "two"})
    yard.node.wait_phase("web", "Running")
    gone(yard)
    gone(yard, kind="Secret")


def test_a_part_that_is_no_key_is_an_error_and_makes_nothing(yard: Yard) -> None:
    config(yard, data={"key": "one"})
    volumes = volume(configMap={"name": "conf"})
    yard.put("web", yard.container(volumeMounts=[mount("/conf", subPath="kay")]), volumes=volumes)
    assert "kay is not in the volume" in yard.wait_state("web", "waiting", "CreateContainerError")["message"]
    gone(yard)


def test_the_fs_group_reads_what_only_the_owner_may(yard: Yard) -> None:
    config(yard, kind="Secret", data={"key": "one"})
    container = yard.container(volumeMounts=[mount()], securityContext={"runAsUser": 1000, "runAsGroup": 1000})
    source = {"secretName": "conf", "defaultMode": 0o400}
    yard.run("web", container, volumes=volume(secret=source), securityContext={"fsGroup": 4321})
    assert yard.exec("web", "cat", "/data/key") == "one"
    assert yard.sh("web", "stat -Lc '%a %g' /data/key") == "440 4321\n"
    config(yard, kind="Secret", data={"key": "two"})
    inside_becomes(yard, "web", "/data/key", "two")
    gone(yard, kind="Secret")


def test_what_has_changed_while_no_node_ran_is_written_by_the_next(fresh: Yard) -> None:
    config(fresh, data={"key": "one"})
    start(fresh, volumes=volume(configMap={"name": "conf"}))
    pid = fresh.pid("web")
    fresh.node.stop(9)
    config(fresh, data={"key": "two"})
    fresh.node.start()
    inside_becomes(fresh, "web", "/data/key", "two")
    assert fresh.pid("web") == pid


def test_a_secret_is_read_by_no_other_user_of_the_machine(yard: Yard) -> None:
    """Its file may be read by every user in the pod, so the way there from outside of it is closed."""
    config(yard, kind="Secret", data={"key": "correct horse battery"})
    start(yard, volumes=volume(secret={"secretName": "conf"}))
    assert yard.exec("web", "stat", "-Lc", "%a", "/data/key") == "644\n"
    [file] = yard.node.paths.volumes.glob("*/files/*/key")
    above = file.relative_to(yard.node.paths.run).parents
    modes = [stat.S_IMODE((yard.node.paths.run / part).stat().st_mode) for part in above]
    assert any(not mode & 0o077 for mode in modes), modes
    gone(yard, kind="Secret")


def test_a_secret_is_on_no_disk_but_in_its_manifest(yard: Yard) -> None:
    config(yard, kind="Secret", data={"key": "correct horse battery"})
    start(yard, volumes=volume(secret={"secretName": "conf"}))
    assert yard.exec("web", "cat", "/data/key") == "correct horse battery"
    found = []
    for top in (yard.node.paths.state, yard.node.paths.logs):
        for path in (item for item in Path(top).rglob("*") if item.is_file() and not item.is_symlink()):
            if b"correct horse battery" in path.read_bytes():
                found.append(path)
    assert found == []
    gone(yard, kind="Secret")
