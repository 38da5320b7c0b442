"""Volumes of this machine's own (emptyDir, hostPath) and every way to mount one, read back from inside containers."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.yard import Yard

pytestmark = pytest.mark.root

Json = dict[str, Any]


def mount(path: str = "/data", name: str = "data", **fields: Any) -> Json:
    return {"name": name, "mountPath": path, **fields}


def data(**source: Any) -> list[Json]:
    """The one volume `data`."""
    return [{"name": "data", **source}]


@pytest.fixture
def host() -> Iterator[Path]:
    """A directory of the machine's that pods are given."""
    directory = Path(os.path.realpath(tempfile.mkdtemp(prefix="mkl-host-")))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


def mount_flags(yard: Yard, pod: str, path: str, container: str = "app") -> list[str]:
    """The options of the mount that is seen at `path`."""
    lines = [line.split() for line in yard.exec(pod, "cat", "/proc/self/mountinfo", container=container).splitlines()]
    return [line[5] for line in lines if line[4] == path][-1].split(",")


def propagation(yard: Yard, pod: str, path: str) -> list[str]:
    lines = [line.split() for line in yard.exec(pod, "cat", "/proc/self/mountinfo").splitlines()]
    found = [line for line in lines if line[4] == path][-1]
    return found[6 : found.index("-")]


# -- emptyDir --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", [{}, {"emptyDir": {}}, {"emptyDir": {"medium": "Memory"}}], ids=str)
def test_an_empty_dir_is_shared_by_the_containers_and_open_to_every_user(yard: Yard, source: Json) -> None:
    writer = yard.container(
        "ls -A /data | wc -l; stat -c %a /data; echo hello >/data/file; exec sleep infinity",
        "writer",
        volumeMounts=[mount()],
        securityContext={"runAsUser": 1234},
    )
    reader = yard.container(name="reader", volumeMounts=[mount("/other")])
    yard.run("web", writer, reader, volumes=data(**source))
    assert yard.log_says("web", "777", "writer").split() == ["0", "777"]
    assert yard.exec("web", "cat", "/other/file", container="reader") == "hello\n"
    assert yard.exec("web", "stat", "-c", "%u", "/other/file", container="reader") == "1234\n"
    uid = yard.uid("web")
    yard.remove("web")
    yard.nothing_is_left_of(uid)


def test_an_empty_dir_survives_a_container_and_not_the_pod(yard: Yard) -> None:
    count = yard.container("echo run >>/data/runs; exec sleep infinity", volumeMounts=[mount()])
    yard.run("web", count, volumes=data(emptyDir={}))
    yard.node.wait_until(lambda: yard.exec("web", "cat", "/data/runs") == "run\n", "it has written")
    os.kill(yard.pid("web"), 9)
    yard.wait_restarts("web", 1)
    yard.node.wait_until(lambda: yard.exec("web", "cat", "/data/runs") == "run\nrun\n", "it has written again")
    yard.remove("web")
    yard.run("web", count, volumes=data(emptyDir={}))
    yard.node.wait_until(lambda: yard.exec("web", "cat", "/data/runs") == "run\n", "it begins anew")


def test_an_empty_dir_in_memory_is_a_tmpfs_of_the_size_that_is_asked_for(yard: Yard) -> None:
    yard.run(
        "web",
        yard.container(volumeMounts=[mount()]),
        volumes=data(emptyDir={"medium": "Memory", "sizeLimit": "1Mi"}),
    )
    assert yard.sh("web", "grep ' /data ' /proc/mounts").split()[2] == "tmpfs"
    assert yard.sh("web", "df -k /data | tail -1").split()[1] == "1024"
    full = yard.sh("web", "dd if=/dev/zero of=/data/big bs=64k count=32 2>&1; true")
    assert "No space left on device" in full


def test_in_memory_it_is_no_larger_than_what_the_pod_may_have(yard: Yard) -> None:
    limits = {"limits": {"memory": "32Mi"}}
    container = yard.container(volumeMounts=[mount()], resources=limits)
    yard.run("web", container, volumes=data(emptyDir={"medium": "Memory"}))
    assert yard.sh("web", "df -k /data | tail -1").split()[1] == str(32 << 10)


