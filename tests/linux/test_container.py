"""What a container is, as the kernel shows it from inside."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.linux.oci import Box, until

pytestmark = pytest.mark.root


async def test_the_command_is_pid_1_and_sees_only_its_own_processes(box: Box) -> None:
    text = await box.shell("echo $$; ls -d /proc/[0-9]*; cat /proc/1/comm; true")
    assert text.split() == ["1", "/proc/1", "sh"]


async def test_it_has_its_own_hostname_and_the_machine_keeps_its_own(box: Box) -> None:
    before = os.uname().nodename
    assert await box.shell("hostname") == "box\n"
    assert os.uname().nodename == before


async def test_its_root_is_the_image_and_writes_go_to_the_upper_layer(box: Box, rootfs: Path) -> None:
    text = await box.shell("echo mine > /file; ls /")
    assert text.split() == ["bin", "dev", "etc", "file", "proc", "root", "sbin", "sys", "tmp", "usr", "var"]
    assert (box.path("upper") / "file").read_text() == "mine\n"
    assert not (rootfs / "file").exists()


async def test_it_has_the_default_capabilities_in_all_sets_but_the_inheritable_and_ambient(box: Box) -> None:
    text = await box.shell("cat /proc/self/status")
    status = dict(line.split(":", 1) for line in text.splitlines())
    found = {name: status[name].strip() for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs")}
    assert found == {
        "CapInh": "0" * 16,
        "CapPrm": "00000000a80425fb",
        "CapEff": "00000000a80425fb",
        "CapBnd": "00000000a80425fb",
        "CapAmb": "0" * 16,
        "NoNewPrivs": "1",
    }
    assert status["Umask"].strip() == "0022"


async def test_no_signal_is_blocked_or_ignored(box: Box) -> None:
    text = await box.output("grep", "-E", "Sig(Blk|Ign)", "/proc/1/status")
    assert text.split() == ["SigBlk:", "0" * 16, "SigIgn:", "0" * 16]


async def test_it_holds_no_descriptor_but_stdin_stdout_and_stderr(box: Box) -> None:
    assert await box.shell("ls /proc/1/fd; true") == "0\n1\n2\n"


async def test_its_mounts_are_those_of_the_config_and_nothing_of_the_machine(box: Box, tmp_path: Path) -> None:
    text = await box.shell("cat /proc/self/mountinfo")
    points = [line.split()[4] for line in text.splitlines()]
    expected = ["/", "/proc", "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue", "/sys", "/sys/fs/cgroup"]
    assert [point for point in points if not point.startswith(("/sys/fs/cgroup/", "/proc/"))] == [
        *expected,
        *(["/sys/firmware"] if Path("/sys/firmware").exists() else []),
    ]
    assert not any("shared:" in line or "master:" in line for line in text.splitlines())


async def test_the_mounts_of_the_machine_are_the_same_before_during_and_after(box: Box, tmp_path: Path) -> None:
    def mounts() -> list[str]:
        """Others may mount things meanwhile: only what knows of this test counts, and the cgroup file systems."""
        lines = Path("/proc/self/mountinfo").read_text().splitlines()
        return [line for line in lines if str(tmp_path) in line or "cgroup" in line or " / / " in line]

    before = mounts()
    await box.run("sleep", "60")
    during = mounts()
    os.kill(box.started["pid"], 9)
    await box.ended()
    assert before == during == mounts()


async def test_dev_has_the_default_nodes_and_links(box: Box) -> None:
    links = "for link in fd stdin ptmx; do readlink $link; done"
    text = await box.shell(f"cd /dev; stat -c '%n %F %a %t:%T' null zero full random urandom tty; {links}")
    assert text.splitlines() == [
        "null character special file 666 1:3",
        "zero character special file 666 1:5",
        "full character special file 666 1:7",
        "random character special file 666 1:8",
        "urandom character special file 666 1:9",
        "tty character special file 666 5:0",
        "/proc/self/fd",
        "/proc/self/fd/0",
        "pts/ptmx",
    ]


async def test_devices_that_are_not_allowed_cannot_be_opened(box: Box) -> None:
    text = await box.shell("mknod /kmsg c 1 11 && head -c 1 /kmsg 2>&1 || true; head -c 1 /dev/zero | wc -c")
    assert text.splitlines() == ["head: /kmsg: Operation not permitted", "1"]


async def test_a_new_network_has_nothing_but_a_loopback_that_is_up(box: Box) -> None:
    text = await box.shell("ip -o link; ping -c 1 -w 5 127.0.0.1 >/dev/null && echo reached")
    assert "reached" in text
    assert len(text.splitlines()) == 2
    assert "LOOPBACK,UP" in text


async def test_stdin_is_empty_and_both_streams_reach_the_log(box: Box) -> None:
    assert await box.shell("cat; echo out; echo err >&2") == "out\n"
    assert box.text("stderr") == "err\n"


async def test_user_groups_and_umask_are_those_of_the_config(box: Box) -> None:
    box.config["process"]["user"] = {"uid": 1000, "gid": 1001, "additionalGids": [1002, 1003], "umask": 0o077}
    text = await box.shell(
        "id -u; id -g; id -G; umask; grep -E 'Cap(Prm|Eff|Amb)' /proc/self/status; echo x > /dev/stderr"
    )
    assert text.splitlines()[:4] == ["1000", "1001", "1001 1002 1003", "0077"]
    # A user other than root loses what is effective at the exec (capabilities(7)).
    assert [line.split()[1] for line in text.splitlines()[4:]] == ["0" * 16] * 3
    assert box.text("stderr") == "x\n"


async def test_a_user_without_a_home_variable_gets_the_one_of_the_image(box: Box) -> None:
    box.config["process"]["env"] = ["PATH=/bin"]
    assert await box.shell("echo $HOME") == "/root\n"


async def test_a_working_directory_that_is_missing_is_made(box: Box) -> None:
    box.config["process"]["cwd"] = "/new/work"
    assert await box.output("pwd") == "/new/work\n"


async def test_a_read_only_root_takes_no_writes(box: Box) -> None:
    box.config["root"]["readonly"] = True
    text = await box.shell("touch /x 2>&1 || true; touch /dev/shm/y && echo fine")
    assert text.splitlines() == ["touch: /x: Read-only file system", "fine"]


async def test_a_root_without_layers_is_the_directory_itself(box: Box, rootfs: Path) -> None:
    box.config["root"] = {"path": str(rootfs), "readonly": True}
    assert (await box.output("ls", "/etc", rootfs=[])).split() == ["group", "passwd"]


@pytest.mark.parametrize(
    ("options", "script", "expected"),
    [
        (["rbind", "ro"], "cat /mnt/a/f; touch /mnt/a/g 2>&1 || true", ["f", "touch: /mnt/a/g: Read-only file system"]),
        (["bind"], "touch /mnt/a/g; ls /mnt/a", ["f", "g"]),
        (
            ["bind", "noexec"],
            "cp /bin/busybox /mnt/a/true; /mnt/a/true 2>&1 || true",
            ["sh: /mnt/a/true: Permission denied"],
        ),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, list) else "",
)
async def test_a_directory_of_the_machine_can_be_mounted(
    box: Box, tmp_path: Path, options: list[str], script: str, expected: list[str]
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "f").write_text("f\n")
    box.config["mounts"].append({"destination": "/mnt/a", "type": "bind", "source": str(source), "options": options})
    assert (await box.shell(script)).splitlines() == expected


async def test_a_file_of_the_machine_can_be_mounted_on_a_name_that_is_not_there(box: Box, tmp_path: Path) -> None:
    (tmp_path / "hosts").write_text("127.0.0.1 me\n")
    mount = {
        "destination": "/etc/deep/hosts",
        "type": "bind",
        "source": str(tmp_path / "hosts"),
        "options": ["rbind", "ro"],
    }
    box.config["mounts"].append(mount)
    assert await box.shell("cat /etc/deep/hosts") == "127.0.0.1 me\n"


async def test_sysctls_of_its_own_namespaces_are_set(box: Box) -> None:
    before = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text()
    box.config["linux"]["sysctl"] = {"net.ipv4.ip_local_port_range": "2000 3000", "kernel.shm_rmid_forced": "1"}
    text = await box.shell("cat /proc/sys/net/ipv4/ip_local_port_range /proc/sys/kernel/shm_rmid_forced")
    assert text.split() == ["2000", "3000", "1"]
    assert Path("/proc/sys/net/ipv4/ip_local_port_range").read_text() == before


async def test_it_sees_its_own_cgroup_and_no_other_read_only(box: Box) -> None:
    text = await box.shell(
        "cut -d: -f3 /proc/self/cgroup | sort -u; cd /sys/fs/cgroup; mkdir x 2>&1 || find . -name cgroup.procs"
    )
    lines = text.splitlines()
    assert lines[0] == "/"
    assert "mkdir: can't create directory 'x': Read-only file system" in lines
    # cgroup.procs only at the top of each tree: nothing else can be seen below
    assert all(line.count("/") <= 2 for line in lines if line.startswith("./"))


async def test_limits_are_in_the_kernel_when_the_command_starts(box: Box) -> None:
    box.config["linux"]["resources"] |= {"memory": {"limit": 64 << 20}, "pids": {"limit": 50}}
    text = await box.shell(
        "cd /sys/fs/cgroup; cat memory/memory.limit_in_bytes pids/pids.max memory.max pids.max 2>/dev/null; true"
    )
    assert text.split() == [str(64 << 20), "50"]


async def test_a_container_can_share_the_pid_namespace_of_the_machine(box: Box) -> None:
    namespaces = box.config["linux"]["namespaces"]
    box.config["linux"]["namespaces"] = [entry for entry in namespaces if entry["type"] != "pid"]
    text = await box.shell("echo $$")
    assert int(text) == box.started["pid"]


async def test_a_container_can_join_the_namespaces_of_another(make_box: Callable[[], Box]) -> None:
    first, second = make_box(), make_box()
    await first.run("sleep", "60")
    pid = first.started["pid"]
    names = {"pid": "pid", "network": "net", "ipc": "ipc", "uts": "uts"}
    joined = [{"type": kind, "path": f"/proc/{pid}/ns/{name}"} for kind, name in names.items()]
    second.config["linux"]["namespaces"] = [*joined, {"type": "mount"}, {"type": "cgroup"}]
    second.config["hostname"] = ""
    assert (await second.shell("cat /proc/1/comm; hostname")).split() == ["sleep", "box"]
    os.kill(pid, 9)
    await first.ended()


async def test_a_pause_container_can_have_its_children_reaped_by_the_kernel(box: Box) -> None:
    await box.run("sleep", "60", ignoreSigchld=True)
    ended, end = os.pipe()
    null = os.open("/dev/null", os.O_RDWR)
    orphan = {"args": ["sh", "-c", "(true; sleep 0.2) & :"], "cwd": "/", "env": ["PATH=/bin"]}
    await box.launcher.request("exec", bundle=str(box.bundle), process=orphan, fds=(end, null, null, null))
    os.close(end)
    assert json.loads(os.read(ended, 100)) == {"code": 0, "signal": 0}
    children = Path(f"/proc/{box.started['pid']}/task/{box.started['pid']}/children")
    assert children.read_text() != ""
    await until(lambda: children.read_text() == "", "no child is left, dead or alive")
    os.close(ended)
    os.close(null)
    os.kill(box.started["pid"], 9)
    await box.ended()


async def test_what_may_not_be_set_here_is_a_warning(box: Box) -> None:
    box.config["process"]["rlimits"] = [{"type": "RLIMIT_NOFILE", "soft": 123, "hard": 456}]
    box.config["process"]["oomScoreAdj"] = 500
    text = await box.shell("ulimit -n; ulimit -Hn; cat /proc/self/oom_score_adj")
    assert text.split() == ["123", "456", "500"]
    assert box.started["mismatches"] == []


def test_the_bundle_that_runc_runs_runs_here_as_well(box: Box, rootfs: Path, tmp_path: Path) -> None:
    if not any(os.access(f"{directory}/runc", os.X_OK) for directory in os.get_exec_path()):
        pytest.skip("no runc to compare with (apt-get install runc)")
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    subprocess.run(["runc", "spec"], check=True, cwd=bundle)
    config = json.loads((bundle / "config.json").read_text())
    config["process"] |= {"terminal": False, "args": ["/bin/sh", "-c", "id -u; hostname; echo $$; exit 7"]}
    config["root"]["path"] = str(rootfs)
    config["linux"]["cgroupsPath"] = box.cgroup
    (bundle / "config.json").write_text(json.dumps(config))
    command = [sys.executable, "-m", "minikube_lite.linux.run", str(bundle)]
    ours = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    theirs = subprocess.run(
        ["runc", "run", f"mkl-test-{os.getpid()}"], cwd=bundle, capture_output=True, text=True, check=False
    )
    assert (ours.returncode, ours.stdout, ours.stderr) == (7, "0\nrunc\n1\n", "")
    assert (theirs.returncode, theirs.stdout) == (ours.returncode, ours.stdout)
    assert sorted(os.listdir(bundle)) == ["config.json"]
