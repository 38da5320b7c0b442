"""The directories of a cgroup: making, walking, emptying and removing them. Called by cgroups, with full paths.

A cgroup is a directory; its processes are the lines of `cgroup.procs`. It can be removed once it holds neither
processes nor child cgroups (the files in it do not count).
"""

from __future__ import annotations

import errno
import os
import signal
import time

from minikube_lite.linux.cgroup_writes import Write, explained, read, write

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

GONE = (errno.ENOENT, errno.ENODEV)  # ENODEV: the cgroup was removed while its file was open
LEAF = "init"
"""Where the processes of a v2 tree's top are moved when it must hand controllers down: inner nodes hold none."""


def make(mount: str, path: str, controllers: tuple[str, ...], cpuset: bool) -> list[str]:
    """Make the directory and what lacks above it; returns those made, outermost first. Raises OSError in words.

    `controllers` (v2) are enabled for it from the top down; `cpuset` (v1) has each new one inherit CPUs and memory
    nodes, as without them no process can enter.
    """
    if not controllers and not cpuset:  # nothing to do on the way: most often what is above is there
        try:
            os.mkdir(mount + path, 0o755)
            return [mount + path]
        except FileExistsError:
            return []
        except OSError:
            pass  # go the whole way, which says where it ends
    made: list[str] = []
    here = mount
    try:
        for part in path.strip("/").split("/"):
            if controllers:
                enable(here, controllers, top=here == mount)
            parent, here = here, f"{here}/{part}"
            try:
                os.mkdir(here, 0o755)
            except FileExistsError:
                continue
            except OSError as error:
                raise explained("make the cgroup", here, error) from None
            made.append(here)
            if cpuset:
                for name in ("cpuset.cpus", "cpuset.mems"):
                    Write(f"{here}/{name}", read(f"{parent}/{name}").strip(), name).apply()
    except OSError:
        unmake(made)
        raise
    return made


def unmake(made: list[str]) -> None:
    """Take back what `make` made, for as much as nobody else uses it by now."""
    for directory in reversed(made):
        try:
            os.rmdir(directory)
        except OSError as error:
            if error.errno not in (errno.EBUSY, *GONE):
                raise


def enable(directory: str, controllers: tuple[str, ...], top: bool) -> None:
    """v2: let the children of this cgroup use these controllers, where it may use them itself."""
    file = f"{directory}/cgroup.subtree_control"
    there = read(file).split()
    offered = read(f"{directory}/cgroup.controllers").split()
    lacking = " ".join(f"+{name}" for name in controllers if name in offered and name not in there)
    if not lacking:
        return
    try:
        write(file, lacking)
    except OSError as error:
        if error.errno != errno.EBUSY or not top:
            raise explained(f"enable {lacking}", file, error) from None
        # In a container the top is a cgroup like any other: it must hold no processes, not even us.
        _move_all(directory, f"{directory}/{LEAF}")
        Write(file, lacking, "controllers of children").apply()


def _move_all(source: str, target: str) -> None:
    try:
        os.mkdir(target, 0o755)
    except FileExistsError:
        pass
    for pid in procs(source):
        try:
            write(f"{target}/cgroup.procs", str(pid))
        except ProcessLookupError:
            continue
        except OSError as error:
            raise explained(f"move process {pid} out of the way", f"{target}/cgroup.procs", error) from None


def walk(directory: str) -> Iterator[str]:
    """This cgroup and all below it, children first. Nothing if it is not there."""
    try:
        with os.scandir(directory) as entries:
            children = [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError as error:
        if error.errno in GONE:
            return
        raise
    for child in children:
        yield from walk(child)
    yield directory


def procs(directory: str) -> list[int]:
    """Pids in this cgroup alone; those that our PID namespace does not know are left out."""
    try:
        return [pid for pid in map(int, read(f"{directory}/cgroup.procs").split()) if pid]
    except OSError as error:
        if error.errno in (*GONE, errno.EOPNOTSUPP):  # EOPNOTSUPP: a threaded cgroup, its parent lists the process
            return []
        raise


def procs_below(directory: str) -> list[int]:
    return sorted({pid for each in walk(directory) for pid in procs(each)})


def populated(directory: str) -> bool:
    """v2: whether any process is in it or below."""
    try:
        return "populated 1" in read(f"{directory}/cgroup.events")
    except OSError as error:
        if error.errno in GONE:
            return False
        raise


def kill_v2(directory: str) -> bool:
    """Have the kernel kill all in it and below, forks included. False if it cannot (before Linux 5.14)."""
    try:
        write(f"{directory}/cgroup.kill", "1")
    except FileNotFoundError:
        return not os.path.isdir(directory)
    except OSError as error:
        if error.errno not in GONE:
            raise explained("kill", f"{directory}/cgroup.kill", error) from None
    return True


def kill_listed(directory: str) -> int:
    """SIGKILL to each process in it and below; returns how many. For where the kernel has no `cgroup.kill`.

    A pid may be another process by the time it is used. So: hold it by a pidfd, and only then see that it is listed.
    """
    killed = 0
    for each in walk(directory):
        held = {}
        for pid in procs(each):
            try:
                held[pid] = os.pidfd_open(pid)
            except ProcessLookupError:
                continue
        try:
            for pid in set(procs(each)) & set(held):
                try:
                    signal.pidfd_send_signal(held[pid], signal.SIGKILL)
                    killed += 1
                except ProcessLookupError:
                    continue
        finally:
            for fd in held.values():
                os.close(fd)
    return killed


def freeze(directory: str, frozen: bool) -> None:
    """v1: stop everything in it and below, so that nothing forks while it is being killed."""
    try:
        write(f"{directory}/freezer.state", "FROZEN" if frozen else "THAWED")
    except OSError as error:
        if error.errno not in GONE:
            raise explained("freeze" if frozen else "thaw", f"{directory}/freezer.state", error) from None


def pauses(seconds: float) -> Iterator[float]:
    """Sleeps between tries, 1 ms at first, then longer, until `seconds` are over; yields the time each had."""
    end = time.monotonic() + seconds
    pause = 0.001
    while (left := end - time.monotonic()) > 0:
        time.sleep(min(pause, left))
        yield pause
        pause = min(pause * 2, 0.05)


def remove(directory: str) -> bool:
    """One try to remove it with all below it; False if something in it still lives. Raises OSError in words."""
    try:
        os.rmdir(directory)
        return True
    except OSError:
        pass  # it has children, or processes, or is not there
    for each in walk(directory):
        try:
            os.rmdir(each)
        except OSError as error:
            if error.errno in (errno.EBUSY, errno.ENOTEMPTY):
                return False
            if error.errno not in GONE:
                raise explained("remove the cgroup", each, error) from None
    return True