def test_the_mode_of_an_empty_dir_can_be_set(yard: Yard) -> None:
    yard.run("web", yard.container(volumeMounts=[mount()]), volumes=data(emptyDir={"mode": 0o700}))
    assert yard.exec("web", "stat", "-c", "%a", "/data") == "700\n"


def test_more_than_its_size_limit_on_disk_evicts_the_pod(yard: Yard) -> None:
    greedy = yard.container("dd if=/dev/zero of=/data/big bs=64k count=32; exec sleep infinity", volumeMounts=[mount()])
    yard.put("web", greedy, yard.container(name="other"), volumes=data(emptyDir={"sizeLimit": "1Mi"}))
    words = 'Usage of EmptyDir volume "data" exceeds the limit "1Mi".'
    status = yard.node.wait_phase("web", "Failed")["status"]
    assert (status["reason"], status["message"]) == ("Evicted", words)
    assert yard.wait_event("web", "Evicted")["message"] == words
    for name in ("app", "other"):
        assert yard.wait_state("web", "terminated", container=name)["exitCode"] == 137
    uid = yard.uid("web")
    yard.put("web", yard.container(volumeMounts=[mount()]), volumes=data(emptyDir={"sizeLimit": "1Mi"}))
    found = yard.node.wait_until(lambda: (pod := yard.node.pod("web")) and pod["metadata"]["uid"] != uid and pod, "new")
    assert found is not None
    assert yard.node.wait_phase("web", "Running")["status"].get("reason") is None
    yard.nothing_is_left_of(uid)


def test_an_evicted_pod_stays_so_over_a_restart_of_the_node(fresh: Yard) -> None:
    greedy = fresh.container(
        "dd if=/dev/zero of=/data/big bs=64k count=32; exec sleep infinity", volumeMounts=[mount()]
    )
    fresh.put("web", greedy, volumes=data(emptyDir={"sizeLimit": "1Mi"}))
    fresh.node.wait_phase("web", "Failed")
    fresh.node.stop(9)
    fresh.node.start()
    assert fresh.node.wait_phase("web", "Failed")["status"]["reason"] == "Evicted"


def test_a_limit_is_watched_again_by_the_next_node(fresh: Yard) -> None:
    fresh.run("web", fresh.container(volumeMounts=[mount()]), volumes=data(emptyDir={"sizeLimit": "1Mi"}))
    fresh.node.stop(9)
    fresh.node.start()
    fresh.sh("web", "dd if=/dev/zero of=/data/big bs=64k count=32 2>/dev/null")
    assert fresh.node.wait_phase("web", "Failed")["status"]["reason"] == "Evicted"


# -- hostPath --------------------------------------------------------------------------------------------------------


def test_a_host_path_is_the_machine_s_own(yard: Yard, host: Path) -> None:
    (host / "file").write_text("from the host\n")
    yard.run("web", yard.container(volumeMounts=[mount()]), volumes=data(hostPath={"path": str(host)}))
    assert yard.exec("web", "cat", "/data/file") == "from the host\n"
    yard.sh("web", "echo from inside >/data/other")
    assert (host / "other").read_text() == "from inside\n"
    yard.remove("web")
    assert sorted(os.listdir(host)) == ["file", "other"]


def test_a_host_path_may_be_a_file(yard: Yard, host: Path) -> None:
    (host / "file").write_text("x\n")
    volumes = data(hostPath={"path": str(host / "file"), "type": "File"})
    yard.run("web", yard.container(volumeMounts=[mount("/etc/there/file")]), volumes=volumes)
    assert yard.exec("web", "cat", "/etc/there/file") == "x\n"


