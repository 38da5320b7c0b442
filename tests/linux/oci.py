"""Real containers for tests of the runtime: an OCI bundle with a busybox root, run through a real launcher."""

from __future__ import annotations

import asyncio
import copy
import json
import os
import select
from pathlib import Path
from typing import Any

from minikube_lite.linux.client import Launcher
from minikube_lite.linux.mounts import overlay
from minikube_lite.linux.records import read_json

DEFAULT_CAPABILITIES = [  # Docker's: CapEff 00000000a80425fb
    f"CAP_{name}"
    for name in (
        *("CHOWN", "DAC_OVERRIDE", "FSETID", "FOWNER", "MKNOD", "NET_RAW", "SETGID", "SETUID", "SETFCAP", "SETPCAP"),
        *("NET_BIND_SERVICE", "SYS_CHROOT", "KILL", "AUDIT_WRITE"),
    )
]
PSEUDO = ["nosuid", "noexec", "nodev"]
HEALTHY: dict[str, Any] = {
    "ociVersion": "1.1.0",
    "process": {
        "args": ["true"],
        "env": ["PATH=/bin:/sbin", "HOME=/root"],
        "cwd": "/",
        "user": {"uid": 0, "gid": 0},
        "capabilities": dict.fromkeys(("bounding", "effective", "permitted"), DEFAULT_CAPABILITIES),
        "noNewPrivileges": True,
    },
    "root": {"path": "rootfs"},
    "hostname": "box",
    "mounts": [
        {"destination": "/proc", "type": "proc", "source": "proc", "options": PSEUDO},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755", "size=65536k"]},
        {
            "destination": "/dev/pts",
            "type": "devpts",
            "source": "devpts",
            "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        },
        {"destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options": [*PSEUDO, "mode=1777", "size=65536k"]},
        {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": PSEUDO},
        {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": [*PSEUDO, "ro"]},
        {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": [*PSEUDO, "ro"]},
    ],
    "linux": {
        "namespaces": [{"type": kind} for kind in ("pid", "network", "ipc", "uts", "mount", "cgroup")],
        "resources": {"devices": [{"allow": False, "access": "rwm"}]},
        "maskedPaths": [
            "/proc/acpi",
            "/proc/kcore",
            "/proc/keys",
            "/proc/timer_list",
            "/proc/nonsense",
            "/sys/firmware",
        ],
        "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
    },
}


class Box:
    """One container: change `config`, then `run` it. `cgroup` is its cgroupsPath."""

    def __init__(self, launcher: Launcher, directory: Path, rootfs: Path, cgroup: str) -> None:
        self.launcher, self.bundle, self.rootfs, self.cgroup = launcher, directory, rootfs, cgroup
        self.config = copy.deepcopy(HEALTHY)
        self.config["linux"]["cgroupsPath"] = cgroup
        self.lower = [str(rootfs)]
        self.log_limits = {"maxBytes": 1 << 20, "maxFiles": 3}
        for name in ("upper", "work"):
            (directory / name).mkdir(parents=True)
        self.started: dict[str, Any] = {}

    def path(self, name: str) -> Path:
        return self.bundle / name

    @property
    def layers(self) -> list[dict[str, Any]]:
        return [overlay(self.lower, str(self.path("upper")), str(self.path("work")))]

    async def run(self, *args: str, **fields: Any) -> dict[str, Any]:
        """Start it, with this command if there is one; returns the launcher's reply."""
        if args:
            self.config["process"]["args"] = list(args)
        self.write_config()
        return await self.start(**fields)

    def write_config(self) -> None:
        self.path("config.json").write_text(json.dumps(self.config))

    async def start(self, **fields: Any) -> dict[str, Any]:
        """Start it with the `config.json` that is there."""
        fields = {"rootfs": self.layers, "log": {"path": str(self.path("log")), **self.log_limits}} | fields
        self.started = await self.launcher.request("run", bundle=str(self.bundle), **fields)
        return self.started

    async def ended(self, patience: float = 20) -> dict[str, Any]:
        """Wait until the shim has gone; returns the exit record."""
        await gone(self.started["shimPid"], patience)
        record = read_json(str(self.path("exit.json")))
        assert record is not None, "the shim left no exit record"
        return dict(record)

    async def output(self, *args: str, **fields: Any) -> str:
        """Run it to its end; returns what it wrote on stdout. Both streams are in the message if it failed."""
        await self.run(*args, **fields)
        record = await self.ended()
        assert record["code"] == 0, f"{record}: {self.text()}"
        return self.text("stdout")

    async def shell(self, script: str) -> str:
        return await self.output("sh", "-c", script)

    def text(self, stream: str = "") -> str:
        """The log without its time stamps, as `kubectl logs` shows it."""
        if not self.path("log").exists():
            return ""
        text = ""
        for line in self.path("log").read_text().splitlines():
            _, name, flag, words = line.split(" ", 3)
            if not stream or name == stream:
                text += words + ("\n" if flag == "F" else "")
        return text

    def made(self) -> set[str]:
        """The files of the bundle other than those that the test put there."""
        return {entry.name for entry in self.bundle.iterdir()} - {"config.json", "upper", "work", "log"}


async def gone(pid: int, patience: float = 20) -> None:
    """Wait until the process has ended."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        ended = await asyncio.to_thread(lambda: select.select([pidfd], [], [], patience)[0])
        assert ended, f"process {pid} did not end within {patience} s"
    finally:
        os.close(pidfd)


async def until(condition: Any, what: str, patience: float = 20) -> None:
    """Wait until `condition()` is true."""
    for _ in range(int(patience / 0.01)):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"not within {patience} s: {what}")


def is_alive(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"
