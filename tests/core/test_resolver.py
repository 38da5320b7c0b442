"""A pod's /etc/resolv.conf and /etc/hosts, from a healthy pod, one change per row."""

from __future__ import annotations

from typing import Any

import pytest

from minikube_lite.core.hosts import MANAGED, hosts_file
from minikube_lite.core.resolver import Resolver, parse, pod_resolver
from minikube_lite.spec.hostnames import kernel_hostname, pod_domain, pod_hostname
from tests.core.healthy import pod

MACHINE = Resolver(("10.0.0.1", "10.0.0.2"), ("corp.example",), ("ndots:1", "rotate"))
TEXT = """\
search corp.example
nameserver 10.0.0.1
nameserver 10.0.0.2
options ndots:1 rotate
"""
OWN = {
    "nameservers": ["1.1.1.1", "10.0.0.1"],
    "searches": ["a.example", "corp.example"],
    "options": [{"name": "ndots", "value": "5"}, {"name": "edns0"}],
}


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({}, MACHINE),
        ({"dnsPolicy": "Default"}, MACHINE),
        ({"dnsPolicy": "ClusterFirst"}, MACHINE),
        ({"dnsPolicy": "ClusterFirst", "hostNetwork": True}, MACHINE),
        ({"dnsPolicy": "ClusterFirstWithHostNet", "hostNetwork": True}, MACHINE),
        (
            {"dnsPolicy": "None", "dnsConfig": OWN},
            Resolver(("1.1.1.1", "10.0.0.1"), ("a.example", "corp.example"), ("ndots:5", "edns0")),
        ),
        (
            {"dnsConfig": OWN},
            Resolver(
                ("10.0.0.1", "10.0.0.2", "1.1.1.1"), ("corp.example", "a.example"), ("ndots:5", "rotate", "edns0")
            ),
        ),
        ({"dnsConfig": {}}, MACHINE),
    ],
)
def test_the_policy_says_where_it_begins_and_the_config_adds_to_it(spec: dict[str, Any], expected: Resolver) -> None:
    assert pod_resolver(pod(**spec), MACHINE)[0] == expected


@pytest.mark.parametrize(
    ("spec", "reasons"),
    [
        ({}, []),
        ({"dnsPolicy": "Default"}, []),
        ({"dnsPolicy": "ClusterFirst"}, ["MissingClusterDNS"]),
        ({"dnsPolicy": "ClusterFirst", "hostNetwork": True}, []),
        ({"dnsPolicy": "ClusterFirstWithHostNet", "hostNetwork": True}, ["MissingClusterDNS"]),
        ({"dnsConfig": {"nameservers": ["1.1.1.1", "1.1.1.2"]}}, ["DNSConfigForming"]),
        ({"dnsConfig": {"searches": [f"{n}.example" for n in range(32)]}}, ["DNSConfigForming"]),
        ({"dnsConfig": {"searches": ["a" * 60 + f".{n}" for n in range(31)]}}, []),
        ({"dnsConfig": {"searches": ["a" * 63 + f".{n}" for n in range(31)]}}, ["DNSConfigForming"]),
    ],
)
def test_what_is_not_as_asked_is_told(spec: dict[str, Any], reasons: list[str]) -> None:
    resolver, notes = pod_resolver(pod(**spec), MACHINE, "u1")
    assert [reason for reason, _ in notes] == reasons
    assert len(resolver.nameservers) <= 3
    assert len(resolver.searches) <= 32
    assert len(" ".join(resolver.searches)) <= 2048


def test_the_words_of_what_is_not_as_asked() -> None:
    ((_, message),) = pod_resolver(pod(dnsPolicy="ClusterFirst"), MACHINE, "u1")[1]
    assert message == (
        'pod: "web_default(u1)". there is no cluster DNS here and so none for the "ClusterFirst" policy. '
        'Falling back to "Default" policy.'
    )
    ((_, message),) = pod_resolver(pod(dnsConfig={"nameservers": ["1.1.1.1", "1.1.1.2"]}), MACHINE)[1]
    assert message == (
        "Nameserver limits were exceeded, some nameservers have been omitted, "
        "the applied nameserver line is: 10.0.0.1 10.0.0.2 1.1.1.1"
    )


