"""Linux capabilities of an OCI process. Called by process, in the child that becomes the container's command."""

from __future__ import annotations

from minikube_lite.linux.errors import Failure
from minikube_lite.linux.syscalls import (
    PR_CAP_AMBIENT,
    PR_CAP_AMBIENT_CLEAR_ALL,
    PR_CAP_AMBIENT_RAISE,
    PR_CAPBSET_DROP,
    capset,
    prctl,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

NAMES = (  # noqa: SIM905 - in the order of their numbers, <linux/capability.h>
    "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE "
    "NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN "
    "SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE "
    "MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE"
).split()
NUMBERS = {f"CAP_{name}": number for number, name in enumerate(NAMES)}


def last_capability() -> int:
    """The highest capability this kernel knows."""
    with open("/proc/sys/kernel/cap_last_cap") as file:
        return int(file.read())


def mask(names: Iterable[str]) -> int:
    """A bit mask of these capabilities. Raises Failure for a name that is none."""
    bits = 0
    for name in names:
        if name not in NUMBERS:
            raise Failure("CreateError", f'unknown capability "{name}"')
        bits |= 1 << NUMBERS[name]
    return bits


class Capabilities:
    """The five sets of one process as masks, cut down to what this process itself may hand on."""

    __slots__ = ("ambient", "bounding", "effective", "inheritable", "permitted")

    def __init__(self, sets: Mapping[str, Iterable[str]] | None, own: int) -> None:
        """`sets` as OCI `process.capabilities` (None: no capability at all); `own`: what the launcher has itself."""
        sets = sets or {}
        self.bounding = mask(sets.get("bounding") or ()) & own
        self.permitted = mask(sets.get("permitted") or ()) & own
        self.effective = mask(sets.get("effective") or ()) & self.permitted
        self.inheritable = mask(sets.get("inheritable") or ()) & self.permitted
        # A capability can be ambient only where it is permitted and inheritable (capabilities(7)).
        self.ambient = mask(sets.get("ambient") or ()) & self.inheritable

    def drop_bounding(self, last: int) -> None:
        """Needs CAP_SETPCAP still: before `apply`."""
        for number in range(last + 1):
            if not self.bounding >> number & 1:
                prctl(PR_CAPBSET_DROP, number)

    def apply(self) -> None:
        capset(self.effective, self.permitted, self.inheritable)
        prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
        for number in range(64):
            if self.ambient >> number & 1:
                prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, number)


def own_permitted() -> int:
    """The capabilities this process may use (CapPrm of /proc/self/status)."""
    with open("/proc/self/status") as file:
        for line in file:
            if line.startswith("CapPrm:"):
                return int(line.split()[1], 16)
    raise OSError("/proc/self/status has no CapPrm")
