"""Kubernetes' rules for securityContext, of a pod and of its containers. Called by `spec.checks`.

Words are those of Kubernetes' own validation (pkg/apis/core/validation/validation.go).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from minikube_lite.spec.guess import nearest
from minikube_lite.spec.rights import CAPABILITIES, capability, sysctl_key, sysctl_namespace
from minikube_lite.spec.yaml import Path

if TYPE_CHECKING:
    from minikube_lite.spec.container import Container
    from minikube_lite.spec.objects import Pod, PodSecurityContext, PodSpec
    from minikube_lite.spec.security import AppArmorProfile, SeccompProfile

Wrong = tuple[Path, str, str]
"""(path, message, hint)."""

APP_ARMOR = "container.apparmor.security.beta.kubernetes.io/"
"""Annotations of this kind were AppArmor's before there was a field; Kubernetes still heeds them."""
SECCOMP = ("seccomp.security.alpha.kubernetes.io/pod", "container.seccomp.security.alpha.kubernetes.io/")
"""These have had no effect since Kubernetes 1.27."""
MAX_ID = 2**31 - 1
MAX_SYSCTL = 253
_SYSCTL = r"^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$"


def check_security(pod: Pod) -> Iterator[Wrong]:
    """What is wrong with whom the pod and its containers are to run as, and with what they may do."""
    for key, value in pod.metadata.annotations.items():
        if key.startswith(APP_ARMOR) and value.startswith("localhost/"):
            yield ("metadata", "annotations", key), f'Invalid value: "{value}": {_NO_APP_ARMOR}', ""
    if (shared := pod.spec.security_context) is not None:
        yield from _shared(shared, pod.spec, ("spec", "securityContext"))
    for number, container in enumerate(pod.spec.containers):
        path: Path = ("spec", "containers", number)
        yield from _own(container, pod.spec, (*path, "securityContext"))
        yield from _user(pod.spec, container, path)


def warn_security(pod: Pod) -> Iterator[str]:
    """What is allowed and does not do what its writer may think (Kubernetes `pkg/api/pod/warnings.go`)."""
    for key, value in pod.metadata.annotations.items():
        if key.startswith(SECCOMP):
            yield f'metadata.annotations[{key}]: non-functional; use the "seccompProfile" field instead'
        elif key.startswith(APP_ARMOR) and value != "unconfined":
            yield f"metadata.annotations[{key}] is not supported yet: the container runs without an AppArmor profile"


def _shared(context: PodSecurityContext, spec: PodSpec, path: Path) -> Iterator[Wrong]:
    yield from _id((*path, "runAsUser"), context.run_as_user)
    yield from _id((*path, "runAsGroup"), context.run_as_group)
    yield from _id((*path, "fsGroup"), context.fs_group)
    for number, group in enumerate(context.supplemental_groups):
        yield from _id((*path, "supplementalGroups", number), group)
    yield from _seccomp(context.seccomp_profile, (*path, "seccompProfile"))
    yield from _app_armor(context.app_armor_profile, (*path, "appArmorProfile"))
    seen = set()
    for number, sysctl in enumerate(context.sysctls):
        here = (*path, "sysctls", number)
        name = (*here, "name")
        if not sysctl.name:
            yield name, "Required value", ""
        elif len(sysctl.name) > MAX_SYSCTL or not re.fullmatch(_SYSCTL, sysctl.name, re.ASCII):
            rule = f"must have at most {MAX_SYSCTL} characters and match regex {_SYSCTL}"
            yield name, f'Invalid value: "{sysctl.name}": {rule}', ""
        elif sysctl_key(sysctl.name) in seen:
            yield name, f'Duplicate value: "{sysctl.name}"', ""
        elif (host := _host_namespace(sysctl.name, spec)) is not None:
            yield name, f"Invalid value: \"{sysctl.name}\": may not be specified when '{host}' is true", ""
        if "\0" in sysctl.value:
            yield (*here, "value"), "Invalid value: holds a NUL character, which no sysctl can", ""
        seen.add(sysctl_key(sysctl.name))


def _host_namespace(sysctl: str, spec: PodSpec) -> str | None:
    """The field by which the namespace that the sysctl belongs to is the machine's own."""
    hosts = {"network": ("hostNetwork", spec.host_network), "ipc": ("hostIPC", spec.host_ipc)}
    field, is_host = hosts.get(sysctl_namespace(sysctl), ("", False))
    return field if is_host else None


