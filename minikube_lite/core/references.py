"""Which ConfigMaps, Secrets and claims a pod uses. Asked by node (whose news concerns which pod?)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple

from minikube_lite.spec.configs import ConfigKind
from minikube_lite.spec.objects import Container, Pod
from minikube_lite.spec.volumes import Volume

Kind = ConfigKind | Literal["PersistentVolumeClaim"]


class Reference(NamedTuple):
    """One object that a pod reads, whether it must be there or not."""

    kind: Kind
    namespace: str
    name: str

    @property
    def id(self) -> str:
        """As `Config.id` has it: `Secret/default/keys`."""
        return f"{self.kind}/{self.namespace}/{self.name}"


def references(pod: Pod) -> frozenset[Reference]:
    """Everything the pod uses: variables, volumes, and what its images are pulled with."""
    found: set[tuple[Kind, str]] = {pair for container in pod.spec.containers for pair in _of_container(container)}
    found.update(_of_volumes(pod.spec.volumes))
    found.update(("Secret", item.get("name", "")) for item in pod.spec.image_pull_secrets or ())
    return frozenset(Reference(kind, pod.metadata.namespace, name) for kind, name in found if name)


def _of_container(container: Container) -> Iterator[tuple[ConfigKind, str]]:
    for variable in container.env:
        if (source := variable.value_from) is not None:
            if source.config_map_key_ref is not None:
                yield "ConfigMap", source.config_map_key_ref.name
            if source.secret_key_ref is not None:
                yield "Secret", source.secret_key_ref.name
    for whole in container.env_from:
        if whole.config_map_ref is not None:
            yield "ConfigMap", whole.config_map_ref.name
        if whole.secret_ref is not None:
            yield "Secret", whole.secret_ref.name


def claims(pod: Pod) -> frozenset[str]:
    """The keys of the claims among them, and of those that the pod brings with it."""
    own = {f"{pod.metadata.name}-{volume.name}" for volume in pod.spec.volumes if volume.ephemeral is not None}
    named = {reference.name for reference in references(pod) if reference.kind == "PersistentVolumeClaim"}
    return frozenset(f"{pod.metadata.namespace}/{name}" for name in own | named)


def _of_volumes(volumes: Iterable[Volume]) -> Iterator[tuple[Kind, str]]:
    for volume in volumes:
        if volume.config_map is not None:
            yield "ConfigMap", volume.config_map.name
        if volume.persistent_volume_claim is not None:
            yield "PersistentVolumeClaim", volume.persistent_volume_claim.claim_name
        if volume.secret is not None:
            yield "Secret", volume.secret.secret_name or volume.secret.name
        for source in volume.projected.sources if volume.projected is not None else ():
            if source.config_map is not None:
                yield "ConfigMap", source.config_map.name
            if source.secret is not None:
                yield "Secret", source.secret.name
