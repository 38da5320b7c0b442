"""securityContext that cannot be: each with the place and Kubernetes' words."""

from __future__ import annotations

import json

import pytest

from minikube_lite.spec.manifest import Document, read_manifest

POD = """\
apiVersion: v1
kind: Pod
metadata: {name: web}
spec:
  securityContext: %s
  containers:
  - name: app
    image: host
    command: [sleep, inf]
    securityContext: %s
"""


def read(shared: str = "{}", own: str = "{}", more: str = "") -> Document:
    (document,) = read_manifest((POD % (shared, own) + more).encode(), "pod.yaml").documents
    return document


# (the container's securityContext, line, column, field below it, words, hint)
OWN = [
    ("{runAsUser: -1}", 34, "runAsUser", "Invalid value: -1: must be between 0 and 2147483647, inclusive", ""),
    ("{runAsGroup: 2147483648}", 35, "runAsGroup", "Invalid value: 2147483648: must be between 0 and", ""),
    ("{runAsUser: web}", 34, "runAsUser", "expected an integer, found the string", ""),
    ("{runAsUser: '1000'}", 34, "runAsUser", "expected an integer, found the string", "take away the quotes"),
    ("{runAsNonRoot: true, runAsUser: 0}", 37, "runAsNonRoot", "container's runAsUser breaks non-root policy", ""),
    (
        "{capabilities: {add: [NET_ADMN]}}",
        44,
        "capabilities.add[0]",
        'Invalid value: "NET_ADMN": unknown capability',
        "did you mean `NET_ADMIN`?",
    ),
    (
        "{capabilities: {drop: [ALL, cap_sys_tim]}}",
        50,
        "capabilities.drop[1]",
        'Invalid value: "cap_sys_tim": unknown capability',
        "did you mean `SYS_TIME`?",
    ),
    (
        "{capabilities: {add: ['']}}",
        44,
        "capabilities.add[0]",
        'Invalid value: "": unknown capability',
        "capabilities(7) lists them",
    ),
    (
        "{allowPrivilegeEscalation: false, privileged: true}",
        49,
        "allowPrivilegeEscalation",
        "Invalid value: false: cannot set `allowPrivilegeEscalation` to false and `privileged` to true",
        "",
    ),
    (
        "{appArmorProfile: {type: Localhost, localhostProfile: a}}",
        47,
        "appArmorProfile.type",
        'Invalid value: "Localhost": no AppArmor profile is loaded here',
        "seccompProfile and capabilities work",
    ),
    (
        "{appArmorProfile: {type: Unconfined, localhostProfile: a}}",
        77,
        "appArmorProfile.localhostProfile",
        'Invalid value: "a": can only be set when AppArmor type is Localhost',
        "",
    ),
    (
        "{allowPrivilegeEscalation: false, capabilities: {add: [CAP_SYS_ADMIN]}}",
        49,
        "allowPrivilegeEscalation",
        "Invalid value: false: cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN",
        "",
    ),
    (
        "{procMount: Unmasked}",
        34,
        "procMount",
        'Invalid value: "Unmasked": `hostUsers` must be false to use `Unmasked`',
        "there are no user namespaces here",
    ),
    (
        "{procMount: unmasked}",
        34,
        "procMount",
        'Unsupported value: "unmasked": supported values: "Default", "Unmasked"',
        "did you mean `Unmasked`?",
    ),
    ("{seccompProfile: {}}", 39, "seccompProfile.type", "Required value", ""),
    (
        "{seccompProfile: {type: runtime/default}}",
        46,
        "seccompProfile.type",
        'Unsupported value: "runtime/default": supported values: "Localhost", "RuntimeDefault", "Unconfined"',
        "did you mean `RuntimeDefault`?",
    ),
    (
        "{seccompProfile: {type: Localhost}}",
        39,
        "seccompProfile.localhostProfile",
        "Required value: must be set when seccomp type is Localhost",
        "a file below the node's seccomp directory",
    ),
    (
        "{seccompProfile: {type: RuntimeDefault, localhostProfile: a.json}}",
        80,
        "seccompProfile.localhostProfile",
        'Invalid value: "a.json": can only be set when seccomp type is Localhost',
        "",
    ),
    (
        "{seccompProfile: {type: Localhost, localhostProfile: /etc/a.json}}",
        75,
        "seccompProfile.localhostProfile",
        'Invalid value: "/etc/a.json": must be a relative path',
        "",
    ),
    (
        "{seccompProfile: {type: Localhost, localhostProfile: a/../../b.json}}",
        75,
        "seccompProfile.localhostProfile",
        "Invalid value: \"a/../../b.json\": must not contain '..'",
        "",
    ),
    ("{seccompProfil: {type: Localhost}}", 23, "seccompProfil", 'unknown field "seccompProfil"', "did you mean"),
]


@pytest.mark.parametrize(("own", "column", "field", "words", "hint"), OWN, ids=[row[0] for row in OWN])
def test_of_a_container(own: str, column: int, field: str, words: str, hint: str) -> None:
    document = read(own=own)
    assert document.pod is None
    (problem,) = document.problems
    assert problem.field == f"spec.containers[0].securityContext.{field}"
    assert (problem.source, problem.line, problem.column) == ("pod.yaml", 10, column)
    assert problem.message.startswith(words)
    assert problem.hint.startswith(hint) if hint else problem.hint == ""


