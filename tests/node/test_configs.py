"""ConfigMaps and Secrets in the directory: kept, found by pods, waited for, and in no file that the node writes."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from minikube_lite.core.model import Policy
from minikube_lite.images.store import ImageStore
from minikube_lite.node.node import Node
from minikube_lite.node.paths import Paths
from minikube_lite.node.service import ServiceError
from tests.node.fakes import FakeImages, FakeRuntime
from tests.node.test_node import apply, until
from tests.node.yaml_text import pod_yaml

NEVER = Policy(backoff_initial=3600, backoff_max=3600)
"""Whoever waits for a back-off waits for ever here."""
VALUE = "correct horse battery staple"


def config_map(name: str = "conf", extra: str = "", **data: str) -> str:
    lines = "".join(f'  {key}: "{value}"\n' for key, value in data.items())
    return f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\n{extra}data:\n{lines}"


def secret(name: str = "keys", extra: str = "", **data: str) -> str:
    text = config_map(name, extra, **data)
    return text.replace("kind: ConfigMap", "kind: Secret").replace("\ndata:", "\nstringData:")


def reading(name: str, *sources: str, optional: bool = False) -> str:
    """A pod with a variable from each of `configMap/conf/KEY`, `secret/keys/KEY`."""
    lines = "    env:\n"
    for number, source in enumerate(sources):
        kind, of, key = source.split("/")
        reference = f"{{name: {of}, key: {key}, optional: {str(optional).lower()}}}"
        lines += f"    - {{name: V{number}, valueFrom: {{{kind}KeyRef: {reference}}}}}\n"
    return pod_yaml(name) + lines


class Machine:
    """What stays while nodes come and go."""

    def __init__(self, root: Path) -> None:
        self.paths = Paths(root)
        for directory in (self.paths.pods, self.paths.run / "pods", self.paths.logs, self.paths.manifests):
            directory.mkdir(parents=True)
        self.manifests = self.paths.manifests
        self.runtime = FakeRuntime(self.paths)

    def write(self, name: str, text: str) -> None:
        (self.manifests / f".{name}").write_text(text)
        (self.manifests / f".{name}").rename(self.manifests / name)

    @asynccontextmanager
    async def node(self) -> AsyncIterator[Node]:
        self.runtime.watched.clear()
        images: ImageStore = FakeImages()  # type: ignore[assignment]
        node = Node(self.paths, self.manifests, self.runtime, images, NEVER, "boot-1")
        await node.start()
        await node.first_pass()
        try:
            yield node
        finally:
            await node.stop()

    @property
    def variables(self) -> dict[str, str]:
        """Those that the last container was started with."""
        return dict(self.runtime.environments["app"].values)

    @property
    def starts(self) -> int:
        return self.runtime.calls.count(("start", "app"))


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "root")


def waiting(node: Node, name: str = "web") -> dict[str, Any]:
    found = node.store.get("Pod", "default", name)
    if found is None:
        return {}
    waits: dict[str, Any] = found["status"]["containerStatuses"][0]["state"].get("waiting") or {}
    return waits


def held(node: Node, name: str = "conf", kind: str = "ConfigMap") -> dict[str, bytes] | None:
    found = node.configs.get(kind, "default", name)
    return None if found is None else dict(found.data)


def events(node: Node, name: str) -> list[tuple[str, str, str]]:
    about = [item for item in node.list("Event").items if item["involvedObject"]["name"] == name]
    return [(item["involvedObject"]["kind"], item["reason"], item["message"]) for item in about]


async def refused(call: Any) -> ServiceError:
    with pytest.raises(ServiceError) as caught:
        await call
    return caught.value


# -- pods


async def test_a_pod_waits_for_what_is_missing_and_starts_at_once_when_it_is_there(machine: Machine) -> None:
    async with machine.node() as node:
        machine.write("web.yaml", reading("web", "configMap/conf/a", "secret/keys/b"))
        await until(lambda: waiting(node).get("reason") == "CreateContainerConfigError")
        assert waiting(node)["message"] == 'configmap "conf" not found'
        assert ("Pod", "Failed", 'Error: configmap "conf" not found') in events(node, "web")
        machine.write("conf.yaml", config_map(x="1"))
        await until(lambda: waiting(node).get("message") == "couldn't find key a in ConfigMap default/conf")
        machine.write("conf.yaml", config_map(a="1"))
        await until(lambda: waiting(node).get("message") == 'secret "keys" not found')
        assert machine.starts == 0
        machine.write("keys.yaml", secret(b="2"))
        await until(lambda: machine.starts == 1)
        assert machine.variables == {"V0": "1", "V1": "2"}


async def test_who_waits_over_a_restart_of_the_node_starts_at_once_too(machine: Machine) -> None:
    machine.write("web.yaml", reading("web", "secret/keys/b"))
    async with machine.node() as node:
        await until(lambda: waiting(node).get("reason") == "CreateContainerConfigError")
    machine.write("keys.yaml", secret(b="2"))
    async with machine.node():
        await until(lambda: machine.starts == 1)


async def test_what_is_optional_is_not_waited_for(machine: Machine) -> None:
    async with machine.node():
        machine.write("web.yaml", reading("web", "configMap/conf/a", "secret/keys/b", optional=True))
        await until(lambda: machine.starts == 1)
        assert machine.variables == {}


async def test_a_change_leaves_what_runs_alone_and_holds_for_the_next_start(machine: Machine) -> None:
    async with machine.node() as node:
        machine.write("all.yaml", reading("web", "configMap/conf/a") + "---\n" + config_map(a="1"))
        await until(lambda: machine.starts == 1)
        machine.write("all.yaml", reading("web", "configMap/conf/a") + "---\n" + config_map(a="2"))
        await until(lambda: held(node) == {"a": b"2"})
        await node.queue.idle()
        assert machine.starts == 1
        machine.runtime.end("app")
        await until(lambda: machine.starts == 2)
        assert machine.variables == {"V0": "2"}


async def test_a_pod_that_was_removed_again_is_not_waited_for(machine: Machine) -> None:
    async with machine.node() as node:
        machine.write("web.yaml", reading("web", "configMap/conf/a"))
        await until(lambda: waiting(node).get("reason") == "CreateContainerConfigError")
        (machine.manifests / "web.yaml").unlink()
        await until(lambda: node.store.get("Pod", "default", "web") is None)
        machine.write("conf.yaml", config_map(a="1"))
        await until(lambda: held(node))
        assert machine.starts == 0


# -- the directory


async def test_they_come_change_and_go_with_their_files(machine: Machine) -> None:
    async with machine.node() as node:
        machine.write("conf.yaml", config_map(a="1") + "---\n" + secret(b="2"))
        await until(lambda: held(node) == {"a": b"1"} and held(node, "keys", "Secret") == {"b": b"2"})
        first = node.get("ConfigMap", "default", "conf")["metadata"]
        machine.write("conf.yaml", config_map(a="3"))
        await until(lambda: held(node) == {"a": b"3"} and held(node, "keys", "Secret") is None)
        assert (await refused_get(node, "Secret", "keys")).message == 'secrets "keys" not found'
        second = node.get("ConfigMap", "default", "conf")["metadata"]
        assert second["uid"] == first["uid"]
        assert int(second["resourceVersion"]) > int(first["resourceVersion"])
        (machine.manifests / "conf.yaml").unlink()
        await until(lambda: held(node) is None)


async def refused_get(node: Node, kind: Any, name: str) -> ServiceError:
    with pytest.raises(ServiceError) as caught:
        node.get(kind, "default", name)
    return caught.value


async def test_a_broken_edit_leaves_it_as_it_was_and_says_so(machine: Machine) -> None:
    async with machine.node() as node:
        machine.write("conf.yaml", config_map(a="1") + "---\n" + config_map("other", b="1"))
        await until(lambda: held(node))
        for broken in (config_map(a="1").replace('"1"', "1"), "a: [", config_map(a="1").replace("ConfigMap", "Config")):
            machine.write("conf.yaml", broken + "\n---\n" + config_map("other", b="2"))
            await until(lambda: held(node, "other") == {"b": b"2"})
            assert any(reason == "InvalidManifest" for _, reason, _ in all_events(node))
            assert held(node) == {"a": b"1"}
            machine.write("conf.yaml", config_map(a="1") + "---\n" + config_map("other", b="1"))
            await until(lambda: held(node, "other") == {"b": b"1"})
        machine.write("conf.yaml", config_map("other", b="1"))
        await until(lambda: held(node) is None)


def all_events(node: Node) -> list[tuple[str, str, str]]:
    return [(item["involvedObject"]["name"], item["reason"], item["message"]) for item in node.list("Event").items]


async def test_of_two_files_that_define_one_the_first_keeps_it(machine: Machine) -> None:
    async with machine.node() as node:
        machine.write("b.yaml", config_map(a="1"))
        await until(lambda: held(node))
        machine.write("a.yaml", config_map(a="2"))
        await until(lambda: events(node, "conf"))
        message = "b.yaml and a.yaml both define ConfigMap default/conf; b.yaml keeps it"
        assert events(node, "conf") == [("ConfigMap", "Conflict", message)]
        assert held(node) == {"a": b"1"}
        (machine.manifests / "b.yaml").unlink()
        await until(lambda: held(node) == {"a": b"2"})


async def test_all_is_kept_while_the_directory_is_gone(machine: Machine) -> None:
    async with machine.node() as node:
        machine.write("conf.yaml", config_map(a="1"))
        await until(lambda: held(node))
        machine.manifests.rename(machine.manifests.with_name("away"))
        node._look(None)
        assert held(node) == {"a": b"1"}
        machine.manifests.with_name("away").rename(machine.manifests)


async def test_uid_and_age_are_kept_over_a_restart_of_the_node(machine: Machine) -> None:
    machine.write("conf.yaml", config_map(a="1"))
    async with machine.node() as node:
        before = node.get("ConfigMap", "default", "conf")["metadata"]
    async with machine.node() as node:
        after = node.get("ConfigMap", "default", "conf")["metadata"]
    assert (after["uid"], after["creationTimestamp"]) == (before["uid"], before["creationTimestamp"])
    machine.paths.configs.write_text("{")
    async with machine.node() as node:
        assert node.get("ConfigMap", "default", "conf")["metadata"]["uid"]


# -- writes


async def test_apply_creates_configures_and_leaves_alone(machine: Machine) -> None:
    async with machine.node() as node:
        text = config_map(a="1") + "---\n" + secret(b="2")
        assert await apply(node, text) == [("conf", "created"), ("keys", "created")]
        assert held(node) == {"a": b"1"}
        assert await apply(node, text) == [("conf", "unchanged"), ("keys", "unchanged")]
        assert await apply(node, config_map(a="3"), dry_run=True) == [("conf", "configured")]
        assert await apply(node, config_map(a="3")) == [("conf", "configured")]
        assert held(node) == {"a": b"3"}
        assert sorted(path.name for path in machine.manifests.iterdir()) == ["configmap-conf.yaml", "secret-keys.yaml"]
        assert (machine.manifests / "secret-keys.yaml").stat().st_mode & 0o777 == 0o600
        machine.manifests.joinpath("secret-keys.yaml").chmod(0o640)
        assert await apply(node, secret(b="4")) == [("keys", "configured")]
        assert (machine.manifests / "secret-keys.yaml").stat().st_mode & 0o777 == 0o640


async def test_apply_puts_one_into_the_namespace_that_is_asked_for(machine: Machine) -> None:
    async with machine.node() as node:
        assert await apply(node, config_map(a="1"), namespace="shop") == [("conf", "created")]
        assert node.configs.get("ConfigMap", "shop", "conf") is not None
        assert held(node) is None


async def test_apply_refuses_to_change_what_is_immutable(machine: Machine) -> None:
    async with machine.node() as node:
        await apply(node, config_map(a="1", extra="immutable: true\n"))
        outcome = await node.apply(
            config_map(a="2", extra="immutable: true\n").encode(),
            source="given.yaml",
            base_dir="/",
            namespace="default",
            dry_run=False,
        )
        (problem,) = outcome.problems
        assert (problem.field, problem.message) == ("data", "Forbidden: field is immutable when `immutable` is set")
        assert held(node) == {"a": b"1"}
        await node.delete_config("ConfigMap", "default", "conf")
        assert await apply(node, config_map(a="2")) == [("conf", "created")]


async def test_delete_takes_one_out_of_its_file(machine: Machine) -> None:
    async with machine.node() as node:
        machine.write("all.yaml", config_map(a="1") + "---\n" + secret(b="2"))
        await until(lambda: held(node))
        gone = await node.delete_config("Secret", "default", "keys", dry_run=True)
        assert held(node, "keys", "Secret")
        gone = await node.delete_config("Secret", "default", "keys")
        assert (gone["kind"], held(node, "keys", "Secret"), held(node)) == ("Secret", None, {"a": b"1"})
        error = await refused(node.delete_config("Secret", "default", "keys"))
        assert (error.code, error.message) == (404, 'secrets "keys" not found')
        outcome = await node.delete_documents(
            config_map(a="5").encode(), source="given.yaml", namespace="default", grace=None, dry_run=False
        )
        assert [(item.kind, item.name, item.result) for item in outcome.items] == [("ConfigMap", "conf", "deleted")]
        assert list(machine.manifests.iterdir()) == []


# -- what a Secret holds


async def test_what_a_secret_holds_is_in_no_file_but_its_manifest(
    machine: Machine, capfd: pytest.CaptureFixture[str]
) -> None:
    machine.write("keys.yaml", secret(b=VALUE) + "---\n" + secret("broken", c=VALUE).replace("c:", "c/d:"))
    machine.write("web.yaml", reading("web", "secret/keys/b"))
    async with machine.node() as node:
        await until(lambda: machine.starts == 1)
        assert machine.variables == {"V0": VALUE}
        machine.write("keys.yaml", secret(b=VALUE.upper()))
        await until(lambda: held(node, "keys", "Secret") == {"b": VALUE.upper().encode()})
        shown = [str(node.list(kind).items) for kind in ("Pod", "Event", "Node", "ConfigMap")]
    written = [
        path.read_text(errors="replace")
        for path in machine.paths.state.parent.rglob("*")
        if path.is_file() and path.parent != machine.manifests
    ]
    assert written
    for text in (*written, *shown, *capfd.readouterr()):
        for form in (VALUE, base64.b64encode(VALUE.encode()).decode()):
            assert form not in text
