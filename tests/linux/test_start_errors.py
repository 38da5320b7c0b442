"""What cannot be started says which step failed and why, and leaves nothing."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from minikube_lite.linux.cgroups import Cgroup
from minikube_lite.linux.client import LauncherError
from tests.linux.oci import Box

pytestmark = pytest.mark.root


async def refused(box: Box, **fields: object) -> LauncherError:
    """The error of starting it; checks that nothing was left."""
    with pytest.raises(LauncherError) as caught:
        await box.run(**fields)
    assert box.made() == set()
    assert not Cgroup(box.cgroup).exists()
    return caught.value


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["nope"], 'exec: "nope": executable file not found in $PATH'),
        (["/bin/nope"], 'exec: "/bin/nope": no such file or directory'),
        (["/etc/passwd"], 'exec: "/etc/passwd": permission denied'),
        (["/etc"], 'exec: "/etc": is a directory'),
        (["/script"], 'exec: "/script": no such file or directory (its interpreter or loader is missing)'),
        (["/text"], 'exec: "/text": exec format error'),
    ],
)
async def test_a_command_that_cannot_be_run_is_worded_as_runc_does(box: Box, args: list[str], message: str) -> None:
    for name, text in (("script", "#!/bin/missing\n"), ("text", "no program")):
        (box.path("upper") / name).write_text(text)
        (box.path("upper") / name).chmod(0o755)
    box.config["process"]["args"] = args
    error = await refused(box)
    assert (error.reason, error.message) == ("StartError", message)


def no_rootfs(box: Box) -> None:
    box.lower = ["/nonexistent"]


def no_args(box: Box) -> None:
    box.config["process"]["args"] = []


def relative_cwd(box: Box) -> None:
    box.config["process"]["cwd"] = "tmp"


def cwd_is_a_file(box: Box) -> None:
    box.config["process"]["cwd"] = "/etc/passwd"


def no_such_source(box: Box) -> None:
    box.config["mounts"].append({"destination": "/m", "type": "bind", "source": "/nonexistent", "options": ["rbind"]})


def relative_source(box: Box) -> None:
    box.config["mounts"].append({"destination": "/m", "type": "bind", "source": "here", "options": ["rbind"]})


def file_on_directory(box: Box) -> None:
    box.config["mounts"].append({"destination": "/etc", "type": "bind", "source": "/etc/passwd", "options": ["bind"]})


def directory_on_file(box: Box) -> None:
    box.config["mounts"].append({"destination": "/etc/passwd", "type": "bind", "source": "/etc", "options": ["bind"]})


def unknown_option(box: Box) -> None:
    box.config["mounts"].append({"destination": "/m", "type": "tmpfs", "source": "tmpfs", "options": ["nonsense"]})


def unknown_type(box: Box) -> None:
    box.config["mounts"].append({"destination": "/m", "type": "nonsensefs", "source": "x"})


def unknown_namespace(box: Box) -> None:
    box.config["linux"]["namespaces"].append({"type": "user"})


def no_mount_namespace(box: Box) -> None:
    box.config["linux"]["namespaces"] = [{"type": "pid"}]


def namespace_is_no_namespace(box: Box) -> None:
    box.config["linux"]["namespaces"][1]["path"] = "/etc/passwd"


def namespace_of_another_kind(box: Box) -> None:
    box.config["linux"]["namespaces"][1]["path"] = "/proc/self/ns/uts"


def unknown_capability(box: Box) -> None:
    box.config["process"]["capabilities"]["bounding"] = ["CAP_NONSENSE"]


def unknown_rlimit(box: Box) -> None:
    box.config["process"]["rlimits"] = [{"type": "RLIMIT_NONSENSE", "soft": 1, "hard": 1}]


def sysctl_of_the_machine(box: Box) -> None:
    box.config["linux"]["sysctl"] = {"kernel.panic": "1"}


def sysctl_that_climbs(box: Box) -> None:
    box.config["linux"]["sysctl"] = {"net/../kernel/panic": "1"}


def hooks(box: Box) -> None:
    box.config["hooks"] = {"prestart": [{"path": "/bin/true"}]}


def cgroup_outside(box: Box) -> None:
    box.config["linux"]["cgroupsPath"] = "/../x"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (no_rootfs, "mount overlay on / (lowerdir=/nonexistent,"),
        (no_args, "process.args is empty: there is no command"),
        (relative_cwd, "process.cwd must be an absolute path, not 'tmp'"),
        (cwd_is_a_file, "working directory /etc/passwd: Not a directory"),
        (no_such_source, "mount bind /nonexistent on /m: open_tree /nonexistent: No such file or directory"),
        (relative_source, "mount bind here on /m: the source of a bind mount must be an absolute path"),
        (file_on_directory, "mount bind /etc/passwd on /etc: the source is a file, the destination a directory"),
        (directory_on_file, "mount bind /etc on /etc/passwd: "),
        (unknown_option, "mount tmpfs on /m (nonsense): Invalid argument"),
        (unknown_type, "mount nonsensefs on /m: No such device"),
        (unknown_namespace, "namespace user is not supported"),
        (no_mount_namespace, "a container needs a mount namespace of its own"),
        (namespace_is_no_namespace, "setns /etc/passwd: Invalid argument"),
        (namespace_of_another_kind, "setns /proc/self/ns/uts: Invalid argument"),
        (unknown_capability, 'unknown capability "CAP_NONSENSE"'),
        (unknown_rlimit, 'unknown rlimit "RLIMIT_NONSENSE"'),
        (sysctl_of_the_machine, 'sysctl "kernel.panic" does not belong to a namespace of the container'),
        (sysctl_that_climbs, "sysctl net/../kernel/panic=1: "),
        (hooks, "hooks are not supported"),
        (cgroup_outside, "cgroupsPath"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
async def test_what_cannot_be_made_names_the_step(box: Box, change: Callable[[Box], None], message: str) -> None:
    before = Path("/proc/sys/kernel/panic").read_text()
    change(box)
    error = await refused(box)
    assert error.reason == "CreateError"
    assert error.message.startswith(message), error.message
    assert Path("/proc/sys/kernel/panic").read_text() == before


async def test_a_root_directory_that_is_missing_is_named(box: Box) -> None:
    box.config["root"]["path"] = "/nonexistent"
    error = await refused(box, rootfs=[])
    assert error.message == "root file system /nonexistent: No such file or directory"


async def test_a_bundle_without_config_is_named(box: Box) -> None:
    with pytest.raises(LauncherError, match=r"config\.json: No such file or directory"):
        await box.launcher.request("run", bundle=str(box.bundle))
    assert box.made() == set()


async def test_a_config_that_is_no_json_is_named(box: Box) -> None:
    box.path("config.json").write_text("{")
    with pytest.raises(LauncherError, match=r"config\.json: Expecting property name"):
        await box.launcher.request("run", bundle=str(box.bundle))
    assert box.made() == set()


async def test_a_bundle_can_be_tried_again_after_a_failure(box: Box) -> None:
    box.config["process"]["args"] = ["nope"]
    await refused(box)
    await box.run("true")
    assert (await box.ended())["code"] == 0


async def test_an_unknown_request_is_refused(box: Box) -> None:
    with pytest.raises(LauncherError, match="unknown op 'dance'"):
        await box.launcher.request("dance")


async def test_a_request_that_is_too_long_is_refused(box: Box) -> None:
    with pytest.raises(LauncherError, match="at most"):
        await box.launcher.request("ping", padding="x" * (1 << 18))
    assert await box.launcher.request("ping", padding="x" * (1 << 17)) == {}


def test_a_rootfs_directory_that_was_there_stays(tmp_path: Path) -> None:
    from minikube_lite.linux.starter import make_directory_once

    assert make_directory_once(str(tmp_path / "rootfs"))
    assert not make_directory_once(str(tmp_path / "rootfs"))
    assert os.listdir(tmp_path) == ["rootfs"]
