"""The manifests directory as a value: what a person may do to it at any moment, and what it then asks for."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from minikube_lite.core.model import PodDesired
from minikube_lite.node.manifests import ManifestDirectory, Snapshot
from tests.node.yaml_text import pod_yaml, with_typo


class Directory:
    """A directory, and beside it what each pod was last accepted as, as the node's records keep it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.path.mkdir(exist_ok=True)
        self.accepted: dict[str, PodDesired] = {}
        self.read = ManifestDirectory(path)

    def write(self, name: str, text: str | bytes) -> None:
        data = text.encode() if isinstance(text, str) else text
        (self.path / f".{name}").write_bytes(data)
        (self.path / f".{name}").rename(self.path / name)

    def look(self) -> Snapshot:
        """A new snapshot; what it asks for is accepted."""
        snapshot = self.read.rescan()
        keys = self.accepted.keys() | snapshot.pods.keys()
        wanted = {key: snapshot.desired(key, self.accepted.get(key)) for key in keys}
        self.accepted = {key: desired for key, desired in wanted.items() if desired is not None}
        return snapshot

    def restart(self) -> None:
        """Another node: all that it knows are the records."""
        self.read = ManifestDirectory(self.path)
        for key, desired in self.accepted.items():
            self.read.owners[key] = desired.source

    @property
    def runs(self) -> dict[str, str]:
        """Pod key → the first container's command: which version of it is asked for."""
        return {key: " ".join(item.pod.spec.containers[0].command or ()) for key, item in self.accepted.items()}


@pytest.fixture
def directory(tmp_path: Path) -> Directory:
    return Directory(tmp_path / "manifests")


WEB, DB = pod_yaml("web", command="sleep 1"), pod_yaml("db", command="sleep 1")
OTHER_WEB = pod_yaml("web", command="sleep 2")
BOTH = {"default/web": "sleep 1", "default/db": "sleep 1"}


def replace_by_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def replace_by_nothing(path: Path) -> None:
    path.unlink()
    path.symlink_to("nowhere")


def replace_by_loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


def replace_by_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


