"""A NodeService in memory, for the tests of the API: objects in a dict, logs in the test's files, exec on this host."""

from __future__ import annotations

import asyncio
import os
import pty
import signal
import subprocess
import termios
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Literal

import yaml

from minikube_lite.node.service import (
    ApplyItem,
    ApplyOutcome,
    ExecSession,
    Json,
    Kind,
    LogFiles,
    ObjectList,
    ServiceError,
    Watched,
    WatchEvent,
)
from minikube_lite.spec.configs import ConfigKind
from minikube_lite.spec.problems import Problem


def make_pod(name: str = "web", namespace: str = "default", **changes: Any) -> Json:
    """A healthy pod of one container."""
    pod: Json = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "uid": f"uid-{name}",
            "creationTimestamp": "2024-05-01T12:00:00Z",
            "labels": {"app": name},
        },
        "spec": {"containers": [{"name": "app", "image": "host"}], "nodeName": "box", "restartPolicy": "Always"},
        "status": {
            "phase": "Running",
            "podIP": "10.0.0.1",
            "conditions": [{"type": "Ready", "status": "True"}],
            "containerStatuses": [
                {
                    "name": "app",
                    "ready": True,
                    "restartCount": 0,
                    "image": "host",
                    "imageID": "",
                    "state": {"running": {"startedAt": "2024-05-01T12:00:01Z"}},
                }
            ],
        },
    }
    for key, value in changes.items():
        pod[key] = pod[key] | value
    return pod


def make_event(name: str = "web.1", reason: str = "Started", about: str = "web", **changes: Any) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": name, "namespace": "default", "creationTimestamp": "2024-05-01T12:00:00Z"},
        "involvedObject": {
            "apiVersion": "v1",
            "kind": "Pod",
            "namespace": "default",
            "name": about,
            "uid": f"uid-{about}",
        },
        "reason": reason,
        "message": "Started container app",
        "type": "Normal",
        "source": {"component": "minikube-lite", "host": "box"},
        "firstTimestamp": "2024-05-01T12:00:00Z",
        "lastTimestamp": "2024-05-01T12:01:00Z",
        "count": 3,
        **changes,
    }


def make_config(kind: str = "ConfigMap", name: str = "conf", namespace: str = "default", **changes: Any) -> Json:
    """A ConfigMap or a Secret, as the node gives it out."""
    config: Json = {
        "apiVersion": "v1",
        "kind": kind,
        "metadata": {
            "name": name,
            "namespace": namespace,
            "uid": f"uid-{name}",
            "creationTimestamp": "2024-05-01T12:00:00Z",
        },
        "data": {"port": "8080"} if kind == "ConfigMap" else {"password": "aHVudGVyMg=="},
    }
    if kind == "Secret":
        config["type"] = "Opaque"
    for key, value in changes.items():
        config[key] = config[key] | value if isinstance(config.get(key), dict) else value
    return config


