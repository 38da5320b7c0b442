"""The parent of one container's PID 1: starts it, writes its log and, when it ends, its exit record.

Forked by the launcher for a `run` request; outlives launcher and node. Leaves in the bundle `shim.json` (who runs
it: the claim), `state.json` (what runs) and at last `exit.json` (how it ended). While the container is quiet it
sleeps in one poll(2). Dies it, the kernel kills the container (PR_SET_PDEATHSIG).
"""

from __future__ import annotations

import json
import os
import select
from time import time

from minikube_lite.linux.cgroups import Cgroup
from minikube_lite.linux.errors import Failure, as_failure, describe
from minikube_lite.linux.init import become_init, listen
from minikube_lite.linux.logs import LogRing, LogStream
from minikube_lite.linux.namespaces import Namespaces
from minikube_lite.linux.process import Process
from minikube_lite.linux.records import (
    EXIT,
    SHIM,
    STATE,
    boottime,
    claim,
    process_record,
    read_json,
    remove,
    start_time,
    write_json,
)
from minikube_lite.linux.rootfs import root_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from minikube_lite.linux.launcher import Host

FLUSH_AFTER = 100
"""Milliseconds that the start of a line waits for its end before it is written as it is."""

PIPE_READ = 65536


def run_shim(host: Host, message: Mapping[str, Any], fds: list[int], reply: int) -> None:
    """Serve one `run` request: answer on `reply` (a pipe to the launcher), then stay until the container has ended."""
    shim = Shim(host, message, fds)
    try:
        answer = {"ok": shim.start()}
    except Exception as error:
        failure = as_failure(error)
        shim.undo(failure)
        answer = {"error": failure.to_json()}
    try:
        os.write(reply, json.dumps(answer).encode())
    except BrokenPipeError:
        pass  # the launcher has died: the node finds the container by state.json
    os.close(reply)
    if "ok" in answer:
        shim.wait()


