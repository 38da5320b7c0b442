"""How containers end, and what survives the end of the processes around them."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from minikube_lite.linux.cgroups import Cgroup
from minikube_lite.linux.client import Launcher, LauncherDied, LauncherError
from minikube_lite.linux.records import claim, is_alive, process_record, read_json, start_time
from tests.linux.oci import Box, gone, until

pytestmark = pytest.mark.root


async def test_the_exit_record_tells_code_and_times(box: Box) -> None:
    await box.run("sh", "-c", "exit 3")
    record = await box.ended()
    assert (record["code"], record["signal"], record["oomKilled"], record["message"]) == (3, 0, False, "")
    assert 0 < record["startedAt"] <= record["finishedAt"]
    assert record["finishedWall"] > 1.7e9


async def test_a_signal_is_code_128_and_more(box: Box) -> None:
    await box.run("sleep", "60")
    os.kill(box.started["pid"], signal.SIGKILL)
    record = await box.ended()
    assert (record["code"], record["signal"]) == (137, 9)


async def test_the_reply_names_container_and_shim_so_that_no_other_process_is_taken_for_them(box: Box) -> None:
    started = await box.run("sleep", "60")
    state = read_json(str(box.path("state.json")))
    for kind in ("pid", "shimPid"):
        assert started[kind] == state[kind]
    assert started["startTime"] == state["startTime"] == start_time(started["pid"])
    assert started["shimStartTime"] == state["shimStartTime"] == start_time(started["shimPid"])
    assert is_alive(started["pid"], started["startTime"], state["bootId"])
    os.kill(started["pid"], signal.SIGKILL)
    await box.ended()
    assert not is_alive(started["pid"], started["startTime"], state["bootId"])


@pytest.mark.parametrize("harm", ["torn", "gone"])
async def test_a_state_that_somebody_harmed_does_not_cost_the_exit_code(box: Box, harm: str) -> None:
    await box.run("sh", "-c", "sleep 0.3; exit 7")
    state = box.path("state.json")
    state.write_text("{") if harm == "torn" else state.unlink()
    record = await box.ended()
    assert record["code"] == 7
    assert record["startedAt"] <= record["finishedAt"]
    assert not Cgroup(box.cgroup).exists()


async def test_an_ended_container_leaves_records_and_nothing_else(box: Box) -> None:
    await box.run("true")
    await box.ended()
    assert box.made() == {"rootfs", "shim.json", "state.json", "exit.json"}
    assert not Cgroup(box.cgroup).exists()


async def test_what_a_container_started_dies_with_it(box: Box) -> None:
    await box.run("sh", "-c", "setsid sleep 1234 & sleep 0.2")
    await box.ended()
    assert not Cgroup(box.cgroup).exists()


async def test_in_the_pid_namespace_of_the_machine_the_cgroup_is_killed(box: Box) -> None:
    namespaces = box.config["linux"]["namespaces"]
    box.config["linux"]["namespaces"] = [entry for entry in namespaces if entry["type"] != "pid"]
    await box.run("sh", "-c", "setsid sleep 1234 & echo started")
    record = await box.ended()  # although the child holds the pipes
    assert record["code"] == 0
    assert box.text() == "started\n"
    assert not Cgroup(box.cgroup).exists()


async def test_a_container_outlives_the_launcher_and_its_exit_is_recorded(box: Box) -> None:
    await box.run("sh", "-c", "sleep 0.5; echo late; exit 4")
    deaths: list[bool] = []
    box.launcher.on_death = lambda: deaths.append(True)
    os.kill(box.launcher.pid, signal.SIGKILL)
    record = await box.ended()
    assert (record["code"], box.text()) == (4, "late\n")
    assert deaths == [True]
    with pytest.raises(LauncherDied):
        await box.launcher.request("ping")


async def test_a_container_outlives_a_launcher_that_is_closed(box: Box) -> None:
    await box.run("sh", "-c", "sleep 0.3; exit 5")
    box.launcher.close()
    assert (await box.ended())["code"] == 5


async def test_requests_on_their_way_end_with_the_launcher(launcher: Launcher) -> None:
    os.kill(launcher.pid, signal.SIGSTOP)
    waiting = asyncio.ensure_future(launcher.request("ping"))
    await asyncio.sleep(0.05)
    os.kill(launcher.pid, signal.SIGKILL)
    with pytest.raises(LauncherDied):
        await waiting


async def test_a_container_dies_with_its_shim(box: Box) -> None:
    await box.run("sleep", "60")
    os.kill(box.started["shimPid"], signal.SIGKILL)
    await gone(box.started["pid"])
    assert read_json(str(box.path("exit.json"))) is None
    assert Cgroup(box.cgroup).remove()  # what the shim would have done, the node does


@pytest.mark.parametrize("user", [0, 1000])
async def test_a_container_of_any_user_dies_with_its_shim(box: Box, user: int) -> None:
    box.config["process"]["user"] = {"uid": user, "gid": user}
    await test_a_container_dies_with_its_shim(box)


async def test_being_killed_for_want_of_memory_is_told(box: Box) -> None:
    box.config["linux"]["resources"] = {"memory": {"limit": 16 << 20}}
    await box.run("sh", "-c", "tail /dev/zero")
    record = await box.ended()
    assert record["oomKilled"]
    assert record["code"] == 137


async def test_who_has_claimed_a_bundle_keeps_it(box: Box) -> None:
    me = process_record(os.getpid())
    assert claim(str(box.bundle), me)
    with pytest.raises(LauncherError) as caught:
        await box.run("touch", "/ran")
    assert caught.value.reason == "AlreadyClaimed"
    assert read_json(str(box.path("shim.json"))) == me
    assert not (box.path("upper") / "ran").exists()
    assert not Cgroup(box.cgroup).exists()


async def test_of_many_requests_for_one_bundle_one_runs(box: Box) -> None:
    box.config["process"]["args"] = ["sh", "-c", "echo ran >> /ran; sleep 0.2"]
    box.write_config()
    outcomes = await asyncio.gather(*(box.start() for _ in range(6)), return_exceptions=True)
    started = [each for each in outcomes if isinstance(each, dict)]
    refused = [(each.reason, each.message) for each in outcomes if isinstance(each, LauncherError)]
    assert (len(started), refused) == (1, [("AlreadyClaimed", f"{box.bundle} was claimed by another process")] * 5)
    box.started = started[0]
    await box.ended()
    assert (box.path("upper") / "ran").read_text() == "ran\n"


async def test_a_request_does_not_wait_for_another(make_box: Callable[[], Box]) -> None:
    slow, quick = make_box(), make_box()
    os.mkfifo(slow.bundle / "fifo")
    # Opening a FIFO for reading waits for a writer: so does this container's set-up.
    (slow.bundle / "config.json").symlink_to("fifo")
    fields = {"rootfs": slow.layers, "log": None}
    waiting = asyncio.ensure_future(slow.launcher.request("run", bundle=str(slow.bundle), **fields))
    await quick.run("true")
    assert (await quick.ended())["code"] == 0
    assert not waiting.done()
    await asyncio.to_thread(lambda: (slow.bundle / "fifo").write_text("no JSON"))
    with pytest.raises(LauncherError, match=r"config\.json"):
        await waiting


@pytest.mark.parametrize("which", ["shim", "starter"])
async def test_who_is_killed_while_it_starts_a_container_is_reported(box: Box, which: str) -> None:
    os.mkfifo(box.bundle / "fifo")
    box.path("config.json").symlink_to("fifo")
    waiting = asyncio.ensure_future(box.launcher.request("run", bundle=str(box.bundle), rootfs=box.layers))
    starter, writer = await reader_of(box.bundle / "fifo")
    os.kill(parent_of(starter) if which == "shim" else starter, signal.SIGKILL)
    with pytest.raises(LauncherError, match="died" if which == "shim" else "was killed"):
        await waiting
    await gone(starter)
    os.close(writer)
    assert box.made() == {"fifo"}


async def reader_of(fifo: Path) -> tuple[int, int]:
    """The process that reads the FIFO, once one does, and a descriptor to write to it."""
    writer = -1

    def opened() -> bool:
        nonlocal writer
        try:
            writer = os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
        return writer >= 0

    await until(opened, "somebody opens the FIFO")

    def readers() -> list[int]:
        return [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if has_open(pid, fifo)]

    await until(readers, "it has its descriptor: the writer may be let in just before")
    (found,) = readers()
    return found, writer


def has_open(pid: int, path: Path) -> bool:
    """Whether the process, which is not this one, has the file open; one that may not be looked into has not."""
    if pid == os.getpid():
        return False
    try:
        descriptors = os.listdir(f"/proc/{pid}/fd")
    except OSError:
        return False
    return any(target(f"/proc/{pid}/fd/{descriptor}") == str(path) for descriptor in descriptors)


def target(link: str) -> str:
    """Where the link leads; "" for one that was closed just now."""
    try:
        return os.readlink(link)
    except OSError:
        return ""


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


async def test_a_shim_sleeps_while_its_container_is_quiet(box: Box) -> None:
    await box.run("sh", "-c", "echo here; sleep 60")
    await until(lambda: box.text() == "here\n", "the first line")

    def switches() -> list[str]:
        status = Path(f"/proc/{box.started['shimPid']}/status").read_text()
        return [line for line in status.splitlines() if "ctxt_switches" in line]

    await asyncio.sleep(0.2)
    before = switches()
    await asyncio.sleep(0.5)
    assert switches() == before
    os.kill(box.started["pid"], signal.SIGKILL)
    await box.ended()


async def test_a_shim_holds_nothing_of_the_node(box: Box) -> None:
    await box.run("sleep", "60")
    shim = f"/proc/{box.started['shimPid']}"

    def held() -> list[str]:
        return sorted(os.readlink(f"{shim}/fd/{fd}").partition(":")[0] for fd in os.listdir(f"{shim}/fd"))

    await until(lambda: "socket" not in held(), "the socket of the reply is closed")
    assert held() == ["/dev/null", "/dev/null", "/dev/null", "anon_inode", "pipe", "pipe"]
    assert os.readlink(f"{shim}/cwd") == "/"
    assert os.getsid(box.started["shimPid"]) == box.started["shimPid"]
    os.kill(box.started["pid"], signal.SIGKILL)
    await box.ended()


async def test_a_log_that_cannot_be_written_loses_lines_and_not_the_container(box: Box) -> None:
    await box.run("sh", "-c", "echo lost; exit 6", log={"path": "/nonexistent/log"})
    record = await box.ended()
    assert record["code"] == 6
    assert "1 log lines were lost" in record["message"]
