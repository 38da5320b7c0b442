"""Every command of docs/what-a-container-is.md is run, in order, and answers as the page says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.node_process import NodeProcess

PAGE = Path(__file__).parent.parent / "docs/what-a-container-is.md"
NODE = "## 6. The same in minikube-lite"


def steps(text: str) -> list[tuple[str, str]]:
    """(command, answer) of every ```console block: `$ ` begins a command, `> ` continues it."""
    found: list[tuple[str, str]] = []
    for block in re.findall(r"```console\n(.*?)```", text, re.DOTALL):
        for line in block.splitlines(keepends=True):
            if line.startswith("$ "):
                found.append((line[2:], ""))
            elif line.startswith("> "):
                found[-1] = (found[-1][0] + line[2:], found[-1][1])
            else:
                found[-1] = (found[-1][0], found[-1][1] + line)
    return found


def run(shown: list[tuple[str, str]], directory: Path) -> list[str]:
    """What one shell answers to each command."""
    mark = "-- the next command --"
    script = "".join(f"{command}echo '{mark}'\n" for command, _ in shown)
    done = subprocess.run(
        ["sh"],
        input=script,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=directory,
        timeout=120,
    )
    return done.stdout.split(f"{mark}\n")[:-1]


def assert_as_shown(shown: list[tuple[str, str]], directory: Path) -> None:
    answers = run(shown, directory)
    assert len(answers) == len(shown)
    for (command, expected), answer in zip(shown, answers, strict=True):
        pattern = ".*".join(re.escape(part) for part in expected.split("…"))
        assert re.fullmatch(pattern, answer, re.DOTALL), f"$ {command}\nthe page says:\n{expected}\nit is:\n{answer}"


def test_the_page_has_commands_for_both_parts() -> None:
    by_hand, with_node = PAGE.read_text().split(NODE)
    assert len(steps(by_hand)) > 15
    assert len(steps(with_node)) > 8


@pytest.mark.root
def test_what_is_done_by_hand_answers_as_the_page_says(tmp_path: Path, rootfs: Path) -> None:
    assert_as_shown(steps(PAGE.read_text().split(NODE)[0]), tmp_path)


@pytest.mark.root
def test_what_is_done_with_a_node_answers_as_the_page_says(
    node: NodeProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "bin/minikube-lite"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m minikube_lite "$@"\n')
    program.chmod(0o755)
    (tmp_path / "examples").symlink_to(PAGE.parent.parent / "examples")
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(PAGE.parent.parent))
    monkeypatch.setenv("MINIKUBE_LITE_ROOT", str(node.root))
    assert_as_shown(steps(PAGE.read_text().split(NODE)[1]), tmp_path)