@pytest.mark.parametrize(
    ("type_", "kind", "mode"),
    [
        ("", "directory", 0o755),
        ("DirectoryOrCreate", "directory", 0o755),
        ("FileOrCreate", "regular empty file", 0o644),
    ],
)
def test_what_is_missing_is_made_where_the_type_says_so(
    yard: Yard, host: Path, type_: str, kind: str, mode: int
) -> None:
    path = host / "made"
    container = yard.container(volumeMounts=[mount()])
    yard.run("web", container, volumes=data(hostPath={"path": str(path), "type": type_}))
    assert yard.exec("web", "stat", "-c", "%F", "/data") == f"{kind}\n"
    assert stat.S_IMODE(path.stat().st_mode) == mode


WRONG = {
    "Directory": "is not a directory",
    "DirectoryOrCreate": "is not a directory",
    "Socket": "is not a socket file",
    "CharDevice": "is not a character device",
    "BlockDevice": "is not a block device",
}


@pytest.mark.parametrize("type_", WRONG)
def test_a_path_of_the_wrong_type_keeps_the_pod_waiting(yard: Yard, host: Path, type_: str) -> None:
    (host / "file").write_text("x")
    volumes = data(hostPath={"path": str(host / "file"), "type": type_})
    yard.put("web", yard.container(volumeMounts=[mount()]), volumes=volumes)
    words = f"hostPath type check failed: {host}/file {WRONG[type_]}"
    event = yard.wait_event("web", "FailedMount", words)
    assert event["message"] == f'MountVolume.SetUp failed for volume "data" : {words}'
    assert event["type"] == "Warning"
    yard.node.wait_until(
        lambda: words in yard.wait_state("web", "waiting", "ContainerCreating").get("message", ""),
        "its status says why",
    )
    (host / "file").unlink()
    if "Create" in type_:
        yard.node.wait_phase("web", "Running")


@pytest.mark.parametrize(("type_", "words"), [("File", "is not a file"), ("Directory", "is not a directory")])
def test_a_pod_waits_for_a_path_that_is_not_there_yet(yard: Yard, host: Path, type_: str, words: str) -> None:
    volumes = data(hostPath={"path": str(host / "later"), "type": type_})
    yard.put("web", yard.container(volumeMounts=[mount()]), volumes=volumes)
    yard.wait_event("web", "FailedMount", words)
    (host / "later").write_text("") if type_ == "File" else (host / "later").mkdir()
    yard.node.wait_phase("web", "Running")


def test_devices_and_sockets_pass_their_check(yard: Yard, host: Path) -> None:
    os.mkfifo(host / "fifo")
    volumes = [
        {"name": "null", "hostPath": {"path": "/dev/null", "type": "CharDevice"}},
        {"name": "fifo", "hostPath": {"path": str(host / "fifo")}},
    ]
    mounts = [mount("/n", "null"), mount("/f", "fifo")]
    yard.run("web", yard.container(volumeMounts=mounts), volumes=volumes)
    assert yard.exec("web", "stat", "-c", "%F", "/n", "/f").splitlines() == ["character special file", "fifo"]


# -- mounts ----------------------------------------------------------------------------------------------------------


def test_a_read_only_mount_cannot_be_written_and_another_of_the_same_volume_can(yard: Yard) -> None:
    reader = yard.container(name="reader", volumeMounts=[mount(readOnly=True)])
    writer = yard.container(name="writer", volumeMounts=[mount()])
    yard.run("web", reader, writer, volumes=data())
    yard.sh("web", "echo x >/data/file", "writer")
    assert "Read-only file system" in yard.sh("web", "(echo y >/data/file) 2>&1; true", "reader")
    assert yard.exec("web", "cat", "/data/file", container="reader") == "x\n"
    assert "ro" in mount_flags(yard, "web", "/data", "reader")


def test_recursive_read_only_reaches_the_mounts_below(yard: Yard, host: Path) -> None:
    (host / "below").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "none", str(host / "below")], check=True)
    try:
        mounts = [
            mount("/plain", readOnly=True),
            mount("/deep", readOnly=True, recursiveReadOnly="Enabled"),
            mount("/possible", readOnly=True, recursiveReadOnly="IfPossible"),
        ]
        yard.run("web", yard.container(volumeMounts=mounts), volumes=data(hostPath={"path": str(host)}))
        assert "rw" in mount_flags(yard, "web", "/plain/below")
        assert "ro" in mount_flags(yard, "web", "/plain")
        for path in ("/deep", "/deep/below", "/possible", "/possible/below"):
            assert "ro" in mount_flags(yard, "web", path), path
        yard.remove("web")
    finally:
        subprocess.run(["umount", str(host / "below")], check=True)


