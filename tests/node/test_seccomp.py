"""Profiles become programs: what a compiled one answers, that each is compiled once, and what is said if it cannot be.

The programs are run here, by an interpreter of the few instructions that libseccomp uses.
"""

from __future__ import annotations

import asyncio
import json
import os
import struct
from pathlib import Path
from typing import Any

import pytest

from minikube_lite.core import oci_defaults, seccomp
from minikube_lite.node import seccomp_compiler
from minikube_lite.node.runtime import RuntimeFailure
from minikube_lite.node.seccomp import Seccomp
from minikube_lite.node.seccomp_compiler import CannotCompile, compile_profile
from tests.core.healthy import container, pod

CAPABILITIES = tuple(oci_defaults.DEFAULT_CAPABILITIES)
ALLOW, ERRNO = 0x7FFF0000, 0x00050000
KILL_THREAD = 0
X86_64, I386 = 0xC000003E, 0x40000003

needs_intel = pytest.mark.skipif(os.uname().machine != "x86_64", reason="the numbers are those of x86_64")


def evaluate(program: bytes, number: int, *arguments: int, architecture: int = X86_64) -> int:
    """What the kernel does with a call (bpf(2) classic, `struct seccomp_data`)."""
    padded = [*arguments, *[0] * (6 - len(arguments))]
    data = struct.pack("=iIQ6Q", number - (1 << 32) if number >> 31 else number, architecture, 0, *padded)
    code = [struct.unpack_from("=HBBI", program, at) for at in range(0, len(program), 8)]
    accumulator = at = 0
    while True:
        operation, yes, no, value = code[at]
        at += 1
        match operation:
            case 0x20:
                (accumulator,) = struct.unpack_from("=I", data, value)
            case 0x06:
                return int(value)
            case 0x05:
                at += value
            case 0x54:
                accumulator &= value
            case 0x15 | 0x25 | 0x35 | 0x45:
                holds = {
                    0x15: accumulator == value,
                    0x25: accumulator > value,
                    0x35: accumulator >= value,
                    0x45: bool(accumulator & value),
                }[operation]
                at += yes if holds else no
            case _:
                raise AssertionError(f"unknown instruction {operation:#x}")


def compiled(profile: dict[str, Any], directory: Path) -> bytes:
    path = directory / "program"
    with path.open("wb") as file:
        compile_profile(profile, file)
    return path.read_bytes()


