"""The `/etc` files that a pod's containers get. node.linux_runtime calls it; writes below the pod's state directory.

The kubelet manages /etc/hosts, container runtimes /etc/hostname and /etc/resolv.conf; each is bind-mounted over the
image's own, so that the pod's containers share one.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from minikube_lite.core import oci
from minikube_lite.spec.objects import Pod

HOSTS = """\
# Kubernetes-managed hosts file.
127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::0\tip6-localnet
fe00::0\tip6-mcastprefix
fe00::1\tip6-allnodes
fe00::2\tip6-allrouters
"""


def write_etc(directory: Path, pod: Pod) -> None:
    """Write hosts, hostname and resolv.conf. Raises OSError."""
    directory.mkdir(parents=True, exist_ok=True)
    hostname = oci.pod_hostname(pod)
    if pod.spec.host_network:
        hosts = _read("/etc/hosts", HOSTS)
        hostname = os.uname().nodename
    else:
        hosts = f"{HOSTS}127.0.0.1\t{hostname}\n"
    (directory / "hosts").write_text(hosts, encoding="utf-8")
    (directory / "hostname").write_text(f"{hostname}\n", encoding="utf-8")
    (directory / "resolv.conf").write_text(_read("/etc/resolv.conf", ""), encoding="utf-8")


def _read(path: str, otherwise: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return otherwise


def etc_mounts(directory: Path, pod: Pod) -> list[dict[str, Any]]:
    """The OCI mounts that show them to a container."""
    return [
        {
            "destination": f"/etc/{name}",
            "type": "bind",
            "source": str(directory / name),
            "options": ["rbind", "rprivate", "rw"],
        }
        for name in ("hosts", "hostname", "resolv.conf")
    ]
