"""apply and delete as edits of the manifests directory: what goes in, what stays byte for byte, what is refused."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest

from minikube_lite.node.editing import Editor
from minikube_lite.node.manifests import ManifestDirectory
from minikube_lite.node.service import ApplyOutcome
from minikube_lite.spec.manifest import read_manifest
from tests.node.yaml_text import pod_yaml, with_typo


class Manifests:
    def __init__(self, path: Path) -> None:
        path.mkdir()
        self.path = path
        self.directory = ManifestDirectory(path)
        self.editor = Editor(self.directory)

    def write(self, name: str, data: str | bytes) -> None:
        (self.path / name).write_bytes(data.encode() if isinstance(data, str) else data)
        self.directory.rescan()

    def apply(
        self, data: str | bytes, *, base_dir: str = "/base", namespace: str = "default", dry_run: bool = False
    ) -> ApplyOutcome:
        self.directory.rescan()
        text = data.encode() if isinstance(data, str) else data
        return self.editor.apply(text, source="given.yaml", base_dir=base_dir, namespace=namespace, dry_run=dry_run)

    def delete(self, key: str) -> bool:
        self.directory.rescan()
        return self.editor.delete(key)

    @property
    def files(self) -> dict[str, str]:
        """Every file there is, hidden ones too."""
        return {item.name: item.read_bytes().decode() for item in sorted(self.path.iterdir())}

    @property
    def pods(self) -> dict[str, Any]:
        return dict(self.directory.rescan().pods)

    def image(self, key: str = "default/web") -> str | None:
        image: str | None = self.pods[key].pod.spec.containers[0].image
        return image


@pytest.fixture
def manifests(tmp_path: Path) -> Manifests:
    return Manifests(tmp_path / "manifests")


def results(outcome: ApplyOutcome) -> list[tuple[str, str]]:
    return [(item.name, item.result) for item in outcome.items]


WEB = pod_yaml("web")
WEB_2 = pod_yaml("web", command="sleep 2")
DB = pod_yaml("db")


def test_a_new_pod_becomes_a_file_of_its_name_with_its_own_text(manifests: Manifests) -> None:
    text = "# why it is here\n" + WEB
    assert results(manifests.apply(text)) == [("web", "created")]
    assert manifests.files == {"web.yaml": text}


def test_a_changed_pod_replaces_its_file(manifests: Manifests) -> None:
    manifests.apply(WEB)
    assert results(manifests.apply(WEB_2)) == [("web", "configured")]
    assert manifests.files == {"web.yaml": WEB_2}


@pytest.mark.parametrize(
    "again",
    [
        WEB,
        "---\n" + WEB,
        WEB.replace("\n", "\r\n"),
        "# another comment\n\n" + WEB.replace('["sleep", "inf"]', "\n    - sleep\n    - 'inf'"),
        json.dumps(read_manifest(WEB.encode(), "").documents[0].raw),
    ],
)
def test_the_same_pod_in_other_words_is_unchanged_and_nothing_is_written(manifests: Manifests, again: str) -> None:
    manifests.apply(WEB)
    before = (manifests.path / "web.yaml").stat()
    assert results(manifests.apply(again)) == [("web", "unchanged")]
    after = (manifests.path / "web.yaml").stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


@pytest.mark.parametrize("end", ["\n", ""])
@pytest.mark.parametrize("line", ["\n", "\r\n"])
@pytest.mark.parametrize("position", [0, 1, 2])
def test_a_pod_is_replaced_where_it_stands_and_the_rest_stays_byte_for_byte(
    manifests: Manifests, position: int, line: str, end: str
) -> None:
    others = [f"# {name}: a comment\n{pod_yaml(name)}   # and one more\n" for name in ("a", "b")]
    texts = [*others[:position], WEB, *others[position:]]
    whole = "---\n".join(texts).rstrip("\n").replace("\n", line) + end
    manifests.write("all.yaml", whole)
    assert results(manifests.apply(WEB_2)) == [("web", "configured")]
    (after,) = manifests.files.values()
    for text in others:
        assert text.rstrip("\n").replace("\n", line) in after
    keys = [document.key for document in read_manifest(after.encode(), "").documents]
    assert keys == [document.key for document in read_manifest(whole.encode(), "").documents]
    assert manifests.pods["default/web"].pod.spec.containers[0].command == ("sleep", "2")


def test_several_pods_of_one_file_are_changed_by_one_apply(manifests: Manifests) -> None:
    manifests.write("all.yaml", WEB + "---\n" + DB)
    changed = WEB_2 + "---\n" + pod_yaml("db", command="sleep 2")
    assert results(manifests.apply(changed)) == [("web", "configured"), ("db", "configured")]
    assert manifests.files == {"all.yaml": changed}


def test_each_pod_of_one_apply_becomes_a_file_of_its_own(manifests: Manifests) -> None:
    outcome = manifests.apply("# first\n" + WEB + "---\n# second\n" + DB)
    assert results(outcome) == [("web", "created"), ("db", "created")]
    assert manifests.files == {"web.yaml": "# first\n" + WEB, "db.yaml": "# second\n" + DB}


def test_a_bad_document_is_reported_and_the_others_go_in(manifests: Manifests) -> None:
    outcome = manifests.apply(WEB + "---\n" + with_typo(pod_yaml("bad")) + "---\n" + DB)
    assert results(outcome) == [("web", "created"), ("db", "created")]
    (problem,) = outcome.problems
    assert (problem.source, problem.line, problem.field) == ("given.yaml", 16, "spec.contianers")
    assert set(manifests.files) == {"web.yaml", "db.yaml"}


def test_what_is_no_pod_is_skipped_with_a_reason(manifests: Manifests) -> None:
    outcome = manifests.apply("apiVersion: v1\nkind: Service\nmetadata: {name: web}\n---\n" + WEB)
    assert results(outcome) == [("web", "skipped"), ("web", "created")]
    assert outcome.items[0].message


@pytest.mark.parametrize("data", [b"", b"a: [", b"\x00\x01", b"- 1\n", bytes(range(256))])
def test_bytes_with_no_pod_in_them_change_nothing(manifests: Manifests, data: bytes) -> None:
    outcome = manifests.apply(data)
    assert outcome.items == ()
    assert manifests.files == {}
    assert bool(outcome.problems) == bool(data)


def test_json_goes_in_as_it_is(manifests: Manifests) -> None:
    raw = read_manifest(WEB.encode(), "").documents[0].raw
    assert results(manifests.apply(json.dumps(raw, indent=1))) == [("web", "created")]
    assert json.loads(manifests.files["web.yaml"]) == raw


def test_items_of_a_list_become_files_of_their_own_and_mean_the_same(manifests: Manifests) -> None:
    items = [read_manifest(text.encode(), "").documents[0].raw for text in (WEB, DB)]
    items[0]["spec"]["containers"][0]["env"] = [
        {"name": f"E{number}", "value": value}
        for number, value in enumerate(["1e3", "y", "0o14", "1_000", "12:30", "null", "~", "", "é\u2028", "=", "0x1F"])
    ]
    given = json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
    assert results(manifests.apply(given)) == [("web", "created"), ("db", "created")]
    wanted = {document.key: document.pod for document in read_manifest(given.encode(), "").documents}
    assert {key: desired.pod for key, desired in manifests.pods.items()} == wanted
    assert results(manifests.apply(given)) == [("web", "unchanged"), ("db", "unchanged")]


def test_an_item_of_a_list_in_the_directory_is_replaced(manifests: Manifests) -> None:
    items = [read_manifest(text.encode(), "").documents[0].raw for text in (WEB, DB)]
    manifests.write("list.json", json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
    assert results(manifests.apply(WEB_2)) == [("web", "configured")]
    assert set(manifests.pods) == {"default/web", "default/db"}
    assert manifests.pods["default/web"].pod.spec.containers[0].command == ("sleep", "2")


def test_the_namespace_that_was_asked_for_is_written_down(manifests: Manifests) -> None:
    assert results(manifests.apply(WEB, namespace="prod")) == [("web", "created")]
    assert set(manifests.files) == {"prod_web.yaml"}
    assert set(manifests.pods) == {"prod/web"}
    assert results(manifests.apply(WEB)) == [("web", "created")]
    assert set(manifests.pods) == {"prod/web", "default/web"}
    assert results(manifests.apply(WEB, namespace="prod")) == [("web", "unchanged")]


def test_an_object_of_another_namespace_than_the_one_asked_for_is_refused(manifests: Manifests) -> None:
    text = pod_yaml("web", meta="  namespace: test\n")
    outcome = manifests.apply(text, namespace="prod")
    assert outcome.items == ()
    assert "does not match" in outcome.problems[0].message
    assert manifests.files == {}
    assert results(manifests.apply(text, namespace="test")) == [("web", "created")]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("./rootfs", "/base/rootfs"),
        (".//rootfs", "/base/rootfs"),
        ("../rootfs.tar", "/base/../rootfs.tar"),
        (".", "/base"),
        ("..", "/base/.."),
        ('"./with space"', "/base/with space"),
        ("/rootfs", "/rootfs"),
        ("host", "host"),
        ("registry.local/a/b:1", "registry.local/a/b:1"),
    ],
)
@pytest.mark.parametrize("namespace", ["default", "prod"])
def test_a_relative_image_means_the_directory_it_was_applied_from(
    manifests: Manifests, written: str, meant: str, namespace: str
) -> None:
    text = pod_yaml("web", image=f"{written} # which")
    manifests.apply(text, namespace=namespace)
    assert manifests.image(f"{namespace}/web") == meant
    assert results(manifests.apply(text, namespace=namespace)) == [("web", "unchanged")]
    if namespace == "default":
        assert "# which" in manifests.files["web.yaml"]


def test_a_file_name_that_is_taken_is_left_alone(manifests: Manifests) -> None:
    manifests.write("web.yaml", DB)
    (manifests.path / "web-2.yaml").symlink_to("nowhere")
    manifests.apply(WEB)
    assert (manifests.path / "web-3.yaml").read_text() == WEB
    assert (manifests.path / "web.yaml").read_text() == DB


def test_the_longest_name_has_a_file(manifests: Manifests) -> None:
    names = [".".join(["a" * 60] * 4) + end for end in (".b", ".c")]
    for name in names:
        assert results(manifests.apply(pod_yaml(name), namespace="n" * 63)) == [(name, "created")]
        assert results(manifests.apply(pod_yaml(name, command="true"), namespace="n" * 63)) == [(name, "configured")]
    assert set(manifests.pods) == {f"{'n' * 63}/{name}" for name in names}


def test_a_file_whose_name_is_as_long_as_can_be_is_edited_too(manifests: Manifests) -> None:
    manifests.write("x" * 250 + ".yaml", WEB)
    assert results(manifests.apply(WEB_2)) == [("web", "configured")]


def test_a_dry_run_says_the_same_and_writes_nothing(manifests: Manifests) -> None:
    manifests.write("web.yaml", WEB)
    before = (manifests.path / "web.yaml").stat().st_ino
    outcome = manifests.apply(WEB_2 + "---\n" + DB, dry_run=True)
    assert results(outcome) == [("web", "configured"), ("db", "created")]
    assert manifests.files == {"web.yaml": WEB}
    assert (manifests.path / "web.yaml").stat().st_ino == before


def test_a_good_version_mends_a_broken_document(manifests: Manifests) -> None:
    manifests.write("all.yaml", with_typo(WEB) + "---\n" + DB)
    assert results(manifests.apply(WEB)) == [("web", "configured")]
    assert manifests.files == {"all.yaml": WEB + "---\n" + DB}


def test_a_pod_whose_file_cannot_be_read_any_more_is_applied_beside_it_and_belongs_there(manifests: Manifests) -> None:
    manifests.write("web.yaml", WEB)
    manifests.write("web.yaml", "a: [")
    assert results(manifests.apply(WEB_2)) == [("web", "created")]
    assert manifests.pods["default/web"].source == str(manifests.path / "web-2.yaml")
    assert manifests.files["web.yaml"] == "a: ["


def test_mode_and_owner_of_a_file_stay(manifests: Manifests) -> None:
    manifests.write("web.yaml", WEB)
    path = manifests.path / "web.yaml"
    path.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(path, 1234, 1234)
    before = path.stat()
    manifests.apply(WEB_2)
    after = path.stat()
    assert (before.st_mode, before.st_uid, before.st_gid) == (after.st_mode, after.st_uid, after.st_gid)


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_leaves_the_old_file_whole_and_nothing_beside_it(
    manifests: Manifests, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    manifests.write("all.yaml", WEB + "---\n" + DB)

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, call, full)
    for text in (WEB_2, pod_yaml("new")):
        with pytest.raises(OSError, match="No space left"):
            manifests.apply(text)
    with pytest.raises(OSError, match="No space left"):
        manifests.delete("default/web")
    assert manifests.files == {"all.yaml": WEB + "---\n" + DB}


def test_a_disk_that_fills_up_half_way_says_what_went_in_and_what_did_not(
    manifests: Manifests, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = os.replace, []

    def replace(*args: Any) -> None:
        calls.append(args)
        if len(calls) > 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(*args)

    monkeypatch.setattr(os, "replace", replace)
    outcome = manifests.apply(WEB + "---\n" + DB)
    assert results(outcome) == [("web", "created")]
    assert "cannot write db" in outcome.problems[0].message
    assert set(manifests.files) == {"web.yaml"}


def test_what_somebody_is_writing_just_now_is_not_overwritten(manifests: Manifests) -> None:
    manifests.write("web.yaml", WEB)
    with (manifests.path / "web.yaml").open("a") as file:
        with pytest.raises(OSError, match="open for writing"):
            manifests.apply(WEB_2)
        with pytest.raises(OSError, match="open for writing"):
            manifests.delete("default/web")
        file.write("# mine\n")
    assert manifests.files == {"web.yaml": WEB + "# mine\n"}


# -- delete


def test_deleting_the_only_pod_of_a_file_removes_the_file(manifests: Manifests) -> None:
    manifests.write("web.yaml", "# a comment\n---\n" + WEB)
    assert manifests.delete("default/web")
    assert manifests.files == {}


@pytest.mark.parametrize("name", ["a", "web", "b"])
def test_deleting_one_of_many_cuts_it_out_and_leaves_the_rest_byte_for_byte(manifests: Manifests, name: str) -> None:
    texts = {item: f"# {item}\n" + pod_yaml(item) for item in ("a", "web", "b")}
    manifests.write("all.yaml", "---\n".join(texts.values()))
    assert manifests.delete(f"default/{name}")
    (after,) = manifests.files.values()
    for item, text in texts.items():
        assert (text in after) == (item != name)
    assert set(manifests.pods) == {f"default/{item}" for item in texts if item != name}


def test_a_broken_document_is_deleted_by_its_name_and_others_stay(manifests: Manifests) -> None:
    manifests.write("all.yaml", with_typo(WEB) + "---\n" + DB)
    assert manifests.delete("default/web")
    assert set(manifests.pods) == {"default/db"}
    assert "web" not in manifests.files["all.yaml"]


def test_every_document_that_claims_the_pod_goes(manifests: Manifests) -> None:
    manifests.write("a.yaml", WEB)
    manifests.write("b.yaml", DB + "---\n" + WEB_2)
    assert manifests.delete("default/web")
    assert manifests.files == {"b.yaml": DB}


def test_an_item_of_a_list_is_cut_out(manifests: Manifests) -> None:
    items = [read_manifest(text.encode(), "").documents[0].raw for text in (WEB, DB)]
    manifests.write("list.json", json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
    assert manifests.delete("default/web")
    assert set(manifests.pods) == {"default/db"}
    assert manifests.delete("default/db")
    assert manifests.files == {}


def test_a_pod_of_another_namespace_is_another_pod(manifests: Manifests) -> None:
    manifests.write("web.yaml", WEB)
    assert not manifests.delete("prod/web")
    assert manifests.files == {"web.yaml": WEB}
