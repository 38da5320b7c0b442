"""Where everything of one node lives. Called by cli (to find the socket) and by node; standard library only.

Without a root the system's own places are used (FHS: /var/lib, /run, /var/log); with one, all of it is below that
directory, so that nodes with different roots live side by side, cgroups included.
"""

from __future__ import annotations

import os
import zlib
from pathlib import Path


class Paths:
    """The directories and files of the node with this root (None: the system's own places)."""

    def __init__(self, root: str | os.PathLike[str] | None = None) -> None:
        if root is None:
            self.root: Path | None = None
            self.state = Path("/var/lib/minikube-lite")
            self.run = Path("/run/minikube-lite")
            self.logs = Path("/var/log/minikube-lite")
            self.manifests = Path("/etc/minikube-lite/manifests")
            self.registries = Path("/etc/minikube-lite/registries.yaml")
            self.seccomp_profiles = Path("/var/lib/minikube-lite/seccomp")
            self.cgroup = "/minikube-lite"
        else:
            self.root = Path(os.path.realpath(root))
            self.state = self.root / "state"
            self.run = self.root / "run"
            self.logs = self.root / "logs"
            self.manifests = self.root / "manifests"
            self.registries = self.root / "registries.yaml"
            self.seccomp_profiles = self.root / "seccomp"
            self.cgroup = f"/minikube-lite-{zlib.crc32(os.fsencode(self.root)):08x}"
        self.socket = self.run / "api.sock"
        self.lock = self.run / "node.lock"
        self.volumes = self.run / "volumes"
        self.images = self.state / "images"
        self.seccomp_programs = self.run / "seccomp"
        self.pods = self.state / "pods"
        self.claims = self.state / "claims"
        self.configs = self.state / "configs.json"
        self.events = self.state / "events.jsonl"

    def pod_state(self, uid: str) -> Path:
        """The pod's record, bundles and `/etc` files."""
        return self.pods / uid

    def pod_run(self, uid: str) -> Path:
        """The pod's pinned namespaces and shared memory (mount points)."""
        return self.run / "pods" / uid

    def pod_volumes(self, uid: str) -> Path:
        """Those of the pod's volumes that are mounted: file systems in memory, images."""
        return self.volumes / uid

    def empty_dir(self, uid: str, volume: str) -> Path:
        """An emptyDir of the pod's that lies on disk."""
        return self.pod_state(uid) / "volumes" / volume

    def pod_logs(self, namespace: str, name: str, uid: str) -> Path:
        """As the kubelet lays out /var/log/pods."""
        return self.logs / "pods" / f"{namespace}_{name}_{uid}"

    def pod_cgroup(self, uid: str) -> str:
        """The OCI `cgroupsPath` of the pod."""
        return f"{self.cgroup}/pod{uid}"