def test_bind_mount_options_are_set(yard: Yard) -> None:
    container = yard.container(volumeMounts=[mount(bindMountOptions=["noexec", "nosuid", "nodev"])])
    yard.run("web", container, volumes=data())
    assert {"noexec", "nosuid", "nodev", "rw"} <= set(mount_flags(yard, "web", "/data"))


def test_a_sub_path_is_a_part_of_the_volume_and_made_where_it_is_missing(yard: Yard) -> None:
    one = yard.container(name="one", volumeMounts=[mount(subPath="a/b"), mount("/file", subPath="")])
    two = yard.container(name="two", volumeMounts=[mount("/all")])
    yard.run("web", one, two, volumes=data())
    yard.sh("web", "echo x >/data/file", "one")
    assert yard.exec("web", "cat", "/all/a/b/file", container="two") == "x\n"
    assert yard.sh("web", "stat -c %a /all/a /all/a/b", "two").split() == ["777", "777"]


def test_a_sub_path_may_be_a_file(yard: Yard, host: Path) -> None:
    (host / "conf").write_text("x\n")
    container = yard.container(volumeMounts=[mount("/etc/app.conf", subPath="conf")])
    yard.run("web", container, volumes=data(hostPath={"path": str(host)}))
    assert yard.exec("web", "cat", "/etc/app.conf") == "x\n"
    assert yard.exec("web", "ls", "-A", "/etc/app.conf") == "/etc/app.conf\n"


def test_sub_path_expr_is_filled_in_from_the_environment(yard: Yard, host: Path) -> None:
    container = yard.container(env=[{"name": "WHO", "value": "me"}], volumeMounts=[mount(subPathExpr="logs/$(WHO)")])
    yard.run("web", container, volumes=data(hostPath={"path": str(host)}))
    yard.sh("web", "echo x >/data/file")
    assert (host / "logs" / "me" / "file").read_text() == "x\n"


@pytest.mark.parametrize(
    ("value", "words"),
    [(None, "no variable WHO"), ("../..", "must not contain '..'"), ("/etc", "must not be an absolute path")],
)
def test_a_sub_path_expr_that_leads_nowhere_good_starts_nothing(yard: Yard, value: str | None, words: str) -> None:
    env = [] if value is None else [{"name": "WHO", "value": value}]
    container = yard.container(env=env, volumeMounts=[mount(subPathExpr="$(WHO)")])
    yard.put("web", container, volumes=data())
    waiting = yard.wait_state("web", "waiting", "CreateContainerConfigError")
    assert words in waiting["message"]


def test_parents_are_mounted_before_what_lies_in_them(yard: Yard, host: Path) -> None:
    (host / "file").write_text("inner\n")
    volumes = [{"name": "outer"}, {"name": "inner", "hostPath": {"path": str(host)}}]
    mounts = [mount("/data/deep/in", "inner"), mount("/data", "outer")]
    yard.run("web", yard.container(volumeMounts=mounts), volumes=volumes)
    assert yard.exec("web", "cat", "/data/deep/in/file") == "inner\n"
    yard.sh("web", "echo x >/data/outer")
    assert not (host / "outer").exists()


def test_a_volume_may_take_the_place_of_the_kubelet_s_own_files_and_of_shared_memory(yard: Yard, host: Path) -> None:
    (host / "hosts").write_text("10.0.0.1 mine\n")
    volumes = [
        {"name": "hosts", "hostPath": {"path": str(host / "hosts")}},
        {"name": "shm", "emptyDir": {"medium": "Memory"}},
    ]
    mounts = [mount("/etc/hosts", "hosts"), mount("/dev/shm", "shm")]
    yard.run("web", yard.container(volumeMounts=mounts), volumes=volumes)
    assert yard.exec("web", "cat", "/etc/hosts") == "10.0.0.1 mine\n"
    assert "noexec" not in mount_flags(yard, "web", "/dev/shm")


