"""ConfigMaps and Secrets as variables, read back from inside of real containers; and where a Secret's value is not."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.yard import Yard

pytestmark = pytest.mark.root

VALUE = "pÄss-word-that-nobody-else-has"
FORMS = (VALUE, base64.b64encode(VALUE.encode()).decode(), json.dumps(VALUE)[1:-1])


def config_map(name: str, **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def secret(name: str, **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data}


def var(name: str, **source: Any) -> dict[str, Any]:
    return {"name": name, "valueFrom": source}


def key(kind: str, name: str, of: str, **more: Any) -> dict[str, Any]:
    return {f"{kind}KeyRef": {"name": name, "key": of, **more}}


def variables(yard: Yard, pod: str) -> dict[str, str]:
    """Those of the container's own process, as the kernel has them."""
    text = yard.exec(pod, "cat", "/proc/1/environ")
    return dict(entry.split("=", 1) for entry in text.split("\0") if entry)


def files(root: Path) -> Iterator[Path]:
    """Regular files; a pinned namespace is none that could be read."""
    return (path for path in root.rglob("*") if path.is_file() and not path.is_symlink() and path.parent.name != "ns")


def holding(root: Path) -> list[Path]:
    """The files of the node, manifests aside, that hold the secret value in any form."""
    forms = [form.encode() for form in FORMS]
    found = [path for path in files(root) if path.parent.name != "manifests"]
    assert len(found) > 2
    return [path for path in found if any(form in path.read_bytes() for form in forms)]


def test_every_source_of_a_variable_is_read_back_from_inside(yard: Yard) -> None:
    yard.node.put("conf.json", config_map("conf", port="8080", **{"a.b": "dotted"}))
    yard.node.put("keys.json", secret("keys", password=VALUE))
    env = [
        var("PORT", **key("configMap", "conf", "port")),
        var("PASSWORD", **key("secret", "keys", "password")),
        {"name": "URL", "value": "db://$(PASSWORD)@host:$(PORT)/$(NAME)"},
        var("NAME", fieldRef={"fieldPath": "metadata.name"}),
        var("UID_", fieldRef={"fieldPath": "metadata.uid"}),
        var("LABEL", fieldRef={"fieldPath": "metadata.labels['tier']"}),
        var("NOTE", fieldRef={"fieldPath": "metadata.annotations['note']"}),
        var("NODE", fieldRef={"fieldPath": "spec.nodeName"}),
        var("HOST", fieldRef={"fieldPath": "status.hostIP"}),
        var("CPU", resourceFieldRef={"resource": "limits.cpu", "divisor": "1m"}),
        var("MEMORY", resourceFieldRef={"resource": "limits.memory"}),
        var("MAYBE", **key("secret", "none", "k", optional=True)),
    ]
    env_from = [{"prefix": "C_", "configMapRef": {"name": "conf"}}, {"secretRef": {"name": "keys"}}]
    container = yard.container(env=env, envFrom=env_from, resources={"limits": {"cpu": "200m"}})
    pod = yard.run("web", container, metadata={"labels": {"tier": "back"}, "annotations": {"note": "two words"}})
    seen = variables(yard, "web")
    expected = {
        "PORT": "8080",
        "PASSWORD": VALUE,
        "URL": f"db://{VALUE}@host:8080/$(NAME)",
        "NAME": "web",
        "UID_": pod["metadata"]["uid"],
        "LABEL": "back",
        "NOTE": "two words",
        "NODE": os.uname().nodename.lower(),
        "CPU": "200",
        "MEMORY": str(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 1024 * 1024),
        "C_port": "8080",
        "C_a.b": "dotted",
        "password": VALUE,
    }
    assert {name: seen.get(name) for name in expected} == expected
    assert "MAYBE" not in seen
    assert seen["HOST"].count(".") == 3


