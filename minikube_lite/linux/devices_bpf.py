"""Which devices a cgroup may use, on cgroup v2: a small program that the kernel asks. Called by cgroups.

v2 has no files for devices. Instead the kernel runs an eBPF program of ours at each open(2) and mknod(2) of a device
in the cgroup: it gets type, access, major and minor in a struct, and answers 1 (yes) or 0 (EPERM). The OCI rules
become one block of instructions each. The last rule that fits counts, so the blocks are in reverse order; each letter
of what is wanted (r, w, m) is looked at on its own, as v1 does, and where no rule fits the answer is yes.
bpf(2), Documentation/bpf/standardization/instruction-set.rst, `struct bpf_cgroup_dev_ctx` in <linux/bpf.h>.
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys

from minikube_lite.linux.cgroup_writes import explained

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

BPF_PROG_LOAD, BPF_PROG_ATTACH, BPF_PROG_DETACH, BPF_PROG_GET_FD_BY_ID, BPF_PROG_QUERY = 5, 8, 9, 13, 16
BPF_PROG_TYPE_CGROUP_DEVICE, BPF_CGROUP_DEVICE, BPF_F_ALLOW_MULTI = 15, 6, 2

SYSCALL = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "loongarch64": 280, "ppc64le": 361, "s390x": 351}

BLOCK, CHAR = 1, 2  # BPF_DEVCG_DEV_BLOCK, BPF_DEVCG_DEV_CHAR
ACCESS = {"m": 1, "r": 2, "w": 4}  # BPF_DEVCG_ACC_…

# Operations (class | size or source | what), and the registers we use.
LOAD_WORD = 0x61  # BPF_LDX | BPF_MEM | BPF_W: dst = *(u32 *)(src + offset)
MOVE_REGISTER, MOVE = 0xBC, 0xB4  # BPF_ALU | BPF_MOV, from a register or a constant
AND, SHIFT_RIGHT = 0x54, 0x74  # BPF_ALU
JUMP_IF, JUMP_IF_NOT = 0x15, 0x55  # BPF_JMP | BPF_JEQ or BPF_JNE: against a constant
EXIT = 0x95
ANSWER, CONTEXT, TYPE, WANTED, MAJOR, MINOR, SCRATCH = 0, 1, 2, 3, 4, 5, 6


def instruction(operation: int, target: int = 0, source: int = 0, offset: int = 0, constant: int = 0) -> bytes:
    """8 bytes: operation, registers (4 bits each), offset (16 bits), constant (32 bits)."""
    registers = target | source << 4
    return bytes((operation, registers)) + offset.to_bytes(2, "little", signed=True) + constant.to_bytes(4, "little")


START = (
    # struct bpf_cgroup_dev_ctx { u32 access_type; u32 major; u32 minor; }, access_type = access << 16 | type
    instruction(LOAD_WORD, TYPE, CONTEXT, 0)
    + instruction(AND, TYPE, constant=0xFFFF)
    + instruction(LOAD_WORD, WANTED, CONTEXT, 0)
    + instruction(SHIFT_RIGHT, WANTED, constant=16)
    + instruction(LOAD_WORD, MAJOR, CONTEXT, 4)
    + instruction(LOAD_WORD, MINOR, CONTEXT, 8)
)


def answer(allow: bool) -> bytes:
    return instruction(MOVE, ANSWER, constant=int(allow)) + instruction(EXIT)


def compile_rules(rules: Sequence[Mapping[str, Any]]) -> bytes:
    """OCI `linux.resources.devices` as eBPF instructions. Raises ValueError for a rule that makes no sense."""
    return START + b"".join(_block(rule) for rule in reversed(rules)) + answer(True)


def _block(rule: Mapping[str, Any]) -> bytes:
    """One rule: if type, major and minor fit, an allowing rule takes its letters off what is still wanted and answers
    once nothing is left; a denying one answers if any of its letters is still wanted. Else go on behind the block.
    """
    kind, access, allow = rule.get("type") or "a", rule.get("access") or "rwm", bool(rule.get("allow"))
    if kind not in ("a", "b", "c", "u") or set(access) - set(ACCESS):
        raise ValueError(f"linux.resources.devices: no such type or access: {dict(rule)}")
    mask = sum(ACCESS[letter] for letter in set(access))
    fits = [(TYPE, BLOCK if kind == "b" else CHAR)] if kind != "a" else []
    for register, number in ((MAJOR, rule.get("major")), (MINOR, rule.get("minor"))):
        if number is not None and number >= 0:
            fits.append((register, number))
    if allow:
        steps = instruction(AND, WANTED, constant=7 ^ mask) + instruction(JUMP_IF_NOT, WANTED, offset=2)
    else:
        steps = instruction(MOVE_REGISTER, SCRATCH, WANTED) + instruction(AND, SCRATCH, constant=mask)
        steps += instruction(JUMP_IF, SCRATCH, offset=2)
    steps += answer(allow)
    for register, number in reversed(fits):  # a jump skips what of the block comes after it
        steps = instruction(JUMP_IF_NOT, register, offset=len(steps) // 8, constant=number) + steps
    return steps


class DeviceFilter:
    """The rules on a v2 cgroup, as a value like a Write: `describe`, `apply`, `mismatch`. Needs CAP_SYS_ADMIN."""

    __slots__ = ("path", "rules")
    soft, undo = False, ()

    def __init__(self, path: str, rules: Sequence[Mapping[str, Any]]) -> None:
        self.path, self.rules = path, rules

    @property
    def value(self) -> str:
        """`deny a *:* rwm; allow c 1:3 rwm`"""
        return "; ".join(_words(rule) for rule in self.rules)

    def describe(self) -> str:
        return f"attach a device filter to {self.path} ({self.value})"

    def apply(self) -> None:
        """Attach the new program, then detach those before it: in between both must agree, so there is no gap.

        Raises OSError in words, ValueError for a malformed rule.
        """
        code = compile_rules(self.rules)
        try:
            cgroup = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                old = attached(cgroup)
                program = load(code)
                try:
                    bpf(BPF_PROG_ATTACH, cgroup, program, BPF_CGROUP_DEVICE, BPF_F_ALLOW_MULTI)
                finally:
                    os.close(program)  # the cgroup holds it from now on, and lets go when it is removed
                for number in old:
                    program = bpf(BPF_PROG_GET_FD_BY_ID, number)
                    try:
                        bpf(BPF_PROG_DETACH, cgroup, program, BPF_CGROUP_DEVICE)
                    finally:
                        os.close(program)
            finally:
                os.close(cgroup)
        except OSError as error:
            raise explained("limit access to devices (bpf)", self.path, error) from None

    def mismatch(self) -> str:
        """Just one program must be attached. Raises OSError."""
        cgroup = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            count = len(attached(cgroup))
        finally:
            os.close(cgroup)
        return "" if count == 1 else f"{count} device filters are attached to `{self.path}`, not one"


def _words(rule: Mapping[str, Any]) -> str:
    numbers = (rule.get("major"), rule.get("minor"))
    device = ":".join("*" if number is None or number < 0 else str(number) for number in numbers)
    return (
        f"{'allow' if rule.get('allow') else 'deny'} {rule.get('type') or 'a'} {device} {rule.get('access') or 'rwm'}"
    )


def load(code: bytes) -> int:
    """Have the kernel check and take the program (BPF_PROG_LOAD); returns its descriptor."""
    text, name = ctypes.create_string_buffer(code, len(code)), ctypes.create_string_buffer(b"Apache-2.0")
    instructions, licence = (ctypes.addressof(each) for each in (text, name))
    return bpf(BPF_PROG_LOAD, BPF_PROG_TYPE_CGROUP_DEVICE, len(code) // 8, *_u64(instructions), *_u64(licence))


def attached(cgroup: int) -> list[int]:
    """Ids of the device programs attached to just this cgroup (BPF_PROG_QUERY)."""
    ids = (ctypes.c_uint32 * 64)()
    attributes = _attributes(cgroup, BPF_CGROUP_DEVICE, 0, 0, *_u64(ctypes.addressof(ids)), len(ids))
    _call(BPF_PROG_QUERY, attributes)
    return list(ids[: attributes[6]])


def bpf(command: int, *words: int) -> int:
    """bpf(2); `words` are the 32-bit fields of `union bpf_attr` in order."""
    return _call(command, _attributes(*words))


def _attributes(*words: int) -> ctypes.Array[ctypes.c_uint32]:
    return (ctypes.c_uint32 * 32)(*words)  # 128 bytes; what lies behind the fields used must be 0


def _u64(value: int) -> tuple[int, int]:
    halves = value.to_bytes(8, sys.byteorder)
    return int.from_bytes(halves[:4], sys.byteorder), int.from_bytes(halves[4:], sys.byteorder)


def _call(command: int, attributes: ctypes.Array[ctypes.c_uint32]) -> int:
    number = SYSCALL.get(os.uname().machine)
    if number is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    libc = ctypes.CDLL(None, use_errno=True)
    arguments = (ctypes.c_long(number), ctypes.c_long(command), ctypes.byref(attributes))
    result: int = libc.syscall(*arguments, ctypes.c_long(ctypes.sizeof(attributes)))
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result