BREAKS: dict[str, Callable[[Path], object]] = {
    "a typo in a field of one pod": lambda path: path.write_text(WEB + "---\n" + with_typo(DB)),
    "a typo in a field of every pod": lambda path: path.write_text(with_typo(WEB) + "---\n" + with_typo(DB)),
    "a name that no pod can have": lambda path: path.write_text(WEB.replace("web", "Web_1") + "---\n" + DB),
    "a namespace that no pod can have": lambda path: path.write_text(
        WEB.replace("name: web", "name: web\n  namespace: [x]") + "---\n" + DB
    ),
    "two names for one pod": lambda path: path.write_text(
        WEB.replace("name: web", "name: web\n  name: other") + "---\n" + DB
    ),
    "no name": lambda path: path.write_text(WEB.replace("  name: web\n", "  labels: {}\n", 1) + "---\n" + DB),
    "a kind that does not exist": lambda path: path.write_text(WEB.replace("Pod", "Pdo") + "---\n" + DB),
    "no YAML at all": lambda path: path.write_text("a: [\n\t}"),
    "half a document": lambda path: path.write_text(WEB + "---\n" + DB[: len(DB) // 2]),
    "binary": lambda path: path.write_bytes(bytes(range(256)) * 16),
    "not UTF-8": lambda path: path.write_bytes((WEB + "---\n" + DB).encode() + b"# \xff\xfe\n"),
    "50 MB": lambda path: path.write_bytes((WEB + "---\n" + DB).encode() + b"# comment\n" * 5_000_000),
    "billion laughs": lambda path: path.write_text(
        "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}, *a{n - 1}]\n" for n in range(1, 60))
    ),
    "a directory": replace_by_directory,
    "a dangling symlink": replace_by_nothing,
    "a symlink to itself": replace_by_loop,
    "a fifo": replace_by_fifo,
}


@pytest.mark.parametrize("how", BREAKS)
@pytest.mark.parametrize("after_a_restart", [False, True], ids=["", "after a restart"])
def test_whatever_breaks_a_file_the_last_good_version_stays_and_it_is_said(
    directory: Directory, how: str, after_a_restart: bool
) -> None:
    directory.write("all.yaml", WEB + "---\n" + DB)
    directory.write("other.yaml", pod_yaml("other"))
    directory.look()
    assert BOTH.items() <= directory.runs.items()
    BREAKS[how](directory.path / "all.yaml")
    if after_a_restart:
        directory.restart()
    began = time.process_time()
    snapshot = directory.look()
    assert time.process_time() - began < 2.0, "what is broken is refused quickly"
    assert directory.runs == BOTH | {"default/other": "sleep inf"}
    said = [*snapshot.problems.values(), *snapshot.file_problems.values()]
    assert any("all.yaml" in str(problem) for problems in said for problem in problems)
    assert not snapshot.conflicts
    if (directory.path / "all.yaml").is_dir():
        (directory.path / "all.yaml").rmdir()
    directory.write("all.yaml", OTHER_WEB + "---\n" + DB)
    snapshot = directory.look()
    assert (snapshot.problems, snapshot.file_problems, snapshot.held) == ({}, {}, {})
    assert directory.runs["default/web"] == "sleep 2"


def test_a_file_that_cannot_be_read_holds_its_pods_until_it_can_be(
    directory: Directory, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory.write("web.yaml", WEB)
    directory.look()
    directory.write("web.yaml", OTHER_WEB)
    with monkeypatch.context() as patched:

        def refuse(path: Path, *_: object, **__: object) -> None:
            raise PermissionError(13, "Permission denied", str(path))

        patched.setattr(Path, "open", refuse)
        snapshot = directory.look()
    assert "Permission denied" in str(snapshot.file_problems["web.yaml"][0])
    assert directory.runs["default/web"] == "sleep 1"
    assert directory.look().file_problems == {}
    assert directory.runs["default/web"] == "sleep 2"


def test_a_broken_document_harms_no_other_of_its_file(directory: Directory) -> None:
    directory.write("all.yaml", with_typo(DB) + "---\n" + WEB)
    snapshot = directory.look()
    assert directory.runs == {"default/web": "sleep 1"}
    (problem,) = snapshot.problems["default/db"]
    assert (problem.source, problem.line) == (str(directory.path / "all.yaml"), 6)
    assert snapshot.file_problems == {}


def test_a_document_cut_out_goes_even_while_another_of_the_file_is_broken(directory: Directory) -> None:
    directory.write("all.yaml", WEB + "---\n" + DB)
    directory.look()
    directory.write("all.yaml", with_typo(DB))
    directory.look()
    assert set(directory.runs) == {"default/db"}


def test_while_the_broken_documents_name_is_unknown_nothing_of_the_file_goes(directory: Directory) -> None:
    directory.write("all.yaml", WEB + "---\n" + DB)
    directory.look()
    directory.write("all.yaml", DB.replace("  name: db\n", "  labels: {}\n", 1))
    directory.look()
    assert directory.runs == BOTH


def test_a_broken_file_of_which_nothing_runs_asks_for_nothing(directory: Directory) -> None:
    directory.write("web.yaml", with_typo(WEB))
    snapshot = directory.look()
    assert directory.runs == {}
    assert "default/web" in snapshot.problems
    (directory.path / "web.yaml").unlink()
    snapshot = directory.look()
    assert (snapshot.problems, snapshot.held) == ({}, {})


def test_the_removal_of_a_broken_file_is_a_removal(directory: Directory) -> None:
    directory.write("web.yaml", WEB)
    directory.look()
    directory.write("web.yaml", with_typo(WEB))
    directory.look()
    (directory.path / "web.yaml").unlink()
    directory.look()
    assert directory.runs == {}


@pytest.mark.parametrize("text", ["", "\n\n", "# nothing\n", "---\n---\n", "null\n", "\ufeff"])
def test_a_file_with_nothing_in_it_asks_for_nothing_and_is_no_problem(directory: Directory, text: str) -> None:
    directory.write("web.yaml", text)
    snapshot = directory.look()
    assert (snapshot.pods, snapshot.problems, snapshot.file_problems) == ({}, {}, {})


def test_an_emptied_file_lets_its_pods_go(directory: Directory) -> None:
    directory.write("web.yaml", WEB)
    directory.look()
    directory.write("web.yaml", "")
    directory.look()
    assert directory.runs == {}


def test_json_and_lists_are_read_too(directory: Directory) -> None:
    item = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "web"},
        "spec": {"containers": [{"name": "a", "image": "host", "command": ["true"]}]},
    }
    other = {**item, "metadata": {"name": "db"}}
    directory.write("list.json", json.dumps({"apiVersion": "v1", "kind": "List", "items": [item, other]}))
    directory.look()
    assert set(directory.runs) == {"default/web", "default/db"}


