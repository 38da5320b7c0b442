"""A container's variables, from all that its spec names. Called by node.linux_runtime, which looks the objects up.

What the kubelet's `makeEnvironmentVariables` does, as a pure function: first `envFrom` in its order, then `env` in its
own over it; a `$(VAR)` sees what came before it. Source: pkg/kubelet/kubelet_pods.go, and pkg/api/v1/resource for the
resources.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from minikube_lite.core.expansion import expand
from minikube_lite.spec.configs import Config, ConfigKind
from minikube_lite.spec.environment import EnvFromSource, EnvVarSource, KeySelector, ResourceFieldSelector
from minikube_lite.spec.environment_checks import SUBSCRIPTED
from minikube_lite.spec.objects import Container, Pod
from minikube_lite.spec.quantity import NANO, Quantity

Lookup = Callable[[ConfigKind, str, str], Config | None]
"""(kind, namespace, name) → the object, if there is one."""


class CannotRun(ValueError):
    """The spec and what it names do not make a container. `reason` is the word for its waiting state."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


@dataclass(frozen=True, slots=True)
class Facts:
    """What `fieldRef` and `resourceFieldRef` tell that stands in no manifest."""

    uid: str = ""
    node_name: str = ""
    host_ips: tuple[str, ...] = ()
    """The machine's addresses, the first one first."""
    pod_ips: tuple[str, ...] = ()
    allocatable: Mapping[str, Quantity] = field(default_factory=dict)
    """What the node has of `cpu`, `memory` and `ephemeral-storage`: the limit of a container that has none."""


@dataclass(frozen=True, slots=True)
class Environment:
    """Variables in order of first mention."""

    values: Mapping[str, str] = field(default_factory=dict, repr=False)
    secret: frozenset[str] = frozenset()
    """The names of those that hold something of a Secret, by a reference `$(VAR)` too: these values are never written
    to a disk."""

    @property
    def public(self) -> Environment:
        """Without what is secret."""
        return Environment({name: value for name, value in self.values.items() if name not in self.secret})


def environment(pod: Pod, container: Container, lookup: Lookup, facts: Facts) -> Environment:
    """The variables that the spec gives. Raises CannotRun in the kubelet's words where something is missing."""
    values: dict[str, str] = {}
    secret: set[str] = set()
    for source in container.env_from:
        for name, value, is_secret in _all_of(source, pod, lookup):
            _put(values, secret, name, value, is_secret=is_secret)
    for variable in container.env:
        if variable.value or variable.value_from is None:
            value = expand(variable.value, values)
            is_secret = any(name in secret for name in _mentioned(variable.value))
        else:
            found = _value_of(variable.value_from, pod, container, lookup, facts)
            if found is None:
                continue
            value, is_secret = found, variable.value_from.secret_key_ref is not None
        _put(values, secret, variable.name, value, is_secret=is_secret)
    return Environment(values, frozenset(secret))


def _put(values: dict[str, str], secret: set[str], name: str, value: str, *, is_secret: bool) -> None:
    values[name] = value
    (secret.add if is_secret else secret.discard)(name)


def _mentioned(text: str) -> list[str]:
    return re.findall(r"\$\(([^)]*)\)", text)


def _find(kind: ConfigKind, pod: Pod, name: str, lookup: Lookup, *, optional: bool) -> Config | None:
    """The object; None where it need not be there. Raises CannotRun."""
    found = lookup(kind, pod.metadata.namespace, name)
    if found is None and not optional:
        raise CannotRun("CreateContainerConfigError", f'{kind.lower()} "{name}" not found')
    return found


def _all_of(source: EnvFromSource, pod: Pod, lookup: Lookup) -> Iterator[tuple[str, str, bool]]:
    """(name, value, whether it is secret) of each key. `binaryData` is not for variables, as for the kubelet."""
    kind: ConfigKind
    kind, reference = ("ConfigMap", source.config_map_ref) if source.config_map_ref else ("Secret", source.secret_ref)
    if reference is None:
        return
    found = _find(kind, pod, reference.name, lookup, optional=reference.optional)
    if found is None:
        return
    for key in sorted(found.data):
        if key not in found.binary:
            yield source.prefix + key, _text(found, key), kind == "Secret"


