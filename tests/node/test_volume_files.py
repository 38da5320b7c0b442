"""Files of volumes on a real directory: swapped whole, mended after a kill, given to a group, counted."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from minikube_lite.core.projection import File
from minikube_lite.node import atomic_writer
from minikube_lite.node.ownership import give
from minikube_lite.node.volume_usage import exceeds

ONE = {"a": File(b"1", 0o644), "deep/b": File(b"2", 0o600)}
TWO = {"a": File(b"3", 0o644), "c": File(b"4", 0o644)}


def seen(volume: Path) -> dict[str, bytes]:
    """What a reader sees by the links."""
    found: dict[str, bytes] = {}
    for base, _, names in os.walk(volume, followlinks=True):
        for name in names:
            path = Path(base, name)
            if ".." not in str(path.relative_to(volume)):
                found[str(path.relative_to(volume))] = path.read_bytes()
    return found


def expected(files: dict[str, File]) -> dict[str, bytes]:
    return {path: file.data for path, file in files.items()}


def test_files_come_change_and_go(tmp_path: Path) -> None:
    volume = tmp_path / "volume"
    assert not atomic_writer.is_written(volume)
    assert atomic_writer.write(volume, ONE, None)
    assert seen(volume) == expected(ONE)
    assert stat.S_IMODE((volume / "deep" / "b").stat().st_mode) == 0o600
    assert atomic_writer.write(volume, TWO, None)
    assert seen(volume) == expected(TWO)
    assert sorted(os.listdir(volume)) == sorted(["..data", os.readlink(volume / "..data"), "a", "c"])
    assert atomic_writer.write(volume, {}, None)
    assert seen(volume) == {}
    assert atomic_writer.is_written(volume)


def test_what_is_there_already_is_left_alone(tmp_path: Path) -> None:
    atomic_writer.write(tmp_path, ONE, None)
    before = os.readlink(tmp_path / "..data")
    assert not atomic_writer.write(tmp_path, ONE, None)
    assert os.readlink(tmp_path / "..data") == before
    assert atomic_writer.write(tmp_path, {**ONE, "a": File(b"1", 0o600)}, None), "a mode is a change too"


@pytest.mark.parametrize("harm", ["half a directory", "a new link", "no user link", "a stray link", "..data dangles"])
def test_whatever_a_kill_leaves_is_mended(tmp_path: Path, harm: str) -> None:
    atomic_writer.write(tmp_path, ONE, None)
    match harm:
        case "half a directory":
            (tmp_path / "..2026_01_01_00_00_00.xyz").mkdir()
        case "a new link":
            (tmp_path / "..data_tmp").symlink_to("..2026_01_01_00_00_00.xyz")
        case "no user link":
            (tmp_path / "a").unlink()
        case "a stray link":
            (tmp_path / "old").symlink_to("..data/old")
        case "..data dangles":
            (tmp_path / "..data").unlink()
            (tmp_path / "..data").symlink_to("..gone")
    for files in (ONE, TWO):
        atomic_writer.write(tmp_path, files, None)
        assert seen(tmp_path) == expected(files)
        assert len(os.listdir(tmp_path)) == 4


@pytest.mark.root
def test_a_volume_is_given_to_a_group_and_links_lead_nowhere(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("")
    outside.chmod(0o600)
    volume = tmp_path / "volume"
    (volume / "deep").mkdir(parents=True, mode=0o700)
    (volume / "deep" / "program").write_text("")
    (volume / "deep" / "program").chmod(0o4700)
    (volume / "link").symlink_to(outside)
    give(volume, 4321)
    found = {name: (volume / name).lstat() for name in (".", "deep", "deep/program", "link")}
    assert {entry.st_gid for entry in found.values()} == {4321}
    modes = {name: stat.S_IMODE(entry.st_mode) for name, entry in found.items() if name != "link"}
    assert (modes["."] & 0o2770, modes["deep"], modes["deep/program"]) == (0o2770, 0o2770, 0o4760)
    assert (outside.stat().st_gid, stat.S_IMODE(outside.stat().st_mode)) == (outside.stat().st_gid, 0o600)
    assert outside.stat().st_gid != 4321


@pytest.mark.root
def test_what_is_right_already_is_not_walked_where_the_policy_says_so(tmp_path: Path) -> None:
    give(tmp_path, 4321)
    (tmp_path / "file").write_text("")
    os.chown(tmp_path / "file", 0, 0)
    give(tmp_path, 4321, only_if_wrong=True)
    assert (tmp_path / "file").stat().st_gid == 0
    give(tmp_path, 4321)
    assert (tmp_path / "file").stat().st_gid == 4321


def test_what_lies_there_is_counted_in_blocks_and_a_hard_link_once(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "file").write_bytes(bytes(1 << 16))
    os.sync()
    used = sum(path.lstat().st_blocks * 512 for path in (tmp_path / "deep", tmp_path / "deep" / "file"))
    assert not exceeds(tmp_path, used)
    assert exceeds(tmp_path, used - 1)
    os.link(tmp_path / "deep" / "file", tmp_path / "again")
    assert not exceeds(tmp_path, used)
    (tmp_path / "hole").touch()
    os.truncate(tmp_path / "hole", 1 << 30)
    assert not exceeds(tmp_path, used), "a hole takes no room"
    assert not exceeds(tmp_path / "gone", 0)
