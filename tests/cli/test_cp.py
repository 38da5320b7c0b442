"""`cp` as a process, through the real API, by the `tar` of this machine; and archives that mean harm."""

from __future__ import annotations

import io
import os
import stat
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from minikube_lite.cli.archives import Unpacker
from minikube_lite.cli.commands.cp import Place
from minikube_lite.cli.errors import CliError
from minikube_lite.cli.streaming import ConnectionLost, Streams
from minikube_lite.node.service import ServiceError
from tests.api.fake_node import make_pod
from tests.cli.conftest import Cli, ServedNode


def run(environment: dict[str, str], *argv: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "minikube_lite", "cp", *argv]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60, cwd="/")


@pytest.fixture
def inside(tmp_path: Path) -> Path:
    """A directory "in the container": the fake node runs commands on this machine."""
    (tmp_path / "inside").mkdir()
    return tmp_path / "inside"


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    (tmp_path / "outside").mkdir()
    return tmp_path / "outside"


BYTES = bytes(range(256)) * 8192 + b"\0\n\r"


def test_bytes_come_back_as_they_went(
    node: ServedNode, environment: dict[str, str], inside: Path, outside: Path
) -> None:
    (outside / "data").write_bytes(BYTES)
    (outside / "data").chmod(0o750)
    done = run(environment, str(outside / "data"), f"web:{inside}/there")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (inside / "there").read_bytes() == BYTES
    assert stat.S_IMODE((inside / "there").stat().st_mode) == 0o750
    done = run(environment, f"default/web:{inside}/there", str(outside / "back"))
    assert done.returncode == 0
    assert (outside / "back").read_bytes() == BYTES
    assert stat.S_IMODE((outside / "back").stat().st_mode) == 0o750


def tree(top: Path) -> dict[str, Any]:
    """Each file's content, each link's target, and the empty directories."""
    found: dict[str, Any] = {}
    for path in sorted(top.rglob("*")):
        name = str(path.relative_to(top))
        if path.is_symlink():
            found[name] = os.readlink(path)
        elif path.is_file():
            found[name] = path.read_bytes()
        elif not any(path.iterdir()):
            found[name] = "empty"
    return found


def grow(top: Path) -> Path:
    (top / "deep/er").mkdir(parents=True)
    (top / "empty").mkdir()
    (top / "a b").write_bytes(b"1")
    (top / "deep/er/é").write_bytes(BYTES[:1000])
    (top / ("n" * 200)).write_bytes(b"long")
    return top


def test_directories_go_with_all_that_is_in_them(
    node: ServedNode, environment: dict[str, str], inside: Path, outside: Path
) -> None:
    source = grow(outside / "tree")
    (source / "link").symlink_to("a b")
    assert run(environment, str(source), f"web:{inside}/new").returncode == 0
    assert tree(inside / "new") == tree(source), "where there is nothing it gets this name"
    assert run(environment, str(source), f"web:{inside}").returncode == 0
    assert tree(inside / "tree") == tree(source), "where there is a directory it comes into it"


def test_directories_come_without_symlinks(
    node: ServedNode, environment: dict[str, str], inside: Path, outside: Path
) -> None:
    source = grow(inside / "tree")
    expected = tree(source)
    (source / "one").symlink_to("/etc/passwd")
    (source / "two").symlink_to("a b")
    done = run(environment, f"web:{source}", str(outside / "new"))
    assert done.returncode == 0
    assert tree(outside / "new") == expected
    first, second = [line for line in done.stderr.splitlines() if line.startswith("warning: ")]
    command = f'exec -n "default" "web" -- tar cf - "{source}" | tar xf -'
    assert first.startswith(f'warning: skipping symlink: "{outside}/new/one" -> "/etc/passwd" (consider using `')
    assert first.endswith(f"{command}`)")
    assert second == f'warning: skipping symlink: "{outside}/new/two" -> "a b"'


def test_a_file_comes_into_a_directory_that_is_there(
    node: ServedNode, environment: dict[str, str], inside: Path, outside: Path
) -> None:
    (inside / "file").write_text("x")
    assert run(environment, f"web:{inside}/file", str(outside)).returncode == 0
    assert (outside / "file").read_text() == "x"


