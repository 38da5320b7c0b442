"""The resources that this API has: names, verbs and field selectors. Called by discovery, listing and the selectors."""

from __future__ import annotations

from dataclasses import dataclass

from minikube_lite.node.service import Kind


@dataclass(frozen=True, slots=True)
class Resource:
    kind: Kind
    plural: str
    singular: str
    short: tuple[str, ...]
    namespaced: bool
    verbs: tuple[str, ...]
    fields: tuple[str, ...]
    """What a field selector may name beside metadata.name and metadata.namespace (pkg/apis/core/v1/conversion.go)."""
    categories: tuple[str, ...] = ()


PODS = Resource(
    kind="Pod",
    plural="pods",
    singular="pod",
    short=("po",),
    namespaced=True,
    verbs=("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"),
    fields=(
        "spec.hostNetwork",
        "spec.nodeName",
        "spec.restartPolicy",
        "spec.schedulerName",
        "spec.serviceAccountName",
        "status.nominatedNodeName",
        "status.phase",
        "status.podIP",
    ),
    categories=("all",),
)
EVENTS = Resource(
    kind="Event",
    plural="events",
    singular="event",
    short=("ev",),
    namespaced=True,
    verbs=("get", "list", "watch"),
    fields=(
        "involvedObject.apiVersion",
        "involvedObject.fieldPath",
        "involvedObject.kind",
        "involvedObject.name",
        "involvedObject.namespace",
        "involvedObject.resourceVersion",
        "involvedObject.uid",
        "reason",
        "reportingComponent",
        "source",
        "type",
    ),
)
CONFIGMAPS = Resource(
    kind="ConfigMap",
    plural="configmaps",
    singular="configmap",
    short=("cm",),
    namespaced=True,
    verbs=PODS.verbs,
    fields=(),
)
SECRETS = Resource(
    kind="Secret",
    plural="secrets",
    singular="secret",
    short=(),
    namespaced=True,
    verbs=PODS.verbs,
    fields=("type",),
)
CLAIMS = Resource(
    kind="PersistentVolumeClaim",
    plural="persistentvolumeclaims",
    singular="persistentvolumeclaim",
    short=("pvc",),
    namespaced=True,
    verbs=PODS.verbs,
    fields=(),
)
NODES = Resource(
    kind="Node",
    plural="nodes",
    singular="node",
    short=("no",),
    namespaced=False,
    verbs=("get", "list"),
    fields=("spec.unschedulable",),
)
NAMESPACES = Resource(
    kind="Namespace",
    plural="namespaces",
    singular="namespace",
    short=("ns",),
    namespaced=False,
    verbs=("get", "list"),
    fields=("status.phase",),
)

RESOURCES = (PODS, CONFIGMAPS, EVENTS, NAMESPACES, NODES, CLAIMS, SECRETS)
WRITABLE = (PODS, CONFIGMAPS, SECRETS, CLAIMS)
"""What stands in the manifests directory."""
WATCHABLE = (*WRITABLE, EVENTS)
