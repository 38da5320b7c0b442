"""The parent of one container's PID 1: has it started, writes its log and, when it ends, its exit record.

Forked by the launcher, ahead of the `run` request it will serve; outlives launcher and node. The bundle then holds
`shim.json` (who runs it: the claim), `state.json` (what runs) and at last `exit.json` (how it ended). While the
container is quiet the shim sleeps in one poll(2). Dies it, the kernel kills the container (PR_SET_PDEATHSIG).

Every page it touches before it sleeps is its own for the container's life (a forked process shares memory with the
launcher only until it writes to it, and Python writes to whatever it looks at). So it does next to nothing itself
until the container has ended: its first child, the starter, takes the request and makes PID 1, a child of the shim.
"""

from __future__ import annotations

import json
import os
import select
from time import time

from minikube_lite.linux.cgroups import Cgroup
from minikube_lite.linux.datagram import parse
from minikube_lite.linux.errors import Failure, as_failure, describe
from minikube_lite.linux.init import STARTING, listen
from minikube_lite.linux.logs import LogRing, LogStream
from minikube_lite.linux.records import EXIT, SHIM, STATE, boottime, read_json, remove, write_json
from minikube_lite.linux.rootfs import root_path
from minikube_lite.linux.starter import become_starter, cgroups_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from minikube_lite.linux.launcher import Host

FLUSH_AFTER = 100
"""Milliseconds that the start of a line waits for its end before it is written as it is."""

PIPE_READ = 65536


def run_shim(host: Host, control: int) -> None:
    """Have the one `run` request that comes on `control` served and answer it; stay until the container has ended."""
    pipes = out, err, report = os.pipe(), os.pipe(), os.pipe()
    shim = os.getpid()
    starter = os.fork()
    if starter == 0:
        for ours, _ in pipes:
            os.close(ours)
        become_starter(host, control, shim, (out[1], err[1]), report[1])
    for _, theirs in pipes:
        os.close(theirs)
    told = listen(report[0])
    if not told:
        return  # there was no request, and will be none
    run = Shim(told, out[0], err[0])
    try:
        run.take_over()
    except Exception as error:
        refusal = json.dumps({"error": run.undo(as_failure(error)).to_json()}).encode()
        try:
            os.write(control, refusal)
        except BrokenPipeError:
            pass  # the launcher has died
        return
    os.close(control)
    run.wait(starter)


class Shim:
    """One run; `told` are the lines that came from starter and init until PID 1 was the command, or was not."""

    __slots__ = ("bundle", "cgroup", "pid", "pidfd", "ring", "streams", "told")

    def __init__(self, told: list[bytes], out: int, err: int) -> None:
        self.told = told
        self.pid = self.pidfd = 0
        self.bundle = self.cgroup = ""
        self.ring: LogRing | None = None
        self.streams: dict[int, LogStream] = {}
        if not told[0].startswith(b"["):
            return  # the request was no request
        self.bundle, log, size, files = parse(told[0].decode(), 0)[0]
        if log:
            self.ring = LogRing(log, size, files)
            self.streams = {out: LogStream(self.ring, "stdout"), err: LogStream(self.ring, "stderr")}
        for fd in (out, err):
            os.set_blocking(fd, False) if log else os.close(fd)

    def take_over(self) -> None:
        """Raises Failure if PID 1 has not become the command; OSError."""
        if len(self.told) > 1 and self.told[1].startswith(b"["):
            self.pid, self.cgroup = parse(self.told[1].decode(), 0)[0]
        if len(self.told) != 3 or not self.told[2].startswith(b'{"ok"'):
            raise self._failure()
        self.pidfd = os.pidfd_open(self.pid)

    def _failure(self) -> Failure:
        if self.told[-1].startswith(b'{"error"'):
            return Failure(**json.loads(self.told[-1])["error"])
        return Failure("CreateError", "the process that was to become the container was killed")

    def undo(self, failure: Failure) -> Failure:
        """After a failed start: leave nothing. What cannot be removed is added to the message."""
        if self.pid:
            os.kill(self.pid, 9)  # not reaped yet, so the pid is still its own
        try:
            while True:
                os.wait()
        except ChildProcessError:
            pass
        left = []
        made = self._made()
        try:
            if made.get("cgroup") and not Cgroup(made["cgroup"]).remove():
                left.append(f"cgroup {made['cgroup']}")
            if made.get("root"):
                os.rmdir(root_path(read_json(f"{self.bundle}/config.json") or {}, self.bundle))
        except OSError as error:
            left.append(describe(error))
        if made.get("claim"):
            for name in (STARTING, STATE, SHIM):
                try:
                    remove(f"{self.bundle}/{name}")
                except OSError as error:
                    left.append(describe(error))
        if left:
            failure.message += f" (left behind: {'; '.join(left)})"
        return failure

    def _made(self) -> dict[str, Any]:
        """What there is to undo: as it was told, or, by one that could not tell it any more, what there may be."""
        if (last := self.told[-1]).startswith(b'{"error"'):
            made: dict[str, Any] | None = json.loads(last)["made"]
            if made is not None:
                return made
        if (read_json(f"{self.bundle}/{SHIM}") or {}).get("pid") != os.getpid():
            return {}
        config = read_json(f"{self.bundle}/config.json") or {}
        return {"claim": True, "cgroup": cgroups_path(config, self.bundle)}

    def wait(self, starter: int) -> None:
        """Copy output until PID 1 has ended, then kill what it left, write the rest of the log and the exit record."""
        self._follow(starter)
        _, status = os.waitpid(self.pid, 0)
        ended, ended_wall = boottime(), time()
        state = json.loads(self.told[2])["ok"]
        cgroup = Cgroup(self.cgroup)
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
                "startedAt": state["startedAt"],
                "finishedAt": ended,
                "startedWall": state["startedWall"],
                "finishedWall": ended_wall,
                "message": "; ".join(notes),
            },
        )

    def _follow(self, starter: int) -> None:
        """Sleep in poll(2) until PID 1 has ended, writing what its pipes bring; on the way reap the starter."""
        poller = select.poll()
        poller.register(self.pidfd, select.POLLIN)
        for fd in self.streams:
            poller.register(fd, select.POLLIN)
        while True:
            if starter and os.waitpid(starter, os.WNOHANG)[0]:
                starter = 0
            waiting = starter or any(stream.pending for stream in self.streams.values())
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
