"""The warm process that forks: one per node, single-threaded, stateless. Started by client, forks shims and the like.

A request is one datagram on a SEQPACKET unix socket (descriptor 3), `17 run {"bundle": …}`: number, op, JSON, with
descriptors beside it (SCM_RIGHTS); its reply is `17 {"ok": …}`, as the child sent it, so the loop never waits for a
container. When the node closes the socket the launcher ends; its shims go on.

Everything imported here is in the memory of every shim: the standard library only, and little of it
(`_socket` rather than `socket`, which brings `selectors` and more).
"""

from __future__ import annotations

import array
import gc
import json
import os
import select
from _socket import (
    AF_INET,
    AF_INET6,
    AF_UNIX,
    CMSG_SPACE,
    MSG_CMSG_CLOEXEC,
    SCM_RIGHTS,
    SOCK_CLOEXEC,
    SOCK_SEQPACKET,
    SOCK_STREAM,
    SOL_SOCKET,
    socket,
    socketpair,
)
from signal import NSIG, SIG_DFL, SIG_IGN, SIG_SETMASK, SIGCHLD, SIGKILL, SIGPIPE, SIGSTOP, SIGXFSZ, pthread_sigmask
from signal import signal as set_handler

from minikube_lite.linux import syscalls as kernel
from minikube_lite.linux.capabilities import last_capability, own_permitted
from minikube_lite.linux.cgroup_layout import layout
from minikube_lite.linux.errors import Failure, as_failure
from minikube_lite.linux.exec import run_exec
from minikube_lite.linux.init import listen
from minikube_lite.linux.namespaces import Namespaces, join
from minikube_lite.linux.process import Process
from minikube_lite.linux.records import boot_id, process_record
from minikube_lite.linux.rootfs import Rootfs
from minikube_lite.linux.sandbox import serve_sandboxes
from minikube_lite.linux.shim import Shim, run_shim

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any, TypeAlias

    Serve: TypeAlias = Callable[["Host", Mapping[str, Any], list[int], int], None]

SOCKET = 3
MAX_MESSAGE = 1 << 18
MAX_FDS = 8


class Host:
    """What every child needs to know of the machine, read once."""

    __slots__ = ("boot_id", "capabilities", "last_capability", "network")

    def __init__(self) -> None:
        self.boot_id = boot_id()
        self.capabilities = own_permitted()
        self.last_capability = last_capability()
        layout()  # the cgroup trees: kept by that module
        self.network = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


class Launcher:
    """Looks at nothing in a message but its first two words: what the parent writes to between two forks is no longer
    shared with the children it has, so every object it makes costs each shim memory."""

    def __init__(self, control: socket, host: Host) -> None:
        self.control, self.host = control, host
        self.poller = select.poll()
        self.poller.register(SOCKET, select.POLLIN)
        self.children: dict[int, tuple[socket, bytes]] = {}
        """By descriptor: the socket on which a child will reply, and the number of its request."""
        self.sandboxes = -1
        """The descriptor of `maker`: the child that makes sandboxes, started with the first."""
        self.maker: socket | None = None
        self.asked: list[bytes] = []
        """The numbers of the requests that it has not answered yet."""

    def serve(self) -> None:
        """Until the node closes the socket."""
        while True:
            for fd, _ in self.poller.poll():
                if fd == self.sandboxes:
                    self._relay()
                elif fd != SOCKET:
                    self._hear(fd)
                elif not self._request():
                    return

    def _request(self) -> bool:
        data, fds = receive(self.control)
        if not data:
            return False
        number, operation, text = data.split(b" ", 2)
        try:
            if operation in CHILDREN:
                self._fork(number, CHILDREN[operation], text, fds)
            elif operation == b"sandbox":
                self._ask(number, text)
            elif operation == b"netns_socket":
                self._socket_in(number, json.loads(text))
            elif operation == b"ping":
                self._reply(number, b'{"ok": {}}')
            else:
                raise Failure("LauncherError", f"unknown op {operation.decode()!r}")
        except Exception as error:
            self._reply(number, json.dumps({"error": as_failure(error, "LauncherError").to_json()}).encode())
        for fd in fds:
            os.close(fd)
        return True

    def _fork(self, number: bytes, serve: Serve, text: bytes, fds: list[int]) -> None:
        ours, theirs = socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC)
        if os.fork() == 0:
            try:
                set_handler(SIGCHLD, SIG_DFL)
                os.setsid()
                os.dup2(0, 1)
                os.dup2(0, 2)
                reply = theirs.detach()
                kernel.close_all_except({0, 1, 2, reply, *fds})
                serve(self.host, parse(text.decode(), 0)[0], fds, reply)
            except BaseException as error:  # nobody else would ever hear of it
                os.write(reply, json.dumps({"error": as_failure(error, "LauncherError").to_json()}).encode())
            finally:
                os._exit(0)
        theirs.close()
        self.children[ours.fileno()] = (ours, number)
        self.poller.register(ours.fileno(), select.POLLIN)

    def _ask(self, number: bytes, text: bytes) -> None:
        """Pass a request on to the maker of sandboxes."""
        if self.maker is None:
            self.maker, theirs = socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC)
            if os.fork() == 0:
                try:
                    kernel.set_name("mkl-sandboxes")
                    kernel.close_all_except({0, 1, 2, theirs.fileno()})
                    serve_sandboxes(theirs)
                finally:
                    os._exit(0)
            theirs.close()
            self.sandboxes = self.maker.fileno()
            self.poller.register(self.sandboxes, select.POLLIN)
        self.asked.append(number)
        self.maker.send(number + b" " + text)

    def _relay(self) -> None:
        """The maker has answered, or died: then so have the requests it had."""
        assert self.maker
        answer, _ = receive(self.maker)
        if answer:
            number, text = answer.split(b" ", 1)
            self.asked.remove(number)
            self._reply(number, text)
            return
        self.poller.unregister(self.sandboxes)
        self.maker.close()
        self.maker, self.sandboxes = None, -1
        asked, self.asked = self.asked, []
        for number in asked:
            self._reply(number, DIED)

    def _hear(self, fd: int) -> None:
        """A child has replied, or died without."""
        ours, number = self.children.pop(fd)
        data, fds = receive(ours)
        self.poller.unregister(fd)
        ours.close()
        self._reply(number, data or DIED, fds)
        for received in fds:
            os.close(received)

    def _socket_in(self, number: bytes, message: Mapping[str, Any]) -> None:
        """Open a stream socket inside a network namespace and hand it back: it stays there wherever it is used."""
        family = {"inet": AF_INET, "inet6": AF_INET6, "unix": AF_UNIX}[message.get("family", "inet")]
        join(message["path"], kernel.CLONE_NEWNET)
        try:
            made = socket(family, SOCK_STREAM | SOCK_CLOEXEC)
        finally:
            try:
                kernel.setns(self.host.network, kernel.CLONE_NEWNET)
            except OSError:
                os._exit(1)  # never serve another request from inside a pod
        self._reply(number, b'{"ok": {}}', [made.fileno()])
        made.close()

    def _reply(self, number: bytes, text: bytes, fds: Sequence[int] = ()) -> None:
        rights = [(SOL_SOCKET, SCM_RIGHTS, array.array("i", fds).tobytes())] if fds else []
        self.control.sendmsg([number, b" ", text], rights)


