"""The same words to kubectl and to us, of the same node: what they say must be the same, to the letter."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from minikube_lite.node.service import LogFiles
from tests.api.fake_node import log_file, make_config, make_event, make_pod
from tests.cli.conftest import Cli, Outcome, ServedNode

pytestmark = pytest.mark.skipif(shutil.which("kubectl") is None, reason="no kubectl to compare with")
Kubectl = Callable[..., Outcome]

STAMPS = {"startedAt": "2024-05-01T12:00:01Z", "finishedAt": "2024-05-01T12:00:02Z"}


def full_pod() -> dict[str, Any]:
    """One of nearly everything that describe shows."""
    pod = make_pod("full", metadata={"annotations": {"note": "short", "long": "x" * 200, "lines": "a\nb"}})
    pod["metadata"]["labels"] |= {"tier": "back", "app.kubernetes.io/name": "full"}
    pod["spec"] |= {
        "priority": 0,
        "serviceAccountName": "default",
        "nodeSelector": {"disk": "ssd", "arch": "amd64"},
        "tolerations": [
            {"key": "a", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300},
            {"key": "b", "operator": "Equal", "value": "c"},
            {"operator": "Exists"},
        ],
        "volumes": [
            {"name": "scratch", "emptyDir": {}},
            {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "1Gi"}},
            {"name": "host", "hostPath": {"path": "/srv", "type": "Directory"}},
            {"name": "conf", "configMap": {"name": "conf"}},
            {"name": "keys", "secret": {"secretName": "keys", "optional": True}},
        ],
        "initContainers": [{"name": "first", "image": "host", "command": ["sh", "-c", "true\nfalse"]}],
    }
    app = pod["spec"]["containers"][0]
    app |= {
        "args": ["--flag", "two words"],
        "ports": [{"containerPort": 80, "protocol": "TCP"}],
        "resources": {"limits": {"memory": "64Mi"}, "requests": {"cpu": "100m", "memory": "64Mi"}},
        "env": [
            {"name": "PLAIN", "value": "text"},
            {"name": "LINES", "value": "one\ntwo"},
            {"name": "EMPTY"},
            {"name": "FIELD", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}}},
            {"name": "SECRET", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "k"}}},
            {"name": "CONF", "valueFrom": {"configMapKeyRef": {"name": "conf", "key": "k", "optional": True}}},
        ],
        "envFrom": [{"configMapRef": {"name": "conf"}}, {"prefix": "P_", "secretRef": {"name": "keys"}}],
        "volumeMounts": [
            {"name": "scratch", "mountPath": "/z"},
            {"name": "conf", "mountPath": "/a", "readOnly": True, "subPath": "x"},
        ],
        "livenessProbe": {
            "exec": {"command": ["test", "-e", "/x"]},
            "periodSeconds": 5,
            "timeoutSeconds": 1,
            "successThreshold": 1,
            "failureThreshold": 3,
        },
        "readinessProbe": {
            "httpGet": {"path": "/ok", "port": 80, "scheme": "HTTP"},
            "timeoutSeconds": 1,
            "periodSeconds": 10,
            "successThreshold": 1,
            "failureThreshold": 3,
        },
        "startupProbe": {
            "tcpSocket": {"port": 80},
            "timeoutSeconds": 1,
            "periodSeconds": 10,
            "successThreshold": 1,
            "failureThreshold": 3,
        },
    }
    pod["spec"]["containers"].append(
        {
            "name": "side",
            "image": "host",
            "ports": [{"containerPort": 1, "protocol": "UDP"}, {"containerPort": 2, "hostPort": 3, "protocol": "TCP"}],
        }
    )
    pod["status"] |= {
        "startTime": "2024-05-01T12:00:00Z",
        "hostIP": "10.1.2.3",
        "podIPs": [{"ip": "10.0.0.1"}],
        "qosClass": "Burstable",
        "reason": "Odd",
        "message": "for a reason",
        "initContainerStatuses": [
            {
                "name": "first",
                "ready": True,
                "restartCount": 0,
                "image": "host",
                "imageID": "",
                "containerID": "x://1",
                "state": {"terminated": {"exitCode": 0, "reason": "Completed", **STAMPS}},
            }
        ],
    }
    pod["status"]["containerStatuses"] = [
        {
            "name": "app",
            "ready": True,
            "restartCount": 2,
            "image": "host",
            "imageID": "i",
            "containerID": "x://2",
            "state": {"running": {"startedAt": STAMPS["startedAt"]}},
            "lastState": {
                "terminated": {"exitCode": 137, "signal": 9, "reason": "Error", "message": "killed", **STAMPS}
            },
        },
        {
            "name": "side",
            "ready": False,
            "restartCount": 0,
            "image": "host",
            "imageID": "",
            "containerID": "",
            "state": {"waiting": {"reason": "CrashLoopBackOff"}},
        },
    ]
    pod["status"]["conditions"] = [
        {"type": "Initialized", "status": "True"},
        {"type": "ContainersReady", "status": "False"},
    ]
    return pod


@pytest.fixture
def furnished(node: ServedNode, tmp_path: Path) -> ServedNode:
    """A node with something of everything."""
    node.add("Pod", full_pod())
    node.add("Pod", make_pod("bare", spec={"containers": [{"name": "app", "image": "host"}]}))
    node.add("Pod", make_pod("db", "data"))
    node.add(
        "Pod",
        make_pod(
            "going", "data", metadata={"deletionTimestamp": "2024-05-01T12:00:00Z", "deletionGracePeriodSeconds": 30}
        ),
    )
    node.add("ConfigMap", make_config("ConfigMap", "conf", metadata={"labels": {"app": "web"}}))
    logo = {"data": {"lines": "a=1\nb=2\n"}, "binaryData": {"logo": "AAH/"}}
    node.add("ConfigMap", make_config("ConfigMap", "files", "data") | logo)
    last = {"kubectl.kubernetes.io/last-applied-configuration": '{"data":{"password":"aHVudGVyMg=="}}', "note": "x"}
    node.add("Secret", make_config("Secret", "keys", metadata={"annotations": last}))
    node.add("Secret", make_config("Secret", "tls", "data", type="kubernetes.io/tls"))
    node.add("Event", make_event("web.1"))
    node.add("Event", make_event("full.1", about="full", type="Warning", reason="BackOff", message="again\n", count=1))
    event = make_event("db.1", about="db")
    event["metadata"]["namespace"] = event["involvedObject"]["namespace"] = "data"
    node.add("Event", event)
    for pod in node.do(lambda: list(node.fake.list("Pod").items)):
        pod["status"].setdefault("qosClass", "BestEffort")
    file = log_file(tmp_path / "log", "stdout F one", "stdout F two")
    for pod, container in (("web", "app"), ("full", "app"), ("full", "side"), ("full", "first")):
        node.fake.logs[pod, container, False] = LogFiles((file,), False)
    return node


@pytest.fixture
def kubectl(furnished: ServedNode, tmp_path: Path) -> Iterator[Kubectl]:
    """kubectl cannot speak to a unix socket: a proxy on the node's loop helps."""
    socket = furnished.root / "run/api.sock"

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_unix_connection(str(socket))
        await asyncio.gather(_forward(reader, up_writer), _forward(up_reader, writer))

    async def listen() -> asyncio.Server:
        return await asyncio.start_server(connected, "127.0.0.1", 0)

    proxy = asyncio.run_coroutine_threadsafe(listen(), furnished.loop).result()
    port = proxy.sockets[0].getsockname()[1]
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "KUBECONFIG": "/dev/null", "TZ": "UTC"}

    def run(*argv: str) -> Outcome:
        options = [f"--server=http://127.0.0.1:{port}", f"--cache-dir={tmp_path}/cache", "--request-timeout=20s"]
        words = list(argv)
        at = words.index("--") if "--" in words else len(words)
        command = ["kubectl", *words[:at], *options, *words[at:]]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)
        return Outcome(done.returncode, done.stdout, done.stderr)

    yield run
    furnished.do(proxy.close)