def test_hard_links_come_as_files(node: ServedNode, environment: dict[str, str], inside: Path, outside: Path) -> None:
    (inside / "one").write_text("x")
    (inside / "two").hardlink_to(inside / "one")
    assert run(environment, f"web:{inside}", str(outside / "new")).returncode == 0
    assert tree(outside / "new") == {"one": b"x", "two": b"x"}


def test_permissions_can_be_left_behind(
    node: ServedNode, environment: dict[str, str], inside: Path, outside: Path
) -> None:
    (inside / "file").write_text("x")
    (inside / "file").chmod(0o700)
    assert run(environment, "--no-preserve", f"web:{inside}/file", str(outside / "file")).returncode == 0
    umask = os.umask(0o022)
    os.umask(umask)
    assert stat.S_IMODE((outside / "file").stat().st_mode) == 0o666 & ~umask
    assert run(environment, "--no-preserve", str(outside / "file"), f"web:{inside}/again").returncode == 0
    command = node.fake.calls[-1][1]["command"]
    assert command[:3] == ["tar", "--no-same-permissions", "--no-same-owner"]


def test_names_that_look_like_options_are_names(
    node: ServedNode, environment: dict[str, str], inside: Path, outside: Path
) -> None:
    (outside / "--checkpoint-action=exec=false").write_text("x")
    assert run(environment, f"{outside}/--checkpoint-action=exec=false", f"web:{inside}").returncode == 0
    assert tree(inside) == {"--checkpoint-action=exec=false": b"x"}
    run(environment, "web:-x", str(outside / "new"))
    assert node.fake.calls[-1][1]["command"] == ["tar", "cf", "-", "./-x"]


def test_what_is_no_file_is_left_out(
    node: ServedNode, environment: dict[str, str], inside: Path, outside: Path
) -> None:
    (outside / "tree").mkdir()
    os.mkfifo(outside / "tree/pipe")
    (outside / "tree/file").write_text("x")
    done = run(environment, str(outside / "tree"), f"web:{inside}/new")
    assert done.returncode == 0
    assert "warning: skipping" in done.stderr
    assert tree(inside / "new") == {"file": b"x"}


WRONG = [
    (["a"], "source and destination are required"),
    (["a", "b"], "one of src or dest must be a remote file specification"),
    (["web:a", "web:b"], "one of src or dest must be a local file specification"),
    (["web:", "b"], "filepath can not be empty"),
    (["web:a", ""], "filepath can not be empty"),
    ([":a", "b"], ":a: filespec must match the canonical format: [[namespace/]pod:]file/path"),
    (["a/b/c:d", "b"], "a/b/c:d: filespec must match the canonical format: [[namespace/]pod:]file/path"),
    (["/no/such", "web:/tmp"], "/no/such doesn't exist in local filesystem"),
    (["web:/no/such", "b", "--retries", "x"], 'invalid argument "x" for "--retries" flag: must be a whole number'),
]


@pytest.mark.parametrize(("argv", "words"), WRONG)
def test_what_cannot_be_meant_is_said(
    node: ServedNode, environment: dict[str, str], argv: list[str], words: str
) -> None:
    done = run(environment, *argv)
    assert done.returncode == 1
    assert done.stderr.splitlines()[0] == f"error: {words}"


def test_what_is_not_there_is_said_by_tar(node: ServedNode, environment: dict[str, str], outside: Path) -> None:
    done = run(environment, "web:/no/such", str(outside / "new"))
    assert done.returncode == 1
    tar, error = done.stderr.splitlines()[-2:]
    assert "tar: " in done.stderr
    assert "No such file or directory" in done.stderr
    assert error == "error: command terminated with exit code 2", tar
    assert not (outside / "new").exists()


def test_a_place_that_is_not_there_is_said_by_tar(node: ServedNode, environment: dict[str, str], outside: Path) -> None:
    (outside / "big").write_bytes(b"x" * 5_000_000)
    done = run(environment, str(outside / "big"), "web:/no/such/place")
    assert done.returncode == 1
    assert "/no/such" in done.stderr
    assert done.stderr.splitlines()[-1] == "error: command terminated with exit code 2"


