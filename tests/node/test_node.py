"""The whole node with a real directory and a real watch, on a runtime of values."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from minikube_lite.core.model import Policy
from minikube_lite.images.store import ImageStore
from minikube_lite.node import watch
from minikube_lite.node.log_tail import log_path
from minikube_lite.node.node import Node
from minikube_lite.node.paths import Paths
from minikube_lite.node.service import ServiceError
from tests.node.fakes import FakeImages, FakeRuntime
from tests.node.yaml_text import pod_yaml, with_typo

POLICY = Policy(backoff_initial=0.01, backoff_max=0.05)
WEB = pod_yaml("web")
WEB_2 = pod_yaml("web", command="sleep 2")


class Machine:
    """What stays while nodes come and go."""

    def __init__(self, root: Path) -> None:
        self.paths = Paths(root)
        for directory in (self.paths.pods, self.paths.run / "pods", self.paths.logs, self.paths.manifests):
            directory.mkdir(parents=True)
        self.manifests = self.paths.manifests
        self.runtime = FakeRuntime(self.paths)

    @asynccontextmanager
    async def node(self) -> AsyncIterator[Node]:
        self.runtime.watched.clear()
        images: ImageStore = FakeImages()  # type: ignore[assignment]
        node = Node(self.paths, self.manifests, self.runtime, images, POLICY, "boot-1")
        await node.start()
        await node.first_pass()
        try:
            yield node
        finally:
            await node.stop()

    @property
    def running(self) -> list[str]:
        """The images' pods that run, by uid order of their names."""
        return sorted(run.container for run in self.runtime.running())


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "root")


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.002)


def pod(node: Node, name: str = "web", namespace: str = "default") -> dict[str, Any] | None:
    return node.store.get("Pod", namespace, name)


def phase(node: Node, name: str = "web", namespace: str = "default") -> str | None:
    found = pod(node, name, namespace)
    return None if found is None else str(found["status"]["phase"])


def trouble(node: Node, name: str = "web") -> str | None:
    found = pod(node, name)
    assert found is not None
    reasons = [item["reason"] for item in found["status"]["conditions"] if item["type"] == "ManifestValid"]
    return reasons[0] if reasons else None


def events(node: Node) -> list[tuple[str, str]]:
    return [(item["involvedObject"]["name"], item["reason"]) for item in node.list("Event").items]


async def apply(node: Node, text: str, namespace: str = "default", dry_run: bool = False) -> list[tuple[str, str]]:
    outcome = await node.apply(
        text.encode(), source="given.yaml", base_dir="/base", namespace=namespace, dry_run=dry_run
    )
    assert not outcome.problems
    return [(item.name, item.result) for item in outcome.items]


async def refused(call: Any) -> ServiceError:
    with pytest.raises(ServiceError) as caught:
        await call
    return caught.value


# -- the directory


async def test_a_dropped_file_runs_an_edit_is_carried_out_and_its_removal_removes(machine: Machine) -> None:
    async with machine.node() as node:
        path = machine.manifests / "web.yaml"
        path.write_text(WEB)
        await until(lambda: phase(node) == "Running")
        path.write_text(WEB_2)
        await until(lambda: machine.runtime.calls.count(("start", "app")) == 2)
        path.unlink()
        await until(lambda: pod(node) is None)
        assert machine.running == []
        assert list(machine.paths.pods.iterdir()) == []


async def test_a_broken_edit_leaves_the_pod_and_says_so_until_it_is_mended(machine: Machine) -> None:
    async with machine.node() as node:
        path = machine.manifests / "web.yaml"
        path.write_text(WEB)
        await until(lambda: phase(node) == "Running")
        for broken in (with_typo(WEB), "a: ["):
            path.write_text(broken)
            await until(lambda: trouble(node) == "InvalidManifest")
            path.write_text(WEB)
            await until(lambda: trouble(node) is None)
        path.write_text(with_typo(WEB))
        await until(lambda: trouble(node) == "InvalidManifest")
        assert machine.runtime.calls.count(("start", "app")) == 1
        assert ("web", "InvalidManifest") in events(node)
    async with machine.node() as node:
        assert trouble(node) == "InvalidManifest"
        assert machine.running == ["app"]


