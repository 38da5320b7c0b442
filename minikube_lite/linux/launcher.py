"""The warm process that forks: one per node, single-threaded, stateless. Started by client, forks shims and the like.

While nothing is being started it forks shims ahead, so that the next containers need not wait for a fork, nor for what
a process that was just forked does to its memory. They end when the launcher does.

A request is one datagram on a SEQPACKET unix socket (descriptor 3), `17 run {"bundle": …}`: number, op, JSON, with
descriptors beside it (SCM_RIGHTS); its reply is `17 {"ok": …}`, as the child sent it, so the loop never waits for a
container. When the node closes the socket the launcher ends; its shims go on.

Everything imported here is in the memory of every shim: the standard library only, and little of it
(`_socket` rather than `socket`, which brings `selectors` and more).
"""

from __future__ import annotations

import gc
import json
import os
import select
from _socket import (
    AF_INET,
    AF_INET6,
    AF_UNIX,
    SO_SNDBUF,
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
from minikube_lite.linux.birth import vfork_works
from minikube_lite.linux.capabilities import last_capability, own_permitted
from minikube_lite.linux.cgroup_layout import layout
from minikube_lite.linux.datagram import MAX_MESSAGE, parse, receive, rights
from minikube_lite.linux.errors import Failure, as_failure
from minikube_lite.linux.exec import run_exec
from minikube_lite.linux.namespaces import join
from minikube_lite.linux.records import boot_id
from minikube_lite.linux.sandbox import serve_sandboxes
from minikube_lite.linux.shim import run_shim
from minikube_lite.linux.starter import rehearse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any, TypeAlias

    Serve: TypeAlias = Callable[[int], None]

SOCKET = 3
SPARES = 2
"""Shims that wait for a container while nothing is being started."""


class Host:
    """What every child needs to know of the machine, read once."""

    __slots__ = ("boot_id", "capabilities", "last_capability", "network", "vfork")

    def __init__(self) -> None:
        self.boot_id = boot_id()
        self.capabilities = own_permitted()
        self.last_capability = last_capability()
        layout()  # the cgroup trees: kept by that module
        self.vfork = vfork_works()
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
        self.spares: list[socket] = []
        """Sockets on which shims that were forked ahead wait for their request."""

    def serve(self) -> None:
        """Until the node closes the socket."""
        while True:
            short = len(self.spares) < SPARES and not self.children
            events = self.poller.poll(0 if short else None)
            if not events:  # nothing else to do
                self.spares.append(self._fork(self._be_shim))
            for fd, _ in events:
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
            if operation == b"run":
                self._await(self._give_to_shim(text, fds), number)
            elif operation == b"exec":
                self._await(self._exec(text, fds), number)
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

    def _give_to_shim(self, text: bytes, fds: list[int]) -> socket:
        """Send a request to a spare that still lives, or else to a new one."""
        while True:
            fresh = not self.spares
            shim = self._fork(self._be_shim) if fresh else self.spares.pop(0)
            try:
                shim.sendmsg([text], rights(fds))
            except OSError:
                shim.close()
                if fresh:
                    raise
            else:
                return shim

    def _be_shim(self, control: int) -> None:
        run_shim(self.host, control)

    def _exec(self, text: bytes, fds: list[int]) -> socket:
        return self._fork(lambda reply: run_exec(self.host, parse(text.decode(), 0)[0], fds, reply), fds)

    def _fork(self, serve: Serve, fds: Sequence[int] = ()) -> socket:
        """Fork a child that serves with the other end of the returned socket, keeping these descriptors only."""
        ours, theirs = socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC)
        ours.setsockopt(SOL_SOCKET, SO_SNDBUF, 4 * MAX_MESSAGE)
        if os.fork() == 0:
            try:
                set_handler(SIGCHLD, SIG_DFL)
                os.setsid()
                os.dup2(0, 1)
                os.dup2(0, 2)
                reply = theirs.detach()
                kernel.close_all_except({0, 1, 2, reply, *fds})
                serve(reply)
            except BaseException as error:  # nobody else would ever hear of it
                os.write(reply, json.dumps({"error": as_failure(error, "LauncherError").to_json()}).encode())
            finally:
                os._exit(0)
        theirs.close()
        return ours

    def _await(self, child: socket, number: bytes) -> None:
        """Pass its reply on as the one to the request of that number."""
        self.children[child.fileno()] = (child, number)
        self.poller.register(child.fileno(), select.POLLIN)

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
        self._reply(number, data or DIED, fds)
        self.poller.unregister(fd)
        ours.close()
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
        self.control.sendmsg([number, b" ", text], rights(fds))


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


def main() -> None:
    """Entry of the process: descriptor 0 is /dev/null, 3 the socket to the node."""
    become_clean()
    os.set_inheritable(SOCKET, False)
    control = socket(AF_UNIX, SOCK_SEQPACKET, 0, SOCKET)
    launcher = Launcher(control, Host())
    kernel.set_name("mkl-launcher")
    for _ in range(20):  # an instruction is rewritten from its eighth run on
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