def receive(source: socket) -> tuple[bytes, list[int]]:
    """One datagram and the descriptors that came with it; b"" at the end."""
    try:
        data, ancillary, _, _ = source.recvmsg(MAX_MESSAGE, CMSG_SPACE(MAX_FDS * 4), MSG_CMSG_CLOEXEC)
    except ConnectionResetError:  # it ended with something of ours unread
        return b"", []
    fds = array.array("i")
    for level, kind, rights in ancillary:
        if level == SOL_SOCKET and kind == SCM_RIGHTS:
            fds.frombytes(rights[: len(rights) - len(rights) % fds.itemsize])
    return data, list(fds)


parse: Callable[[str, int], tuple[Any, int]] = json.JSONDecoder().scan_once  # type: ignore[attr-defined]
"""`json.loads` without its Python layers, each of which costs every shim a few pages."""

CHILDREN: dict[bytes, Serve] = {b"run": run_shim, b"exec": run_exec}
DIED = json.dumps({"error": Failure("LauncherError", "the process that served the request died").to_json()}).encode()


def become_clean() -> None:
    """Give this process the state that its children shall start from, so that none of them has to."""
    for number in range(1, NSIG):
        if number in (32, 33):
            kernel.default_action(number)
        elif number not in (SIGKILL, SIGSTOP, SIGPIPE, SIGXFSZ, SIGCHLD):
            set_handler(number, SIG_DFL)
    set_handler(SIGCHLD, SIG_IGN)  # children reap themselves
    pthread_sigmask(SIG_SETMASK, ())
    kernel.prctl(kernel.PR_SET_DUMPABLE, 0)  # nobody in a container can look into a child of ours before its exec
    os.chdir("/")
    os.umask(0o022)
    try:
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("-998")  # rather a container than what looks after it, as containerd's shims have it
    except PermissionError:
        pass  # no CAP_SYS_RESOURCE


def rehearse(host: Host) -> None:
    """Do once more what every child will do, without touching anything.

    Python rewrites code that runs often for the types it meets (PEP 659) and fills caches in classes and modules.
    Done here it is done for all children; done there, each would pay for it with time and with pages of its own.
    """
    request = json.dumps({"bundle": "/bundle", "log": {"path": "/log", "maxBytes": 1, "maxFiles": 2}})
    config = json.dumps(REHEARSAL).encode()
    for _ in range(20):  # an instruction is rewritten from its eighth run on
        shim = Shim(parse(request, 0)[0], [])
        (_, *theirs), _ = shim.open_stdio()
        for fd in (*shim.streams, *theirs):
            os.close(fd)
        for stream in shim.streams.values():
            stream.feed(b"")
        listen(os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC))
        wanted = json.loads(config)
        Rootfs(wanted, "/bundle", [])
        Namespaces(wanted["linux"]["namespaces"])
        Process(wanted["process"], host.capabilities, host.last_capability)
        json.dumps(process_record(os.getpid(), host.boot_id))
        select.poll().poll(0)


REHEARSAL = {
    "process": {"args": ["true"], "env": ["PATH=/bin"], "capabilities": {"bounding": ["CAP_KILL"]}},
    "mounts": [
        {"destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "ro"]},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
        {"destination": "/etc/hosts", "type": "bind", "source": "/hosts", "options": ["rbind", "ro"]},
    ],
    "linux": {"namespaces": [{"type": "pid"}, {"type": "mount"}, {"type": "network", "path": "/ns/net"}]},
}


def main() -> None:
    """Entry of the process: descriptor 0 is /dev/null, 3 the socket to the node."""
    become_clean()
    os.set_inheritable(SOCKET, False)
    control = socket(AF_UNIX, SOCK_SEQPACKET, 0, SOCKET)
    launcher = Launcher(control, Host())
    kernel.set_name("mkl-launcher")
    rehearse(launcher.host)
    gc.disable()
    gc.collect()
    gc.freeze()  # collections would touch, and so copy, every page that the children share with us
    launcher._reply(b"0", b'{"ok": {}}')
    try:
        launcher.serve()
    except BrokenPipeError:
        pass  # the node is gone
    os._exit(0)