def _value_of(source: EnvVarSource, pod: Pod, container: Container, lookup: Lookup, facts: Facts) -> str | None:
    """None: there is no such variable, which is well. Raises CannotRun."""
    if source.field_ref is not None:
        return field_value(source.field_ref.field_path, pod, facts)
    if source.resource_field_ref is not None:
        return resource_value(source.resource_field_ref, pod, container, facts)
    if source.config_map_key_ref is not None:
        return _key_value("ConfigMap", source.config_map_key_ref, pod, lookup)
    if source.secret_key_ref is not None:
        return _key_value("Secret", source.secret_key_ref, pod, lookup)
    return ""


def _key_value(kind: ConfigKind, selector: KeySelector, pod: Pod, lookup: Lookup) -> str | None:
    found = _find(kind, pod, selector.name, lookup, optional=selector.optional)
    if found is None:
        return None
    if selector.key in found.data and selector.key not in found.binary:
        return _text(found, selector.key)
    if selector.optional:
        return None
    hint = " (it is in binaryData, which is not for variables)" if selector.key in found.binary else ""
    message = f"couldn't find key {selector.key} in {kind} {pod.metadata.namespace}/{selector.name}{hint}"
    raise CannotRun("CreateContainerConfigError", message)


def _text(config: Config, key: str) -> str:
    """A value as a variable can hold it. Raises CannotRun; the value is in no message."""
    try:
        text = config.data[key].decode()
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        message = f"key {key} in {config.kind} {config.key} is binary, which no variable can hold: mount it as a volume"
        raise CannotRun("CreateContainerConfigError", message)
    return text


def field_value(path: str, pod: Pod, facts: Facts) -> str:
    """What a `fieldRef` gives; a label or annotation that is not there is empty."""
    meta = pod.metadata
    if subscripted := SUBSCRIPTED.fullmatch(path):
        where = meta.labels if subscripted[1].endswith("labels") else meta.annotations
        return where.get(subscripted[2], "")
    values = {
        "metadata.name": meta.name,
        "metadata.namespace": meta.namespace,
        "metadata.uid": facts.uid,
        "spec.nodeName": facts.node_name,
        "spec.serviceAccountName": pod.spec.service_account_name or pod.spec.service_account or "default",
        "status.hostIP": facts.host_ips[0] if facts.host_ips else "",
        "status.hostIPs": ",".join(facts.host_ips),
        "status.podIP": facts.pod_ips[0] if facts.pod_ips else "",
        "status.podIPs": ",".join(facts.pod_ips),
    }
    return values[path]


def resource_value(source: ResourceFieldSelector, pod: Pod, container: Container, facts: Facts) -> str:
    """What a `resourceFieldRef` gives: a whole number of divisors, rounded up. Raises CannotRun.

    A limit that is not set, or 0, is what the node has (MergeContainerResourceLimits); a request then is 0.
    """
    if source.container_name:
        named = [item for item in pod.spec.containers if item.name == source.container_name]
        if not named:
            message = f"container {source.container_name} not found"
            raise CannotRun("CreateContainerConfigError", message)
        container = named[0]
    kind, _, name = source.resource.partition(".")
    amount = (container.resources.limits if kind == "limits" else container.resources.requests).get(name)
    if kind == "limits" and not amount:
        amount = facts.allocatable.get(name)
    divisor = source.divisor.nanos or NANO
    if name == "cpu":  # both are whole millicores first
        return str(-(-(amount.milli if amount else 0) // (divisor * 1000 // NANO)))
    return str(-(-(amount.bytes if amount else 0) // (divisor // NANO)))
