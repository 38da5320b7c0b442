"""A healthy pod, asked for and seen: what the tables of tests/core change one thing of."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from minikube_lite.core import hashes
from minikube_lite.core.model import ContainerObserved, Exit, PodDesired, PodObserved, Policy, SandboxObserved
from minikube_lite.spec.objects import Pod

POLICY = Policy()
NOW = 1000.0
WALL = 1_700_000_000.0
"""2023-11-14T22:13:20Z; `NOW` on the wall clock."""
UID = "3f0c8a52-0000-4000-8000-000000000001"

LIMITS = {"limits": {"cpu": "200m", "memory": "64Mi"}, "requests": {"cpu": "100m", "memory": "64Mi"}}


def container(name: str = "app", **fields: Any) -> dict[str, Any]:
    return {"name": name, "image": "host", "command": ["sleep", "inf"], "resources": LIMITS} | fields


def pod(*containers: dict[str, Any], metadata: dict[str, Any] | None = None, **spec: Any) -> Pod:
    return Pod.model_validate(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "web", "namespace": "default"} | (metadata or {}),
            "spec": {"containers": list(containers) or [container()]} | spec,
        }
    )


def wanted(*containers: dict[str, Any], metadata: dict[str, Any] | None = None, **spec: Any) -> PodDesired:
    return PodDesired(pod(*containers, metadata=metadata, **spec), source="/etc/manifests/web.yaml")


def seen(of: Pod, name: str = "app", **changes: Any) -> ContainerObserved:
    """A container that has run for 500 seconds, as started from this pod."""
    spec = next(item for item in of.spec.containers if item.name == name)
    running = ContainerObserved(
        name=name,
        state="running",
        ever_started=True,
        hash=hashes.container_hash(spec, of),
        resources=hashes.resources_hash(spec),
        image="ready",
        image_reference=spec.image or "",
        image_id="sha256:0",
        pid=4242,
        started_at=NOW - 500,
        started_wall=WALL - 500,
    )
    return replace(running, **changes)


def observed(of: Pod | None = None, *containers: ContainerObserved, **changes: Any) -> PodObserved:
    """The pod as it is when all is well, or with these containers in the place of the running one."""
    of = of or pod()
    shown = containers or tuple(seen(of, item.name) for item in of.spec.containers)
    healthy = PodObserved(
        uid=UID,
        pod=of,
        source="/etc/manifests/web.yaml",
        created_wall=WALL - 600,
        sandbox=SandboxObserved(True, hashes.sandbox_hash(of), hashes.pod_resources_hash(of)),
        containers={item.name: item for item in shown},
    )
    return replace(healthy, **changes)


def ended(code: int = 1, after: float = 5.0, ago: float = 0.0, **changes: Any) -> Exit:
    """A run of `after` seconds that was over `ago` seconds before NOW."""
    return replace(
        Exit(
            code,
            started_at=NOW - ago - after,
            finished_at=NOW - ago,
            started_wall=WALL - ago - after,
            finished_wall=WALL - ago,
        ),
        **changes,
    )


def exited(
    of: Pod, code: int = 1, *, ago: float = 0.0, after: float = 5.0, name: str = "app", **changes: Any
) -> ContainerObserved:
    return seen(of, name, state="exited", pid=0, exit=ended(code, after, ago), **changes)
