"""What every container gets unless its spec says otherwise: Docker's and containerd's defaults, as data. For core.oci.

Sources: moby `oci/defaults.go` and `oci/caps/defaults.go`, containerd `oci/spec.go` and `internal/cri`, Kubernetes
`pkg/securitycontext/util.go` (masked and read-only paths).
"""

from __future__ import annotations

from typing import Any

from minikube_lite.spec.rights import CAPABILITIES

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def _capabilities(names: str) -> tuple[str, ...]:
    return tuple(f"CAP_{name}" for name in names.split())


ALL_CAPABILITIES = CAPABILITIES
DEFAULT_CAPABILITIES = _capabilities(
    "CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP NET_BIND_SERVICE SYS_CHROOT "
    "KILL AUDIT_WRITE"
)

MASKED_PATHS = (
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
)
READONLY_PATHS = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")


def _mount(destination: str, type: str, *options: str, source: str = "") -> dict[str, Any]:
    return {"destination": destination, "type": type, "source": source or type, "options": list(options)}


def mounts(shm: str | None, privileged: bool = False) -> list[dict[str, Any]]:
    """The file systems of the kernel's; `shm`: the host's path of what is bound on /dev/shm, a tmpfs if None. A
    privileged container may write to /sys and to its cgroup.

    `/sys` is a mount of its own even with hostNetwork (it shows the network namespace it is made in): a bind of the
    host's would bring the writable mounts below it along.
    """
    none = ("nosuid", "noexec", "nodev")
    mode = "rw" if privileged else "ro"
    bound = _mount("/dev/shm", "bind", "rbind", "rprivate", *none, source=shm or "")
    own = _mount("/dev/shm", "tmpfs", *none, "mode=1777", "size=65536k", source="shm")
    return [
        _mount("/proc", "proc", *none),
        _mount("/dev", "tmpfs", "nosuid", "strictatime", "mode=755", "size=65536k"),
        _mount("/dev/pts", "devpts", "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"),
        bound if shm else own,
        _mount("/dev/mqueue", "mqueue", *none),
        _mount("/sys", "sysfs", *none, mode),
        _mount("/sys/fs/cgroup", "cgroup", *none, "relatime", mode),
    ]


def device_rules(privileged: bool = False) -> list[dict[str, Any]]:
    """The device cgroup: nothing, but that any node may be made, and null, zero, full, random, urandom, tty, console,
    the pty multiplexer and its slaves be used. A privileged container may use all there are."""
    if privileged:
        return [{"allow": True, "access": "rwm"}]
    used = [(1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 1), (5, 2), (136, None)]
    rules: list[dict[str, Any]] = [{"allow": False, "access": "rwm"}]
    rules += [{"allow": True, "type": kind, "access": "m"} for kind in "cb"]
    for major, minor in used:
        rule: dict[str, Any] = {"allow": True, "type": "c", "major": major, "access": "rwm"}
        if minor is not None:
            rule["minor"] = minor
        rules.append(rule)
    return rules
