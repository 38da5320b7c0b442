"""(pod, container, image) → the `config.json` of an OCI runtime bundle. Called by node.linux_runtime.

What containerd's CRI makes for a container of the kubelet's, as a pure function; the runtime below knows nothing of
Kubernetes. Sources: OCI runtime spec 1.1 (config.md, config-linux.md), containerd `internal/cri/server`, and the
Kubernetes documentation on command and args, environment and security context.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from minikube_lite.core import oci_defaults
from minikube_lite.core.environment import CannotRun, Environment
from minikube_lite.core.expansion import expand
from minikube_lite.core.resources import container_resources, oom_score_adj, pod_resources
from minikube_lite.core.volumes import in_order
from minikube_lite.spec.hostnames import kernel_hostname
from minikube_lite.spec.objects import Capabilities, Container, Pod, SecurityContext
from minikube_lite.spec.rights import capability

__all__ = [
    "CannotRun",
    "container_config",
    "container_resources",
    "exec_process",
    "pod_resources",
    "sandbox_namespaces",
    "without_secrets",
]

Json = dict[str, Any]


def sandbox_namespaces(pod: Pod) -> list[str]:
    """The namespaces that the pod's containers share and the host does not. The host's network brings its name too."""
    spec = pod.spec
    kinds = {"network": not spec.host_network, "ipc": not spec.host_ipc, "uts": not spec.host_network}
    return [kind for kind, own in kinds.items() if own]


def container_config(
    pod: Pod,
    container: Container,
    *,
    image_config: Mapping[str, Any],
    namespaces: Mapping[str, str],
    cgroups_path: str,
    mounts: Sequence[Mapping[str, Any]],
    shm: str | None,
    user: tuple[int, int, Sequence[int]],
    rootfs: str,
    environment: Environment,
    uid: str = "",
    node_memory: int = 0,
    seccomp: Mapping[str, Any] | None = None,
    devices: Sequence[Mapping[str, Any]] = (),
) -> Json:
    """The whole of config.json.

    `image_config` is the `config` object of the image ({} for none), `namespaces` OCI type → path to join, `mounts`
    come after the kernel's own and replace those on the same destination, `shm` is the host's path of the pod's
    shared memory, `user` (uid, gid, further gids), `environment` the variables of the spec, `node_memory` bytes
    (0: not known), `seccomp` what core.seccomp made for `bounding_set`, `devices` those of the machine, for a
    privileged container. Raises CannotRun where neither spec nor image has a command.
    """
    security = container.security_context or SecurityContext()
    privileged = bool(security.privileged)
    uts_is_own = not pod.spec.host_network and "uts" not in namespaces
    config: Json = {
        "ociVersion": "1.1.0",
        "process": _process(pod, container, image_config, user, security, environment.values, node_memory),
        "root": {"path": rootfs, "readonly": bool(security.read_only_root_filesystem)},
        "mounts": _mounts(mounts, "/dev/shm" if pod.spec.host_ipc else shm, privileged),
        "annotations": _annotations(pod, container, uid),
        "linux": {
            "namespaces": _namespaces(pod, namespaces),
            "cgroupsPath": cgroups_path,
            "resources": {**container_resources(container), "devices": oci_defaults.device_rules(privileged)},
            "maskedPaths": [] if privileged else list(oci_defaults.MASKED_PATHS),
            "readonlyPaths": [] if privileged else list(oci_defaults.READONLY_PATHS),
            "rootfsPropagation": "private",
        },
    }
    if privileged:
        config["linux"]["devices"] = [dict(device) for device in devices]
    if seccomp:
        config["linux"]["seccomp"] = seccomp
    if uts_is_own:
        config["hostname"] = kernel_hostname(pod)
    return config


def without_secrets(
    config: Json, container: Container, image_config: Mapping[str, Any], environment: Environment
) -> Json:
    """The config as it may be written down: secret variables are not there, and no command line has them in it."""
    process = config["process"]
    env = [entry for entry in process["env"] if entry.partition("=")[0] not in environment.secret]
    args = command_line(container, image_config, environment.public.values)
    return {**config, "process": {**process, "env": env, "args": args}}


def exec_process(process: Mapping[str, Any], command: Sequence[str], tty: bool) -> Json:
    """The OCI process of `exec`: as the container's own, with another command."""
    env = list(process["env"])
    if tty and not any(entry.startswith("TERM=") for entry in env):
        env.append("TERM=xterm")
    return {**process, "args": list(command), "env": env, "terminal": tty}


