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
    """Write hosts and hostname. Raises OSError."""
    directory.mkdir(parents=True, exist_ok=True)
    hostname = oci.pod_hostname(pod)
    if pod.spec.host_network:
        hosts = _read("/etc/hosts", HOSTS)
        hostname = os.uname().nodename
    else:
        hosts = f"{HOSTS}127.0.0.1\t{hostname}\n"
    _write(directory / "hosts", hosts)
    _write(directory / "hostname", f"{hostname}\n")


def _write(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def _read(path: str, otherwise: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return otherwise


def etc_mounts(directory: Path, pod: Pod) -> list[dict[str, Any]]:
    """The OCI mounts that show them to a container. resolv.conf is this machine's own, read-only."""
    mounts = [_bind(str(directory / name), f"/etc/{name}", "rw") for name in ("hosts", "hostname")]
    if os.path.exists("/etc/resolv.conf"):
        mounts.append(_bind("/etc/resolv.conf", "/etc/resolv.conf", "ro"))
    return mounts


def _bind(source: str, destination: str, mode: str) -> dict[str, Any]:
    return {"destination": destination, "type": "bind", "source": source, "options": ["bind", "rprivate", mode]}
