"""The store survives kill -9 in every step: of bringing an image in, unpacking it, naming it and collecting garbage."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.images.archives import directory, file, tar
from tests.images.registry.layouts import Layout

pytestmark = pytest.mark.root  # layers need root


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two layers, `one` and `two`, with a file of this name each; beside it `other`, which shares the first."""
    work = tmp_path_factory.mktemp("layouts")
    first = tar([directory("bin"), file("bin/one", os.urandom(3000))])
    for name, second in (("layout", file("two", os.urandom(2_000_000))), ("other", file("three"))):
        made = Layout(work / name)
        made.name(made.image([first, tar([second])]), "v1")
    return work / "layout"


@pytest.mark.parametrize(("what", "least"), [("load", 60), ("resolve", 30), ("tag", 5), ("collect", 10)])
def test_killed_at_any_step_the_store_is_consistent_and_a_retry_works(
    tmp_path: Path, layout: Path, what: str, least: int
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.images.killing", tmp_path, layout, what],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > least