def test_a_file_here_that_cannot_be_written_is_said(
    node: ServedNode, environment: dict[str, str], inside: Path, outside: Path
) -> None:
    (inside / "tree").mkdir()
    (inside / "tree/file").write_bytes(b"x" * 5_000_000)
    (outside / "file").mkdir()
    done = run(environment, f"web:{inside}/tree", str(outside))
    assert (done.returncode, done.stderr.splitlines()[-1]) == (1, f"error: {outside}/file: Is a directory")


def test_an_image_without_tar_is_told(node: ServedNode, cli: Cli, outside: Path) -> None:
    async def refuse(*arguments: Any, **options: Any) -> Any:
        raise ServiceError(500, "InternalError", 'exec: "tar": executable file not found in $PATH')

    node.fake.exec = refuse  # type: ignore[method-assign]
    (outside / "file").write_text("x")
    words = 'error: no tar in container "app": exec: "tar": executable file not found in $PATH (hint: cp needs it'
    for argv in ([str(outside / "file"), "web:/tmp/x"], ["web:/etc/hosts", str(outside / "hosts")]):
        shown = cli("cp", *argv)
        assert (shown.code, shown.err.startswith(words)) == (1, True), shown.err


def test_the_default_container_is_the_annotation_s(
    node: ServedNode, environment: dict[str, str], outside: Path
) -> None:
    pod = make_pod("duo")
    pod["spec"]["containers"].insert(0, {"name": "side", "image": "host"})
    node.add("Pod", pod)
    done = run(environment, "duo:/etc/hosts", str(outside / "hosts"))
    assert done.stderr.splitlines()[0] == 'Defaulted container "side" out of: side, app'
    pod["metadata"]["annotations"] = {"kubectl.kubernetes.io/default-container": "app"}
    done = run(environment, "duo:/etc/hosts", str(outside / "hosts"))
    assert done.returncode == 0
    assert "Defaulted" not in done.stderr
    assert run(environment, "duo:/etc/hosts", str(outside / "hosts"), "-c", "app").returncode == 0


# -- a connection that breaks off ------------------------------------------------------------------------------------


