"""Whom a container runs as and what it may do, asked from inside of it: /proc/self/status, and trying it."""

from __future__ import annotations

import json
import os
import shutil
import stat
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.yard import Json, Yard

pytestmark = pytest.mark.root

PYTHON = "/usr/bin/python3"
EPERM, ENOSYS = 1, 38
DISABLED, FILTER = "0", "2"
"""`Seccomp:` of proc_pid_status(5)."""

ASK = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
for line in sys.argv[1:]:
    number, *arguments = map(int, line.split())
    ctypes.set_errno(0)
    result = libc.syscall(number, *map(ctypes.c_ulong, arguments))
    print(ctypes.get_errno() if result < 0 else 0)
"""
"""Makes system calls given as numbers; prints the errno of each, 0 for none."""


def system_calls() -> dict[str, int]:
    """Numbers on this machine (<asm/unistd.h>)."""
    arm = os.uname().machine == "aarch64"
    return {
        name: numbers[arm]
        for name, numbers in {
            "socket": (41, 198),
            "personality": (135, 92),
            "clone": (56, 220),
            "mount": (165, 40),
            "unshare": (272, 97),
            "add_key": (248, 217),
            "keyctl": (250, 219),
            "bpf": (321, 280),
            "clone3": (435, 435),
            "io_uring_setup": (425, 425),
            "getpid": (39, 172),
            "nothing": (5000, 5000),
        }.items()
    }


def asker(name: str = "app", **security: Any) -> Json:
    """A container that can be asked to make system calls: of the machine's own programs."""
    context = {"securityContext": security} if security else {}
    return {"name": name, "image": "host", "command": ["sleep", "infinity"], **context}


def answers(yard: Yard, pod: str, *calls: str, container: str = "app") -> list[int]:
    """The errno of each call: a name of `system_calls`, and its arguments."""
    numbers = system_calls()
    lines = [f"{numbers[call.split()[0]]} {call.partition(' ')[2]}" for call in calls]
    return list(map(int, yard.exec(pod, PYTHON, "-c", ASK, *lines, container=container).split()))


