"""Volumes and mounts that Kubernetes would refuse are refused, each with its place and in Kubernetes' words."""

from __future__ import annotations

import json
from typing import Any

import pytest

from minikube_lite.spec.manifest import Document, read_manifest

Json = dict[str, Any]


def read(volumes: list[Json], mounts: list[Json] | None = None, **container: Any) -> Document:
    app = {"name": "app", "image": "host", "volumeMounts": mounts or [], **container}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "web"},
        "spec": {"containers": [app], "volumes": volumes},
    }
    (document,) = read_manifest(json.dumps(pod).encode(), "web.json").documents
    return document


def said(document: Document) -> list[tuple[str, str]]:
    return [(problem.field.removeprefix("spec."), problem.message) for problem in document.problems]


def volume(**source: Any) -> list[Json]:
    return [{"name": "data", **source}]


MODES = "must be a number between 0 and 0777 (octal), both inclusive"
ITEM = {"key": "a", "path": "a"}
WRONG_VOLUMES: list[tuple[list[Json], str, str]] = [
    ([{"name": ""}], "volumes[0].name", "Required value"),
    ([{"name": "No"}], "volumes[0].name", 'Invalid value: "No": a lowercase RFC 1123 label'),
    ([{"name": "a"}, {"name": "a"}], "volumes[1].name", 'Duplicate value: "a"'),
    (
        volume(emptyDir={}, hostPath={"path": "/a"}),
        "volumes[0].hostPath",
        "Forbidden: may not specify more than 1 volume type, and emptyDir is one",
    ),
    (volume(emptyDir={"medium": "memory"}), "volumes[0].emptyDir.medium", 'Unsupported value: "memory"'),
    (volume(emptyDir={"medium": "HugePages-2Mi"}), "volumes[0].emptyDir.medium", "huge pages are not given out here"),
    (volume(emptyDir={"sizeLimit": "-1"}), "volumes[0].emptyDir.sizeLimit", "Forbidden: SizeLimit field must be"),
    (volume(emptyDir={"mode": 0o2000}), "volumes[0].emptyDir.mode", "must be a number between 0 and 1777"),
    (volume(hostPath={"path": ""}), "volumes[0].hostPath.path", "Required value"),
    (volume(hostPath={"path": "/a/../b"}), "volumes[0].hostPath.path", "must not contain '..'"),
    (volume(hostPath={"path": "a"}), "volumes[0].hostPath.path", "must be an absolute path"),
    (volume(hostPath={"path": "/a", "type": "Dir"}), "volumes[0].hostPath.type", 'Unsupported value: "Dir"'),
    (volume(configMap={}), "volumes[0].configMap.name", "Required value"),
    (volume(secret={}), "volumes[0].secret.secretName", "Required value"),
    (volume(configMap={"name": "a", "defaultMode": 512}), "volumes[0].configMap.defaultMode", f"512: {MODES}"),
    (volume(secret={"secretName": "a", "defaultMode": -1}), "volumes[0].secret.defaultMode", f"-1: {MODES}"),
    (volume(configMap={"name": "a", "defaultUser": -1}), "volumes[0].configMap.defaultUser", "must be between 0"),
    *(
        (volume(configMap={"name": "a", "items": [ITEM | change]}), f"volumes[0].configMap.items[0].{field}", words)
        for change, field, words in (
            ({"key": ""}, "key", "Required value"),
            ({"path": ""}, "path", "Required value"),
            ({"path": "/a"}, "path", "must be a relative path"),
            ({"path": "a/../b"}, "path", "must not contain '..'"),
            ({"path": "..data"}, "path", "must not start with '..'"),
            ({"path": "a" * 256}, "path", "Too long"),
            ({"mode": 0o1000}, "mode", MODES),
        )
    ),
    (
        volume(downwardAPI={"items": [{"path": "a"}]}),
        "volumes[0].downwardAPI.items[0]",
        "Required value: one of fieldRef and resourceFieldRef is required",
    ),
    (
        volume(downwardAPI={"items": [{"path": "a", "fieldRef": {"fieldPath": "status.podIP"}}]}),
        "volumes[0].downwardAPI.items[0].fieldRef.fieldPath",
        'Unsupported value: "status.podIP"',
    ),
    (
        volume(downwardAPI={"items": [{"path": "a", "fieldRef": {"fieldPath": "metadata.labels['a b']"}}]}),
        "volumes[0].downwardAPI.items[0].fieldRef.fieldPath",
        'Invalid value: "a b"',
    ),
    *(
        (
            volume(downwardAPI={"items": [{"path": "a", "resourceFieldRef": ref}]}),
            f"volumes[0].downwardAPI.items[0].resourceFieldRef.{field}",
            words,
        )
        for ref, field, words in (
            ({"resource": "limits.cpu"}, "containerName", "Required value"),
            ({"resource": "limits.cpu", "containerName": "b"}, "containerName", 'Not found: "b"'),
            ({"resource": "limits.gpu", "containerName": "app"}, "resource", 'Unsupported value: "limits.gpu"'),
            (
                {"resource": "limits.cpu", "containerName": "app", "divisor": "2"},
                "divisor",
                "only divisor's values 1m and 1 are supported with the cpu resource",
            ),
            (
                {"resource": "limits.memory", "containerName": "app", "divisor": "3Mi"},
                "divisor",
                "are supported with the memory resource",
            ),
        )
    ),
    (
        volume(projected={"sources": [{"configMap": {"name": "a"}, "secret": {"name": "b"}}]}),
        "volumes[0].projected.sources[0].secret",
        "Forbidden: may not specify more than 1 volume type",
    ),
    (volume(projected={"sources": [{}]}), "volumes[0].projected.sources[0]", "Required value"),
    (volume(projected={"sources": [{"secret": {}}]}), "volumes[0].projected.sources[0].secret.name", "Required value"),
    (volume(projected={"defaultMode": 999}), "volumes[0].projected.defaultMode", MODES),
    (
        volume(
            projected={
                "sources": [
                    {"configMap": {"name": "one", "items": [{"key": "k", "path": "same"}]}},
                    {"secret": {"name": "two", "items": [{"key": "k", "path": "same"}]}},
                ]
            }
        ),
        "volumes[0].projected.sources[1].secret.items[0].path",
        'Invalid value: "same": conflicting duplicate paths: sources[0] (configMap one) writes it too',
    ),
    (
        volume(projected={"sources": [{"serviceAccountToken": {"path": "token"}}]}),
        "volumes[0].projected.sources[0].serviceAccountToken",
        "not supported yet: there are no service accounts here",
    ),
    (
        volume(persistentVolumeClaim={"claimName": ""}),
        "volumes[0].persistentVolumeClaim.claimName",
        "Required value",
    ),
    (volume(ephemeral={}), "volumes[0].ephemeral.volumeClaimTemplate", "Required value"),
    (
        volume(ephemeral={"volumeClaimTemplate": {"spec": {"resources": {"requests": {"storage": "1Gi"}}}}}),
        "volumes[0].ephemeral.volumeClaimTemplate.spec.accessModes",
        "Required value: at least 1 access mode is required",
    ),
    (volume(image={}), "volumes[0].image.reference", "Required value"),
    (volume(nfs={"server": "a", "path": "/"}), "volumes[0].nfs", "not supported yet: "),
    (volume(csi={"driver": "a"}), "volumes[0].csi", "not supported yet: "),
    (volume(emptydir={}), "volumes[0].emptydir", 'unknown field "emptydir"'),
]