@pytest.fixture(scope="module")
def default(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return compiled(
        seccomp.runtime_default(frozenset(CAPABILITIES), os.uname().machine), tmp_path_factory.mktemp("bpf")
    )


@needs_intel
@pytest.mark.parametrize(
    ("call", "answer"),
    [
        ((0,), ALLOW),  # read
        ((59,), ALLOW),  # execve
        ((165,), ERRNO | 1),  # mount
        ((272, 0), ERRNO | 1),  # unshare
        ((161,), ALLOW),  # chroot: CAP_SYS_CHROOT is in the default set
        ((56, 0x01200011), ALLOW),  # clone as fork(3) does it
        ((56, 0x10000011), ERRNO | 1),  # CLONE_NEWUSER
        ((56, 0x02000011), ERRNO | 1),  # CLONE_NEWCGROUP
        ((435,), ERRNO | 38),  # clone3
        ((135, 0xFFFFFFFF), ALLOW),  # personality: which?
        ((135, 0x0040000), ERRNO | 1),  # ADDR_NO_RANDOMIZE
        ((135, 1 << 32), ERRNO | 1),  # all 64 bits count
        ((41, 2), ALLOW),  # socket AF_INET
        ((41, 38), ERRNO | 1),  # AF_ALG
        ((41, 40), ERRNO | 1),  # AF_VSOCK
        ((41, 1 << 32 | 40), ERRNO | 1),
        ((425,), ERRNO | 1),  # io_uring_setup
        ((250,), ERRNO | 1),  # keyctl
        ((1000,), ERRNO | 38),  # newer than all that is known
        ((0x40000000 | 0,), ALLOW),  # x32: read
        ((0x40000000 | 165,), ERRNO | 1),  # x32: mount
        ((0x40000000 | 5000,), ERRNO | 38),
    ],
)
def test_what_the_default_profile_answers(default: bytes, call: tuple[int, ...], answer: int) -> None:
    assert evaluate(default, *call) == answer


@needs_intel
@pytest.mark.parametrize(
    ("call", "answer"),
    [((3,), ALLOW), ((21,), ERRNO | 1), ((1000,), ERRNO | 38), ((120, 0x10000011), ERRNO | 1), ((310,), ERRNO | 1)],
)
def test_32_bit_programs_have_the_same_rules(default: bytes, call: tuple[int, ...], answer: int) -> None:
    assert evaluate(default, *call, architecture=I386) == answer


@needs_intel
def test_no_other_architecture_gets_through(default: bytes) -> None:
    assert evaluate(default, 0, architecture=0xC00000B7) == KILL_THREAD


@needs_intel
def test_a_profile_that_allows_by_default_has_nothing_in_front_of_it(tmp_path: Path) -> None:
    rule = {"names": ["mkdir", "no_such_call"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28}
    program = compiled({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}, tmp_path)
    assert [evaluate(program, number) for number in (0, 83, 1000)] == [ALLOW, ERRNO | 28, ALLOW]


@needs_intel
def test_several_conditions_on_one_argument_are_alternatives_on_many_all_have_to_hold(tmp_path: Path) -> None:
    def program(*args: tuple[int, int]) -> bytes:
        conditions = [{"index": index, "value": value, "op": "SCMP_CMP_EQ"} for index, value in args]
        rule = {"names": ["dup2"], "action": "SCMP_ACT_ALLOW", "args": conditions}
        return compiled({"defaultAction": "SCMP_ACT_KILL_PROCESS", "syscalls": [rule]}, tmp_path)

    kill = 0x80000000
    alternatives = program((0, 1), (0, 2))
    assert [evaluate(alternatives, 33, number) for number in (1, 2, 3)] == [ALLOW, ALLOW, kill]
    both = program((0, 1), (1, 2))
    assert [evaluate(both, 33, *pair) for pair in ((1, 2), (1, 3), (2, 2))] == [ALLOW, kill, kill]


def test_all_capabilities_at_once_compile(tmp_path: Path) -> None:
    everything = frozenset(oci_defaults.ALL_CAPABILITIES)
    assert compiled(seccomp.runtime_default(everything, os.uname().machine), tmp_path)


# -- once for each profile -------------------------------------------------------------------------------------------


@pytest.fixture
def node(tmp_path: Path) -> Seccomp:
    (tmp_path / "profiles").mkdir()
    return Seccomp(tmp_path / "programs", tmp_path / "profiles")


@pytest.fixture
def count(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The profiles compiled."""
    done: list[Any] = []

    def count(profile: Any, file: Any) -> None:
        done.append(profile)
        compile_profile(profile, file)

    monkeypatch.setattr(seccomp_compiler, "compile_profile", count)
    return done


async def test_it_is_compiled_once_whoever_asks_and_only_root_reads_it(
    node: Seccomp, count: list[Any], tmp_path: Path
) -> None:
    assert await node.prepare() == ""
    whole = pod()
    filters = await asyncio.gather(*(node.filter(whole, whole.spec.containers[0], CAPABILITIES) for _ in range(9)))
    assert len(count) == 1
    assert len({id(found.oci) for found in filters}) == 1
    (file,) = (tmp_path / "programs").iterdir()
    assert filters[0].request == {"program": str(file), "flags": 0}
    assert file.stat().st_mode & 0o777 == 0o400
    request = await node.of_config({"linux": {"seccomp": json.loads(json.dumps(filters[0].oci))}})
    assert request == filters[0].request
    assert len(count) == 1


async def test_another_node_finds_the_program_of_a_container_by_its_config(node: Seccomp, tmp_path: Path) -> None:
    whole = pod(securityContext={"seccompProfile": {"type": "Localhost", "localhostProfile": "a.json"}})
    profile = {"defaultAction": "SCMP_ACT_ALLOW", "flags": ["SECCOMP_FILTER_FLAG_LOG"]}
    (tmp_path / "profiles/a.json").write_text(json.dumps(profile))
    found = await node.filter(whole, whole.spec.containers[0], CAPABILITIES)
    assert found.request["flags"] == 2
    (tmp_path / "profiles/a.json").unlink()
    other = Seccomp(tmp_path / "programs", tmp_path / "profiles")
    assert await other.of_config({"linux": {"seccomp": dict(found.oci)}}) == found.request


async def test_a_file_that_was_put_right_is_read_at_the_next_try(node: Seccomp, tmp_path: Path) -> None:
    whole = pod(securityContext={"seccompProfile": {"type": "Localhost", "localhostProfile": "a.json"}})
    (tmp_path / "profiles/a.json").write_text("{}")
    with pytest.raises(RuntimeFailure, match="cannot load seccomp profile"):
        await node.filter(whole, whole.spec.containers[0], CAPABILITIES)
    (tmp_path / "profiles/a.json").write_text('{"defaultAction": "SCMP_ACT_ALLOW"}')
    assert (await node.filter(whole, whole.spec.containers[0], CAPABILITIES)).request


async def test_unconfined_needs_no_program(node: Seccomp, count: list[Any]) -> None:
    whole = pod(securityContext={"seccompProfile": {"type": "Unconfined"}})
    found = await node.filter(whole, whole.spec.containers[0], CAPABILITIES)
    assert (dict(found.oci), dict(found.request), found.warning) == ({}, {}, "")
    assert await node.of_config({"linux": {}}) == {}
    assert count == []


# -- no libseccomp ---------------------------------------------------------------------------------------------------


@pytest.fixture
def bare(node: Seccomp, monkeypatch: pytest.MonkeyPatch) -> Seccomp:
    """On a machine without the library."""
    monkeypatch.setattr("ctypes.util.find_library", lambda name: None)
    monkeypatch.delitem(__import__("sys").modules, "pyseccomp", raising=False)
    return node


async def test_without_the_library_it_is_said_at_the_start_and_of_each_container(bare: Seccomp) -> None:
    said = await bare.prepare()
    assert said.startswith("seccomp: no container is kept from system calls: libseccomp.so.2 cannot be used")
    assert "install libseccomp2" in said
    whole = pod()
    found = await bare.filter(whole, whole.spec.containers[0], CAPABILITIES)
    assert (dict(found.oci), dict(found.request)) == ({}, {})
    assert found.warning.startswith("seccomp: no system call is kept from it: libseccomp.so.2 cannot be used")


async def test_without_the_library_a_profile_that_is_asked_for_is_an_error(bare: Seccomp) -> None:
    whole = pod(container(securityContext={"seccompProfile": {"type": "RuntimeDefault"}}))
    with pytest.raises(
        RuntimeFailure, match=r"seccompProfile RuntimeDefault: libseccomp\.so\.2 cannot be used"
    ) as caught:
        await bare.filter(whole, whole.spec.containers[0], CAPABILITIES)
    assert caught.value.reason == "CreateContainerError"


async def test_a_library_that_was_installed_is_used_at_the_next_try(
    node: Seccomp, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as missing:
        missing.setattr(seccomp_compiler, "library", lambda: (_ for _ in ()).throw(CannotCompile("not there")))
        assert "not there" in await node.prepare()
    assert await node.prepare() == ""


def test_nothing_else_imports_the_binding() -> None:
    top = Path(seccomp_compiler.__file__).parents[1]
    users = [path for path in top.rglob("*.py") if "import pyseccomp" in path.read_text(encoding="utf-8")]
    assert users == [Path(seccomp_compiler.__file__)]
    assert "pyseccomp" not in vars(seccomp_compiler)
