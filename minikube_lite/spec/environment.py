"""Where a container's variables come from, as values. Part of `spec.container`; checked by `environment_checks`."""

from __future__ import annotations

from minikube_lite.spec.model import Bool, Json, Model
from minikube_lite.spec.quantity import Quantity


class KeySelector(Model):
    """One key of a ConfigMap or Secret in the pod's namespace."""

    name: str = ""
    key: str
    optional: Bool = False


class ObjectFieldSelector(Model):
    """A field of the pod."""

    field_path: str
    api_version: str = "v1"


class ResourceFieldSelector(Model):
    """A limit or request of a container of the pod."""

    resource: str
    container_name: str = ""
    divisor: Quantity = Quantity("0")


class EnvVarSource(Model):
    """Exactly one of these."""

    config_map_key_ref: KeySelector | None = None
    secret_key_ref: KeySelector | None = None
    field_ref: ObjectFieldSelector | None = None
    resource_field_ref: ResourceFieldSelector | None = None
    file_key_ref: Json = None


class EnvSource(Model):
    """A whole ConfigMap or Secret in the pod's namespace."""

    name: str = ""
    optional: Bool = False


class EnvFromSource(Model):
    """Exactly one of the two."""

    config_map_ref: EnvSource | None = None
    secret_ref: EnvSource | None = None
    prefix: str = ""
