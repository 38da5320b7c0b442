"""Names of capabilities and sysctls, and what is meant by them. Called by `spec.security_checks` and by core."""

from __future__ import annotations

CAPABILITIES = tuple(  # in the order of their numbers, <linux/capability.h>
    f"CAP_{name}"
    for name in (  # noqa: SIM905 - a name a line would say no more
        "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE "
        "NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT "
        "SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL "
        "SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE"
    ).split()
)


def capability(name: str) -> str:
    """`net_admin`, `CAP_NET_ADMIN` → `CAP_NET_ADMIN`; container runtimes take any letter case. `ALL` → `CAP_ALL`."""
    return "CAP_" + name.upper().removeprefix("CAP_")


def sysctl_key(name: str) -> str:
    """`net/ipv4/ip_forward` → `net.ipv4.ip_forward`: sysctl(8) takes both, the first separator says which it is.

    In the other form the other separator stands for itself: `net.ipv4.conf.eth0/1.forwarding` is of `eth0.1`.
    """
    first = next((letter for letter in name if letter in "./"), ".")
    return name if first == "." else name.translate(str.maketrans("./", "/."))


def sysctl_namespace(name: str) -> str:
    """The OCI type of the namespace that a sysctl belongs to, "" where it is the machine's (pkg/util/sysctl)."""
    key = sysctl_key(name)
    if key.startswith("net."):
        return "network"
    if key == "kernel.sem" or key.startswith(("kernel.shm", "kernel.msg", "fs.mqueue.")):
        return "ipc"
    return "uts" if key in ("kernel.domainname", "kernel.hostname") else ""
