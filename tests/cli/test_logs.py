"""`logs`: the bytes of the log, one container's or several."""

from __future__ import annotations

from pathlib import Path

import pytest

from minikube_lite.node.service import LogFiles
from tests.api.fake_node import log_file, make_pod
from tests.cli.conftest import Cli, ServedNode


@pytest.fixture
def logs(node: ServedNode, tmp_path: Path) -> ServedNode:
    """web has one container, duo two, all with logs."""
    pod = make_pod("duo")
    pod["spec"]["containers"].append({"name": "side", "image": "host"})
    node.add("Pod", pod)
    for name, container, previous in (
        ("web", "app", False),
        ("web", "app", True),
        ("duo", "app", False),
        ("duo", "side", False),
    ):
        word = f"{name}-{container}{'-before' if previous else ''}"
        file = log_file(tmp_path / word, f"stdout F {word} one", f"stderr F {word} two")
        node.fake.logs[name, container, previous] = LogFiles((file,), False)
    return node


@pytest.mark.parametrize(
    ("argv", "lines"),
    [
        (["web"], ["web-app one", "web-app two"]),
        (["pod/web"], ["web-app one", "web-app two"]),
        (["web", "-c", "app"], ["web-app one", "web-app two"]),
        (["web", "app"], ["web-app one", "web-app two"]),
        (["web", "--tail=1"], ["web-app two"]),
        (["web", "--tail=0"], []),
        (["web", "--tail=-1"], ["web-app one", "web-app two"]),
        (["web", "-p"], ["web-app-before one", "web-app-before two"]),
        (["web", "--timestamps", "--tail=1"], ["2024-05-01T12:00:01.5Z web-app two"]),
        (["web", "--since-time=2024-05-01T12:00:01Z"], ["web-app two"]),
        (["web", "--since=1s"], []),
        (["web", "--limit-bytes=5"], ["web-a"]),
        (["web", "--prefix", "--tail=1"], ["[pod/web/app] web-app two"]),
        (["duo", "-c", "side"], ["duo-side one", "duo-side two"]),
        (["duo", "--all-containers", "--tail=1"], ["duo-app two", "duo-side two"]),
        (
            ["-l", "app=duo", "--all-containers", "--prefix", "--tail=1"],
            ["[pod/duo/app] duo-app two", "[pod/duo/side] duo-side two"],
        ),
    ],
)
def test_the_lines_that_were_asked_for(argv: list[str], lines: list[str], logs: ServedNode, cli: Cli) -> None:
    shown = cli("logs", *argv)
    assert (shown.code, shown.lines, shown.err) == (0, lines, "")


def test_the_first_container_is_chosen_and_it_says_so(logs: ServedNode, cli: Cli) -> None:
    shown = cli("logs", "duo")
    assert shown.lines == ["duo-app one", "duo-app two"]
    assert shown.err == 'Defaulted container "app" out of: app, side\n'


def test_or_the_one_that_the_pod_s_annotation_names(logs: ServedNode, cli: Cli) -> None:
    duo = logs.do(lambda: logs.fake.get("Pod", "default", "duo"))
    duo["metadata"]["annotations"] = {"kubectl.kubernetes.io/default-container": "side"}
    shown = cli("logs", "duo")
    assert shown.lines[0].startswith("duo-side ")
    assert shown.err == ""
    duo["metadata"]["annotations"] = {"kubectl.kubernetes.io/default-container": "none"}
    assert cli("logs", "duo").err == 'Defaulted container "app" out of: app, side\n'


def test_a_selector_shows_ten_lines_of_each(node: ServedNode, cli: Cli, tmp_path: Path) -> None:
    file = log_file(tmp_path / "log", *(f"stdout F {number}" for number in range(20)))
    node.fake.logs["web", "app", False] = LogFiles((file,), False)
    assert cli("logs", "-l", "app=web").lines == [str(number) for number in range(10, 20)]
    assert len(cli("logs", "-l", "app=web", "--tail=-1").lines) == 20


@pytest.mark.parametrize(
    "argv", [["-f", "duo", "--all-containers", "--prefix"], ["-f", "-l", "app=duo", "--all-containers", "--prefix"]]
)
def test_several_logs_are_followed_at_once_line_by_line(argv: list[str], logs: ServedNode, cli: Cli) -> None:
    assert sorted(cli("logs", *argv).lines) == [
        "[pod/duo/app] duo-app one",
        "[pod/duo/app] duo-app two",
        "[pod/duo/side] duo-side one",
        "[pod/duo/side] duo-side two",
    ]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "error: expected 'logs [-f] [-p] (POD | TYPE/NAME) [-c CONTAINER]'."),
        (["nope"], 'Error from server (NotFound): pods "nope" not found'),
        (["web", "-c", "nope"], "Error from server (BadRequest): container nope is not valid for pod web"),
        (["node/box"], "error: only pods can be meant here, not node/box"),
        (["web", "-l", "a=b"], "error: only a selector (-l) or a POD name is allowed"),
        (["web", "app", "-c", "app"], "error: only one of -c or an inline [CONTAINER] arg is allowed"),
        (
            ["web", "--since=1s", "--since-time=x"],
            "error: at most one of `sinceTime` or `sinceSeconds` may be specified",
        ),
        (["web", "--since=-1s"], "error: --since must be greater than 0"),
    ],
)
def test_what_cannot_be_shown_is_an_error(argv: list[str], message: str, logs: ServedNode, cli: Cli) -> None:
    shown = cli("logs", *argv)
    assert (shown.code, shown.out) == (1, "")
    assert shown.err.startswith(message)
