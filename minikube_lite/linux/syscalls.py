"""The kernel's calls that Python has no function for. Called by everything in `linux`; hands on plain ints or OSError.

A wrapper is three lines and names itself in its error, so that a message says which step failed. Flags keep the
kernel's names and values (`<linux/mount.h>`, `<linux/sched.h>`, `<linux/openat2.h>`); they are alike on x86_64 and
aarch64. Numbers of calls from `open_tree` (428) on are alike on every architecture. Needs Linux 5.12 (mount_setattr).
"""

from __future__ import annotations

import ctypes
import os
from ctypes import c_char_p, c_int, c_long, c_uint, c_ulong, c_void_p
from errno import EAGAIN
from signal import SIGCHLD

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_SYNCHRONOUS = 1, 2, 4, 8, 16
MS_REMOUNT, MS_MANDLOCK, MS_DIRSYNC, MS_NOSYMFOLLOW = 32, 64, 128, 256
MS_NOATIME, MS_NODIRATIME, MS_BIND, MS_MOVE, MS_REC, MS_SILENT = 1 << 10, 1 << 11, 1 << 12, 1 << 13, 1 << 14, 1 << 15
MS_UNBINDABLE, MS_PRIVATE, MS_SLAVE, MS_SHARED = 1 << 17, 1 << 18, 1 << 19, 1 << 20
MS_RELATIME, MS_I_VERSION, MS_STRICTATIME, MS_LAZYTIME = 1 << 21, 1 << 23, 1 << 24, 1 << 25
MNT_DETACH = 2

CLONE_NEWNS, CLONE_NEWCGROUP, CLONE_NEWUTS, CLONE_NEWIPC = 0x20000, 0x02000000, 0x04000000, 0x08000000
CLONE_INTO_CGROUP, CLONE_VM, CLONE_VFORK, CLONE_PARENT = 0x2_0000_0000, 0x100, 0x4000, 0x8000
CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET, CLONE_NEWTIME = 0x10000000, 0x20000000, 0x40000000, 0x80

AT_FDCWD, AT_RECURSIVE, AT_EMPTY_PATH, AT_SYMLINK_NOFOLLOW = -100, 0x8000, 0x1000, 0x100
OPEN_TREE_CLONE, OPEN_TREE_CLOEXEC = 1, os.O_CLOEXEC
MOVE_MOUNT_F_EMPTY_PATH, MOVE_MOUNT_T_EMPTY_PATH = 0x4, 0x40
MOUNT_ATTR_RDONLY, MOUNT_ATTR_NOSUID, MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC = 0x1, 0x2, 0x4, 0x8
MOUNT_ATTR__ATIME, MOUNT_ATTR_RELATIME, MOUNT_ATTR_NOATIME, MOUNT_ATTR_STRICTATIME = 0x70, 0x00, 0x10, 0x20
MOUNT_ATTR_NODIRATIME, MOUNT_ATTR_NOSYMFOLLOW = 0x80, 0x200000

RESOLVE_NO_XDEV, RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS, RESOLVE_BENEATH, RESOLVE_IN_ROOT = 0x1, 0x2, 0x4, 0x8, 0x10

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_KEEPCAPS, PR_SET_NAME, PR_CAPBSET_DROP = 1, 4, 8, 15, 24
PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT = 38, 47
PR_CAP_AMBIENT_RAISE, PR_CAP_AMBIENT_CLEAR_ALL = 2, 4

CLOSE_RANGE_CLOEXEC = 4
PROC_SUPER_MAGIC = 0x9FA0
KEYCTL_JOIN_SESSION_KEYRING = 1
SECCOMP_SET_MODE_FILTER = 1

_ARM = os.uname().machine == "aarch64"
_PIVOT_ROOT, _KEYCTL, _RT_SIGACTION, _CLONE, _SECCOMP = (41, 219, 134, 220, 277) if _ARM else (155, 250, 13, 56, 317)
_CLONE3 = 435
_OPEN_TREE, _MOVE_MOUNT, _CLOSE_RANGE, _OPENAT2, _MOUNT_SETATTR = 428, 429, 436, 437, 442

_libc = ctypes.CDLL(None, use_errno=True)


def _function(name: str, *arguments: type) -> ctypes._NamedFuncPointer:
    function = _libc[name]  # indexing makes a new object each time, so that `syscall` can have many signatures
    function.argtypes, function.restype = arguments, c_long if name == "syscall" else c_int
    return function


