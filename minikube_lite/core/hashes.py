"""Fingerprints of what a sandbox or a container was made from. core.plan compares them, node.execute records them.

The same content gives the same hash, however the YAML was laid out: it is taken over canonical JSON, and a field that
has its default counts as not written, so that a newer minikube-lite which knows more fields changes nothing. `v1:` in
front names the recipe; a hash of another recipe cannot be compared, and restarts nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from minikube_lite.core.resources import container_resources, pod_resources
from minikube_lite.spec.objects import Container, Pod

RECIPE = "v1"

# No edit of these concerns the process that runs: the cgroup is written in place, the rest is the node's to read.
_NOT_THE_PROCESS = {
    "resources",
    "resize_policy",
    "restart_policy",
    "image_pull_policy",
    "ports",
    "liveness_probe",
    "readiness_probe",
    "startup_probe",
    "lifecycle",
    "termination_message_policy",
}

# What namespaces, the pod's cgroup path, its volumes and /etc files are made from. Names and uid are its identity.
_SANDBOX = {
    "host_network",
    "host_pid",
    "host_ipc",
    "host_users",
    "share_process_namespace",
    "hostname",
    "subdomain",
    "set_hostname_as_fqdn",
    "host_aliases",
    "dns_policy",
    "dns_config",
    "runtime_class_name",
    "volumes",  # as Kubernetes, where no edit may touch them: a new pod begins with new ones
}


def container_hash(container: Container, pod: Pod) -> str:
    """Of everything that the container's process is made from; a change of it needs a new process."""
    mounted = {mount.name for mount in container.volume_mounts}
    around = _dump(pod.spec, include={"security_context", "volumes"})
    return _hash(
        {
            "container": _dump(container, exclude=_NOT_THE_PROCESS),
            "securityContext": _without(around.get("securityContext"), "sysctls"),
            "volumes": [volume for volume in around.get("volumes") or () if volume.get("name") in mounted],
        }
    )


def sandbox_hash(pod: Pod) -> str:
    """Of everything that the pod's sandbox is made from; a change of it needs a new pod."""
    sysctls = (_dump(pod.spec, include={"security_context"}).get("securityContext") or {}).get("sysctls")
    return _hash({"spec": _dump(pod.spec, include=_SANDBOX), "sysctls": sysctls})


def resources_hash(container: Container) -> str:
    """Of what is written to the container's cgroup."""
    return _hash(container_resources(container))


def pod_resources_hash(pod: Pod) -> str:
    """Of what is written to the pod's cgroup."""
    return _hash(pod_resources(pod))


def changed(recorded: str, current: str) -> bool:
    """Whether a recorded hash says that something is not as it was. "" was never recorded."""
    return recorded != current and recorded.partition(":")[0] == current.partition(":")[0]


def same_pod(one: Pod, other: Pod) -> bool:
    """Whether two manifests ask for the same, to the last label."""
    return one == other or _dump(one) == _dump(other)


def _dump(model: Any, **which: Any) -> dict[str, Any]:
    dumped: dict[str, Any] = model.model_dump(mode="json", by_alias=True, exclude_defaults=True, **which)
    return dumped


def _without(value: Mapping[str, Any] | None, key: str) -> dict[str, Any]:
    return {name: item for name, item in (value or {}).items() if name != key}


def _hash(value: Any) -> str:
    text = json.dumps(_pruned(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return f"{RECIPE}:{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:16]}"


def _pruned(value: Any) -> Any:
    """Without members that say nothing: null, and empty lists and objects."""
    if isinstance(value, Mapping):
        kept = ((key, _pruned(item)) for key, item in value.items())
        return {key: item for key, item in kept if item is not None and item != {} and item != []}
    if isinstance(value, list | tuple):
        return [_pruned(item) for item in value]
    return value
