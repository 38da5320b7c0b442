"""The parent of one container's PID 1: starts it, writes its log and, when it ends, its exit record.

Forked by the launcher for a `run` request; outlives launcher and node. Leaves in the bundle `shim.json` (who runs
it: the claim), `state.json` (what runs) and at last `exit.json` (how it ended). While the container is quiet it
sleeps in one poll(2). Dies it, the kernel kills the container (PR_SET_PDEATHSIG).

Every page it touches before it sleeps is its own for the container's life (a forked process shares memory with the
launcher only until it writes to it, and Python writes to whatever it looks at). So it does next to nothing itself
until the container has ended: `init` does the work and `state.json` keeps the facts.
"""

from __future__ import annotations

import json
import os
import select
from time import time

from minikube_lite.linux.birth import Birth
from minikube_lite.linux.cgroups import Cgroup
from minikube_lite.linux.errors import Failure, as_failure, describe
from minikube_lite.linux.init import STARTING, become_init, listen
from minikube_lite.linux.logs import LogRing, LogStream
from minikube_lite.linux.records import EXIT, SHIM, STATE, boottime, read_json, remove, write_json
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
    shim = Shim(message, fds)
    try:
        answer = shim.start(host)
    except Exception as error:
        answer = b""
        refusal = json.dumps({"error": shim.undo(as_failure(error)).to_json()}).encode()
    try:
        os.write(reply, answer or refusal)
    except BrokenPipeError:
        pass  # the launcher has died: the node finds the container by state.json
    os.close(reply)
    if answer:
        shim.wait()


