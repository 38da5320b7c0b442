"""The real runtime: records in, OCI bundles out, to the launcher. Called by node.execute and node.adopt.

The node itself never forks: the launcher does. What needs no fork (signals, cgroup writes, files) is done here.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import structlog

from minikube_lite.core import oci, sysctls
from minikube_lite.core.environment import Environment, Lookup, environment
from minikube_lite.images.store import Image, ImageError, ImageStore
from minikube_lite.linux import cgroups, sandbox
from minikube_lite.linux import records as bundle_records
from minikube_lite.linux import syscalls as kernel
from minikube_lite.linux.cgroups import Cgroup, resize
from minikube_lite.linux.client import Launcher, LauncherDied, LauncherError
from minikube_lite.linux.mounts import overlay
from minikube_lite.node import bundles, image_config, secret_process
from minikube_lite.node.claims import Claims
from minikube_lite.node.clock import boottime
from minikube_lite.node.exec_session import LinuxExecSession, open_exec
from minikube_lite.node.facts import facts
from minikube_lite.node.host_devices import host_devices
from minikube_lite.node.image_user import image_user
from minikube_lite.node.log_tail import log_path
from minikube_lite.node.paths import Paths
from minikube_lite.node.pod_files import etc_mounts, write_etc
from minikube_lite.node.records import PodRecord
from minikube_lite.node.runtime import PAUSE, OnExit, Running, RunState, RuntimeFailure, lease_user
from minikube_lite.node.seccomp import Filter, Seccomp
from minikube_lite.node.seccomp_compiler import CannotCompile
from minikube_lite.node.selinux import refuse_label
from minikube_lite.node.volumes import Volumes
from minikube_lite.spec.hostnames import kernel_hostname
from minikube_lite.spec.objects import Container, is_privileged

log = structlog.get_logger(__name__)

SHM_BYTES = 64 << 20
"""Size of a pod's /dev/shm (containerd's default)."""
LOG_MAX_BYTES = 10 << 20
LOG_MAX_FILES = 5
"""The kubelet's containerLogMaxSize and containerLogMaxFiles."""
RESPAWN = 1.0
"""Seconds until a launcher that could not be started is tried again."""


