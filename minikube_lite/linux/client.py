"""The node's end of the launcher: starts it, sends requests, awaits replies. Called by node (and by `run`).

    launcher = Launcher.spawn()          # first thing in the process: no threads yet, nothing heavy imported
    launcher.attach(asyncio.get_running_loop())
    reply = await launcher.request("run", bundle="/…")

`spawn` needs no asyncio and imports none.
"""

from __future__ import annotations

import array
import fcntl
import itertools
import json
import os
import socket
import sys
from collections import deque

from minikube_lite.linux import syscalls as kernel

TYPE_CHECKING = False
if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any

MAX_MESSAGE = 1 << 18
"""Bytes of one request or reply."""

_MAX_FDS = 8
_CODE = "import sys; sys.path.append({path!r}); from minikube_lite.linux.launcher import main; main()"
_OPTIONS = ("-I", "-S", "-E", "-X", "frozen_modules=on", "-X", "utf8")
_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


class LauncherError(Exception):
    """A request failed. `reason`: CreateError, StartError, AlreadyClaimed, LauncherError; `message`: one line."""

    def __init__(self, reason: str, message: str, errno: int = 0) -> None:
        super().__init__(message)
        self.reason, self.message, self.errno = reason, message, errno


class LauncherDied(LauncherError):
    """The launcher is gone, and with it the answer: whether the request was served is to be read from the bundle."""

    def __init__(self) -> None:
        super().__init__("LauncherDied", "the launcher died")


class Launcher:
    """One launcher process. `pid` is its process id; `on_death` is called once if it dies before `close`."""

    def __init__(self) -> None:
        self.pid = 0
        self.protection = ""
        """How its interpreter is kept from being written to: "bind", "memfd" or "none"."""
        self.on_death: Callable[[], None] | None = None
        self._ways = protected_interpreters(sys.executable)
        self._socket: socket.socket | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._numbers = itertools.count(1)
        self._pending: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._queue: deque[tuple[int, bytes, Sequence[int]]] = deque()

    @classmethod
    def spawn(cls) -> Launcher:
        """Start the process; it gets ready while the caller goes on. Raises OSError."""
        launcher = cls()
        launcher._start()
        return launcher

    def _start(self) -> None:
        """Start it by the best way that is left."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            for end in (ours, theirs):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * MAX_MESSAGE)
            error: OSError | None = None
            for protection, fd in self._ways:
                try:
                    self.pid = _posix_spawn(f"/proc/self/fd/{fd}", theirs.fileno())
                except OSError as caught:
                    error = caught
                    continue
                finally:
                    os.close(fd)
                self._socket, self.protection = ours, protection
                return
        ours.close()
        raise error or OSError(f"{sys.executable} cannot be run as the launcher")

    def ready(self) -> None:
        """Wait until it is ready (some 50 ms after `spawn`). An interpreter that does not start by one way is started
        by the next. Raises OSError when none is left."""
        while self._socket:
            self._socket.settimeout(30)
            if self._socket.recv(MAX_MESSAGE):
                return
            if os.WIFSIGNALED(self._reap()):  # that says nothing of the way it was started
                self._ways = protected_interpreters(sys.executable)
            self._start()

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Serve requests from this loop on. Waits for `ready`."""
        self.ready()
        assert self._socket
        self._socket.setblocking(False)
        self._loop = loop
        loop.add_reader(self._socket, self._readable)

    async def request(self, op: str, *, fds: Sequence[int] = (), **fields: Any) -> dict[str, Any]:
        """Send a request and await its reply. `fds` are lent: they may be closed when this returns.

        Descriptors that come with the reply are in it as `"fds"`, and are the caller's to close.
        Raises LauncherError (it failed) or LauncherDied (nobody knows).
        """
        if not self._socket or not self._loop:
            raise LauncherDied
        number = next(self._numbers)
        data = f"{number} {op} {json.dumps(fields)}".encode()
        if len(data) > MAX_MESSAGE:
            raise LauncherError("TooBig", f"the request is {len(data)} bytes long, at most {MAX_MESSAGE} are possible")
        future: asyncio.Future[dict[str, Any]] = self._loop.create_future()
        self._pending[number] = future
        self._queue.append((number, data, fds))
        self._writable()
        try:
            return await future
        finally:
            self._pending.pop(number, None)
            self._queue = deque(item for item in self._queue if item[0] != number)

    def _writable(self) -> None:
        """Send what is queued. The kernel takes about ten datagrams ahead (unix(7), net.unix.max_dgram_qlen)."""
        assert self._loop
        while self._queue and self._socket:
            _, data, fds = self._queue[0]
            try:
                socket.send_fds(self._socket, [data], list(fds)) if fds else self._socket.send(data)
            except BlockingIOError:
                self._loop.add_writer(self._socket, self._writable)
                return
            except OSError as error:
                if error.errno == 105:  # ENOBUFS: the kernel is short of memory for a moment
                    self._loop.call_later(0.01, self._writable)
                    return
                self._died()
                return
            self._queue.popleft()
        if self._socket:
            self._loop.remove_writer(self._socket)

    def _readable(self) -> None:
        while self._socket:
            try:
                data, fds = _receive(self._socket)
            except BlockingIOError:
                return
            except OSError:
                data, fds = b"", []
            if not data:
                self._died()
                return
            number, text = data.split(b" ", 1)
            reply = json.loads(text)
            future = self._pending.pop(int(number), None)
            if future is None or future.done():  # cancelled meanwhile
                for fd in fds:
                    os.close(fd)
            elif "ok" in reply:
                future.set_result(reply["ok"] | {"fds": fds} if fds else reply["ok"])
            else:
                future.set_exception(LauncherError(**reply["error"]))

    def _died(self) -> None:
        self._end()
        if self.on_death:
            self.on_death()

    def _end(self) -> None:
        if self._socket and self._loop:
            self._loop.remove_reader(self._socket)
            self._loop.remove_writer(self._socket)
        self._reap()
        self._queue.clear()
        pending, self._pending = self._pending, {}
        for future in pending.values():
            if not future.done():
                future.set_exception(LauncherDied())

    def _reap(self) -> int:
        """Close the socket, on which the launcher ends by itself; returns its wait status."""
        if not self._socket:
            return 0
        self._socket.close()
        self._socket = None
        return os.waitpid(self.pid, 0)[1]

    def close(self) -> None:
        """End the launcher; containers go on. Closing twice is as good as once."""
        self._end()


