"""Mounts, capabilities and records as values: no root needed."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from minikube_lite.linux import syscalls as kernel
from minikube_lite.linux.capabilities import Capabilities, mask
from minikube_lite.linux.errors import Failure
from minikube_lite.linux.mounts import PROPAGATION, Mount, overlay
from minikube_lite.linux.namespaces import HOST_PID, Namespaces
from minikube_lite.linux.records import boot_id, claim, is_alive, process_record, read_json, start_time, write_json


@pytest.mark.parametrize(
    ("options", "flags", "data", "said"),
    [
        (["nosuid", "mode=755"], kernel.MS_NOSUID, "mode=755", "mount tmpfs on /m (nosuid,mode=755)"),
        (["ro", "rw"], 0, "", "mount tmpfs on /m"),
        (["nosuid", "nodev", "suid"], kernel.MS_NODEV, "", "mount tmpfs on /m (nodev)"),
        (["size=1k", "nr_inodes=2"], 0, "size=1k,nr_inodes=2", "mount tmpfs on /m (size=1k,nr_inodes=2)"),
    ],
)
def test_options_become_flags_and_the_rest_is_the_file_systems(
    options: list[str], flags: int, data: str, said: str
) -> None:
    mount = Mount.from_oci({"destination": "/m", "type": "tmpfs", "source": "tmpfs", "options": options})
    assert (mount.flags, mount.data, mount.describe()) == (flags, data, said)


def test_a_bind_mount_says_what_is_bound() -> None:
    mount = Mount.from_oci({"destination": "/m", "source": "/s", "options": ["rbind", "ro", "rslave"]})
    assert mount.describe() == "mount bind /s on /m (ro)"
    assert mount.propagation == PROPAGATION["rslave"] == kernel.MS_SLAVE | kernel.MS_REC


def test_in_an_overlay_commas_colons_and_backslashes_are_escaped() -> None:
    assert overlay(["/a:b", "/c,d"], "/u\\v", "/w")["options"] == [
        "lowerdir=/c\\,d:/a\\:b",
        "upperdir=/u\\\\v",
        "workdir=/w",
    ]


def test_capabilities_are_cut_down_to_what_is_there_to_give() -> None:
    sets = {name: ["CAP_CHOWN", "CAP_SYS_RESOURCE"] for name in ("bounding", "effective", "permitted")}
    found = Capabilities(sets, own=mask(["CAP_CHOWN", "CAP_KILL"]))
    assert found.bounding == found.effective == found.permitted == mask(["CAP_CHOWN"]) == 1
    assert found.inheritable == found.ambient == 0


def test_a_capability_is_ambient_only_where_it_is_inheritable() -> None:
    sets = {name: ["CAP_KILL"] for name in ("permitted", "inheritable")} | {"ambient": ["CAP_KILL", "CAP_CHOWN"]}
    assert Capabilities(sets, own=-1).ambient == mask(["CAP_KILL"])


def test_without_capabilities_there_are_none() -> None:
    found = Capabilities(None, own=-1)
    assert found.bounding == found.permitted == found.effective == found.inheritable == 0


@pytest.mark.parametrize(
    ("entries", "pid"),
    [
        ([{"type": "mount"}, {"type": "pid"}], ""),
        ([{"type": "mount"}, {"type": "pid", "path": "/x"}], "/x"),
        ([{"type": "mount"}], HOST_PID),
    ],
)
def test_the_pid_namespace_is_new_or_one_to_join_or_the_machines(entries: list[dict[str, str]], pid: str) -> None:
    assert Namespaces(entries).pid == pid


def test_a_namespace_listed_twice_is_refused() -> None:
    with pytest.raises(Failure, match="uts is listed twice"):
        Namespaces([{"type": "mount"}, {"type": "uts"}, {"type": "uts", "path": "/x"}])


def test_a_process_is_its_pid_and_its_start() -> None:
    started = start_time(os.getpid())
    assert started is not None
    assert is_alive(os.getpid(), started, boot_id())
    assert not is_alive(os.getpid(), started + 1, boot_id())
    assert not is_alive(os.getpid(), started, "another boot")
    assert start_time(2**22 + 1) is None


def test_a_record_is_replaced_in_one_step(tmp_path: Path) -> None:
    path = str(tmp_path / "record.json")
    assert read_json(path) is None
    write_json(path, {"a": 1})
    write_json(path, {"a": 2})
    assert read_json(path) == {"a": 2}
    assert os.listdir(tmp_path) == ["record.json"]


def test_a_record_that_is_broken_is_named(tmp_path: Path) -> None:
    (tmp_path / "record.json").write_text("{")
    with pytest.raises(ValueError, match=r"record\.json: Expecting"):
        read_json(str(tmp_path / "record.json"))


def test_of_many_claims_one_wins_and_the_record_is_whole(tmp_path: Path) -> None:
    record = process_record(os.getpid()) | {"padding": "x" * 100000}
    won = []
    barrier = threading.Barrier(8)

    def race() -> None:
        barrier.wait()
        if claim(str(tmp_path), record):
            won.append(read_json(str(tmp_path / "shim.json")))

    threads = [threading.Thread(target=race) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert won == [record]
    assert os.listdir(tmp_path) == ["shim.json"]
