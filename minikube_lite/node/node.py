"""The node: wires directory, queue, executor, runtime and store together, and is what the API talks to.

`node.run` makes one and runs it. Every piece of news (a changed file, a container's end, a timer) only puts a key into
the queue; `node.execute` then looks at the whole pod.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from operator import itemgetter
from pathlib import Path
from typing import cast

import structlog

from minikube_lite import __version__
from minikube_lite.core.model import PodDesired, Policy
from minikube_lite.core.references import claims, references
from minikube_lite.images.registry.client import Registries
from minikube_lite.images.store import ImageStore
from minikube_lite.node import adopt
from minikube_lite.node.claims import Claims
from minikube_lite.node.clock import wall
from minikube_lite.node.configs import Configs
from minikube_lite.node.editing import Editor, namespace_problems
from minikube_lite.node.events import Events, timestamp
from minikube_lite.node.execute import Executor
from minikube_lite.node.facts import allocatable, node_name
from minikube_lite.node.image_gc import ImageCollector, Thresholds
from minikube_lite.node.images import PodImages
from minikube_lite.node.log_tail import log_path
from minikube_lite.node.manifests import ManifestDirectory, Snapshot
from minikube_lite.node.paths import Paths
from minikube_lite.node.pods import Pods
from minikube_lite.node.publish import Publisher, trouble_of
from minikube_lite.node.queue import KeyQueue
from minikube_lite.node.records import PodRecord
from minikube_lite.node.reporter import Reporter
from minikube_lite.node.runtime import Runtime, RuntimeFailure
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
from minikube_lite.node.store import ObjectStore
from minikube_lite.node.watch import DirectoryWatch
from minikube_lite.spec.claims import Claim
from minikube_lite.spec.configs import Config, ConfigKind
from minikube_lite.spec.kinds import CLAIM, CONFIGS, KEPT, is_used
from minikube_lite.spec.manifest import read_manifest
from minikube_lite.spec.problems import InvalidManifest, Problem

log = structlog.get_logger(__name__)


class Node:
    """One node: one manifests directory, one root. Implements `service.NodeService`."""

    version = __version__

    def __init__(
        self,
        paths: Paths,
        manifests: Path,
        runtime: Runtime,
        images: ImageStore,
        policy: Policy,
        boot_id: str,
        thresholds: Thresholds = Thresholds(),  # noqa: B008 - frozen
    ) -> None:
        self.paths = paths
        self.manifests = manifests
        self.name = node_name()
        self.store = ObjectStore()
        self.pods = Pods(paths)
        self.configs = Configs(self.store, paths.configs)
        self.claims = Claims(self.store, paths.claims, self._users_of_claim, self._claim_news)
        runtime.lookup, runtime.claims = self.configs.get, self.claims
        self.events = Events(self.store, paths.events, self.name)
        self._runtime = runtime
        self._boot_id = boot_id
        self._report = Reporter(self.events)
        self._publisher = Publisher(self.store, self.pods, policy, self.name)
        self._directory = ManifestDirectory(manifests)
        self._editor = Editor(self._directory)
        self._snapshot = Snapshot()
        self._troubled: set[str] = set()
        self._unpublished: set[str] = set()
        self._warned: dict[str, tuple[str, ...]] = {}
        self.queue = KeyQueue(self._work)
        self._adopted = False
        self._registries = Registries(paths.registries)
        self._collector = ImageCollector(images, thresholds, self._warn_of_node)
        self._images = PodImages(
            images,
            self._registries,
            self.pods,
            self._report,
            policy,
            self._news,
            lambda namespace, name: self.configs.get("Secret", namespace, name),
            self._collector.make_room,
        )
        self._executor = Executor(
            paths,
            self.pods,
            runtime,
            self._images,
            self._report,
            policy,
            self._desired,
            self._news,
            self.queue.add_at,
            self._publish_soon,
            boot_id,
        )
        self._watch = DirectoryWatch(manifests, self._look)

    # -- life --------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Adopt what runs, read the directory, begin to reconcile."""
        self.events.load()
        self.configs.load()
        running = await adopt.adopt(self.paths, self.pods, self._runtime, self._boot_id)
        if len(self.pods):
            log.info("pods_adopted", pods=len(self.pods), running=running)
        self._images.release_strangers()
        self._collector.start()
        for record in self.pods:
            self._directory.owners[record.key] = record.observed.source
        self.claims.load()
        self.claims.forget_strangers({record.observed.uid for record in self.pods})
        self._put_node()
        self._adopted = True
        self._watch.start()
        self._look(None)

    async def first_pass(self) -> None:
        """Wait until every key has been worked once."""
        await self.queue.idle()

    async def stop(self) -> None:
        """Stop deciding. Containers run on; the next node adopts them."""
        self._watch.stop()
        await self.queue.close()
        await self._executor.close()
        await self._collector.stop()
        self._registries.close()
        self.store.close()
        self.events.save()

    def _warn_of_node(self, reason: str, message: str) -> None:
        self.events.record("", self.name, self.name, reason, message, type="Warning", kind="Node")

    async def _work(self, key: str) -> None:
        await self._executor.work(key)

    def _news(self, key: str) -> None:
        """Something happened to this pod. Before all is adopted nothing may be decided; then every key is looked at."""
        if self._adopted:
            self.queue.add(key)

    def _desired(self, key: str) -> PodDesired | None:
        desired = self._snapshot.desired(key, self.pods.accepted(key))
        if desired is None:
            return None
        inputs = max(self.configs.version(references(desired.pod)), self.claims.version(claims(desired.pod)))
        return replace(desired, inputs=inputs)

    def _publish_soon(self, key: str) -> None:
        """Publish once whoever tells of the change has to wait for something: an object is nobody's hurry."""
        if key not in self._unpublished:
            self._unpublished.add(key)
            asyncio.get_running_loop().call_soon(self._publish, key)

    def _publish(self, key: str) -> None:
        self._unpublished.discard(key)
        self._publisher.publish(key, self._snapshot)

    def _look(self, names: set[str] | None, resync: bool = True) -> bool:
        """There is news of these files (None: any): take a new snapshot, and look at every pod that it may concern.

        `resync`: with news of any file, look at every pod there is, whether it seems concerned or not.
        """
        before = self._snapshot
        self._snapshot = self._directory.rescan() if names is None else self._directory.refresh(names)
        self._report_manifests()
        self._publisher.publish_files(self._snapshot)
        kept = self._snapshot.configs
        changed = self.configs.update({id: found for id, found in kept.items() if isinstance(found, Config)})
        self.claims.update({found.key: found for found in kept.values() if isinstance(found, Claim)})
        self._tell_of(changed)
        after = self._snapshot
        keys = before.pods.keys() | after.pods.keys() | before.problems.keys() | after.problems.keys()
        keys |= {record.key for record in self.pods}
        for key in sorted(keys):
            if self._differs(key, before, after):
                self._publish(key)
                self.queue.add(key)
            elif names is None and resync:
                self.queue.add(key)
        if names is None and resync:
            self.queue.overdue()
            self.events.save()
        for namespace in {key.partition("/")[0] for key in keys} | {"default"}:
            self._put_namespace(namespace)
        return bool(self._directory.unsettled)

    def _tell_of(self, changed: frozenset[str]) -> None:
        """These ConfigMaps and Secrets came, changed or went: look at every pod that refers to one of them."""
        if not changed:
            return
        pods = {record.key: record.observed.pod for record in self.pods}
        pods |= {key: desired.pod for key, desired in self._snapshot.pods.items()}
        for key, pod in sorted(pods.items(), key=itemgetter(0)):
            if any(reference.id in changed for reference in references(pod)):
                self.queue.add(key)

    def _users_of_claim(self, key: str) -> list[str]:
        """The keys of the pods that have the claim, or are getting it."""
        volumes = [(record, record.observed.volumes) for record in self.pods]
        using = [record for record, seen in volumes if seen.ready or seen.busy]
        return [record.key for record in using if key in claims(record.observed.pod)]

    def _claim_news(self, key: str) -> None:
        """A claim came, changed, went or has become free."""
        if self._adopted:
            self._tell_of(frozenset((f"{CLAIM}/{key}",)))

    def _differs(self, key: str, before: Snapshot, after: Snapshot) -> bool:
        if before.lost != after.lost or before.pods.get(key) is not after.pods.get(key):
            old, new = before.pods.get(key), after.pods.get(key)
            if old is None or new is None or old.pod is not new.pod or old.source != new.source:
                return True
        record = self.pods.get(key)
        source = "" if record is None else record.observed.source
        return trouble_of(key, before, source) != trouble_of(key, after, source) or (
            record is not None and key not in after.pods
        )

    def _report_manifests(self) -> None:
        """Say what is wrong with the directory: an event for each pod it concerns, once."""
        snapshot = self._snapshot
        troubled = set()
        for id, message in snapshot.conflicts.items():
            kind, _, key = id.partition("/")
            if kind in KEPT:
                troubled.add(id)
                namespace, _, name = key.partition("/")
                self._report.manifest(namespace, name, "", "Conflict", message, kind)
        for key in snapshot.problems.keys() | snapshot.conflicts.keys() | {r.key for r in self.pods}:
            if key in troubled:
                continue
            record = self.pods.get(key)
            found = trouble_of(key, snapshot, "" if record is None else record.observed.source)
            if found is None:
                continue
            troubled.add(key)
            namespace, _, name = key.partition("/")
            self._report.manifest(namespace, name, "" if record is None else record.observed.uid, *found)
        for file, problems in snapshot.file_problems.items():
            troubled.add(f"default/{file}")
            self._report.manifest("default", file, "", "InvalidManifest", "; ".join(map(str, problems)))
        for key in self._troubled - troubled:
            *other, namespace, name = key.split("/")
            self._report.manifest_fine(namespace, name, *other)
        self._troubled = troubled
        for key, warnings in snapshot.warnings.items():
            if self._warned.get(key) == warnings:
                continue
            self._warned[key] = warnings
            namespace, _, name = key.partition("/")
            for warning in warnings:
                self.events.record(namespace, name, "", "NotHonoured", warning, type="Warning")

    # -- objects -----------------------------------------------------------------------------------------------------

    def _put_node(self) -> None:
        uname = os.uname()
        now = timestamp(wall())
        has = allocatable(self.paths.state)
        self.store.put(
            "Node",
            f"/{self.name}",
            {
                "apiVersion": "v1",
                "kind": "Node",
                "metadata": {"name": self.name, "uid": self._boot_id, "creationTimestamp": now},
                "status": {
                    "capacity": has,
                    "allocatable": has,
                    "conditions": [
                        {"type": "Ready", "status": "True", "reason": "NodeReady", "lastTransitionTime": now}
                    ],
                    "nodeInfo": {
                        "architecture": uname.machine,
                        "bootID": self._boot_id,
                        "containerRuntimeVersion": f"minikube-lite://{__version__}",
                        "kernelVersion": uname.release,
                        "kubeletVersion": f"v{__version__}",
                        "operatingSystem": "linux",
                    },
                },
            },
        )

    def _put_namespace(self, name: str) -> None:
        if self.store.get("Namespace", "", name) is None:
            meta = {"name": name, "creationTimestamp": timestamp(wall())}
            status = {"phase": "Active"}
            self.store.put(
                "Namespace",
                f"/{name}",
                {"apiVersion": "v1", "kind": "Namespace", "metadata": meta, "status": status},
            )

    def list(self, kind: Kind, namespace: str | None = None) -> ObjectList:
        return self.store.list(kind, namespace)

    def get(self, kind: Kind, namespace: str, name: str) -> Json:
        found = self.store.get(kind, namespace, name)
        if found is None:
            raise ServiceError(404, "NotFound", f'{kind.lower()}s "{name}" not found')
        return found

    def watch(self, kind: Watched, namespace: str | None, since: int | None) -> AsyncIterator[WatchEvent]:
        return self.store.watch(kind, namespace, since)

    # -- writes ------------------------------------------------------------------------------------------------------

    async def apply(
        self, data: bytes, *, source: str, base_dir: str, namespace: str, dry_run: bool, create: bool = False
    ) -> ApplyOutcome:
        self._look(None, resync=False)  # decide on the directory as it is now, not as it was at the last news
        self._writable()
        try:
            outcome = self._editor.apply(
                data, source=source, base_dir=base_dir, namespace=namespace, dry_run=dry_run, create=create
            )
        except OSError as error:
            raise _cannot_write(self.manifests, error) from error
        if not dry_run:
            self._look(None, resync=False)
            await self._created(outcome)
        return outcome

    async def _created(self, outcome: ApplyOutcome) -> None:
        """Let the workers have a first look, so that who asks for a created pod next finds it."""
        created = (item for item in outcome.items if item.result == "created" and item.kind == "Pod")
        keys = [f"{item.namespace}/{item.name}" for item in created]
        for _ in range(100):
            if all(self.store.get("Pod", *key.split("/")) is not None for key in keys):
                return
            await asyncio.sleep(0)

    async def delete_documents(
        self, data: bytes, *, source: str, namespace: str, grace: float | None, dry_run: bool
    ) -> ApplyOutcome:
        items: list[ApplyItem] = []
        problems: list[Problem] = []
        try:
            documents = read_manifest(data, source, default_namespace=namespace).documents
        except InvalidManifest as error:
            return ApplyOutcome(problems=error.problems)
        for document in documents:
            if not is_used(document.kind) or not document.name:
                if document.problems:
                    problems += document.problems
                else:
                    items.append(
                        ApplyItem(document.kind, document.namespace, document.name, "skipped", (), document.skipped)
                    )
                continue
            if mismatch := namespace_problems(document, namespace, source):
                problems += mismatch
                continue
            kind, namespace_, name = document.kind, document.namespace, document.name
            try:
                if kind in CONFIGS:
                    await self.delete_config(cast(ConfigKind, kind), namespace_, name, dry_run)
                elif kind == CLAIM:
                    await self.delete_claim(namespace_, name, dry_run)
                else:
                    await self.delete_pod(namespace_, name, grace, dry_run)
                items.append(ApplyItem(kind, namespace_, name, "deleted"))
            except ServiceError as error:
                if error.code == 409:  # of this one only: the others go
                    problems.append(Problem(error.message, source, document.line))
                    continue
                if error.code != 404:
                    raise
                items.append(ApplyItem(kind, namespace_, name, "not found"))
        return ApplyOutcome(tuple(items), tuple(problems))

    async def delete_pod(self, namespace: str, name: str, grace: float | None, dry_run: bool = False) -> Json:
        self._look(None, resync=False)
        key = f"{namespace}/{name}"
        before = self.store.get("Pod", namespace, name)
        record = self.pods.get(key)
        place = self._editor.find(key)
        if before is None and place is None:
            raise ServiceError(404, "NotFound", f'pods "{name}" not found')
        if record is None and place is None:
            raise ServiceError(
                409,
                "Conflict",
                f"{name} is not a pod but a broken manifest; mend or remove {self.manifests / name}",
            )
        self._writable()
        if record is not None and place is None and self._desired(key) is not None:
            raise ServiceError(
                409,
                "Conflict",
                f"{name} is kept as it was because its manifest is broken; mend or remove {record.observed.source}",
            )
        if dry_run:
            return before or _stub(namespace, name)
        try:
            if record is not None and grace is not None:
                self._shorten(record, grace)
            self._editor.delete(key)
        except OSError as error:
            raise _cannot_write(self.manifests, error) from error
        self._look(None, resync=False)
        self.queue.add(key)
        return before or _stub(namespace, name)

    async def delete_config(self, kind: ConfigKind, namespace: str, name: str, dry_run: bool = False) -> Json:
        self._look(None, resync=False)
        id = f"{kind}/{namespace}/{name}"
        before = self.store.get(kind, namespace, name)
        place = self._editor.find(id)
        if before is None and place is None:
            raise ServiceError(404, "NotFound", f'{kind.lower()}s "{name}" not found')
        self._writable()
        if place is None:
            raise ServiceError(
                409,
                "Conflict",
                f"{name} is kept as it was because its manifest is broken; mend or remove {self._directory.owners[id]}",
            )
        if not dry_run:
            try:
                self._editor.delete(id)
            except OSError as error:
                raise _cannot_write(self.manifests, error) from error
            self._look(None, resync=False)
        return before or {**_stub(namespace, name), "kind": kind}

    async def delete_claim(self, namespace: str, name: str, dry_run: bool = False) -> Json:
        self._look(None, resync=False)
        id = f"{CLAIM}/{namespace}/{name}"
        before = self.store.get(CLAIM, namespace, name)
        place = self._editor.find(id)
        if before is None and place is None:
            raise ServiceError(404, "NotFound", f'persistentvolumeclaims "{name}" not found')
        self._writable()
        if not dry_run:
            try:
                gone = self.claims.mark(namespace, name)  # on record first: the document is only the wish for it
                self._editor.delete(id)
            except OSError as error:
                raise _cannot_write(self.manifests, error) from error
            self._look(None, resync=False)
            self.claims.collect(namespace, name)
            return gone or before or {**_stub(namespace, name), "kind": CLAIM}
        return before or {**_stub(namespace, name), "kind": CLAIM}

    def _shorten(self, record: PodRecord, grace: float) -> None:
        """Remember the grace that was asked for; a second delete may shorten what is under way, never lengthen it."""
        before = record.observed.grace_override
        if record.observed.termination is not None and before is not None:
            grace = min(grace, before)
        self.pods.keep(record.with_(grace_override=grace))

    def _writable(self) -> None:
        if self._snapshot.lost:
            raise ServiceError(503, "ServiceUnavailable", self._snapshot.lost)

    # -- logs and exec -----------------------------------------------------------------------------------------------

    def _record(self, namespace: str, name: str) -> PodRecord:
        record = self.pods.get(f"{namespace}/{name}")
        if record is None:
            found = self.store.get("Pod", namespace, name)
            if found is not None:
                reason = found["status"].get("message") or found["status"].get("reason") or "it has not started"
                raise ServiceError(400, "BadRequest", f'pod "{name}" does not run: {reason}')
            raise ServiceError(404, "NotFound", f'pods "{name}" not found')
        return record

    def _choose(self, record: PodRecord, container: str | None) -> str:
        names = [item.name for item in record.observed.pod.spec.containers]
        pod = record.observed.pod.metadata.name
        if container is None:
            annotations = record.observed.pod.metadata.annotations or {}
            chosen = annotations.get("kubectl.kubernetes.io/default-container")
            return chosen if chosen in names else names[0]
        if container not in names:
            raise ServiceError(400, "BadRequest", f"container {container} is not valid for pod {pod}")
        return container

    def log_files(self, namespace: str, name: str, container: str | None, previous: bool) -> LogFiles:
        record = self._record(namespace, name)
        chosen = self._choose(record, container)
        seen = record.container(chosen)
        bundles = record.previous_bundles if previous else record.bundles
        bundle = bundles.get(chosen)
        if previous and bundle is None:
            raise ServiceError(400, "BadRequest", f'previous terminated container "{chosen}" in pod "{name}" not found')
        if bundle is None:
            failure = seen.image_failure or seen.create_failure or record.observed.sandbox_failure
            why = failure.reason if failure else "ContainerCreating"
            raise ServiceError(400, "BadRequest", f'container "{chosen}" in pod "{name}" is waiting to start: {why}')
        path = Path(log_path(self.paths, record, chosen, bundle))
        rotated = sorted(
            (p for p in path.parent.glob(f"{path.name}.*") if p.suffix[1:].isdigit()),
            key=lambda p: -int(p.suffix[1:]),
        )
        return LogFiles((*rotated, path), running=not previous and seen.state == "running")

    async def exec(
        self, namespace: str, name: str, container: str | None, command: Sequence[str], *, tty: bool, stdin: bool
    ) -> ExecSession:
        record = self._record(namespace, name)
        chosen = self._choose(record, container)
        if not command:
            raise ServiceError(400, "BadRequest", "you must specify at least one command for the container")
        if record.container(chosen).state != "running":
            raise ServiceError(400, "BadRequest", f"container {chosen} of pod {name} is not running")
        try:
            return await self._runtime.exec(record, chosen, [*command], tty, stdin)
        except RuntimeFailure as error:
            raise ServiceError(500, "InternalError", error.message) from error


def _stub(namespace: str, name: str) -> Json:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace}}


def _cannot_write(directory: Path, error: OSError) -> ServiceError:
    return ServiceError(
        507 if error.errno == 28 else 500,
        "InternalError",
        f"cannot write to the manifests directory {directory}: {error.strerror}; nothing was changed",
    )
