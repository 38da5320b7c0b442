"""A pod's whole API object: who it is, what was asked for, how it is. Called by node.publish by way of core.status."""

from __future__ import annotations

from typing import Any

from minikube_lite.core.model import PodObserved
from minikube_lite.core.plan import death
from minikube_lite.core.times import timestamp
from minikube_lite.spec.objects import Pod, to_json

Json = dict[str, Any]

# What an API server fills in where it was not written. (Everything else that is not written stays away.)
_POD_DEFAULTS = ("restartPolicy", "terminationGracePeriodSeconds", "dnsPolicy", "schedulerName", "enableServiceLinks")
_CONTAINER_DEFAULTS = ("terminationMessagePath", "terminationMessagePolicy")


def pod_object(
    observed: PodObserved,
    status: Json,
    *,
    node_name: str = "",
    resource_version: str = "",
    generation: int = 0,
) -> Json:
    """The object as the API serves it. `resource_version` and `generation` are left out where they are not given."""
    meta = _metadata(observed)
    if resource_version:
        meta["resourceVersion"] = resource_version
    if generation:
        meta["generation"] = generation
    spec = _spec(observed.pod)
    if node_name:
        spec["nodeName"] = node_name
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec, "status": status}


def _metadata(observed: PodObserved) -> Json:
    """Of the manifest's metadata, what is a user's to write; the rest is said by whoever runs the pod."""
    meta = observed.pod.metadata
    written = to_json(meta)
    result: Json = {
        "name": meta.name,
        "namespace": meta.namespace,
        "uid": observed.uid,
        "creationTimestamp": timestamp(observed.created_wall),
        **{key: written[key] for key in ("labels", "annotations", "ownerReferences") if written.get(key)},
    }
    if (ending := observed.termination) is not None:
        grace = max(0.0, death(observed, ending) - ending.at)
        result["deletionTimestamp"] = timestamp(ending.at_wall + grace)
        result["deletionGracePeriodSeconds"] = round(grace)
    return result


def _spec(pod: Pod) -> Json:
    written, filled = to_json(pod.spec), to_json(pod.spec, defaults=True)
    containers = [
        {**item, "resources": item.get("resources", {}), **{key: full[key] for key in _CONTAINER_DEFAULTS}}
        for item, full in zip(written["containers"], filled["containers"], strict=True)
    ]
    return {**written, "containers": containers, **{key: filled[key] for key in _POD_DEFAULTS}}