class FakeNode:
    """See `service.NodeService`."""

    version = "0.1.0"

    def __init__(self) -> None:
        self.revision = 100
        self.oldest = 100
        self.objects: dict[tuple[str, str, str], Json] = {}
        self.history: list[tuple[int, str, WatchEvent]] = []
        self.changed = asyncio.Condition()
        self.watchers = 0
        self.logs: dict[tuple[str, str | None, bool], LogFiles] = {}
        self.sessions: list[HostExec] = []
        self.calls: list[tuple[str, dict[str, Any]]] = []
        """What was asked of `apply`, `delete_documents`, `delete_pod` and `exec`."""
        self.problems: tuple[Problem, ...] = ()
        """What the next `apply` finds wrong."""
        self.warnings: tuple[str, ...] = ()
        self.add("Node", {"metadata": {"name": "box", "creationTimestamp": "2024-05-01T12:00:00Z"}, "status": {}})
        self.add("Namespace", {"metadata": {"name": "default", "creationTimestamp": "2024-05-01T12:00:00Z"}})

    # -- what a test does to it --------------------------------------------------------------------------------------

    def add(self, kind: Kind, item: Json) -> None:
        """Put an object there, or in the place of the one that is."""
        key = _key(kind, item)
        self._tell(kind, "MODIFIED" if key in self.objects else "ADDED", item)
        self.objects[key] = item

    def remove(self, kind: Kind, namespace: str, name: str) -> None:
        item = self.objects.pop((kind, namespace, name))
        self._tell(kind, "DELETED", {**item, "metadata": dict(item["metadata"])})

    def _tell(self, kind: Kind, type_: Literal["ADDED", "MODIFIED", "DELETED"], item: Json) -> None:
        self.revision += 1
        item["metadata"]["resourceVersion"] = str(self.revision)
        self.history.append((self.revision, kind, WatchEvent(type_, item)))
        self._wake()

    def _wake(self) -> None:
        async def wake() -> None:
            async with self.changed:
                self.changed.notify_all()

        try:
            self._waker = asyncio.get_running_loop().create_task(wake())
        except RuntimeError:
            pass  # no loop yet: nobody waits

    # -- the service -------------------------------------------------------------------------------------------------

    def list(self, kind: Kind, namespace: str | None = None) -> ObjectList:
        found = [item for (k, ns, _), item in sorted(self.objects.items()) if k == kind and namespace in (None, ns)]
        return ObjectList(found, self.revision)

    def get(self, kind: Kind, namespace: str, name: str) -> Json:
        try:
            return self.objects[kind, namespace, name]
        except KeyError:
            raise ServiceError(404, "NotFound", f'{kind.lower()}s "{name}" not found') from None

    async def watch(self, kind: Watched, namespace: str | None, since: int | None) -> AsyncIterator[WatchEvent]:
        if since is None:
            for item in self.list(kind, namespace).items:
                yield WatchEvent("ADDED", item)
            since = self.revision
        if since < self.oldest:
            raise ServiceError(410, "Expired", f"too old resource version: {since} ({self.oldest})")
        self.watchers += 1
        try:
            while True:
                for revision, k, event in list(self.history):
                    if revision > since and k == kind and namespace in (None, event.object["metadata"]["namespace"]):
                        since = revision
                        yield event
                async with self.changed:
                    await self.changed.wait_for(lambda since=since: self.revision > since)
                    since_now = [r for r, k, _ in self.history if r > since and k == kind]
                if not since_now:
                    since = self.revision
        finally:
            self.watchers -= 1

    async def apply(
        self, data: bytes, *, source: str, base_dir: str, namespace: str, dry_run: bool, create: bool = False
    ) -> ApplyOutcome:
        self.calls.append(
            (
                "create" if create else "apply",
                {"data": data, "source": source, "base_dir": base_dir, "namespace": namespace, "dry": dry_run},
            )
        )
        if self.problems:
            return ApplyOutcome(problems=self.problems)
        items = []
        for document in yaml.safe_load_all(data):
            metadata = {"namespace": namespace, **document["metadata"]}
            kind = document["kind"]
            key = (kind, metadata["namespace"], metadata["name"])
            there = key in self.objects
            if create and there:
                items.append(ApplyItem(kind, key[1], key[2], "exists"))
                continue
            items.append(ApplyItem(kind, key[1], key[2], "configured" if there else "created", self.warnings))
            if not dry_run:
                pod = make_pod(key[2], key[1]) if kind == "Pod" else make_config(kind, key[2], key[1])
                self.add(kind, pod | document | {"metadata": pod["metadata"] | metadata})
        return ApplyOutcome(tuple(items))

    async def delete_documents(
        self, data: bytes, *, source: str, namespace: str, grace: float | None, dry_run: bool
    ) -> ApplyOutcome:
        self.calls.append(("delete_documents", {"data": data, "grace": grace, "dry": dry_run, "namespace": namespace}))
        items = []
        for document in yaml.safe_load_all(data):
            name = document["metadata"]["name"]
            kind = document["kind"]
            there = (kind, namespace, name) in self.objects
            if there and not dry_run:
                self.remove(kind, namespace, name)
            items.append(ApplyItem(kind, namespace, name, "deleted" if there else "not found"))
        return ApplyOutcome(tuple(items))

    async def delete_pod(self, namespace: str, name: str, grace: float | None, dry_run: bool = False) -> Json:
        self.calls.append(("delete_pod", {"name": name, "grace": grace, "dry": dry_run}))
        pod = self.get("Pod", namespace, name)
        if not dry_run:
            self.remove("Pod", namespace, name)
        return pod

    async def delete_config(self, kind: ConfigKind, namespace: str, name: str, dry_run: bool = False) -> Json:
        self.calls.append(("delete_config", {"kind": kind, "name": name, "dry": dry_run}))
        config = self.get(kind, namespace, name)
        if not dry_run:
            self.remove(kind, namespace, name)
        return config

    async def delete_claim(self, namespace: str, name: str, dry_run: bool = False) -> Json:
        self.calls.append(("delete_claim", {"name": name, "dry": dry_run}))
        claim = self.get("PersistentVolumeClaim", namespace, name)
        if not dry_run:
            self.remove("PersistentVolumeClaim", namespace, name)
        return claim

    def log_files(self, namespace: str, name: str, container: str | None, previous: bool) -> LogFiles:
        self.get("Pod", namespace, name)
        try:
            return self.logs[name, container, previous]
        except KeyError:
            raise ServiceError(400, "BadRequest", f"container {container} is not valid for pod {name}") from None

    async def exec(
        self, namespace: str, name: str, container: str | None, command: Any, *, tty: bool, stdin: bool
    ) -> ExecSession:
        self.get("Pod", namespace, name)
        self.calls.append(("exec", {"container": container, "command": command, "tty": tty, "stdin": stdin}))
        if container not in (None, "app"):
            raise ServiceError(400, "BadRequest", f"container {container} is not valid for pod {name}")
        session = HostExec(command, tty=tty, stdin=stdin)
        self.sessions.append(session)
        return session


