"""Which kernel parameters a pod may set. Called by node.linux_runtime, and by cli for the node's own list.

Safe ones change nothing outside of the pod; others belong to one of its namespaces too, but may starve or weaken the
machine, so they need the node's word. Sources: Kubernetes `pkg/kubelet/sysctl` (safe_sysctls.go, allowlist.go) and
"Using sysctls in a Kubernetes Cluster".
"""

from __future__ import annotations

from collections.abc import Iterable

from minikube_lite.spec.objects import Pod
from minikube_lite.spec.rights import sysctl_key, sysctl_namespace

SAFE = (
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.tcp_wmem",
)


def pod_sysctls(pod: Pod) -> dict[str, str]:
    """Name, with dots, → value."""
    context = pod.spec.security_context
    return {sysctl_key(sysctl.name): sysctl.value for sysctl in context.sysctls} if context is not None else {}


def forbidden(pod: Pod, allowed: Iterable[str]) -> str:
    """Why the pod may not have its sysctls, in the kubelet's words; "" where it may. `allowed`: patterns."""
    patterns = tuple(allowed)
    for name in pod_sysctls(pod):
        if name in SAFE or (sysctl_namespace(name) and any(_matches(name, pattern) for pattern in patterns)):
            continue
        if sysctl_namespace(name) in ("network", "ipc"):
            hint = f"hint: minikube-lite run --allowed-unsafe-sysctls {name}"
        else:
            hint = "it is the whole machine's: set it there, with sysctl(8)"
        return f'forbidden sysctl: "{name}" not allowlisted ({hint})'
    return ""


def wrong_pattern(pattern: str) -> str:
    """What is wrong with a pattern of the node's list, `kernel.msg*` or a name; "" where nothing is."""
    name = sysctl_key(pattern.removesuffix("*"))
    if "*" in name:
        return "`*` may only stand at its end"
    if sysctl_namespace(name) not in ("network", "ipc"):
        return "only kernel.shm*, kernel.msg*, kernel.sem, fs.mqueue.* and net.* are a pod's own"
    return ""


def _matches(name: str, pattern: str) -> bool:
    key = sysctl_key(pattern)
    return name.startswith(key[:-1]) if key.endswith("*") else name == key
