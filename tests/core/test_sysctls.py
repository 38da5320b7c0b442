"""Which sysctls a pod may set."""

from __future__ import annotations

import pytest

from minikube_lite.core import sysctls
from minikube_lite.spec.objects import Pod
from minikube_lite.spec.rights import sysctl_key, sysctl_namespace
from tests.core.healthy import pod


def with_sysctls(*names: str) -> Pod:
    return pod(securityContext={"sysctls": [{"name": name, "value": "1"} for name in names]})


def test_the_safe_ones_are_allowed_and_all_of_them_belong_to_the_pod() -> None:
    assert sysctls.forbidden(with_sysctls(*sysctls.SAFE), ()) == ""
    assert all(sysctl_namespace(name) in ("network", "ipc") for name in sysctls.SAFE)
    assert sysctls.forbidden(with_sysctls("net/ipv4/tcp_syncookies"), ()) == ""
    assert sysctls.forbidden(pod(), ()) == ""


@pytest.mark.parametrize(
    ("name", "allowed", "is_allowed"),
    [
        ("net.core.somaxconn", (), False),
        ("net.core.somaxconn", ("net.core.somaxconn",), True),
        ("net.core.somaxconn", ("net/core/somaxconn",), True),
        ("net/core/somaxconn", ("net.core.*",), True),
        ("net.core.somaxconn", ("net.core.som",), False),
        ("kernel.msgmax", ("kernel.msg*", "net.*"), True),
        ("kernel.shmmax", ("kernel.msg*",), False),
        ("vm.swappiness", ("kernel.shm*", "vm.*"), False),
        ("kernel.panic", ("kernel.*",), False),
    ],
)
def test_others_need_the_node_s_word_and_are_the_pod_s_own_in_any_case(
    name: str, allowed: tuple[str, ...], is_allowed: bool
) -> None:
    why = sysctls.forbidden(with_sysctls("net.ipv4.tcp_syncookies", name), allowed)
    assert bool(why) != is_allowed
    if why:
        assert why.startswith(f'forbidden sysctl: "{sysctl_key(name)}" not allowlisted (')


@pytest.mark.parametrize(
    ("pattern", "is_right"),
    [
        ("kernel.msg*", True),
        ("net.core.somaxconn", True),
        ("net.*", True),
        ("kernel.sem", True),
        ("fs.mqueue.*", True),
        ("*", False),
        ("kernel.*", False),
        ("vm.swappiness", False),
        ("net.*.forwarding", False),
        ("kernel.hostname", False),
    ],
)
def test_patterns_of_the_node(pattern: str, is_right: bool) -> None:
    assert (sysctls.wrong_pattern(pattern) == "") == is_right


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("net.ipv4.ip_forward", "net.ipv4.ip_forward"),
        ("net/ipv4/ip_forward", "net.ipv4.ip_forward"),
        ("net.ipv4.conf.eth0/1.forwarding", "net.ipv4.conf.eth0/1.forwarding"),
        ("net/ipv4/conf/eth0.1/forwarding", "net.ipv4.conf.eth0/1.forwarding"),
    ],
)
def test_both_separators_are_understood_as_sysctl_8_has_them(name: str, key: str) -> None:
    assert sysctl_key(name) == key