class Shim:
    def __init__(self, host: Host, message: Mapping[str, Any], fds: list[int]) -> None:
        self.host, self.message, self.fds = host, message, fds
        self.bundle: str = message["bundle"]
        self.pid = self.pidfd = 0
        self.cgroup: Cgroup | None = None
        self.claimed = self.made_root = False
        self.streams: dict[int, LogStream] = {}
        self.ring: LogRing | None = None
        self.began = self.began_wall = 0.0

    def start(self) -> dict[str, Any]:
        """Claim the bundle, make the cgroup, start PID 1. Returns the reply. Raises Failure, OSError, ValueError."""
        me = process_record(os.getpid(), self.host.boot_id)
        if not claim(self.bundle, me):
            raise Failure("AlreadyClaimed", f"{self.bundle} was claimed by another process")
        self.claimed = True
        config = read_json(f"{self.bundle}/config.json")
        if config is None:
            raise Failure("CreateError", f"{self.bundle}/config.json: No such file or directory")
        namespaces = Namespaces((config.get("linux") or {}).get("namespaces") or ())
        process = Process(config.get("process") or {}, self.host.capabilities, self.host.last_capability)
        warnings = unsupported(config)
        self._make_root(config)
        linux = config.get("linux") or {}
        cgroups_path = "/" + (linux.get("cgroupsPath") or os.path.basename(self.bundle)).lstrip("/")
        self.cgroup = Cgroup(cgroups_path)
        warnings += self.cgroup.create(linux.get("resources") or {}) or []
        warnings += self._start_init(config, namespaces, process)
        self.began, self.began_wall = boottime(), time()
        state = {
            "ociVersion": config.get("ociVersion", "1.0.2"),
            "id": os.path.basename(self.bundle),
            "status": "running",
            "bundle": self.bundle,
            "cgroupsPath": cgroups_path,
            "pid": self.pid,
            "startTime": start_time(self.pid),
            "bootId": self.host.boot_id,
            "shimPid": me["pid"],
            "shimStartTime": me["startTime"],
            "startedAt": self.began,
            "startedWall": self.began_wall,
        }
        write_json(f"{self.bundle}/{STATE}", state)
        return {name: state[name] for name in ("pid", "startTime", "shimPid", "shimStartTime")} | {
            "mismatches": warnings
        }

    def _make_root(self, config: Mapping[str, Any]) -> None:
        """The directory that the rootfs is mounted on, where there is something to mount."""
        if self.message.get("rootfs"):
            try:
                os.mkdir(root_path(config, self.bundle), 0o755)
                self.made_root = True
            except FileExistsError:
                pass

    def _start_init(self, config: Mapping[str, Any], namespaces: Namespaces, process: Process) -> list[str]:
        """Fork PID 1 and wait until it has become the command; returns its warnings."""
        stdio, pipes = self._stdio()
        heard, report = os.pipe()
        namespaces.enter_pid()
        assert self.cgroup
        self.pid = os.fork()
        if self.pid == 0:
            os.close(heard)
            become_init(
                config,
                self.bundle,
                self.message.get("rootfs") or (),
                namespaces=namespaces,
                cgroup=self.cgroup,
                process=process,
                stdio=stdio,
                report=report,
                ignore_sigchld=bool(self.message.get("ignoreSigchld")),
            )
        self.pidfd = os.pidfd_open(self.pid)
        for fd in (report, *pipes, *self.fds):
            os.close(fd)
        return listen(heard)

    def _stdio(self) -> tuple[tuple[int, int, int], list[int]]:
        """What the container gets as 0, 1, 2, and which of these the shim must close after the fork."""
        if self.fds:
            if len(self.fds) != 3:
                raise Failure("CreateError", "run takes three descriptors (stdin, stdout, stderr) or none")
            return (self.fds[0], self.fds[1], self.fds[2]), []
        log = self.message.get("log")
        if not log:
            return (0, 1, 2), []  # the shim's own: /dev/null
        self.ring = LogRing(log["path"], log.get("maxBytes") or 10 << 20, log.get("maxFiles") or 5)
        ends = []
        for name in ("stdout", "stderr"):
            ours, theirs = os.pipe()
            os.set_blocking(ours, False)
            self.streams[ours] = LogStream(self.ring, name)
            ends.append(theirs)
        return (0, ends[0], ends[1]), ends

    def undo(self, failure: Failure) -> None:
        """After a failed start: leave nothing. What cannot be removed is added to the message."""
        if self.pid:
            os.kill(self.pid, 9)  # not reaped yet, so the pid is still its own
            os.waitpid(self.pid, 0)
        left = []
        if self.cgroup:
            try:
                self.cgroup.remove()
            except OSError as error:
                left.append(describe(error))
        if self.made_root:
            path = f"{self.bundle}/rootfs"
            try:
                os.rmdir(path)
            except OSError as error:
                left.append(describe(error))
        if self.claimed:
            remove(f"{self.bundle}/{STATE}")
            remove(f"{self.bundle}/{SHIM}")
        if left:
            failure.message += f" (left behind: {'; '.join(left)})"

    def wait(self) -> None:
        """Copy output until PID 1 has ended, then kill what it left, write the rest of the log and the exit record."""
        self._follow()
        _, status = os.waitpid(self.pid, 0)
        ended, ended_wall = boottime(), time()
        os.close(self.pidfd)
        notes = []
        oom = False
        assert self.cgroup
        try:
            self.cgroup.kill()
            oom = self.cgroup.oom_kills() > 0
        except OSError as error:
            notes.append(describe(error))
        for fd, stream in self.streams.items():
            self._copy(fd, stream)
            stream.flush()
        try:
            self.cgroup.remove()
        except OSError as error:
            notes.append(describe(error))
        if self.ring and self.ring.lost:
            notes.append(f"{self.ring.lost} log lines were lost: {self.ring.path} could not be written")
        signal = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
        write_json(
            f"{self.bundle}/{EXIT}",
            {
                "code": 128 + signal if signal else os.WEXITSTATUS(status),
                "signal": signal,
                "oomKilled": oom,
                "startedAt": self.began,
                "finishedAt": ended,
                "startedWall": self.began_wall,
                "finishedWall": ended_wall,
                "message": "; ".join(notes),
            },
        )

    def _follow(self) -> None:
        """Sleep in poll(2) until PID 1 has ended, writing what its pipes bring."""
        poller = select.poll()
        poller.register(self.pidfd, select.POLLIN)
        for fd in self.streams:
            poller.register(fd, select.POLLIN)
        while True:
            waiting = any(stream.pending for stream in self.streams.values())
            events = poller.poll(FLUSH_AFTER if waiting else None)
            if not events:
                for stream in self.streams.values():
                    stream.flush()
            for fd, _ in events:
                if fd in self.streams and not self._copy(fd, self.streams[fd], limit=16):
                    poller.unregister(fd)
            if any(fd == self.pidfd for fd, _ in events):
                return

    def _copy(self, fd: int, stream: LogStream, limit: int = 1 << 16) -> bool:
        """Take what the pipe holds, at most `limit` reads; False at its end.

        The end may never come: a process elsewhere can hold the pipe. So nobody waits for it.
        """
        for _ in range(limit):
            try:
                data = os.read(fd, PIPE_READ)
            except BlockingIOError:
                return True
            if not data:
                return False
            stream.feed(data)
        return True


def unsupported(config: Mapping[str, Any]) -> list[str]:
    """Warnings for what the config asks and this runtime does not do; Failure where leaving it out would be unsafe."""
    linux, process = config.get("linux") or {}, config.get("process") or {}
    if any((config.get("hooks") or {}).values()):
        raise Failure("CreateError", "hooks are not supported")
    if linux.get("uidMappings") or linux.get("gidMappings"):
        raise Failure("CreateError", "user namespaces are not supported")
    warnings = []
    if linux.get("seccomp"):
        warnings.append("linux.seccomp is not applied")
    for name in ("apparmorProfile", "selinuxLabel"):
        if process.get(name):
            warnings.append(f"process.{name} is not applied")
    return warnings
