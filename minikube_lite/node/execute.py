"""Brings one pod to where it should be. `node.queue` calls `Executor.work(key)`; what it hands on is done by `Runtime`.

Decide once, act, look again: each pass asks `core.plan` and carries out what it says, in order. What must outlive the
node is recorded before it is done. A failure of the world is recorded too, and the next pass decides when to try again.
"""

from __future__ import annotations

import asyncio
import signal
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace

import structlog

from minikube_lite.core import backoff, hashes
from minikube_lite.core.model import (
    AcceptSpec,
    Action,
    BeginTermination,
    CreatePod,
    CreateSandbox,
    Exit,
    Failure,
    ForgetContainer,
    ImageState,
    KillContainer,
    PodDesired,
    PodObserved,
    Policy,
    PullImage,
    RemovePod,
    SandboxObserved,
    SetUpVolumes,
    StartContainer,
    Stop,
    StopContainer,
    Termination,
    UpdateResources,
)
from minikube_lite.core.plan import plan
from minikube_lite.core.pulling import asks_anew
from minikube_lite.images.store import Image
from minikube_lite.node import image_config
from minikube_lite.node.clock import boottime, wall
from minikube_lite.node.images import PodImages
from minikube_lite.node.log_tail import last_lines
from minikube_lite.node.paths import Paths
from minikube_lite.node.pods import Pods
from minikube_lite.node.records import PodRecord
from minikube_lite.node.reporter import Reporter
from minikube_lite.node.runtime import Runtime, RuntimeFailure
from minikube_lite.node.volume_work import VolumeWork

log = structlog.get_logger(__name__)

MAX_PASSES = 50
"""A plan that has not settled after so many passes is a bug of ours: said, and tried again later."""
RETRY = 5.0
"""Seconds until a key is looked at again after the world failed in a way that no record holds (a full disk)."""