async def test_a_pod_that_never_ran_is_shown_with_its_problem(machine: Machine) -> None:
    (machine.manifests / "web.yaml").write_text(with_typo(WEB))
    (machine.manifests / "bad.yaml").write_text("a: [")
    async with machine.node() as node:
        await until(lambda: pod(node) is not None and pod(node, "bad.yaml") is not None)
        assert (trouble(node), trouble(node, "bad.yaml")) == ("InvalidManifest", "InvalidManifest")
        assert {("web", "InvalidManifest"), ("bad.yaml", "InvalidManifest")} <= set(events(node))
        assert (await refused(_logs(node))).code == 400
        (machine.manifests / "web.yaml").write_text(WEB)
        (machine.manifests / "bad.yaml").unlink()
        await until(lambda: phase(node) == "Running" and pod(node, "bad.yaml") is None)


async def test_two_files_that_claim_a_pod_are_a_conflict_and_the_second_takes_over_in_place(machine: Machine) -> None:
    async with machine.node() as node:
        (machine.manifests / "b.yaml").write_text(WEB)
        await until(lambda: phase(node) == "Running")
        (machine.manifests / "a.yaml").write_text(WEB)
        await until(lambda: trouble(node) == "Conflict")
    async with machine.node() as node:
        assert trouble(node) == "Conflict"
        (machine.manifests / "b.yaml").unlink()
        await until(lambda: trouble(node) is None)
        await node.queue.idle()
        assert node.pods["default/web"].observed.source == str(machine.manifests / "a.yaml")
        assert machine.runtime.calls.count(("start", "app")) == 1


async def test_a_directory_that_vanishes_stops_nothing_and_goes_on(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "POLL", 0.02)
    async with machine.node() as node:
        (machine.manifests / "web.yaml").write_text(WEB)
        await until(lambda: phase(node) == "Running")
        away = machine.manifests.with_name("away")
        machine.manifests.rename(away)
        await until(lambda: trouble(node) == "ManifestsLost")
        assert (await refused(apply(node, WEB_2))).code == 503
        assert (await refused(node.delete_pod("default", "web", None))).code == 503
    async with machine.node() as node:
        assert machine.running == ["app"]
        away.rename(machine.manifests)
        await until(lambda: trouble(node) is None)
        (machine.manifests / "web.yaml").unlink()
        await until(lambda: pod(node) is None)


async def test_a_file_that_is_being_written_is_not_taken_for_a_wish(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "UNSETTLED", 0.01)
    path = machine.manifests / "web.yaml"
    path.write_text(WEB)
    async with machine.node() as node:
        with path.open("w") as file:
            (machine.manifests / "db.yaml").write_text(pod_yaml("db"))
            await until(lambda: phase(node, "db") == "Running")
            assert phase(node) == "Running"
            file.write(WEB + "# the same\n")
        await until(lambda: not node._directory.unsettled)
        await node.queue.idle()
        assert machine.runtime.calls.count(("start", "app")) == 2, "web once, db once"


async def test_a_container_that_ends_is_started_again_and_counted(machine: Machine) -> None:
    (machine.manifests / "web.yaml").write_text(WEB)
    async with machine.node() as node:
        for count in (1, 2, 3):
            await until(lambda: machine.running == ["app"])
            machine.runtime.end("app", 1)
            await until(lambda count=count: _restarts(node) == count)  # type: ignore[misc]
    async with machine.node() as node:
        await until(lambda: phase(node) == "Running")
        assert _restarts(node) == 3


async def test_an_exit_while_another_pod_is_adopted_harms_nothing(machine: Machine) -> None:
    for name in ("a", "b"):
        (machine.manifests / f"{name}.yaml").write_text(pod_yaml(name))
    async with machine.node() as node:
        uids = {record.key: record.observed.uid for record in node.pods}
    looked = 0

    def boundary(where: str) -> None:
        nonlocal looked
        looked += where == "before inspect"
        if where == "before inspect" and looked == 2:
            machine.runtime.end("app", 1)

    machine.runtime.boundary = boundary
    async with machine.node() as node:
        await until(lambda: machine.running == ["app", "app"])
        assert {record.key: record.observed.uid for record in node.pods} == uids
        counts = sorted(record.container("app").restart_count for record in node.pods)
        assert counts == [0, 1]


def _restarts(node: Node) -> int:
    found = pod(node)
    assert found is not None
    return int(found["status"]["containerStatuses"][0]["restartCount"])


# -- writes


async def test_apply_runs_edits_and_is_idempotent(machine: Machine) -> None:
    async with machine.node() as node:
        assert await apply(node, WEB, dry_run=True) == [("web", "created")]
        assert pod(node) is None
        assert await apply(node, WEB) == [("web", "created")]
        await until(lambda: phase(node) == "Running")
        assert await apply(node, WEB) == [("web", "unchanged")]
        assert await apply(node, WEB_2) == [("web", "configured")]
        await until(lambda: machine.runtime.calls.count(("start", "app")) == 2)


