"""What docs/volumes.md and examples/volumes.yaml say is tried out."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.e2e.yard import Yard

pytestmark = pytest.mark.root

HOUSE = Path(__file__).parents[2]
BLOCKS = re.findall(r"```yaml\n(.*?)```", (HOUSE / "docs" / "volumes.md").read_text(encoding="utf-8"), re.DOTALL)


def put(yard: Yard, text: str) -> None:
    (yard.node.manifests / "docs.yaml").write_text(text)


def end(yard: Yard, pod: str, claim: str = "") -> None:
    yard.node.cli("delete", "pod", pod, "--force")
    (yard.node.manifests / "docs.yaml").unlink(missing_ok=True)
    yard.node.wait_gone(pod)
    if claim:
        yard.node.cli("delete", "pvc", claim)


def test_the_first_pod_has_its_three_volumes(yard: Yard) -> None:
    put(yard, BLOCKS[0])
    yard.node.wait_phase("scratch", "Running")
    yard.node.wait_until(lambda: yard.sh("scratch", "cat /data/hello 2>/dev/null; true") == "hello\n", "it is written")
    assert "tmpfs" in yard.sh("scratch", "grep ' /fast ' /proc/mounts")
    end(yard, "scratch")


def test_the_projected_files_are_read_by_a_user_of_the_group(yard: Yard) -> None:
    put(yard, BLOCKS[1])
    yard.node.wait_phase("site", "Running")
    assert yard.log_says("site", "app=") == '<h1>hello</h1>not for everybodyapp="site"'
    put(yard, BLOCKS[1].replace("hello", "changed"))
    look = "cat /site/index.html"
    yard.node.wait_until(lambda: yard.sh("site", look) == "<h1>changed</h1>", "the page follows its ConfigMap")
    end(yard, "site")


def test_the_data_stays(yard: Yard) -> None:
    for starts in (1, 2):
        put(yard, BLOCKS[2])
        yard.node.wait_phase("store", "Running")
        yard.node.wait_until(lambda n=starts: yard.log("store").count("\n") == n, "it has told of its starts")  # type: ignore[misc]
        if starts == 1:
            end(yard, "store")
    assert (yard.node.paths.claims / "default" / "store" / "data" / "starts").exists()
    end(yard, "store", "store")
    assert not (yard.node.paths.claims / "default" / "store").exists()


def test_every_example_of_the_page_is_tried(yard: Yard) -> None:
    assert len(BLOCKS) == 3


def test_the_example_runs(yard: Yard) -> None:
    put(yard, (HOUSE / "examples" / "volumes.yaml").read_text(encoding="utf-8"))
    yard.node.wait_phase("volumes", "Running")
    look = "cat /shared/now 2>/dev/null; true"
    yard.node.wait_until(lambda: yard.sh("volumes", look, "keeper").startswith("hello at"), "the writer has written")
    yard.log_says("volumes", "started at", "keeper")
    kept = yard.node.paths.claims / "default" / "volumes" / "data" / "keeper" / "starts"
    assert kept.read_text().startswith("started at")
    end(yard, "volumes", "volumes")
