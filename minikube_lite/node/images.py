"""What the pods' containers run on: asks by policy, brings in, says so, and keeps what is used. Called by node.execute.

`host` and paths are this machine's: resolved in the loop where that is quick, else in a thread. An image by name goes
the kubelet's way (`core.pulling`): what is there is used, else a registry is asked, with the pod's secrets and the
machine's own credentials. Before a container starts the store is told that its image is used (a lease, named by uid and
bundle), and again when the files of that run go.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from minikube_lite.core import pulling
from minikube_lite.core.model import Failure, Policy
from minikube_lite.images import reference
from minikube_lite.images.image import no_room
from minikube_lite.images.progress import Progress
from minikube_lite.images.reference import Remote
from minikube_lite.images.registry.client import Registries
from minikube_lite.images.registry.credentials import Keychain, keychain_of
from minikube_lite.images.store import Image, ImageError, ImageStore, NotPresent
from minikube_lite.node.clock import boottime
from minikube_lite.node.image_secrets import PullSecrets, Secret, pull_secrets
from minikube_lite.node.image_volumes import lease_user as volume_lease
from minikube_lite.node.pods import Pods
from minikube_lite.node.pulls import Done, Pulls
from minikube_lite.node.records import PodRecord
from minikube_lite.node.reporter import Reporter
from minikube_lite.node.runtime import PAUSE, RuntimeFailure, lease_user
from minikube_lite.spec.objects import Container

LOOK = 2.0
"""Seconds between two looks whether an image that could not be pulled was brought in by hand meanwhile."""


@dataclass(frozen=True, slots=True)
class Ready:
    """An image that a container can start on."""

    image: Image
    id: str
    """For `imageID`: the repository's digest of what was pulled, else the image's own."""
    size: int = 0
    """Bytes, as a registry has it."""


@dataclass(frozen=True, slots=True)
class _Wish:
    """One container's image, and who wants it."""

    key: str
    uid: str
    container: str
    reference: str
    base: Path
    inputs: int = 0

    @property
    def name(self) -> tuple[str, str]:
        return self.uid, self.container