def status(yard: Yard, pod: str, container: str = "app") -> dict[str, str]:
    """/proc/1/status and, which has to be the same in these, that of a further process in the container."""
    fields = ("Uid", "Gid", "Groups", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp")
    first, further = (
        {name: " ".join(value.split()) for name, _, value in (line.partition(":") for line in text.splitlines())}
        for text in (yard.exec(pod, "cat", f"/proc/{which}/status", container=container) for which in ("1", "self"))
    )
    first, further = ({name: found[name] for name in fields} for found in (first, further))
    assert first == further
    return first


needs_python = pytest.mark.skipif(not Path(PYTHON).exists(), reason=f"there is no {PYTHON} to make system calls with")


# -- seccomp ---------------------------------------------------------------------------------------------------------


def test_a_container_that_says_nothing_has_the_default_profile(yard: Yard) -> None:
    yard.run("web")
    assert status(yard, "web")["Seccomp"] == FILTER
    assert (
        yard.sh("web", "unshare -U true 2>&1; echo $?") == "unshare: unshare(0x10000000): Operation not permitted\n1\n"
    )
    profile = json.loads((yard.bundle("web") / "config.json").read_text())["linux"]["seccomp"]
    assert profile["defaultAction"] == "SCMP_ACT_ERRNO"


FORBIDDEN = {
    "keyctl 0 0 0": "keys belong to no namespace",
    "add_key 0 0 0 0 0": "keys belong to no namespace",
    "mount 0 0 0 0 0": "needs CAP_SYS_ADMIN",
    "bpf 0 0 0": "needs CAP_BPF or CAP_SYS_ADMIN",
    "unshare 0": "needs CAP_SYS_ADMIN, whatever the flags",
    "io_uring_setup 1 0": "gets past what rules system calls",
    "socket 38 5 0": "AF_ALG",
    "socket 40 1 0": "AF_VSOCK",
    f"clone {0x10000000 | 17} 0 0 0 0": "CLONE_NEWUSER",
    f"clone {0x20000000 | 17} 0 0 0 0": "CLONE_NEWPID",
    f"personality {0x0040000}": "ADDR_NO_RANDOMIZE",
}
ALLOWED = ["socket 1 1 0", "socket 2 1 0", "socket 16 3 0", f"personality {0xFFFFFFFF}", "personality 0", "getpid"]


@needs_python
def test_the_default_profile_looks_at_calls_and_their_arguments(yard: Yard) -> None:
    yard.run("web", asker())
    assert dict(zip(FORBIDDEN, answers(yard, "web", *FORBIDDEN), strict=True)) == dict.fromkeys(FORBIDDEN, EPERM)
    assert dict(zip(ALLOWED, answers(yard, "web", *ALLOWED), strict=True)) == dict.fromkeys(ALLOWED, 0)


@needs_python
def test_calls_that_a_libc_tries_first_are_not_there_rather_than_forbidden(yard: Yard) -> None:
    yard.run("web", asker())
    assert answers(yard, "web", "clone3 0 0", "nothing") == [ENOSYS, ENOSYS]


@needs_python
def test_a_capability_opens_the_calls_that_need_it(yard: Yard) -> None:
    yard.run("web", asker(capabilities={"add": ["SYS_ADMIN"]}))
    before = answers(yard, "web", "unshare 0", "keyctl 0 0 0")
    assert before == [0, EPERM]
    assert status(yard, "web")["Seccomp"] == FILTER


@needs_python
@pytest.mark.parametrize("place", ["pod", "container"])
def test_unconfined_forbids_nothing(yard: Yard, place: str) -> None:
    unconfined = {"seccompProfile": {"type": "Unconfined"}}
    if place == "pod":
        yard.run("web", asker(), securityContext=unconfined)
    else:
        strict = {"seccompProfile": {"type": "RuntimeDefault"}}
        yard.run("web", asker(**unconfined), asker("other"), securityContext=strict)
        assert status(yard, "web", "other")["Seccomp"] == FILTER, "the container's word is its own"
    assert status(yard, "web")["Seccomp"] == DISABLED
    assert answers(yard, "web", "unshare 0", "socket 38 5 0")[0] == 0


def test_a_localhost_profile_is_read_from_the_node_s_directory(yard: Yard) -> None:
    write_profile(yard, "no-mkdir.json", {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28})
    profile = {"type": "Localhost", "localhostProfile": "no-mkdir.json"}
    yard.run("web", yard.container(securityContext={"seccompProfile": profile}))
    assert status(yard, "web")["Seccomp"] == FILTER
    assert "No space left on device" in yard.sh("web", "mkdir /tmp/a 2>&1; true")
    assert yard.sh("web", "unshare -U true && echo made") == "made\n", "the profile allows all else"


def test_a_localhost_profile_holds_with_and_without_no_new_privs_and_for_users(yard: Yard) -> None:
    write_profile(yard, "no-mkdir.json", {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28})
    profile = {"seccompProfile": {"type": "Localhost", "localhostProfile": "no-mkdir.json"}}
    user = {"runAsUser": 1000, "runAsGroup": 1000}
    yard.run(
        "web",
        yard.container(securityContext={"allowPrivilegeEscalation": False}),
        yard.container(name="user", securityContext=user),
        yard.container(name="both", securityContext={"allowPrivilegeEscalation": False, **user}),
        securityContext=profile,
    )
    for name in ("app", "user", "both"):
        assert "No space left on device" in yard.sh("web", "mkdir /tmp/a 2>&1; true", container=name)
        seen = status(yard, "web", name)
        assert seen["Seccomp"] == FILTER
        assert seen["NoNewPrivs"] == ("0" if name == "user" else "1")
        assert seen["CapEff"] == ("0000000000000000" if name != "app" else seen["CapBnd"])


def test_a_profile_that_is_missing_holds_the_container_back_until_it_is_there(yard: Yard) -> None:
    profile = {"type": "Localhost", "localhostProfile": "deep/late.json"}
    yard.put("web", yard.container(securityContext={"seccompProfile": profile}))
    state = yard.wait_state("web", "waiting", "CreateContainerError")
    path = yard.node.paths.seccomp_profiles / "deep/late.json"
    assert state["message"] == f'cannot load seccomp profile "{path}": No such file or directory'
    write_profile(yard, "deep/late.json")
    yard.node.wait_phase("web", "Running")
    assert status(yard, "web")["Seccomp"] == FILTER


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "it is not JSON: "),
        ("[]", "it is not a JSON object"),
        ('{"defaultAction": "ALLOW"}', "defaultAction: 'ALLOW' is none of SCMP_ACT_KILL, "),
        (
            '{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["read"], "action": "no"}]}',
            "syscalls[0].action: 'no' is none of ",
        ),
    ],
)
def test_a_profile_that_is_wrong_says_where(yard: Yard, text: str, words: str) -> None:
    write_profile(yard, "wrong.json")
    (yard.node.paths.seccomp_profiles / "wrong.json").write_text(text)
    profile = {"type": "Localhost", "localhostProfile": "wrong.json"}
    yard.put("web", yard.container(securityContext={"seccompProfile": profile}))
    assert words in yard.wait_state("web", "waiting", "CreateContainerError")["message"]


