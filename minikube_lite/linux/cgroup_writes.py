"""A cgroup write as a value: said in a line (`describe`), done in a call (`apply`), looked at again (`mismatch`).

Made by cgroup_v1 and cgroup_v2, done by cgroups. All values are those of the kernel's files.
"""

from __future__ import annotations

import errno
import math
import os

PAGE = os.sysconf("SC_PAGE_SIZE")
UNLIMITED = (1 << 63) - 1 & ~(PAGE - 1)
"""What v1 memory files read where there is no limit: the largest multiple of a page."""
HINTS = {
    errno.EINVAL: "does not take that",
    errno.EROFS: "is read-only (hint: run on the host, or in a container whose cgroups are writable)",
    errno.EACCES: "does not let this user write (hint: run as root)",
    errno.EPERM: "does not let this user write (hint: run as root)",
    errno.ENOENT: "is not there (hint: was the cgroup removed meanwhile, or is the kernel too old for it?)",
    errno.EBUSY: "is busy",
    errno.ENOSPC: "takes no more (hint: cgroup.max.descendants, or a cpuset without CPUs or memory nodes)",
}

NO_MORE = "on cgroup v1 a cgroup gets no more than its parent, and no less than 1000 µs"
REFUSALS = {
    ("cpu.cfs_quota_us", errno.EINVAL): NO_MORE,
    ("cpu.cfs_period_us", errno.EINVAL): "from 1000 to 1000000 µs",
    ("cpu.max", errno.EINVAL): "no quota below 1000 µs, no period but from 1000 to 1000000 µs",
    ("cpu.cfs_burst_us", errno.EINVAL): "a burst is no more than the quota",
    ("cpu.max.burst", errno.EINVAL): "a burst is no more than the quota",
    ("memory.limit_in_bytes", errno.EBUSY): "more than that is in use and cannot be taken back",
    ("memory.memsw.limit_in_bytes", errno.EBUSY): "more than that is in use and cannot be taken back",
    ("memory.memsw.limit_in_bytes", errno.EINVAL): "memory + swap is at least the memory limit",
    ("cgroup.subtree_control", errno.EBUSY): "a cgroup that has children with controllers holds no processes itself",
}


class Write:
    """`value` into the file `path`; `what` says in words what it does.

    Not `kept`: not to be read back (a step that a later one replaces, a file that cannot be read). Not `soft`: the
    kernel's refusal of the value is an error, not only a mismatch. `undo`: what to write after a refusal, where the
    steps before have changed something.
    """

    __slots__ = ("kept", "path", "soft", "undo", "value", "what")

    def __init__(self, path: str, value: int | str, what: str, *, kept: bool = True, soft: bool = True) -> None:
        self.path, self.value, self.what, self.kept, self.soft = path, str(value), what, kept, soft
        self.undo: tuple[Write, ...] = ()

    def __repr__(self) -> str:
        return f"Write({self.path!r}, {self.value!r})"

    def describe(self) -> str:
        return f"write {self.value} to {self.path} ({self.what})"

    def apply(self) -> None:
        """Raises OSError that says what, where and what next."""
        try:
            write(self.path, self.value)
        except OSError as error:
            raise explained(f"set {self.what} to {self.value}", self.path, error) from None

    def mismatch(self) -> str:
        """Read it back: "" if the kernel has taken the value, else what is there instead. Raises OSError."""
        if not self.kept:
            return ""
        try:
            there = read(self.path).strip()
        except OSError as error:
            raise explained(f"read {self.what} back", self.path, error) from None
        if _same(self.value, there):
            return ""
        return f"{self.what} is {there}, not {self.value} (`{self.path}`)"


class Writes(Write):
    """Several lines into one file, each by a write(2) of its own, as the kernel wants them."""

    __slots__ = ()

    def describe(self) -> str:
        return f"write {self.value.replace(chr(10), ', ')} to {self.path} ({self.what})"

    def apply(self) -> None:
        line = ""
        try:
            fd = os.open(self.path, os.O_WRONLY | os.O_CLOEXEC)
            try:
                for line in self.value.split("\n"):
                    os.write(fd, line.encode())
            finally:
                os.close(fd)
        except OSError as error:
            raise explained(f"set {self.what} to {line}", self.path, error) from None


def _same(wanted: str, there: str) -> bool:
    """Equal as the kernel sees it: memory in whole pages, no limit as `max` or a huge number, `0,1` as `0-1`."""
    if wanted == there:
        return True
    want, have = _number(wanted), _number(there)
    if want is None or have is None:
        return bool(_numbers(wanted)) and _numbers(wanted) == _numbers(there)
    return want == have or (want >= PAGE and have == want // PAGE * PAGE)


def _number(text: str) -> int | None:
    if text in ("max", "-1"):
        return UNLIMITED
    return min(int(text), UNLIMITED) if text.isdigit() else None


def _numbers(text: str) -> set[int]:
    """A list of CPUs or memory nodes: `0-2,4`. Empty if it is not one."""
    found: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        if not (first.isdigit() and (last or first).isdigit()):
            return set()
        found |= set(range(int(first), int(last or first) + 1))
    return found


def explained(what: str, path: str, error: OSError) -> OSError:
    """The same error in words: `cannot {what}: {where} {why} (hint: …)`."""
    number = error.errno or 0
    why = HINTS.get(number) or f"says: {os.strerror(number)}"
    if hint := REFUSALS.get((os.path.basename(path), number)):
        why += f" (hint: {hint})"
    return OSError(number, f"cannot {what}: `{path}` {why}")


def read(path: str) -> str:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        text = b""
        while part := os.read(fd, 1 << 16):
            text += part
        return text.decode()
    finally:
        os.close(fd)


def write(path: str, value: str) -> None:
    """One write(2), as the kernel wants it; never creates the file."""
    fd = os.open(path, os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC)
    try:
        os.write(fd, value.encode())
    finally:
        os.close(fd)


def number(path: str) -> int | None:
    """The number in a file, None for `max`, -1 and v1's huge number. Raises OSError."""
    text = read(path).split()[0]
    return None if text == "max" or not 0 <= int(text) < UNLIMITED else int(text)


def keyed(path: str) -> dict[str, int]:
    """A file of `key number` lines."""
    pairs = (line.split() for line in read(path).splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}


def weight_from_shares(shares: int) -> int:
    """v1 `cpu.shares` (2…262144) as v2 `cpu.weight` (1…10000): ⌈10^((L² + 125·L)/612 − 7/34)⌉, L = log2(shares).

    The formula of runc 1.3.2 and crun 1.23 (kubernetes/enhancements KEP-2254): 2, 1024 and 262144 shares are 1, 100
    and 10000. With 7/34 written as 126/612 the exponent of 1024 is exactly 2, so that no rounding makes it 101.
    """
    if shares <= 2:
        return 1
    if shares >= 262144:
        return 10000
    logarithm = math.log2(shares)
    return math.ceil(10 ** ((logarithm * logarithm + 125 * logarithm - 126) / 612))
