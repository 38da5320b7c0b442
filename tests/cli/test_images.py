"""The `image …` commands, on a store of their own: what they print, what they refuse, what they leave."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from minikube_lite.cli import images
from minikube_lite.images.progress import Step
from minikube_lite.images.store import ImageStore
from tests.cli.conftest import Cli
from tests.cli.terminal import Terminal
from tests.images.registry.docker_registry import DockerRegistry, skopeo

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="images are kept by root")


@pytest.fixture
def files(tmp_path: Path) -> Path:
    root = tmp_path / "files"
    (root / "bin").mkdir(parents=True)
    (root / "bin/tool").write_bytes(os.urandom(100_000))
    return root


@pytest.fixture
def tool(cli: Cli, files: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An image `tool:1` in the store; its name."""
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    words = ("--entrypoint", "/bin/tool -v", "--cmd", '["a b"]', "-e", "A=b", "-u", "7:8", "-w", "/srv")
    more = ("--label", "x=y", "--expose", "80", "--volume", "/data", "--stop-signal", "SIGQUIT")
    built = cli("image", "build-from-dir", str(files), "tool:1", *words, *more)
    assert (built.code, built.out) == (0, "Loaded image: docker.io/library/tool:1\n")
    return "docker.io/library/tool:1"


def inspect(cli: Cli, name: str) -> dict[str, Any]:
    outcome = cli("image", "inspect", name)
    assert outcome.code == 0, outcome.err
    [found] = json.loads(outcome.out)
    return dict(found)


def test_an_image_is_made_of_a_directory_as_the_flags_say(cli: Cli, tool: str) -> None:
    found = inspect(cli, "tool:1")
    assert found["RepoTags"] == [tool]
    assert found["Created"] == "2023-11-14T22:13:20Z"
    assert found["Config"] == {
        "Entrypoint": ["/bin/tool", "-v"],
        "Cmd": ["a b"],
        "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "A=b"],
        "User": "7:8",
        "WorkingDir": "/srv",
        "Labels": {"x": "y"},
        "ExposedPorts": {"80/tcp": {}},
        "Volumes": {"/data": {}},
        "StopSignal": "SIGQUIT",
    }


def test_list_shows_names_sizes_and_what_is_shared(cli: Cli, tool: str, files: Path) -> None:
    assert cli("image", "build-from-dir", str(files), "quay.io/team/other:2").code == 0
    heading, *rows = cli("image", "list").lines
    assert heading.split() == ["REPOSITORY", "TAG", "IMAGE", "ID", "CREATED", "SIZE", "SHARED", "OWN"]
    assert [row.split()[:2] for row in rows] == [["docker.io/library/tool", "1"], ["quay.io/team/other", "2"]]
    assert cli("image", "list", "-o", "name", "other").lines == ["quay.io/team/other:2"]
    assert cli("image", "list", "-q", "team/other", "tool:1").lines == [
        inspect(cli, name)["Id"][7:19] for name in ("tool:1", "quay.io/team/other:2")
    ]
    [first, second] = json.loads(cli("image", "list", "-o", "json").out)
    assert first["sharedSize"] == second["sharedSize"] > 100_000  # the layer is the same
    assert 0 < first["ownSize"] < 10_000


def test_an_image_may_be_named_by_the_beginning_of_its_id(cli: Cli, tool: str) -> None:
    image_id = inspect(cli, "tool:1")["Id"]
    assert inspect(cli, image_id[7:17])["Id"] == image_id
    assert cli("image", "tag", image_id, "again:1").code == 0
    assert inspect(cli, "again:1")["RepoTags"] == ["docker.io/library/again:1", tool]


def test_history_tells_the_steps(cli: Cli, tool: str, files: Path) -> None:
    heading, row = cli("image", "history", "tool:1", "--no-trunc").lines
    assert heading.split() == ["CREATED", "CREATED", "BY", "SIZE", "COMMENT"]
    assert f"minikube-lite: from {files}" in row
    [step] = json.loads(cli("image", "history", "tool:1", "-o", "json").out)
    assert step["created"] == "2023-11-14T22:13:20Z"
    assert step["size"] > 90_000


