"""What a pod is called, by the kubelet's rules (`GeneratePodHostNameAndDomain`). Called by checks and by core."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from minikube_lite.spec.objects import Pod

HOSTNAME_MAX = 63
"""Characters; the kernel would take 64, the kubelet and DNS labels do not."""
FQDN_MAX = 64
"""`__NEW_UTS_LEN`, sethostname(2)."""
CLUSTER_DOMAIN = "cluster.local"
"""The kubelet's --cluster-domain as every installer sets it."""


def pod_hostname(pod: Pod) -> str:
    """`spec.hostnameOverride`, `spec.hostname` or the pod's name, cut as the kubelet cuts it."""
    spec = pod.spec
    return spec.hostname_override or (spec.hostname or pod.metadata.name)[:HOSTNAME_MAX].rstrip("-.")


def pod_domain(pod: Pod) -> str:
    """The domain that `spec.subdomain` puts the pod in, "" without one. No DNS here serves it; /etc/hosts knows it."""
    if not pod.spec.subdomain or pod.spec.hostname_override:
        return ""
    return f"{pod.spec.subdomain}.{pod.metadata.namespace}.svc.{CLUSTER_DOMAIN}"


def kernel_hostname(pod: Pod) -> str:
    """What hostname(1) says in the pod: with `setHostnameAsFQDN` the whole name."""
    domain = pod_domain(pod) if pod.spec.set_hostname_as_fqdn else ""
    return f"{pod_hostname(pod)}.{domain}" if domain else pod_hostname(pod)