# -- two files, one pod


def test_the_first_owner_keeps_a_pod_that_a_second_file_claims(directory: Directory) -> None:
    directory.write("b.yaml", WEB)
    directory.look()
    directory.write("a.yaml", OTHER_WEB)  # comes first in the alphabet, and second in time
    snapshot = directory.look()
    assert directory.runs == {"default/web": "sleep 1"}
    assert snapshot.conflicts == {"default/web": "b.yaml and a.yaml both define pod default/web; b.yaml keeps it"}


def test_the_first_owner_keeps_it_over_a_restart(directory: Directory) -> None:
    directory.write("b.yaml", WEB)
    directory.look()
    directory.write("a.yaml", OTHER_WEB)
    directory.restart()
    assert "b.yaml keeps it" in directory.look().conflicts["default/web"]
    assert directory.runs == {"default/web": "sleep 1"}


def test_when_the_owner_leaves_the_second_takes_over_and_the_pod_is_the_same_if_its_spec_is(
    directory: Directory,
) -> None:
    directory.write("b.yaml", WEB)
    directory.write("a.yaml", WEB)
    directory.restart()
    directory.read.owners["default/web"] = str(directory.path / "b.yaml")
    directory.look()
    before = directory.accepted["default/web"]
    (directory.path / "b.yaml").unlink()
    snapshot = directory.look()
    after = directory.accepted["default/web"]
    assert snapshot.conflicts == {}
    assert (before.pod, before.source) == (after.pod, str(directory.path / "b.yaml"))
    assert after.source == str(directory.path / "a.yaml")


def test_a_renamed_file_takes_its_pods_along(directory: Directory) -> None:
    directory.write("a.yaml", WEB)
    directory.look()
    (directory.path / "a.yaml").rename(directory.path / "b.yaml")
    snapshot = directory.read.refresh(["a.yaml", "b.yaml"])
    assert snapshot.pods["default/web"].source == str(directory.path / "b.yaml")
    assert snapshot.conflicts == {}


@pytest.mark.parametrize("broken", [with_typo(WEB), "a: [", WEB.replace("web", "Web_1")])
def test_an_owner_that_breaks_loses_its_pod_to_nobody(directory: Directory, broken: str) -> None:
    directory.write("b.yaml", WEB)
    directory.look()
    directory.write("a.yaml", OTHER_WEB)
    directory.look()
    directory.write("b.yaml", broken)
    snapshot = directory.look()
    assert directory.runs == {"default/web": "sleep 1"}
    assert "b.yaml keeps it" in snapshot.conflicts["default/web"]
    (directory.path / "b.yaml").unlink()
    directory.look()
    assert directory.runs == {"default/web": "sleep 2"}


def test_a_pod_that_left_a_broken_file_can_be_claimed_by_another(directory: Directory) -> None:
    directory.write("a.yaml", WEB + "---\n" + DB)
    directory.look()
    directory.write("a.yaml", with_typo(DB))
    directory.write("b.yaml", OTHER_WEB)
    assert directory.look().conflicts == {}
    assert directory.runs == {"default/web": "sleep 2", "default/db": "sleep 1"}