@pytest.mark.parametrize(("volumes", "field", "words"), WRONG_VOLUMES, ids=str)
def test_a_wrong_volume_is_refused_with_its_place(volumes: list[Json], field: str, words: str) -> None:
    ((where, message),) = said(read(volumes))
    assert where == field
    assert words in message


WRONG_MOUNTS: list[tuple[Json, str, str]] = [
    ({"name": ""}, "name", "Required value"),
    ({"name": "other"}, "name", 'Not found: "other"'),
    ({"mountPath": ""}, "mountPath", "Required value"),
    ({"mountPath": "/a:b"}, "mountPath", "must not contain ':'"),
    ({"mountPath": "/a/../b"}, "mountPath", "must not contain '..'"),
    ({"mountPath": "/"}, "mountPath", "a volume cannot take the place of the container's root"),
    ({"mountPath": "//"}, "mountPath", "a volume cannot take the place of the container's root"),
    ({"mountPath": "/proc"}, "mountPath", "nothing can be mounted over /proc"),
    ({"mountPath": "/proc/sys/kernel"}, "mountPath", "nothing can be mounted over /proc"),
    ({"mountPath": "proc/"}, "mountPath", "nothing can be mounted over /proc"),
    ({"mountPath": "{{ .Path }}"}, "mountPath", "is a template"),
    ({"subPath": "/a"}, "subPath", "must be a relative path"),
    ({"subPath": "a/../../b"}, "subPath", "must not contain '..'"),
    ({"subPathExpr": "../$(A)"}, "subPathExpr", "must not contain '..'"),
    ({"subPath": "a", "subPathExpr": "b"}, "subPathExpr", "subPathExpr and subPath are mutually exclusive"),
    ({"mountPropagation": "Both"}, "mountPropagation", 'Unsupported value: "Both"'),
    (
        {"mountPropagation": "Bidirectional"},
        "mountPropagation",
        "Forbidden: Bidirectional mount propagation is available only to privileged containers",
    ),
    ({"recursiveReadOnly": "Enabled"}, "recursiveReadOnly", "Forbidden: may only be specified when readOnly is true"),
    (
        {"recursiveReadOnly": "IfPossible", "readOnly": True, "mountPropagation": "HostToContainer"},
        "recursiveReadOnly",
        "Forbidden: may only be specified when mountPropagation is None or not specified",
    ),
    ({"bindMountOptions": ["ro"]}, "bindMountOptions[0]", 'Unsupported value: "ro"'),
]


