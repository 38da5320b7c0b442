"""Every command of these pages is run, in order, and answers as the page says."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.node_process import NodeProcess
from tests.test_what_a_container_is import assert_as_shown, steps

HOUSE = Path(__file__).parents[2]


@pytest.mark.root
@pytest.mark.parametrize("page", ["configuration", "security-context"])
def test_each_command_answers_as_the_page_says(
    page: str, node: NodeProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "bin/minikube-lite"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m minikube_lite "$@"\n')
    program.chmod(0o755)
    (tmp_path / "examples").symlink_to(HOUSE / "examples")
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(HOUSE))
    monkeypatch.setenv("MINIKUBE_LITE_ROOT", str(node.root))
    shown = steps((HOUSE / f"docs/{page}.md").read_text())
    assert len(shown) > 10
    assert_as_shown(shown, tmp_path)