async def _forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except (ConnectionError, OSError):
        pass  # the other side has gone: so do we
    finally:
        writer.close()


@pytest.mark.parametrize(
    "line",
    [
        "get pods",
        "get po -A",
        "get pods -o wide",
        "get pods -A -o wide --show-labels",
        "get pods --no-headers",
        "get pods -L app,tier",
        "get pods web full",
        "get pods web nope full",
        "get pod/web po/bare",
        "get pods,namespaces",
        "get nodes",
        "get ns -o wide",
        "get events",
        "get ev -A -o wide",
        "get pods -n nowhere",
        "get pods -l app=nope",
        "get pods -A -l app=nope",
        "get pods -l app!=web -o name",
        "get pods --field-selector status.phase=Running -o name",
        "get pod web -o json",
        "get pods -o json",
        "get pod full -o yaml",
        "get pods -A -o yaml",
        "get pods -o name",
        "get pods -o jsonpath={.items[*].metadata.name}",
        "get pods -o jsonpath={range.items[*]}{.metadata.name}{end}",
        "get pods -o custom-columns=NAME:.metadata.name,IMAGES:.spec.containers[*].image,X:.nope.x",
        "get pods -o custom-columns=N:metadata.name --no-headers",
        "get pods -A --sort-by=.metadata.name",
        "get pods --sort-by={.status.containerStatuses[0].restartCount}",
        "get pods nope --ignore-not-found",
        "get pods web -A",
        "describe pod full",
        "describe pod bare",
        "describe pod web",
        "describe pods bare web",
        "describe pods -n data",
        "describe pod nope",
        "describe pods -l app=nope",
        "logs web",
        "logs web --tail=1 --timestamps",
        "logs full",
        "logs -l app=web --prefix",
        "events",
        "events -A",
        "events --for pod/web",
        "events --for pod/nope",
        "events -n nowhere",
        "events --types=Warning --no-headers",
        "wait --for=condition=Ready pod/web",
        "wait --for=jsonpath={.status.phase}=Running pod/web pod/bare",
        "wait --for=delete pod/nope",
        "wait --for=condition=Ready pod/nope",
        "get configmaps",
        "get cm -A",
        "get cm conf -o yaml",
        "get cm conf -o json",
        "get configmaps -l app=web -o name",
        "get configmap nope",
        "get secrets",
        "get secrets -A --show-labels",
        "get secret keys -o yaml",
        "get secret keys -o jsonpath={.data.password}",
        "get secrets -A --field-selector type=Opaque -o name",
        "get secret nope",
        "get cm,secrets",
        "describe configmap conf",
        "describe cm files -n data",
        "describe configmap nope",
        "describe secret keys",
        "describe secrets -n data",
        "describe secret nope",
        "delete configmap conf nope",
        "delete cm --all",
        "delete secret keys",
        "delete secrets -l app=nope",
        "delete secret keys --dry-run=client",
        "delete pod/web cm/conf secret/keys",
        "delete pod web nope",
        "delete pod bare --now",
        "delete pods -l app=full",
        "delete pods -l app=nope",
        "delete pod web --dry-run=client",
        "delete pod nope --ignore-not-found",
        "exec web -- sh -c true",
        "exec web -- false",
        "exec full -- true",
        "exec nope -- true",
    ],
)
def test_we_say_what_kubectl_says(line: str, furnished: ServedNode, cli: Cli, kubectl: Kubectl) -> None:
    before = dict(furnished.fake.objects)
    theirs = kubectl(*line.split())
    for (kind, _, _), item in before.items():
        if (
            furnished.fake.objects.get((kind, item["metadata"].get("namespace", ""), item["metadata"]["name"]))
            is not item
        ):
            furnished.add(kind, item)  # what kubectl has deleted
    ours = cli(*line.split())
    assert (_plain(ours.out), _plain(ours.err), ours.code) == (_plain(theirs.out), _plain(theirs.err), theirs.code)


def _plain(text: str) -> str:
    """Without blanks at the ends of lines, and ages, which go on, to the day."""
    text = re.sub(r"(\d+y)\d+d", r"\1", text)
    return "\n".join(line.rstrip() for line in text.split("\n"))
