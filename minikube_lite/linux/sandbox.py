"""What the containers of one pod share: pinned namespaces, a tmpfs for /dev/shm, a cgroup. No process holds it.

`serve_sandboxes` is a child of the launcher that serves its `sandbox` requests; `remove_sandbox` and `remove_tree` are
plain blocking functions that the node calls in a thread. A namespace lives as long as it is mounted somewhere
(namespaces(7)), so `D/ns/net` is both what keeps a pod's network and the path that its containers join it by.
"""

from __future__ import annotations

import errno
import json
import os

from minikube_lite.linux import syscalls as kernel
from minikube_lite.linux.cgroups import Cgroup
from minikube_lite.linux.errors import Failure, as_failure
from minikube_lite.linux.namespaces import FLAGS, loopback_up
from minikube_lite.linux.rootfs import allowed_sysctls, write_sysctls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket
    from collections.abc import Iterator, Mapping
    from typing import Any

MAX_MESSAGE = 1 << 18
PINNABLE = ("network", "ipc", "uts")
"""What `sandbox` makes. A shared PID namespace needs a process: the node starts it and pins `ns/pid` itself."""

PRIVATE = "private"
"""The name of what `private_memory` makes."""


def serve_sandboxes(control: socket) -> None:
    """Serve `sandbox` requests, one after the other, until the launcher closes the socket: `NUMBER JSON` each way.

    One process makes them all, so a pod costs no fork here: it goes into new namespaces, pins them and comes back.
    """
    kinds = [FLAGS[kind] for kind in PINNABLE]
    home = [(flag, os.open(f"/proc/self/ns/{name}", os.O_RDONLY | os.O_CLOEXEC)) for flag, name in kinds]
    while data := control.recv(MAX_MESSAGE):
        number, text = data.split(b" ", 1)
        message = json.loads(text)
        try:
            answer: dict[str, Any] = {"ok": make_sandbox(message)}
        except Exception as error:
            answer = {"error": as_failure(error).to_json()}
        for flag, fd in home:
            kernel.setns(fd, flag)  # if that fails this process ends: it must never serve from inside a pod
        if "error" in answer:
            try:
                remove_sandbox(message["dir"], message.get("cgroupsPath"))
            except OSError as left:
                answer["error"]["message"] += f" (and cleaning up failed: {left})"
        control.send(number + b" " + json.dumps(answer).encode())


def make_sandbox(message: Mapping[str, Any]) -> dict[str, Any]:
    """Make it, over whatever an earlier try left there. If it fails, the caller removes what there is of it."""
    directory: str = message["dir"]
    kinds: list[str] = message.get("namespaces") or []
    if unknown := set(kinds) - set(PINNABLE):
        raise Failure("CreateError", f"a sandbox cannot hold the namespaces {', '.join(sorted(unknown))}")
    if os.path.isdir(directory):
        unmount_pins(directory)
    os.makedirs(f"{directory}/ns", 0o711, exist_ok=True)
    mismatches: list[str] = []
    if path := message.get("cgroupsPath"):
        mismatches = Cgroup(path).create(message.get("resources"))
    kernel.unshare(sum(FLAGS[kind][0] for kind in kinds))
    if "uts" in kinds and message.get("hostname"):
        kernel.sethostname(message["hostname"])
    if "network" in kinds:
        loopback_up()
    write_sysctls(message.get("sysctl") or {}, allowed_sysctls(*(kind in kinds for kind in PINNABLE)))
    paths = {}
    for kind in kinds:
        name = FLAGS[kind][1]
        paths[kind] = f"{directory}/ns/{name}"
        os.close(os.open(paths[kind], os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW, 0o400))
        kernel.mount(f"/proc/self/ns/{name}", paths[kind], None, kernel.MS_BIND)
    if size := message.get("shm_bytes"):
        os.makedirs(f"{directory}/shm", exist_ok=True)
        flags = kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC
        kernel.mount("shm", f"{directory}/shm", "tmpfs", flags, f"mode=1777,size={size}")
    return {"namespaces": paths, "mismatches": mismatches}


