"""Refuses a label where it would count: no label is ever set here. Called by node.linux_runtime before each start.

A machine without SELinux ignores labels, and so do the kubelet and containerd there. On one that enforces them, a
container that asks for a label of its own would run with the node's.
"""

from __future__ import annotations

from pathlib import Path

from minikube_lite.core.oci import CannotRun
from minikube_lite.spec.objects import Container, Pod

ENFORCE = Path("/sys/fs/selinux/enforce")


def refuse_label(pod: Pod, container: Container, enforce: Path = ENFORCE) -> None:
    """Raises CannotRun where the spec asks for a label and this machine has SELinux, as the file `enforce` says."""
    own, shared = container.security_context, pod.spec.security_context
    if not any(context is not None and context.se_linux_options for context in (own, shared)) or not enforce.exists():
        return
    raise CannotRun(
        "CreateContainerError",
        "seLinuxOptions: this machine has SELinux, and no label can be set here: the container would run with the "
        "node's own (hint: take the field away if that is what you want)",
    )