class PodImages:
    """The images of all pods. Every method is called in the loop."""

    def __init__(
        self,
        store: ImageStore,
        registries: Registries,
        pods: Pods,
        report: Reporter,
        policy: Policy,
        again: Callable[[str], None],
        secret: Callable[[str, str], Secret | None],
        make_room: Callable[[], int],
    ) -> None:
        """`secret(namespace, name)` finds a Secret. `make_room()`, in a thread: removes images that nobody uses, and
        returns the bytes that it freed."""
        self._store = store
        self._registries = registries
        self._pods = pods
        self._report = report
        self._policy = policy
        self._again = again
        self._secret = secret
        self._make_room = make_room
        self._pulls: Pulls[Ready] = Pulls(policy.parallel_pulls)
        self._tasks: dict[tuple[str, str], tuple[str, asyncio.Task[None]]] = {}
        """By uid and container: what is under way, and for which reference."""
        self._ready: dict[tuple[str, str], tuple[str, Ready]] = {}
        self._looking: asyncio.TimerHandle | None = None

    # -- bringing in -------------------------------------------------------------------------------------------------

    def pull(self, key: str, container: str, inputs: int = 0) -> None:
        """Bring the container's image in; what takes long goes on in the background and brings the key back.

        `inputs` as in `PodDesired`: a failure holds until they change.
        """
        record = self._pods[key]
        wish = replace(self._wish(record, container), inputs=inputs)
        under_way = self._tasks.get(wish.name)
        if under_way is not None:
            if under_way[0] == wish.reference:
                return
            under_way[1].cancel()  # the manifest asks for another one by now
        try:
            meant = reference.parse(wish.reference, wish.base)
        except ImageError as error:
            self._failed(wish, error)
            return
        remote = meant if isinstance(meant, Remote) else None
        step = "use" if remote is None else pulling.pull_step(record.spec(container), self._presence(remote))
        if step == "refuse":
            self._failed(wish, ImageError("ErrImageNeverPull", pulling.never_pulled(wish.reference)))
        elif step != "use" or not self._store.is_cheap(wish.reference, wish.base):
            self._in_background(wish, remote, step)
        else:
            try:
                self._use(wish, self._resolve(wish), present=remote is not None)
            except ImageError as error:
                if self._is_spoilt(remote):
                    self._in_background(wish, remote, "pull")
                else:
                    self._failed(wish, error)

    def _presence(self, remote: Remote) -> pulling.Presence:
        known = self._store.known(remote)
        if known is None:
            return "absent"
        return "by hand" if known.by_hand else "pulled"

    def _is_spoilt(self, remote: Remote | None) -> bool:
        """Of an image that cannot be used: whether a registry may have it whole."""
        return remote is not None and self._presence(remote) != "by hand"

    def _in_background(self, wish: _Wish, remote: Remote | None, step: pulling.Step) -> None:
        changes = {"image": "pulling", "image_reference": wish.reference}
        self._pods.put(self._pods[wish.key].with_container(wish.container, **changes))
        task = asyncio.get_running_loop().create_task(self._bring(wish, remote, step))
        self._tasks[wish.name] = (wish.reference, task)

        def over(task: asyncio.Task[None]) -> None:
            if self._tasks.get(wish.name) == (wish.reference, task):
                del self._tasks[wish.name]
            if not task.cancelled():
                task.result()
                self._again(wish.key)

        task.add_done_callback(over)

    async def _bring(self, wish: _Wish, remote: Remote | None, step: pulling.Step) -> None:
        asks = remote is not None and step != "use"
        try:
            done = await self._share(self._pods[wish.key], wish, remote, step)
        except ImageError as error:
            self._failed(wish, error)
            return
        if isinstance(done.result, ImageError):
            self._failed(wish, done.result)
            return
        self._use(wish, done.result, present=remote is not None and not asks)
        if asks and (left := self._pods.by_uid(wish.uid)) is not None:
            self._say_pulled(left, wish, done, done.result)

    async def _share(self, record: PodRecord, wish: _Wish, remote: Remote | None, step: pulling.Step) -> Done[Ready]:
        """Bring it in, or wait for who does. Raises ImageError where the pod's secrets are none."""
        asks = remote is not None and step != "use"
        if asks:
            self._report.normal(record, "Pulling", f'Pulling image "{wish.reference}"', wish.container)
        secrets = pull_secrets(record.observed.pod, self._secret) if remote is not None else PullSecrets()
        if asks and (warning := secrets.warning()):
            self._report.warning(record, "FailedToRetrieveImagePullSecret", warning)
        keychain = keychain_of(secrets.documents) if secrets.documents else None

        def work(progress: Progress) -> Ready:
            if remote is not None:
                self._pull(wish, remote, step, keychain, progress)
            return self._resolve(wish)

        # Who has other credentials asks for himself: a refusal of one is none of the other.
        key = (wish.reference, wish.base) if remote is None else (str(remote), step, secrets.documents)
        return await self._pulls.share(key, self._with_room(work))

    async def bring_for_volumes(self, record: PodRecord) -> None:
        """Have the images of the pod's image volumes in the store, by their `pullPolicy`, for as long as that takes.

        Raises RuntimeFailure. The pod may be gone at its end: who calls it off, cancels it.
        """
        for volume in record.observed.pod.spec.volumes:
            if volume.image is None:
                continue
            image = Container(
                name=volume.name, image=volume.image.reference, image_pull_policy=volume.image.pull_policy
            )
            wish = _Wish(record.key, record.observed.uid, "", image.image, Path(record.observed.source).parent)
            try:
                await self._bring_for_volume(record, wish, image)
            except ImageError as error:
                why = f'MountVolume.SetUp failed for volume "{volume.name}" : {error.reason}: {error.message}'
                raise RuntimeFailure("FailedMount", why) from error

    async def _bring_for_volume(self, record: PodRecord, wish: _Wish, image: Container) -> None:
        meant = reference.parse(wish.reference, wish.base)
        if not isinstance(meant, Remote):
            return
        step = pulling.pull_step(image, self._presence(meant))
        if step == "refuse":
            raise ImageError("ErrImageNeverPull", pulling.never_pulled(wish.reference))
        if step == "use":
            return
        done = await self._share(record, wish, meant, step)
        if isinstance(done.result, ImageError):
            raise done.result
        self._say_pulled(record, wish, done, done.result)

    def _say_pulled(self, record: PodRecord, wish: _Wish, done: Done[Ready], ready: Ready) -> None:
        message = pulling.pulled(wish.reference, done.took, done.took_with_waiting, ready.size)
        self._report.normal(record, "Pulled", message, wish.container)

    # -- in a thread -------------------------------------------------------------------------------------------------

    def _pull(self, wish: _Wish, remote: Remote, step: pulling.Step, keys: Keychain | None, progress: Progress) -> None:
        """See to it that the image is in the store. Raises ImageError."""
        if step == "use":
            try:
                self._store.resolve(wish.reference, wish.base)
                return
            except ImageError:
                if not self._is_spoilt(remote):
                    raise
        repository = self._registries.repository(remote, keys)
        if step == "compare":
            known = self._store.known(remote)
            if known is not None and known.target == repository.digest_of():
                return
        self._store.pull(str(remote), repository, progress)

    def _with_room(self, work: Callable[[Progress], Ready]) -> Callable[[Progress], Ready]:
        """The work; where the disk is full, once more after images that nobody uses were removed."""

        def tried(progress: Progress) -> Ready:
            try:
                return work(progress)
            except ImageError as error:
                if not no_room(error) or not self._make_room():
                    raise
            return work(progress)

        return tried

    def _resolve(self, wish: _Wish) -> Ready:
        """What is on this machine. Raises ImageError."""
        image = self._store.resolve(wish.reference, wish.base)
        meant = reference.parse(wish.reference, wish.base)
        known = self._store.known(meant) if isinstance(meant, Remote) else None
        if known is None:
            return Ready(image, image.id)
        return Ready(image, image.id if known.by_hand else known.repo_digest, self._store.travel_size(known))

    # -- what came of it ---------------------------------------------------------------------------------------------

    def _use(self, wish: _Wish, ready: Ready, *, present: bool) -> None:
        record = self._wanted_still(wish)
        if record is None:
            return
        self._ready[wish.name] = (wish.reference, ready)
        changes = {"image": "ready", "image_reference": wish.reference, "image_failure": None}
        self._pods.put(record.with_container(wish.container, **changes))
        if present:
            message = f'Container image "{wish.reference}" already present on machine'
            self._report.normal(record, "Pulled", message, wish.container)

    def _failed(self, wish: _Wish, error: ImageError) -> None:
        record = self._wanted_still(wish)
        if record is None:
            return
        seen = record.container(wish.container)
        before = seen.image_failure if seen.image_reference == wish.reference else None
        count = 1 if before is None else before.count + 1
        failure = Failure(error.reason, error.message, boottime(), count, wish.inputs)
        changes = {"image": "absent", "image_reference": wish.reference, "image_failure": failure}
        self._pods.put(record.with_container(wish.container, **changes))
        self._say_failed(record, wish, error, count)
        self._look_soon()

    def _say_failed(self, record: PodRecord, wish: _Wish, error: ImageError, count: int) -> None:
        """The kubelet's events for it, in its order."""
        warn, container, image = self._report.warning, wish.container, f'"{wish.reference}"'
        match error.reason:
            case "ErrImageNeverPull":
                warn(record, "ErrImageNeverPull", error.message, container)
            case "InvalidImageName":
                warn(record, "InspectFailed", f"Failed to apply default image tag {image}: {error.message}", container)
            case "ErrImagePull":
                warn(record, "Failed", f"Failed to pull image {image}: {error.message}", container)
        warn(record, "Failed", f"Error: {error.reason}", container)
        if error.reason == "ErrImagePull":
            self._report.normal(record, "BackOff", f"Back-off pulling image {image}", container)
            if count > 1:
                warn(record, "Failed", "Error: ImagePullBackOff", container)

    def _wanted_still(self, wish: _Wish) -> PodRecord | None:
        """The pod's record; None where the pod has gone meanwhile, or its container asks for another image."""
        record = self._pods.by_uid(wish.uid)
        if record is None:
            return None
        named = {item.name: item.image for item in record.observed.pod.spec.containers}
        return record if named.get(wish.container) == wish.reference else None

    def _wish(self, record: PodRecord, container: str) -> _Wish:
        base = Path(record.observed.source).parent
        return _Wish(record.key, record.observed.uid, container, record.spec(container).image, base)

    # -- what came by hand -------------------------------------------------------------------------------------------

    def _look_soon(self) -> None:
        if self._looking is None:
            self._looking = asyncio.get_running_loop().call_later(LOOK, self._look)

    def _look(self) -> None:
        """Whether an image that could not be had is there by now (`image load`): then its back-off is over."""
        self._looking = None
        for record in self._pods:
            for name, seen in record.observed.containers.items():
                if seen.image_failure is None or seen.image_failure.reason == "InvalidImageName":
                    continue
                self._look_soon()
                if self._came(record, name):
                    self._pods.put(self._pods[record.key].with_container(name, image_failure=None))
                    self._again(record.key)

    def _came(self, record: PodRecord, container: str) -> bool:
        if container not in {item.name for item in record.observed.pod.spec.containers}:
            return False
        wish = self._wish(record, container)
        meant = reference.parse(wish.reference, wish.base)
        return isinstance(meant, Remote) and pulling.pull_step(record.spec(container), self._presence(meant)) == "use"

    # -- running on it -----------------------------------------------------------------------------------------------

    async def take(self, key: str, container: str, bundle: str) -> Ready | None:
        """The image for a start, kept from now on for this bundle; None where it has to be brought in (again) first."""
        wish = self._wish(self._pods[key], container)
        reference_, ready = self._ready.get(wish.name, ("", None))
        try:
            if ready is None or reference_ != wish.reference:  # after a restart of the node nothing is at hand yet
                ready = await asyncio.to_thread(self._resolve, wish)
                self._ready[wish.name] = (wish.reference, ready)
            await asyncio.to_thread(self._store.lease, lease_user(wish.uid, bundle), ready.image)
        except NotPresent:
            self._forget_ready(wish)
            return None
        except ImageError as error:
            self._forget_ready(wish)
            self._failed(wish, error)
            return None
        return ready

    def _forget_ready(self, wish: _Wish) -> None:
        """It was there, and has been removed since: it is absent again, and the plan brings it in."""
        self._ready.pop(wish.name, None)
        record = self._pods.by_uid(wish.uid)
        if record is not None:
            self._pods.put(record.with_container(wish.container, image="absent"))

    def release(self, uid: str, bundle: str) -> None:
        """Nothing of that run is left."""
        self._store.release(lease_user(uid, bundle))

    def forget(self, uid: str, container: str) -> None:
        """The container is no more: what is under way for it is nobody's."""
        self._ready.pop((uid, container), None)
        under_way = self._tasks.pop((uid, container), None)
        if under_way is not None:
            under_way[1].cancel()

    def forget_pod(self, record: PodRecord) -> None:
        """The pod is no more, nor are its runs."""
        uid = record.observed.uid
        for name in [name for name in (*self._ready, *self._tasks) if name[0] == uid]:
            self.forget(*name)
        for bundle in (*record.bundles.values(), *record.previous_bundles.values()):
            self.release(uid, bundle)

    def release_strangers(self) -> None:
        """Release what was leased for runs that no record knows: their node died on the way. After all is adopted."""
        known = {
            lease_user(record.observed.uid, bundle)
            for record in self._pods
            for bundle in (*record.bundles.values(), *record.previous_bundles.values(), PAUSE)
        }
        known |= {
            volume_lease(record.observed.uid, volume.name)
            for record in self._pods
            for volume in record.observed.pod.spec.volumes
            if volume.image is not None
        }
        for user in self._store.leases():
            if user not in known:
                self._store.release(user)

    async def close(self) -> None:
        """Let go of everything that is under way; the store may be left at any step."""
        if self._looking is not None:
            self._looking.cancel()
        tasks = [task for _, task in self._tasks.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._pulls.close()