async def test_apply_sees_the_directory_as_it_is_now(machine: Machine) -> None:
    async with machine.node() as node:
        (machine.manifests / "all.yaml").write_text(WEB)
        assert await apply(node, WEB) == [("web", "unchanged")]


async def test_pods_of_two_namespaces_are_two_pods(machine: Machine) -> None:
    async with machine.node() as node:
        await apply(node, WEB)
        await apply(node, WEB, namespace="prod")
        await until(lambda: (phase(node), phase(node, namespace="prod")) == ("Running", "Running"))
        assert [item["metadata"]["name"] for item in node.list("Namespace").items] == ["default", "prod"]
        await node.delete_pod("prod", "web", None)
        await until(lambda: pod(node, namespace="prod") is None)
        assert phase(node) == "Running"


async def test_a_full_disk_is_said_and_changes_nothing(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    async with machine.node() as node:
        await apply(node, WEB)
        await until(lambda: phase(node) == "Running")
        monkeypatch.setattr(os, "fsync", full)
        error = await refused(apply(node, WEB_2))
        assert (error.code, "No space left" in error.message) == (507, True)
        assert [item.name for item in machine.manifests.iterdir()] == ["web.yaml"]
        assert phase(node) == "Running"


async def test_deleting_returns_the_pod_as_it_was_and_removes_it(machine: Machine) -> None:
    async with machine.node() as node:
        await apply(node, WEB)
        await until(lambda: phase(node) == "Running")
        before = await node.delete_pod("default", "web", None, dry_run=True)
        assert (before["metadata"]["name"], phase(node)) == ("web", "Running")
        before = await node.delete_pod("default", "web", None)
        assert before["status"]["phase"] == "Running"
        await until(lambda: pod(node) is None)
        assert list(machine.manifests.iterdir()) == []
        assert (await refused(node.delete_pod("default", "web", None))).code == 404


async def test_a_second_delete_can_shorten_the_grace_and_never_lengthen_it(machine: Machine) -> None:
    machine.runtime.obeys_term = False
    async with machine.node() as node:
        await apply(node, WEB)
        await until(lambda: phase(node) == "Running")
        for grace, kept in ((None, None), (20.0, 20.0), (25.0, 20.0)):
            await node.delete_pod("default", "web", grace)
            await node.queue.idle()
            assert node.pods["default/web"].observed.grace_override == kept
            assert machine.running == ["app"]
        await node.delete_pod("default", "web", 0)
        await until(lambda: pod(node) is None)
        assert machine.runtime.calls.count(("kill", "app")) == 1


async def test_a_pod_with_a_broken_manifest_is_deleted_by_its_name(machine: Machine) -> None:
    async with machine.node() as node:
        await apply(node, WEB)
        await until(lambda: phase(node) == "Running")
        (machine.manifests / "web.yaml").write_text(with_typo(WEB))
        (machine.manifests / "never.yaml").write_text(with_typo(pod_yaml("never")))
        await until(lambda: trouble(node) == "InvalidManifest" and pod(node, "never"))
        await node.delete_pod("default", "web", None)
        await node.delete_pod("default", "never", None)
        await until(lambda: pod(node) is None and pod(node, "never") is None)
        assert list(machine.manifests.iterdir()) == []


async def test_what_cannot_be_cut_out_of_a_broken_file_is_refused_with_the_files_name(machine: Machine) -> None:
    async with machine.node() as node:
        await apply(node, WEB)
        await until(lambda: phase(node) == "Running")
        (machine.manifests / "web.yaml").write_text("a: [")
        (machine.manifests / "bad.yaml").write_text("a: [")
        await until(lambda: trouble(node) == "InvalidManifest" and pod(node, "bad.yaml"))
        for name, file in (("web", "web.yaml"), ("bad.yaml", "bad.yaml")):
            error = await refused(node.delete_pod("default", name, None))
            assert (error.code, error.reason) == (409, "Conflict")
            assert str(machine.manifests / file) in error.message
        assert phase(node) == "Running"


async def test_documents_are_deleted_with_a_word_for_each(machine: Machine) -> None:
    given = WEB + "---\n" + pod_yaml("db") + "---\napiVersion: v1\nkind: Service\nmetadata: {name: s}\n"
    async with machine.node() as node:
        await apply(node, WEB)
        outcome = await node.delete_documents(
            given.encode(), source="given.yaml", namespace="default", grace=None, dry_run=False
        )
        assert [(item.name, item.result) for item in outcome.items] == [
            ("web", "deleted"),
            ("db", "not found"),
            ("s", "skipped"),
        ]
        await until(lambda: pod(node) is None)


async def test_a_document_that_cannot_be_deleted_keeps_no_other_from_it(machine: Machine) -> None:
    async with machine.node() as node:
        await apply(node, WEB)
        await apply(node, pod_yaml("db"))
        await until(lambda: (phase(node), phase(node, "db")) == ("Running", "Running"))
        (machine.manifests / "web.yaml").write_text("a: [")
        await until(lambda: trouble(node) == "InvalidManifest")
        other = pod_yaml("other", meta="  namespace: test\n")
        for namespace, given, deleted in (("default", f"{WEB}---\n{pod_yaml('db')}", ["db"]), ("prod", other, [])):
            outcome = await node.delete_documents(
                given.encode(), source="given.yaml", namespace=namespace, grace=None, dry_run=False
            )
            assert [item.name for item in outcome.items] == deleted
            assert [problem.source for problem in outcome.problems] == ["given.yaml"]
        await until(lambda: pod(node, "db") is None)
        assert phase(node) == "Running"


# -- reading


async def test_a_watch_sees_a_pod_come_change_and_go(machine: Machine) -> None:
    async with machine.node() as node:
        seen: list[str] = []

        async def follow() -> None:
            async for event in node.watch("Pod", "default", None):
                seen.append(event.type)

        task = asyncio.create_task(follow())
        await apply(node, WEB)
        await until(lambda: phase(node) == "Running")
        await node.delete_pod("default", "web", None)
        await until(lambda: seen[-1:] == ["DELETED"])
        assert seen[0] == "ADDED"
        assert set(seen[1:-1]) <= {"MODIFIED"}
    await task  # the node's end ends it


async def test_what_is_not_there_is_not_found(machine: Machine) -> None:
    async with machine.node() as node:
        with pytest.raises(ServiceError, match='pods "web" not found') as caught:
            node.get("Pod", "default", "web")
        assert (caught.value.code, caught.value.reason) == (404, "NotFound")
        assert node.get("Node", "", node.name)["kind"] == "Node"
        assert (await refused(_logs(node))).code == 404


async def _logs(node: Node, container: str | None = None, previous: bool = False) -> list[Path]:
    return list(node.log_files("default", "web", container, previous).files)


async def test_logs_are_those_of_the_run_the_oldest_file_first(machine: Machine) -> None:
    async with machine.node() as node:
        await apply(node, WEB)
        await until(lambda: phase(node) == "Running")
        record = node.pods["default/web"]
        path = Path(log_path(machine.paths, record, "app", record.bundles["app"]))
        path.parent.mkdir(parents=True)
        for suffix in ("", ".1", ".2", ".10", ".new"):
            path.with_name(path.name + suffix).touch()
        assert [item.name for item in await _logs(node)] == ["0.log.10", "0.log.2", "0.log.1", "0.log"]
        assert node.log_files("default", "web", None, False).running
        error = await refused(_logs(node, previous=True))
        assert (error.code, error.message) == (400, 'previous terminated container "app" in pod "web" not found')
        error = await refused(_logs(node, "nope"))
        assert (error.code, error.message) == (400, "container nope is not valid for pod web")
        machine.runtime.end("app", 1)
        await until(lambda: _restarts(node) == 1)
        assert (await _logs(node))[-1].name == "1.log"
        assert (await _logs(node, previous=True))[-1].name == "0.log"
        assert not node.log_files("default", "web", None, True).running


async def test_exec_into_what_does_not_run_is_refused(machine: Machine) -> None:
    async with machine.node() as node:
        await apply(node, pod_yaml("web", extra="  restartPolicy: Never\n"))
        await until(lambda: phase(node) == "Running")
        for container, command, code in (("nope", ["true"], 400), ("app", [], 400), ("app", ["true"], 500)):
            call = node.exec("default", "web", container, command, tty=False, stdin=False)
            assert (await refused(call)).code == code
        machine.runtime.end("app", 1)
        await until(lambda: phase(node) == "Failed")
        error = await refused(node.exec("default", "web", None, ["true"], tty=False, stdin=False))
        assert (error.code, error.message) == (400, "container app of pod web is not running")
