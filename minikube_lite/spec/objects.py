"""Kubernetes' Pod as a value: validated, defaulted, frozen. `spec.manifest` makes it, `core` and `node` read it.

Every field of the API is an attribute. One that this does not honour yet is plain JSON; what is done about it stands
in `spec.fields`. When a model changes, `python -m tests.spec.shapes` writes its shape anew for `spec.view`.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from minikube_lite.spec.container import (
    Capabilities,
    Container,
    ContainerPort,
    EnvVar,
    ResourceRequirements,
    SecurityContext,
)
from minikube_lite.spec.model import Bool, Int, Json, Model, to_json
from minikube_lite.spec.network import HostAlias, PodDNSConfig
from minikube_lite.spec.security import AppArmorProfile, SeccompProfile, Sysctl
from minikube_lite.spec.volumes import Volume, VolumeMount

__all__ = [
    "Capabilities",
    "Container",
    "ContainerPort",
    "EnvVar",
    "ObjectMeta",
    "Pod",
    "PodSecurityContext",
    "PodSpec",
    "ResourceRequirements",
    "SecurityContext",
    "Volume",
    "VolumeMount",
    "is_privileged",
    "qos_class",
    "run_as",
    "to_json",
]

QosClass = Literal["Guaranteed", "Burstable", "BestEffort"]


class ObjectMeta(Model):
    """Identity and labels. What an API server writes here (uid, resourceVersion, …) is accepted and not used."""

    name: str = ""
    namespace: str = "default"
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)
    generate_name: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: Int | None = None
    self_link: str = ""
    creation_timestamp: Json = None
    deletion_timestamp: Json = None
    deletion_grace_period_seconds: Int | None = None
    finalizers: tuple[str, ...] = ()
    owner_references: Json = None
    managed_fields: Json = None


class PodSecurityContext(Model):
    """What holds for every container that does not say otherwise."""

    run_as_user: Int | None = None
    run_as_group: Int | None = None
    run_as_non_root: Bool | None = None
    supplemental_groups: tuple[Int, ...] = ()
    supplemental_groups_policy: str | None = None
    fs_group: Int | None = None
    fs_group_change_policy: str | None = None
    sysctls: tuple[Sysctl, ...] = ()
    se_linux_options: Json = None
    se_linux_change_policy: str | None = None
    seccomp_profile: SeccompProfile | None = None
    app_armor_profile: AppArmorProfile | None = None
    windows_options: Json = None


class PodSpec(Model):
    """The pod's containers and what they share."""

    containers: tuple[Container, ...]
    restart_policy: Literal["Always", "OnFailure", "Never"] = "Always"
    termination_grace_period_seconds: Int = 30
    hostname: str = ""
    host_network: Bool = False
    host_pid: Bool = Field(False, alias="hostPID")
    host_ipc: Bool = Field(False, alias="hostIPC")
    share_process_namespace: Bool = False
    security_context: PodSecurityContext | None = None
    dns_policy: str = "ClusterFirst"
    # Not honoured, or only a scheduler's or a cluster's to read: see spec.fields.
    active_deadline_seconds: Int | None = None
    affinity: Json = None
    automount_service_account_token: Bool | None = None
    dns_config: PodDNSConfig | None = None
    enable_service_links: Bool = True
    ephemeral_containers: Json = None
    eviction_responders: Json = None
    host_aliases: tuple[HostAlias, ...] = ()
    host_users: Bool | None = None
    hostname_override: str | None = None
    image_pull_secrets: Json = None
    init_containers: Json = None
    node_name: str = ""
    node_selector: Json = None
    os: Json = None
    overhead: Json = None
    preemption_policy: str | None = None
    priority: Int | None = None
    priority_class_name: str = ""
    readiness_gates: Json = None
    resource_claims: Json = None
    resources: ResourceRequirements | None = None
    runtime_class_name: str | None = None
    scheduler_name: str = "default-scheduler"
    scheduling_gates: Json = None
    scheduling_group: Json = None
    service_account: str = ""
    service_account_name: str = ""
    set_hostname_as_fqdn: Bool | None = Field(None, alias="setHostnameAsFQDN")
    subdomain: str = ""
    tolerations: Json = None
    topology_spread_constraints: Json = None
    volumes: tuple[Volume, ...] = ()
    workload_ref: Json = None


class Pod(Model):
    """One pod. Equal to another where all that was written or defaulted is equal."""

    api_version: Literal["v1"] = "v1"
    kind: Literal["Pod"] = "Pod"
    metadata: ObjectMeta
    spec: PodSpec
    status: Json = Field(None, exclude=True)
    """What a cluster had to say about it: accepted, never kept."""

    @property
    def key(self) -> str:
        """`namespace/name`: the pod's identity."""
        return f"{self.metadata.namespace}/{self.metadata.name}"


def qos_class(pod: Pod) -> QosClass:
    """The pod's QoS class, of cpu and memory alone (pkg/apis/core/v1/helper/qos/qos.go)."""
    totals: dict[str, dict[str, int]] = {"requests": {}, "limits": {}}
    guaranteed = True
    for container in pod.spec.containers:
        for kind, total in totals.items():
            given = getattr(container.resources, kind)
            found = {name: given[name].nanos for name in ("cpu", "memory") if name in given and given[name].nanos > 0}
            for name, nanos in found.items():
                total[name] = total.get(name, 0) + nanos
            if kind == "limits" and len(found) < 2:
                guaranteed = False
    if not totals["requests"] and not totals["limits"]:
        return "BestEffort"
    return "Guaranteed" if guaranteed and totals["requests"] == totals["limits"] else "Burstable"


def is_privileged(container: Container) -> bool:
    """Whether the container has the machine's devices and every right there is."""
    return container.security_context is not None and bool(container.security_context.privileged)


def run_as(pod: Pod, container: Container) -> tuple[int | None, int | None, tuple[int, ...]]:
    """(user, group, further groups) that the spec asks for; None where the image decides. The container's word wins."""
    own, shared = container.security_context, pod.spec.security_context
    user = own.run_as_user if own is not None else None
    group = own.run_as_group if own is not None else None
    if shared is None:
        return user, group, ()
    further = dict.fromkeys((*shared.supplemental_groups, *([] if shared.fs_group is None else [shared.fs_group])))
    return (
        shared.run_as_user if user is None else user,
        shared.run_as_group if group is None else group,
        tuple(further),
    )