@pytest.mark.parametrize("form", ["oci", "docker"])
def test_what_is_saved_other_tools_read_and_load_brings_it_back(cli: Cli, tool: str, tmp_path: Path, form: str) -> None:
    archive = tmp_path / "tool.tar"
    before = inspect(cli, "tool:1")
    assert cli("image", "save", "--format", form, "-o", str(archive), "tool:1").code == 0
    assert [path.name for path in tmp_path.glob("tool.tar*")] == ["tool.tar"]
    read = json.loads(skopeo("inspect", "--config", f"{'oci' if form == 'oci' else 'docker'}-archive:{archive}"))
    assert read["config"]["Entrypoint"] == ["/bin/tool", "-v"]
    assert cli("image", "remove", "tool:1").out == f"Untagged: {tool}\nDeleted: {before['Id']}\n"
    assert cli("image", "list", "--no-headers").out == ""
    assert cli("image", "load", "-i", str(archive)).out == f"Loaded image: {tool}\n"
    assert inspect(cli, "tool:1")["Id"] == before["Id"]


def test_an_exported_archive_becomes_an_image(cli: Cli, files: Path, tmp_path: Path) -> None:
    archive = tmp_path / "root.tar.gz"
    subprocess.run(["tar", "-C", files, "-czf", archive, "."], check=True)
    assert cli("image", "import", str(archive), "imported", "--cmd", "/bin/tool").code == 0
    assert inspect(cli, "imported")["Config"]["Cmd"] == ["/bin/tool"]
    wrong = cli("image", "import", str(files / "bin/tool"), "wrong")
    assert wrong.code == 1
    assert wrong.err.startswith(f"error: cannot read `{files}/bin/tool`: ")


def test_one_name_of_several_goes_alone_and_the_last_takes_the_image_along(cli: Cli, tool: str, root: Path) -> None:
    assert cli("image", "tag", "tool:1", "other:2").code == 0
    image_id = inspect(cli, "tool:1")["Id"]
    assert "has 2 names" in cli("image", "remove", image_id).err
    assert cli("image", "remove", "tool:1").out == f"Untagged: {tool}\n"
    assert cli("image", "remove", "--force", image_id).lines[-1] == f"Deleted: {image_id}"
    assert ImageStore(root / "state/images").blobs.digests() == []


def test_what_a_pod_runs_on_is_not_removed(cli: Cli, tool: str, root: Path) -> None:
    store = ImageStore(root / "state/images")
    pod = root / "state/pods/4b1c"
    pod.mkdir(parents=True)
    (pod / "pod.json").write_text(json.dumps({"metadata": {"name": "web"}}))
    store.lease("4b1c/app", store.resolve("tool:1", Path("/")))
    refused = cli("image", "remove", "tool:1")
    assert refused.code == 1
    assert "`tool:1` is used by pod default/web" in refused.err
    assert cli("image", "prune", "-a").out == "Total reclaimed space: 0B\n"
    store.release("4b1c/app")
    untagged, total = cli("image", "prune", "-a").lines
    assert untagged == f"Untagged: {tool}"
    assert total.startswith("Total reclaimed space: ")
    assert total != "Total reclaimed space: 0B"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("inspect", "nope"), "error: no image `nope` is on this machine"),
        (("remove", "nope"), "error: no image `nope` is on this machine"),
        (("inspect", "UPPER!"), "error: no image `UPPER!` is on this machine"),
        (("load", "/nowhere.tar"), "/nowhere.tar"),
        (("tag", "tool:1"), "error: expected an image and a further name for it"),
        (("tag", "tool:1", "Bad Name"), "`Bad Name` is not an image reference"),
        (("build-from-dir", "/etc/passwd", "x"), "error: `/etc/passwd` is not a directory"),
        (("build-from-dir", "/etc", "x", "-w", "srv"), 'invalid argument "srv" for "--workdir" flag'),
        (("build-from-dir", "/etc", "x", "-e", "A"), 'invalid argument "A" for "--env" flag: expected NAME=VALUE'),
        (("build-from-dir", "/etc", "x", "--cmd", "[1]"), "the list may hold strings only"),
        (("build-from-dir", "/etc", "x", "--cmd", "'a"), "No closing quotation"),
        (("build-from-dir", "/etc", "x", "--expose", "99999"), "expected a port"),
        (("pull",), "error: name the images to pull"),
        (("prune", "x"), "error: prune takes no names"),
        (("save", "-o", "/nowhere/x", "tool:1"), "error: cannot write `/nowhere/x`: No such file or directory"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(cli: Cli, tool: str, words: tuple[str, ...], message: str) -> None:
    outcome = cli("image", *words)
    assert outcome.code == 1
    assert message in outcome.err
    assert outcome.err.count("\n") == 1
    assert outcome.out == ""


def test_a_broken_archive_leaves_nothing(cli: Cli, tool: str, tmp_path: Path, root: Path) -> None:
    archive = tmp_path / "tool.tar"
    assert cli("image", "save", "-o", str(archive), "tool:1").code == 0
    assert cli("image", "prune", "-a").code == 0
    archive.write_bytes(archive.read_bytes()[:50_000])
    outcome = cli("image", "load", str(archive))
    assert outcome.code == 1
    assert "cut off" in outcome.err
    assert cli("image", "list", "--no-headers").out == ""


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerRegistry]:
    directory = tmp_path_factory.mktemp("registry")
    with DockerRegistry(directory / "storage").running(directory) as registry:
        yield registry


