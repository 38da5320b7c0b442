"""A pod's volumes and where its containers mount them, as values. Part of `spec.objects`, which everybody else imports.

A source that no machine without a cluster can serve (nfs, csi, …) never comes here: `spec.volume_fields` refuses it.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from minikube_lite.spec.environment import ObjectFieldSelector, ResourceFieldSelector
from minikube_lite.spec.model import Bool, Int, Json, Model
from minikube_lite.spec.quantity import Quantity

__all__ = [
    "ClaimSpec",
    "ConfigMapSource",
    "DownwardAPISource",
    "EmptyDir",
    "HostPath",
    "KeyToPath",
    "ProjectedSource",
    "Projection",
    "SecretSource",
    "Volume",
    "VolumeMount",
]

FILE_MODE = 0o644
"""Of a projected file that nothing else is said about (`ConfigMapVolumeSourceDefaultMode`)."""


class VolumeMount(Model):
    """Where and how a container sees one volume of its pod."""

    name: str
    mount_path: str
    read_only: Bool = False
    recursive_read_only: Literal["Disabled", "IfPossible", "Enabled"] | None = None
    sub_path: str = ""
    sub_path_expr: str = ""
    """`$(VAR)` is filled in from the container's environment."""
    mount_propagation: Literal["None", "HostToContainer", "Bidirectional"] | None = None
    bind_mount_options: tuple[str, ...] = ()


class EmptyDir(Model):
    """A directory that lives as long as the pod. `medium: Memory` is a tmpfs."""

    medium: str = ""
    size_limit: Quantity | None = None
    mode: Int | None = None


class HostPath(Model):
    """A path of this machine's; `type` says what must be there, or may be made."""

    path: str
    type: str | None = None


class KeyToPath(Model):
    """One key of a ConfigMap or Secret, and the file it becomes."""

    key: str
    path: str
    mode: Int | None = None
    user: Int | None = None


class ConfigMapSource(Model):
    """A ConfigMap as a volume, or as a part of a projected one (which has no `defaultMode` of its own)."""

    name: str = ""
    items: tuple[KeyToPath, ...] = ()
    optional: Bool = False
    default_mode: Int | None = None
    default_user: Int | None = None


class SecretSource(Model):
    """A Secret as a volume; in a projected one its name stands in `name`, alone it stands in `secretName`."""

    secret_name: str = ""
    name: str = ""
    items: tuple[KeyToPath, ...] = ()
    optional: Bool = False
    default_mode: Int | None = None
    default_user: Int | None = None


class DownwardAPIFile(Model):
    """One file with something of the pod's own in it."""

    path: str
    field_ref: ObjectFieldSelector | None = None
    resource_field_ref: ResourceFieldSelector | None = None
    mode: Int | None = None
    user: Int | None = None


class DownwardAPISource(Model):
    """What the pod is, as files."""

    items: tuple[DownwardAPIFile, ...] = ()
    default_mode: Int | None = None
    default_user: Int | None = None


class Projection(Model):
    """One source of a projected volume: exactly one of these is set."""

    config_map: ConfigMapSource | None = None
    secret: SecretSource | None = None
    downward_api: DownwardAPISource | None = Field(None, alias="downwardAPI")


class ProjectedSource(Model):
    """Several sources in one directory."""

    sources: tuple[Projection, ...] = ()
    default_mode: Int | None = None
    default_user: Int | None = None


class ClaimSource(Model):
    """A persistent volume claim of the pod's namespace."""

    claim_name: str
    read_only: Bool = False


class ClaimResources(Model):
    """How much the claim asks for: shown, not enforced."""

    requests: dict[str, Quantity] = Field(default_factory=dict)
    limits: dict[str, Quantity] = Field(default_factory=dict)


class ClaimSpec(Model):
    """What a claim asks for; only its access modes change anything here."""

    access_modes: tuple[str, ...] = ()
    resources: ClaimResources = ClaimResources()
    storage_class_name: str | None = None
    volume_mode: str | None = None
    volume_name: str = ""
    selector: Json = None
    data_source: Json = None
    data_source_ref: Json = None
    volume_attributes_class_name: str | None = None


class ClaimTemplate(Model):
    """The claim that a pod brings with it."""

    spec: ClaimSpec
    metadata: Json = None


class EphemeralSource(Model):
    """A claim that is made with the pod and goes with it."""

    volume_claim_template: ClaimTemplate | None = None


class ImageSource(Model):
    """The read-only root file system of an image."""

    reference: str = ""
    pull_policy: str = ""


class Volume(Model):
    """One volume; exactly one source is set, an `emptyDir` where none is written."""

    name: str
    empty_dir: EmptyDir | None = None
    host_path: HostPath | None = None
    config_map: ConfigMapSource | None = None
    secret: SecretSource | None = None
    downward_api: DownwardAPISource | None = Field(None, alias="downwardAPI")
    projected: ProjectedSource | None = None
    persistent_volume_claim: ClaimSource | None = None
    ephemeral: EphemeralSource | None = None
    image: ImageSource | None = None

    @property
    def kind(self) -> str:
        """The name of the source that is set, as the API spells it."""
        for name, field in type(self).model_fields.items():
            if name != "name" and getattr(self, name) is not None:
                return field.alias or name
        return "emptyDir"