def write_profile(yard: Yard, name: str, *rules: Json) -> None:
    """A profile that allows what no rule forbids."""
    path = yard.node.paths.seccomp_profiles / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules}))


# -- sysctls ---------------------------------------------------------------------------------------------------------


def test_safe_sysctls_are_the_pod_s_own(yard: Yard) -> None:
    before = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text()
    sysctls = [
        {"name": "net.ipv4.ip_local_port_range", "value": "2000 3000"},
        {"name": "kernel/shm_rmid_forced", "value": "1"},
    ]
    yard.run("web", securityContext={"sysctls": sysctls})
    asked = yard.sh("web", "cd /proc/sys; cat net/ipv4/ip_local_port_range kernel/shm_rmid_forced")
    assert asked.split() == ["2000", "3000", "1"]
    assert Path("/proc/sys/net/ipv4/ip_local_port_range").read_text() == before


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("kernel.msgmax", "hint: minikube-lite run --allowed-unsafe-sysctls kernel.msgmax"),
        ("vm.swappiness", "it is the whole machine's: set it there, with sysctl(8)"),
    ],
)
def test_an_unsafe_sysctl_is_forbidden(yard: Yard, name: str, hint: str) -> None:
    before = Path(f"/proc/sys/{name.replace('.', '/')}").read_text()
    yard.put("web", securityContext={"sysctls": [{"name": name, "value": "1"}]})
    event = yard.wait_event("web", "SysctlForbidden")
    assert event["message"] == f'forbidden sysctl: "{name}" not allowlisted ({hint})'
    assert yard.wait_state("web", "waiting", "SysctlForbidden")["message"] == event["message"]
    assert Path(f"/proc/sys/{name.replace('.', '/')}").read_text() == before