def remove_sandbox(directory: str, cgroup: str | None) -> None:
    """Remove namespaces, shared memory, files and cgroups. Doing it twice is as good as once.

    Raises OSError (EBUSY) if something that is not the sandbox's is still mounted below, before any file is removed,
    or if a cgroup still has processes.
    """
    unmount_pins(directory)
    remove_tree(directory)
    if cgroup and not Cgroup(cgroup).remove():
        raise OSError(errno.EBUSY, f"cgroup {cgroup} still has processes")


def unmount_pins(directory: str) -> None:
    """Detach what a sandbox mounts, as often as it is mounted."""
    own = {
        f"{directory}/shm",
        f"{directory}/{PRIVATE}",
        *(f"{directory}/ns/{FLAGS[kind][1]}" for kind in (*PINNABLE, "pid")),
    }
    for path in reversed(list(mounts_below(directory))):
        if path in own:
            kernel.umount2(path, kernel.MNT_DETACH)


def private_memory(directory: str) -> str:
    """A directory of the sandbox at `directory` for what may be on no disk: a tmpfs that only root looks into.

    Made when it is first asked for; goes with the sandbox. Raises OSError.
    """
    path = f"{directory}/{PRIVATE}"
    if not os.path.ismount(path):
        os.makedirs(path, 0o700, exist_ok=True)
        flags = kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC
        kernel.mount("tmpfs", path, "tmpfs", flags, "mode=700,size=64m")
    return path


def mounts_below(directory: str) -> Iterator[str]:
    """The mount points at and below a directory, in the order they were mounted (proc_pid_mountinfo(5))."""
    directory = os.path.realpath(directory)
    sought = b" " + _escaped(directory)
    with open("/proc/self/mountinfo", "rb") as file:
        table = file.read()
    if sought not in table:  # the table of a machine with a thousand pods is long: do not cut it up for nothing
        return
    for line in table.splitlines():
        path = os.fsdecode(unescaped(line.split(b" ", 5)[4]))
        if path == directory or path.startswith(directory + "/"):
            yield path


def _escaped(path: str) -> bytes:
    return b"".join(b"\\%03o" % byte if byte in b" \t\n\\" else bytes((byte,)) for byte in os.fsencode(path))


def unescaped(path: bytes) -> bytes:
    head, *rest = path.split(b"\\")
    return head + b"".join(bytes((int(part[:3], 8),)) + part[3:] for part in rest)


def remove_tree(directory: str) -> None:
    """Remove a directory and all in it, never crossing a mount nor following a symlink; fine if it is not there.

    Raises OSError (EBUSY) naming what is mounted below; then nothing has been removed.
    """
    for path in mounts_below(directory):
        raise OSError(errno.EBUSY, f"{path} is still mounted")
    parent, name = os.path.split(directory.rstrip("/"))
    try:
        above = os.open(parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        _remove_directory(above, name)
    except FileNotFoundError:
        pass
    finally:
        os.close(above)


def _remove_directory(above: int, name: str) -> None:
    # RESOLVE_NO_XDEV: what was mounted since we looked is refused by the kernel (EXDEV), bind mounts included.
    strict = kernel.RESOLVE_NO_XDEV | kernel.RESOLVE_NO_SYMLINKS | kernel.RESOLVE_BENEATH
    fd = kernel.openat2(above, name, os.O_RDONLY | os.O_DIRECTORY, resolve=strict)
    try:
        with os.scandir(fd) as entries:
            found = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
        for entry, is_directory in found:
            try:
                _remove_directory(fd, entry) if is_directory else os.unlink(entry, dir_fd=fd)
            except FileNotFoundError:
                pass  # somebody else removes the same tree
    finally:
        os.close(fd)
    os.rmdir(name, dir_fd=above)
