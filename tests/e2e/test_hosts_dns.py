"""What a pod is called and whom it asks for names, read back from inside of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from minikube_lite.core.hosts import MANAGED
from minikube_lite.core.resolver import parse
from tests.e2e.yard import Json, Yard

pytestmark = pytest.mark.root

INNER = "inner.default.svc.cluster.local"


def etc(yard: Yard, file: str, container: str = "app") -> str:
    return yard.exec("web", "cat", f"/etc/{file}", container=container)


def test_aliases_come_into_the_hosts_file_and_are_found(yard: Yard) -> None:
    aliases = [{"ip": "127.0.0.9", "hostnames": ["foo.example", "foo"]}, {"ip": "::9", "hostnames": ["bar"]}]
    yard.run("web", yard.container(), yard.container(name="other"), hostAliases=aliases)
    expected = f"{MANAGED}127.0.0.1\tweb\n\n# Entries added by HostAliases.\n127.0.0.9\tfoo.example\tfoo\n::9\tbar\n"
    assert etc(yard, "hosts") == expected == etc(yard, "hosts", "other")
    assert yard.sh("web", "ping -c 1 foo.example | head -n 1") == "PING foo.example (127.0.0.9): 56 data bytes\n"


def test_the_hosts_file_is_one_for_the_pod_and_can_be_written(yard: Yard) -> None:
    read_only = {"readOnlyRootFilesystem": True}
    yard.run("web", yard.container(), yard.container(name="other", securityContext=read_only))
    yard.sh("web", "echo 127.0.0.8 late >>/etc/hosts", container="other")
    assert etc(yard, "hosts").endswith("127.0.0.8 late\n")
    for file in ("hostname", "resolv.conf"):
        yard.sh("web", f"echo >>/etc/{file}")
        words = yard.sh("web", f"(echo >>/etc/{file}) 2>&1; true", container="other")
        assert "Read-only file system" in words


@pytest.mark.parametrize(
    ("spec", "hostname", "line"),
    [
        ({"hostname": "db"}, "db", "127.0.0.1\tdb"),
        ({"subdomain": "inner"}, "web", f"127.0.0.1\tweb.{INNER}\tweb"),
        ({"setHostnameAsFQDN": True}, "web", "127.0.0.1\tweb"),
        (
            {"hostname": "db", "subdomain": "inner", "setHostnameAsFQDN": True},
            f"db.{INNER}",
            f"127.0.0.1\tdb.{INNER}\tdb",
        ),
        ({"hostnameOverride": "other.example", "subdomain": "inner"}, "other.example", "127.0.0.1\tother.example"),
    ],
)
def test_what_it_is_called(yard: Yard, spec: Json, hostname: str, line: str) -> None:
    yard.run("web", **spec)
    assert (
        yard.sh("web", "hostname; cat /etc/hostname /proc/sys/kernel/hostname; echo $HOSTNAME") == f"{hostname}\n" * 4
    )
    assert etc(yard, "hosts").splitlines()[-1] == line


def test_a_long_name_is_cut(yard: Yard) -> None:
    name = "a" * 61 + "-b.c"
    yard.run(name)
    assert yard.exec(name, "hostname") == "a" * 61 + "-b\n"


def test_on_the_machine_s_network_names_are_the_machine_s(yard: Yard) -> None:
    yard.run("web", hostNetwork=True, subdomain="inner", hostAliases=[{"ip": "127.0.0.9", "hostnames": ["foo"]}])
    head, _, rest = etc(yard, "hosts").partition("\n")
    assert head == "# Kubernetes-managed hosts file (host network)."
    machine = Path("/etc/hosts").read_text()
    assert rest == f"{machine}\n# Entries added by HostAliases.\n127.0.0.9\tfoo\n"
    assert yard.exec("web", "hostname").strip() == os.uname().nodename == etc(yard, "hostname").strip()


def test_without_a_word_it_asks_whom_the_machine_asks(yard: Yard) -> None:
    yard.run("web", hostNetwork=True)
    machine = parse(Path("/etc/resolv.conf").read_text()) if Path("/etc/resolv.conf").exists() else parse("")
    found = parse(etc(yard, "resolv.conf"))
    assert found.nameservers == machine.nameservers[:3]
    assert (found.searches, found.options) == (machine.searches, machine.options)
    assert [event for event in yard.events("web") if event["reason"] == "MissingClusterDNS"] == []


def test_its_own_servers_and_nothing_else(yard: Yard) -> None:
    config = {
        "nameservers": ["192.0.2.1", "2001:db8::1"],
        "searches": ["a.example", "b.example."],
        "options": [{"name": "ndots", "value": "2"}, {"name": "edns0"}],
    }
    yard.run("web", dnsPolicy="None", dnsConfig=config)
    assert etc(yard, "resolv.conf") == (
        "search a.example b.example.\nnameserver 192.0.2.1\nnameserver 2001:db8::1\noptions ndots:2 edns0\n"
    )


def test_its_own_servers_beside_the_machine_s(yard: Yard) -> None:
    yard.run("web", dnsPolicy="Default", dnsConfig={"searches": ["own.example"], "options": [{"name": "rotate"}]})
    found = parse(etc(yard, "resolv.conf"))
    assert found.searches[-1] == "own.example"
    assert found.options[-1] == "rotate"


def test_who_asks_for_cluster_dns_is_told_that_there_is_none(yard: Yard) -> None:
    yard.run("web", dnsPolicy="ClusterFirst")
    event = yard.wait_event("web", "MissingClusterDNS")
    assert event["type"] == "Warning"
    assert event["message"].startswith(f'pod: "web_default({yard.uid("web")})". there is no cluster DNS here')


def test_a_changed_alias_makes_a_new_pod(yard: Yard) -> None:
    yard.run("web", hostAliases=[{"ip": "127.0.0.9", "hostnames": ["foo"]}])
    before = yard.uid("web")
    yard.put("web", hostAliases=[{"ip": "127.0.0.9", "hostnames": ["bar"]}])
    yard.node.wait_until(lambda: (yard.node.pod("web") or {}).get("metadata", {}).get("uid", before) != before, "new")
    yard.node.wait_phase("web", "Running")
    assert etc(yard, "hosts").endswith("127.0.0.9\tbar\n")
