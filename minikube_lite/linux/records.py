"""What is written down about processes, so that they are found again: atomic JSON files, claims, start times.

Called by the shim (writes), the launcher and the node (reads, claims). A process is its pid together with its start
time and the boot id: a pid alone may belong to another process by the time it is read.
"""

from __future__ import annotations

import json
import os
from time import CLOCK_BOOTTIME, clock_gettime

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SHIM = "shim.json"
STATE = "state.json"
EXIT = "exit.json"


def boottime() -> float:
    """Seconds since boot, suspend included: the clock that decisions use."""
    return clock_gettime(CLOCK_BOOTTIME)


def boot_id() -> str:
    """This boot's random id (random(4)); a record of another boot is about processes that are gone."""
    with open("/proc/sys/kernel/random/boot_id") as file:
        return file.read().strip()


def start_time(pid: int) -> int | None:
    """When the process started, in clock ticks since boot (field 22 of proc_pid_stat(5)); None if there is none.

    A zombie has one still. Its name may hold spaces and parentheses, so fields are counted from the last `)`.
    """
    try:
        fd = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, ProcessLookupError):
        return None
    try:
        stat = os.read(fd, 4096)
    except ProcessLookupError:
        return None
    finally:
        os.close(fd)
    return int(stat[stat.rindex(b")") + 2 :].split()[19])


def is_alive(pid: int, started: int, boot: str) -> bool:
    """Whether that very process still runs; a zombie does not."""
    if boot != boot_id() or start_time(pid) != started:
        return False
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            stat = file.read()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat[stat.rindex(b")") + 2 :][:1] not in (b"Z", b"X")


def process_record(pid: int, boot: str | None = None) -> dict[str, Any]:
    """`{"pid", "startTime", "bootId"}` of a process that is there."""
    return {"pid": pid, "startTime": start_time(pid), "bootId": boot or boot_id()}


def read_json(path: str) -> Any:
    """The file's content; None if there is no such file. Raises ValueError when it is no JSON, naming the file."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        data = b""
        while chunk := os.read(fd, 1 << 20):
            data += chunk
    finally:
        os.close(fd)
    try:
        return json.loads(data)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def write_new(path: str, value: Any) -> None:
    """Write a file that nobody reads before it is whole. Raises OSError."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        data = json.dumps(value).encode()
        while data:
            data = data[os.write(fd, data) :]
    finally:
        os.close(fd)


def _temporary(path: str) -> str:
    """A name that nobody else uses. (A pid would not do: every container's first process is number 1.)"""
    return f"{path}.{os.urandom(6).hex()}.tmp"


def write_json(path: str, value: Any) -> None:
    """Replace the file in one step: a reader sees the old or the new. Not synced: these records end with the boot."""
    temporary = _temporary(path)
    try:
        write_new(temporary, value)
        os.rename(temporary, path)
    except OSError:
        remove(temporary)
        raise


def claim(bundle: str, record: dict[str, Any]) -> bool:
    """Take the bundle: write `shim.json` if nobody has. Who gets False must not start the container.

    link(2) fails when the name is taken, and shows the file whole or not at all.
    """
    temporary = _temporary(f"{bundle}/{SHIM}")
    write_new(temporary, record)
    try:
        os.link(temporary, f"{bundle}/{SHIM}")
    except FileExistsError:
        return False
    finally:
        os.unlink(temporary)
    return True


def remove(path: str) -> None:
    """Unlink; removing twice is as good as once."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
