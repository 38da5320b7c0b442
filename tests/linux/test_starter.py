"""Shims that wait for a container, and how its PID 1 is made: in the starter's memory, or by fork."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from minikube_lite.linux import client
from minikube_lite.linux.birth import vfork_works
from minikube_lite.linux.cgroups import Cgroup
from minikube_lite.linux.client import Launcher, LauncherError
from tests.linux.oci import Box, gone, until

pytestmark = pytest.mark.root

SPARES = 2


@pytest.fixture(params=["vfork", "fork"])
async def launcher(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Launcher]:
    if request.param == "fork":  # as on other processors, or where clone3 is forbidden
        code = "from minikube_lite.linux import launcher; launcher.vfork_works = lambda: False; launcher.main()"
        monkeypatch.setattr(client, "_CODE", f"import sys; sys.path.append({{path!r}}); {code}")
    launcher = Launcher.spawn()
    launcher.attach(asyncio.get_running_loop())
    yield launcher
    launcher.close()


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


async def spares(launcher: Launcher) -> dict[int, int]:
    """The shims that wait, each with its starter, once they are complete."""
    found: dict[int, int] = {}

    def complete() -> bool:
        found.clear()
        found.update({shim: starter for shim in children(launcher.pid) for starter in children(shim)})
        return len(found) == SPARES

    await until(complete, "the spares are there")
    return found


async def test_a_container_runs_and_ends(box: Box) -> None:
    await box.run("sh", "-c", "echo $$; exit 3")
    assert (await box.ended())["code"] == 3
    assert box.text() == "1\n"


async def test_a_command_that_cannot_be_run_is_told_and_nothing_is_left(box: Box) -> None:
    with pytest.raises(LauncherError) as caught:
        await box.run("/bin/nope")
    assert (caught.value.reason, caught.value.message) == ("StartError", 'exec: "/bin/nope": no such file or directory')
    assert box.made() == set()
    assert not Cgroup(box.cgroup).exists()


async def test_pid_1_is_the_child_of_its_shim_and_dies_with_it(box: Box) -> None:
    await box.run("sleep", "60")
    shim = box.started["shimPid"]
    await until(lambda: children(shim) == [box.started["pid"]], "the starter has gone")
    os.kill(shim, signal.SIGKILL)
    await gone(box.started["pid"])
    assert Cgroup(box.cgroup).remove()


async def test_a_waiting_shim_gets_the_next_container_and_is_replaced(box: Box) -> None:
    before = await spares(box.launcher)
    await box.run("sleep", "60")
    assert box.started["shimPid"] in before
    os.kill(box.started["pid"], signal.SIGKILL)
    await box.ended()
    assert len(await spares(box.launcher)) == SPARES


@pytest.mark.parametrize("how", [signal.SIGKILL, None], ids=["killed", "closed"])
async def test_waiting_shims_end_with_the_launcher(launcher: Launcher, how: signal.Signals | None) -> None:
    waiting = await spares(launcher)
    os.kill(launcher.pid, how) if how else launcher.close()
    for pid in (*waiting, *waiting.values()):
        await gone(pid)


@pytest.mark.parametrize("which", ["shim", "starter"])
async def test_killed_spares_cost_no_container(box: Box, which: str) -> None:
    for shim, starter in (await spares(box.launcher)).items():
        os.kill(shim if which == "shim" else starter, signal.SIGKILL)
        await gone(shim)
        await gone(starter)
    await box.run("true")
    assert (await box.ended())["code"] == 0


async def test_a_state_that_cannot_be_written_is_told_and_the_container_ends(box: Box) -> None:
    # The record cannot be put in its place: there is a directory of that name.
    (box.path("state.json") / "in the way").mkdir(parents=True)
    with pytest.raises(LauncherError, match=r"state\.json could not be written"):
        await box.run("sleep", "60")
    assert not Cgroup(box.cgroup).exists()


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the return address is in a register there (Vfork)")
def test_memory_can_be_shared_on_this_machine() -> None:
    assert vfork_works()


def test_after_a_vfork_that_failed_there_is_still_fork() -> None:
    program = (
        "import os\n"
        "from minikube_lite.linux import syscalls as kernel\n"
        "from minikube_lite.linux.birth import Birth\n"
        "birth = Birth('', '/nowhere')\n"
        "call = birth.vfork(lambda: os._exit(1), kernel.CLONE_NEWNS | 0x200)  # with CLONE_FS: EINVAL (clone(2))\n"
        "assert kernel.syscall(*call.arguments) < 0\n"
        "if birth.fork() == 0:\n"
        "    os._exit(10 + os.getpid())\n"
        "raise SystemExit(os.waitstatus_to_exitcode(os.wait()[1]))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (11, "")
