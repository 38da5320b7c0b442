"""Which system calls a profile allows: the default one by capabilities, and what is read from a file."""

from __future__ import annotations

import json
from typing import Any

import pytest

from minikube_lite.core import oci, oci_defaults, seccomp, seccomp_default
from minikube_lite.spec.rights import CAPABILITIES
from tests.core.healthy import container, pod

DEFAULT = frozenset(oci_defaults.DEFAULT_CAPABILITIES)


def allowed(profile: dict[str, Any]) -> set[str]:
    """The calls that are allowed whatever their arguments."""
    rules = [rule for rule in profile["syscalls"] if rule["action"] == "SCMP_ACT_ALLOW" and not rule.get("args")]
    return {name for rule in rules for name in rule["names"]}


def test_what_is_not_allowed_is_not_permitted() -> None:
    profile = seccomp.runtime_default(DEFAULT, "x86_64")
    assert (profile["defaultAction"], profile["defaultErrnoRet"]) == ("SCMP_ACT_ERRNO", 1)


# Calls that Docker's list is known for leaving out (https://docs.docker.com/engine/security/seccomp/).
SIGNIFICANT = """
acct add_key bpf clock_settime clone create_module delete_module finit_module get_kernel_syms get_mempolicy
init_module ioperm io_uring_enter io_uring_register io_uring_setup iopl kcmp kexec_file_load kexec_load keyctl
lookup_dcookie mbind mount move_pages nfsservctl open_by_handle_at perf_event_open personality pivot_root query_module
quotactl reboot request_key set_mempolicy setns settimeofday stime swapoff swapon sysfs _sysctl umount umount2 unshare
uselib userfaultfd ustat vm86 vm86old
"""


@pytest.mark.parametrize("name", SIGNIFICANT.split())
def test_the_default_profile_leaves_out_what_docker_s_leaves_out(name: str) -> None:
    assert name not in allowed(seccomp.runtime_default(DEFAULT, "x86_64"))


@pytest.mark.parametrize("name", ["read", "execve", "futex", "ptrace", "mknod", "chroot", "seccomp", "statx", "vfork"])
def test_and_allows_what_programs_need(name: str) -> None:
    assert name in allowed(seccomp.runtime_default(DEFAULT, "x86_64"))


@pytest.mark.parametrize("capability", sorted(seccomp_default.BY_CAPABILITY))
def test_a_capability_opens_the_calls_that_it_rules(capability: str) -> None:
    without = allowed(seccomp.runtime_default(frozenset(), "x86_64"))
    opened = allowed(seccomp.runtime_default(frozenset({capability}), "x86_64")) - without
    assert opened == set(seccomp_default.BY_CAPABILITY[capability].split())


def test_clone_may_make_no_namespace_but_with_cap_sys_admin() -> None:
    rules = seccomp.runtime_default(DEFAULT, "x86_64")["syscalls"]
    (clone,) = [rule for rule in rules if rule["names"] == ["clone"]]
    mask = {"index": 0, "value": 0x7E020000, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}
    assert clone == {"names": ["clone"], "action": "SCMP_ACT_ALLOW", "args": [mask]}
    assert {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38} in rules
    rules = seccomp.runtime_default(DEFAULT | {"CAP_SYS_ADMIN"}, "x86_64")["syscalls"]
    assert [rule for rule in rules if rule["names"] in (["clone"], ["clone3"])] == []


@pytest.mark.parametrize(
    ("family", "is_allowed"), [(1, True), (10, True), (16, True), (17, True), (38, False), (40, False)]
)
def test_socket_families(family: int, is_allowed: bool) -> None:
    rules = seccomp.runtime_default(DEFAULT, "x86_64")["syscalls"]
    tests = [rule["args"][0] for rule in rules if rule["names"] == ["socket"]]
    passes = {"SCMP_CMP_LT": lambda value: family < value, "SCMP_CMP_EQ": lambda value: family == value}
    assert any(passes[test["op"]](test["value"]) for test in tests) == is_allowed


