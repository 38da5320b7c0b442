"""Installs a compiled seccomp program in the process that becomes a container's command. Called by process.

The node compiles OCI `linux.seccomp` ahead, with libseccomp, to an array of `struct sock_filter` (bpf(2) classic, as
seccomp_export_bpf(3) writes it); here nothing is known of what it says.
"""

from __future__ import annotations

import ctypes

from minikube_lite.linux import syscalls as kernel
from minikube_lite.linux.errors import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

CAP_SYS_ADMIN = 1 << 21
INSTRUCTION = 8
"""Bytes of a `struct sock_filter`."""


class Filter:
    """A program to install and the flags for it; false where there is none."""

    __slots__ = ("flags", "program")

    def __init__(self, message: Mapping[str, Any]) -> None:
        """`seccomp` in it: `program`, the file that holds it, and `flags` for seccomp(2). Raises OSError, Failure."""
        wanted = message.get("seccomp") or {}
        self.flags: int = wanted.get("flags") or 0
        self.program = b""
        if wanted:
            with open(wanted["program"], "rb", buffering=0) as file:
                self.program = file.read()
            if not self.program or len(self.program) % INSTRUCTION:
                raise Failure("CreateError", f"{wanted['program']} is not a seccomp program")

    def __bool__(self) -> bool:
        return bool(self.program)

    def install(self) -> None:
        """From here on it rules. Needs CAP_SYS_ADMIN or no_new_privs (seccomp(2)), else EACCES."""
        buffer = ctypes.create_string_buffer(self.program, len(self.program))
        kernel.seccomp_filter(len(self.program) // INSTRUCTION, ctypes.addressof(buffer), self.flags)
