"""Kubernetes' rules beyond types: names, ranges, what fits together. Called by `spec.pods` on a Pod of the right shape.

Words are those of Kubernetes' own validation (pkg/apis/core/validation/validation.go).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from minikube_lite.spec import names
from minikube_lite.spec.cpu import MAX_QUOTA
from minikube_lite.spec.guess import nearest
from minikube_lite.spec.network_checks import check_network
from minikube_lite.spec.quantity import MAX_INT64, Quantity
from minikube_lite.spec.security_checks import check_security, warn_security
from minikube_lite.spec.yaml import Path, template_in

if TYPE_CHECKING:
    from minikube_lite.spec.container import Container, ResourceRequirements
    from minikube_lite.spec.objects import ObjectMeta, Pod, PodSpec

Wrong = tuple[Path, str, str]
"""(path, message, hint)."""

RESOURCES = ("cpu", "memory", "ephemeral-storage")
MAX_ANNOTATIONS = 256 << 10
"""Bytes of all annotations together (`TotalAnnotationSizeLimitB`)."""
MAX_CPU = MAX_QUOTA // 100
"""Millicores, in the default period."""


def check_pod(pod: Pod) -> Iterator[Wrong]:
    """Everything wrong with a pod whose fields are known and of the right type."""
    yield from check_metadata(pod.metadata)
    yield from _spec(pod.spec)
    seen: dict[str, int] = {}
    for number, container in enumerate(pod.spec.containers):
        path: Path = ("spec", "containers", number)
        if container.name in seen:
            yield (*path, "name"), f'Duplicate value: "{container.name}"', "each container needs a name of its own"
        seen.setdefault(container.name, number)
        yield from _container(container, path)
    yield from check_security(pod)
    yield from check_network(pod)


def warn_pod(pod: Pod) -> Iterator[str]:
    """What is allowed and still looks wrong."""
    yield from warn_security(pod)
    for number, container in enumerate(pod.spec.containers):
        limits = container.resources.limits
        for kind in ("limits", "requests"):
            for name, amount in getattr(container.resources, kind).items():
                where = f"spec.containers[{number}].resources.{kind}[{name}]"
                if kind == "requests" and limits.get(name) is amount:
                    continue
                if name == "memory" and amount.nanos % 10**9:
                    yield f'{where}: fractional byte value "{amount}" is invalid, must be an integer'
                elif name == "ephemeral-storage":
                    yield f"{where} is not supported yet: how much the container writes is not limited"
                elif name.startswith("hugepages-"):
                    yield f"{where} is not supported yet: huge pages are not limited"


def _text(path: Path, value: str, rule: Callable[[str], str]) -> Iterator[Wrong]:
    if wrong := rule(value):
        template = template_in(value)
        hint = f"{template} is a template: fill it in first (helm template, envsubst)" if template else ""
        yield path, f'Invalid value: "{value}": {wrong}', hint


def check_metadata(meta: ObjectMeta) -> Iterator[Wrong]:
    """Identity, labels and annotations of an object of any kind."""
    path: Path = ("metadata",)
    if not meta.name and meta.generate_name:
        message = "generateName is not enough: the directory is the database, so the pod needs a name that stays"
        yield (*path, "generateName"), message, f"name: {meta.generate_name}1"
    elif not meta.name:
        yield (*path, "name"), "Required value: name is required", ""
    else:
        yield from _text((*path, "name"), meta.name, names.dns_subdomain)
    yield from _text((*path, "namespace"), meta.namespace, names.dns_label)
    for key, value in meta.labels.items():
        yield from _text((*path, "labels", key), key, names.qualified_name)
        yield from _text((*path, "labels", key), value, names.label_value)
    for key in meta.annotations:
        yield from _text((*path, "annotations", key), key, lambda text: names.qualified_name(text.lower()))
    size = sum(len(key.encode()) + len(value.encode()) for key, value in meta.annotations.items())
    if size > MAX_ANNOTATIONS:
        yield (*path, "annotations"), f"Too long: may not be more than {MAX_ANNOTATIONS} bytes", ""


def _spec(spec: PodSpec) -> Iterator[Wrong]:
    path: Path = ("spec",)
    if not spec.containers:
        yield (*path, "containers"), "Required value", "a pod needs at least one container"
    if spec.termination_grace_period_seconds < 0:
        yield (
            (*path, "terminationGracePeriodSeconds"),
            f"Invalid value: {spec.termination_grace_period_seconds}: must be greater than or equal to 0",
            "",
        )
    if spec.share_process_namespace and spec.host_pid:
        message = "Invalid value: true: ShareProcessNamespace and HostPID cannot both be enabled"
        yield (*path, "shareProcessNamespace"), message, ""
    if isinstance(spec.os, dict) and spec.os.get("name") != "linux":
        yield (*path, "os", "name"), f'Invalid value: "{spec.os.get("name")}": this machine runs linux', ""


def _container(container: Container, path: Path) -> Iterator[Wrong]:
    if not container.name:
        yield (*path, "name"), "Required value", ""
    else:
        yield from _text((*path, "name"), container.name, names.dns_label)
    yield from _image(container.image, (*path, "image"))
    for field, words in (("command", container.command), ("args", container.args)):
        for number, word in enumerate(words):
            if "\0" in word:
                yield (*path, field, number), "Invalid value: holds a NUL character, which no argument can", ""
    if container.working_dir and not container.working_dir.startswith("/"):
        yield (*path, "workingDir"), f'Invalid value: "{container.working_dir}": must be an absolute path', ""
    for number, variable in enumerate(container.env):
        here = (*path, "env", number)
        yield from _text((*here, "name"), variable.name, names.env_name)
        if "\0" in variable.value:
            yield (*here, "value"), "Invalid value: holds a NUL character, which no variable can", ""
    yield from _ports(container, path)
    yield from _resources(container.resources, (*path, "resources"))


def _image(image: str, path: Path) -> Iterator[Wrong]:
    if not image:
        yield path, "Required value", "a directory, a tar archive, or `host`"
    elif image != image.strip():
        yield path, f'Invalid value: "{image}": must not have leading or trailing whitespace', ""
    elif "\0" in image:
        yield path, "Invalid value: holds a NUL character", ""
    elif template := template_in(image):
        yield path, f"{template} is a template", "fill it in first (helm template, envsubst, kustomize)"


def _ports(container: Container, path: Path) -> Iterator[Wrong]:
    seen = set()
    for number, port in enumerate(container.ports):
        here = (*path, "ports", number)
        if port.name:
            yield from _text((*here, "name"), port.name, names.port_name)
            if port.name in seen:
                yield (*here, "name"), f'Duplicate value: "{port.name}"', ""
            seen.add(port.name)
        for field, value in (("containerPort", port.container_port), ("hostPort", port.host_port)):
            if value is not None and not 1 <= value <= 65535 and not (field == "hostPort" and value == 0):
                yield (*here, field), f"Invalid value: {value}: must be between 1 and 65535, inclusive", ""


def _resources(resources: ResourceRequirements, path: Path) -> Iterator[Wrong]:
    for kind in ("limits", "requests"):
        given: dict[str, Quantity] = getattr(resources, kind)
        for name, amount in given.items():
            here = (*path, kind, name)
            if kind == "requests" and resources.limits.get(name) is amount:
                continue  # taken over from the limit, which has been checked
            if wrong := _resource_name(name):
                yield (*here[:-1], name), *wrong
            elif amount.nanos < 0:
                yield here, f'Invalid value: "{amount}": must be greater than or equal to 0', ""
            elif name == "cpu" and amount.milli > MAX_CPU:
                yield here, f'Invalid value: "{amount}": more than the kernel can limit to, {MAX_CPU // 1000} CPUs', ""
            elif amount.bytes > MAX_INT64:
                yield here, f'Invalid value: "{amount}": more than any machine has', ""
            elif kind == "requests" and name in resources.limits and amount > resources.limits[name]:
                limit = resources.limits[name]
                yield here, f'Invalid value: "{amount}": must be less than or equal to {name} limit of {limit}', ""


def _resource_name(name: str) -> tuple[str, str] | None:
    if name in RESOURCES or name.startswith("hugepages-"):
        return None
    if "/" in name and not names.qualified_name(name):
        return "not supported yet: the container would lack the device it needs", ""
    guess = nearest(name, RESOURCES, 0.5)
    hint = f"did you mean `{guess}`?" if guess else ""
    return f'Invalid value: "{name}": must be a standard resource type or fully qualified', hint
