"""What the containers of a pod share: made over leftovers, joined by path, removed without a trace."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from minikube_lite.linux.cgroups import Cgroup
from minikube_lite.linux.client import Launcher, LauncherError
from minikube_lite.linux.sandbox import mounts_below, remove_sandbox, remove_tree
from minikube_lite.linux.syscalls import MS_BIND, mount, umount2
from tests.linux.oci import Box
from tests.traces import Traces

pytestmark = pytest.mark.root


class Pod:
    def __init__(self, launcher: Launcher, directory: Path, cgroup: str) -> None:
        self.launcher, self.directory, self.cgroup = launcher, str(directory), cgroup

    async def make(self, **changes: Any) -> dict[str, Any]:
        fields = {
            "dir": self.directory,
            "namespaces": ["network", "ipc", "uts"],
            "hostname": "pod",
            "cgroupsPath": self.cgroup,
            "resources": {},
            "shm_bytes": 1 << 20,
        } | changes
        return await self.launcher.request("sandbox", **fields)

    def remove(self) -> None:
        remove_sandbox(self.directory, self.cgroup)


@pytest.fixture
def pod(launcher: Launcher, tmp_path: Path, traces: Traces) -> Pod:
    cgroup = f"/mkl-test-pod-{os.getpid()}"
    traces.watch_cgroup(cgroup)
    return Pod(launcher, tmp_path / "the pod", cgroup)


async def test_two_containers_share_network_hostname_and_memory(pod: Pod, make_box: Callable[[], Box]) -> None:
    reply = await pod.make(sysctl={"net.ipv4.ip_unprivileged_port_start": "0"})
    texts = []
    for number in range(2):
        box = make_box()
        joined = [{"type": kind, "path": path} for kind, path in reply["namespaces"].items()]
        box.config["linux"]["namespaces"] = [*joined, *({"type": kind} for kind in ("pid", "mount", "cgroup"))]
        box.config["linux"]["cgroupsPath"] = f"{pod.cgroup}/c{number}"
        box.config["mounts"][3] = {"destination": "/dev/shm", "type": "bind", "source": f"{pod.directory}/shm"}
        del box.config["hostname"]
        box.cgroup = f"{pod.cgroup}/c{number}"
        script = "hostname; readlink /proc/self/ns/net; cat /proc/sys/net/ipv4/ip_unprivileged_port_start"
        texts.append(await box.shell(f"{script}; echo x >> /dev/shm/f; cat /dev/shm/f"))
    assert texts[0].split()[:3] == texts[1].split()[:3]
    assert texts[0].split()[0] == "pod"
    assert texts[0].split()[2:] == ["0", "x"]
    assert texts[1].split()[2:] == ["0", "x", "x"]
    pod.remove()


async def test_its_loopback_is_up(pod: Pod) -> None:
    reply = await pod.make()
    answer = await pod.launcher.request("netns_socket", path=reply["namespaces"]["network"], family="inet")
    with socket.socket(fileno=answer["fds"][0]) as inside, socket.socket() as outside:
        inside.bind(("127.0.0.1", 4321))
        inside.listen()
        outside.settimeout(5)
        with pytest.raises(ConnectionRefusedError):
            outside.connect(("127.0.0.1", 4321))  # another network
        answer = await pod.launcher.request("netns_socket", path=reply["namespaces"]["network"], family="inet")
        with socket.socket(fileno=answer["fds"][0]) as client:
            client.connect(("127.0.0.1", 4321))
    pod.remove()


async def test_the_launcher_stays_in_the_network_of_the_machine(pod: Pod) -> None:
    reply = await pod.make()
    answer = await pod.launcher.request("netns_socket", path=reply["namespaces"]["network"], family="inet6")
    os.close(answer["fds"][0])
    with pytest.raises(LauncherError):
        await pod.launcher.request("netns_socket", path=pod.directory, family="inet")
    assert os.readlink(f"/proc/{pod.launcher.pid}/ns/net") == os.readlink("/proc/self/ns/net")
    pod.remove()


async def test_making_it_twice_is_as_good_as_once(pod: Pod) -> None:
    first = await pod.make()
    assert await pod.make() == first
    assert len(list(mounts_below(pod.directory))) == 4
    pod.remove()


async def test_removing_it_twice_is_as_good_as_once(pod: Pod) -> None:
    await pod.make()
    pod.remove()
    assert not os.path.exists(pod.directory)
    assert not Cgroup(pod.cgroup).exists()
    pod.remove()


async def test_on_the_network_of_the_machine_only_the_others_are_pinned(pod: Pod) -> None:
    reply = await pod.make(namespaces=["ipc"], shm_bytes=None)
    assert sorted(reply["namespaces"]) == ["ipc"]
    assert [os.path.basename(path) for path in mounts_below(pod.directory)] == ["ipc"]
    pod.remove()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sysctl": {"kernel.panic": "1"}}, 'sysctl "kernel.panic" does not belong'),
        ({"namespaces": ["pid"]}, "a sandbox cannot hold the namespaces pid"),
        ({"shm_bytes": "x"}, "mount tmpfs on "),
    ],
)
async def test_a_failure_leaves_nothing(pod: Pod, change: dict[str, Any], message: str) -> None:
    with pytest.raises(LauncherError) as caught:
        await pod.make(**change)
    assert caught.value.message.startswith(message)
    assert not os.path.exists(pod.directory)
    assert not Cgroup(pod.cgroup).exists()
    assert list(mounts_below(pod.directory)) == []


async def test_nothing_is_removed_while_something_else_is_mounted_below(pod: Pod, tmp_path: Path) -> None:
    await pod.make()
    volume = Path(pod.directory, "volume")
    volume.mkdir()
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious/file").write_text("precious")
    mount(str(tmp_path / "precious"), str(volume), None, MS_BIND)
    with pytest.raises(OSError, match="volume is still mounted"):
        pod.remove()
    assert (tmp_path / "precious/file").read_text() == "precious"
    umount2(str(volume))
    pod.remove()
    assert (tmp_path / "precious/file").read_text() == "precious"


def test_removing_a_tree_does_not_follow_symlinks(tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious/file").write_text("precious")
    tree = tmp_path / "a\tb c"
    (tree / "deep/er").mkdir(parents=True)
    (tree / "deep/link").symlink_to(tmp_path / "precious")
    (tree / "deep/file").write_text("x")
    remove_tree(str(tree))
    remove_tree(str(tree))
    assert sorted(os.listdir(tmp_path)) == ["precious"]
    assert (tmp_path / "precious/file").read_text() == "precious"


def maker_of(launcher: Launcher) -> int:
    """The child of the launcher that makes sandboxes."""
    children = Path(f"/proc/{launcher.pid}/task/{launcher.pid}/children").read_text().split()
    makers = [int(pid) for pid in children if Path(f"/proc/{pid}/comm").read_text() == "mkl-sandboxes\n"]
    assert len(makers) == 1, makers
    return makers[0]


async def test_whoever_makes_sandboxes_is_back_in_the_namespaces_of_the_machine(pod: Pod) -> None:
    reply = await pod.make()
    maker = maker_of(pod.launcher)
    for kind in ("net", "ipc", "uts", "mnt"):
        assert os.readlink(f"/proc/{maker}/ns/{kind}") == os.readlink(f"/proc/self/ns/{kind}")
    assert os.stat(reply["namespaces"]["network"]).st_ino != os.stat("/proc/self/ns/net").st_ino
    pod.remove()


async def test_a_failed_sandbox_leaves_its_maker_at_home_and_the_next_one_is_made(pod: Pod) -> None:
    await pod.make()
    maker = maker_of(pod.launcher)
    pod.remove()
    with pytest.raises(LauncherError):
        await pod.make(sysctl={"kernel.panic": "1"})
    assert os.readlink(f"/proc/{maker}/ns/net") == os.readlink("/proc/self/ns/net")
    await pod.make()
    assert maker_of(pod.launcher) == maker
    pod.remove()


async def test_a_maker_that_was_killed_is_replaced_and_its_request_is_answered(pod: Pod) -> None:
    await pod.make()
    os.kill(maker_of(pod.launcher), signal.SIGSTOP)
    asked = asyncio.ensure_future(pod.make())
    await asyncio.sleep(0.05)
    os.kill(maker_of(pod.launcher), signal.SIGKILL)
    with pytest.raises(LauncherError, match="died"):
        await asked
    await pod.make()
    pod.remove()
