"""`apply` and `delete`: what they send, what they say, how they wait."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from minikube_lite.node.service import ApplyItem, ApplyOutcome
from minikube_lite.spec.problems import Problem
from tests.api.fake_node import make_pod
from tests.cli.conftest import Cli, ServedNode

POD = "kind: Pod\nmetadata: {name: db}\n"


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    file = tmp_path / "db.yaml"
    file.write_text(POD)
    return file


def outcome(node: ServedNode, *items: ApplyItem, problems: tuple[Problem, ...] = ()) -> None:
    """Let the next apply end so."""

    async def apply(*_: Any, **__: Any) -> ApplyOutcome:
        return ApplyOutcome(items, problems)

    node.fake.apply = apply  # type: ignore[method-assign]


def test_a_pod_is_created_and_then_configured(node: ServedNode, cli: Cli, manifest: Path) -> None:
    first, second = cli("apply", "-f", str(manifest)), cli("apply", "-f", str(manifest))
    assert (first.code, first.out, first.err) == (0, "pod/db created\n", "")
    assert second.out == "pod/db configured\n"


def test_the_node_learns_the_name_and_the_directory_of_the_file(node: ServedNode, cli: Cli, manifest: Path) -> None:
    cli("-n", "data", "apply", "-f", str(manifest))
    [(_, call)] = node.fake.calls
    assert call == {
        "data": POD.encode(),
        "source": str(manifest),
        "base_dir": str(manifest.parent),
        "namespace": "data",
        "dry": False,
    }


def test_standard_input_is_a_manifest_of_the_current_directory(
    node: ServedNode, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli("apply", "-f", "-", stdin=POD).out == "pod/db created\n"
    assert (node.fake.calls[0][1]["source"], node.fake.calls[0][1]["base_dir"]) == ("STDIN", str(tmp_path))


@pytest.mark.parametrize(
    ("option", "text"),
    [("--dry-run", "(dry run)"), ("--dry-run=client", "(dry run)"), ("--dry-run=server", "(server dry run)")],
)
def test_a_dry_run_changes_nothing(option: str, text: str, node: ServedNode, cli: Cli, manifest: Path) -> None:
    assert cli("apply", "-f", str(manifest), option).out == f"pod/db created {text}\n"
    assert ("Pod", "default", "db") not in node.fake.objects


def test_a_directory_is_all_manifests_in_it_by_name(node: ServedNode, cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    for name in ("b.yml", "a.yaml", "c.json", ".hidden.yaml", "notes.txt", "a.yaml~", "below/d.yaml"):
        (tmp_path / name).write_text(POD.replace("db", Path(name).stem.lstrip(".")))
    assert cli("apply", "-f", str(tmp_path)).lines == ["pod/a created", "pod/b created", "pod/c created"]
    deep = cli("apply", "-R", "-f", str(tmp_path), "-o", "name")
    assert deep.lines == ["pod/a", "pod/b", "pod/d", "pod/c"]


def test_what_became_of_each_document_is_said(node: ServedNode, cli: Cli, manifest: Path) -> None:
    outcome(
        node,
        ApplyItem("Pod", "default", "db", "unchanged", ("spec.hostUsers is not honoured",)),
        ApplyItem("Service", "default", "front", "skipped", (), "only pods are run here"),
    )
    shown = cli("apply", "-f", str(manifest))
    assert shown.out == "pod/db unchanged\nservice/front skipped (only pods are run here)\n"
    assert (shown.code, shown.err) == (0, "Warning: spec.hostUsers is not honoured\n")


def test_a_problem_is_told_with_its_place_and_does_not_hide_the_rest(
    node: ServedNode, cli: Cli, manifest: Path
) -> None:
    problem = Problem("unknown field", "db.yaml", 3, 5, "spec.containers[0].imge", "did you mean image?")
    outcome(node, ApplyItem("Pod", "default", "ok", "created"), problems=(problem, Problem("empty")))
    shown = cli("apply", "-f", str(manifest))
    assert (shown.code, shown.out) == (1, "pod/ok created\n")
    assert shown.err == (
        "error: db.yaml:3:5: spec.containers[0].imge: unknown field (did you mean image?)\nerror: empty\n"
    )


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["apply"], "error: must specify one of -f\nSee 'minikube-lite apply --help' for usage and examples.\n"),
        (["apply", "-f", "nope.yaml"], 'error: the path "nope.yaml" does not exist\n'),
        (["apply", "-f", "empty"], "error: error reading [empty]: recognized file extensions are [.json .yaml .yml]\n"),
        (
            ["apply", "-f", "dangling.yaml"],
            'error: the path "dangling.yaml" is a symbolic link to gone, which does not exist\n',
        ),
        (
            ["apply", "-f", "https://x/y.yaml"],
            "error: https://x/y.yaml: manifests are not fetched from the network "
            "(try: curl -fsSL https://x/y.yaml | minikube-lite apply -f -)\n",
        ),
        (
            ["apply", "pod.yaml"],
            "error: Unexpected args: ['pod.yaml'] (a file is given with -f)\n"
            "See 'minikube-lite apply --help' for usage.\n",
        ),
        (
            ["delete"],
            "error: You must provide one or more resources by argument or filename.\n"
            "See 'minikube-lite delete --help'.\n",
        ),
        (["delete", "pods"], "error: resource(s) were provided, but no name was specified\n"),
        (
            ["delete", "node", "box"],
            "error: nodes cannot be deleted: only pods, configmaps, secrets, persistentvolumeclaims\n",
        ),
        (
            ["delete", "pod", "web", "--now", "--grace-period=3"],
            "error: --now and --grace-period cannot be specified together\n",
        ),
        (
            ["delete", "pod", "web", "--all"],
            "error: name cannot be provided when --all, -A or a selector is specified\n",
        ),
    ],
)
def test_what_cannot_be_done_is_an_error_and_does_nothing(
    argv: list[str], message: str, node: ServedNode, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "dangling.yaml").symlink_to("gone")
    shown = cli(*argv)
    assert (shown.code, shown.out, shown.err) == (1, "", message)
    assert node.fake.calls == []


# -- apply --wait ----------------------------------------------------------------------------------------------------


def waiting(name: str, reason: str, message: str) -> dict[str, Any]:
    state = {
        "name": "app",
        "ready": False,
        "restartCount": 0,
        "state": {"waiting": {"reason": reason, "message": message}},
    }
    conditions = [{"type": "Ready", "status": "False"}]
    return make_pod(name, status={"phase": "Pending", "conditions": conditions, "containerStatuses": [state]})


def test_apply_waits_until_the_pod_is_ready(node: ServedNode, cli: Cli, manifest: Path) -> None:
    outcome(node, ApplyItem("Pod", "default", "db", "created"))
    node.add("Pod", waiting("db", "ContainerCreating", ""))
    node.when_watched(
        lambda: [
            node.fake.add("Pod", waiting("db", "ErrImagePull", "no such image")),
            node.fake.add("Pod", make_pod("db")),
        ]
    )
    shown = cli("apply", "-f", str(manifest), "--wait")
    assert (shown.code, shown.err) == (0, "")
    assert shown.lines == [
        "pod/db created",
        "pod/db not ready: container app waits: ContainerCreating",
        "pod/db not ready: container app waits: ErrImagePull: no such image",
        "pod/db ready",
    ]


def test_a_pod_that_has_done_its_work_is_waited_for_no_longer(node: ServedNode, cli: Cli, manifest: Path) -> None:
    outcome(node, ApplyItem("Pod", "default", "db", "created"))
    node.add("Pod", make_pod("db", status={"phase": "Succeeded", "conditions": []}))
    assert cli("apply", "-f", str(manifest), "--wait").lines == ["pod/db created", "pod/db succeeded"]


def test_apply_gives_up_with_the_reason(node: ServedNode, cli: Cli, manifest: Path) -> None:
    outcome(node, ApplyItem("Pod", "default", "db", "created"))
    node.add("Pod", waiting("db", "ErrImagePull", "no such image"))
    shown = cli("apply", "-f", str(manifest), "--wait", "--timeout=300ms")
    assert shown.code == 1
    assert shown.err == (
        "error: timed out after 0.3s waiting for pod/db to be ready: container app waits: ErrImagePull: no such image\n"
    )


def test_the_state_before_a_change_is_not_taken_for_the_state_after_it(
    node: ServedNode, cli: Cli, manifest: Path
) -> None:
    outcome(node, ApplyItem("Pod", "default", "web", "configured"))
    shown = cli("apply", "-f", str(manifest), "--wait", "--timeout=300ms")
    assert (shown.code, shown.lines[0]) == (1, "pod/web configured")
    node.when_watched(lambda: node.fake.add("Pod", make_pod("web")))
    assert cli("apply", "-f", str(manifest), "--wait", "--timeout=2s").lines[1:] == [
        "pod/web not ready: the change has not arrived yet",
        "pod/web ready",
    ]


# -- delete ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "argv", [["pod", "web"], ["pod/web"], ["po", "web"], ["pods", "-l", "app=web"], ["pods", "--all"]]
)
def test_a_pod_is_deleted_by_name_or_by_label(argv: list[str], node: ServedNode, cli: Cli) -> None:
    shown = cli("delete", *argv)
    assert (shown.code, shown.out, shown.err) == (0, 'pod "web" deleted\n', "")
    assert ("Pod", "default", "web") not in node.fake.objects


@pytest.mark.parametrize(
    ("options", "grace", "word"),
    [
        ([], None, "deleted"),
        (["--grace-period=7"], 7, "deleted"),
        (["--now"], 1, "deleted"),
        (["--grace-period=0"], 1, "deleted"),
        (["--grace-period=0", "--wait=false"], 0, "deleted"),
        (["--force"], 0, "force deleted"),
        (["--force", "--grace-period=0"], 0, "force deleted"),
    ],
)
def test_the_grace_period_is_passed_on(
    options: list[str], grace: float | None, word: str, node: ServedNode, cli: Cli
) -> None:
    assert cli("delete", "pod", "web", *options).out == f'pod "web" {word}\n'
    assert node.fake.calls == [("delete_pod", {"name": "web", "grace": grace, "dry": False})]


def test_delete_by_file(node: ServedNode, cli: Cli, manifest: Path) -> None:
    node.add("Pod", make_pod("db"))
    assert cli("delete", "-f", str(manifest)).out == 'pod "db" deleted\n'
    again = cli("delete", "-f", str(manifest))
    assert (again.code, again.out) == (1, "")
    assert again.err == f'Error from server (NotFound): error when deleting "{manifest}": pods "db" not found\n'
    assert cli("delete", "-f", str(manifest), "--ignore-not-found").code == 0


def test_a_missing_pod_does_not_keep_the_others(node: ServedNode, cli: Cli) -> None:
    shown = cli("delete", "pod", "nope", "web")
    assert (shown.code, shown.out) == (1, 'pod "web" deleted\n')
    assert shown.err == 'Error from server (NotFound): pods "nope" not found\n'


def test_delete_stays_until_the_pod_is_gone(node: ServedNode, cli: Cli) -> None:
    async def delete_pod(namespace: str, name: str, *_: Any, **__: Any) -> dict[str, Any]:
        return make_pod(name)

    node.fake.delete_pod = delete_pod  # type: ignore[method-assign]
    shown = cli("delete", "pod", "web", "--timeout=200ms")
    assert (shown.code, shown.out) == (1, 'pod "web" deleted\n')
    assert shown.err == "error: timed out waiting for the condition on pods/web\n"
    node.when_watched(lambda: node.fake.remove("Pod", "default", "web"))
    assert cli("delete", "pod", "web", "--timeout=20s").code == 0


def test_a_pod_made_anew_under_the_same_name_is_not_waited_for(node: ServedNode, cli: Cli) -> None:
    async def delete_pod(namespace: str, name: str, *_: Any, **__: Any) -> dict[str, Any]:
        before = node.fake.get("Pod", namespace, name)
        node.fake.add("Pod", make_pod("web", metadata={"uid": "another"}))
        return before

    node.fake.delete_pod = delete_pod  # type: ignore[method-assign]
    assert cli("delete", "pod", "web", "--timeout=20s").code == 0