# (the pod's securityContext, column, field below it, words)
SHARED = [
    ("{supplementalGroups: [5, -1]}", 44, "supplementalGroups[1]", "Invalid value: -1: must be between 0 and"),
    ("{fsGroup: -1}", 30, "fsGroup", "Invalid value: -1: must be between 0 and"),
    (
        "{supplementalGroupsPolicy: merge}",
        47,
        "supplementalGroupsPolicy",
        'Unsupported value: "merge": supported values: "Merge", "Strict"',
    ),
    ("{sysctls: [{name: a}]}", 31, "sysctls[0].value", "Required value"),
    ("{sysctls: [{name: '', value: a}]}", 38, "sysctls[0].name", "Required value"),
    ("{sysctls: [{name: A, value: a}]}", 38, "sysctls[0].name", 'Invalid value: "A": must have at most 253 characters'),
    ("{sysctls: [{name: net..a, value: a}]}", 38, "sysctls[0].name", 'Invalid value: "net..a": must have at most 253'),
    (
        "{sysctls: [{name: net.a, value: a}, {name: net/a, value: a}]}",
        63,
        "sysctls[1].name",
        'Duplicate value: "net/a"',
    ),
    ("{sysctls: [{name: net.a, value: 1}]}", 52, "sysctls[0].value", "must be a string, found the number 1"),
]


@pytest.mark.parametrize(("shared", "column", "field", "words"), SHARED, ids=[row[0] for row in SHARED])
def test_of_a_pod(shared: str, column: int, field: str, words: str) -> None:
    document = read(shared)
    assert document.pod is None
    (problem,) = document.problems
    assert problem.field == f"spec.securityContext.{field}"
    assert problem.message.startswith(words)
    assert (problem.line, problem.column) == (5, column if "value: " not in words else problem.column)


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("hostNetwork", "net.ipv4.tcp_syncookies"),
        ("hostNetwork", "net/core/somaxconn"),
        ("hostIPC", "kernel.shmmax"),
        ("hostIPC", "fs.mqueue.msg_max"),
    ],
)
def test_a_sysctl_of_a_namespace_that_is_the_machine_s_own(host: str, name: str) -> None:
    document = read(f"{{sysctls: [{{name: {name}, value: '1'}}]}}", more=f"  {host}: true\n")
    (problem,) = document.problems
    assert problem.message == f"Invalid value: \"{name}\": may not be specified when '{host}' is true"
    assert read(f"{{sysctls: [{{name: {name}, value: '1'}}]}}").pod is not None


def test_annotations_that_were_apparmor_s_and_seccomp_s() -> None:
    text = POD % ("{}", "{}")
    keys = {
        "container.apparmor.security.beta.kubernetes.io/app": "runtime/default",
        "seccomp.security.alpha.kubernetes.io/pod": "runtime/default",
    }
    noted = text.replace("{name: web}", "{name: web, annotations: " + json.dumps(keys) + "}")
    (document,) = read_manifest(noted.encode(), "pod.yaml").documents
    assert [warning.partition("]")[2] for warning in document.warnings] == [
        " is not supported yet: the container runs without an AppArmor profile",
        ': non-functional; use the "seccompProfile" field instead',
    ]
    (document,) = read_manifest(noted.replace("runtime/default", "localhost/own").encode(), "pod.yaml").documents
    (problem,) = document.problems
    assert problem.field == "metadata.annotations[container.apparmor.security.beta.kubernetes.io/app]"
    assert problem.message.startswith('Invalid value: "localhost/own": no AppArmor profile is loaded here')


@pytest.mark.parametrize(
    ("own", "warned"),
    [
        ("{appArmorProfile: {type: RuntimeDefault}}", "appArmorProfile"),
        ("{seLinuxOptions: {level: s0}}", "seLinuxOptions"),
    ],
)
def test_what_is_lost_without_harm_is_warned_of(own: str, warned: str) -> None:
    document = read(own=own)
    (warning,) = document.warnings
    assert warning.startswith(f"spec.containers[0].securityContext.{warned} is not supported yet: ")


@pytest.mark.parametrize(
    "own",
    [
        "{capabilities: {add: [net_admin, CAP_SYS_TIME, Kill], drop: [all]}}",
        "{allowPrivilegeEscalation: false, capabilities: {add: [SYS_ADMIN]}}",
        "{seccompProfile: {type: RuntimeDefault}}",
        "{seccompProfile: {type: Localhost, localhostProfile: profiles/a..b.json}}",
        "{procMount: Default}",
        "{privileged: true, allowPrivilegeEscalation: true}",
        "{appArmorProfile: {type: Unconfined}}",
    ],
)
def test_what_kubernetes_takes_is_taken_in_silence(own: str) -> None:
    document = read("{seccompProfile: {type: Unconfined}}", own)
    assert document.pod is not None
    assert (document.warnings, document.ignored) == ((), ())