@pytest.fixture
def broken_once(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Have the connection break off, once, after so many bytes of output."""

    def after(limit: int) -> None:
        whole = Streams.outcome

        def outcome(streams: Streams) -> int:
            monkeypatch.setattr(Streams, "outcome", whole)
            take, seen = streams._take, 0

            def some(channel: int, data: bytes) -> None:
                nonlocal seen
                if channel != 1:
                    return
                left = limit - seen
                take(channel, data[:left])
                seen += len(data)
                if seen >= limit:
                    raise ConnectionLost("the connection to the node was lost")

            streams._take = some
            return whole(streams)

        monkeypatch.setattr(Streams, "outcome", outcome)

    return after


@pytest.mark.parametrize("limit", [1, 511, 70_000, 1_000_000])
def test_a_copy_that_broke_off_is_resumed_where_it_did(
    node: ServedNode, cli: Cli, inside: Path, outside: Path, broken_once: Callable[[int], None], limit: int
) -> None:
    (inside / "data").write_bytes(BYTES)
    broken_once(limit)
    shown = cli("cp", "--retries", "1", f"web:{inside}/data", str(outside / "data"))
    assert shown.code == 0
    assert f"Resuming copy at {limit} bytes, retry 1/1\n" in shown.err
    assert (outside / "data").read_bytes() == BYTES


def test_without_retries_it_is_an_error(
    node: ServedNode, cli: Cli, inside: Path, outside: Path, broken_once: Callable[[int], None]
) -> None:
    (inside / "data").write_bytes(BYTES)
    broken_once(1000)
    shown = cli("cp", f"web:{inside}/data", str(outside / "data"))
    assert (shown.code, shown.err) == (1, "error: the connection to the node was lost\n")


# -- archives that mean harm -----------------------------------------------------------------------------------------


def archive(*members: tuple[str, bytes | str | None], **kinds: bytes) -> io.BytesIO:
    """(name, content); the content of a link is where it leads to. `kinds`: name → type, for what is no file."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.type = kinds.get(name.rpartition("/")[2], tarfile.REGTYPE)
            info.mode = 0o4755
            if isinstance(content, str):
                info.linkname = content
                tar.addfile(info)
            else:
                info.size = len(content or b"")
                tar.addfile(info, io.BytesIO(content or b""))
    out.seek(0)
    return out


def unpack(source: io.BytesIO, target: Path, prefix: str = "srv/app") -> list[str]:
    warnings: list[str] = []
    Unpacker(prefix, str(target), warnings.append, preserve=True, advice="").unpack(source)
    return warnings


@pytest.mark.parametrize(
    "name",
    ["srv/app/../../../evil", "srv/app/..", "srv/app/a/../../evil", "srv/app//../evil", "srv/app/../app2/evil"],
)
def test_a_name_that_climbs_out_is_skipped(tmp_path: Path, name: str) -> None:
    target = tmp_path / "here/target"
    warnings = unpack(archive((name, b"evil"), ("srv/app/good", b"good")), target)
    assert tree(tmp_path) == {"here/target/good": b"good"}
    assert len(warnings) == 1
    assert warnings[0].endswith("is outside target destination, skipping")


@pytest.mark.parametrize("name", ["evil", "/etc/evil", "srv/application/evil", "../srv/app/evil", "srv"])
def test_a_name_that_was_not_asked_for_ends_it(tmp_path: Path, name: str) -> None:
    with pytest.raises(CliError, match="tar contents corrupted"):
        unpack(archive((name, b"evil")), tmp_path / "target")
    assert tree(tmp_path) == {}


def test_nothing_is_written_through_a_link_out_of_the_archive(tmp_path: Path) -> None:
    (tmp_path / "away").mkdir()
    source = archive(("srv/app/link", str(tmp_path / "away")), ("srv/app/link/evil", b"evil"), link=tarfile.SYMTYPE)
    warnings = unpack(source, tmp_path / "target")
    assert tree(tmp_path) == {"away": "empty", "target/link/evil": b"evil"}, "a directory of that name, here"
    assert len(warnings) == 1


@pytest.mark.parametrize("linked", ["/etc/passwd", "srv/app/../../../etc/passwd", "etc/passwd", "srv/app/later"])
def test_a_hard_link_leads_only_to_a_file_that_came_before(tmp_path: Path, linked: str) -> None:
    warnings = unpack(archive(("srv/app/link", linked), link=tarfile.LNKTYPE), tmp_path / "target")
    assert not (tmp_path / "target/link").exists()
    assert warnings == [f'warning: skipping hard link: "{tmp_path}/target/link" -> "{linked}"']


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_devices_and_pipes_are_skipped(tmp_path: Path, kind: bytes) -> None:
    (warning,) = unpack(archive(("srv/app/odd", None), odd=kind), tmp_path / "target")
    assert warning == f'warning: skipping "{tmp_path}/target/odd": neither a file nor a directory'
    assert tree(tmp_path) == {"target": "empty"}


def test_no_setuid_bit_comes_out(tmp_path: Path) -> None:
    unpack(archive(("srv/app/su", b"x")), tmp_path / "target")
    assert stat.S_IMODE((tmp_path / "target/su").stat().st_mode) & 0o7000 == 0


@pytest.mark.parametrize("cut", [10, 600, 1100])
def test_an_archive_that_breaks_off_is_told(tmp_path: Path, cut: int) -> None:
    source = archive(("srv/app/file", b"x" * 5000))
    with pytest.raises(CliError, match="tar contents corrupted"):
        unpack(io.BytesIO(source.getvalue()[:cut]), tmp_path / "target")


def test_what_is_no_archive_is_told(tmp_path: Path) -> None:
    with pytest.raises(CliError, match="tar contents corrupted"):
        unpack(io.BytesIO(b"hello" * 1000), tmp_path / "target")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("file", Place("", "", "file")),
        ("web:/a", Place("", "web", "/a")),
        ("ns/web:a:b", Place("ns", "web", "a:b")),
        ("./a:b", None),
    ],
)
def test_what_a_place_says(text: str, expected: Place | None) -> None:
    found = Place.parse(text, "")
    assert found == (expected or Place(".", "a", "b")), "as kubectl has it"
