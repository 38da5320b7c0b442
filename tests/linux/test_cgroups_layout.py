"""Where cgroups are found: a table of machines, each as the two texts that the kernel shows."""

from __future__ import annotations

import pytest

from minikube_lite.linux.cgroups import Layout

HEAD = """\
22 27 0:21 / /proc rw,relatime - proc proc rw
23 27 0:22 / /sys rw,relatime - sysfs sysfs rw
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
"""
CPU = "32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu\n"
MEMORY = "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n"
SYSTEMD = "40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd\n"
UNIFIED = "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw,nsdelegate\n"
V2 = "31 23 0:28 / /sys/fs/cgroup rw,relatime shared:4 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot\n"
V1_CGROUP = "4:memory:/\n2:cpuacct:/\n1:cpu,cpuset:/\n0::/\n"
C = "/sys/fs/cgroup"
CPU_PART = CPU.replace(" / /sys", " /docker/0a1b /sys")
CPU_READ_ONLY = CPU.replace("rw,relatime", "ro,relatime")
HOST = "50 27 0:29 / /host/cpu rw - cgroup cgroup rw,cpu\n"
BOUND = "50 27 0:29 /pod1 /x/cpu rw - cgroup cgroup rw,cpu\n"
ELSEWHERE = "32 27 0:29 / /mnt/a\\040b rw - cgroup cpu rw,cpu\n"
OVER = """\
50 31 0:40 / /sys/fs/cgroup rw - tmpfs tmpfs rw
51 50 0:41 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids
"""


@pytest.mark.parametrize(
    ("mountinfo", "offered", "kind", "where"),
    [
        pytest.param(HEAD, "", "none", {}, id="nothing is mounted"),
        pytest.param(HEAD + CPU + MEMORY, "", "v1", {"cpu": f"{C}/cpu", "memory": f"{C}/memory"}, id="v1"),
        pytest.param(
            HEAD + CPU + UNIFIED, "hugetlb", "hybrid", {"cpu": f"{C}/cpu", "hugetlb": f"{C}/unified"}, id="hybrid"
        ),
        pytest.param(
            HEAD + CPU + UNIFIED,
            "memory",
            "hybrid",
            {"cpu": f"{C}/cpu", "memory": f"{C}/unified"},
            id="each on its own",
        ),
        pytest.param(V2, "cpu memory pids", "v2", {"cpu": C, "memory": C, "pids": C}, id="v2"),
        pytest.param(
            HEAD + SYSTEMD + UNIFIED, "cpu", "v2", {"cpu": f"{C}/unified"}, id="a named tree has no controller"
        ),
        pytest.param(
            HEAD + "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n",
            "",
            "v1",
            {"cpu": f"{C}/cpu,cpuacct", "cpuacct": f"{C}/cpu,cpuacct"},
            id="two controllers in one tree",
        ),
        pytest.param(HEAD + ELSEWHERE, "", "v1", {"cpu": "/mnt/a b"}, id="elsewhere"),
        pytest.param(HEAD + CPU_PART, "", "v1", {"cpu": f"{C}/cpu"}, id="a container sees its part"),
        pytest.param(
            HEAD + CPU_PART + HOST,
            "",
            "v1",
            {"cpu": "/host/cpu"},
            id="of two mounts the one that shows more",
        ),
        pytest.param(HEAD + CPU + BOUND, "", "v1", {"cpu": f"{C}/cpu"}, id="a part bound"),
        pytest.param(
            HEAD + CPU_READ_ONLY + BOUND,
            "",
            "v1",
            {"cpu": "/x/cpu"},
            id="of two mounts the one that can be written",
        ),
        pytest.param(
            HEAD + CPU + OVER,
            "",
            "v1",
            {"pids": f"{C}/pids"},
            id="a mount on top hides those below",
        ),
    ],
)
def test_controllers_are_found_where_they_are_mounted(
    mountinfo: str, offered: str, kind: str, where: dict[str, str]
) -> None:
    layout = Layout.discover(mountinfo, V1_CGROUP, lambda mount: offered)
    assert layout.kind == kind
    everything = ("cpu", "cpuacct", "cpuset", "memory", "pids", "devices", "hugetlb")
    assert {name: tree.mount for name in everything if (tree := layout.find(name))} == where


def test_a_missing_controller_is_named_with_what_it_would_enforce() -> None:
    layout = Layout.discover(HEAD + CPU, "1:cpu:/\n2:memory:/\n")
    assert layout.shortcomings() == [
        "memory controller is not mounted (mount -t cgroup -o memory …): memory limits are not enforced",
        "pids controller is missing: limits of processes are not enforced",
        "devices controller is missing: access to devices is not limited",
    ]


def test_v2_needs_no_devices_controller() -> None:
    assert Layout.discover(V2, "0::/\n", lambda mount: "cpu memory pids").shortcomings() == []


def test_a_machine_without_cgroups_says_so() -> None:
    assert Layout.discover(HEAD, "").shortcomings()[0] == (
        "cpu controller is missing: no cgroup file system is mounted: CPU limits are not enforced"
    )
