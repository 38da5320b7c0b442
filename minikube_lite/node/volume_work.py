"""Has the pods' volumes set up, and remembers how it went. Called by node.execute; the work is done by the Runtime.

What takes long (an image that is pulled, a big volume that changes its group) goes on in the background, so that the
pod can be deleted meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

import structlog

from minikube_lite.core.model import Eviction, Failure, VolumesObserved
from minikube_lite.core.references import claims
from minikube_lite.node.clock import boottime, wall
from minikube_lite.node.paths import Paths
from minikube_lite.node.pods import Pods
from minikube_lite.node.records import PodRecord
from minikube_lite.node.reporter import Reporter
from minikube_lite.node.runtime import Runtime, RuntimeFailure
from minikube_lite.node.volume_usage import UsageWatch

log = structlog.get_logger(__name__)

PATIENCE = 0.2
"""Seconds that a worker waits for volumes before it lets them go on without it."""


class VolumeWork:
    """At most one set-up of a pod's volumes at a time; `again(key)` is called when a long one is done."""

    def __init__(
        self,
        paths: Paths,
        pods: Pods,
        runtime: Runtime,
        report: Reporter,
        again: Callable[[str], None],
        bring: Callable[[PodRecord], Coroutine[Any, Any, None]],
    ) -> None:
        """`bring` has the images of image volumes brought in; it raises RuntimeFailure, and may be cancelled."""
        self._usage = UsageWatch(paths, self._evict)
        self._pods = pods
        self._runtime = runtime
        self._report = report
        self._again = again
        self._bring = bring
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._bringing: dict[str, asyncio.Task[None]] = {}
        """By uid, as `_tasks`: the part of it that can be called off."""

    async def set_up(self, key: str, inputs: int) -> None:
        """Begin, and wait for a moment whether it is done; `inputs` as in `PodDesired`."""
        record = self._pods[key]
        uid = record.observed.uid
        if uid in self._tasks:
            return
        self._change(uid, busy=True, fresh=True, inputs=inputs)  # what changes from now on takes `fresh` back
        task = asyncio.get_running_loop().create_task(self._run(record, inputs))
        self._tasks[uid] = task
        await asyncio.wait((task,), timeout=PATIENCE)
        if task.done():
            task.result()  # raises what is a fault of ours
        else:
            task.add_done_callback(lambda done: self._done(key, done))

    def _done(self, key: str, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("volumes_not_set_up", pod=key, exc_info=error)
        self._again(key)

    async def _run(self, record: PodRecord, inputs: int) -> None:
        uid = record.observed.uid
        try:
            if not await self._brought(record):
                return
            warnings = await self._runtime.set_up_volumes(record)
        except RuntimeFailure as error:
            before = record.observed.volumes.failure
            count = 1 if before is None or before.inputs != inputs else before.count + 1
            failure = Failure(error.reason, error.message, boottime(), count, inputs)
            self._change(uid, fresh=False, failure=failure)
            for message in error.message.split("\n"):
                self._report.warning(record, error.reason, message)
        else:
            self._change(uid, ready=True, failure=None)
            self._usage.watch(record)
            for warning in warnings:
                self._report.warning(record, "FailedMount", warning)
        finally:
            del self._tasks[uid]
            self._change(uid, busy=False)

    async def _brought(self, record: PodRecord) -> bool:
        """Have what is to be mounted brought in, once; False where that was called off."""
        if record.observed.volumes.ready:
            return True
        uid = record.observed.uid
        task = self._bringing[uid] = asyncio.get_running_loop().create_task(self._bring(record))
        try:
            await asyncio.wait((task,))
            return not task.cancelled() and task.result() is None
        finally:
            del self._bringing[uid]

    def _change(self, uid: str, **changes: object) -> None:
        """In the record; that they are ready outlives the node."""
        record = self._pods.by_uid(uid)
        if record is not None:
            volumes: VolumesObserved = replace(record.observed.volumes, **changes)  # type: ignore[arg-type]
            put = self._pods.defer if volumes.ready != record.observed.volumes.ready else self._pods.put
            put(record.with_(volumes=volumes))

    def changed(self, record: PodRecord) -> PodRecord:
        """The record once something that its volumes show has changed: they are looked at again, without delay."""
        return record.with_(volumes=replace(record.observed.volumes, fresh=False, failure=None))

    def _evict(self, uid: str, why: str) -> None:
        """The pod has written more than it may: it ends here. On record first, or a new node would start it again."""
        record = self._pods.by_uid(uid)
        if record is None or record.observed.termination is not None:
            return
        log.warning("pod_evicted", pod=record.key, why=why)
        self._pods.keep(record.with_(evicted=Eviction(why, wall())))
        self._report.warning(record, "Evicted", why)
        self._again(record.key)

    async def leave(self, uid: str) -> None:
        """The pod goes: watch it no more, and wait until nothing is done to its volumes."""
        self._usage.forget(uid)
        if (bringing := self._bringing.get(uid)) is not None:
            bringing.cancel()
        if (task := self._tasks.get(uid)) is not None:
            await asyncio.wait((task,))

    def gone(self, record: PodRecord) -> None:
        """Nothing of the pod is left: its claims are free."""
        if used := claims(record.observed.pod):
            self._runtime.claims.pod_gone(record.observed.uid, used)

    async def close(self) -> None:
        """Let what is being done come to its end: a thread cannot be called off."""
        await self._usage.close()
        for bringing in self._bringing.values():
            bringing.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
