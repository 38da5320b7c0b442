"""One command inside a running container. node.linux_runtime opens it, the API streams over it and closes it."""

from __future__ import annotations

import array
import asyncio
import contextlib
import fcntl
import json
import os
import signal
import socket
import struct
import termios
from collections.abc import Mapping
from typing import Any

from minikube_lite.linux.client import Launcher


class LinuxExecSession:
    """See `service.ExecSession`."""

    def __init__(self, pid: int, pidfd: int, exit_fd: int, stdin: int | None, stdout: int | None, stderr: int | None):
        self.pid = pid
        self.stdin = stdin
        self.stdout = stdout
        self.stderr = stderr
        self._pidfd = pidfd
        self._exit_fd: int | None = exit_fd
        self._code: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        os.set_blocking(exit_fd, False)
        asyncio.get_running_loop().add_reader(exit_fd, self._ended)

    def _ended(self) -> None:
        assert self._exit_fd is not None
        data = b""
        with contextlib.suppress(BlockingIOError):
            data = os.read(self._exit_fd, 4096)
        self._forget_exit()
        if not self._code.done():
            # no word before the end of file: whoever waited for the command was killed, and the command with it
            self._code.set_result(int(json.loads(data)["code"]) if data else 128 + signal.SIGKILL)

    def _forget_exit(self) -> None:
        if self._exit_fd is not None:
            asyncio.get_running_loop().remove_reader(self._exit_fd)
            os.close(self._exit_fd)
            self._exit_fd = None

    def resize(self, rows: int, columns: int) -> None:
        """Tell the terminal its size (ioctl_tty(2), TIOCSWINSZ); the kernel sends SIGWINCH. Else nothing."""
        if self.stdout is not None and self.stderr is None and os.isatty(self.stdout):
            fcntl.ioctl(self.stdout, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    async def wait(self) -> int:
        return await asyncio.shield(self._code)

    async def close(self) -> None:
        if self._pidfd >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
            os.close(self._pidfd)
            self._pidfd = -1
        self._forget_exit()
        for descriptor in {self.stdin, self.stdout, self.stderr} - {None}:
            assert descriptor is not None
            with contextlib.suppress(OSError):
                os.close(descriptor)
        self.stdin = self.stdout = self.stderr = None


async def open_exec(
    launcher: Launcher, bundle: str, request: Mapping[str, Any], *, tty: bool, stdin: bool
) -> LinuxExecSession:
    """Ask the launcher for the command; our ends of its stdio are non-blocking. Raises LauncherError, LauncherDied.

    `request`: the OCI `process`, and `seccomp` (see linux.seccomp).
    """
    with contextlib.ExitStack() as theirs, contextlib.ExitStack() as ours:

        def pipe(we_read: bool) -> tuple[int, int]:
            """(our end, their end)"""
            read, write = os.pipe2(os.O_CLOEXEC)
            mine, other = (read, write) if we_read else (write, read)
            os.set_blocking(mine, False)
            ours.callback(os.close, mine)
            theirs.callback(os.close, other)
            return mine, other

        exit_fd, exit_w = pipe(True)
        if tty:
            here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with here, there:
                reply = await launcher.request("exec", bundle=bundle, **request, fds=[exit_w, there.fileno()])
                terminal = _receive_descriptor(here)
            ours.callback(os.close, terminal)
            os.set_blocking(terminal, False)
            streams: tuple[int | None, int | None, int | None] = (terminal, terminal, None)
        else:
            if stdin:
                in_w, in_r = pipe(False)
            else:
                in_r = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
                theirs.callback(os.close, in_r)
            out_r, out_w = pipe(True)
            err_r, err_w = pipe(True)
            reply = await launcher.request("exec", bundle=bundle, **request, fds=[exit_w, in_r, out_w, err_w])
            streams = (in_w if stdin else None, out_r, err_r)
        try:
            pidfd = os.pidfd_open(reply["pid"])
        except ProcessLookupError:
            pidfd = -1  # it has ended already
        session = LinuxExecSession(reply["pid"], pidfd, exit_fd, *streams)
        ours.pop_all()
        return session


def _receive_descriptor(sock: socket.socket) -> int:
    descriptors = array.array("i")
    _, ancillary, _, _ = sock.recvmsg(1, socket.CMSG_SPACE(descriptors.itemsize))
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            descriptors.frombytes(data[: descriptors.itemsize])
            return descriptors[0]
    raise ConnectionError("no terminal came back from the launcher")
