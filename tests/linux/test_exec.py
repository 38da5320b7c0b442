"""A second process inside a running container, with and without a terminal."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import signal
import socket
import struct
import termios
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from minikube_lite.linux.client import LauncherError
from tests.linux.oci import DEFAULT_CAPABILITIES, Box, gone, is_alive

pytestmark = pytest.mark.root

PROCESS: dict[str, Any] = {
    "args": ["true"],
    "env": ["PATH=/bin:/sbin"],
    "cwd": "/",
    "capabilities": dict.fromkeys(("bounding", "effective", "permitted"), DEFAULT_CAPABILITIES),
    "noNewPrivileges": True,
}


@pytest.fixture
async def running(box: Box) -> AsyncIterator[Box]:
    await box.run("sleep", "600")
    yield box
    with contextlib.suppress(ProcessLookupError):
        os.kill(box.started["pid"], signal.SIGKILL)
    await box.ended()


async def execute(box: Box, *args: str, **process: Any) -> tuple[dict[str, int], str]:
    """Run it to its end; returns how it ended and what it wrote, both streams together."""
    wanted = PROCESS | {"args": list(args)} | process
    (exit_r, exit_w), (out_r, out_w), null = os.pipe(), os.pipe(), os.open("/dev/null", os.O_RDWR)
    try:
        await box.launcher.request("exec", bundle=str(box.bundle), process=wanted, fds=(exit_w, null, out_w, out_w))
    except LauncherError:
        os.close(exit_r)
        os.close(out_r)
        raise
    finally:
        for fd in (exit_w, out_w, null):
            os.close(fd)
    text = await asyncio.to_thread(read_all, out_r)
    return json.loads(await asyncio.to_thread(read_all, exit_r)), text


def read_all(fd: int) -> str:
    with open(fd) as file:
        return file.read()


async def test_it_is_in_every_namespace_and_the_cgroup_of_the_container(running: Box) -> None:
    script = "hostname; for ns in /proc/self/ns/*; do readlink $ns; done; cut -d: -f3 /proc/self/cgroup | uniq; exit 7"
    ended, text = await execute(running, "sh", "-c", script)
    assert ended == {"code": 7, "signal": 0}
    pid = running.started["pid"]
    namespaces = [os.readlink(f"/proc/{pid}/ns/{name}") for name in sorted(os.listdir(f"/proc/{pid}/ns"))]
    assert text.split() == ["box", *namespaces, "/"]


async def test_it_has_the_capabilities_user_directory_and_environment_asked_for(running: Box) -> None:
    process = {"user": {"uid": 1000, "gid": 1000}, "cwd": "/tmp", "env": ["PATH=/bin", "A=b c"]}
    _, text = await execute(running, "sh", "-c", "id -u; pwd; echo $A; grep CapBnd /proc/self/status", **process)
    assert text.splitlines() == ["1000", "/tmp", "b c", "CapBnd:\t00000000a80425fb"]


async def test_it_holds_no_descriptor_but_its_three(running: Box) -> None:
    _, text = await execute(running, "sh", "-c", "ls /proc/$$/fd; true")
    assert text == "0\n1\n2\n"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["nope"], 'exec: "nope": executable file not found in $PATH'),
        (["/etc"], 'exec: "/etc": is a directory'),
        ([], "process.args is empty: there is no command"),
    ],
)
async def test_a_command_that_cannot_be_run_says_why(running: Box, args: list[str], message: str) -> None:
    with pytest.raises(LauncherError) as caught:
        await execute(running, *args)
    assert caught.value.message == message


async def test_a_container_that_has_ended_says_so(box: Box) -> None:
    await box.run("true")
    await box.ended()
    with pytest.raises(LauncherError) as caught:
        await execute(box, "true")
    assert (caught.value.reason, caught.value.message) == ("NotRunning", "the container is not running")


async def test_a_pid_that_belongs_to_another_process_by_now_is_not_entered(running: Box) -> None:
    state = json.loads(running.path("state.json").read_text())
    running.path("state.json").write_text(json.dumps(state | {"pid": os.getpid()}))
    with pytest.raises(LauncherError, match="not running"):
        await execute(running, "true")


async def test_its_end_by_a_signal_is_told(running: Box) -> None:
    ended, _ = await execute(running, "sh", "-c", "kill -9 $$")
    assert ended == {"code": 137, "signal": 9}


async def test_it_ends_with_the_container(running: Box) -> None:
    waiting = asyncio.ensure_future(execute(running, "sleep", "600"))
    await asyncio.sleep(0.3)
    os.kill(running.started["pid"], signal.SIGKILL)
    assert (await waiting)[0] == {"code": 137, "signal": 9}


async def test_it_ends_with_the_process_that_watches_it(running: Box) -> None:
    exit_r, exit_w = os.pipe()
    null = os.open("/dev/null", os.O_RDWR)
    wanted = PROCESS | {"args": ["sleep", "600"]}
    fds = (exit_w, null, null, null)
    reply = await running.launcher.request("exec", bundle=str(running.bundle), process=wanted, fds=fds)
    parent = int(Path(f"/proc/{reply['pid']}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(parent, signal.SIGKILL)
    await gone(reply["pid"])
    assert is_alive(running.started["pid"])
    for fd in (exit_r, exit_w, null):
        os.close(fd)


async def test_a_terminal_is_one_of_the_container_with_the_size_of_the_callers(running: Box) -> None:
    ours, theirs = socket.socketpair()
    exit_r, exit_w = os.pipe()
    script = "tty; stty size; echo hi > /dev/tty; read word; echo got $word; stty size; exit 9"
    wanted = PROCESS | {
        "args": ["sh", "-c", script],
        "terminal": True,
        "consoleSize": {"height": 33, "width": 99},
        "user": {"uid": 1000, "gid": 1000},
    }
    await running.launcher.request("exec", bundle=str(running.bundle), process=wanted, fds=(exit_w, theirs.fileno()))
    os.close(exit_w)
    theirs.close()
    _, fds, _, _ = socket.recv_fds(ours, 1, 1)
    ours.close()
    terminal = fds[0]

    def read_until(end: str) -> str:
        text = ""
        while not text.endswith(end):
            text += os.read(terminal, 1000).decode()
        return text

    assert await asyncio.to_thread(read_until, "hi\r\n") == "/dev/pts/0\r\n33 99\r\nhi\r\n"
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 120, 0, 0))
    os.write(terminal, b"foo\n")
    assert await asyncio.to_thread(read_until, "50 120\r\n") == "foo\r\ngot foo\r\n50 120\r\n"
    assert json.loads(await asyncio.to_thread(os.read, exit_r, 100)) == {"code": 9, "signal": 0}
    os.close(exit_r)
    os.close(terminal)


async def test_control_c_reaches_what_runs_in_the_terminal(running: Box) -> None:
    ours, theirs = socket.socketpair()
    exit_r, exit_w = os.pipe()
    wanted = PROCESS | {"args": ["sh", "-c", "echo ready; exec sleep 600"], "terminal": True}
    await running.launcher.request("exec", bundle=str(running.bundle), process=wanted, fds=(exit_w, theirs.fileno()))
    os.close(exit_w)
    theirs.close()
    _, fds, _, _ = socket.recv_fds(ours, 1, 1)
    ours.close()
    assert await asyncio.to_thread(os.read, fds[0], 100) == b"ready\r\n"
    os.write(fds[0], b"\x03")
    assert json.loads(await asyncio.to_thread(os.read, exit_r, 100)) == {"code": 130, "signal": 2}
    os.close(exit_r)
    os.close(fds[0])