def test_each_architecture_has_its_own_calls() -> None:
    intel, arm = (seccomp.runtime_default(DEFAULT, machine) for machine in ("x86_64", "aarch64"))
    assert intel["architectures"] == ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]
    assert arm["architectures"] == ["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"]
    assert allowed(intel) - allowed(arm) == {"arch_prctl", "modify_ldt"}
    assert "cacheflush" in allowed(arm) - allowed(intel)


def test_no_call_is_listed_twice() -> None:
    words = seccomp_default.ALWAYS.split()
    assert len(words) == len(set(words))
    assert set(seccomp_default.BY_CAPABILITY) <= set(CAPABILITIES)


# -- whose word holds ------------------------------------------------------------------------------------------------

UNCONFINED, DEFAULTED = {"type": "Unconfined"}, {"type": "RuntimeDefault"}
LOCAL = {"type": "Localhost", "localhostProfile": "a.json"}


@pytest.mark.parametrize(
    ("shared", "own", "expected"),
    [
        (None, None, "RuntimeDefault"),
        ({}, {}, "RuntimeDefault"),
        ({"seccompProfile": UNCONFINED}, None, "Unconfined"),
        ({"seccompProfile": UNCONFINED}, {"runAsUser": 1}, "Unconfined"),
        ({"seccompProfile": UNCONFINED}, {"seccompProfile": LOCAL}, "Localhost"),
        (None, {"seccompProfile": UNCONFINED}, "Unconfined"),
        ({"seccompProfile": LOCAL}, {"privileged": True}, "Unconfined"),
        (None, {"privileged": True, "seccompProfile": DEFAULTED}, "Unconfined"),
        (None, {"privileged": False}, "RuntimeDefault"),
    ],
)
def test_the_container_s_word_holds_then_the_pod_s_then_the_default(shared: Any, own: Any, expected: str) -> None:
    whole = pod(container(securityContext=own), securityContext=shared)
    assert seccomp.profile_of(whole, whole.spec.containers[0]).type == expected


def test_the_config_holds_the_profile_it_is_given() -> None:
    whole = pod(container(securityContext={"capabilities": {"drop": ["all"], "add": ["sys_time"]}}))
    assert oci.bounding_set(whole.spec.containers[0]) == ["CAP_SYS_TIME"]


# -- files -----------------------------------------------------------------------------------------------------------

HEALTHY: dict[str, Any] = {
    "defaultAction": "SCMP_ACT_ALLOW",
    "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28}],
}


def from_file(profile: Any, capabilities: frozenset[str] = DEFAULT, machine: str = "x86_64") -> dict[str, Any]:
    return seccomp.from_file(json.dumps(profile).encode(), capabilities, machine)


def test_a_file_in_the_form_of_oci_is_taken_as_it_is() -> None:
    profile = HEALTHY | {"architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64"]}
    assert from_file(profile) == HEALTHY | {"architectures": ["SCMP_ARCH_X86_64"]}
    args = [{"index": 1, "value": 2, "op": "SCMP_CMP_GT"}]
    found = from_file(
        {"defaultAction": "SCMP_ACT_KILL", "syscalls": [{"name": "dup", "action": "SCMP_ACT_LOG", "args": args}]}
    )
    assert found["syscalls"] == [
        {
            "names": ["dup"],
            "action": "SCMP_ACT_LOG",
            "args": [{"index": 1, "value": 2, "valueTwo": 0, "op": "SCMP_CMP_GT"}],
        }
    ]
    assert found["architectures"] == ["SCMP_ARCH_X86_64"]


