"""The OCI config of a container: from a healthy one, one change per row."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from minikube_lite.core import oci, oci_defaults
from minikube_lite.core.environment import Facts, environment
from minikube_lite.spec.hostnames import pod_hostname
from tests.core.healthy import UID, container, pod

IMAGE = {"Entrypoint": ["/entry"], "Cmd": ["default"], "Env": ["PATH=/image/bin", "LANG=C"], "WorkingDir": "/srv"}
NAMESPACES = {"network": "/run/ns/net", "ipc": "/run/ns/ipc", "uts": "/run/ns/uts"}


def config(
    fields: Mapping[str, Any] | None = None,
    image: Mapping[str, Any] | None = None,
    namespaces: Mapping[str, str] = NAMESPACES,
    mounts: tuple[dict[str, Any], ...] = (),
    shm: str | None = "/run/shm",
    node_memory: int = 0,
    devices: tuple[dict[str, Any], ...] = (),
    **spec: Any,
) -> dict[str, Any]:
    whole = pod(container(**(fields or {})), **spec)
    return oci.container_config(
        whole,
        whole.spec.containers[0],
        image_config=image or {},
        namespaces=namespaces,
        cgroups_path=f"/minikube-lite/pod{UID}/app-0",
        mounts=mounts,
        shm=shm,
        user=(1000, 100, (4, 27)),
        rootfs="rootfs",
        environment=environment(whole, whole.spec.containers[0], lambda *_: None, Facts()),
        uid=UID,
        node_memory=node_memory,
        devices=devices,
    )


def test_the_config_is_plain_json_and_the_same_each_time() -> None:
    assert json.dumps(config()) == json.dumps(config())
    assert config()["ociVersion"] == "1.1.0"
    assert config()["root"] == {"path": "rootfs", "readonly": False}
    assert config()["linux"]["cgroupsPath"] == f"/minikube-lite/pod{UID}/app-0"
    assert config()["linux"]["rootfsPropagation"] == "private"


# -- the process -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "args", "expected"),
    [
        ([], [], ["/entry", "default"]),
        (["/own"], [], ["/own"]),
        ([], ["x", "y"], ["/entry", "x", "y"]),
        (["/own"], ["x"], ["/own", "x"]),
    ],
)
def test_command_and_args_take_the_place_of_entrypoint_and_cmd_as_kubernetes_documents_it(
    command: list[str], args: list[str], expected: list[str]
) -> None:
    assert config({"command": command, "args": args}, IMAGE)["process"]["args"] == expected


@pytest.mark.parametrize(
    ("entrypoint", "cmd", "command", "args", "expected"),
    [
        (None, ["c"], [], [], "c"),
        (None, ["c"], [], ["a"], "a"),
        (None, ["c"], ["x"], [], "x"),
        (None, ["c"], ["x"], ["a"], "x a"),
        (None, None, [], ["a"], "a"),
        (None, None, ["x"], [], "x"),
        (None, None, ["x"], ["a"], "x a"),
        (["e"], None, [], [], "e"),
        (["e"], None, [], ["a"], "e a"),
        (["e"], None, ["x"], [], "x"),
        (["e"], None, ["x"], ["a"], "x a"),
        (["e"], ["c"], [], [], "e c"),
        (["e"], ["c"], [], ["a"], "e a"),
        (["e"], ["c"], ["x"], [], "x"),
        (["e"], ["c"], ["x"], ["a"], "x a"),
        ([""], ["c"], [], [], "c"),
    ],
)
def test_every_combination_of_what_image_and_spec_say(
    entrypoint: list[str] | None, cmd: list[str] | None, command: list[str], args: list[str], expected: str
) -> None:
    image = {"Entrypoint": entrypoint, "Cmd": cmd}
    assert config({"command": command, "args": args}, image)["process"]["args"] == expected.split()


def test_without_command_and_entrypoint_it_says_so_and_what_to_do() -> None:
    with pytest.raises(oci.CannotRun) as caught:
        config({"command": []})
    assert caught.value.reason == "CreateContainerError"
    assert 'the image "host" has none of its own' in caught.value.message
    assert "set `command`" in caught.value.message


def test_command_and_args_see_the_pod_s_environment_and_only_that() -> None:
    process = config(
        {"command": ["run", "$(NAME)"], "args": ["$(LANG)", "$$(NAME)"], "env": [{"name": "NAME", "value": "web"}]},
        IMAGE,
    )["process"]
    assert process["args"] == ["run", "web", "$(LANG)", "$(NAME)"]


def test_the_environment_is_the_image_s_then_the_hostname_then_the_pod_s() -> None:
    env = [{"name": "A", "value": "1"}, {"name": "LANG", "value": "$(A)-$(B)"}, {"name": "B"}]
    assert config({"env": env}, IMAGE)["process"]["env"] == [
        "PATH=/image/bin",
        "LANG=1-$(B)",
        "HOSTNAME=web",
        "A=1",
        "B=",
    ]


def test_an_image_without_a_path_gets_the_usual_one() -> None:
    assert f"PATH={oci_defaults.PATH}" in config()["process"]["env"]


def test_a_value_may_hold_an_equals_sign() -> None:
    assert "OPTS=a=b=c" in config(image={"Env": ["OPTS=a=b=c"]})["process"]["env"]


@pytest.mark.parametrize(
    ("fields", "image", "cwd"), [({}, {}, "/"), ({}, IMAGE, "/srv"), ({"workingDir": "/tmp"}, IMAGE, "/tmp")]
)
def test_the_working_directory_is_the_spec_s_or_the_image_s_or_the_root(
    fields: dict[str, Any], image: dict[str, Any], cwd: str
) -> None:
    assert config(fields, image)["process"]["cwd"] == cwd


def test_the_user_is_as_given() -> None:
    assert config()["process"]["user"] == {"uid": 1000, "gid": 100, "additionalGids": [100, 4, 27]}


def capabilities(add: tuple[str, ...] = (), drop: tuple[str, ...] = ()) -> list[str]:
    context = {"capabilities": {"add": list(add), "drop": list(drop)}}
    found = config({"securityContext": context})["process"]["capabilities"]
    assert found["bounding"] == found["effective"] == found["permitted"]
    assert found["inheritable"] == found["ambient"] == []
    return list(found["bounding"])


def test_a_container_has_docker_s_fourteen_capabilities() -> None:
    assert capabilities() == sorted(oci_defaults.DEFAULT_CAPABILITIES, key=oci_defaults.ALL_CAPABILITIES.index)
    assert len(capabilities()) == 14
    assert len(oci_defaults.ALL_CAPABILITIES) == 41


@pytest.mark.parametrize(
    ("add", "drop", "gained", "lost"),
    [
        (("NET_ADMIN",), (), {"CAP_NET_ADMIN"}, set()),
        (("CAP_NET_ADMIN",), (), {"CAP_NET_ADMIN"}, set()),
        (("net_admin",), ("cap_mknod",), {"CAP_NET_ADMIN"}, {"CAP_MKNOD"}),
        ((), ("KILL",), set(), {"CAP_KILL"}),
        (("SYS_TIME",), ("SYS_TIME",), set(), set()),
        (("CAP_FROM_THE_FUTURE",), (), {"CAP_FROM_THE_FUTURE"}, set()),
    ],
)
def test_capabilities_are_added_and_dropped_in_any_spelling(
    add: tuple[str, ...], drop: tuple[str, ...], gained: set[str], lost: set[str]
) -> None:
    assert set(capabilities(add, drop)) == (set(capabilities()) | gained) - lost


@pytest.mark.parametrize(
    ("add", "drop", "expected"),
    [
        ((), ("ALL",), set()),
        (("NET_BIND_SERVICE",), ("all",), {"CAP_NET_BIND_SERVICE"}),
        (("ALL",), (), set(oci_defaults.ALL_CAPABILITIES)),
        (("ALL",), ("SYS_ADMIN",), set(oci_defaults.ALL_CAPABILITIES) - {"CAP_SYS_ADMIN"}),
    ],
)
def test_all_is_meant_before_single_names(add: tuple[str, ...], drop: tuple[str, ...], expected: set[str]) -> None:
    assert set(capabilities(add, drop)) == expected


@pytest.mark.parametrize(("allow", "expected"), [(None, False), (True, False), (False, True)])
def test_no_new_privileges_where_escalation_is_forbidden(allow: bool | None, expected: bool) -> None:
    context = {} if allow is None else {"allowPrivilegeEscalation": allow}
    assert config({"securityContext": context})["process"]["noNewPrivileges"] is expected


def test_a_read_only_root_is_read_only() -> None:
    assert config({"securityContext": {"readOnlyRootFilesystem": True}})["root"]["readonly"] is True


@pytest.mark.parametrize(
    ("resources", "node_memory", "score"),
    [
        ({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1", "memory": "1Gi"}}, 4 << 30, -997),
        ({}, 4 << 30, 1000),
        ({"requests": {"memory": "1Gi"}}, 4 << 30, 750),
        ({"requests": {"memory": "1Ki"}}, 4 << 30, 999),
        ({"requests": {"memory": "4Gi"}}, 4 << 30, 3),
        ({"requests": {"cpu": "1"}}, 4 << 30, 999),
        ({"requests": {"memory": "1Gi"}}, 0, 999),
    ],
)
def test_the_oom_score_follows_the_quality_of_service(resources: dict[str, Any], node_memory: int, score: int) -> None:
    assert config({"resources": resources}, node_memory=node_memory)["process"]["oomScoreAdj"] == score


def test_exec_runs_another_command_as_the_container_s_own_user_and_environment() -> None:
    process = config()["process"]
    plain = oci.exec_process(process, ["ls", "/"], tty=False)
    assert plain == {**process, "args": ["ls", "/"], "terminal": False}
    terminal = oci.exec_process(process, ["sh"], tty=True)
    assert terminal["terminal"] is True
    assert terminal["env"] == [*process["env"], "TERM=xterm"]
    assert "TERM=xterm" not in process["env"]


# -- namespaces ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "namespaces", "expected"),
    [
        ({}, NAMESPACES, ["pid", "network:/run/ns/net", "ipc:/run/ns/ipc", "uts:/run/ns/uts", "mount", "cgroup"]),
        ({}, {}, ["pid", "network", "ipc", "uts", "mount", "cgroup"]),
        ({"hostPID": True}, {}, ["network", "ipc", "uts", "mount", "cgroup"]),
        ({"hostIPC": True}, {}, ["pid", "network", "uts", "mount", "cgroup"]),
        ({"hostNetwork": True}, {}, ["pid", "ipc", "mount", "cgroup"]),
        ({"hostNetwork": True}, NAMESPACES, ["pid", "ipc:/run/ns/ipc", "mount", "cgroup"]),
        (
            {"shareProcessNamespace": True},
            {"pid": "/run/ns/pid"},
            ["pid:/run/ns/pid", "network", "ipc", "uts", "mount", "cgroup"],
        ),
    ],
)
def test_namespaces_are_the_container_s_the_pod_s_or_the_host_s(
    spec: dict[str, Any], namespaces: dict[str, str], expected: list[str]
) -> None:
    found = config(namespaces=namespaces, **spec)["linux"]["namespaces"]
    assert [":".join(item.values()) for item in found] == expected


@pytest.mark.parametrize(
    ("spec", "expected"),
    [({}, ["network", "ipc", "uts"]), ({"hostNetwork": True}, ["ipc"]), ({"hostIPC": True}, ["network", "uts"])],
)
def test_the_host_s_network_brings_the_host_s_name(spec: dict[str, Any], expected: list[str]) -> None:
    assert oci.sandbox_namespaces(pod(**spec)) == expected


def test_the_hostname_is_set_only_in_a_new_uts_namespace() -> None:
    assert "hostname" not in config()
    assert config(namespaces={})["hostname"] == "web"
    assert "hostname" not in config(namespaces={}, hostNetwork=True)
    assert not any(entry.startswith("HOSTNAME=") for entry in config(hostNetwork=True)["process"]["env"])


@pytest.mark.parametrize(
    ("name", "hostname", "expected"),
    [("web", "", "web"), ("web", "other", "other"), ("a" * 70, "", "a" * 63), ("b" * 62 + ".c", "", "b" * 62)],
)
def test_a_pod_s_hostname_is_its_own_or_its_name_cut_as_the_kubelet_cuts_it(
    name: str, hostname: str, expected: str
) -> None:
    assert pod_hostname(pod(metadata={"name": name}, hostname=hostname)) == expected


# -- mounts ----------------------------------------------------------------------------------------------------------


def destinations(found: dict[str, Any]) -> list[str]:
    return [mount["destination"] for mount in found["mounts"]]


KERNEL = ["/proc", "/dev", "/sys", "/dev/pts", "/dev/shm", "/dev/mqueue", "/sys/fs/cgroup"]


def mount(found: dict[str, Any], destination: str) -> dict[str, Any]:
    return next(item for item in found["mounts"] if item["destination"] == destination)


def test_what_lies_deeper_is_mounted_later_and_the_kernel_s_first() -> None:
    hosts = {"destination": "/etc/hosts", "type": "bind", "source": "/state/hosts", "options": ["bind"]}
    data = {"destination": "/data", "type": "bind", "source": "/state/data", "options": ["bind"]}
    assert destinations(config(mounts=(hosts, data))) == [*KERNEL[:3], "/data", *KERNEL[3:6], "/etc/hosts", KERNEL[6]]


def test_of_two_on_one_place_the_later_stays() -> None:
    hosts = {"destination": "/etc/hosts", "type": "bind", "source": "/state/hosts", "options": ["bind"]}
    own = {"destination": "/etc/hosts", "type": "bind", "source": "/volume/hosts", "options": ["bind"]}
    assert mount(config(mounts=(hosts, own)), "/etc/hosts") == own


def test_what_is_given_replaces_the_kernel_s_on_the_same_place() -> None:
    given = {"destination": "/dev/shm/", "type": "tmpfs", "source": "tmpfs", "options": []}
    assert destinations(config(mounts=(given,))) == KERNEL[:4] + KERNEL[5:6] + ["/dev/shm/"] + KERNEL[6:]


@pytest.mark.parametrize("destination", ["/sys", "/sys/fs/cgroup"])
@pytest.mark.parametrize("spec", [{}, {"hostNetwork": True}], ids=str)
def test_sys_is_read_only(destination: str, spec: dict[str, Any]) -> None:
    found = mount(config(**spec), destination)
    assert found["type"] != "bind"
    assert {"ro", "nosuid", "noexec", "nodev"} <= set(found["options"])


@pytest.mark.parametrize(
    ("shm", "spec", "type_", "source"),
    [
        ("/run/shm", {}, "bind", "/run/shm"),
        (None, {}, "tmpfs", "shm"),
        (None, {"hostIPC": True}, "bind", "/dev/shm"),
    ],
)
def test_shared_memory_is_the_pod_s_or_a_fresh_one_or_the_host_s(
    shm: str | None, spec: dict[str, Any], type_: str, source: str
) -> None:
    found = mount(config(shm=shm, **spec), "/dev/shm")
    assert (found["type"], found["source"]) == (type_, source)
    assert {"nosuid", "noexec", "nodev"} <= set(found["options"])


def test_sensitive_paths_are_masked_or_read_only() -> None:
    linux = config()["linux"]
    assert {"/proc/kcore", "/proc/keys", "/sys/firmware"} <= set(linux["maskedPaths"])
    assert linux["readonlyPaths"] == ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]


def test_devices_are_denied_first_and_then_docker_s_are_allowed() -> None:
    rules = config()["linux"]["resources"]["devices"]
    assert rules[0] == {"allow": False, "access": "rwm"}
    assert {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "rwm"} in rules
    assert all(rule["allow"] for rule in rules[1:])


def test_annotations_name_the_pod_as_containerd_s_do() -> None:
    assert config()["annotations"] == {
        "io.kubernetes.cri.container-name": "app",
        "io.kubernetes.cri.container-type": "container",
        "io.kubernetes.cri.image-name": "host",
        "io.kubernetes.cri.sandbox-name": "web",
        "io.kubernetes.cri.sandbox-namespace": "default",
        "io.kubernetes.cri.sandbox-uid": UID,
    }


# -- resources -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("resources", "shares", "quota", "period", "memory"),
    [
        ({}, 2, -1, 100_000, -1),
        ({"limits": {"cpu": "200m"}}, 204, 20_000, 100_000, -1),
        ({"limits": {"cpu": "200m"}, "requests": {"cpu": "100m"}}, 102, 20_000, 100_000, -1),
        ({"requests": {"cpu": "2"}}, 2048, -1, 100_000, -1),
        ({"limits": {"cpu": "1m"}}, 2, 1_000, 1_000_000, -1),
        ({"limits": {"cpu": "0"}}, 2, -1, 100_000, -1),
        ({"limits": {"memory": "64Mi"}}, 2, -1, 100_000, 64 << 20),
        ({"requests": {"memory": "64Mi"}}, 2, -1, 100_000, -1),
    ],
    ids=str,
)
def test_requests_and_limits_become_shares_quota_and_bytes(
    resources: dict[str, Any], shares: int, quota: int, period: int, memory: int
) -> None:
    found = config({"resources": resources})["linux"]["resources"]
    assert found["cpu"] == {"shares": shares, "quota": quota, "period": period}
    assert found["memory"] == {"limit": memory, "swap": memory}


def test_a_pod_s_cgroup_holds_the_sums() -> None:
    limited = {"limits": {"cpu": "150m", "memory": "64Mi"}, "requests": {"cpu": "100m", "memory": "32Mi"}}
    both = pod(container("a", resources=limited), container("b", resources=limited))
    assert oci.pod_resources(both) == {
        "cpu": {"shares": 204, "quota": 30_000, "period": 100_000},
        "memory": {"limit": 128 << 20, "swap": 128 << 20},
    }


def test_a_pod_has_no_limit_where_one_of_its_containers_has_none() -> None:
    limited = {"limits": {"cpu": "150m", "memory": "64Mi"}}
    both = pod(container("a", resources=limited), container("b", resources={"limits": {"cpu": "1"}}))
    assert oci.pod_resources(both)["cpu"]["quota"] == 115_000
    assert oci.pod_resources(both)["memory"] == {"limit": -1, "swap": -1}


# -- privileged ------------------------------------------------------------------------------------------------------

KVM = {"path": "/dev/kvm", "type": "c", "major": 10, "minor": 232, "fileMode": 0o660, "uid": 0, "gid": 0}


def test_a_privileged_container_has_everything() -> None:
    context = {"privileged": True, "capabilities": {"drop": ["ALL"]}}
    whole = config({"securityContext": context}, devices=(KVM,))
    assert whole["process"]["capabilities"]["bounding"] == list(oci_defaults.ALL_CAPABILITIES)
    assert whole["linux"]["devices"] == [KVM]
    assert whole["linux"]["resources"]["devices"] == [{"allow": True, "access": "rwm"}]
    assert whole["linux"]["maskedPaths"] == whole["linux"]["readonlyPaths"] == []
    modes = {mount["destination"]: mount["options"] for mount in whole["mounts"]}
    assert "rw" in modes["/sys"]
    assert "rw" in modes["/sys/fs/cgroup"]


@pytest.mark.parametrize("context", [{}, {"privileged": False}])
def test_others_have_no_device_of_the_machine(context: dict[str, Any]) -> None:
    whole = config({"securityContext": context}, devices=(KVM,))
    assert "devices" not in whole["linux"]
    assert whole["linux"]["resources"]["devices"][0] == {"allow": False, "access": "rwm"}
    assert "/proc/kcore" in whole["linux"]["maskedPaths"]
