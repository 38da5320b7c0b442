"""What becomes of a document by its apiVersion and kind. Called by `spec.manifest`."""

from __future__ import annotations

from typing import Any

from minikube_lite.spec.guess import nearest

_GROUPS: dict[str, tuple[str, ...]] = {
    "v1": (
        "Binding", "ComponentStatus", "ConfigMap", "Endpoints", "Event", "LimitRange", "List", "Namespace", "Node",
        "PersistentVolume", "PersistentVolumeClaim", "Pod", "PodTemplate", "ReplicationController", "ResourceQuota",
        "Secret", "Service", "ServiceAccount",
    ),
    "apps/v1": ("ControllerRevision", "DaemonSet", "Deployment", "ReplicaSet", "StatefulSet"),
    "batch/v1": ("CronJob", "Job"),
    "autoscaling/v2": ("HorizontalPodAutoscaler",),
    "networking.k8s.io/v1": ("Ingress", "IngressClass", "NetworkPolicy"),
    "policy/v1": ("PodDisruptionBudget",),
    "rbac.authorization.k8s.io/v1": ("ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"),
    "scheduling.k8s.io/v1": ("PriorityClass",),
    "storage.k8s.io/v1": ("CSIDriver", "StorageClass", "VolumeAttachment"),
    "node.k8s.io/v1": ("RuntimeClass",),
    "apiextensions.k8s.io/v1": ("CustomResourceDefinition",),
}  # fmt: skip
_HOME = {kind: group for group, kinds in _GROUPS.items() for kind in kinds}

_WORKLOADS = (
    "CronJob", "DaemonSet", "Deployment", "Job", "PodTemplate", "ReplicaSet", "ReplicationController", "StatefulSet",
)  # fmt: skip
CONFIGS = ("ConfigMap", "Secret")
CLAIM = "PersistentVolumeClaim"
KEPT = (*CONFIGS, CLAIM)
"""What is kept in the manifests directory for pods to use."""
_DATA = ("PersistentVolume",)

_WITHOUT_NAMESPACE = frozenset(
    (
        "APIService", "ClusterRole", "ClusterRoleBinding", "CSIDriver", "CustomResourceDefinition", "IngressClass",
        "MutatingWebhookConfiguration", "Namespace", "Node", "PersistentVolume", "PodSecurityPolicy", "PriorityClass",
        "RuntimeClass", "StorageClass", "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding",
        "ValidatingWebhookConfiguration", "VolumeAttachment",
    )
)  # fmt: skip


def is_pod(api_version: str, kind: str) -> bool:
    """Whether this is what runs here."""
    return api_version == "v1" and kind == "Pod"


def is_config(api_version: str, kind: str) -> bool:
    """Whether pods may read their configuration from it."""
    return api_version == "v1" and kind in CONFIGS


def is_claim(api_version: str, kind: str) -> bool:
    """Whether pods may keep their data in it."""
    return api_version == "v1" and kind == CLAIM


def is_used(kind: str) -> bool:
    """Whether objects of this kind are kept in the manifests directory to be used."""
    return kind == "Pod" or kind in KEPT


def is_list(kind: str, raw: dict[str, Any]) -> bool:
    """Whether the document only holds other documents: `List`, `PodList`, `DeploymentList` …"""
    known = kind == "List" or (kind.endswith("List") and kind.removesuffix("List") in _HOME)
    return known and isinstance(raw.get("items"), (list, type(None)))


def has_namespace(kind: str) -> bool:
    """Whether objects of this kind live in a namespace."""
    return kind not in _WITHOUT_NAMESPACE


def skipped(api_version: str, kind: str) -> str:
    """Why a document of this kind is not run; "" where that would be wrong to say (see `mistaken`)."""
    if kind in _WORKLOADS:
        return f"{kind} is not run yet by minikube-lite: only Pods are"
    if kind in _DATA:
        return f"{kind} is not used yet by minikube-lite"
    if _HOME.get(kind):
        return f"minikube-lite has nothing to do with a {kind}"
    return f"minikube-lite does not know {kind} ({api_version}) and has nothing to do with it"


def mistaken(api_version: str, kind: str) -> tuple[str, str, str] | None:
    """(field, message, hint) where the pair cannot be what was meant; None where it is well, or not ours to judge."""
    home = _HOME.get(kind)
    if home is not None:
        if home == api_version or (home != "v1" and "/" in api_version):
            return None  # older versions of a group (extensions/v1beta1) are skipped like the present one
        return "apiVersion", f'no kind "{kind}" in version "{api_version}"', f"did you mean `{home}`?"
    known = _GROUPS.get(api_version)
    if known is None and "/" in api_version and _looks_like_version(api_version):
        return None
    if known is None:
        return "apiVersion", f'"{api_version}" is not an apiVersion', "a pod is of apiVersion `v1`"
    guess = nearest(kind, known, 0.6)
    hint = f"did you mean `{guess}`?" if guess else ""
    if api_version != "v1" and not hint:
        return None  # the group may have kinds that are newer than this
    return "kind", f'no kind "{kind}" in version "{api_version}"', hint


def _looks_like_version(api_version: str) -> bool:
    group, _, version = api_version.rpartition("/")
    return bool(group) and version[:1] == "v" and version[1:2].isdigit()
