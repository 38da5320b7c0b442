"""A real kubectl against the API: the best judge of its shape. It cannot speak to a unix socket, so a proxy helps."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from minikube_lite.api.server import Server
from minikube_lite.node.service import LogFiles
from minikube_lite.spec.problems import Problem
from tests.api.fake_node import FakeNode, log_file, make_event, make_pod

pytestmark = pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")

NEW = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "new"},
    "spec": {"containers": [{"name": "app", "image": "host"}]},
}


@dataclass
class Done:
    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[list[str]]:
        return [line.split() for line in self.out.splitlines()]


class Kubectl:
    def __init__(self, port: int, home: Path) -> None:
        self.options = (f"--server=http://127.0.0.1:{port}", f"--cache-dir={home}/cache", "--request-timeout=20s")
        self.environment = {"PATH": os.environ["PATH"], "HOME": str(home), "KUBECONFIG": "/dev/null"}

    async def start(self, *arguments: str) -> asyncio.subprocess.Process:
        pipe = asyncio.subprocess.PIPE
        return await asyncio.create_subprocess_exec(
            "kubectl", *self.options, *arguments, stdin=pipe, stdout=pipe, stderr=pipe, env=self.environment
        )

    async def __call__(self, *arguments: str, given: Any = b"") -> Done:
        process = await self.start(*arguments)
        data = given if isinstance(given, bytes) else json.dumps(given).encode()
        try:
            async with asyncio.timeout(60):
                out, err = await process.communicate(data)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        return Done(process.returncode or 0, out.decode(), err.decode())


async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except (ConnectionError, OSError):
        pass  # the other side has gone: so do we
    finally:
        writer.close()


@pytest.fixture
async def kubectl(server: Server, socket: Path, tmp_path: Path) -> AsyncIterator[Kubectl]:
    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream_reader, upstream_writer = await asyncio.open_unix_connection(str(socket))
        await asyncio.gather(forward(reader, upstream_writer), forward(upstream_reader, writer))

    proxy = await asyncio.start_server(connected, "127.0.0.1", 0)
    yield Kubectl(proxy.sockets[0].getsockname()[1], tmp_path)
    proxy.close()


async def test_get_pods_prints_kubectls_table(kubectl: Kubectl) -> None:
    done = await kubectl("get", "pods")
    assert done.lines == [["NAME", "READY", "STATUS", "RESTARTS", "AGE"], ["web", "1/1", "Running", "0", "5m"]], done


async def test_get_pods_wide_and_of_all_namespaces(node: FakeNode, kubectl: Kubectl) -> None:
    node.add("Pod", make_pod("other", "lab"))
    done = await kubectl("get", "po", "-A", "-o", "wide")
    assert done.lines[0][:2] == ["NAMESPACE", "NAME"]
    assert done.lines[2] == ["lab", "other", "1/1", "Running", "0", "5m", "10.0.0.1", "box", "<none>", "<none>"], done


async def test_get_in_other_formats(kubectl: Kubectl) -> None:
    assert (await kubectl("get", "pods", "-o", "name")).out == "pod/web\n"
    assert (await kubectl("get", "pod", "web", "-o", "jsonpath={.status.phase}")).out == "Running"
    assert "phase: Running" in (await kubectl("get", "pod", "web", "-o", "yaml")).out
    assert json.loads((await kubectl("get", "pods", "-o", "json")).out)["items"][0]["metadata"]["name"] == "web"


async def test_get_by_label_and_field(node: FakeNode, kubectl: Kubectl) -> None:
    node.add("Pod", make_pod("db"))
    assert (await kubectl("get", "pods", "-l", "app in (db)", "-o", "name")).out == "pod/db\n"
    assert (await kubectl("get", "pods", "--field-selector", "metadata.name!=db", "-o", "name")).out == "pod/web\n"


async def test_get_what_is_not_there(kubectl: Kubectl) -> None:
    done = await kubectl("get", "pod", "none")
    assert (done.code, done.err) == (1, 'Error from server (NotFound): pods "none" not found\n')


async def test_get_the_other_kinds(node: FakeNode, kubectl: Kubectl) -> None:
    node.add("Event", make_event())
    assert (await kubectl("get", "nodes")).lines[1][:2] == ["box", "Unknown"]
    assert (await kubectl("get", "ns")).lines[1] == ["default", "Active", "5m"]
    events = await kubectl("get", "events")
    assert events.lines[0] == ["LAST", "SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"]
    assert events.lines[1] == ["4m", "Normal", "Started", "pod/web", "Started", "container", "app"]
    assert "Started" in (await kubectl("events", "--for", "pod/web")).out


async def test_watching_shows_each_change(node: FakeNode, kubectl: Kubectl) -> None:
    process = await kubectl.start("get", "pods", "-w", "--no-headers")
    assert process.stdout is not None
    try:
        async with asyncio.timeout(60):
            assert (await process.stdout.readline()).split()[:3] == [b"web", b"1/1", b"Running"]
            while not node.watchers:
                await asyncio.sleep(0.01)
            node.add("Pod", make_pod("web", status={"phase": "Failed"}))
            assert (await process.stdout.readline()).split()[:1] == [b"web"]
            node.add("Pod", make_pod("db"))
            assert (await process.stdout.readline()).split()[:1] == [b"db"]
    finally:
        process.kill()
        await process.communicate()


async def test_describe_tells_of_the_pod_and_its_events(node: FakeNode, kubectl: Kubectl) -> None:
    node.add("Event", make_event())
    done = await kubectl("describe", "pod", "web")
    assert done.code == 0, done
    assert "Node:         box/" in done.out
    assert "Started container app" in done.out


async def test_create_and_apply_and_delete(node: FakeNode, kubectl: Kubectl) -> None:
    assert (await kubectl("create", "-f", "-", given=NEW)).out == "pod/new created\n"
    again = await kubectl("create", "-f", "-", given=NEW)
    assert again.err.startswith(
        'Error from server (AlreadyExists): error when creating "STDIN": pods "new" already exists'
    )
    other = NEW | {"metadata": {"name": "other"}}
    assert (await kubectl("apply", "-f", "-", given=other)).out == "pod/other created\n"
    assert (await kubectl("apply", "--server-side", "-f", "-", given=NEW)).out == "pod/new serverside-applied\n"
    assert (await kubectl("replace", "-f", "-", given=NEW)).out == "pod/new replaced\n"
    assert (await kubectl("delete", "pod", "new")).out.startswith('pod "new" deleted')
    assert (await kubectl("delete", "pods", "-l", "app=other", "--grace-period=1")).out.startswith(
        'pod "other" deleted'
    )
    assert ("Pod", "default", "new") not in node.objects
    assert ("Pod", "default", "other") not in node.objects


async def test_an_invalid_pod_is_explained(node: FakeNode, kubectl: Kubectl) -> None:
    node.problems = (Problem("unknown field", field="spec.foo", hint='did you mean "food"?'),)
    done = await kubectl("create", "-f", "-", given=NEW)
    assert done.code == 1
    assert 'spec.foo: unknown field (did you mean "food"?)' in done.err


async def test_a_warning_is_printed(node: FakeNode, kubectl: Kubectl) -> None:
    node.warnings = ("spec.x is not honoured yet",)
    done = await kubectl("create", "-f", "-", given=NEW)
    assert "Warning: spec.x is not honoured yet" in done.err


async def test_wait_for_a_condition(kubectl: Kubectl) -> None:
    done = await kubectl("wait", "--for=condition=Ready", "pod/web", "--timeout=10s")
    assert done.out == "pod/web condition met\n", done


async def test_logs(node: FakeNode, kubectl: Kubectl, tmp_path: Path) -> None:
    path = log_file(tmp_path / "0.log", "stdout F one", "stdout F two")
    node.logs["web", "app", False] = LogFiles((path,), running=False)
    assert (await kubectl("logs", "web")).out == "one\ntwo\n"
    assert (await kubectl("logs", "web", "--tail=1", "--timestamps")).out == "2024-05-01T12:00:01.5Z two\n"
    assert (await kubectl("logs", "web", "-f")).out == "one\ntwo\n"
    done = await kubectl("logs", "web", "-p")
    assert done.err.startswith("Error from server (BadRequest): container app is not valid")


async def test_exec(kubectl: Kubectl) -> None:
    done = await kubectl("exec", "web", "--", "sh", "-c", "echo out; echo err >&2; exit 3")
    assert (done.code, done.out) == (3, "out\n")
    assert done.err == "err\ncommand terminated with exit code 3\n"
    assert (await kubectl("exec", "-i", "web", "--", "wc", "-c", given=b"x" * 100_000)).out.strip() == "100000"
    done = await kubectl("exec", "web", "-c", "none", "--", "true")
    assert done.code == 1
    assert "container none" in done.err


async def test_version_and_api_resources(kubectl: Kubectl) -> None:
    assert "v1.32.0+minikube-lite-0.1.0" in (await kubectl("version")).out
    resources = await kubectl("api-resources")
    assert ["pods", "po", "v1", "true", "Pod"] in resources.lines, resources


async def test_config_maps_and_secrets_are_made_shown_changed_and_deleted(node: FakeNode, kubectl: Kubectl) -> None:
    # `kubectl create configmap` itself sends protobuf, which this API does not read.
    for words in ("configmap conf --from-literal=port=8080", "secret generic keys --from-literal=password=hunter2"):
        made = await kubectl("create", *words.split(), "--dry-run=client", "-o", "json")
        done = await kubectl("create", "-f", "-", given=made.out.encode())
        assert done.out == f"{words.split()[0]}/{'conf' if 'conf ' in words else 'keys'} created\n", done
    assert (await kubectl("get", "cm")).lines == [["NAME", "DATA", "AGE"], ["conf", "1", "5m"]]
    assert (await kubectl("get", "secrets")).lines[1] == ["keys", "Opaque", "1", "5m"]
    assert (await kubectl("get", "secret", "keys", "-o", "jsonpath={.data.password}")).out == "aHVudGVyMg=="
    described = await kubectl("describe", "secret", "keys")
    assert "password:  7 bytes" in described.out
    changed = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "conf"}, "data": {"port": "9090"}}
    again = await kubectl("create", "-f", "-", given=changed)
    assert 'configmaps "conf" already exists' in again.err
    done = await kubectl("apply", "--server-side", "-f", "-", given=changed)
    assert done.out == "configmap/conf serverside-applied\n", done
    done = await kubectl("replace", "-f", "-", given=changed | {"data": {"port": "1"}})
    assert done.out == "configmap/conf replaced\n", done
    assert node.objects["ConfigMap", "default", "conf"]["data"] == {"port": "1"}
    done = await kubectl("delete", "cm/conf", "secret/keys")
    assert done.out == 'configmap "conf" deleted\nsecret "keys" deleted\n', done