@pytest.mark.parametrize(("change", "field", "words"), WRONG_MOUNTS, ids=str)
def test_a_wrong_mount_is_refused_with_its_place(change: Json, field: str, words: str) -> None:
    ((where, message),) = said(read(volume(), [{"name": "data", "mountPath": "/data", **change}]))
    assert where == f"containers[0].volumeMounts[0].{field}"
    assert words in message


@pytest.mark.parametrize("second", ["/data", "/data/", "data", "//data/."])
def test_a_place_is_mounted_on_once(second: str) -> None:
    mounts = [{"name": "data", "mountPath": path} for path in ("/data", second)]
    ((where, message),) = said(read(volume(), mounts))
    assert (where, message) == (
        "containers[0].volumeMounts[1].mountPath",
        f'Invalid value: "{second}": must be unique',
    )


def test_a_volume_may_be_mounted_twice_in_different_places_and_below_another() -> None:
    mounts = [{"name": "data", "mountPath": path} for path in ("/a", "/a/b", "/process", "/dev/shm", "/sys")]
    assert said(read(volume(), mounts)) == []


@pytest.mark.parametrize("mode", ["0400", "256", "0o400"])
def test_modes_are_octal_or_decimal_as_yaml_has_them(mode: str) -> None:
    text = f"""\
apiVersion: v1
kind: Pod
metadata: {{name: web}}
spec:
  containers: [{{name: app, image: host}}]
  volumes: [{{name: keys, secret: {{secretName: keys, defaultMode: {mode}}}}}]
"""
    (document,) = read_manifest(text.encode(), "web.yaml").documents
    assert document.pod is not None
    secret = document.pod.spec.volumes[0].secret
    assert secret is not None
    assert secret.default_mode == 0o400


def test_an_octal_mode_without_its_zero_gets_a_hint() -> None:
    (problem,) = read(volume(configMap={"name": "a", "defaultMode": 644})).problems
    assert problem.hint == "644 is 1204 in octal: write 0644"


def test_a_volume_without_a_source_is_an_empty_dir() -> None:
    pod = read(volume()).pod
    assert pod is not None
    assert pod.spec.volumes[0].kind == "emptyDir"


def test_an_image_volume_has_a_pull_policy() -> None:
    read_ = read(volume(image={"reference": "nginx", "pullPolicy": "Always"}))
    assert (read_.problems, read_.warnings) == ((), ())
    (problem,) = read(volume(image={"reference": "nginx", "pullPolicy": "Allways"})).problems
    assert problem.hint == "did you mean `Always`?"


@pytest.mark.parametrize("kind", ["emptyDir", "configMap", "downwardAPI", "persistentVolumeClaim", "image"])
def test_a_volume_says_of_which_kind_it_is(kind: str) -> None:
    inner = {"configMap": {"name": "a"}, "persistentVolumeClaim": {"claimName": "a"}, "image": {"reference": "host"}}
    pod = read(volume(**{kind: inner.get(kind, {})})).pod
    assert pod is not None
    assert pod.spec.volumes[0].kind == kind
