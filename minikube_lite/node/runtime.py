"""What the node needs of a container runtime. `node.execute` and `node.adopt` call it; `node.linux_runtime` is the real
one, tests give a fake one. The OCI config that `core.oci` builds is the only thing it is told about a container.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from minikube_lite.core.environment import Lookup
from minikube_lite.core.model import Exit
from minikube_lite.images.store import Image
from minikube_lite.node.claims import Claims
from minikube_lite.node.records import PodRecord
from minikube_lite.node.service import ExecSession

PAUSE = "pause"
"""The bundle of the process that holds a shared PID namespace."""


def lease_user(uid: str, bundle: str) -> str:
    """The name by which the image store knows who runs on an image: a bundle's is unique in its pod."""
    return f"{uid}/{bundle}"


class RuntimeFailure(Exception):
    """Something could not be made; `reason` is Kubernetes' word for it, the message is for a person."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


@dataclass(frozen=True, slots=True)
class Running:
    """A container that runs: PID 1 of its PID namespace as this machine numbers it."""

    pid: int
    started_at: float
    started_wall: float
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RunState:
    """What became of one run, as its bundle shows it."""

    state: Literal["running", "exited", "never"]
    running: Running | None = None
    exit: Exit | None = None


OnExit = Callable[[str, str, str, Exit], None]
"""(pod uid, container name, bundle name, how it ended)"""


class Runtime(Protocol):
    """Makes, watches, changes and removes what one machine runs. Every method is safe to call twice."""

    on_exit: OnExit
    on_sandbox_lost: Callable[[str], None]
    """(pod uid): its shared namespaces died under it."""
    lookup: Lookup
    """ConfigMaps and Secrets; set by the node."""
    claims: Claims
    """Persistent volumes; set by the node."""

    async def create_sandbox(self, record: PodRecord) -> tuple[tuple[str, str], ...]:
        """Namespaces, shared memory, /etc files and cgroup of the pod; returns warnings, each (reason, message).
        Raises RuntimeFailure."""
        ...

    async def sandbox_ready(self, record: PodRecord) -> bool:
        """Whether the sandbox that the record speaks of is still there."""
        ...

    async def set_up_volumes(self, record: PodRecord) -> tuple[str, ...]:
        """Make the pod's volumes, or what is missing of them; returns warnings. Raises RuntimeFailure."""
        ...

    async def start(self, record: PodRecord, container: str, bundle: str, image: Image) -> Running:
        """Start one run in a new bundle. Raises RuntimeFailure, and then nothing of it is left running."""
        ...

    async def inspect(self, record: PodRecord, container: str, bundle: str) -> RunState:
        """What became of that run; one that runs is watched from now on, one that never began never will."""
        ...

    def signal(self, record: PodRecord, container: str, signo: int) -> None:
        """Send a signal to PID 1 of the container, if it still runs."""
        ...

    async def kill(self, record: PodRecord, container: str) -> None:
        """Kill everything in the container's cgroup."""
        ...

    async def update_resources(self, record: PodRecord, container: str) -> tuple[str, ...]:
        """Write the accepted limits to the cgroup of the container ("": of the pod); returns mismatches."""
        ...

    async def forget_bundle(self, record: PodRecord, container: str, bundle: str, log: bool) -> None:
        """Remove the files of a run that is over; `log`: its log too."""
        ...

    async def remove_pod(self, record: PodRecord) -> None:
        """Remove sandbox, cgroups and every file of the pod. Raises OSError if something cannot be removed."""
        ...

    async def exec(self, record: PodRecord, container: str, command: list[str], tty: bool, stdin: bool) -> ExecSession:
        """Start a command in a running container. Raises RuntimeFailure."""
        ...