def test_a_volume_on_etc_keeps_the_pod_s_hosts_file(yard: Yard) -> None:
    yard.run("web", yard.container(volumeMounts=[mount("/etc")]), volumes=data())
    assert "localhost" in yard.exec("web", "cat", "/etc/hosts")
    assert sorted(yard.exec("web", "ls", "/etc").split()) == ["hostname", "hosts", "resolv.conf"]


def test_what_is_mounted_on_the_host_later_is_seen_only_where_it_is_asked_for(yard: Yard, host: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "none", str(host)], check=True)
    try:
        subprocess.run(["mount", "--make-rshared", str(host)], check=True)
        (host / "later").mkdir()
        mounts = [mount("/follows", mountPropagation="HostToContainer"), mount("/stays", mountPropagation="None")]
        yard.run("web", yard.container(volumeMounts=mounts), volumes=data(hostPath={"path": str(host)}))
        assert propagation(yard, "web", "/follows")[0].startswith("master:")
        assert propagation(yard, "web", "/stays") == []
        subprocess.run(["mount", "-t", "tmpfs", "none", str(host / "later")], check=True)
        try:
            (host / "later" / "file").write_text("x\n")
            assert yard.exec("web", "cat", "/follows/later/file") == "x\n"
            assert yard.exec("web", "ls", "/stays/later") == ""
        finally:
            subprocess.run(["umount", str(host / "later")], check=True)
        assert yard.exec("web", "ls", "/follows/later") == ""
        yard.remove("web")
    finally:
        subprocess.run(["umount", str(host)], check=True)


@pytest.fixture
def shared_mount(host: Path) -> Iterator[Path]:
    """A tmpfs of the machine's whose mounts travel."""
    subprocess.run(["mount", "-t", "tmpfs", "none", str(host)], check=True)
    subprocess.run(["mount", "--make-rshared", str(host)], check=True)
    yield host
    subprocess.run(["umount", "-R", str(host)], check=True)


def test_what_a_privileged_container_mounts_is_seen_by_the_machine(yard: Yard, shared_mount: Path) -> None:
    (shared_mount / "inner").mkdir()
    container = yard.container(
        securityContext={"privileged": True}, volumeMounts=[mount(mountPropagation="Bidirectional")]
    )
    yard.run("web", container, volumes=data(hostPath={"path": str(shared_mount)}))
    yard.sh("web", "mount -t tmpfs none /data/inner && echo x >/data/inner/file")
    assert (shared_mount / "inner" / "file").read_text() == "x\n"
    yard.sh("web", "umount /data/inner")
    assert not (shared_mount / "inner" / "file").exists()
    yard.remove("web")


@pytest.mark.parametrize(
    ("wanted", "words"),
    [("Bidirectional", "but it is not a shared mount"), ("HostToContainer", "but it is not a shared or slave mount")],
)
def test_mounts_cannot_travel_over_a_private_one(yard: Yard, host: Path, wanted: str, words: str) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "none", str(host)], check=True)
    try:
        subprocess.run(["mount", "--make-private", str(host)], check=True)
        container = yard.container(securityContext={"privileged": True}, volumeMounts=[mount(mountPropagation=wanted)])
        yard.put("web", container, volumes=data(hostPath={"path": str(host)}))
        waiting = yard.wait_state("web", "waiting", "CreateContainerConfigError")
        assert f'path "{host}" is mounted on "{host}" {words}' in waiting["message"]
        (yard.node.manifests / "web.json").unlink()
        yard.node.wait_gone("web")
    finally:
        subprocess.run(["umount", str(host)], check=True)


# -- groups ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("medium", ["", "Memory"])
def test_an_empty_dir_belongs_to_the_fs_group(yard: Yard, medium: str) -> None:
    container = yard.container(volumeMounts=[mount()], securityContext={"runAsUser": 1000, "runAsGroup": 1000})
    volumes = data(emptyDir={"medium": medium, "mode": 0o700})
    yard.run("web", container, volumes=volumes, securityContext={"fsGroup": 4321})
    assert yard.exec("web", "stat", "-c", "%a %g", "/data") == "2770 4321\n"
    assert "4321" in yard.exec("web", "id", "-G").split()
    yard.sh("web", "mkdir /data/new; echo x >/data/new/file")
    assert yard.sh("web", "stat -c %g /data/new /data/new/file").split() == ["4321", "4321"]