def test_a_broken_document_that_names_a_pod_of_another_file_is_a_problem_of_its_file(directory: Directory) -> None:
    directory.write("a.yaml", WEB)
    directory.look()
    directory.write("b.yaml", with_typo(OTHER_WEB))
    snapshot = directory.look()
    assert directory.runs == {"default/web": "sleep 1"}
    assert "default/web" not in snapshot.problems
    assert "b.yaml" in snapshot.file_problems


# -- the directory itself


def test_a_directory_that_vanishes_stops_nothing_and_goes_on_when_it_is_back(directory: Directory) -> None:
    directory.write("web.yaml", WEB)
    directory.look()
    directory.path.rename(directory.path.with_name("away"))
    snapshot = directory.look()
    assert str(directory.path) in snapshot.lost
    assert directory.runs == {"default/web": "sleep 1"}
    directory.restart()
    assert directory.look().lost
    assert directory.runs == {"default/web": "sleep 1"}
    directory.path.with_name("away").rename(directory.path)
    directory.write("web.yaml", OTHER_WEB)
    assert not directory.look().lost
    assert directory.runs == {"default/web": "sleep 2"}


def test_a_file_that_is_gone_because_its_directory_is_stops_nothing(directory: Directory) -> None:
    directory.write("web.yaml", WEB)
    directory.look()
    directory.path.rename(directory.path.with_name("away"))
    snapshot = directory.read.refresh(["web.yaml"])
    assert snapshot.lost
    assert snapshot.desired("default/web", directory.accepted["default/web"]) is not None


def test_a_file_in_the_place_of_the_directory_stops_nothing(directory: Directory) -> None:
    directory.write("web.yaml", WEB)
    directory.look()
    directory.path.rename(directory.path.with_name("away"))
    directory.path.write_text("not a directory")
    assert directory.look().lost
    assert directory.runs == {"default/web": "sleep 1"}


# -- reading


def test_a_file_that_is_being_written_is_not_read_yet(directory: Directory) -> None:
    with (directory.path / "web.yaml").open("w") as file:
        file.write(WEB)
        file.flush()
        assert directory.look().pods == {}
        assert directory.read.unsettled == {"web.yaml"}
    assert "default/web" in directory.look().pods
    assert directory.read.unsettled == set()


def test_a_file_that_is_being_rewritten_is_as_it_was(directory: Directory) -> None:
    directory.write("web.yaml", WEB)
    directory.look()
    with (directory.path / "web.yaml").open("w"):
        directory.look()
        assert directory.runs == {"default/web": "sleep 1"}
        directory.restart()  # another node never read it: what it knows are the records
        snapshot = directory.look()
        assert directory.runs == {"default/web": "sleep 1"}
        assert (snapshot.problems, snapshot.file_problems) == ({}, {})
    directory.look()
    assert directory.runs == {}, "empty now, and that is what was wanted"


def test_a_file_that_goes_while_it_is_written_is_waited_for_no_longer(directory: Directory) -> None:
    with (directory.path / "web.yaml").open("w"):
        directory.look()
        (directory.path / "web.yaml").unlink()
        directory.look()
        assert directory.read.unsettled == set()


def test_only_what_changed_is_read_again(directory: Directory) -> None:
    directory.write("web.yaml", WEB)
    directory.write("db.yaml", DB)
    directory.look()
    before = dict(directory.read.files)
    directory.write("db.yaml", DB + "# touched\n")
    directory.look()
    assert directory.read.files["web.yaml"] is before["web.yaml"]
    assert directory.read.files["db.yaml"] is not before["db.yaml"]


def test_a_change_of_the_same_size_within_one_tick_of_the_clock_is_seen(directory: Directory) -> None:
    directory.write("web.yaml", WEB)
    directory.look()
    status = (directory.path / "web.yaml").stat()
    directory.write("web.yaml", OTHER_WEB)
    os.utime(directory.path / "web.yaml", ns=(status.st_atime_ns, status.st_mtime_ns))
    directory.look()
    assert directory.runs == {"default/web": "sleep 2"}