_mount = _function("mount", c_char_p, c_char_p, c_char_p, c_ulong, c_char_p)
_umount2 = _function("umount2", c_char_p, c_int)
_unshare = _function("unshare", c_int)
_setns = _function("setns", c_int, c_int)
_sethostname = _function("sethostname", c_char_p, c_ulong)
_prctl = _function("prctl", c_int, c_ulong, c_ulong, c_ulong, c_ulong)
_capset = _function("capset", c_char_p, c_char_p)
_fstatfs = _function("fstatfs", c_int, c_void_p)
_open_tree = _function("syscall", c_long, c_long, c_char_p, c_ulong)
_move_mount = _function("syscall", c_long, c_long, c_char_p, c_long, c_char_p, c_ulong)
_mount_setattr = _function("syscall", c_long, c_long, c_char_p, c_ulong, c_char_p, c_ulong)
_openat2 = _function("syscall", c_long, c_long, c_char_p, c_char_p, c_ulong)
_pivot_root = _function("syscall", c_long, c_char_p, c_char_p)
_close_range = _function("syscall", c_long, c_uint, c_uint, c_uint)
_keyctl = _function("syscall", c_long, c_long, c_char_p)
_rt_sigaction = _function("syscall", c_long, c_long, c_char_p, c_void_p, c_ulong)
_seccomp = _function("syscall", c_long, c_ulong, c_ulong, c_char_p)

# A fork: its child has no other thread that could hold the interpreter lock, so the call must not let go of it.
syscall = ctypes.PyDLL(None, use_errno=True).syscall
syscall.argtypes, syscall.restype = (c_long, c_void_p, c_ulong, c_long, c_long, c_long), c_long
_malloc = _libc.malloc
_malloc.argtypes, _malloc.restype = (c_ulong,), c_void_p


def clone(flags: int) -> int:
    """The raw call, as fork: 0 in the child, -1 on failure. Only for `birth`, which does what has to be done around."""
    pid: int = syscall(_CLONE, flags | SIGCHLD, 0, 0, 0, 0)
    return pid


def clone3(flags: int, cgroup: int) -> int:
    """The same, born in the v2 cgroup that the descriptor is open on."""
    arguments = clone_args(flags, cgroup)
    pid: int = syscall(_CLONE3, ctypes.addressof(arguments), ctypes.sizeof(arguments), 0, 0, 0)
    return pid


def clone_args(flags: int, cgroup: int = -1) -> ctypes.Array[ctypes.c_uint64]:
    """`struct clone_args`; `cgroup` as for `clone3`, or -1."""
    arguments = (ctypes.c_uint64 * 11)()
    arguments[4] = 0 if flags & CLONE_PARENT else SIGCHLD  # a sibling has the caller's (clone(2))
    if cgroup >= 0:
        flags, arguments[10] = flags | CLONE_INTO_CGROUP, cgroup
    arguments[0] = flags
    return arguments


class Vfork:
    """vfork(2) into a new process that uses this one's memory, while this one is suspended, until it executes or ends:

        call = Vfork(child, flags, cgroup)
        pid = syscall(*call.arguments)

    So no memory is copied, neither at once nor page by page. As posix_spawn(3) does it, the child has a stack of its
    own. It comes out of the kernel at the end of libc's `syscall`, and returns to where its stack says: to `child`,
    which must not return. On other processors than x86_64 the return address is in a register: there is no such way.

    The interpreter's record of what it is executing is the child's afterwards. So where `syscall` was called there may
    be no call of a Python function, and no return, any more: only functions written in C, until os._exit.
    """

    __slots__ = ("_child", "_clone", "arguments")
    STACK = 1 << 18

    def __init__(self, child: Callable[[], NoReturn], flags: int, cgroup: int = -1) -> None:
        self._child = ctypes.PYFUNCTYPE(None)(child)
        stack: int = _malloc(self.STACK)
        end = (stack + self.STACK) // 16 * 16 - 16
        ctypes.c_uint64.from_address(end).value = ctypes.cast(self._child, c_void_p).value or 0
        self._clone = clone_args(flags | CLONE_VM | CLONE_VFORK, cgroup)
        self._clone[5], self._clone[6] = stack, end - stack
        self.arguments = (_CLONE3, ctypes.addressof(self._clone), ctypes.sizeof(self._clone), 0, 0, 0)


def oserror(what: str) -> OSError:
    """The error of the call just made; `strerror` reads `what: Permission denied`."""
    number = ctypes.get_errno()
    return OSError(number, f"{what}: {os.strerror(number)}")


def _u64(*numbers: int) -> bytes:
    return b"".join(number.to_bytes(8, "little") for number in numbers)


def unshare(flags: int) -> None:
    if _unshare(flags) < 0:
        raise oserror("unshare")


def setns(fd: int, flags: int, what: str = "") -> None:
    """`fd`: a namespace file (`flags` one CLONE_NEW… or 0) or a pidfd (`flags` any number of them)."""
    if _setns(fd, flags) < 0:
        raise oserror(f"setns {what}" if what else "setns")


def mount(source: str | None, target: str, fstype: str | None, flags: int = 0, data: str | None = None) -> None:
    encode = os.fsencode
    if _mount(source and encode(source), encode(target), fstype and encode(fstype), flags, data and encode(data)) < 0:
        raise oserror(f"mount {fstype or source or ''} on {target}")


