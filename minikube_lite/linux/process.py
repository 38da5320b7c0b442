"""The last steps before the user's command: who it is, what it may do, and the exec. Called by init and exec.

Reads an OCI `process` object. `limit` runs while the host's /proc is there, `become` after the root was changed.
"""

from __future__ import annotations

import errno
import os
import resource
import stat
from signal import SIG_DFL, SIG_IGN, SIGCHLD, SIGKILL, SIGPIPE, SIGXFSZ
from signal import signal as set_handler

from minikube_lite.linux import syscalls as kernel
from minikube_lite.linux.capabilities import Capabilities
from minikube_lite.linux.errors import Failure
from minikube_lite.linux.seccomp import CAP_SYS_ADMIN, Filter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, NoReturn


class Process:
    """One process of a container; `own` and `last` are the launcher's capabilities and the kernel's highest.

    `message` is the request that asks for it: `seccomp` in it names the program that rules its system calls.
    """

    def __init__(self, process: Mapping[str, Any], own: int, last: int, message: Mapping[str, Any]) -> None:
        self.args: list[str] = process.get("args") or []
        if not self.args:
            raise Failure("CreateError", "process.args is empty: there is no command")
        if not os.path.isabs(process.get("cwd") or "/"):
            raise Failure("CreateError", f"process.cwd must be an absolute path, not {process['cwd']!r}")
        self.cwd: str = process.get("cwd") or "/"
        self.env = dict(pair.split("=", 1) for pair in process.get("env") or () if "=" in pair)
        user = process.get("user") or {}
        self.uid: int = user.get("uid", 0)
        self.gid: int = user.get("gid", 0)
        self.groups: list[int] = user.get("additionalGids") or []
        self.umask: int = user.get("umask", 0o022)
        self.no_new_privileges = bool(process.get("noNewPrivileges"))
        self.rlimits = process.get("rlimits") or ()
        self.oom_score_adj: int = process.get("oomScoreAdj") or 0
        self.capabilities = Capabilities(process.get("capabilities"), own)
        self.own, self.last = own, last
        self.seccomp = Filter(message)
        self.warnings: list[str] = []

    def limit(self) -> None:
        """Set oom_score_adj and rlimits. What this machine does not permit becomes a warning, not a failure."""
        try:
            _write("/proc/self/oom_score_adj", str(self.oom_score_adj))
        except PermissionError:
            self.warnings.append(f"oomScoreAdj {self.oom_score_adj} is not permitted (needs CAP_SYS_RESOURCE)")
        for limit in self.rlimits:
            number = getattr(resource, limit["type"], None)
            if number is None:
                raise Failure("CreateError", f'unknown rlimit "{limit["type"]}"')
            soft, hard = (min(limit[which], 2**64 - 1) for which in ("soft", "hard"))
            try:
                resource.setrlimit(number, (_signed(soft), _signed(hard)))
            except (PermissionError, ValueError) as error:  # ValueError: "not allowed to raise maximum limit"
                self.warnings.append(f"{limit['type']} {soft}:{hard} is not permitted ({error})")

    def own_stdio(self) -> None:
        """Give pipes and terminals on 0, 1, 2 to the user, so that it can open /dev/stderr again (as runc does)."""
        for fd in (0, 1, 2) if self.uid else ():
            found = os.fstat(fd)
            if found.st_uid != self.uid and found.st_rdev != os.makedev(1, 3):
                try:
                    os.fchown(fd, self.uid, -1 if stat.S_ISCHR(found.st_mode) else self.gid)  # a pty stays tty's
                except PermissionError:
                    pass  # a file on a file system that does not take owners: it stays as it is

    def become(self, still_wanted: Callable[[], None]) -> None:
        """Take the user's identity and give up every privilege that was not asked for; but with a seccomp program
        that wants a privileged hand, the capabilities go only in `execute`.

        The death signal is forgotten by the kernel when the user changes (prctl(2)), so it is set again, and
        `still_wanted` looks whether the parent died in between.
        """
        if self.no_new_privileges:
            kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
        self.capabilities.drop_bounding(self.last)
        _named("setgroups", lambda: os.setgroups(self.groups))
        _named(f"setresgid {self.gid}", lambda: os.setresgid(self.gid, self.gid, self.gid))
        if self.uid:
            kernel.prctl(kernel.PR_SET_KEEPCAPS, 1)
            _named(f"setresuid {self.uid}", lambda: os.setresuid(self.uid, self.uid, self.uid))
            kernel.prctl(kernel.PR_SET_KEEPCAPS, 0)
        if not self.seccomp or self.no_new_privileges:
            self.capabilities.apply()
        kernel.prctl(kernel.PR_SET_PDEATHSIG, SIGKILL)
        still_wanted()
        os.umask(self.umask)

    def execute(self, ignore_sigchld: bool = False) -> NoReturn:
        """Run the command. Raises Failure with reason StartError, worded as runc does.

        Signal dispositions other than these three were default since the launcher started; its mask is empty.
        """
        if "HOME" not in self.env:
            self.env["HOME"] = home_of(self.uid)
        set_handler(SIGPIPE, SIG_DFL)  # these two Python ignores
        set_handler(SIGXFSZ, SIG_DFL)
        set_handler(SIGCHLD, SIG_IGN if ignore_sigchld else SIG_DFL)
        path = self._find(self.args[0])
        if self.seccomp:
            self._restrict()
        self._exec(path)

    def _find(self, name: str) -> str:
        if "/" in name:
            return name
        for directory in self.env.get("PATH", os.defpath).split(":"):
            path = os.path.join(directory or ".", name)
            if os.path.isfile(path) and os.access(path, os.X_OK):
                return path
        raise Failure("StartError", f'exec: "{name}": executable file not found in $PATH', errno.ENOENT)

    def _restrict(self) -> None:
        """Install the seccomp program: the last step but one, since it may forbid what any other needs.

        Without no_new_privs that takes CAP_SYS_ADMIN (seccomp(2)), and then the capabilities go after it, as in runc:
        so a profile has to allow capset(2), prctl(2) and execve(2). Less than before is permitted, so the death signal
        stays set.
        """
        if self.no_new_privileges:
            self.seccomp.install()
            return
        kernel.capset(self.own & CAP_SYS_ADMIN, self.own, 0)  # a change of user has cleared the effective set
        self.seccomp.install()
        self.capabilities.apply()

    def _exec(self, path: str) -> NoReturn:
        try:
            os.execve(path, self.args, self.env)
        except OSError as error:
            why = "is a directory" if os.path.isdir(path) else (error.strerror or "").lower()
            if error.errno == errno.ENOENT and os.path.lexists(path):
                why += " (its interpreter or loader is missing)"
            raise Failure("StartError", f'exec: "{self.args[0]}": {why}', error.errno or 0) from None
        except ValueError as error:  # a NUL byte
            raise Failure("StartError", f'exec: "{self.args[0]}": {error}') from None


def home_of(uid: int) -> str:
    """The user's home directory by the container's /etc/passwd, `/` where it says none (as runc does)."""
    try:
        with open("/etc/passwd", errors="replace") as file:
            for line in file:
                fields = line.rstrip("\n").split(":")
                if len(fields) > 5 and fields[2] == str(uid):
                    return fields[5] or "/"
    except OSError:
        pass  # an image need not have the file
    return "/"


def _signed(limit: int) -> int:
    return limit if limit < 2**63 else limit - 2**64  # RLIM_INFINITY is -1 in Python


def _write(path: str, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def _named(what: str, call: Callable[[], None]) -> None:
    try:
        call()
    except OSError as error:
        raise OSError(error.errno, f"{what}: {error.strerror}") from None