def test_the_pods_own_addresses_are_the_machines_where_it_has_its_network(yard: Yard) -> None:
    names = ("podIP", "podIPs", "hostIP", "hostIPs")
    env = [var(name, fieldRef={"fieldPath": f"status.{name}"}) for name in names]
    yard.run("web", yard.container(env=env), hostNetwork=True)
    seen = variables(yard, "web")
    assert seen["podIP"] == seen["hostIP"] != ""
    assert seen["podIPs"] == seen["hostIPs"]


def test_a_pod_waits_for_a_missing_secret_and_starts_when_it_is_there(yard: Yard) -> None:
    yard.put("web", yard.container(env=[var("PASSWORD", **key("secret", "keys", "password"))]))
    waiting = yard.wait_state("web", "waiting", "CreateContainerConfigError")
    assert waiting["message"] == 'secret "keys" not found'
    yard.wait_event("web", "Failed", 'Error: secret "keys" not found')
    assert "CreateContainerConfigError" in yard.node.cli("get", "pods").stdout
    yard.node.put("keys.json", secret("keys", other="x"))
    yard.wait_event("web", "Failed", "Error: couldn't find key password in Secret default/keys")
    yard.node.put("keys.json", secret("keys", password=VALUE))
    yard.wait_state("web", "running")
    assert variables(yard, "web")["PASSWORD"] == VALUE
    assert yard.restarts("web") == 0


def test_a_changed_one_leaves_what_runs_alone_and_exec_has_the_variables_of_the_start(yard: Yard) -> None:
    yard.node.put("keys.json", secret("keys", password=VALUE))
    yard.run("web", yard.container(env=[var("PASSWORD", **key("secret", "keys", "password"))]))
    started = yard.pid("web")
    yard.node.put("keys.json", secret("keys", password="another"))
    yard.node.wait_until(
        lambda: yard.node.get("/api/v1/namespaces/default/secrets/keys")["data"]["password"] == "YW5vdGhlcg==",
        "the change is known",
    )
    assert yard.pid("web") == started
    assert yard.sh("web", 'echo "$PASSWORD"').rstrip("\n") == VALUE


def test_a_command_may_have_a_secret_in_it(yard: Yard) -> None:
    yard.node.put("keys.json", secret("keys", password=VALUE))
    env = [var("PASSWORD", **key("secret", "keys", "password"))]
    container = yard.container(env=env) | {"command": ["sh", "-c", 'test "$1" = "$PASSWORD" && exec sleep inf', "-"]}
    yard.run("web", container | {"args": ["$(PASSWORD)"]})
    config = json.loads((yard.bundle("web") / "config.json").read_text())
    assert config["process"]["args"][-1] == "$(PASSWORD)"


def test_a_command_that_is_a_secret_and_cannot_be_run_is_not_told(yard: Yard) -> None:
    yard.node.put("keys.json", secret("keys", password=VALUE))
    env = [var("PASSWORD", **key("secret", "keys", "password"))]
    yard.put("web", yard.container(env=env) | {"command": ["$(PASSWORD)"]}, restartPolicy="Never")
    event = yard.wait_event("web", "StartError")
    assert '"<secret>": executable file not found' in event["message"]
    assert VALUE not in json.dumps(yard.node.pod("web"), ensure_ascii=False)


