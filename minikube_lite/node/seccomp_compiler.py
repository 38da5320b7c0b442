"""OCI `linux.seccomp` → a program for the kernel, by libseccomp. Called by node.seccomp, in a thread.

The only module that imports the binding, and only when there is something to compile: it looks for the library with
`ldconfig`, which takes a few milliseconds that no command should wait for.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any, BinaryIO

OPTIMIZE = 8
"""SCMP_FLTATR_CTL_OPTIMIZE; its value 2 is a binary tree, so that a call is found in nine steps and not in four hundred
(seccomp_attr_set(3), libseccomp 2.5)."""
ENOSYS = 38
X32 = 0x40000000
"""Set in the number of every x32 call; the architecture of such a call is x86_64's (<asm/unistd.h>)."""
_LOAD, _EQUAL, _GREATER, _AT_LEAST, _ALWAYS, _RETURN = 0x20, 0x15, 0x25, 0x35, 0x05, 0x06
"""BPF_LD|BPF_W|BPF_ABS, BPF_JMP|BPF_JEQ|BPF_K, …JGT…, …JGE…, BPF_JMP|BPF_JA, BPF_RET|BPF_K (<linux/bpf_common.h>)."""
_NUMBER, _ARCHITECTURE = 0, 4
"""Offsets in `struct seccomp_data`."""


class CannotCompile(Exception):
    """The library is not there, or does not take the profile; the message says why and what helps."""


def library() -> ModuleType:
    """The binding. Raises CannotCompile where the machine has no libseccomp."""
    try:
        import pyseccomp  # type: ignore[import-untyped]
    except (ImportError, RuntimeError, OSError, AttributeError) as error:
        hint = "install libseccomp2 (Debian, Ubuntu) or libseccomp (others)"
        raise CannotCompile(f"libseccomp.so.2 cannot be used on this machine: {error} (hint: {hint})") from error
    module: ModuleType = pyseccomp
    return module


def compile_profile(profile: Mapping[str, Any], file: BinaryIO) -> None:
    """Write the program, an array of `struct sock_filter`, to an empty file. Raises CannotCompile, OSError.

    Calls that this machine's libseccomp does not know by name are left out, as runc leaves them out: being newer than
    all that it knows, they then fail with ENOSYS (see `_newer_calls`), which makes every libc do without.
    """
    lib = library()
    try:
        default = _action(lib, profile["defaultAction"], profile.get("defaultErrnoRet"))
        program = lib.SyscallFilter(default)
        program.set_attr(OPTIMIZE, 2)
        architectures = [_architecture(lib, name) for name in profile.get("architectures") or ()]
        for number in architectures:
            if number != lib.system_arch():
                program.add_arch(number)
        for rule in profile.get("syscalls") or ():
            _add(lib, program, rule, default)
    except OSError as error:
        raise CannotCompile(f"libseccomp does not take the profile: {error.strerror}") from error
    if not profile["defaultAction"].endswith(("_ALLOW", "_LOG", "_TRACE")):
        file.write(_newer_calls(lib, profile, architectures or [lib.system_arch()]))
        file.flush()
    program.export_bpf(file)


def _architecture(lib: ModuleType, name: str) -> int:
    number: int = getattr(lib.Arch, name.removeprefix("SCMP_ARCH_"))
    return number


def _action(lib: ModuleType, name: str, errno: int | None) -> int:
    action = getattr(lib, name.removeprefix("SCMP_ACT_"))
    number: int = action if isinstance(action, int) else action(1 if errno is None else errno)
    return number


def _add(lib: ModuleType, program: Any, rule: Mapping[str, Any], default: int) -> None:
    action = _action(lib, rule["action"], rule.get("errnoRet"))
    if action == default:
        return  # it says nothing, and the library refuses it
    conditions = [
        lib.Arg(
            item["index"], getattr(lib, item["op"].removeprefix("SCMP_CMP_")), item["value"], item.get("valueTwo", 0)
        )
        for item in rule.get("args") or ()
    ]
    indices = [item["index"] for item in rule.get("args") or ()]
    # The library takes one condition for each argument: where there are more, any of them is enough (as in runc).
    ways = [conditions] if len(set(indices)) == len(indices) else [[condition] for condition in conditions]
    for name in rule["names"]:
        number = lib.resolve_syscall(lib.Arch.NATIVE, name)
        if number == -1:  # __NR_SCMP_ERROR: not a call that it knows
            continue
        for way in ways:
            try:
                program.add_rule(action, number, *way)
            except OSError as error:
                raise OSError(error.errno, f"{name}: {error.strerror}") from None


def _newer_calls(lib: ModuleType, profile: Mapping[str, Any], architectures: list[int]) -> bytes:
    """What stands before the program: a call with a number above all that the profile names fails with ENOSYS.

    A program that tries a call newer than the profile must learn that it is not there, and not that it is forbidden
    (runc `libcontainer/seccomp/patchbpf`: glibc took EPERM of clone3 and faccessat2 for an answer). One block for
    each architecture, each leaving the architecture in the accumulator for the next if it is not its own.
    """
    names = {name for rule in profile.get("syscalls") or () for name in rule["names"]}
    last: dict[int, dict[bool, int]] = {}
    for architecture in architectures:
        numbers = [lib.resolve_syscall(architecture, name) for name in names]
        is_x32 = architecture == lib.Arch.X32
        real = lib.Arch.X86_64 if is_x32 else architecture
        last.setdefault(real, {})[is_x32] = max((number for number in numbers if number >= 0), default=0)
    blocks = [list(_block(number, highest, number == lib.Arch.X86_64)) for number, highest in last.items()]
    code = [(_LOAD, 0, 0, _ARCHITECTURE)]
    remaining = sum(map(len, blocks))
    for block in blocks:
        code += block
        remaining -= len(block)
        code[-1] = (_ALWAYS, 0, 0, remaining)
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in code)


def _block(architecture: int, last: Mapping[bool, int], is_x86_64: bool) -> Iterator[tuple[int, int, int, int]]:
    """The last instruction is a jump out, whose distance the caller knows."""
    fail = (_RETURN, 0, 0, 0x00050000 | ENOSYS)  # SECCOMP_RET_ERRNO
    out = (_ALWAYS, 0, 0, 0)
    if is_x86_64:
        yield from (
            (_EQUAL, 0, 6, architecture),
            (_LOAD, 0, 0, _NUMBER),
            (_AT_LEAST, 1, 0, X32),
            (_GREATER, 1, 2, last.get(False, X32)),
            (_GREATER, 0, 1, last.get(True, 0xFFFFFFFF)),
            fail,
            out,
        )
    else:
        yield from ((_EQUAL, 0, 4, architecture), (_LOAD, 0, 0, _NUMBER), (_GREATER, 0, 1, last[False]), fail, out)
