"""A part of a volume is mounted, and nothing else: whatever a container puts into the volume, and whenever it does.

The attacks are those of CVE-2017-1002101 (a symlink in the place of a subPath) and CVE-2021-25741 (the symlink is
swapped in between the look and the mount).
"""

from __future__ import annotations

import json
import os
import select
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from minikube_lite.linux.client import LauncherError
from minikube_lite.linux.mounts import MOUNT_ROOTS
from minikube_lite.linux.parts import open_part
from tests.linux.oci import Box

pytestmark = pytest.mark.root

SECRET = "the machine's own"
SWAPS = """
import ctypes, sys
first, second = (path.encode() for path in sys.argv[1:])
swap = ctypes.CDLL(None, use_errno=True).renameat2
print("swapping", flush=True)
while swap(-100, first, -100, second, 2) == 0:  # RENAME_EXCHANGE
    pass
"""


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    """A volume; beside it, out of bounds, a directory of the machine's."""
    host = tmp_path / "host"
    host.mkdir()
    (host / "file").write_text(SECRET)
    (host / "deep").mkdir()
    (host / "deep" / "file").write_text(SECRET)
    made = tmp_path / "volume"
    made.mkdir()
    made.chmod(0o777)
    return made


@contextmanager
def swapping(first: Path, second: Path) -> Iterator[None]:
    """Another process that exchanges the two without a pause, as a container would that has the volume."""
    child = subprocess.Popen([sys.executable, "-c", SWAPS, str(first), str(second)], stdout=subprocess.PIPE)
    try:
        assert child.stdout is not None
        assert select.select([child.stdout], [], [], 30)[0]
        yield
        assert child.poll() is None, "it swapped to the end"
    finally:
        child.kill()
        child.communicate()


def where(fd: int) -> Path:
    return Path(os.readlink(f"/proc/self/fd/{fd}"))


@pytest.mark.parametrize("target", ["../host", "../../../../../../../../etc", "/etc", "deep/../../host"])
@pytest.mark.parametrize("path", ["link", "link/deep", "a/link"])
def test_a_symlink_never_leads_out(volume: Path, target: str, path: str) -> None:
    (volume / "a").mkdir()
    (volume / "a" / "link").symlink_to(target)
    (volume / "link").symlink_to(target)
    for create in (False, True):
        try:
            fd = open_part(str(volume), path, create=create)
        except OSError:
            continue  # a link to what the volume does not have
        assert where(fd).is_relative_to(volume)
        os.close(fd)
    assert sorted(os.listdir(volume.parent / "host")) == ["deep", "file"]


def test_a_magic_link_is_refused(volume: Path) -> None:
    (volume / "link").symlink_to("/proc/self/root")
    with pytest.raises(OSError, match="link"):
        open_part(str(volume), "link", create=True)


@pytest.mark.parametrize("path", ["part", "part/deep"])
@pytest.mark.parametrize("create", [False, True])
def test_a_symlink_that_is_swapped_in_meanwhile_never_leads_out(volume: Path, path: str, create: bool) -> None:
    (volume / "part").mkdir()
    (volume / "part" / "deep").mkdir()
    (volume / "link").symlink_to("../host")
    with swapping(volume / "part", volume / "link"):
        opened = 0
        for _ in range(1_000_000):  # most tries meet a swap on a busy machine, and the kernel gives up on those
            if opened > 200:
                break
            try:
                fd = open_part(str(volume), path, create=create)
            except OSError:
                continue
            place = where(fd)
            os.close(fd)
            assert place.is_relative_to(volume), place
            opened += 1
        assert opened > 200
    assert sorted(os.listdir(volume.parent / "host")) == ["deep", "file"]


def test_what_is_made_while_symlinks_are_swapped_in_is_made_in_the_volume(volume: Path) -> None:
    (volume / "part").mkdir()
    (volume / "link").symlink_to("../host")
    with swapping(volume / "part", volume / "link"):
        for number in range(1000):
            try:
                os.close(open_part(str(volume), f"part/new{number}/deep", create=True))
            except OSError:
                continue
    assert sorted(os.listdir(volume.parent / "host")) == ["deep", "file"]


def test_what_is_missing_is_made_with_the_mode_of_the_volume(volume: Path) -> None:
    volume.chmod(0o2770)
    os.chown(volume, -1, 4321)
    os.close(open_part(str(volume), "a/b/c", create=True))
    for path in ("a", "a/b", "a/b/c"):
        found = (volume / path).stat()
        assert (stat.S_IMODE(found.st_mode), found.st_gid) == (0o2770, 4321), path


def test_what_is_missing_is_an_error_where_nothing_may_be_made(volume: Path) -> None:
    with pytest.raises(FileNotFoundError, match="key is not in the volume"):
        open_part(str(volume), "key", create=False)
    assert os.listdir(volume) == []


def test_a_file_in_the_way_is_an_error(volume: Path) -> None:
    (volume / "file").write_text("")
    with pytest.raises(NotADirectoryError):
        open_part(str(volume), "file/below", create=True)


def test_a_dangling_symlink_is_not_followed_to_make_something(volume: Path) -> None:
    (volume / "link").symlink_to("../host/made")
    with pytest.raises(OSError, match="make link"):
        open_part(str(volume), "link", create=True)
    assert not (volume.parent / "host" / "made").exists()


def part_of(box: Box, volume: Path, path: str, *options: str, create: bool = True) -> None:
    """Have the container mount this part of the volume on /data."""
    box.config["mounts"].append(
        {"destination": "/data", "type": "bind", "source": str(volume / path), "options": ["rbind", *options]}
    )
    roots: dict[str, Any] = {"/data": {"root": str(volume), "create": create}}
    box.config["annotations"] = {MOUNT_ROOTS: json.dumps(roots)}


async def test_a_container_that_starts_while_symlinks_are_swapped_never_sees_the_machine(
    make_box: Any, volume: Path
) -> None:
    (volume / "part").mkdir()
    (volume / "part" / "file").write_text("the volume's")
    (volume / "link").symlink_to("../host")
    seen = []
    with swapping(volume / "part", volume / "link"):
        for _ in range(25):
            box = make_box()
            part_of(box, volume, "part")
            try:
                seen.append(await box.shell("cat /data/file"))
            except LauncherError as error:
                seen.append(error.reason)
    assert SECRET not in seen
    assert "the volume's" in seen


async def test_early_copies_of_shared_mounts_stay_inside_too(box: Box, volume: Path) -> None:
    (volume / "link").symlink_to("/etc")
    (volume / "etc").mkdir()
    (volume / "etc" / "file").write_text("the volume's")
    part_of(box, volume, "link", "rshared")
    assert await box.shell("cat /data/file; ls /data") == "the volume'sfile\n"


@pytest.mark.parametrize(
    ("target", "words"),
    [("/proc", "the destination leads into /proc"), ("/", "the destination leads to the root of the container")],
)
async def test_an_image_cannot_lead_a_volume_to_proc_or_over_its_root(
    box: Box, volume: Path, tmp_path: Path, rootfs: Path, target: str, words: str
) -> None:
    image = tmp_path / "image"
    image.mkdir()
    (image / "data").symlink_to(target)
    box.lower = [str(rootfs), str(image)]
    part_of(box, volume, "part")
    with pytest.raises(LauncherError, match=words):
        await box.run("true")
    assert box.made() == set()