# -- images ----------------------------------------------------------------------------------------------------------


def test_an_image_is_a_read_only_volume(yard: Yard) -> None:
    volumes = data(image={"reference": str(yard.rootfs)})
    mounts = [mount("/image"), mount("/only", subPath="bin")]
    yard.run("web", yard.container(volumeMounts=mounts), volumes=volumes)
    assert yard.exec("web", "ls", "/image/bin") == yard.exec("web", "ls", "/bin")
    assert yard.exec("web", "ls", "/only") == yard.exec("web", "ls", "/bin")
    assert {"ro", "noexec"} <= set(mount_flags(yard, "web", "/image"))
    assert "Read-only file system" in yard.sh("web", "(echo x >/image/file) 2>&1; true")
    uid = yard.uid("web")
    yard.remove("web")
    yard.nothing_is_left_of(uid)


def test_an_image_that_is_not_there_keeps_the_pod_waiting(yard: Yard, host: Path) -> None:
    volumes = data(image={"reference": str(host / "later")})
    yard.put("web", yard.container(volumeMounts=[mount()]), volumes=volumes)
    yard.wait_event("web", "FailedMount", f"{host}/later")
    (host / "later").mkdir()
    (host / "later" / "file").write_text("x\n")
    yard.node.wait_phase("web", "Running")
    assert yard.exec("web", "cat", "/data/file") == "x\n"


# -- editing and the end ---------------------------------------------------------------------------------------------


def test_changed_volumes_make_a_new_pod(yard: Yard) -> None:
    container = yard.container(volumeMounts=[mount()])
    before = yard.run("web", container, volumes=data())["metadata"]["uid"]
    yard.put("web", container, volumes=data(emptyDir={"medium": "Memory"}))
    found = yard.node.wait_until(
        lambda: (pod := yard.node.pod("web")) and pod["metadata"]["uid"] != before and pod, "it is another pod"
    )
    yard.node.wait_phase("web", "Running")
    assert found["metadata"]["uid"] != before
    yard.nothing_is_left_of(before)


def test_a_pod_with_something_mounted_in_its_volume_stays_until_it_is_gone(yard: Yard) -> None:
    yard.run("web", yard.container(volumeMounts=[mount()]), volumes=data())
    uid = yard.uid("web")
    inner = yard.node.paths.empty_dir(uid, "data") / "inner"
    inner.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "none", str(inner)], check=True)
    try:
        (inner / "precious").write_text("x")
        (yard.node.manifests / "web.json").unlink()
        yard.wait_event("web", "FailedSync", f"{inner} is still mounted")
        assert (inner / "precious").exists()
    finally:
        subprocess.run(["umount", str(inner)], check=True)
    yard.node.wait_gone("web")
    yard.nothing_is_left_of(uid)


def test_volumes_outlive_the_node_and_a_new_one_takes_them_away(fresh: Yard) -> None:
    volumes = [{"name": "data"}, {"name": "memory", "emptyDir": {"medium": "Memory"}}]
    container = fresh.container(volumeMounts=[mount(), mount("/memory", "memory")])
    fresh.run("web", container, volumes=volumes)
    fresh.sh("web", "echo x >/data/file; echo y >/memory/file")
    uid, pid = fresh.uid("web"), fresh.pid("web")
    fresh.node.stop(9)
    fresh.node.start()
    assert fresh.pid("web") == pid
    os.kill(pid, 9)
    fresh.wait_restarts("web", 1)
    assert fresh.sh("web", "cat /data/file /memory/file") == "x\ny\n"
    fresh.node.stop(9)
    (fresh.node.manifests / "web.json").unlink()
    fresh.node.start()
    fresh.node.wait_gone("web")
    fresh.nothing_is_left_of(uid)