def test_what_is_pushed_is_pulled_again(cli: Cli, tool: str, registry: DockerRegistry) -> None:
    target = f"{registry.host}/team/tool:1"
    before = inspect(cli, "tool:1")
    pushed = cli("image", "push", "tool:1", target)
    assert (pushed.code, pushed.out) == (0, f"{target}: {before['Digest']}\n")
    seen = json.loads(skopeo("inspect", "--tls-verify=false", f"docker://{target}"))
    assert seen["Digest"] == before["Digest"]
    assert cli("image", "prune", "-a").code == 0
    pulled = cli("image", "pull", target)
    assert (pulled.code, pulled.out) == (0, f"{target}: {before['Digest']}\n")
    assert ": copied (" in pulled.err  # no terminal: a line for each part
    assert inspect(cli, target)["Id"] == before["Id"]
    missing = cli("image", "pull", f"{registry.host}/team/nope:1")
    assert missing.code == 1
    assert missing.err.count("\n") == 1


def test_a_terminal_sees_bars_that_are_gone_at_the_end(cli: Cli, tmp_path: Path, environment: dict[str, str]) -> None:
    (tmp_path / "big/bin").mkdir(parents=True)
    (tmp_path / "big/bin/tool").write_bytes(os.urandom(5 << 20))
    assert cli("image", "build-from-dir", str(tmp_path / "big"), "big:1").code == 0
    assert cli("image", "save", "-o", str(tmp_path / "big.tar"), "big:1").code == 0
    assert cli("image", "prune", "-a").code == 0
    with Terminal("image", "load", str(tmp_path / "big.tar"), environment=environment) as terminal:
        assert terminal.wait() == 0
    assert re.search(r"[0-9a-f]{12} copying +█*░+ [0-9.]+MB/5.2\dMB", terminal.seen), terminal.seen
    assert terminal.seen.endswith("\x1b[1A\x1b[JLoaded image: docker.io/library/big:1\r\n")


def test_without_a_terminal_a_part_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    with images.bars() as shown:
        for done in (0, 5, 10, 10):
            shown(Step("unpacking", "sha256:" + "ab" * 32, done, 10))
    assert capsys.readouterr().err == "abababababab: unpacked (10B)\n"


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0B"), (999, "999B"), (1000, "1kB"), (3_015_292, "3.02MB"), (12_345_678_901, "12.3GB")]
)
def test_sizes_are_dockers(size: int, text: str) -> None:
    assert images.human_size(size) == text
