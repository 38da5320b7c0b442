"""What a container cannot do to the machine, and what an image cannot do to the runtime."""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from minikube_lite.linux import client
from minikube_lite.linux.client import Launcher, LauncherError
from minikube_lite.linux.mounts import overlay
from tests.linux.oci import Box

pytestmark = pytest.mark.root


async def test_masked_paths_are_empty_and_read_only_paths_take_no_writes(box: Box) -> None:
    script = """
        cat /proc/keys 2>&1 | wc -c; ls -A /sys/firmware 2>/dev/null
        echo 1 > /proc/sys/kernel/panic; touch /sys/x; true
    """
    assert await box.shell(script) == "0\n"
    refusals = [line.rpartition(": ")[2] for line in box.text("stderr").splitlines()]
    assert refusals == ["Read-only file system"] * 2


def proc_link(image: Path) -> None:
    (image / "proc").symlink_to("etc")


def proc_link_out(image: Path) -> None:
    (image / "proc").symlink_to("../../../../../..")


def dev_link(image: Path) -> None:
    (image / "dev").symlink_to("etc")


def sys_link(image: Path) -> None:
    (image / "sys").symlink_to("/")


def dangling(image: Path) -> None:
    (image / "mnt").symlink_to("/nowhere")


@pytest.mark.parametrize(
    ("attack", "message"),
    [
        (proc_link, "/proc of the image is a symlink"),
        (proc_link_out, "/proc of the image is a symlink"),
        (dev_link, "/dev of the image is a symlink"),
        (sys_link, "/sys of the image is a symlink"),
        (dangling, "make mount point /mnt: a symlink that leads nowhere is in the way"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
async def test_an_image_cannot_lead_a_mount_astray(
    box: Box, tmp_path: Path, attack: Callable[[Path], None], message: str
) -> None:
    image = tmp_path / "image"
    (image / "bin").mkdir(parents=True)
    attack(image)
    box.lower = [str(image)]
    box.config["mounts"].append({"destination": "/mnt", "type": "tmpfs", "source": "tmpfs"})
    with pytest.raises(LauncherError) as caught:
        await box.run("true")
    assert message in caught.value.message
    assert box.made() == set()
    assert not (image / "nowhere").exists()


async def test_a_symlink_in_the_image_leads_within_the_image(box: Box, tmp_path: Path, rootfs: Path) -> None:
    """/var/run → /run is in most images, and things are mounted below it; an absolute one starts at the new root."""
    image = tmp_path / "image"
    (image / "var").mkdir(parents=True)
    (image / "run").mkdir()
    (image / "var/run").symlink_to("/../../run")
    box.lower = [str(rootfs), str(image)]
    box.config["mounts"].append({"destination": "/var/run/secrets", "type": "tmpfs", "source": "tmpfs"})
    assert await box.shell("touch /run/secrets/x; ls /var/run/secrets; grep -c /run/secrets /proc/mounts") == "x\n1\n"
    assert not Path("/run/secrets").exists()


@pytest.mark.parametrize("cwd", ["/proc/self/fd/3", "/proc/self/fd/9/../..", "/proc/1/cwd"])
async def test_the_working_directory_cannot_be_outside(box: Box, cwd: str) -> None:
    """CVE-2024-21626: a descriptor of the machine's that is open during the set-up."""
    box.config["process"]["cwd"] = cwd
    with pytest.raises(LauncherError) as caught:
        await box.run("ls", ".")
    assert caught.value.message.startswith("working directory /proc/")


@pytest.mark.parametrize("way", ["bind", "memfd"])
async def test_the_interpreter_cannot_be_written_to(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """CVE-2019-5736: what enters a container is seen there as /proc/PID/exe."""
    found = client.protected_interpreters

    def only_this(executable: str) -> Iterator[tuple[str, int]]:
        for name, fd in found(executable):
            if name == way:
                yield name, fd
            else:
                os.close(fd)

    monkeypatch.setattr(client, "protected_interpreters", only_this)
    launcher = Launcher.spawn()
    try:
        launcher.attach(asyncio.get_running_loop())
        assert launcher.protection == way
        assert await launcher.request("ping") == {}
        exe = os.open(f"/proc/{launcher.pid}/exe", os.O_RDONLY)
    finally:
        launcher.close()
    try:
        if way == "bind":
            assert os.fstatvfs(exe).f_flag & os.ST_RDONLY
            assert not os.access(f"/proc/self/fd/{exe}", os.W_OK)  # EROFS: for root too
        else:
            assert fcntl.fcntl(exe, fcntl.F_GET_SEALS) & fcntl.F_SEAL_WRITE
    finally:
        os.close(exe)


async def test_the_best_protection_is_what_a_container_gets(box: Box) -> None:
    assert box.launcher.protection == "bind"


async def test_an_interpreter_that_does_not_start_one_way_is_started_another(monkeypatch: pytest.MonkeyPatch) -> None:
    def ways(executable: str) -> Iterator[tuple[str, int]]:
        yield "bind", os.open("/bin/true", os.O_PATH | os.O_CLOEXEC)
        yield "none", os.open(os.path.realpath(executable), os.O_PATH | os.O_CLOEXEC)

    monkeypatch.setattr(client, "protected_interpreters", ways)
    launcher = Launcher.spawn()
    launcher.attach(asyncio.get_running_loop())
    assert launcher.protection == "none"
    assert await launcher.request("ping") == {}
    launcher.close()


async def test_a_container_cannot_look_into_the_process_that_enters_it(box: Box) -> None:
    """Not dumpable: /proc/PID of the shim and launcher belongs to root of the machine alone."""
    await box.run("sleep", "60")
    for pid in (box.launcher.pid, box.started["shimPid"]):
        assert Path(f"/proc/{pid}/environ").stat().st_uid == 0
    os.kill(box.started["pid"], 9)
    await box.ended()


@pytest.mark.parametrize("name", ["with space", "with,comma", "with:colon", "with\\backslash", "ünïcode", 'with"quote'])
async def test_the_layers_may_have_odd_names(box: Box, tmp_path: Path, rootfs: Path, name: str) -> None:
    odd = tmp_path / name
    for part in ("image", "upper", "work"):
        (odd / part).mkdir(parents=True)
    (odd / "image/here").write_text("yes\n")
    box.lower = [str(rootfs), str(odd / "image")]
    layers = [overlay(box.lower, str(odd / "upper"), str(odd / "work"))]
    assert await box.output("sh", "-c", "cat /here; echo x > /there", rootfs=layers) == "yes\n"
    assert (odd / "upper/there").read_text() == "x\n"


async def test_there_may_be_more_layers_than_fit_in_a_page(box: Box, tmp_path: Path, rootfs: Path) -> None:
    box.lower = [str(rootfs)]
    for number in range(60):
        layer = tmp_path / f"a-name-that-is-long-enough-to-fill-a-page-{'x' * 60},:{number}"
        layer.mkdir()
        (layer / f"file{number}").touch()
        box.lower.append(str(layer))
    assert await box.shell("ls /file* | wc -l") == "60\n"
