"""The /etc/hosts of a pod, as the kubelet writes it (`pkg/kubelet/kubelet_pods.go`). Called by node.pod_files."""

from __future__ import annotations

from minikube_lite.spec.hostnames import pod_domain, pod_hostname
from minikube_lite.spec.objects import Pod

MANAGED = """\
# Kubernetes-managed hosts file.
127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::0\tip6-localnet
fe00::0\tip6-mcastprefix
fe00::1\tip6-allnodes
fe00::2\tip6-allrouters
"""
MANAGED_HOST = "# Kubernetes-managed hosts file (host network).\n"


def hosts_file(pod: Pod, addresses: tuple[str, ...], machine: str) -> str:
    """`addresses`: the pod's own; `machine`: the text of the machine's file, which a pod on its network has."""
    if pod.spec.host_network:
        return MANAGED_HOST + machine + _aliases(pod)
    name, domain = pod_hostname(pod), pod_domain(pod)
    own = f"{name}.{domain}\t{name}" if domain else name
    return MANAGED + "".join(f"{address}\t{own}\n" for address in addresses) + _aliases(pod)


def _aliases(pod: Pod) -> str:
    aliases = pod.spec.host_aliases
    if not aliases:
        return ""
    lines = ("\t".join((alias.ip, *alias.hostnames)) + "\n" for alias in aliases)
    return "\n# Entries added by HostAliases.\n" + "".join(lines)
