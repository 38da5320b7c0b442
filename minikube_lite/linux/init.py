"""The child that becomes a container's PID 1. Called by the shim right after the fork; ends in execve(2).

From the top of `become_init` to its end is the whole road from a process to a container. It tells the shim by a pipe
how it went: a line of warnings before the exec, an error instead of it; that the pipe closes is the exec's success.
"""

from __future__ import annotations

import json
import os
import select
import stat
from signal import SIGKILL

from minikube_lite.linux import syscalls as kernel
from minikube_lite.linux.errors import Failure, as_failure
from minikube_lite.linux.namespaces import Namespaces
from minikube_lite.linux.process import Process
from minikube_lite.linux.rootfs import Rootfs, allowed_sysctls, change_directory, write_sysctls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any, NoReturn

    from minikube_lite.linux.cgroups import Cgroup


def become_init(
    config: Mapping[str, Any],
    bundle: str,
    layers: Sequence[Mapping[str, Any]],
    *,
    namespaces: Namespaces,
    cgroup: Cgroup,
    process: Process,
    stdio: tuple[int, int, int],
    report: int,
    ignore_sigchld: bool,
) -> NoReturn:
    """Set everything up and run the command. `stdio` become 0, 1, 2; `report` is the pipe to the shim."""
    try:
        linux = config.get("linux") or {}
        kernel.prctl(kernel.PR_SET_PDEATHSIG, SIGKILL)
        parent_alive(report)
        os.setsid()
        cgroup.join(0)  # before the cgroup namespace is made: its root is where the process is then
        process.limit()
        namespaces.enter()
        if namespaces.owns(kernel.CLONE_NEWUTS) and config.get("hostname"):
            kernel.sethostname(config["hostname"])
        owns = (namespaces.owns(flag) for flag in (kernel.CLONE_NEWNET, kernel.CLONE_NEWIPC, kernel.CLONE_NEWUTS))
        write_sysctls(linux.get("sysctl") or {}, allowed_sysctls(*owns))
        new_session_keyring(bundle)
        rootfs = Rootfs(config, bundle, layers)
        root = rootfs.prepare()
        rootfs.enter(root)
        change_directory(root, process.cwd)
        take_stdio(stdio)
        process.own_stdio()
        process.become(lambda: parent_alive(report))
        kernel.close_range(3, flags=kernel.CLOSE_RANGE_CLOEXEC)
        if warnings := process.warnings + rootfs.warnings:
            os.write(report, json.dumps({"warnings": warnings}).encode() + b"\n")
        process.execute(ignore_sigchld)
    except BaseException as error:
        give_up(report, error)


def parent_alive(report: int) -> None:
    """End at once if the shim is gone: PDEATHSIG says nothing of a parent that died before it was set.

    (In a new pid namespace getppid(2) is 0 in any case, so the pipe that only the shim reads is asked.)
    """
    poller = select.poll()
    poller.register(report, 0)
    if poller.poll(0):
        os._exit(1)


def new_session_keyring(bundle: str) -> None:
    try:
        kernel.join_session_keyring(os.path.basename(bundle))
    except OSError:
        pass  # a kernel without keys (ENOSYS), or a quota that is used up: there is nothing to be hidden then


def take_stdio(stdio: tuple[int, int, int]) -> None:
    """Make these 0, 1 and 2. A null device of the host's gives way to the container's own."""
    for target, fd in enumerate(stdio):
        if fd != target:
            os.dup2(fd, target)
    null = os.makedev(1, 3)
    held = [fd for fd in (0, 1, 2) if os.fstat(fd).st_rdev == null]
    if not held:
        return
    try:
        own = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return  # an image with no /dev at all: what is held has no path back to the host's
    found = os.fstat(own)
    if stat.S_ISCHR(found.st_mode) and found.st_rdev == null:
        for fd in held:
            os.dup2(own, fd)
    os.close(own)


def listen(heard: int) -> list[str]:
    """In the parent: read what the child reports until its exec closes the pipe; returns its warnings.

    Raises the Failure that it reported. A child that is killed before its exec closes the pipe too: then its end is
    what is seen next.
    """
    text = b""
    while chunk := os.read(heard, 65536):
        text += chunk
    os.close(heard)
    warnings: list[str] = []
    for line in text.splitlines():
        said = json.loads(line)
        if "error" in said:
            raise Failure(**said["error"])
        warnings += said["warnings"]
    return warnings


def give_up(report: int, error: BaseException) -> NoReturn:
    """Tell the shim why, and end."""
    try:
        failure = error if isinstance(error, Failure) else as_failure(error)
        os.write(report, json.dumps({"error": failure.to_json()}).encode() + b"\n")
    finally:
        os._exit(1)
