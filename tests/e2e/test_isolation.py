"""What a container is, asked from inside of it, through the real node and the real command line."""

from __future__ import annotations

import hashlib
import os
import signal
import tarfile
from pathlib import Path

import pytest

from tests.e2e.yard import Yard, alive, status_field

pytestmark = pytest.mark.root

DOCKER_DEFAULT = 0x00000000A80425FB
"""Docker's default set as the kernel prints it (moby, oci/caps/defaults.go)."""


def test_the_users_command_is_process_1_and_sees_nobody_else(yard: Yard) -> None:
    yard.run("web", yard.container("echo $$$$; ps -o pid,args; exec sleep infinity"))
    lines = yard.log_says("web", "ps -o").splitlines()
    assert lines[0] == "1"
    assert [line.split()[0] for line in lines[2:]] == ["1", lines[-1].split()[0]]
    assert yard.exec("web", "cat", "/proc/1/cmdline") == "sleep\0infinity\0"
    listed = yard.exec("web", "ps", "-o", "args").splitlines()
    assert listed == ["COMMAND", "sleep infinity", "ps -o args"]
    numbers = yard.sh("web", "echo /proc/[0-9]*").split()
    assert len(numbers) == 2
    assert status_field(Path(f"/proc/{yard.pid('web')}/status").read_text(), "NSpid").split()[1] == "1"


def test_every_namespace_is_its_own(yard: Yard) -> None:
    yard.run("web")
    for kind in ("pid", "mnt", "uts", "ipc", "net", "cgroup"):
        inside = yard.exec("web", "readlink", f"/proc/self/ns/{kind}").strip()
        assert inside != os.readlink(f"/proc/self/ns/{kind}"), kind
        assert inside == os.readlink(f"/proc/{yard.pid('web')}/ns/{kind}"), f"exec enters {kind}"


@pytest.mark.parametrize(
    ("spec", "hostname"), [({}, "web"), ({"hostname": "other"}, "other")], ids=["of the pod", "of the spec"]
)
def test_the_hostname_is_its_own(yard: Yard, spec: dict[str, str], hostname: str) -> None:
    before = os.uname().nodename
    yard.run("web", **spec)
    assert yard.sh("web", "hostname; cat /etc/hostname; cat /proc/sys/kernel/hostname") == f"{hostname}\n" * 3
    hosts = yard.exec("web", "cat", "/etc/hosts")
    assert f"127.0.0.1\t{hostname}\n" in hosts
    assert "127.0.0.1\tlocalhost\n" in hosts
    assert os.uname().nodename == before


def test_loopback_is_up_and_alone(yard: Yard) -> None:
    yard.run("web")
    assert yard.exec("web", "ls", "/sys/class/net").split() == ["lo"]
    links = yard.exec("web", "ip", "-o", "link")
    assert links.startswith("1: lo: <LOOPBACK,UP,LOWER_UP>")
    assert len(links.splitlines()) == 1
    ask = "until nc 127.0.0.1 7 </dev/null 2>/dev/null; do sleep 0.02; done"
    assert yard.sh("web", f"nc -l -p 7 </etc/hostname & {ask}") == "web\n"


def test_only_its_own_mounts_are_seen_and_none_comes_to_the_machine(yard: Yard) -> None:
    before = Path("/proc/self/mountinfo").read_text().splitlines()
    yard.run("web")
    points = [line.split()[4] for line in yard.exec("web", "cat", "/proc/self/mountinfo").splitlines()]
    assert points[0] == "/"
    allowed = ("/proc", "/dev", "/sys", "/etc/hosts", "/etc/hostname", "/etc/resolv.conf")
    assert [point for point in points[1:] if not point.startswith(allowed)] == []
    assert {"/proc", "/dev", "/dev/pts", "/dev/shm", "/sys", "/etc/hosts", "/etc/hostname"} <= set(points)
    new = [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if line not in before]
    ours = [line.split()[4] for line in new if str(yard.node.root) in line]
    run = yard.node.paths.pod_run(yard.uid("web"))
    pins = {str(run / "ns" / kind) for kind in ("net", "ipc", "uts")} | {str(run / "shm")}
    assert set(ours) == pins, "only the pod's pins are mounted on the machine"
    yard.sh("web", "mkdir /tmp/m; mount -t tmpfs none /tmp/m && exit 1; true")


