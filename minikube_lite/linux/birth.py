"""Forks a process right into its pid namespace and its cgroup. Called by starter and exec.

Moving a process between cgroups takes a lock that every fork on the machine takes too, and waits for an RCU grace
period: 5 to 20 ms, and the machine's forks wait with it. Two ways around it: clone3(CLONE_INTO_CGROUP) makes the child
inside the v2 cgroup (clone(2)), and on v1 a thread may write itself, `0`, to `tasks` without the lock
(`cgroup_procs_write_start` in the kernel). A single-threaded child is then in as a whole.
"""

from __future__ import annotations

import ctypes
import errno
import os

from minikube_lite.linux import syscalls as kernel
from minikube_lite.linux.cgroups import Cgroup, Write
from minikube_lite.linux.namespaces import join

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

_NOT_THIS_WAY = (
    *(errno.ENOSYS, errno.EPERM, errno.EINVAL, errno.E2BIG),  # an old kernel, an outer container's seccomp filter
    *(errno.EBUSY, errno.EOPNOTSUPP, errno.ENOENT, errno.ENODEV),  # the cgroup takes no processes, or has just gone
)
"""Errors of clone3 that mean: fork and move instead."""


class Birth:
    """Where a process is to be born: `pid` is a pidfd whose pid namespace to join, or as `Namespaces.pid` ("" for a new
    one); `cgroup` is a path."""

    __slots__ = ("_chosen", "cgroup", "inside", "pid")

    def __init__(self, pid: str | int, cgroup: str) -> None:
        self.pid, self.cgroup = pid, cgroup
        self.inside = False
        """Whether the child is in the v2 cgroup from the start."""
        self._chosen = False

    def vfork(self, child: Callable[[], NoReturn], flags: int) -> kernel.Vfork:
        """The call that runs `child` in this process' memory. If it fails there is still `fork`. Raises OSError."""
        self._choose_namespace()
        directory = self._open_cgroup()
        self.inside = directory >= 0
        return kernel.Vfork(child, flags, directory)

    def fork(self, flags: int = 0) -> int:
        """fork(2): 0 in the child; `flags`: CLONE_PARENT for a sibling instead. Raises OSError."""
        self._choose_namespace()
        directory = self._open_cgroup()
        if directory < 0:
            return clone(flags)
        self.inside = True
        try:
            return clone(flags, directory)
        except OSError as error:
            if error.errno not in _NOT_THIS_WAY:
                raise
            self.inside = False
            return clone(flags)
        finally:
            os.close(directory)

    def _choose_namespace(self) -> None:
        if self._chosen:
            return  # by a `vfork` that failed; to choose a new one twice is an error (pid_namespaces(7))
        self._chosen = True
        if isinstance(self.pid, int):
            kernel.setns(self.pid, kernel.CLONE_NEWPID, "of the container")
        elif self.pid:
            join(self.pid, kernel.CLONE_NEWPID)
        else:
            kernel.unshare(kernel.CLONE_NEWPID)

    def _open_cgroup(self) -> int:
        """The directory in the v2 tree; -1 if it cannot be had."""
        cgroup = Cgroup(self.cgroup)
        if not cgroup.layout.unified:
            return -1
        try:
            return os.open(cgroup.directory(cgroup.layout.unified), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            return -1  # whoever joins it says what is wrong

    def join_cgroup(self, cgroup: Cgroup) -> None:
        """In the child: be in the cgroup in every tree that has it. Raises OSError in words."""
        if cgroup.layout.unified and not self.inside:
            Write(f"{cgroup.directory(cgroup.layout.unified)}/cgroup.procs", 0, "cgroup", kept=False).apply()
        for tree in {each.mount: each for each in cgroup.layout.v1.values()}.values():
            try:
                fd = os.open(f"{cgroup.directory(tree)}/tasks", os.O_WRONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                continue  # a tree that is not used for this container
            try:
                os.write(fd, b"0")
            except OSError as error:
                raise OSError(error.errno, f"join cgroup {cgroup.directory(tree)}: {error.strerror}") from None
            finally:
                os.close(fd)


def clone(flags: int, cgroup: int = -1) -> int:
    """fork(2) with these flags, and with the child in the v2 cgroup that the descriptor is open on. The process must
    have one thread."""
    python = ctypes.pythonapi  # what os.fork does around its fork(2), PyOS_BeforeFork(3)
    python.PyOS_BeforeFork()
    pid = kernel.clone(flags) if cgroup < 0 else kernel.clone3(flags, cgroup)
    if pid == 0:
        python.PyOS_AfterFork_Child()
        return 0
    python.PyOS_AfterFork_Parent()
    if pid < 0:
        raise kernel.oserror("clone")
    return pid


def vfork_works() -> bool:
    """Try it: whether a process that shares this one's memory comes out where it should. Costs some 2 ms.

    In a child, so that whatever happens to its memory happens to nobody else.
    """
    if os.uname().machine != "x86_64":
        return False
    heard, report = os.pipe()
    if os.fork() == 0:
        call = kernel.Vfork(lambda: os._exit(0 if os.write(report, b"child ") else 1), 0)
        kernel.syscall(*call.arguments)
        os.write(report, b"parent")
        os._exit(0)
    os.close(report)
    said = b""
    while chunk := os.read(heard, 64):
        said += chunk
    os.close(heard)
    return said == b"child parent"
