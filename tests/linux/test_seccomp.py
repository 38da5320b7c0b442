"""A compiled seccomp program rules the container's command, and every further process in it. The programs are made by
hand: `linux` does not know where they come from."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import struct
from pathlib import Path

import pytest

from minikube_lite.linux.client import LauncherError
from tests.linux.oci import Box, until

pytestmark = pytest.mark.root

ALLOW, ENOSPC, KILL = 0x7FFF0000, 0x00050000 | 28, 0x80000000
EPERM = 0x00050000 | 1
MKDIR, MKDIRAT, CAPSET, CAPGET = (-1, 34, 91, 90) if os.uname().machine == "aarch64" else (83, 258, 126, 125)


def program(directory: Path, answer: int, *numbers: int) -> dict[str, object]:
    """The `seccomp` of a request: this answer for these calls, all others are allowed."""
    code = [(0x20, 0, 0, 0)]
    for place, number in enumerate(numbers):
        code.append((0x15, len(numbers) - place, 0, number & 0xFFFFFFFF))
    code += [(0x06, 0, 0, ALLOW), (0x06, 0, 0, answer)]
    path = directory / "program.bpf"
    path.write_bytes(b"".join(struct.pack("=HBBI", *instruction) for instruction in code))
    return {"program": str(path), "flags": 0}


def facts(text: str) -> dict[str, str]:
    return {name: value.strip() for name, _, value in (line.partition(":") for line in text.splitlines())}


@pytest.mark.parametrize("no_new_privileges", [True, False])
@pytest.mark.parametrize("uid", [0, 1000])
async def test_it_rules_the_command_whoever_runs_it(box: Box, no_new_privileges: bool, uid: int) -> None:
    box.config["process"] |= {"noNewPrivileges": no_new_privileges, "user": {"uid": uid, "gid": uid}}
    seccomp = program(box.bundle, ENOSPC, MKDIR, MKDIRAT)
    script = "mkdir /tmp/made 2>&1; cat /proc/self/status"
    text = await box.output("sh", "-c", script, seccomp=seccomp)
    assert text.startswith("mkdir: can't create directory '/tmp/made': No space left on device\n")
    found = facts(text)
    assert (found["Seccomp"], found["Seccomp_filters"]) == ("2", "1")
    assert found["NoNewPrivs"] == str(int(no_new_privileges))
    assert found["CapEff"] == ("00000000a80425fb" if uid == 0 else "0" * 16)
    assert found["CapBnd"] == "00000000a80425fb"
    assert found["CapPrm"] == found["CapEff"]


async def test_the_action_is_the_program_s(box: Box) -> None:
    await box.run("sh", "-c", "exec mkdir /tmp/made", seccomp=program(box.bundle, KILL, MKDIR, MKDIRAT))
    record = await box.ended()
    assert (record["code"], record["signal"]) == (128 + signal.SIGSYS, signal.SIGSYS)


async def test_with_no_new_privs_it_is_the_last_thing_before_the_command(box: Box) -> None:
    box.config["process"]["noNewPrivileges"] = True
    assert await box.output("echo", "ran", seccomp=program(box.bundle, EPERM, CAPSET, CAPGET)) == "ran\n"


async def test_without_it_the_capabilities_go_after_it_so_the_program_must_let_them_go(box: Box) -> None:
    box.config["process"]["noNewPrivileges"] = False
    with pytest.raises(LauncherError, match="capset: Operation not permitted"):
        await box.run("echo", "ran", seccomp=program(box.bundle, EPERM, CAPSET, CAPGET))
    assert box.made() == {"program.bpf"}


@pytest.mark.parametrize("no_new_privileges", [True, False])
async def test_it_rules_a_further_process_too(box: Box, no_new_privileges: bool) -> None:
    box.config["process"]["noNewPrivileges"] = no_new_privileges
    seccomp = program(box.bundle, ENOSPC, MKDIR, MKDIRAT)
    await box.run("sleep", "infinity", seccomp=seccomp)
    process = box.config["process"] | {"args": ["sh", "-c", "mkdir /tmp/made 2>&1; cat /proc/self/status"]}
    ended, exit_w = os.pipe()
    heard, out_w = os.pipe()
    null = os.open("/dev/null", os.O_RDWR)
    fds = (exit_w, null, out_w, null)
    await box.launcher.request("exec", bundle=str(box.bundle), process=process, seccomp=seccomp, fds=fds)
    for fd in fds:
        os.close(fd) if fd != null else None
    os.close(null)
    text = (await asyncio.to_thread(lambda: b"".join(iter(lambda: os.read(heard, 65536), b"")))).decode()
    assert json.loads(await asyncio.to_thread(os.read, ended, 4096))["code"] == 0
    os.close(heard)
    os.close(ended)
    assert "No space left on device" in text
    assert facts(text)["Seccomp"] == "2"
    os.kill(box.started["pid"], signal.SIGKILL)
    await box.ended()


async def test_a_config_whose_program_nobody_compiled_runs_and_says_so(box: Box) -> None:
    box.config["linux"]["seccomp"] = {"defaultAction": "SCMP_ACT_ERRNO"}
    await box.run("true")
    await box.ended()
    assert box.started["mismatches"] == ["linux.seccomp is not applied"]


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "No such file or directory"), (b"", "is not a seccomp program"), (b"1234567", "is not a seccomp program")],
)
async def test_a_program_that_cannot_be_read_is_an_error_and_nothing_runs(
    box: Box, content: bytes | None, words: str
) -> None:
    path = box.bundle / "program.bpf"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(LauncherError, match=words):
        await box.run("true", seccomp={"program": str(path)})
    assert box.made() <= {"program.bpf"}


async def test_a_program_that_the_kernel_does_not_take_is_an_error_and_nothing_runs(box: Box) -> None:
    path = box.bundle / "program.bpf"
    path.write_bytes(b"\xff" * 8)
    with pytest.raises(LauncherError, match="seccomp: Invalid argument"):
        await box.run("true", seccomp={"program": str(path)})
    await until(lambda: box.made() == {"program.bpf"}, "nothing is left")