# -- who it is -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def peopled(tmp_path_factory: pytest.TempPathFactory, rootfs: Path) -> Path:
    """The busybox root with accounts in it: app (1000:1001), a member of log (4) and adm (27)."""
    root = tmp_path_factory.mktemp("peopled")
    shutil.copytree(rootfs, root, symlinks=True, dirs_exist_ok=True)
    (root / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\napp:x:1000:1001::/srv:/bin/sh\n")
    (root / "etc/group").write_text("root:x:0:\nlog:x:4:app\nadm:x:27:x,app\napps:x:1001:\n")
    return root


WHO = [
    # (pod's securityContext, container's, Uid, Gid, Groups)
    ({}, {}, "0", "0", "0"),
    ({"runAsUser": 77}, {}, "77", "0", "0"),
    ({"runAsUser": 1000}, {}, "1000", "1001", "4 27 1001"),
    ({"runAsUser": 1000, "runAsGroup": 5}, {}, "1000", "5", "4 5 27"),
    ({"runAsUser": 77, "runAsGroup": 5}, {"runAsUser": 1000}, "1000", "5", "4 5 27"),
    ({"runAsUser": 1000}, {"runAsUser": 77, "runAsGroup": 8}, "77", "8", "8"),
    ({"runAsUser": 77, "supplementalGroups": [9, 8], "fsGroup": 10}, {}, "77", "0", "0 8 9 10"),
    (
        {"runAsUser": 1000, "supplementalGroups": [9], "supplementalGroupsPolicy": "Merge"},
        {},
        "1000",
        "1001",
        "4 9 27 1001",
    ),
    (
        {"runAsUser": 1000, "supplementalGroups": [9], "supplementalGroupsPolicy": "Strict"},
        {},
        "1000",
        "1001",
        "9 1001",
    ),
    ({"runAsNonRoot": True, "runAsUser": 1000}, {}, "1000", "1001", "4 27 1001"),
]


@pytest.mark.parametrize(("shared", "own", "uid", "gid", "groups"), WHO)
def test_whom_it_runs_as(yard: Yard, peopled: Path, shared: Json, own: Json, uid: str, gid: str, groups: str) -> None:
    container = yard.container(securityContext=own) | {"image": str(peopled)}
    yard.run("web", container, securityContext=shared)
    seen = status(yard, "web")
    assert seen["Uid"] == " ".join([uid] * 4)
    assert seen["Gid"] == " ".join([gid] * 4)
    assert seen["Groups"] == groups
    if uid != "0":
        assert {seen[kind] for kind in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == {"0" * 16}
        assert seen["CapBnd"] == "00000000a80425fb"


@pytest.mark.parametrize(("shared", "own"), [({"runAsNonRoot": True}, {}), ({}, {"runAsNonRoot": True})])
def test_root_does_not_run_where_it_must_not(yard: Yard, shared: Json, own: Json) -> None:
    yard.put("web", yard.container(securityContext=own), securityContext=shared)
    state = yard.wait_state("web", "waiting", "CreateContainerConfigError")
    where = f'(pod: "web_default({yard.uid("web")})", container: app)'
    assert state["message"] == f"container has runAsNonRoot and image will run as root {where}"
    assert yard.status("web")["restartCount"] == 0


# -- what it may do --------------------------------------------------------------------------------------------------

NET_ADMIN, SYS_TIME, KILL = 1 << 12, 1 << 25, 1 << 5
DEFAULT = 0xA80425FB
CAPABILITIES = [
    ({}, DEFAULT),
    ({"add": ["NET_ADMIN"]}, DEFAULT | NET_ADMIN),
    ({"add": ["cap_net_admin", "Sys_Time"]}, DEFAULT | NET_ADMIN | SYS_TIME),
    ({"drop": ["KILL"]}, DEFAULT & ~KILL),
    ({"drop": ["all"]}, 0),
    ({"drop": ["ALL"], "add": ["KILL"]}, KILL),
    ({"add": ["ALL"], "drop": ["NET_ADMIN"]}, None),
]


def own_capabilities() -> int:
    """What there is to hand on: what this process has itself."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("CapPrm:")).split()[1], 16)


@pytest.mark.parametrize(("capabilities", "expected"), CAPABILITIES)
def test_capabilities(yard: Yard, capabilities: Json, expected: int | None) -> None:
    yard.run("web", yard.container(securityContext={"capabilities": capabilities}))
    seen = status(yard, "web")
    wanted = own_capabilities() & (~NET_ADMIN if expected is None else expected)
    assert {kind: int(seen[kind], 16) for kind in ("CapPrm", "CapEff", "CapBnd", "CapInh", "CapAmb")} == {
        **dict.fromkeys(("CapPrm", "CapEff", "CapBnd"), wanted),
        **dict.fromkeys(("CapInh", "CapAmb"), 0),
    }


def test_privilege_escalation_can_be_ruled_out(yard: Yard) -> None:
    yard.run(
        "web",
        yard.container(securityContext={"allowPrivilegeEscalation": False}),
        yard.container(name="may", securityContext={"allowPrivilegeEscalation": True}),
        yard.container(name="silent"),
    )
    assert [status(yard, "web", name)["NoNewPrivs"] for name in ("app", "may", "silent")] == ["1", "0", "0"]


def test_no_new_privs_keeps_a_setuid_program_from_becoming_root(yard: Yard, peopled: Path) -> None:
    shutil.copy2(peopled / "bin/busybox", peopled / "bin/setuid-cat")
    (peopled / "bin/setuid-cat").chmod(0o4755)
    context = {"runAsUser": 1000}
    yard.run(
        "web",
        yard.container(securityContext=context | {"allowPrivilegeEscalation": False}) | {"image": str(peopled)},
        yard.container(name="may", securityContext=context) | {"image": str(peopled)},
    )
    # busybox lets go of the right itself, but for applets that need it: `su` without a terminal says who it is first.
    ask = "(exec -a su /bin/setuid-cat -c id) 2>&1 </dev/null; true"
    assert "must be suid" in yard.sh("web", ask)
    assert "must be suid" not in yard.sh("web", ask, container="may")


def test_a_read_only_root_is_read_only_but_for_what_is_mounted(yard: Yard) -> None:
    yard.run("web", yard.container(securityContext={"readOnlyRootFilesystem": True}))
    assert "Read-only file system" in yard.sh("web", "touch /tmp/a 2>&1; true")
    assert yard.sh("web", "touch /dev/shm/a && echo made") == "made\n"


# -- privileged ------------------------------------------------------------------------------------------------------


def test_a_privileged_container_has_every_right_and_sees_everything(yard: Yard) -> None:
    yard.run(
        "web",
        yard.container(securityContext={"privileged": True}),
        yard.container(name="plain"),
    )
    seen = status(yard, "web")
    assert {int(seen[kind], 16) for kind in ("CapPrm", "CapEff", "CapBnd")} == {own_capabilities()}
    assert seen["Seccomp"] == DISABLED
    assert yard.sh("web", 'mkdir /tmp/m && mount -t tmpfs none /tmp/m && grep -c " /tmp/m " /proc/mounts') == "1\n"
    options = yard.sh("web", "grep ' /sys sysfs ' /proc/mounts").split()[3]
    assert options.split(",")[0] == "rw"
    assert yard.sh("web", "grep -c '^proc /proc/' /proc/mounts; true") == "0\n", "nothing of /proc is read-only"
    assert int(yard.sh("web", "wc -l </proc/timer_list")) > 0
    assert yard.sh("web", "wc -l </proc/timer_list", container="plain").strip() == "0"


def test_a_privileged_container_has_the_machine_s_devices_and_may_use_them(yard: Yard) -> None:
    yard.run("web", yard.container(securityContext={"privileged": True}), yard.container(name="plain"))
    own = {
        f"{path.relative_to('/dev')} {os.major(found.st_rdev)}:{os.minor(found.st_rdev)}"
        for path in Path("/dev").iterdir()
        for found in [path.lstat()]
        if stat.S_ISCHR(found.st_mode) or stat.S_ISBLK(found.st_mode)
    }
    script = "cd /dev; for n in *; do test -L $n || test -d $n || echo $n $(stat -c %t:%T $n); done"
    listed = [line.split() for line in yard.sh("web", script).splitlines()]
    inside = {f"{name} {':'.join(str(int(part, 16)) for part in device.split(':'))}" for name, device in listed}
    own -= {item for item in own if item.split()[0] in ("console", "ptmx")}
    assert own <= inside
    assert yard.sh("web", "head -c 0 /dev/kmsg && echo opened") == "opened\n"
    plain = yard.sh("web", "mknod /tmp/kmsg c 1 11; head -c 0 /tmp/kmsg 2>&1; true", container="plain")
    assert "Operation not permitted" in plain
    assert yard.events("web") == [event for event in yard.events("web") if event["reason"] != "NotEnforced"]