def _receive(control: socket.socket) -> tuple[bytes, list[int]]:
    data, ancillary, _, _ = control.recvmsg(MAX_MESSAGE, socket.CMSG_SPACE(_MAX_FDS * 4), socket.MSG_CMSG_CLOEXEC)
    fds = array.array("i")
    for level, kind, rights in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(rights[: len(rights) - len(rights) % fds.itemsize])
    return data, list(fds)


def _posix_spawn(executable: str, control: int) -> int:
    """Run the interpreter as the launcher: 0 is /dev/null, 1 and 2 ours, 3 the socket; a session of its own."""
    path = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    arguments = [sys.executable, *_OPTIONS, "-c", _CODE.format(path=path)]
    kept = ("PATH", "LD_LIBRARY_PATH", "LANG")
    environment = {name: os.environ[name] for name in kept if name in os.environ}
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    try:
        actions = [(os.POSIX_SPAWN_DUP2, null, 0), (os.POSIX_SPAWN_DUP2, control, 3)]  # `null` might be 3 itself
        return os.posix_spawn(executable, arguments, environment, file_actions=actions, setsid=True)
    finally:
        os.close(null)


def protected_interpreters(executable: str) -> Iterator[tuple[str, int]]:
    """Descriptors to run the interpreter by, best first, so that a container cannot write to it (CVE-2019-5736).

    A process that enters a container is seen there as /proc/PID/exe. By way of a read-only mount that is nowhere
    attached, or of a sealed copy in memory, that link leads to something that can never be opened for writing.
    """
    path = os.path.realpath(executable)
    try:
        tree = kernel.open_tree(kernel.AT_FDCWD, path, kernel.OPEN_TREE_CLONE)
        try:
            kernel.mount_setattr(tree, "", kernel.AT_EMPTY_PATH, set=kernel.MOUNT_ATTR_RDONLY)
        except OSError:
            os.close(tree)
        else:
            yield "bind", tree
    except OSError:
        pass  # no such call, or not permitted: the next way
    try:
        memory = sealed_copy(path)
    except OSError:
        pass
    else:
        yield "memfd", memory
    yield "none", os.open(path, os.O_PATH | os.O_CLOEXEC)


def sealed_copy(path: str) -> int:
    """A memfd with the file's content that nobody can change any more (memfd_create(2), F_SEAL_WRITE)."""
    memory = os.memfd_create("minikube-lite", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        with open(path, "rb") as file:
            while os.sendfile(memory, file.fileno(), None, 1 << 30):
                pass
        fcntl.fcntl(memory, fcntl.F_ADD_SEALS, _SEALS)
    except BaseException:
        os.close(memory)
        raise
    return memory