class HostExec:
    """A command on this host, as `service.ExecSession`."""

    def __init__(self, command: list[str], *, tty: bool, stdin: bool) -> None:
        self.size: tuple[int, int] | None = None
        self.closed = 0
        self.stdin: int | None
        self.stdout: int | None
        self.stderr: int | None
        if tty:
            terminal, end = pty.openpty()
            self.process = subprocess.Popen(
                ["setsid", "-c", *command], stdin=end, stdout=end, stderr=end, start_new_session=True
            )
            os.close(end)
            self.stdin, self.stdout, self.stderr = terminal, terminal, None
        else:
            in_r, in_w = os.pipe() if stdin else (os.open("/dev/null", os.O_RDONLY), None)
            out_r, out_w = os.pipe()
            err_r, err_w = os.pipe()
            self.process = subprocess.Popen(command, stdin=in_r, stdout=out_w, stderr=err_w, start_new_session=True)
            for descriptor in (in_r, out_w, err_w):
                os.close(descriptor)
            self.stdin, self.stdout, self.stderr = in_w, out_r, err_r
        for descriptor in {self.stdin, self.stdout, self.stderr} - {None}:
            os.set_blocking(descriptor, False)
        self.pidfd = os.pidfd_open(self.process.pid)
        self.ended = asyncio.Event()
        asyncio.get_running_loop().add_reader(self.pidfd, self._reap)

    def _reap(self) -> None:
        asyncio.get_running_loop().remove_reader(self.pidfd)
        code = self.process.wait()
        self.code = 128 - code if code < 0 else code
        self.ended.set()

    def resize(self, rows: int, columns: int) -> None:
        self.size = (rows, columns)
        if self.stdout is not None:
            termios.tcsetwinsize(self.stdout, (rows, columns))

    async def wait(self) -> int:
        await self.ended.wait()
        return self.code

    async def close(self) -> None:
        self.closed += 1
        if self.closed > 1:
            return
        if not self.ended.is_set():
            os.killpg(self.process.pid, signal.SIGKILL)
            await self.ended.wait()
        for descriptor in {self.stdin, self.stdout, self.stderr, self.pidfd} - {None}:
            os.close(descriptor)


def log_file(path: Path, *records: str) -> Path:
    """A CRI log: each record is `stdout F text`; the times are one second apart, from 2024-05-01T12:00:00Z."""
    lines = [f"2024-05-01T12:00:{second:02}.5Z {record}\n" for second, record in enumerate(records)]
    path.write_text("".join(lines))
    return path


def _key(kind: Kind, item: Json) -> tuple[str, str, str]:
    return kind, item["metadata"].get("namespace", ""), item["metadata"]["name"]
