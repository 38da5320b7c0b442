"""Requests and limits → OCI `linux.resources`, of a container's cgroup and of its pod's. Called by oci and hashes.

The kubelet's `ResourceConfigForPod`, but with exact quotas (see spec.cpu). A limit that is not set is written as -1,
not left out: the same object is written over a running container's, whose limit may just have been taken away.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from minikube_lite.spec.cpu import quota_and_period, shares
from minikube_lite.spec.objects import Container, Pod, qos_class
from minikube_lite.spec.quantity import Quantity

DEFAULT_PERIOD = 100_000
"""µs; what the kernel has where no quota is set."""


def container_resources(container: Container) -> dict[str, Any]:
    """OCI `linux.resources` of the container's cgroup."""
    return _resources(_request(container, "cpu"), _limit(container, "cpu"), _limit(container, "memory"))


def pod_resources(pod: Pod) -> dict[str, Any]:
    """OCI `linux.resources` of the pod's cgroup: the sums; a limit only where every container has one."""
    containers = pod.spec.containers
    return _resources(
        sum(_request(container, "cpu") for container in containers),
        _sum([_limit(container, "cpu") for container in containers]),
        _sum([_limit(container, "memory") for container in containers]),
    )


def oom_score_adj(pod: Pod, container: Container, node_memory: int) -> int:
    """The kubelet's `GetContainerOOMScoreAdjust`; `node_memory` in bytes, 0 where it is not known.

    -997 is below what a process without CAP_SYS_RESOURCE may ask for: the runtime says so where it cannot be had.
    """
    match qos_class(pod):
        case "Guaranteed":
            return -997
        case "BestEffort":
            return 1000
    if node_memory <= 0:
        return 999
    return min(max(1000 - 1000 * _request(container, "memory") // node_memory, 3), 999)


def _resources(cpu_request: int, cpu_limit: int, memory_limit: int) -> dict[str, Any]:
    quota, period = quota_and_period(cpu_limit) if cpu_limit else (-1, DEFAULT_PERIOD)
    memory = memory_limit or -1
    return {
        "cpu": {"shares": shares(cpu_request), "quota": quota, "period": period},
        "memory": {"limit": memory, "swap": memory},  # OCI's swap is memory + swap: no swap at all
    }


def _request(container: Container, name: str) -> int:
    """Millicores or bytes, 0 for none (the models have made a lone limit the request too)."""
    return _amount(container.resources.requests.get(name), name)


def _limit(container: Container, name: str) -> int:
    """Millicores or bytes; 0: none (a limit of 0 is none for the kubelet too)."""
    return _amount(container.resources.limits.get(name), name)


def _amount(quantity: Quantity | None, name: str) -> int:
    if quantity is None:
        return 0
    return quantity.milli if name == "cpu" else quantity.bytes


def _sum(limits: Sequence[int]) -> int:
    return sum(limits) if all(limits) else 0