def test_the_root_is_pivoted_and_has_no_way_out(yard: Yard) -> None:
    yard.run("web")
    assert yard.sh("web", "cd /; cd ../../..; ls").split() == sorted(
        ["bin", "dev", "etc", "proc", "root", "sbin", "sys", "tmp", "usr", "var"]
    )
    assert yard.exec("web", "cat", "/proc/1/mountinfo").count(" / / ") == 1, "the old root is not mounted any more"
    machine = os.stat("/")
    assert yard.exec("web", "stat", "-c", "%d:%i", "/").strip() != f"{machine.st_dev}:{machine.st_ino}"


def test_devices_are_the_harmless_few(yard: Yard) -> None:
    yard.run("web")
    names = set(yard.exec("web", "ls", "/dev").split())
    assert names >= {"null", "zero", "full", "random", "urandom", "tty", "ptmx", "pts", "shm", "fd", "stdin", "stdout"}
    assert names - {"console", "core", "mqueue", "stderr"} <= {
        *("null", "zero", "full", "random", "urandom", "tty", "ptmx", "pts", "shm", "fd", "stdin", "stdout")
    }
    assert yard.sh("web", "echo x >/dev/null; head -c3 /dev/zero | wc -c; head -c9 /dev/urandom | wc -c") == "3\n9\n"
    # The node may be made (mknod is in the default set), but not used: the device cgroup.
    script = "mknod /tmp/mem c 1 1; head -c1 /tmp/mem 2>&1; mknod /tmp/disk b 8 0; head -c1 /tmp/disk 2>&1; true"
    assert yard.sh("web", script).count("Operation not permitted") == 2


def test_capabilities_are_dockers_default_set(yard: Yard) -> None:
    yard.run("web", yard.container("cat /proc/self/status; exec sleep infinity"))
    for text in (yard.log_says("web", "Seccomp"), yard.exec("web", "cat", "/proc/self/status")):
        for which in ("CapPrm", "CapEff", "CapBnd"):
            assert int(status_field(text, which), 16) == DOCKER_DEFAULT, which
        for which in ("CapInh", "CapAmb"):
            assert int(status_field(text, which), 16) == 0, which


