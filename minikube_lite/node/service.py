"""What the node offers to the API floor: the protocol that `api` calls and `node.node.Node` implements.

`api` tests give a fake of it. Every object is a Kubernetes object as plain JSON (`dict`), with camelCase keys.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from minikube_lite.spec.configs import ConfigKind
from minikube_lite.spec.problems import Problem

Json = dict[str, Any]
Kind = Literal["Pod", "Event", "Node", "Namespace", "ConfigMap", "Secret", "PersistentVolumeClaim"]
Watched = Literal["Pod", "Event", "ConfigMap", "Secret", "PersistentVolumeClaim"]


class ServiceError(Exception):
    """A request that cannot be done; becomes a Kubernetes `Status` of this code and reason."""

    def __init__(self, code: int, reason: str, message: str, causes: tuple[Json, ...] = ()) -> None:
        super().__init__(message)
        self.code = code
        """HTTP status: 404, 409, 422, …"""
        self.reason = reason
        """`NotFound`, `AlreadyExists`, `Conflict`, `Invalid`, `BadRequest`, …"""
        self.message = message
        self.causes = causes
        """`StatusCause` objects: {"reason", "message", "field"}."""


@dataclass(frozen=True, slots=True)
class ApplyItem:
    """What became of one document."""

    kind: str
    namespace: str
    name: str
    result: Literal["created", "configured", "unchanged", "deleted", "skipped", "not found", "exists"]
    warnings: tuple[str, ...] = ()
    message: str = ""
    """For `skipped`: why."""


@dataclass(frozen=True, slots=True)
class ApplyOutcome:
    items: tuple[ApplyItem, ...] = ()
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class LogFiles:
    """Where a container's log is: CRI-format files, oldest first; the last is being written while `running`."""

    files: tuple[Path, ...]
    running: bool


@dataclass(frozen=True, slots=True)
class WatchEvent:
    type: Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK", "ERROR"]
    object: Json


class ExecSession(Protocol):
    """One command running in a container. Descriptors are the caller's to use (non-blocking) until `close`."""

    stdin: int | None
    stdout: int | None
    """With a tty `stdin` and `stdout` are the same terminal and `stderr` is None."""
    stderr: int | None

    def resize(self, rows: int, columns: int) -> None: ...

    async def wait(self) -> int:
        """The exit code, 128 + signal for a killed one."""
        ...

    async def close(self) -> None:
        """Kill what still runs and close every descriptor. Twice is as good as once."""
        ...


@dataclass(frozen=True, slots=True)
class ObjectList:
    items: list[Json] = field(default_factory=list)
    resource_version: int = 0


class NodeService(Protocol):
    """The node as the API sees it."""

    version: str

    def list(self, kind: Kind, namespace: str | None = None) -> ObjectList:
        """Every object of the kind; `namespace` None means all."""
        ...

    def get(self, kind: Kind, namespace: str, name: str) -> Json:
        """Raises ServiceError 404 where there is none."""
        ...

    def watch(self, kind: Watched, namespace: str | None, since: int | None) -> AsyncIterator[WatchEvent]:
        """Changes after resource version `since` (None: first an ADDED for each that is there).

        Raises ServiceError 410 `Expired` where `since` is too old to be replayed.
        """
        ...

    async def apply(
        self, data: bytes, *, source: str, base_dir: str, namespace: str, dry_run: bool, create: bool = False
    ) -> ApplyOutcome:
        """Write each document of `data` into the manifests directory. `base_dir` is what relative image paths mean.

        `create`: what is there already is left as it is, with the result `exists`.
        """
        ...

    async def delete_documents(
        self, data: bytes, *, source: str, namespace: str, grace: float | None, dry_run: bool
    ) -> ApplyOutcome: ...

    async def delete_pod(self, namespace: str, name: str, grace: float | None, dry_run: bool = False) -> Json:
        """Cut the pod's document from the directory; returns the pod as it was. Raises ServiceError 404."""
        ...

    async def delete_config(self, kind: ConfigKind, namespace: str, name: str, dry_run: bool = False) -> Json:
        """Likewise for a ConfigMap or Secret."""
        ...

    async def delete_claim(self, namespace: str, name: str, dry_run: bool = False) -> Json:
        """Likewise for a PersistentVolumeClaim; its data goes too, once no pod uses it any more."""
        ...

    def log_files(self, namespace: str, name: str, container: str | None, previous: bool) -> LogFiles:
        """Raises ServiceError 404 (no such pod) or 400 (no such container, which one?, not started yet)."""
        ...

    async def exec(
        self,
        namespace: str,
        name: str,
        container: str | None,
        command: Sequence[str],
        *,
        tty: bool,
        stdin: bool,
    ) -> ExecSession:
        """Raises ServiceError 404, 400 (`container not running`) or 500 (the command could not be started)."""
        ...