class Shim:
    __slots__ = ("birth", "bundle", "fds", "made", "message", "pid", "pidfd", "ring", "streams")

    def __init__(self, message: Mapping[str, Any], fds: list[int]) -> None:
        self.message, self.fds = message, fds
        self.bundle: str = message["bundle"]
        self.pid = self.pidfd = 0
        self.birth = Birth("", "")
        self.streams: dict[int, LogStream] = {}
        self.ring: LogRing | None = None
        self.made: dict[str, Any] | None = None
        """What a failed start left outside of the process; None if it could not say."""

    def start(self, host: Host) -> bytes:
        """Fork PID 1 and wait until it has become the command. Returns the reply. Raises Failure, OSError."""
        stdio, theirs = self.open_stdio()
        self.birth = Birth("", guess_cgroup(f"{self.bundle}/config.json"))
        lines = self._fork(host, stdio)
        if lines and lines[0].startswith(b"@"):  # the config, once it was parsed, asks for another place
            os.waitpid(self.pid, 0)
            self.pid = 0
            self.birth.abandon()
            self.birth = Birth(*map(os.fsdecode, lines[0][1:].split(b"\0")))
            lines = self._fork(host, stdio)
        for fd in theirs:
            os.close(fd)
        if len(lines) != 1 or not lines[0].startswith(b'{"ok"'):
            raise self._failure(lines)
        self.pidfd = os.pidfd_open(self.pid)
        os.rename(f"{self.bundle}/{STARTING}", f"{self.bundle}/{STATE}")
        return lines[0]

    def _fork(self, host: Host, stdio: tuple[int, int, int]) -> list[bytes]:
        """Fork PID 1; returns what it reports until it has become the command, or has ended."""
        heard, report = os.pipe()
        shim = os.getpid()
        self.pid = self.birth.fork()
        if self.pid == 0:
            os.close(heard)
            become_init(host, self.message, birth=self.birth, shim=shim, stdio=stdio, report=report)
        os.close(report)
        return listen(heard)

    def open_stdio(self) -> tuple[tuple[int, int, int], list[int]]:
        """What the container gets as 0, 1, 2, and which descriptors the shim must close after the fork."""
        if self.fds:
            if len(self.fds) != 3:
                raise Failure("CreateError", "run takes three descriptors (stdin, stdout, stderr) or none")
            return (self.fds[0], self.fds[1], self.fds[2]), self.fds
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

    def _failure(self, lines: list[bytes]) -> Failure:
        if not lines:
            if self._claimed_by() not in (None, os.getpid()):  # and killed with the container that is in its cgroup
                return Failure("AlreadyClaimed", f"{self.bundle} was claimed by another process")
            return Failure("CreateError", "the process that was to become the container was killed")
        said = json.loads(lines[-1])
        self.made = said["made"]
        return Failure(**said["error"])

    def undo(self, failure: Failure) -> Failure:
        """After a failed start: leave nothing. What cannot be removed is added to the message."""
        if self.pid:
            os.kill(self.pid, 9)  # not reaped yet, so the pid is still its own
            os.waitpid(self.pid, 0)
        left = []
        made = self._guess() if self.made is None else self.made
        try:
            if made.get("cgroup") and not Cgroup(made["cgroup"]).remove():
                left.append(f"cgroup {made['cgroup']}")
            self.birth.abandon()
            if made.get("root"):
                os.rmdir(root_path(read_json(f"{self.bundle}/config.json") or {}, self.bundle))
        except OSError as error:
            left.append(describe(error))
        if made.get("claim"):
            for name in (STARTING, STATE, SHIM):
                remove(f"{self.bundle}/{name}")
        if left:
            failure.message += f" (left behind: {'; '.join(left)})"
        return failure

    def _claimed_by(self) -> int | None:
        return (read_json(f"{self.bundle}/{SHIM}") or {}).get("pid")

    def _guess(self) -> dict[str, Any]:
        """What there may be to undo after a child that could not say it."""
        claimed = self._claimed_by() == os.getpid()
        config = (claimed and read_json(f"{self.bundle}/config.json")) or {}
        return {"claim": claimed, "cgroup": (config.get("linux") or {}).get("cgroupsPath")}

    def wait(self) -> None:
        """Copy output until PID 1 has ended, then kill what it left, write the rest of the log and the exit record."""
        self._follow()
        _, status = os.waitpid(self.pid, 0)
        ended, ended_wall = boottime(), time()
        try:
            state = read_json(f"{self.bundle}/{STATE}") or {}
        except ValueError:  # somebody has harmed it: the exit code is worth more than when it began
            state = {}
        cgroup = Cgroup(self.birth.cgroup)
        notes = []
        oom = False
        try:
            oom = cgroup.oom_kills() > 0
            if not cgroup.remove(patience=0):  # the kernel removes only what is empty: then nothing is left to kill
                cgroup.kill()
                oom = oom or cgroup.oom_kills() > 0
            if not cgroup.remove():
                notes.append(f"cgroup {cgroup.path} still has processes that do not die")
        except OSError as error:
            notes.append(describe(error))
        for fd, stream in self.streams.items():
            self._copy(fd, stream)
            stream.flush()
        if self.ring and self.ring.lost:
            notes.append(f"{self.ring.lost} log lines were lost: {self.ring.path} could not be written")
        signal = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
        write_json(
            f"{self.bundle}/{EXIT}",
            {
                "code": 128 + signal if signal else os.WEXITSTATUS(status),
                "signal": signal,
                "oomKilled": oom,
                "startedAt": state.get("startedAt", ended),
                "finishedAt": ended,
                "startedWall": state.get("startedWall", ended_wall),
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


def guess_cgroup(config: str) -> str:
    """`linux.cgroupsPath` as it stands in the text, "" if it is not found: to parse it all would cost memory for good.

    Only a guess, to be right nearly always: init parses the config, and says so if it reads otherwise.
    """
    try:
        fd = os.open(config, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        text = os.read(fd, 1 << 20)
        os.close(fd)
    except OSError:
        return ""  # init says what is wrong
    found = text.partition(b'"cgroupsPath":')[2].split(b'"', 2)
    return os.fsdecode(found[1]) if len(found) == 3 else ""