def _own(container: Container, spec: PodSpec, path: Path) -> Iterator[Wrong]:
    context = container.security_context
    if context is None:
        return
    yield from _id((*path, "runAsUser"), context.run_as_user)
    yield from _id((*path, "runAsGroup"), context.run_as_group)
    yield from _seccomp(context.seccomp_profile, (*path, "seccompProfile"))
    yield from _app_armor(context.app_armor_profile, (*path, "appArmorProfile"))
    if context.proc_mount == "Unmasked" and spec.host_users is not False:
        message = 'Invalid value: "Unmasked": `hostUsers` must be false to use `Unmasked`'
        yield (
            (*path, "procMount"),
            message,
            "there are no user namespaces here: a privileged container sees all of /proc",
        )
    add: tuple[str, ...] = ()
    if (capabilities := context.capabilities) is not None:
        add = capabilities.add
        yield from _capabilities((*path, "capabilities", "add"), add)
        yield from _capabilities((*path, "capabilities", "drop"), capabilities.drop)
    if context.allow_privilege_escalation is False:
        here = (*path, "allowPrivilegeEscalation")
        both = "Invalid value: false: cannot set `allowPrivilegeEscalation` to false and"
        if context.privileged:
            yield here, f"{both} `privileged` to true", ""
        if "CAP_SYS_ADMIN" in add:
            yield here, f"{both} `capabilities.Add` CAP_SYS_ADMIN", ""


def _capabilities(path: Path, names: Iterable[str]) -> Iterator[Wrong]:
    known = [name.removeprefix("CAP_") for name in CAPABILITIES] + ["ALL"]
    for number, name in enumerate(names):
        word = capability(name).removeprefix("CAP_")
        if word not in known:
            guess = nearest(word, known, 0.6)
            hint = f"did you mean `{guess}`?" if guess else "capabilities(7) lists them"
            yield (*path, number), f'Invalid value: "{name}": unknown capability', hint


def _seccomp(profile: SeccompProfile | None, path: Path) -> Iterator[Wrong]:
    if profile is None:
        return
    here, file = (*path, "localhostProfile"), profile.localhost_profile
    if profile.type != "Localhost":
        if file is not None:
            yield here, f'Invalid value: "{file}": can only be set when seccomp type is Localhost', ""
    elif not file:
        hint = "a file below the node's seccomp directory"
        yield here, "Required value: must be set when seccomp type is Localhost", hint
    elif file.startswith("/"):
        yield here, f'Invalid value: "{file}": must be a relative path', ""
    elif ".." in file.split("/"):
        yield here, f"Invalid value: \"{file}\": must not contain '..'", ""
    elif "\0" in file:
        yield here, "Invalid value: holds a NUL character, which no path can", ""


_NO_APP_ARMOR = "no AppArmor profile is loaded here: the container would run without the confinement it asks for"


def _app_armor(profile: AppArmorProfile | None, path: Path) -> Iterator[Wrong]:
    if profile is None:
        return
    if profile.type == "Localhost":
        yield (*path, "type"), f'Invalid value: "Localhost": {_NO_APP_ARMOR}', "seccompProfile and capabilities work"
    elif (file := profile.localhost_profile) is not None:
        words = f'Invalid value: "{file}": can only be set when AppArmor type is Localhost'
        yield (*path, "localhostProfile"), words, ""


def _user(spec: PodSpec, container: Container, path: Path) -> Iterator[Wrong]:
    """`runAsNonRoot` and user 0 together can never start; where the image gives the user, the node looks."""
    own, shared = container.security_context, spec.security_context

    def effective(name: str) -> tuple[Any, Path]:
        value = getattr(own, name, None)
        if value is not None:
            return value, (*path, "securityContext")
        return getattr(shared, name, None), ("spec", "securityContext")

    non_root, where = effective("run_as_non_root")
    if non_root and effective("run_as_user")[0] == 0:
        yield (*where, "runAsNonRoot"), "container's runAsUser breaks non-root policy", ""


def _id(path: Path, value: int | None) -> Iterator[Wrong]:
    if value is not None and not 0 <= value <= MAX_ID:
        yield path, f"Invalid value: {value}: must be between 0 and {MAX_ID}, inclusive", ""