def command_line(container: Container, image_config: Mapping[str, Any], env: Mapping[str, str]) -> list[str]:
    """Kubernetes' table: `command` takes the place of Entrypoint *and* Cmd, `args` that of Cmd. Raises CannotRun."""
    command = [expand(word, env) for word in container.command]
    args = [expand(word, env) for word in container.args]
    if not command:
        command = list(image_config.get("Entrypoint") or ())
        if command == [""]:  # `ENTRYPOINT [""]` in a Dockerfile takes away the one below
            command = []
        args = args or list(image_config.get("Cmd") or ())
    if not command + args:
        raise CannotRun(
            "CreateContainerError",
            f'no command specified: the image "{container.image}" has none of its own '
            "(hint: set `command` in the container's spec)",
        )
    return command + args


def _process(
    pod: Pod,
    container: Container,
    image_config: Mapping[str, Any],
    user: tuple[int, int, Sequence[int]],
    security: SecurityContext,
    own: Mapping[str, str],
    node_memory: int,
) -> Json:
    env = dict(entry.partition("=")[::2] for entry in image_config.get("Env") or ())
    env.setdefault("PATH", oci_defaults.PATH)
    if not pod.spec.host_network:
        env["HOSTNAME"] = kernel_hostname(pod)
    env.update(own)
    uid, gid, more = user
    capabilities = bounding_set(container)
    groups = list(dict.fromkeys((gid, *more)))  # the first too: else setgid(2) would lose it (CVE-2022-2995 and kin)
    return {
        "terminal": False,  # `tty: true` and `stdin: true` need `attach`: until then the log is the only reader
        "user": {"uid": uid, "gid": gid, "additionalGids": groups},
        "args": command_line(container, image_config, own),
        "env": [f"{name}={value}" for name, value in env.items()],
        "cwd": container.working_dir or image_config.get("WorkingDir") or "/",
        "capabilities": {
            "bounding": capabilities,
            "effective": capabilities,
            "permitted": capabilities,
            "inheritable": [],  # CVE-2022-29162: what is inheritable outlives a change of user
            "ambient": [],
        },
        "noNewPrivileges": security.allow_privilege_escalation is False,
        "oomScoreAdj": oom_score_adj(pod, container, node_memory),
    }


def bounding_set(container: Container) -> list[str]:
    """The container's capabilities: Docker's default set, ± `add` and `drop`, in the order of their numbers. `ALL`
    comes before single names. A privileged container has all, whatever it says (containerd `internal/cri/server`)."""
    security = container.security_context or SecurityContext()
    if security.privileged:
        return list(oci_defaults.ALL_CAPABILITIES)
    wanted = security.capabilities or Capabilities()
    add, drop = ({capability(name) for name in names} for names in (wanted.add, wanted.drop))
    base = set(oci_defaults.DEFAULT_CAPABILITIES)
    if "CAP_ALL" in add:
        base = set(oci_defaults.ALL_CAPABILITIES)
    if "CAP_ALL" in drop:
        base = set()
    chosen = (base | add) - drop - {"CAP_ALL"}
    known = [name for name in oci_defaults.ALL_CAPABILITIES if name in chosen]
    return known + sorted(chosen - set(known))  # an unknown name is the runtime's to refuse


def _mounts(extra: Sequence[Mapping[str, Any]], shm: str | None, privileged: bool) -> list[Json]:
    return in_order([*oci_defaults.mounts(shm, privileged), *map(dict, extra)])


def _namespaces(pod: Pod, paths: Mapping[str, str]) -> list[Json]:
    shared = sandbox_namespaces(pod)
    own = {
        "pid": not pod.spec.host_pid,
        "network": "network" in shared,
        "ipc": "ipc" in shared,
        "uts": "uts" in shared,
        "mount": True,
        "cgroup": True,
    }
    kinds = [kind for kind, is_own in own.items() if is_own]
    return [{"type": kind, "path": paths[kind]} if kind in paths else {"type": kind} for kind in kinds]


def _annotations(pod: Pod, container: Container, uid: str) -> dict[str, str]:
    """The keys that containerd uses, for tools that look at bundles."""
    prefix = "io.kubernetes.cri"
    values = {
        f"{prefix}.container-name": container.name,
        f"{prefix}.container-type": "container",
        f"{prefix}.image-name": container.image,
        f"{prefix}.sandbox-name": pod.metadata.name,
        f"{prefix}.sandbox-namespace": pod.metadata.namespace,
        f"{prefix}.sandbox-uid": uid or pod.metadata.uid,
    }
    return {key: value for key, value in values.items() if value}