@pytest.mark.parametrize("share", [False, True], ids=["", "with a shared PID namespace"])
def test_what_a_secret_holds_is_on_no_disk_and_in_no_output(fresh: Yard, share: bool) -> None:
    node = fresh.node
    node.put("keys.json", secret("keys", password=VALUE))
    env = [
        var("PASSWORD", **key("secret", "keys", "password")),
        {"name": "URL", "value": "db://$(PASSWORD)@host"},
        {"name": "PLAIN", "value": "to be seen"},
    ]
    containers = (fresh.container(env=env), fresh.container(name="side", envFrom=[{"secretRef": {"name": "keys"}}]))
    pod = fresh.run("web", *containers, shareProcessNamespace=share)
    uid = pod["metadata"]["uid"]
    # What holds it is in memory, and root's alone.
    private = node.paths.pod_run(uid) / "private"
    assert sorted(holding(node.root)) == sorted(private.iterdir())
    assert subprocess.check_output(["stat", "-f", "-c", "%T", private], text=True) == "tmpfs\n"
    assert {path.stat().st_mode & 0o777 for path in (private, *private.iterdir())} == {0o700, 0o600}
    config = json.loads((fresh.bundle("web") / "config.json").read_text())
    assert "PLAIN=to be seen" in config["process"]["env"]
    assert config["annotations"]["node.minikube-lite/secret-variables"] == "PASSWORD,URL"
    # Another node, which never saw the start, finds it.
    node.kill9()
    node.start()
    assert fresh.sh("web", 'echo "$URL"').rstrip("\n") == f"db://{VALUE}@host"
    assert fresh.sh("web", 'echo "$password"', container="side").rstrip("\n") == VALUE
    # Nobody tells.
    said = [
        node.cli(*words.split()).stdout
        for words in (
            "get pods -o yaml", "get pods -o json", "get pods -o wide", "describe pod web", "get events -o yaml",
            "events", "get secrets", "describe secret keys", "get configmaps -A",
        )
    ]  # fmt: skip
    said += [node.log.read_text(), subprocess.check_output(["ps", "axww"], text=True)]
    for text in said:
        assert not any(form in text for form in FORMS)
    # When it has ended nobody has it any more.
    fresh.remove("web")
    assert holding(node.root) == []
    fresh.nothing_is_left_of(uid)


def test_the_value_goes_with_the_run_that_needed_it(yard: Yard) -> None:
    yard.node.put("keys.json", secret("keys", password=VALUE))
    env = [var("PASSWORD", **key("secret", "keys", "password"))]
    yard.put("web", yard.container('test -n "$PASSWORD"', env=env), restartPolicy="Never")
    yard.node.wait_phase("web", "Succeeded")
    assert holding(yard.node.root) == []


# (data of the ConfigMap, data of the Secret, the message)
UNFIT: dict[str, tuple[dict[str, Any], str]] = {
    "a missing key": (secret("keys", other="x"), "couldn't find key password in Secret default/keys"),
    "a binary value": (
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys"}, "data": {"password": "AP8="}},
        "key password in Secret default/keys is binary, which no variable can hold: mount it as a volume",
    ),
}


@pytest.mark.parametrize("what", UNFIT)
def test_what_cannot_be_a_variable_is_said(yard: Yard, what: str) -> None:
    found, message = UNFIT[what]
    yard.node.put("keys.json", found)
    yard.put("web", yard.container(env=[var("PASSWORD", **key("secret", "keys", "password"))]))
    assert yard.wait_state("web", "waiting", "CreateContainerConfigError")["message"] == message
    assert yard.wait_event("web", "Failed", message)["involvedObject"]["fieldPath"] == "spec.containers{app}"


# what is wrong with a document: (document, words)
WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "a key that is no file name": (config_map("conf", **{"a/b": "x"}), "a valid config key must consist of"),
    "a Secret that is not base64": (
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys"}, "data": {"password": VALUE}},
        "illegal base64 data at input byte",
    ),
    "two megabytes": (config_map("conf", big="x" * (2 << 20)), "Too long: may not be more than 1048576 bytes"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_document_that_is_wrong_is_said_with_its_place(yard: Yard, what: str) -> None:
    found, words = WRONG[what]
    yard.node.put("wrong.json", found)
    event = yard.wait_event("wrong.json", "InvalidManifest", words)
    assert f"{yard.node.manifests}/wrong.json:1:" in event["message"]
    assert VALUE not in event["message"] + yard.node.log.read_text()
    done = yard.node.cli("validate", str(yard.node.manifests / "wrong.json"), check=False)
    assert done.returncode == 1
    assert words in done.stdout
    assert VALUE not in done.stdout