class LinuxRuntime:
    """Containers by namespaces, mounts and cgroups of this machine."""

    on_exit: OnExit
    on_sandbox_lost: Callable[[str], None]
    lookup: Lookup
    claims: Claims

    def __init__(
        self,
        paths: Paths,
        images: ImageStore,
        launcher: Launcher,
        respawn: Callable[[], Launcher],
        unsafe_sysctls: Sequence[str] = (),
    ) -> None:
        """`unsafe_sysctls`: patterns of sysctls that pods may set besides the safe ones (`core.sysctls`)."""
        self._paths = paths
        self._unsafe_sysctls = unsafe_sysctls
        self._images = images
        self._launcher = launcher
        self._respawn = respawn
        self.seccomp = Seccomp(paths.seccomp_programs, paths.seccomp_profiles)
        self._volumes = Volumes(paths, images, self)
        self._watched: dict[str, int] = {}
        self._closed = False
        launcher.on_death = self._launcher_died

    def attach(self) -> None:
        """Begin to listen to the launcher, in the running loop."""
        self._launcher.attach(asyncio.get_running_loop())

    def _launcher_died(self) -> None:
        """It is stateless: start another. Containers have their own shims and notice nothing."""
        if self._closed:
            return
        log.warning("launcher_died", pid=self._launcher.pid)
        self._launcher.close()
        try:
            self._launcher = self._respawn()
            self._launcher.on_death = self._launcher_died
            self._launcher.attach(asyncio.get_running_loop())
        except OSError as error:  # it was killed before it was up, or there is no room for a process: never give up
            log.error("launcher_not_started", error=str(error), again_in=RESPAWN)
            asyncio.get_running_loop().call_later(RESPAWN, self._launcher_died)
            return
        log.info("launcher_started", pid=self._launcher.pid)

    async def close(self) -> None:
        """Let go of everything; what runs, runs on."""
        self._closed = True
        for name in list(self._watched):
            self._unwatch(name)
        own = Cgroup(self._paths.cgroup)
        if own.exists() and not own.children():
            own.remove()
        self._launcher.close()

    # -- sandbox ---------------------------------------------------------------------------------------------------

    async def create_sandbox(self, record: PodRecord) -> tuple[tuple[str, str], ...]:
        pod, uid = record.observed.pod, record.observed.uid
        if why := sysctls.forbidden(pod, self._unsafe_sysctls):
            raise RuntimeFailure("SysctlForbidden", why)
        directory = self._paths.pod_run(uid)
        namespaces = oci.sandbox_namespaces(pod)
        request = {
            "dir": str(directory),
            "namespaces": namespaces,
            "hostname": kernel_hostname(pod) if "uts" in namespaces else None,
            "cgroupsPath": self._paths.pod_cgroup(uid),
            "resources": oci.pod_resources(pod),
            "shm_bytes": None if pod.spec.host_ipc else SHM_BYTES,
            "sysctl": sysctls.pod_sysctls(pod),
        }
        making = asyncio.get_running_loop().create_task(self._make_sandbox(request))
        await asyncio.sleep(0)  # the launcher is at work; meanwhile:
        try:
            try:
                notes = write_etc(self._paths.pod_state(uid) / "etc", pod, uid)
            finally:
                made = await making
        except (LauncherError, OSError) as error:
            raise RuntimeFailure("FailedCreatePodSandBox", _words(error)) from error
        warnings = (*notes, *(("NotEnforced", mismatch) for mismatch in made.get("mismatches", ())))
        if pod.spec.share_process_namespace:
            await self._start_pause(record)
        return warnings

    async def _make_sandbox(self, request: dict[str, Any]) -> dict[str, Any]:
        """Making it is idempotent: a new launcher makes it over what one that died has left."""
        try:
            return await self._launcher.request("sandbox", **request)
        except LauncherDied:
            return await self._launcher.request("sandbox", **request)

    async def sandbox_ready(self, record: PodRecord) -> bool:
        uid, pod = record.observed.uid, record.observed.pod
        pins = [str(self._paths.pod_run(uid) / "ns" / _PINS[kind]) for kind in oci.sandbox_namespaces(pod)]
        if pod.spec.share_process_namespace:
            pins.append(str(self._paths.pod_run(uid) / "ns" / "pid"))
            if not self._watch_pause(record):
                return False
        mounted = set(sandbox.mounts_below(str(self._paths.pod_run(uid))))
        return all(pin in mounted for pin in pins) and (Cgroup(self._paths.pod_cgroup(uid)).exists() or _no_cgroups())

    async def _start_pause(self, record: PodRecord) -> None:
        """A process that only holds the shared PID namespace, as its PID 1. It reaps: see `ignoreSigchld`."""
        uid, pod = record.observed.uid, record.observed.pod
        directory = self._pause_bundle(uid)
        pin = self._paths.pod_run(uid) / "ns" / "pid"
        await self._kill_pause(record)
        try:
            image = await asyncio.to_thread(self._images.resolve, "host", self._paths.state)
            await asyncio.to_thread(self._images.lease, lease_user(uid, PAUSE), image)
            container = Container(name=PAUSE, image="host", command=("sleep", "infinity"))
            rules = await self.seccomp.filter(pod, container, oci.bounding_set(container))
            cgroup = f"{self._paths.pod_cgroup(uid)}/{PAUSE}"
            config = self._config(record, container, image, cgroup, rules, Environment(), pid=False)
            reply = await self._run(directory, config, image, None, rules, ignore_sigchld=True)
            pin.touch(mode=0o400)
            kernel.mount(f"/proc/{reply['pid']}/ns/pid", str(pin), None, kernel.MS_BIND)
        except (LauncherError, ImageError, oci.CannotRun, OSError) as error:
            raise RuntimeFailure("FailedCreatePodSandBox", f"the pod's PID 1: {_words(error)}") from error
        self._watch_pause(record)

    def _pause_bundle(self, uid: str) -> Path:
        return self._paths.pod_state(uid) / PAUSE

    def _watch_pause(self, record: PodRecord) -> bool:
        """Have `on_sandbox_lost` called when it ends; False where it does not run."""
        uid = record.observed.uid
        directory = self._pause_bundle(uid)
        state = bundles.read(directory / "state.json")
        if state is None or not bundles.alive(state):
            return False

        def lost() -> None:
            self.on_sandbox_lost(uid)

        return self._watch_process(str(directory), state["shimPid"], state["shimStartTime"], lost)

    async def _kill_pause(self, record: PodRecord) -> None:
        uid = record.observed.uid
        directory = str(self._pause_bundle(uid))
        self._unwatch(directory)
        pin = str(self._paths.pod_run(uid) / "ns" / "pid")

        def kill() -> None:
            _kill_and_remove(Cgroup(f"{self._paths.pod_cgroup(uid)}/{PAUSE}"))
            bundles.signal_init(Path(directory), signal.SIGKILL)
            for path in list(sandbox.mounts_below(pin)):
                kernel.umount2(path, kernel.MNT_DETACH)
            bundles.settle(Path(directory))
            sandbox.remove_tree(directory)

        await asyncio.to_thread(kill)
        self._images.release(lease_user(uid, PAUSE))

    async def set_up_volumes(self, record: PodRecord) -> tuple[str, ...]:
        return await self._volumes.set_up(record)

    # -- containers ------------------------------------------------------------------------------------------------

    def bundle(self, record: PodRecord, container: str, bundle: str) -> Path:
        return self._paths.pod_state(record.observed.uid) / f"{container}-{bundle}"

    def cgroup(self, record: PodRecord, container: str) -> Cgroup:
        """The cgroup of the container's present run; "" is the pod's own."""
        base = self._paths.pod_cgroup(record.observed.uid)
        return Cgroup(f"{base}/{container}-{record.bundles[container]}" if container else base)

    async def start(self, record: PodRecord, container: str, bundle: str, image: Image) -> Running:
        directory = self.bundle(record, container, bundle)
        env = Environment()
        try:
            cgroup = f"{self._paths.pod_cgroup(record.observed.uid)}/{container}-{bundle}"
            spec, env = record.spec(container), self._environment(record, container)
            volumes = await self._image_volumes(spec, image, directory)
            refuse_label(record.observed.pod, spec)
            rules = await self.seccomp.filter(record.observed.pod, spec, oci.bounding_set(spec))
            config = self._config(record, spec, image, cgroup, rules, env, volumes)
            log_file = Path(log_path(self._paths, record, container, bundle))
            log_file.parent.mkdir(parents=True, exist_ok=True)
            kept = None
            if env.secret:
                kept = secret_process.keep(self._paths.pod_run(record.observed.uid), directory.name, config["process"])
                config = oci.without_secrets(config, spec, image.config, env)
                config["annotations"][secret_process.ANNOTATION] = ",".join(sorted(env.secret))
            reply = await self._run(directory, config, image, str(log_file), rules, process=kept)
        except oci.CannotRun as error:
            raise RuntimeFailure(error.reason, error.message) from error
        except OSError as error:
            raise RuntimeFailure("CreateContainerError", _words(error)) from error
        except LauncherDied:
            state = await self.inspect(record, container, bundle)
            if state.running is not None:
                return state.running
            if state.exit is not None:
                asyncio.get_running_loop().call_soon(self.on_exit, record.observed.uid, container, bundle, state.exit)
                return Running(0, state.exit.started_at, state.exit.started_wall)
            raise RuntimeFailure("CreateContainerError", "the launcher died; it has been started again") from None
        except LauncherError as error:
            reason = "StartError" if error.reason == "StartError" else "CreateContainerError"
            secrets = (env.values[name] for name in env.secret)
            raise RuntimeFailure(reason, secret_process.redacted(error.message, secrets)) from error
        self._watch(record, container, bundle, reply["shimPid"], reply["shimStartTime"])
        warnings = (*((rules.warning,) if rules.warning else ()), *reply.get("mismatches", ()))
        return Running(reply["pid"], reply["startedAt"], reply["startedWall"], warnings)

    async def _run(
        self,
        directory: Path,
        config: dict[str, Any],
        image: Image,
        log: str | None,
        rules: Filter,
        *,
        ignore_sigchld: bool = False,
        process: str | None = None,
    ) -> dict[str, Any]:
        """Make the bundle and have it run; `process`: where the process is that takes the place of the config's.

        Raises OSError, LauncherError, LauncherDied.
        """
        for part in ("upper", "work"):
            os.makedirs(directory / part)
        (directory / "config.json").write_text(json.dumps(config), encoding="utf-8")
        layers = [str(layer) for layer in image.layers]
        return await self._launcher.request(
            "run",
            bundle=str(directory),
            rootfs=[overlay(layers, str(directory / "upper"), str(directory / "work"))],
            log=log and {"path": log, "maxBytes": LOG_MAX_BYTES, "maxFiles": LOG_MAX_FILES},
            ignoreSigchld=ignore_sigchld,
            seccomp=rules.request,
            process=process,
        )

    def _environment(self, record: PodRecord, container: str) -> Environment:
        """The variables that the spec gives, as everything they name is now. Raises CannotRun, OSError."""
        pod, spec = record.observed.pod, record.spec(container)
        if not spec.env and not spec.env_from:
            return Environment()
        return environment(pod, spec, self.lookup, facts(pod, record.observed.uid, self._paths.state))

    def _config(
        self,
        record: PodRecord,
        container: Container,
        image: Image,
        cgroup: str,
        rules: Filter,
        env: Environment,
        volumes: Sequence[Mapping[str, Any]] = (),
        *,
        pid: bool = True,
    ) -> dict[str, Any]:
        """The OCI config of one container; `pid`: join the pod's PID namespace where it shares one."""
        pod, uid = record.observed.pod, record.observed.uid
        run = self._paths.pod_run(uid)
        namespaces = {kind: str(run / "ns" / _PINS[kind]) for kind in oci.sandbox_namespaces(pod)}
        if pod.spec.share_process_namespace and pid:
            namespaces["pid"] = str(run / "ns" / "pid")
        mounts, annotations = self._volumes.mounts(record, container, env.values)
        config = oci.container_config(
            pod,
            container,
            image_config=image.config,
            namespaces=namespaces,
            cgroups_path=cgroup,
            mounts=[
                *image.mounts,
                *etc_mounts(self._paths.pod_state(uid) / "etc", container),
                *_parents_first(volumes, mounts),
            ],
            shm=None if pod.spec.host_ipc else str(run / "shm"),
            user=image_user(pod, container, image, uid),
            rootfs="rootfs",
            environment=env,
            uid=uid,
            node_memory=_NODE_MEMORY,
            seccomp=rules.oci,
            devices=host_devices() if is_privileged(container) else (),
        )
        config["annotations"] |= annotations
        return config

    async def _image_volumes(self, container: Container, image: Image, bundle: Path) -> list[dict[str, Any]]:
        """Directories for the image's `Volumes`, in the bundle: they go with the run. Raises OSError."""
        taken = [mount.mount_path for mount in container.volume_mounts]
        paths = image_config.volume_paths(image.config, taken)
        return await asyncio.to_thread(image_config.make_volumes, image, paths, bundle / "volumes") if paths else []

    async def inspect(self, record: PodRecord, container: str, bundle: str) -> RunState:
        directory = self.bundle(record, container, bundle)
        cgroup = Cgroup(f"{self._paths.pod_cgroup(record.observed.uid)}/{container}-{bundle}")
        try:
            if bundle_records.claim(str(directory), {"pid": 0}):
                await asyncio.to_thread(_kill_and_remove, cgroup)  # none, unless somebody took the claim away
                return RunState("never")
        except FileNotFoundError:
            return RunState("never")
        deadline = boottime() + bundles.SETTLE
        while True:
            ended = bundles.read(directory / "exit.json")
            if ended is not None:
                return RunState("exited", exit=bundles.exit_of(ended))
            shim = bundles.read(directory / "shim.json") or {}
            alive = bundles.alive(shim)
            state = bundles.read(directory / "state.json")
            if not alive:
                if (ended := bundles.read(directory / "exit.json")) is not None:  # it ended between the two looks
                    return RunState("exited", exit=bundles.exit_of(ended))
                await asyncio.to_thread(_kill_and_remove, cgroup)
                if state is None:
                    return RunState("never")
                return RunState("exited", exit=bundles.unknown_exit(state))
            if state is not None:
                self._watch(record, container, bundle, shim["pid"], shim["startTime"])
                return RunState("running", Running(state["pid"], state["startedAt"], state["startedWall"]))
            present = (directory / "state.json").exists()
            torn = present and bundles.read(directory / "state.json") is None  # written by rename: it was harmed later
            if torn or boottime() > deadline:  # a run that cannot be controlled may not go on
                await asyncio.to_thread(_kill_and_remove, cgroup)
                await asyncio.to_thread(bundles.settle, directory)
                return RunState("exited", exit=bundles.unknown_exit({}))
            await asyncio.sleep(0.01)

    def _watch(self, record: PodRecord, container: str, bundle: str, pid: int, start_time: int) -> None:
        """Have `on_exit` called when the shim ends, which it does once the container's end is on record."""
        name = str(self.bundle(record, container, bundle))

        def ended() -> None:
            self._shim_ended(record, container, bundle)

        if not self._watch_process(name, pid, start_time, ended):
            asyncio.get_running_loop().call_soon(ended)

    def _watch_process(self, name: str, pid: int, start_time: int, ended: Callable[[], None]) -> bool:
        """Call `ended` once when the process ends; False where it has ended already (or never was that process)."""
        if name in self._watched:
            return True
        loop = asyncio.get_running_loop()
        try:
            pidfd = os.pidfd_open(pid)
        except ProcessLookupError:
            return False
        if bundle_records.start_time(pid) != start_time:
            os.close(pidfd)
            return False
        self._watched[name] = pidfd

        def readable() -> None:
            self._unwatch(name)
            ended()

        loop.add_reader(pidfd, readable)
        return True

    def _unwatch(self, name: str) -> None:
        pidfd = self._watched.pop(name, -1)
        if pidfd >= 0:
            asyncio.get_running_loop().remove_reader(pidfd)
            os.close(pidfd)

    def _shim_ended(self, record: PodRecord, container: str, bundle: str) -> None:
        directory = self.bundle(record, container, bundle)
        secret_process.forget(self._paths.pod_run(record.observed.uid), directory.name)
        ended = bundles.read(directory / "exit.json")
        if ended is None:
            asyncio.get_running_loop().create_task(self._shim_lost(record, container, bundle))
            return
        self.on_exit(record.observed.uid, container, bundle, bundles.exit_of(ended))

    async def _shim_lost(self, record: PodRecord, container: str, bundle: str) -> None:
        """The shim was killed: its container dies with it (PR_SET_PDEATHSIG); make sure of it, then say so."""
        cgroup = Cgroup(f"{self._paths.pod_cgroup(record.observed.uid)}/{container}-{bundle}")
        await asyncio.to_thread(_kill_and_remove, cgroup)
        state = bundles.read(self.bundle(record, container, bundle) / "state.json") or {}
        self.on_exit(record.observed.uid, container, bundle, bundles.unknown_exit(state))

    def signal(self, record: PodRecord, container: str, signo: int) -> None:
        bundles.signal_init(self.bundle(record, container, record.bundles[container]), signo)

    async def kill(self, record: PodRecord, container: str) -> None:
        await asyncio.to_thread(self.cgroup(record, container).kill)
        self.signal(record, container, signal.SIGKILL)  # where no cgroup is mounted that could be killed

    async def update_resources(self, record: PodRecord, container: str) -> tuple[str, ...]:
        pod = record.observed.pod
        if container:
            return tuple(self.cgroup(record, container).apply(oci.container_resources(record.spec(container))))
        running = [name for name, seen in record.observed.containers.items() if seen.state == "running"]
        children = [
            (self.cgroup(record, item.name), oci.container_resources(item))
            for item in pod.spec.containers
            if item.name in running
        ]
        return tuple(resize(self.cgroup(record, ""), oci.pod_resources(pod), children))

    async def forget_bundle(self, record: PodRecord, container: str, bundle: str, log: bool) -> None:
        directory = self.bundle(record, container, bundle)
        file = log_path(self._paths, record, container, bundle)

        def forget() -> None:
            secret_process.forget(self._paths.pod_run(record.observed.uid), directory.name)
            sandbox.remove_tree(str(directory))
            if log:
                for number in ("", *(f".{n}" for n in range(1, LOG_MAX_FILES))):
                    Path(file + number).unlink(missing_ok=True)

        await asyncio.to_thread(forget)

    async def remove_pod(self, record: PodRecord) -> None:
        uid, meta = record.observed.uid, record.observed.pod.metadata
        if record.observed.pod.spec.share_process_namespace:
            await self._kill_pause(record)

        def remove() -> None:
            left = Cgroup(self._paths.pod_cgroup(uid))
            if left.populated():  # what no record knows of
                left.kill()
            self._volumes.tear_down(record)
            sandbox.remove_sandbox(str(self._paths.pod_run(uid)), self._paths.pod_cgroup(uid))
            sandbox.remove_tree(str(self._paths.pod_logs(meta.namespace, meta.name, uid)))
            sandbox.remove_tree(str(self._paths.pod_state(uid)))

        await asyncio.to_thread(remove)

    async def exec(
        self, record: PodRecord, container: str, command: list[str], tty: bool, stdin: bool
    ) -> LinuxExecSession:
        directory = self.bundle(record, container, record.bundles[container])
        config = bundles.read(directory / "config.json")
        if config is None:
            raise RuntimeFailure("InternalError", f"{directory}: config.json cannot be read")
        own = config["process"]
        if secret_process.ANNOTATION in config.get("annotations", ()):
            try:
                own = secret_process.recall(self._paths.pod_run(record.observed.uid), directory.name)
            except OSError as error:
                raise RuntimeFailure("InternalError", f"the container's secrets cannot be read: {error}") from error
            if own is None:
                raise RuntimeFailure("InternalError", "the container is not running")
        process = oci.exec_process(own, command, tty)
        try:
            request = {"process": process, "seccomp": await self.seccomp.of_config(config)}
            return await open_exec(self._launcher, str(directory), request, tty=tty, stdin=stdin)
        except (LauncherError, LauncherDied, CannotCompile, OSError) as error:
            raise RuntimeFailure("InternalError", _words(error)) from error


_NODE_MEMORY = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
_PINS: Mapping[str, str] = {"network": "net", "ipc": "ipc", "uts": "uts"}


def _parents_first(*mounts: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """As containerd orders them: what is mounted in another mount comes after it."""
    return sorted(itertools.chain(*mounts), key=lambda mount: mount["destination"].rstrip("/").count("/"))


def _no_cgroups() -> bool:
    """Whether this machine has none mounted at all; then nothing is enforced, and nothing can be missed."""
    layout = cgroups.layout()
    return not layout.v1 and layout.unified is None


def _kill_and_remove(cgroup: Cgroup) -> None:
    if cgroup.exists():
        cgroup.kill()
        if not cgroup.remove():
            log.warning("cgroup_left_behind", cgroup=cgroup.path, hint="a process in it cannot be killed yet")


def _words(error: Exception) -> str:
    if isinstance(error, LauncherError):
        return error.message
    if isinstance(error, OSError) and error.filename:
        return f"{error.strerror}: {error.filename}"
    return str(error)
