"""The credentials that a pod brings along: its `imagePullSecrets`. Called by node.images.

As the kubelet does it (pkg/kubelet/kubelet_pods.go getPullSecretsForPod, pkg/credentialprovider/secrets/secrets.go):
a Secret that is not there is told of, and the pull is tried without it; one of another type gives nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from minikube_lite.spec.objects import Pod

_KEYS: Mapping[str, str] = {
    "kubernetes.io/dockerconfigjson": ".dockerconfigjson",
    "kubernetes.io/dockercfg": ".dockercfg",
}


class Secret(Protocol):
    """What is needed of one."""

    @property
    def type(self) -> str: ...
    @property
    def data(self) -> Mapping[str, bytes]: ...


@dataclass(frozen=True, slots=True)
class PullSecrets:
    """What the pod's secrets hold."""

    documents: tuple[tuple[str, bytes], ...] = ()
    """(what it is called in a message, a `config.json` of Docker's)."""
    missing: tuple[str, ...] = ()

    def warning(self) -> str:
        """The kubelet's words for those that are missing; "" where none is."""
        if not self.missing:
            return ""
        names = ", ".join(self.missing)
        return f"Unable to retrieve some image pull secrets ({names}); attempting to pull the image may not succeed."


def pull_secrets(pod: Pod, find: Callable[[str, str], Secret | None]) -> PullSecrets:
    """Look up the pod's secrets by (namespace, name)."""
    documents: list[tuple[str, bytes]] = []
    missing: list[str] = []
    for item in pod.spec.image_pull_secrets or ():
        name = item.get("name", "")
        if not name:  # the API allows it, for compatibility, and it means nothing
            continue
        secret = find(pod.metadata.namespace, name)
        if secret is None:
            missing.append(name)
        elif document := secret.data.get(_KEYS.get(secret.type, "")):
            documents.append((f"the Secret {pod.metadata.namespace}/{name}", document))
    return PullSecrets(tuple(documents), tuple(missing))