def test_capabilities_are_added_and_dropped_as_the_spec_says(yard: Yard) -> None:
    none = {"capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}, "allowPrivilegeEscalation": False}
    yard.run("web", yard.container(securityContext=none))
    text = yard.exec("web", "cat", "/proc/1/status")
    assert int(status_field(text, "CapEff"), 16) == 1 << 10
    assert status_field(text, "NoNewPrivs") == "1"


def test_no_descriptor_and_no_variable_of_the_machine_gets_in(yard: Yard) -> None:
    yard.run("web", yard.container("ls -l /proc/self/fd; env; exec sleep infinity"))
    log = yard.log_says("web", "PATH=")
    shown = [line.split(" -> ")[0].split()[-1] for line in log.splitlines() if " -> " in line]
    assert shown == ["0", "1", "2"]
    names = {line.partition("=")[0] for line in log.splitlines() if "=" in line and " -> " not in line}
    assert names <= {"PATH", "HOSTNAME", "HOME", "SHLVL", "PWD", "TERM"}
    inside = yard.sh("web", "for fd in /proc/1/fd/*; do readlink $fd; done").splitlines()
    assert inside[0] == "/dev/null"
    assert all(one.startswith("pipe:") for one in inside[1:])
    assert len(inside) == 3
    entered = yard.sh("web", "for fd in /proc/self/fd/*; do readlink $fd; done; env").splitlines()
    assert not [line for line in entered if str(yard.node.root) in line or "MINIKUBE" in line]


def test_proc_and_sys_take_no_writes_and_hide_what_is_the_machines(yard: Yard) -> None:
    yard.run("web")
    refused = yard.sh(
        "web", "for f in /proc/sys/kernel/panic /sys/power/state /sys/fs/cgroup/x; do echo x >$f; done 2>&1; true"
    )
    assert refused.count("Read-only file system") + refused.count("nonexistent") + refused.count("No such") == 3
    assert "Read-only file system" in refused
    assert yard.sh("web", "ls -A /sys/firmware 2>/dev/null; cat /proc/keys 2>/dev/null | wc -c") == "0\n"


def test_containers_of_a_pod_share_localhost_shm_name_and_hosts(yard: Yard) -> None:
    yard.run("web", yard.container(name="one"), yard.container(name="two"))
    yard.sh("web", "echo shared >/dev/shm/x; echo '10.0.0.1 db' >>/etc/hosts; echo mine >/tmp/x", "one")
    assert (
        yard.sh("web", "cat /dev/shm/x; tail -n1 /etc/hosts; hostname; ls /tmp", "two") == "shared\n10.0.0.1 db\nweb\n"
    )
    yard.sh("web", "(echo over localhost | nc -l -p 8080) >/dev/null 2>&1 &", "one")
    ask = "until nc 127.0.0.1 8080 </dev/null 2>/dev/null; do sleep 0.02; done"
    assert yard.sh("web", ask, "two") == "over localhost\n"
    for kind, same in {"net": True, "ipc": True, "uts": True, "mnt": False, "pid": False, "cgroup": False}.items():
        links = {os.readlink(f"/proc/{yard.pid('web', name)}/ns/{kind}") for name in ("one", "two")}
        assert len(links) == (1 if same else 2), kind


def test_two_pods_share_nothing(yard: Yard) -> None:
    yard.put("left")
    yard.put("right")
    for name in ("left", "right"):
        yard.node.wait_phase(name, "Running")
    for kind in ("net", "ipc", "uts", "mnt", "pid", "cgroup"):
        assert len({os.readlink(f"/proc/{yard.pid(name)}/ns/{kind}") for name in ("left", "right")}) == 2, kind
    yard.sh("left", "touch /dev/shm/x /tmp/x")
    assert yard.sh("right", "ls /dev/shm /tmp") == "/dev/shm:\n\n/tmp:\n"


@pytest.mark.parametrize(
    ("field", "shared"),
    [("hostNetwork", {"net", "uts"}), ("hostPID", {"pid"}), ("hostIPC", {"ipc"})],
)
def test_a_namespace_of_the_machine_is_joined_where_the_spec_says_so(yard: Yard, field: str, shared: set[str]) -> None:
    yard.run("web", **{field: True})
    pid = yard.pid("web")
    same = {
        kind
        for kind in ("net", "uts", "pid", "ipc", "mnt", "cgroup")
        if os.readlink(f"/proc/{pid}/ns/{kind}") == os.readlink(f"/proc/self/ns/{kind}")
    }
    assert same == shared
    if field == "hostNetwork":
        assert set(yard.exec("web", "ls", "/sys/class/net").split()) == set(os.listdir("/sys/class/net"))
        assert yard.exec("web", "hostname").strip() == os.uname().nodename
    if field == "hostPID":
        assert yard.exec("web", "cat", f"/proc/{yard.node.pid}/comm") == Path(f"/proc/{yard.node.pid}/comm").read_text()
        assert yard.sh("web", f"test -d /proc/{pid} && echo yes") == "yes\n"
        assert Path(f"/proc/{os.getpid()}").exists()


def test_with_host_pid_everything_of_the_container_dies_with_it(yard: Yard) -> None:
    """No PID namespace takes them along: only the cgroup knows them all."""
    yard.run("web", yard.container("setsid sleep 4321 & setsid sleep 4321 & exec sleep infinity"), hostPID=True)
    procs = yard.controller("pids", "web") / "cgroup.procs"
    pids = [int(pid) for pid in procs.read_text().split()]
    assert len(pids) == 3
    yard.remove("web")
    assert [pid for pid in pids if alive(pid)] == []


def test_a_shared_process_namespace_has_a_process_1_that_reaps(yard: Yard) -> None:
    orphan = "(sleep 0.01 & ) ; (sleep 0.01 &) ; exec sleep infinity"
    yard.run("web", yard.container(orphan, "one"), yard.container(name="two"), shareProcessNamespace=True)
    shown = yard.exec("web", "ps", "-o", "pid,args", container="two")
    assert shown.count("sleep infinity") == 3, "the pause process and both containers"
    first = yard.exec("web", "cat", "/proc/1/cmdline", container="two").split("\0")
    assert first[0].endswith("sleep"), "process 1 is no container of the user's"
    assert len({os.readlink(f"/proc/{yard.pid('web', name)}/ns/pid") for name in ("one", "two")}) == 1
    yard.sh("web", "(sleep 0.01 &) ; sleep 0.2", "two")
    yard.node.wait_until(
        lambda: (
            "Z"
            not in [
                line.split()[0][0] for line in yard.exec("web", "ps", "-o", "stat", container="one").splitlines()[1:]
            ]
        ),
        "every orphan was reaped",
    )


def test_a_pod_recovers_from_the_death_of_its_process_1(yard: Yard) -> None:
    yard.run("web", yard.container(name="one"), yard.container(name="two"), shareProcessNamespace=True)
    uid, before = yard.uid("web"), {name: yard.pid("web", name) for name in ("one", "two")}
    line = Path(f"/proc/{before['one']}/ns/pid")
    namespace = os.readlink(line)
    found = [
        int(entry.name)
        for entry in Path("/proc").glob("[0-9]*")
        if _namespace(entry) == namespace and status_field((entry / "status").read_text(), "NSpid").split()[-1] == "1"
    ]
    os.kill(found[0], signal.SIGKILL)
    for name in before:
        yard.wait_restarts("web", 1, name)
    assert yard.uid("web") == uid
    assert not [pid for pid in before.values() if alive(pid)]
    assert yard.exec("web", "ps", "-o", "args", container="one").count("sleep infinity") == 3
    assert {yard.restarts("web", name) for name in before} == {1}


def _namespace(entry: Path) -> str:
    try:
        return os.readlink(entry / "ns/pid")
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return ""


def test_the_given_directory_is_never_written_to(yard: Yard) -> None:
    before = _fingerprint(yard.rootfs)
    yard.run(
        "web", yard.container("rm -r /bin/vi /var /etc/passwd; echo x >/etc/group; touch /new; exec sleep infinity")
    )
    yard.node.wait_until(lambda: "new" in yard.exec("web", "ls", "/"), "the container has written")
    assert "var" not in yard.exec("web", "ls", "/").split()
    assert _fingerprint(yard.rootfs) == before
    yard.put("other")
    yard.node.wait_phase("other", "Running")
    assert "new" not in yard.exec("other", "ls", "/").split()
    yard.remove("web")
    assert _fingerprint(yard.rootfs) == before


def _fingerprint(directory: Path) -> str:
    """Of every name, kind, mode, owner, size and time of change below."""
    seen = hashlib.sha256()
    for path in sorted([directory, *directory.rglob("*")]):
        st = path.lstat()
        seen.update(repr((str(path), st.st_mode, st.st_uid, st.st_size, st.st_mtime_ns, st.st_ctime_ns)).encode())
    return seen.hexdigest()


@pytest.mark.parametrize("packing", ["w", "w:gz", "w:xz"])
def test_an_archive_of_a_root_is_an_image(yard: Yard, packing: str) -> None:
    archive = yard.node.root / "image.tar"
    with tarfile.open(archive, packing) as tar:  # type: ignore[call-overload]
        tar.add(yard.rootfs, ".")
        note = tarfile.TarInfo("note")
        tar.addfile(note)
    yard.run("web", yard.container(image=str(archive)))
    assert "note" in yard.exec("web", "ls", "/").split()


def test_a_relative_image_starts_at_the_manifests_directory(yard: Yard) -> None:
    (yard.node.root / "images").mkdir()
    (yard.node.root / "images/box").symlink_to(yard.rootfs)
    yard.run("web", yard.container(image="../images/box"))
    assert yard.exec("web", "readlink", "/proc/1/exe") == "/bin/busybox\n"


def test_apply_makes_a_relative_image_absolute(yard: Yard, tmp_path: Path) -> None:
    """It is copied into the node's directory; `./box` means the one beside the file that was applied."""
    (tmp_path / "box").symlink_to(yard.rootfs)
    text = "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec:\n  containers:\n  - name: app\n    image: ./box\n"
    (tmp_path / "web.yaml").write_text(text + "    command: [sleep, infinity]\n  terminationGracePeriodSeconds: 0\n")
    yard.node.cli("apply", "-f", str(tmp_path / "web.yaml"), "--wait")
    assert yard.exec("web", "readlink", "/proc/1/exe") == "/bin/busybox\n"
    again = yard.node.cli("apply", "-f", str(tmp_path / "web.yaml"))
    assert again.stdout == "pod/web unchanged\n"


def test_the_built_in_image_shows_programs_and_no_secrets(yard: Yard) -> None:
    yard.run("web", yard.container("id; exec sleep infinity", image="host"))
    assert yard.log_says("web", "uid=").startswith("uid=0(root)")
    assert yard.sh("web", "ls /home /root /srv /mnt 2>/dev/null | grep -v : | xargs") == "\n"
    assert yard.sh("web", "test -e /etc/shadow || test -e /etc/ssh && echo there; true") == ""
    refused = yard.sh("web", "touch /usr/x 2>&1; true")
    assert "Read-only file system" in refused
    yard.sh("web", "touch /tmp/x /etc/x /root/x")
    assert not Path("/etc/x").exists()


ENV = [
    {"name": "WHO", "value": "world"},
    {"name": "GREETING", "value": "hello $(WHO)"},
    {"name": "LATER", "value": "$(AFTER)"},
    {"name": "AFTER", "value": "x"},
    {"name": "ESCAPED", "value": "$$(WHO)"},
    {"name": "EMPTY"},
]


def test_env_is_expanded_as_kubernetes_does_it(yard: Yard) -> None:
    script = 'echo "$GREETING|$LATER|$ESCAPED|$EMPTY|$(WHO)|$(NOBODY)"; exec sleep infinity'
    yard.run("web", yard.container(script.replace("$(NOBODY)", "$$(echo shell)"), env=ENV))
    assert yard.log_says("web", "hello") == "hello world|$(AFTER)|$(WHO)||world|shell\n"
    assert "GREETING=hello world\n" in yard.exec("web", "env")


@pytest.mark.parametrize(
    ("fields", "cmdline"),
    [
        ({"command": ["sleep", "infinity"]}, "sleep infinity "),
        ({"command": ["sleep"], "args": ["100d", "$(X)d"], "env": [{"name": "X", "value": "7"}]}, "sleep 100d 7d "),
        ({"command": [], "args": ["sleep", "9d"]}, "sleep 9d "),
        ({"command": ["/bin/sleep", "9d"]}, "/bin/sleep 9d "),
        ({"command": ["./sleep", "9d"], "workingDir": "/bin"}, "./sleep 9d "),
    ],
    ids=["command", "command and args", "args", "absolute", "relative to workingDir"],
)
def test_the_command_is_found_and_given_its_arguments(yard: Yard, fields: dict[str, object], cmdline: str) -> None:
    container = {**yard.container(), **fields}
    yard.run("web", {name: value for name, value in container.items() if value != []})
    assert yard.exec("web", "cat", "/proc/1/cmdline").replace("\0", " ") == cmdline


def test_the_working_directory_is_made_and_entered(yard: Yard) -> None:
    yard.run("web", yard.container("pwd; exec sleep infinity", workingDir="/srv/data"))
    assert yard.log_says("web", "/") == "/srv/data\n"
    assert yard.exec("web", "pwd") == "/srv/data\n"


def test_the_user_is_the_one_of_the_spec(yard: Yard) -> None:
    yard.run("web", yard.container("id; exec sleep infinity"), securityContext={"runAsUser": 1000, "runAsGroup": 1000})
    assert yard.log_says("web", "uid=").startswith("uid=1000(user) gid=1000(user)")
    assert int(status_field(yard.exec("web", "cat", "/proc/self/status"), "CapEff"), 16) == 0
