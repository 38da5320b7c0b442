"""What the downward API tells of this machine: name, addresses, what it has. Called by node and linux_runtime."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from pathlib import Path

from minikube_lite.core.environment import Facts
from minikube_lite.spec.objects import Pod
from minikube_lite.spec.quantity import Quantity


def node_name() -> str:
    """The machine's host name, in the form that a Kubernetes name has."""
    return os.uname().nodename.lower()


def allocatable(state: Path) -> dict[str, str]:
    """CPUs, memory and the file system that containers write to, as the Node object has them. Raises OSError."""
    disk = os.statvfs(state)
    return {
        "cpu": str(os.cpu_count() or 1),
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') // 1024}Ki",
        "ephemeral-storage": f"{disk.f_blocks * disk.f_frsize // 1024}Ki",
    }


def host_ips() -> tuple[str, ...]:
    """The addresses that this machine is reached by: IPv4, then IPv6; its own loopback where it has no network."""
    found = (_source(socket.AF_INET, "192.0.2.1"), _source(socket.AF_INET6, "2001:db8::1"))
    return tuple(address for address in found if address) or ("127.0.0.1",)


def _source(family: socket.AddressFamily, towards: str) -> str:
    """The source address of the default route: connect(2) of a datagram socket chooses it and sends nothing."""
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((towards, 9))
            return str(probe.getsockname()[0])
    except OSError:  # no such route, or no such family
        return ""


def facts(pod: Pod, uid: str, state: Path) -> Facts:
    """All that a container's variables may ask for. Raises OSError."""
    addresses = host_ips()
    has: Mapping[str, Quantity] = {name: Quantity(amount) for name, amount in allocatable(state).items()}
    # A pod's own network has no address but its loopback's: none is said, as before an address is given out.
    return Facts(uid, node_name(), addresses, addresses if pod.spec.host_network else (), has)
