"""The child that becomes a container's PID 1. Made by the starter; ends in execve(2).

From the top of `set_up` to its end is the road from a process, in its cgroup and its PID namespace, to a container.
The starter is told by a pipe: a line with the reply, then, if the exec failed, one with the error; that the pipe
closes after the first is the exec's success. By another pipe the shim is told whom it will have to wait for.
"""

from __future__ import annotations

import json
import os
import select
import stat
from signal import SIGKILL
from time import time

from minikube_lite.linux import syscalls as kernel
from minikube_lite.linux.errors import Failure, as_failure
from minikube_lite.linux.records import STATE, boottime, start_time, write_new
from minikube_lite.linux.rootfs import allowed_sysctls, change_directory, write_sysctls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, NoReturn

    from minikube_lite.linux.starter import Start

STARTING = STATE + ".starting"
"""`state.json` under this name until the exec is known to have succeeded."""


def become_init(start: Start, made: Mapping[str, Any]) -> NoReturn:
    """Set everything up and run the command. `made`: what the shim has to undo if that fails."""
    try:
        kernel.prctl(kernel.PR_SET_PDEATHSIG, SIGKILL)
        parent_alive(start.tell)
        set_up(start)
        start.process.execute(bool(start.message.get("ignoreSigchld")))
    except BaseException as error:
        give_up(start.report, error, made)


def set_up(start: Start) -> None:
    """Everything but the exec."""
    config, bundle = start.config, start.bundle
    linux, namespaces, process, rootfs = config.get("linux") or {}, start.namespaces, start.process, start.rootfs
    os.setsid()
    start.birth.join_cgroup(start.cgroup)  # before the cgroup namespace is made: its root is where the process is then
    process.limit()
    me = int(os.readlink("/proc/self"))  # not getpid(2): that is 1 in a new pid namespace
    os.write(start.tell, json.dumps((me, start.birth.cgroup)).encode() + b"\n")
    started = start_time(me)
    namespaces.enter()
    if namespaces.owns(kernel.CLONE_NEWUTS) and config.get("hostname"):
        kernel.sethostname(config["hostname"])
    owns = (namespaces.owns(flag) for flag in (kernel.CLONE_NEWNET, kernel.CLONE_NEWIPC, kernel.CLONE_NEWUTS))
    write_sysctls(linux.get("sysctl") or {}, allowed_sysctls(*owns))
    new_session_keyring(bundle)
    state = {
        "ociVersion": config.get("ociVersion", "1.0.2"),
        "id": os.path.basename(bundle),
        "status": "running",
        "bundle": bundle,
        "cgroupsPath": start.birth.cgroup,
        "pid": me,
        "startTime": started,
        "bootId": start.host.boot_id,
        "shimPid": start.shim["pid"],
        "shimStartTime": start.shim["startTime"],
        "startedAt": boottime(),
        "startedWall": time(),
    }
    write_new(f"{bundle}/{STARTING}", state)  # nobody reads it by this name
    root = rootfs.prepare(start.cgroup)
    rootfs.enter(root, process.cwd)
    change_directory(root, process.cwd)
    take_stdio(start.stdio)
    process.own_stdio()
    process.become(lambda: parent_alive(start.tell))
    kernel.close_range(3, flags=kernel.CLOSE_RANGE_CLOEXEC)
    told = ("pid", "startTime", "shimPid", "shimStartTime", "startedAt", "startedWall")
    answer = {name: state[name] for name in told}
    warnings = start.warnings + process.warnings + rootfs.warnings
    os.write(start.report, json.dumps({"ok": answer | {"mismatches": warnings}}).encode() + b"\n")


def unsupported(config: Mapping[str, Any], message: Mapping[str, Any]) -> list[str]:
    """Warnings for what the config asks and this runtime does not do; Failure where leaving it out would be unsafe."""
    linux, process = config.get("linux") or {}, config.get("process") or {}
    if any((config.get("hooks") or {}).values()):
        raise Failure("CreateError", "hooks are not supported")
    if process.get("terminal"):
        raise Failure("CreateError", "process.terminal: only exec can have a terminal")
    if linux.get("uidMappings") or linux.get("gidMappings"):
        raise Failure("CreateError", "user namespaces are not supported")
    warnings = []
    if linux.get("seccomp") and not message.get("seccomp"):  # only the node can compile it
        warnings.append("linux.seccomp is not applied")
    for name in ("apparmorProfile", "selinuxLabel"):
        if process.get(name):
            warnings.append(f"process.{name} is not applied")
    return warnings


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


def listen(heard: int) -> list[bytes]:
    """In the parent: the lines that the child reports until its exec, or its end, closes the pipe."""
    text = b""
    while chunk := os.read(heard, 65536):
        text += chunk
    os.close(heard)
    return text.splitlines()


def give_up(report: int, error: BaseException, made: Mapping[str, Any]) -> NoReturn:
    """Tell the parent why and what there is to undo, and end."""
    try:
        os.write(report, json.dumps({"error": as_failure(error).to_json(), "made": made}).encode() + b"\n")
    finally:
        os._exit(1)
