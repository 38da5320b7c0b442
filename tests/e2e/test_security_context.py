"""Whom a container runs as and what it may do, asked from inside of it: /proc/self/status, and trying it."""

from __future__ import annotations

import json
import os
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
