"""The child that becomes a container's PID 1. Forked by the shim; ends in execve(2).

From the top of `set_up` to its end is the whole road from a process to a container. All the work is done here and
not in the shim, because memory touched here is given back by the exec, while the shim keeps its own for the
container's life. The shim is told by a pipe: a line with the reply, then, if the exec failed, a line with the error;
that the pipe closes after the first is the exec's success.
"""

from __future__ import annotations

import json
import os
import select
import stat
from signal import SIGKILL
from time import time

from minikube_lite.linux import syscalls as kernel
from minikube_lite.linux.birth import Birth
from minikube_lite.linux.cgroups import Cgroup
from minikube_lite.linux.errors import Failure, as_failure
from minikube_lite.linux.namespaces import Namespaces
from minikube_lite.linux.process import Process
from minikube_lite.linux.records import STATE, boottime, claim, process_record, read_json, start_time, write_json
from minikube_lite.linux.rootfs import DEVICE_RULES, Rootfs, allowed_sysctls, change_directory, root_path, write_sysctls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, NoReturn

    from minikube_lite.linux.launcher import Host

STARTING = STATE + ".starting"
"""`state.json` under this name until the exec is known to have succeeded."""


def become_init(
    host: Host, message: Mapping[str, Any], *, birth: Birth, shim: int, stdio: tuple[int, int, int], report: int
) -> NoReturn:
    """Set everything up and run the command.

    `birth`: where this process was forked into, by a guess. If the config asks for another place, that one is named
    on `report` (after an `@`) before anything is done, and the shim forks again.
    """
    made: dict[str, Any] = {}
    try:
        kernel.prctl(kernel.PR_SET_PDEATHSIG, SIGKILL)
        parent_alive(report)
        bundle = message["bundle"]
        config = read_json(f"{bundle}/config.json")
        if config is None:
            raise Failure("CreateError", f"{bundle}/config.json: No such file or directory")
        namespaces = Namespaces((config.get("linux") or {}).get("namespaces") or ())
        path = cgroups_path(config, bundle)
        if birth != Birth(namespaces.pid, path):
            os.write(report, b"@" + os.fsencode(f"{namespaces.pid}\0{path}"))
            os._exit(0)
        shim_record = process_record(shim, host.boot_id)
        if not claim(bundle, shim_record):
            raise Failure("AlreadyClaimed", f"{bundle} was claimed by another process")
        made |= {"claim": True, "cgroup": birth.cgroup}
        process = set_up(host, config, message, namespaces, birth, stdio, report, made, shim_record)
        process.execute(bool(message.get("ignoreSigchld")))
    except BaseException as error:
        give_up(report, error, made)


def set_up(
    host: Host,
    config: Mapping[str, Any],
    message: Mapping[str, Any],
    namespaces: Namespaces,
    birth: Birth,
    stdio: tuple[int, int, int],
    report: int,
    made: dict[str, Any],
    shim: Mapping[str, Any],
) -> Process:
    """Everything but the exec. What is `made` outside of this process is noted there, for the shim to undo."""
    bundle, linux = message["bundle"], config.get("linux") or {}
    process = Process(config.get("process") or {}, host.capabilities, host.last_capability)
    rootfs = Rootfs(config, bundle, message.get("rootfs") or ())
    warnings = unsupported(config)
    os.setsid()
    if message.get("rootfs"):
        made["root"] = make_directory_once(root_path(config, bundle))
    cgroup = Cgroup(birth.cgroup)
    warnings += cgroup.create(with_default_devices(linux.get("resources") or {}))
    birth.join_cgroup(cgroup)  # before the cgroup namespace is made: its root is where the process is then
    process.limit()
    me = int(os.readlink("/proc/self"))  # not getpid(2): that is 1 in a new pid namespace
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
        "cgroupsPath": birth.cgroup,
        "pid": me,
        "startTime": started,
        "bootId": host.boot_id,
        "shimPid": shim["pid"],
        "shimStartTime": shim["startTime"],
        "startedAt": boottime(),
        "startedWall": time(),
    }
    write_json(f"{bundle}/{STARTING}", state)
    root = rootfs.prepare(cgroup)
    rootfs.enter(root)
    change_directory(root, process.cwd)
    take_stdio(stdio)
    process.own_stdio()
    process.become(lambda: parent_alive(report))
    kernel.close_range(3, flags=kernel.CLOSE_RANGE_CLOEXEC)
    told = ("pid", "startTime", "shimPid", "shimStartTime", "startedAt", "startedWall")
    answer = {name: state[name] for name in told}
    warnings += process.warnings + rootfs.warnings
    os.write(report, json.dumps({"ok": answer | {"mismatches": warnings}}).encode() + b"\n")
    return process


def cgroups_path(config: Mapping[str, Any], bundle: str) -> str:
    """`linux.cgroupsPath`, absolute in every hierarchy; without one it is named after the bundle."""
    path = (config.get("linux") or {}).get("cgroupsPath") or os.path.basename(bundle)
    return Cgroup("/" + path).path


def with_default_devices(resources: Mapping[str, Any]) -> Mapping[str, Any]:
    """Where access to devices is ruled at all, allow what every container has, and to make nodes (as runc does)."""
    rules = resources.get("devices")
    if not rules:
        return resources
    return {**resources, "devices": [*rules, *(rule for rule in DEVICE_RULES if rule not in rules)]}


def make_directory_once(path: str) -> bool:
    """Whether it was made now: only then it is ours to remove."""
    try:
        os.mkdir(path, 0o755)
    except FileExistsError:
        return False
    return True


def unsupported(config: Mapping[str, Any]) -> list[str]:
    """Warnings for what the config asks and this runtime does not do; Failure where leaving it out would be unsafe."""
    linux, process = config.get("linux") or {}, config.get("process") or {}
    if any((config.get("hooks") or {}).values()):
        raise Failure("CreateError", "hooks are not supported")
    if process.get("terminal"):
        raise Failure("CreateError", "process.terminal: only exec can have a terminal")
    if linux.get("uidMappings") or linux.get("gidMappings"):
        raise Failure("CreateError", "user namespaces are not supported")
    warnings = []
    if linux.get("seccomp"):
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
