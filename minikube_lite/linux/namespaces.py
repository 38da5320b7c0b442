"""Namespaces of an OCI config: which to make, which to join, what a new one needs. Called by init, shim and sandbox."""

from __future__ import annotations

import os

from minikube_lite.linux import syscalls as kernel
from minikube_lite.linux.errors import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

FLAGS = {  # OCI type: (clone flag, name below /proc/PID/ns)
    "pid": (kernel.CLONE_NEWPID, "pid"),
    "network": (kernel.CLONE_NEWNET, "net"),
    "ipc": (kernel.CLONE_NEWIPC, "ipc"),
    "uts": (kernel.CLONE_NEWUTS, "uts"),
    "mount": (kernel.CLONE_NEWNS, "mnt"),
    "cgroup": (kernel.CLONE_NEWCGROUP, "cgroup"),
}

HOST_PID = "/proc/self/ns/pid"

_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1


class Namespaces:
    """`join`: flag → path of the namespace to enter; `new`: flags of those to make. Others stay the host's."""

    __slots__ = ("join", "new")

    def __init__(self, entries: Iterable[Mapping[str, Any]]) -> None:
        self.join: dict[int, str] = {}
        self.new = 0
        for entry in entries:
            kind, path = entry["type"], entry.get("path")
            if kind not in FLAGS:
                raise Failure("CreateError", f"namespace {kind} is not supported")
            flag = FLAGS[kind][0]
            if flag in self.join or self.new & flag:
                raise Failure("CreateError", f"namespace {kind} is listed twice")
            if path:
                self.join[flag] = path
            else:
                self.new |= flag
        if not self.new & kernel.CLONE_NEWNS:
            raise Failure("CreateError", "a container needs a mount namespace of its own")

    def owns(self, flag: int) -> bool:
        """Whether the container is in a namespace of this kind that is not the host's."""
        return bool(self.new & flag) or flag in self.join

    @property
    def pid(self) -> str:
        """The pid namespace: "" for a new one, else the path of the one to join (the host's is `HOST_PID`)."""
        return "" if self.new & kernel.CLONE_NEWPID else self.join.get(kernel.CLONE_NEWPID, HOST_PID)

    def enter(self) -> None:
        """In the child, once it is in its cgroup: join and make all others. A new network gets its loopback."""
        for flag, path in self.join.items():
            if flag != kernel.CLONE_NEWPID:
                join(path, flag)
        kernel.unshare(self.new & ~kernel.CLONE_NEWPID)
        if self.new & kernel.CLONE_NEWNET:
            loopback_up()


def join(path: str, flag: int) -> None:
    """setns(2) to the namespace that a file stands for; `flag` guards against a file of another kind."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        kernel.setns(fd, flag, path)
    finally:
        os.close(fd)


def loopback_up() -> None:
    """`ip link set lo up` in the network namespace of this process (netdevice(7))."""
    import fcntl
    from _socket import AF_INET, SOCK_CLOEXEC, SOCK_DGRAM, socket

    control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC)
    try:
        request = bytearray(b"lo".ljust(40, b"\0"))  # struct ifreq: name, then the flags at 16
        fcntl.ioctl(control.fileno(), _SIOCGIFFLAGS, request)
        request[16] |= _IFF_UP
        fcntl.ioctl(control.fileno(), _SIOCSIFFLAGS, request)
    finally:
        control.close()
