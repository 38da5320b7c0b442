"""`validate`: no node, no root, one line per document or problem. And docs/cli.md, which is made from the commands."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Cli

GOOD = """\
apiVersion: v1
kind: Pod
metadata: {name: web}
spec:
  containers:
  - name: app
    image: host
    command: [sleep, "60"]
"""
SERVICE = "apiVersion: v1\nkind: Service\nmetadata: {name: front}\n"
REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


IMPORTED = """
import sys
from minikube_lite.cli.main import execute
code = execute(sys.argv[1:])
print(*(name for name in ("pydantic", "pydantic_core", "structlog", "starlette", "difflib") if name in sys.modules))
sys.exit(code)
"""


def test_neither_pydantic_nor_any_other_heavy_module_is_imported_for_a_good_pod(here: Path) -> None:
    (here / "pod.yaml").write_text(f"{GOOD}---\n{SERVICE}")
    words = [sys.executable, "-c", IMPORTED, "validate", "pod.yaml"]
    done = subprocess.run(words, capture_output=True, text=True, check=False, env={"PYTHONPATH": str(REPOSITORY)})
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[0] == "pod.yaml:1: pod/web valid"
    assert done.stdout.splitlines()[-1] == ""


def test_nor_is_pydantic_for_a_wrong_one(here: Path) -> None:
    wrong = ("imagee: host", "image: host, ports: [{containerPort: 0}]")
    documents = [
        f"{{apiVersion: v1, kind: Pod, metadata: {{name: a}}, spec: {{containers: [{{name: a, {w}}}]}}}}" for w in wrong
    ]
    (here / "pod.yaml").write_text("\n---\n".join(documents))
    words = [sys.executable, "-c", IMPORTED, "validate", "pod.yaml"]
    done = subprocess.run(words, capture_output=True, text=True, check=False, env={"PYTHONPATH": str(REPOSITORY)})
    assert (done.returncode, done.stderr, len(done.stdout.splitlines())) == (1, "", 3)
    assert done.stdout.splitlines()[-1] == "difflib"


def test_good_documents_are_named_with_their_place(here: Path, cli: Cli) -> None:
    (here / "pod.yaml").write_text(f"{GOOD}---\n{SERVICE}")
    shown = cli("validate", "pod.yaml")
    assert (shown.code, shown.err) == (0, "")
    assert shown.lines[0] == "pod.yaml:1: pod/web valid"
    assert re.fullmatch(r"pod\.yaml:\d+: service/front skipped \(.+\)", shown.lines[1])


def test_a_typo_is_told_with_line_and_column_and_a_suggestion(here: Path, cli: Cli) -> None:
    (here / "pod.yaml").write_text(GOOD.replace("image:", "imgae:"))
    shown = cli("validate", "pod.yaml")
    assert shown.code == 1
    assert any(re.match(r"pod\.yaml:7:5: spec\.containers\[0\]\.imgae: .*image", line) for line in shown.lines), (
        shown.out
    )


def test_one_broken_document_does_not_hide_the_others(here: Path, cli: Cli) -> None:
    (here / "pod.yaml").write_text(GOOD.replace("image:", "imgae:") + "---\n" + GOOD.replace("web", "other"))
    shown = cli("validate", "pod.yaml")
    assert shown.code == 1
    assert "pod.yaml:10: pod/other valid" in shown.lines or "pod.yaml:9: pod/other valid" in shown.lines


@pytest.mark.parametrize("text", ["a: [", "\tx: y\n", "\x00\x01", "a: &a [*a]\nb: *nope\n"])
def test_what_is_no_yaml_is_a_problem_with_a_place(text: str, here: Path, cli: Cli) -> None:
    (here / "x.yaml").write_text(text)
    shown = cli("validate", "x.yaml")
    assert shown.code == 1
    assert all(line.startswith("x.yaml:") for line in shown.lines), shown.out
    assert shown.lines


def test_standard_input_and_directories_are_read(here: Path, cli: Cli) -> None:
    assert cli("validate", "-", stdin=GOOD).out == "STDIN:1: pod/web valid\n"
    (here / "m").mkdir()
    (here / "m/a.yaml").write_text(GOOD)
    assert cli("validate", "m").out == cli("validate", "-f", "m").out == "m/a.yaml:1: pod/web valid\n"
    assert cli("validate").err == "error: name the files to validate (- for standard input)\n"
    assert cli("validate", "nope").err == 'error: the path "nope" does not exist\n'


def test_the_reference_of_the_commands_is_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, "docs/generate_cli.py", "--check"],
        cwd=REPOSITORY,
        env={"PYTHONPATH": str(REPOSITORY), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