@pytest.mark.parametrize(
    ("conditions", "capabilities", "machine", "applies"),
    [
        ({"includes": {"caps": ["CAP_SYS_ADMIN"]}}, DEFAULT, "x86_64", False),
        ({"includes": {"caps": ["CAP_SYS_ADMIN"]}}, frozenset({"CAP_SYS_ADMIN"}), "x86_64", True),
        ({"includes": {"arches": ["amd64"]}}, DEFAULT, "x86_64", True),
        ({"includes": {"arches": ["s390x", "arm64"]}}, DEFAULT, "x86_64", False),
        ({"includes": {"arches": ["s390x", "arm64"]}}, DEFAULT, "aarch64", True),
        ({"excludes": {"caps": ["CAP_SYS_CHROOT"]}}, DEFAULT, "x86_64", False),
        ({"excludes": {"caps": ["CAP_SYS_ADMIN"], "arches": ["s390x"]}}, DEFAULT, "x86_64", True),
        ({"excludes": {"arches": ["amd64"]}}, DEFAULT, "x86_64", False),
        ({"includes": {"minKernel": "4.8"}}, DEFAULT, "x86_64", True),
        ({"includes": {}, "excludes": {}}, DEFAULT, "x86_64", True),
        ({"includes": None}, DEFAULT, "x86_64", True),
    ],
)
def test_a_file_in_the_form_of_docker_has_conditions(
    conditions: dict[str, Any], capabilities: frozenset[str], machine: str, applies: bool
) -> None:
    profile = HEALTHY | {"syscalls": [HEALTHY["syscalls"][0] | conditions]}
    assert bool(from_file(profile, capabilities, machine)["syscalls"]) == applies


def test_docker_s_map_of_architectures_is_read() -> None:
    entry = {"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86", "SCMP_ARCH_X32"]}
    assert len(from_file(HEALTHY | {"archMap": [entry]})["architectures"]) == 3
    other = {"architecture": "SCMP_ARCH_RISCV64", "subArchitectures": None}
    assert from_file(HEALTHY | {"archMap": [other]})["architectures"] == ["SCMP_ARCH_X86_64"]


def rule(**changes: Any) -> dict[str, Any]:
    return {"syscalls": [HEALTHY["syscalls"][0] | changes]}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"defaultAction": "ALLOW"}, "defaultAction: 'ALLOW' is none of SCMP_ACT_KILL, "),
        ({"defaultAction": None}, "defaultAction: None is none of"),
        ({"defaultErrnoRet": "EPERM"}, "defaultErrnoRet: 'EPERM' is not a number"),
        ({"listenerPath": "/run/agent.sock"}, "listenerPath: no agent is told"),
        ({"flags": ["SECCOMP_FILTER_FLAG_NO"]}, "flags[0]: 'SECCOMP_FILTER_FLAG_NO' is none of"),
        ({"syscalls": {}}, "syscalls: it is not a list"),
        ({"syscalls": ["read"]}, "syscalls[0]: it is not an object"),
        (rule(names=[]), "syscalls[0].names: it takes the names"),
        (rule(names="read"), "syscalls[0].names: it is not a list"),
        (rule(action="SCMP_ACT_NOTIFY"), "syscalls[0].action: 'SCMP_ACT_NOTIFY' is none of"),
        (rule(errnoRet=-1), "syscalls[0].errnoRet: -1 is not a number"),
        (rule(args=[{"index": 6, "value": 0, "op": "SCMP_CMP_EQ"}]), "syscalls[0].args[0].index: a system call has"),
        (rule(args=[{"index": 0, "value": "0", "op": "SCMP_CMP_EQ"}]), "syscalls[0].args[0].value: '0' is not"),
        (rule(args=[{"index": 0, "value": 0, "op": "EQ"}]), "syscalls[0].args[0].op: 'EQ' is none of"),
        (rule(args=[1]), "syscalls[0].args[0]: it is not an object"),
        (rule(includes=[]), ""),
        (rule(includes=["x"]), "syscalls[0].includes: it is not an object"),
    ],
)
def test_what_is_wrong_in_a_file_is_said_with_its_place(change: dict[str, Any], words: str) -> None:
    if not words:
        from_file(HEALTHY | change)
        return
    with pytest.raises(seccomp.InvalidProfile) as caught:
        from_file(HEALTHY | change)
    assert str(caught.value).startswith(words)


@pytest.mark.parametrize("text", [b"", b"{", b"\xff", b"null", b"[]", b'"a"'])
def test_what_is_no_profile_at_all(text: bytes) -> None:
    with pytest.raises(seccomp.InvalidProfile, match="it is not"):
        seccomp.from_file(text, DEFAULT, "x86_64")
