"""Names and DNS that cannot be: each with the place and Kubernetes' words."""

from __future__ import annotations

import pytest

from minikube_lite.spec.manifest import Document, read_manifest

POD = """\
apiVersion: v1
kind: Pod
metadata: {name: web}
spec:
  containers: [{name: app, image: host, command: [sleep, inf]}]
  %s
"""


def read(line: str) -> Document:
    (document,) = read_manifest((POD % line).encode(), "pod.yaml").documents
    return document


MANY = ", ".join(f"{n}.example" for n in range(33))
LONG = ", ".join("a" * 63 + ".example" for _ in range(30))
WRONG = [
    ("hostname: a.b", 13, "hostname", 'Invalid value: "a.b": a lowercase RFC 1123 label'),
    ("hostname: " + "a" * 64, 13, "hostname", f'Invalid value: "{"a" * 64}": must be no more than 63 characters'),
    ("subdomain: A", 14, "subdomain", 'Invalid value: "A": a lowercase RFC 1123 label'),
    (
        "{subdomain: %s, setHostnameAsFQDN: true}" % ("s" * 50),
        91,
        "setHostnameAsFQDN",
        "Invalid value: true: failed to construct FQDN from pod hostname and cluster domain, FQDN web.",
    ),
    ("hostnameOverride: a_b", 21, "hostnameOverride", 'Invalid value: "a_b": a lowercase RFC 1123 subdomain'),
    (
        "hostnameOverride: " + "a" * 65,
        21,
        "hostnameOverride",
        f'Invalid value: "{"a" * 65}": must be no more than 64 characters',
    ),
    (
        "{hostnameOverride: a, hostNetwork: true}",
        22,
        "hostnameOverride",
        'Invalid value: "a": may not be specified when hostNetwork is true',
    ),
    (
        "{hostnameOverride: a, setHostnameAsFQDN: true}",
        22,
        "hostnameOverride",
        'Invalid value: "a": may not be specified when setHostnameAsFQDN is true',
    ),
    (
        "hostAliases: [{ip: 1.2.3, hostnames: [a]}]",
        22,
        "hostAliases[0].ip",
        'Invalid value: "1.2.3": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)',
    ),
    ("hostAliases: [{ip: fe80::1%eth0}]", 22, "hostAliases[0].ip", 'Invalid value: "fe80::1%eth0": must be a valid'),
    ("hostAliases: [{hostnames: [a]}]", 17, "hostAliases[0].ip", "Required value"),
    (
        "hostAliases: [{ip: 1.2.3.4, hostnames: [ok, 'a b']}]",
        47,
        "hostAliases[0].hostnames[1]",
        'Invalid value: "a b": a lowercase RFC 1123 subdomain',
    ),
    ("hostAliases: {ip: 1.2.3.4}", 16, "hostAliases", "expected a list, found a mapping"),
    (
        "dnsPolicy: Cluster",
        14,
        "dnsPolicy",
        'Unsupported value: "Cluster": supported values: "ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"',
    ),
    ("dnsPolicy: None", 3, "dnsConfig", "Required value: must provide `dnsConfig` when `dnsPolicy` is None"),
    (
        "{dnsPolicy: None, dnsConfig: {searches: [a]}}",
        32,
        "dnsConfig.nameservers",
        "Required value: must provide at least one DNS nameserver when `dnsPolicy` is None",
    ),
    (
        "dnsConfig: {nameservers: [1.1.1.1, 1.1.1.2, 1.1.1.3, 1.1.1.4]}",
        28,
        "dnsConfig.nameservers",
        "Invalid value: must not have more than 3 nameservers",
    ),
    (
        "dnsConfig: {nameservers: [dns.example]}",
        29,
        "dnsConfig.nameservers[0]",
        'Invalid value: "dns.example": must be a valid IP address',
    ),
    (
        f"dnsConfig: {{searches: [{MANY}]}}",
        25,
        "dnsConfig.searches",
        "Invalid value: must not have more than 32 search paths",
    ),
    (
        f"dnsConfig: {{searches: [{LONG}]}}",
        25,
        "dnsConfig.searches",
        "Invalid value: must not have more than 2048 characters (including spaces) in the search list",
    ),
    ("dnsConfig: {searches: [a..b]}", 26, "dnsConfig.searches[0]", 'Invalid value: "a..b": a lowercase RFC 1123'),
    ("dnsConfig: {options: [{value: '1'}]}", 25, "dnsConfig.options[0]", "Required value: must not be empty"),
    (
        "dnsConfig: {options: [{name: ndots, value: 'a b'}]}",
        46,
        "dnsConfig.options[0].value",
        "Invalid value: 'a b': must be one word",
    ),
    ("dnsConfig: {option: [{name: ndots}]}", 15, "dnsConfig.option", 'unknown field "option"'),
]


@pytest.mark.parametrize(("line", "column", "field", "words"), WRONG, ids=[row[0][:60] for row in WRONG])
def test_what_is_wrong_is_said_with_its_place(line: str, column: int, field: str, words: str) -> None:
    text = POD % line
    if line.startswith("{"):  # fields beside each other: the spec in flow style
        text = text.replace("spec:\n  containers: [", "spec: {containers: [").replace("\n  {", ",\n  ", 1)
    (document,) = read_manifest(text.encode(), "pod.yaml").documents
    assert document.pod is None
    (problem,) = document.problems
    assert problem.field == f"spec.{field}"
    assert problem.message.startswith(words)
    assert problem.source == "pod.yaml"
    if not line.startswith("{"):
        assert (problem.line, problem.column) == (6, column) if column > 3 else (5, 3)


@pytest.mark.parametrize(
    "line",
    [
        "dnsPolicy: ClusterFirstWithHostNet",
        "dnsConfig: {searches: [a.example., ., _ldap._tcp.example], options: [{name: ndots, value: '2'}]}",
        "dnsConfig: {nameservers: ['2001:db8::1', 1.1.1.1]}",
        "hostAliases: [{ip: '::1', hostnames: [a.b]}, {ip: 1.2.3.4}]",
        "setHostnameAsFQDN: true",
        "subdomain: " + "s" * 63,
    ],
)
def test_what_kubernetes_takes_is_taken_in_silence(line: str) -> None:
    document = read(line)
    assert document.problems == ()
    assert (document.warnings, document.ignored) == ((), ())