def test_it_is_written_as_it_is_read() -> None:
    assert MACHINE.text() == TEXT
    assert parse(TEXT) == MACHINE
    assert Resolver().text() == ""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", Resolver()),
        ("# nameserver 1.1.1.1\n;nameserver 1.1.1.2\n", Resolver()),
        ("nameserver\t1.1.1.1 # first\n  nameserver 1.1.1.2", Resolver(("1.1.1.1", "1.1.1.2"))),
        ("search a b\nsearch c.example. .\n", Resolver((), ("c.example", "."))),
        ("options a\noptions b:1 c\n", Resolver((), (), ("a", "b:1", "c"))),
        ("nameserver\nsortlist 1.2.3.0\ndomain a\nsearch", Resolver()),
    ],
)
def test_the_machine_s_file_is_read_as_the_c_library_reads_it(text: str, expected: Resolver) -> None:
    assert parse(text) == expected


# -- names -----------------------------------------------------------------------------------------------------------

LONG = "a" * 62 + ".c"


@pytest.mark.parametrize(
    ("name", "spec", "hostname", "domain", "kernel"),
    [
        ("web", {}, "web", "", "web"),
        ("web", {"hostname": "db"}, "db", "", "db"),
        ("web", {"subdomain": "inner"}, "web", "inner.default.svc.cluster.local", "web"),
        ("web", {"setHostnameAsFQDN": True}, "web", "", "web"),
        (
            "web",
            {"hostname": "db", "subdomain": "inner", "setHostnameAsFQDN": True},
            "db",
            "inner.default.svc.cluster.local",
            "db.inner.default.svc.cluster.local",
        ),
        (LONG, {}, "a" * 62, "", "a" * 62),
        ("a" * 63 + "b", {}, "a" * 63, "", "a" * 63),
        ("web", {"hostnameOverride": "other.example", "subdomain": "inner"}, "other.example", "", "other.example"),
    ],
)
def test_what_a_pod_is_called(name: str, spec: dict[str, Any], hostname: str, domain: str, kernel: str) -> None:
    whole = pod(metadata={"name": name}, **spec)
    assert (pod_hostname(whole), pod_domain(whole), kernel_hostname(whole)) == (hostname, domain, kernel)


# -- hosts -----------------------------------------------------------------------------------------------------------

ALIASES = [{"ip": "10.1.2.3", "hostnames": ["foo.example", "foo"]}, {"ip": "fd00::1", "hostnames": ["bar"]}]
ALIAS_LINES = "\n# Entries added by HostAliases.\n10.1.2.3\tfoo.example\tfoo\nfd00::1\tbar\n"


@pytest.mark.parametrize(
    ("spec", "rest"),
    [
        ({}, "127.0.0.1\tweb\n"),
        ({"hostname": "db"}, "127.0.0.1\tdb\n"),
        ({"subdomain": "inner"}, "127.0.0.1\tweb.inner.default.svc.cluster.local\tweb\n"),
        ({"hostAliases": ALIASES}, "127.0.0.1\tweb\n" + ALIAS_LINES),
        ({"hostAliases": []}, "127.0.0.1\tweb\n"),
    ],
)
def test_the_hosts_file_is_the_kubelet_s(spec: dict[str, Any], rest: str) -> None:
    assert hosts_file(pod(**spec), ("127.0.0.1",), "machine\n") == MANAGED + rest


def test_each_address_of_the_pod_has_its_line() -> None:
    assert hosts_file(pod(), ("10.0.0.9", "fd00::9"), "") == MANAGED + "10.0.0.9\tweb\nfd00::9\tweb\n"


def test_on_the_machine_s_network_it_is_the_machine_s_file_and_the_aliases() -> None:
    head = "# Kubernetes-managed hosts file (host network).\n"
    whole = pod(hostNetwork=True, subdomain="inner", hostAliases=ALIASES)
    assert hosts_file(whole, ("127.0.0.1",), "127.0.0.1 localhost\n") == head + "127.0.0.1 localhost\n" + ALIAS_LINES
