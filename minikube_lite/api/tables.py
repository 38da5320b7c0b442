"""Tables: the columns and cells that `kubectl get` prints. Called by negotiation. Pure: now is an argument.

Source of the columns: kubernetes/pkg/printers/internalversion/printers.go. Priority 1 shows with `-o wide`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from minikube_lite.api.resources import Resource
from minikube_lite.core.printing import columns
from minikube_lite.core.times import human_duration, seconds
from minikube_lite.node.service import Json

NONE = "<none>"
UNKNOWN = "<unknown>"

_COLUMNS: dict[str, tuple[tuple[str, str, str, int, str], ...]] = {
    "Pod": (
        ("Name", "string", "name", 0, "Name must be unique within a namespace."),
        ("Ready", "string", "", 0, "The aggregate readiness state of this pod for accepting traffic."),
        ("Status", "string", "", 0, "The aggregate status of the containers in this pod."),
        ("Restarts", "string", "", 0, "The number of times the containers in this pod have been restarted."),
        ("Age", "string", "", 0, "Time since the pod was created."),
        ("IP", "string", "", 1, "The IP address of the pod."),
        ("Node", "string", "", 1, "The node that runs the pod."),
        ("Nominated Node", "string", "", 1, "Always none: there is no scheduler."),
        ("Readiness Gates", "string", "", 1, "How many of the pod's readiness gates are true."),
    ),
    "Event": (
        ("Last Seen", "string", "", 0, "Time since this event was seen last."),
        ("Type", "string", "", 0, "Normal or Warning."),
        ("Reason", "string", "", 0, "Why the event was made, in one word."),
        ("Object", "string", "", 0, "The object that this event is about."),
        ("Subobject", "string", "", 1, "The part of the object."),
        ("Source", "string", "", 1, "Who reported it."),
        ("Message", "string", "", 0, "What happened."),
        ("First Seen", "string", "", 1, "Time since this event was seen first."),
        ("Count", "string", "", 1, "How often it was seen."),
        ("Name", "string", "name", 1, "The event's own name."),
    ),
    "ConfigMap": (
        ("Name", "string", "name", 0, "Name must be unique within a namespace."),
        ("Data", "string", "", 0, "How many values it holds."),
        ("Age", "string", "", 0, "Time since the ConfigMap was created."),
    ),
    "Secret": (
        ("Name", "string", "name", 0, "Name must be unique within a namespace."),
        ("Type", "string", "", 0, "What it is for."),
        ("Data", "string", "", 0, "How many values it holds."),
        ("Age", "string", "", 0, "Time since the Secret was created."),
    ),
    "PersistentVolumeClaim": (
        ("Name", "string", "name", 0, "Name must be unique within a namespace."),
        ("Status", "string", "", 0, "Bound, Released (its document is gone, its data is kept), Terminating, Pending."),
        ("Volume", "string", "", 0, "The directory that it is bound to."),
        ("Capacity", "string", "", 0, "What it asks for; nothing enforces it."),
        ("Access Modes", "string", "", 0, "How it may be used."),
        ("StorageClass", "string", "", 0, "What the claim says; there is one kind of volume."),
        ("VolumeAttributesClass", "string", "", 0, "What the claim says."),
        ("Age", "string", "", 0, "Time since the volume was made."),
        ("VolumeMode", "string", "", 1, "Always Filesystem."),
    ),
    "Node": (
        ("Name", "string", "name", 0, "The node's name."),
        ("Status", "string", "", 0, "Whether the node is ready."),
        ("Roles", "string", "", 0, "The roles of the node."),
        ("Age", "string", "", 0, "Time since the node was created."),
        ("Version", "string", "", 0, "The version of minikube-lite."),
        ("Internal-IP", "string", "", 1, "The address of the node."),
        ("External-IP", "string", "", 1, "The address of the node to the world."),
        ("OS-Image", "string", "", 1, "The operating system."),
        ("Kernel-Version", "string", "", 1, "The kernel."),
        ("Container-Runtime", "string", "", 1, "The runtime below."),
    ),
    "Namespace": (
        ("Name", "string", "name", 0, "The namespace's name."),
        ("Status", "string", "", 0, "The status of the namespace."),
        ("Age", "string", "", 0, "Time since the namespace was created."),
    ),
}


def columns_of(resource: Resource) -> list[Json]:
    """The `columnDefinitions` of a Table of this resource."""
    keys = ("name", "type", "format", "priority", "description")
    return [dict(zip(keys, column, strict=True)) for column in _COLUMNS[resource.kind]]


def row_of(resource: Resource, item: Json, now: float) -> list[Any]:
    """The cells of one object; `now` is the wall clock, in seconds since the epoch."""
    return _ROWS[resource.kind](item, now)


def _since(stamp: Any, now: float) -> str:
    then = seconds(stamp)
    return UNKNOWN if then is None else human_duration(now - then)


def _age(item: Json, now: float) -> str:
    return _since(item.get("metadata", {}).get("creationTimestamp"), now)


def _pod(item: Json, now: float) -> list[Any]:
    ready, status, restarts, age = columns(item, now)
    state, spec = item.get("status") or {}, item.get("spec") or {}
    gates = [gate.get("conditionType") for gate in spec.get("readinessGates") or ()]
    true = {condition.get("type") for condition in state.get("conditions") or () if condition.get("status") == "True"}
    return [
        item["metadata"].get("name", ""),
        ready,
        status,
        restarts,
        age,
        state.get("podIP") or NONE,
        spec.get("nodeName") or NONE,
        state.get("nominatedNodeName") or NONE,
        f"{sum(gate in true for gate in gates)}/{len(gates)}" if gates else NONE,
    ]


def _event(item: Json, now: float) -> list[Any]:
    about, source, series = item.get("involvedObject") or {}, item.get("source") or {}, item.get("series") or {}
    first = _since(item.get("firstTimestamp") or item.get("eventTime"), now)
    seen = series.get("lastObservedTime") or item.get("lastTimestamp")
    last = _since(seen, now) if seen else first
    component = source.get("component") or item.get("reportingComponent") or ""
    kind, name = str(about.get("kind", "")).lower(), about.get("name", "")
    return [
        last,
        item.get("type", ""),
        item.get("reason", ""),
        f"{kind}/{name}" if name else kind,
        about.get("fieldPath", ""),
        f"{component}, {source['host']}" if source.get("host") else component,
        str(item.get("message", "")).strip(),
        first,
        str(series.get("count") or item.get("count") or 1),
        item.get("metadata", {}).get("name", ""),
    ]


def _node(item: Json, now: float) -> list[Any]:
    state, metadata = item.get("status") or {}, item.get("metadata") or {}
    conditions = {entry.get("type"): entry.get("status") for entry in state.get("conditions") or ()}
    status = "Unknown" if "Ready" not in conditions else "Ready" if conditions["Ready"] == "True" else "NotReady"
    role = "node-role.kubernetes.io/"
    roles = sorted(label.removeprefix(role) for label in metadata.get("labels") or {} if label.startswith(role))
    info = state.get("nodeInfo") or {}
    addresses = {entry.get("type"): entry.get("address") for entry in state.get("addresses") or ()}
    return [
        metadata.get("name", ""),
        status,
        ",".join(roles) or NONE,
        _age(item, now),
        info.get("kubeletVersion", ""),
        addresses.get("InternalIP") or NONE,
        addresses.get("ExternalIP") or NONE,
        info.get("osImage") or UNKNOWN,
        info.get("kernelVersion") or UNKNOWN,
        info.get("containerRuntimeVersion") or UNKNOWN,
    ]


def _config_map(item: Json, now: float) -> list[Any]:
    size = len(item.get("data") or ()) + len(item.get("binaryData") or ())
    return [item["metadata"].get("name", ""), str(size), _age(item, now)]


def _secret(item: Json, now: float) -> list[Any]:
    name, size = item["metadata"].get("name", ""), len(item.get("data") or ())
    return [name, item.get("type", ""), str(size), _age(item, now)]


_SHORT_MODES = {
    "ReadWriteOnce": "RWO",
    "ReadOnlyMany": "ROX",
    "ReadWriteMany": "RWX",
    "ReadWriteOncePod": "RWOP",
}


def _claim(item: Json, now: float) -> list[Any]:
    """`printPersistentVolumeClaim`: volume, capacity and modes are those of what it is bound to."""
    spec, status, meta = item.get("spec") or {}, item.get("status") or {}, item["metadata"]
    phase = "Terminating" if meta.get("deletionTimestamp") else status.get("phase", "")
    given = status.get("accessModes") or ()
    modes = ",".join(short for mode, short in _SHORT_MODES.items() if mode in given)
    return [
        meta.get("name", ""),
        phase,
        spec.get("volumeName", ""),
        str((status.get("capacity") or {}).get("storage", "")),
        modes,
        spec.get("storageClassName", ""),
        spec.get("volumeAttributesClassName") or "<unset>",
        _age(item, now),
        spec.get("volumeMode") or "<unset>",
    ]


def _namespace(item: Json, now: float) -> list[Any]:
    phase = (item.get("status") or {}).get("phase", "Active")
    return [item["metadata"].get("name", ""), phase, _age(item, now)]


_ROWS: dict[str, Callable[[Json, float], list[Any]]] = {
    "Pod": _pod,
    "Event": _event,
    "ConfigMap": _config_map,
    "Secret": _secret,
    "PersistentVolumeClaim": _claim,
    "Node": _node,
    "Namespace": _namespace,
}
