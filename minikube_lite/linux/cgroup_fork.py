"""A fork whose child is born in a cgroup v2 directory. Called by cgroups; hands on what fork(2) does.

To move a process, the kernel must stop all forks and exits of the machine and waits for every CPU to notice: some
8 ms, each time. clone3(2) with CLONE_INTO_CGROUP has nothing to move. Only for a process with a single thread.
"""

from __future__ import annotations

import ctypes
import errno
import os
import signal

CLONE3 = 435  # alike on every architecture
CLONE_CHILD_CLEARTID, CLONE_CHILD_SETTID, CLONE_INTO_CGROUP = 0x00200000, 0x01000000, 0x200000000
PR_GET_TID_ADDRESS = 40
UNSUPPORTED = (errno.ENOSYS, errno.EINVAL, errno.E2BIG, errno.EPERM)
"""Too old a kernel (before 5.7), or a seccomp filter around us that does not know clone3."""


def fork_into(directory: str) -> int | None:
    """As os.fork(); None if this kernel cannot, and nothing was forked. Raises OSError (EAGAIN, ENOENT, EBUSY…)."""
    python = ctypes.PyDLL(None, use_errno=True)  # PyDLL: the interpreter's lock stays ours throughout
    fd = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        # glibc keeps the thread's id in memory; the kernel knows where, and can write the child's there as fork does.
        tid = ctypes.c_uint64(0)
        flags = CLONE_INTO_CGROUP
        if python.prctl(PR_GET_TID_ADDRESS, ctypes.byref(tid), 0, 0, 0) == 0 and tid.value:
            flags |= CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID
        # struct clone_args: flags, pidfd, child_tid, parent_tid, exit_signal, stack, size, tls, set_tid, size, cgroup
        arguments = (ctypes.c_uint64 * 11)(flags, 0, tid.value, 0, signal.SIGCHLD, 0, 0, 0, 0, 0, fd)
        call = (ctypes.c_long(CLONE3), ctypes.byref(arguments), ctypes.c_size_t(ctypes.sizeof(arguments)))
        python.PyOS_BeforeFork()
        pid: int = python.syscall(*call)
        if pid == 0:
            python.PyOS_AfterFork_Child()
        else:
            number = ctypes.get_errno()
            python.PyOS_AfterFork_Parent()
    finally:
        os.close(fd)
    if pid >= 0:
        return pid
    if number in UNSUPPORTED:
        return None
    raise OSError(number, f"clone3 into {directory}: {os.strerror(number)}")
