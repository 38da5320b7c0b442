"""Runs one more process inside a running container. Forked by the launcher for an `exec` request.

Stays as that process' parent, tells how it ended on the descriptor it was given, and ends. Dies it, the process is
killed; dies the container, the kernel ends everything in its pid namespace.
"""

from __future__ import annotations

import fcntl
import json
import os
import struct
import termios
from _socket import AF_UNIX, SCM_RIGHTS, SOCK_STREAM, SOL_SOCKET, socket
from array import array
from signal import SIGKILL

from minikube_lite.linux import syscalls as kernel
from minikube_lite.linux.birth import Birth
from minikube_lite.linux.cgroups import Cgroup
from minikube_lite.linux.errors import Failure, as_failure
from minikube_lite.linux.init import give_up, listen, new_session_keyring, parent_alive, take_stdio
from minikube_lite.linux.process import Process
from minikube_lite.linux.records import STATE, read_json, start_time
from minikube_lite.linux.rootfs import change_directory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, NoReturn

    from minikube_lite.linux.launcher import Host

EVERYTHING = (
    kernel.CLONE_NEWNS | kernel.CLONE_NEWNET | kernel.CLONE_NEWIPC | kernel.CLONE_NEWUTS | kernel.CLONE_NEWCGROUP
)
TIOCGPTPEER, TIOCSPTLCK = 0x5441, 0x40045431  # ioctl_tty(2)


def run_exec(host: Host, message: Mapping[str, Any], fds: list[int], reply: int) -> None:
    """Serve one `exec` request. `fds`: [exit_w, stdin, stdout, stderr], with a terminal [exit_w, socket]."""
    child = 0
    try:
        child, warnings = start(host, message, fds)
        answer: dict[str, Any] = {"ok": {"pid": child, "startTime": start_time(child), "mismatches": warnings}}
    except Exception as error:
        answer = {"error": as_failure(error, "ExecError").to_json()}
    try:
        os.write(reply, json.dumps(answer).encode())
    except BrokenPipeError:
        pass  # the launcher has died; who waits for the exit still gets it
    os.close(reply)
    if "ok" not in answer:
        return
    for fd in fds[1:]:
        os.close(fd)
    _, status = os.waitpid(child, 0)
    signal = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    ended = {"code": 128 + signal if signal else os.WEXITSTATUS(status), "signal": signal}
    try:
        os.write(fds[0], json.dumps(ended).encode())
    except BrokenPipeError:
        pass  # nobody wants to know any more


def start(host: Host, message: Mapping[str, Any], fds: list[int]) -> tuple[int, list[str]]:
    """Fork the process into the container and wait until it runs the command; returns its pid and warnings."""
    wanted = message["process"]
    terminal = bool(wanted.get("terminal"))
    if len(fds) != (2 if terminal else 4):
        raise Failure("ExecError", "exec takes exit, stdin, stdout, stderr; with a terminal exit and a socket")
    process = Process(wanted, host.capabilities, host.last_capability, message)
    state = read_json(f"{message['bundle']}/{STATE}")
    pidfd = open_container(state, host.boot_id)
    heard, report = os.pipe()
    birth = Birth(pidfd, state["cgroupsPath"])
    child = birth.fork()
    if child == 0:
        os.close(heard)
        become_process(pidfd, birth, process, wanted, fds, report, message["bundle"])
    os.close(report)
    os.close(pidfd)
    warnings: list[str] = []
    for line in listen(heard):
        said = json.loads(line)
        if "error" in said:
            os.waitpid(child, 0)
            raise Failure(**said["error"])
        warnings += said["warnings"]
    return child, warnings


def open_container(state: Any, boot: str) -> int:
    """A pidfd of the container's PID 1, proven to be the one that the record is about."""
    gone = Failure("NotRunning", "the container is not running")
    if not state or state["bootId"] != boot:
        raise gone
    try:
        pidfd = os.pidfd_open(state["pid"])
    except ProcessLookupError:
        raise gone from None
    if start_time(state["pid"]) != state["startTime"]:
        os.close(pidfd)
        raise gone
    return pidfd


def become_process(
    pidfd: int, birth: Birth, process: Process, wanted: Mapping[str, Any], fds: list[int], report: int, bundle: str
) -> NoReturn:
    """In the child: enter the container as its PID 1 sees it, and run the command."""
    try:
        kernel.prctl(kernel.PR_SET_PDEATHSIG, SIGKILL)
        parent_alive(report)
        os.setsid()
        birth.join_cgroup(Cgroup(birth.cgroup))
        process.limit()
        new_session_keyring(bundle)
        kernel.setns(pidfd, EVERYTHING, "of the container")  # root and working directory become its own
        root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        change_directory(root, process.cwd)
        if wanted.get("terminal"):
            terminal = open_terminal(fds[1], wanted.get("consoleSize") or {})
            take_stdio((terminal, terminal, terminal))
        else:
            take_stdio((fds[1], fds[2], fds[3]))
        process.own_stdio()
        process.become(lambda: parent_alive(report))
        kernel.close_range(3, flags=kernel.CLOSE_RANGE_CLOEXEC)
        if process.warnings:
            os.write(report, json.dumps({"warnings": process.warnings}).encode() + b"\n")
        process.execute()
    except BaseException as error:
        give_up(report, error, {})


def open_terminal(caller: int, size: Mapping[str, int]) -> int:
    """Make a pty of the container's own devpts, send its master to the caller, and take it as controlling terminal.

    The other end comes from the master itself (TIOCGPTPEER), so no path in the container is trusted for it.
    """
    master = os.open("/dev/ptmx", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    if os.fstat(master).st_rdev != os.makedev(5, 2):
        raise Failure("ExecError", "/dev/ptmx of the container is not the terminal multiplexer (5:2)")
    fcntl.ioctl(master, TIOCSPTLCK, struct.pack("i", 0))
    slave = fcntl.ioctl(master, TIOCGPTPEER, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    if size:
        window = struct.pack("HHHH", size.get("height", 0), size.get("width", 0), 0, 0)
        fcntl.ioctl(slave, termios.TIOCSWINSZ, window)
    fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
    rights = array("i", [master]).tobytes()
    socket(AF_UNIX, SOCK_STREAM, 0, os.dup(caller)).sendmsg([b"\0"], [(SOL_SOCKET, SCM_RIGHTS, rights)])
    os.close(master)
    return slave