def umount2(target: str, flags: int = 0) -> None:
    if _umount2(os.fsencode(target), flags) < 0:
        raise oserror(f"umount2 {target}")


def pivot_root(new_root: str, put_old: str) -> None:
    if _pivot_root(_PIVOT_ROOT, os.fsencode(new_root), os.fsencode(put_old)) < 0:
        raise oserror("pivot_root")


def open_tree(dir_fd: int, path: str, flags: int) -> int:
    """A descriptor of the mount at `path`; with OPEN_TREE_CLONE of a detached copy of it."""
    fd: int = _open_tree(_OPEN_TREE, dir_fd, os.fsencode(path), flags | OPEN_TREE_CLOEXEC)
    if fd < 0:
        raise oserror(f"open_tree {path}")
    return fd


def move_mount(tree: int, target: int) -> None:
    """Attach the detached mount `tree` on the file or directory that `target` is open on."""
    if _move_mount(_MOVE_MOUNT, tree, b"", target, b"", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0:
        raise oserror("move_mount")


def mount_setattr(fd: int, path: str, flags: int, *, set: int = 0, clear: int = 0, propagation: int = 0) -> None:
    attributes = _u64(set, clear, propagation, 0)
    if _mount_setattr(_MOUNT_SETATTR, fd, os.fsencode(path), flags, attributes, len(attributes)) < 0:
        raise oserror(f"mount_setattr {path}".rstrip())


def openat2(dir_fd: int, path: str, flags: int, *, mode: int = 0, resolve: int = 0) -> int:
    """As open(2) below `dir_fd`, under the rules of `resolve`; always O_CLOEXEC.

    EAGAIN only says that something was renamed meanwhile (openat2(2)), so it is tried again.
    """
    how = _u64(flags | os.O_CLOEXEC, mode, resolve)
    for _ in range(128):
        fd: int = _openat2(_OPENAT2, dir_fd, os.fsencode(path), how, len(how))
        if fd >= 0:
            return fd
        if ctypes.get_errno() != EAGAIN:
            break
    raise oserror(f"open {path}")


def sethostname(name: str) -> None:
    if _sethostname(encoded := os.fsencode(name), len(encoded)) < 0:
        raise oserror(f"sethostname {name}")


def prctl(option: int, argument: int = 0, argument3: int = 0) -> None:
    if _prctl(option, argument, argument3, 0, 0) < 0:
        raise oserror(f"prctl {option}")


def set_name(name: str) -> None:
    """The name that `ps -o comm` shows, at most 15 bytes of it."""
    text = ctypes.create_string_buffer(os.fsencode(name)[:15])
    prctl(PR_SET_NAME, ctypes.addressof(text))


def capset(effective: int, permitted: int, inheritable: int) -> None:
    """Each a bit mask of the capabilities' numbers. Version 3 of the call (capget(2)): two rows of 32 bits."""
    header = (0x20080522).to_bytes(4, "little") + bytes(4)
    masks = (effective, permitted, inheritable)
    data = b"".join((mask >> shift & 0xFFFFFFFF).to_bytes(4, "little") for shift in (0, 32) for mask in masks)
    if _capset(header, data) < 0:
        raise oserror("capset")


def seccomp_filter(length: int, instructions: int, flags: int) -> None:
    """Install the program of so many instructions (`struct sock_fprog`: a short, padding, their address)."""
    if _seccomp(_SECCOMP, SECCOMP_SET_MODE_FILTER, flags, _u64(length, instructions)) < 0:
        raise oserror("seccomp")


def default_action(number: int) -> None:
    """SIG_DFL for any signal, those too that the C library keeps for itself (32, 33) and so does not let one set."""
    if _rt_sigaction(_RT_SIGACTION, number, bytes(32), None, 8) < 0:
        raise oserror("rt_sigaction")


def close_range(first: int, last: int = 0xFFFFFFFF, flags: int = 0) -> None:
    if _close_range(_CLOSE_RANGE, first, last, flags) < 0:
        raise oserror("close_range")


def close_all_except(keep: set[int]) -> None:
    """Close every descriptor of this process but these."""
    first = 0
    for fd in sorted(keep):
        if fd > first:  # os.closerange(0, 0) closes everything
            os.closerange(first, fd)
        first = fd + 1
    os.closerange(first, 0x7FFFFFFF)  # close_range(2), where the C library has it


def filesystem_type(fd: int) -> int:
    """The magic number of the file system that `fd` is on (statfs(2)): what proves that a file is procfs'."""
    buffer = ctypes.create_string_buffer(256)
    if _fstatfs(fd, ctypes.addressof(buffer)) < 0:
        raise oserror("fstatfs")
    return int.from_bytes(buffer.raw[:8], "little")


def join_session_keyring(name: str) -> None:
    """A new session keyring, so that a container does not hold the keys of whoever started the node."""
    if _keyctl(_KEYCTL, KEYCTL_JOIN_SESSION_KEYRING, os.fsencode(name)) < 0:
        raise oserror("keyctl")
