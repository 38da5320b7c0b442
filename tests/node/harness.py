"""An executor on a real state directory, a fake runtime and a clock that only tests turn; it can be killed and adopted.

`Life` is one machine: nodes come and go on it, the runtime, the disk and what the directory asks for stay.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from minikube_lite.core.model import ContainerObserved, Exit, PodDesired, Policy
from minikube_lite.node import adopt, execute, images, records
from minikube_lite.node.events import Events
from minikube_lite.node.execute import Executor
from minikube_lite.node.images import PodImages
from minikube_lite.node.paths import Paths
from minikube_lite.node.pods import Pods
from minikube_lite.node.records import PodRecord
from minikube_lite.node.reporter import Reporter
from minikube_lite.node.store import ObjectStore
from minikube_lite.spec.manifest import read_manifest
from tests.node import fakes
from tests.node.fakes import FakeImages, FakeRegistries, FakeRuntime, FakeSecret, NodeKilled

KEY = "default/web"
POLICY = Policy(backoff_initial=1.0, backoff_max=8.0, image_backoff_initial=2.0, image_backoff_max=8.0)
GRACE = 30.0
"""What a pod has that does not say."""


def wanted(*containers: dict[str, Any], source: str = "/m/web.yaml", **spec: Any) -> PodDesired:
    """The pod default/web, as its manifest would ask for it; `meta` goes to the metadata."""
    meta = {"name": "web", **spec.pop("meta", {})}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": meta,
        "spec": {"containers": list(containers) or [app()], **spec},
    }
    (document,) = read_manifest(json.dumps(pod).encode(), source).documents
    assert document.pod is not None, document.problems
    return PodDesired(document.pod, source)


def app(name: str = "app", **fields: Any) -> dict[str, Any]:
    return {"name": name, "image": "host", "command": ["sleep", "inf"], **fields}


class Life:
    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.paths = Paths(root)
        for directory in (self.paths.pods, self.paths.run / "pods", self.paths.logs):
            directory.mkdir(parents=True)
        self.now = 1000.0
        for module in (execute, adopt, images, fakes):
            monkeypatch.setattr(module, "boottime", lambda: self.now)
        self.runtime = FakeRuntime(self.paths)
        self.images = FakeImages()
        self.registries = FakeRegistries()
        self.secrets: dict[tuple[str, str], FakeSecret] = {}
        self.room: list[int] = []
        """Bytes that each try to make room on a full disk frees."""
        self.desired: dict[str, PodDesired] = {}
        self.boot_id = "boot-1"
        self.new_node()

    def new_node(self) -> None:
        """Another node that knows nothing yet."""
        self.store = ObjectStore()
        self.events = Events(self.store, self.paths.events, "node")
        self.pods = Pods(self.paths)
        self.news: list[str] = []
        self.wake: dict[str, float | None] = {}
        self.published = 0
        self.runtime.watched.clear()
        self.pod_images = PodImages(
            self.images,  # type: ignore[arg-type]
            self.registries,  # type: ignore[arg-type]
            self.pods,
            Reporter(self.events),
            POLICY,
            self.news.append,
            lambda namespace, name: self.secrets.get((namespace, name)),
            lambda: self.room.pop() if self.room else 0,
        )
        self.executor = Executor(
            self.paths,
            self.pods,
            self.runtime,
            self.pod_images,
            Reporter(self.events),
            POLICY,
            self.desired.get,
            self.news.append,
            self.wake.__setitem__,
            self._publish,
            self.boot_id,
        )

    def _publish(self, key: str) -> None:
        self.published += 1

    async def adopt(self) -> int:
        """The node is gone, another one takes over."""
        self.new_node()
        return await adopt.adopt(self.paths, self.pods, self.runtime, self.boot_id)

    async def reboot(self) -> int:
        """The machine starts anew: nothing runs, and CLOCK_BOOTTIME begins at 0."""
        self.now, self.boot_id = 10.0, self.boot_id + "+"
        self.runtime.sandboxes.clear()
        for run in self.runtime.running():
            run.exit = replace(Exit(137, reason="ContainerStatusUnknown"), started_at=1.0, finished_at=2.0)
        return await self.adopt()

    async def settle(self, key: str = KEY) -> None:
        """Work the key, and whatever has news, until nothing has."""
        await self.executor.work(key)
        for _ in range(100):
            await asyncio.sleep(0)
            if not self.news:
                return
            news, self.news[:] = list(self.news), []
            for item in dict.fromkeys(news):
                await self.executor.work(item)
        raise AssertionError("does not settle")

    async def want(self, desired: PodDesired | None) -> None:
        if desired is None:
            self.desired.pop(KEY, None)
        else:
            self.desired[KEY] = desired
        await self.settle()

    async def pass_time(self, seconds: float) -> None:
        """Let time go by, working the key whenever it asked for it."""
        end = self.now + seconds
        for _ in range(100):
            at = self.wake.get(KEY)
            if at is None or at > end:
                self.now = end
                return
            self.now = max(self.now, at)
            self.wake[KEY] = None
            await self.settle()
        raise AssertionError("wakes up for ever")

    @property
    def pod(self) -> PodRecord:
        return self.pods[KEY]

    def seen(self, container: str = "app") -> ContainerObserved:
        return self.pod.container(container)

    @property
    def running(self) -> list[str]:
        return sorted(run.container for run in self.runtime.running())

    def starts(self, container: str = "app") -> int:
        return self.runtime.calls.count(("start", container))

    def on_disk(self) -> PodRecord:
        (directory,) = self.paths.pods.iterdir()
        return records.load(directory)

    def said(self, reason: str) -> list[str]:
        """The messages of the events with this reason."""
        return [item["message"] for item in self.store.list("Event", None).items if item["reason"] == reason]


__all__ = ["GRACE", "KEY", "POLICY", "Life", "NodeKilled", "app", "wanted"]
