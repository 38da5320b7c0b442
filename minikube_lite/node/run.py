"""Runs a node until it is told to stop. cli's `run` calls it; the launcher is started before any heavy import.

Only the standard library and `linux.client` are imported at the top: the launcher must be forked off a small process.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import resource
import signal
from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minikube_lite.linux.client import Launcher
from minikube_lite.node.paths import Paths

if TYPE_CHECKING:
    from minikube_lite.node.logging import LogFormat
    from minikube_lite.node.service import NodeService

Serve = Callable[["NodeService", Path], AbstractAsyncContextManager[Any]]
"""Serves the API of a node on a socket for as long as the context lasts (`api.server.serve`)."""


class CannotRun(Exception):
    """The node cannot start here; the message says what, where and what next."""


@dataclass(frozen=True, slots=True)
class Options:
    """Durations in seconds."""

    backoff_initial: float = 1.0
    backoff_max: float = 60.0
    parallel_pulls: int = 3
    image_gc_high: int = 85
    image_gc_low: int = 80
    """Percent of the disk's usage."""
    minimum_image_ttl: float = 120.0
    log_format: LogFormat = "auto"
    verbose: bool = False
    allowed_unsafe_sysctls: tuple[str, ...] = ()
    """Patterns such as `kernel.msg*` (core.sysctls)."""


def run(paths: Paths, manifests: Path | None, options: Options, serve: Callable[[], Serve]) -> int:
    """Run until SIGTERM or SIGINT; returns the number of containers that run on without the node.

    `serve()` gives the server; it is called only after the launcher has been started, for what it imports is heavy.

    Raises CannotRun where the node cannot start: not root, the root is in use, no such directory.
    """
    if os.geteuid() != 0:
        raise CannotRun(
            "minikube-lite run needs root: it makes namespaces, mounts and cgroups (try: sudo minikube-lite run)"
        )
    _check_sysctls(options.allowed_unsafe_sysctls)
    directory = _manifests(paths, manifests)
    with contextlib.ExitStack() as stack:
        _make_directories(paths)
        stack.enter_context(_lock(paths))
        _raise_file_limit()
        launcher = Launcher.spawn()
        from minikube_lite.node import logging

        logging.configure(options.log_format, options.verbose)
        return asyncio.run(_main(paths, directory, options, launcher, serve()))


def _check_sysctls(patterns: Iterable[str]) -> None:
    if not patterns:
        return
    from minikube_lite.core.sysctls import wrong_pattern

    for pattern in patterns:
        if why := wrong_pattern(pattern):
            raise CannotRun(f"--allowed-unsafe-sysctls {pattern}: {why}")


def _manifests(paths: Paths, given: Path | None) -> Path:
    if given is None:
        paths.manifests.mkdir(parents=True, exist_ok=True)
        return paths.manifests
    directory = Path(os.path.abspath(given))
    if not directory.is_dir():
        what = "is not a directory" if directory.exists() else "does not exist"
        raise CannotRun(f"the manifests directory {directory} {what} (make it: mkdir -p {directory})")
    return directory


def _make_directories(paths: Paths) -> None:
    try:
        private = (paths.state, paths.pods, paths.images, paths.run / "pods", paths.volumes, paths.logs)
        for directory in (paths.run, *private):
            directory.mkdir(parents=True, exist_ok=True)
            directory.chmod(
                0o755 if directory == paths.run else 0o700
            )  # secrets' files are as open as Kubernetes has them
    except OSError as error:
        raise CannotRun(f"cannot make {error.filename}: {error.strerror}") from error


@contextlib.contextmanager
def _lock(paths: Paths) -> Any:
    """One node for one root: flock(2), which the kernel takes back whatever happens to us."""
    descriptor = os.open(paths.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 32).decode().strip()
            where = f"--root {paths.root}" if paths.root else "the default root"
            raise CannotRun(
                f"a node runs already with {where} (pid {holder or 'unknown'}); give this one its own --root"
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _raise_file_limit() -> None:
    """A descriptor is held for every container that runs: up to the hard limit (getrlimit(2))."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def _main(paths: Paths, manifests: Path, options: Options, launcher: Launcher, serve: Serve) -> int:
    import structlog

    from minikube_lite import __version__
    from minikube_lite.core.model import Policy
    from minikube_lite.images.store import ImageStore
    from minikube_lite.linux import cgroups
    from minikube_lite.node.image_gc import Thresholds
    from minikube_lite.node.linux_runtime import LinuxRuntime
    from minikube_lite.node.node import Node

    log = structlog.get_logger(__name__)
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    images = ImageStore(paths.images)
    images.sweep()
    runtime = LinuxRuntime(paths, images, launcher, Launcher.spawn, options.allowed_unsafe_sysctls)
    runtime.attach()
    prepared = asyncio.create_task(runtime.seccomp.prepare())
    for warning in cgroups.layout().shortcomings():
        log.warning("not_enforced", message=warning)
    policy = Policy(
        backoff_initial=options.backoff_initial,
        backoff_max=options.backoff_max,
        parallel_pulls=options.parallel_pulls,
    )
    thresholds = Thresholds(options.image_gc_high, options.image_gc_low, options.minimum_image_ttl)
    node = Node(paths, manifests, runtime, images, policy, boot_id, thresholds)
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signo in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signo, stopping.set)
    log.info("node_starting", version=__version__, manifests=str(manifests), root=str(paths.root or "/"))
    await node.start()
    try:
        async with serve(node, paths.socket):
            await node.first_pass()
            if shortcoming := await prepared:
                log.warning("not_enforced", message=shortcoming)
            log.info("node_ready", socket=str(paths.socket), pods=len(node.pods), pid=os.getpid())
            await stopping.wait()
    finally:
        await node.stop()
        await runtime.close()
    running = sum(seen.state == "running" for record in node.pods for seen in record.observed.containers.values())
    log.info("node_stopped", containers_still_running=running)
    return int(running)
