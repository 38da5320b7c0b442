"""The `/etc` files that a pod's containers get. node.linux_runtime calls it; writes below the pod's state directory.

The kubelet manages /etc/hosts, container runtimes /etc/hostname and /etc/resolv.conf; each is bind-mounted over the
image's own, so that the pod's containers share one.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from minikube_lite.core.hosts import hosts_file
from minikube_lite.core.resolver import Note, parse, pod_resolver
from minikube_lite.spec.hostnames import kernel_hostname
from minikube_lite.spec.objects import Container, Pod

LOOPBACK = ("127.0.0.1",)
RESOLVED_STUB = ("127.0.0.53",)
"""systemd-resolved listens there, on the machine's own loopback: no pod with a network of its own reaches it."""
RESOLVED = Path("/run/systemd/resolve/resolv.conf")
"""Where it keeps the servers that it asks itself; kubeadm points the kubelet there for the same reason."""


def write_etc(directory: Path, pod: Pod, uid: str) -> list[Note]:
    """Write hosts, hostname and resolv.conf; returns what there is to say of the last. Raises OSError."""
    directory.mkdir(parents=True, exist_ok=True)
    hostname = os.uname().nodename if pod.spec.host_network else kernel_hostname(pod)
    resolver, notes = pod_resolver(pod, parse(_machine_resolver(pod)), uid)
    _write(directory / "hosts", hosts_file(pod, LOOPBACK, _read(Path("/etc/hosts"))))
    _write(directory / "hostname", f"{hostname}\n")
    _write(directory / "resolv.conf", resolver.text())
    return notes


def _machine_resolver(pod: Pod) -> str:
    text = _read(Path("/etc/resolv.conf"))
    if not pod.spec.host_network and parse(text).nameservers == RESOLVED_STUB:
        return _read(RESOLVED) or text
    return text


def _write(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""  # a machine need not have it


def etc_mounts(directory: Path, container: Container) -> list[dict[str, Any]]:
    """The OCI mounts that show them to a container. The kubelet's is writable in any case, the runtime's are not in a
    container with a read-only root (containerd `internal/cri/server`)."""
    context = container.security_context
    mode = "ro" if context is not None and context.read_only_root_filesystem else "rw"
    modes = {"hosts": "rw", "hostname": mode, "resolv.conf": mode}
    return [_bind(str(directory / name), f"/etc/{name}", mode) for name, mode in modes.items()]


def _bind(source: str, destination: str, mode: str) -> dict[str, Any]:
    return {"destination": destination, "type": "bind", "source": source, "options": ["bind", "rprivate", mode]}