class Executor:
    """Carries plans out, one pod at a time; `desired(key)` is what the directory asks for."""

    def __init__(
        self,
        paths: Paths,
        pods: Pods,
        runtime: Runtime,
        images: PodImages,
        report: Reporter,
        policy: Policy,
        desired: Callable[[str], PodDesired | None],
        again: Callable[[str], None],
        wake: Callable[[str, float | None], None],
        publish: Callable[[str], None],
        boot_id: str,
    ) -> None:
        self._paths = paths
        self._pods = pods
        self._runtime = runtime
        self._images = images
        self._report = report
        self._policy = policy
        self._desired = desired
        self._again = again
        self._wake = wake
        self._publish = publish
        self._boot_id = boot_id
        self._volumes = VolumeWork(paths, pods, runtime, report, again, images.bring_for_volumes)
        runtime.on_exit = self.container_exited
        runtime.on_sandbox_lost = self.sandbox_lost

    async def work(self, key: str) -> None:
        """Pass after pass until nothing is left to do now. Never raises for a failure of the world or of the user."""
        try:
            for _ in range(MAX_PASSES):
                record = self._pods.get(key)
                desired = self._desired(key)
                decided = plan(desired, None if record is None else record.observed, boottime(), self._policy)
                if not decided.actions:
                    self._pods.flush(key)
                    self._wake(key, decided.wake_at)
                    break
                await self._carry_out(key, desired, decided.actions)
                self._publish(key)
            else:
                log.error("plan_did_not_settle", pod=key)
                self._wake(key, boottime() + RETRY)
        except OSError as error:
            self._report.world_failed(key, self._pods.get(key), error)
            self._wake(key, boottime() + RETRY)
        except Exception:
            log.exception("pod_worker_failed", pod=key)
            self._wake(key, boottime() + RETRY)
        self._publish(key)

    async def _carry_out(self, key: str, desired: PodDesired | None, actions: Sequence[Action]) -> None:
        """One after the other; only volumes and images may come in while the launcher makes the sandbox."""
        making: asyncio.Task[None] | None = None
        try:
            for action in actions:
                if isinstance(action, CreateSandbox):
                    making = asyncio.get_running_loop().create_task(self._create_sandbox(key))
                    await asyncio.sleep(0)  # let the request go out first
                    continue
                if making is not None and not isinstance(action, PullImage | SetUpVolumes):
                    await making
                await self._do(key, desired, action)
        finally:
            if making is not None:
                await making

    async def _do(self, key: str, desired: PodDesired | None, action: Action) -> None:
        match action:
            case CreatePod():
                assert desired is not None
                await self._create_pod(desired)
            case AcceptSpec():
                assert desired is not None
                self._accept(key, desired)
            case SetUpVolumes():
                await self._volumes.set_up(key, 0 if desired is None else desired.inputs)
            case PullImage(container):
                self._images.pull(key, container, 0 if desired is None else desired.inputs)
            case StartContainer():
                await self._start(key, action)
            case StopContainer():
                self._stop(key, action)
            case KillContainer(container, reason):
                await self._kill(key, container, reason)
            case UpdateResources(container):
                await self._update_resources(key, container)
            case ForgetContainer(container):
                await self._forget(key, container)
            case BeginTermination(deadline, reason):
                record = self._pods[key]
                termination = Termination(boottime(), deadline, reason, wall())
                self._pods.keep(record.with_(termination=termination))
            case RemovePod(reason):
                await self._remove_pod(key, reason)

    async def _create_pod(self, desired: PodDesired) -> None:
        pod = desired.pod
        uid = str(uuid.uuid4())
        observed = PodObserved(uid=uid, pod=pod, source=desired.source, created_wall=wall())
        # Nothing of it runs yet: if the node dies before the first start, the pod is created anew, and what there is
        # of a sandbox is swept as nobody's.
        self._pods.defer(PodRecord(observed, boot_id=self._boot_id), spec=True)
        log.info("pod_created", pod=pod.key, uid=uid, source=desired.source)

    def _accept(self, key: str, desired: PodDesired) -> None:
        record = self._pods[key]
        generation = record.observed.generation + (desired.pod.spec != record.observed.pod.spec)
        accepted = record.with_(pod=desired.pod, source=desired.source, generation=generation)
        if desired.pod.spec.volumes:  # they may show a label, or a limit
            accepted = self._volumes.changed(accepted)
        self._pods.save(accepted, spec=True)
        log.info("pod_configured", pod=key, source=desired.source)

    async def _create_sandbox(self, key: str) -> None:
        record = self._pods[key]
        try:
            warnings = await self._runtime.create_sandbox(record)
        except RuntimeFailure as error:
            failure = _next_failure(record.observed.sandbox_failure, error.reason, error.message)
            self._pods.put(self._pods[key].with_(sandbox_failure=failure, sandbox=None))
            self._report.warning(record, error.reason, error.message)
            return
        pod = record.observed.pod
        sandbox = SandboxObserved(ready=True, hash=hashes.sandbox_hash(pod), resources=hashes.pod_resources_hash(pod))
        fresh = replace(self._pods[key].with_(sandbox=sandbox, sandbox_failure=None), boot_id=self._boot_id)
        self._pods.defer(fresh)
        for reason, warning in warnings:
            self._report.warning(record, reason, warning)

    async def _start(self, key: str, action: StartContainer) -> None:
        record = self._pods[key]
        uid, name = record.observed.uid, action.container
        bundle = f"{action.restart_count}-{uuid.uuid4().hex[:8]}"
        ready = await self._images.take(key, name, bundle)
        if ready is None:
            return
        image = ready.image
        record = self._pods[key]  # much may have happened meanwhile: another container may have exited
        spec = record.spec(name)
        seen = record.container(name)
        recorded = record.with_container(
            name,
            state="waiting",
            restart_count=action.restart_count,
            failures=action.failures,
            hash=hashes.container_hash(spec, record.observed.pod),
            resources=hashes.resources_hash(spec),
            exit=None,
            last_exit=seen.exit or seen.last_exit,
            stop=None,
            ever_started=True,
            image_id=ready.id,
            stop_signal=self._stop_signal(record, name, image),
            image_healthcheck=image_config.has_healthcheck(image.config),
        )
        old_bundle, older_bundle = record.bundles.get(name, ""), record.previous_bundles.get(name, "")
        if seen.state == "exited":
            keep = {**record.previous_bundles, name: old_bundle}
            recorded = replace(recorded, previous_bundles=keep)
        else:
            older_bundle, old_bundle = old_bundle, ""  # the run before this one never began: nothing to keep of it
        self._pods.save(replace(recorded, bundles={**record.bundles, name: bundle}))
        wanted = self._desired(key)
        inputs = 0 if wanted is None else wanted.inputs
        try:
            running = await self._runtime.start(self._pods[key], name, bundle, image)
        except RuntimeFailure as error:
            if error.reason == "StartError":  # the container was made, its command could not be: containerd's 128
                now = boottime()
                empty = await asyncio.to_thread(image_config.is_empty, image)
                message = f"{error.message} (the image is empty: it has no files)" if empty else error.message
                ended = Exit(128, reason="StartError", message=message, started_at=now, finished_at=now)
                self._pods.put(self._pods[key].with_container(name, create_failure=None))
                self.container_exited(uid, name, bundle, replace(ended, started_wall=wall(), finished_wall=wall()))
                self._pods.save(self._pods[key])  # no bundle remembers it
                await self._forget_older(record, name, old_bundle, older_bundle)
                return
            before = seen.create_failure if seen.hash == recorded.container(name).hash else None
            before = None if before is not None and before.inputs != inputs else before
            failure = replace(_next_failure(before, error.reason, error.message), inputs=inputs)
            back = self._pods[key].with_container(
                name,
                create_failure=failure,
                state=seen.state,
                exit=seen.exit,
                last_exit=seen.last_exit,
                restart_count=seen.restart_count,
                ever_started=seen.ever_started,
            )
            self._pods.save(replace(back, bundles=record.bundles, previous_bundles=record.previous_bundles))
            await self._forget_bundle(record, name, bundle, log=True)
            self._report.warning(record, "Failed", f"Error: {error.message}", name)
            return
        current = self._pods[key]
        if current.bundles.get(name) == bundle and current.container(name).state == "waiting":
            self._pods.put(
                current.with_container(
                    name,
                    state="running",
                    pid=running.pid,
                    started_at=running.started_at,
                    started_wall=running.started_wall,
                    create_failure=None,
                )
            )
        self._report.started(record, name, action, running.pid)
        for warning in running.warnings:
            self._report.warning(record, "NotEnforced", warning, name)
        await self._forget_older(record, name, old_bundle, older_bundle)

    def _stop_signal(self, record: PodRecord, container: str, image: Image) -> int:
        try:
            return image_config.stop_signal(image.config)
        except ValueError as error:
            self._report.warning(record, "NotHonoured", f"{error}: SIGTERM is sent instead", container)
            return int(signal.SIGTERM)

    async def _forget_older(self, record: PodRecord, name: str, old: str, older: str) -> None:
        """Of the run before only the log is kept, of the one before that nothing."""
        if old:
            await self._forget_bundle(record, name, old, log=False)
        if older:
            await self._forget_bundle(record, name, older, log=True)

    async def _forget_bundle(self, record: PodRecord, name: str, bundle: str, log: bool) -> None:
        await self._runtime.forget_bundle(record, name, bundle, log)
        self._images.release(record.observed.uid, bundle)

    def container_exited(self, uid: str, name: str, bundle: str, ended: Exit) -> None:
        """A run is over: remember how, and look at the pod again. Called by the runtime, in the loop."""
        record = self._pods.by_uid(uid)
        if record is None or record.bundles.get(name) != bundle:
            return
        seen = record.container(name)
        if seen.state == "exited":
            return
        lines = last_lines(self._paths, record, name, bundle) if ended.code else ()
        ended = replace(ended, message=ended.message or "\n".join(lines))
        # The next start asks the registry again, as the kubelet does, where its policy says so.
        asks = any(item.name == name and asks_anew(item) for item in record.observed.pod.spec.containers)
        image: ImageState = "absent" if asks and seen.image == "ready" else seen.image
        self._pods.put(record.with_container(name, state="exited", exit=ended, pid=0, image=image))
        self._report.exited(record, name, ended, backoff.next_delay(seen.failures, ended, self._policy))
        self._publish(record.key)
        self._again(record.key)

    def sandbox_lost(self, uid: str) -> None:
        """The shared namespaces died: the plan makes them, and what ran in them, anew."""
        record = self._pods.by_uid(uid)
        if record is not None and record.observed.sandbox is not None:
            self._pods.put(record.with_(sandbox=replace(record.observed.sandbox, ready=False)))
            self._report.warning(record, "SandboxChanged", "Pod sandbox changed, it will be killed and re-created.")
            self._again(record.key)

    def _stop(self, key: str, action: StopContainer) -> None:
        record = self._pods[key]
        stop = Stop(boottime(), action.deadline, action.reason)
        self._pods.keep(record.with_container(action.container, stop=stop))
        self._runtime.signal(record, action.container, record.container(action.container).stop_signal)
        self._report.normal(
            record, "Killing", f"Stopping container {action.container}: {action.reason}", action.container
        )

    async def _kill(self, key: str, container: str, reason: str) -> None:
        record = self._pods[key]
        now = boottime()
        stop = record.container(container).stop or Stop(now, now, reason)
        self._pods.put(record.with_container(container, stop=stop))
        await self._runtime.kill(record, container)
        self._pods.put(self._pods[key].with_container(container, stop=replace(stop, killed=True)))

    async def _update_resources(self, key: str, container: str) -> None:
        record = self._pods[key]
        pod = record.observed.pod
        try:
            mismatches = await self._runtime.update_resources(record, container)
        except OSError as error:
            mismatches = (f"{error.strerror or error}",)
        current = self._pods[key]
        if container:
            self._pods.save(current.with_container(container, resources=hashes.resources_hash(record.spec(container))))
        elif current.observed.sandbox is not None:
            sandbox = replace(current.observed.sandbox, resources=hashes.pod_resources_hash(pod))
            self._pods.save(current.with_(sandbox=sandbox))
        for mismatch in mismatches:
            self._report.warning(record, "ResizeFailed", mismatch, container)
        if not mismatches:
            self._report.resized(record, container)

    async def _forget(self, key: str, container: str) -> None:
        record = self._pods[key]
        for bundles in (record.bundles, record.previous_bundles):
            if container in bundles:
                await self._forget_bundle(record, container, bundles[container], log=True)
        record = self._pods[key]
        left = {name: seen for name, seen in record.observed.containers.items() if name != container}
        self._images.forget(record.observed.uid, container)
        self._pods.save(
            replace(
                record.with_(containers=left),
                bundles={name: b for name, b in record.bundles.items() if name != container},
                previous_bundles={name: b for name, b in record.previous_bundles.items() if name != container},
            )
        )

    async def _remove_pod(self, key: str, reason: str) -> None:
        record = self._pods[key]
        await self._volumes.leave(record.observed.uid)
        await self._runtime.remove_pod(record)
        self._pods.drop(key)
        self._images.forget_pod(record)
        self._volumes.gone(record)
        log.info("pod_removed", pod=key, uid=record.observed.uid, reason=reason)

    async def close(self) -> None:
        """Stop what goes on in the background."""
        await self._images.close()
        await self._volumes.close()


def _next_failure(before: Failure | None, reason: str, message: str) -> Failure:
    return Failure(reason, message, boottime(), 1 if before is None else before.count + 1)
