"""The house holds what its README and its floors promise: layers, imports, examples, scripts, docs."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from minikube_lite.spec.manifest import read_manifest

HOUSE = Path(__file__).parent.parent
EXAMPLES = sorted(HOUSE.glob("examples/**/*.yaml"))
SCRIPTS = sorted({*HOUSE.glob("*/*.sh"), HOUSE / ".ci/run"})
TEXTS = sorted(
    path
    for path in subprocess.run(
        ["find", ".", "-name", ".*", "!", "-name", ".", "!", "-name", ".ci", "-prune", "-o", "-type", "f", "-print"],
        cwd=HOUSE,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split("\n")
    if path.endswith((".py", ".md", ".sh", ".yaml", ".toml", ".c", "/run"))
)


def test_a_floor_imports_only_what_lies_below_it() -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "from importlinter.cli import lint_imports; import sys; sys.exit(lint_imports(no_cache=True))",
        ],
        cwd=HOUSE,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_launcher_imports_the_standard_library_and_linux_only() -> None:
    program = (
        "import sys; before = set(sys.modules); sys.path.insert(0, sys.argv[1])\n"
        "import minikube_lite.linux.launcher\n"
        "print(*sorted(set(sys.modules) - before))"
    )
    flags = ["-I", "-S", "-E"]  # as the launcher itself is started: without site-packages
    done = subprocess.run(
        [sys.executable, *flags, "-c", program, str(HOUSE)], capture_output=True, text=True, check=True
    )
    foreign = [
        name
        for name in done.stdout.split()
        if name.split(".")[0] not in sys.stdlib_module_names
        and name not in ("minikube_lite", "minikube_lite.linux")
        and not name.startswith("minikube_lite.linux.")
    ]
    assert foreign == []
    heavy = {"asyncio", "dataclasses", "inspect", "logging", "pathlib", "subprocess", "typing", "yaml"}
    assert heavy & set(done.stdout.split()) == set(), "every shim carries what the launcher has imported"


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_an_example_is_valid_without_a_warning(example: Path) -> None:
    manifest = read_manifest(example.read_bytes(), str(example))
    assert [str(problem) for problem in manifest.problems] == []
    assert manifest.documents
    for document in manifest.documents:
        assert (document.problems, document.warnings, document.ignored, document.skipped) == ((), (), (), "")


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_is_bash_and_ends_at_the_first_error(script: Path) -> None:
    subprocess.run(["bash", "-n", script], check=True)
    text = script.read_text()
    is_sourced = script.name in ("setup.sh", "own-node.sh")
    only_calls, runs_inside = "exec " in text, script.name == "cpu-share.sh"
    assert "set -euo pipefail" in text or is_sourced or only_calls or runs_inside


@pytest.mark.parametrize("generator", sorted(HOUSE.glob("docs/generate*.py")), ids=lambda path: path.name)
def test_generated_docs_are_as_the_code_makes_them(generator: Path) -> None:
    done = subprocess.run([sys.executable, generator, "--check"], cwd=HOUSE, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_link_between_the_docs_leads_somewhere() -> None:
    broken = []
    for page in [HOUSE / "README.md", *HOUSE.glob("docs/**/*.md")]:
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text()):
            if "://" not in target and not (page.parent / target).exists():
                broken.append(f"{page.relative_to(HOUSE)}: {target}")
    assert broken == []


def test_the_commands_of_the_readme_are_there() -> None:
    scripts = re.findall(r"\bbash (\S+\.sh)", (HOUSE / "README.md").read_text())
    assert {"examples/tour.sh", "examples/real-server.sh", "tests/run.sh"} <= set(scripts)
    assert [script for script in scripts if not (HOUSE / script).is_file()] == []


def test_the_text_speaks_of_the_project_only() -> None:
    others = re.compile(r"/work/|/tmp/venv|/root/\.pyenv|\bissue #?\d|\bLLM\b|co-?authored-by", re.IGNORECASE)
    found = []
    for path in TEXTS:
        if path == f"./{Path(__file__).relative_to(HOUSE)}":
            continue
        for number, line in enumerate((HOUSE / path).read_text(errors="replace").splitlines(), 1):
            if others.search(line):
                found.append(f"{path}:{number}: {line.strip()}")
    assert found == []


@pytest.mark.root
def test_the_tour_of_the_readme_shows_the_main_job_and_leaves_nothing(tmp_path: Path) -> None:
    before = set(Path("/tmp").glob("minikube-lite-tour.*"))
    done = subprocess.run(
        ["bash", HOUSE / "examples/tour.sh"], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    output = done.stdout + done.stderr
    assert done.returncode == 0, output
    assert "hello from hello" in output
    assert re.search(r"^user 1000 in /srv sees .*\bbin\b.*\blib", output, re.MULTILINE), output
    assert re.search(r"^cpu-limit +1/1 +Running +0 ", output, re.MULTILINE), output
    assert "processes left: 0, mounts left: 0, cgroups left: 0" in output
    shares = [int(share) for share in re.findall(r": (\d+)m$", output, re.MULTILINE)]
    assert len(shares) == 2
    assert shares[0] <= 220, "200m are the limit; a little is the tick's"
    assert shares[1] <= 550
    assert set(Path("/tmp").glob("minikube-lite-tour.*")) <= before


@pytest.mark.root
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_the_tour_cleans_up_when_it_is_interrupted(tmp_path: Path, number: signal.Signals) -> None:
    before = set(Path("/tmp").glob("minikube-lite-tour.*"))
    with subprocess.Popen(
        ["bash", HOUSE / "examples/tour.sh"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as tour:
        assert tour.stdout is not None
        for line in tour.stdout:
            if line.startswith("hello "):  # `get pods`: the pod is there
                break
        os.killpg(tour.pid, number)  # as the terminal does: to all of the foreground group
        output = tour.stdout.read()
    assert tour.returncode == 128 + number, output
    assert set(Path("/tmp").glob("minikube-lite-tour.*")) <= before, output


@pytest.mark.root
def test_without_root_the_commands_say_so_and_what_to_type(tmp_path: Path) -> None:
    for script in ("examples/tour.sh", "examples/real-server.sh", "tests/run.sh"):
        done = subprocess.run(
            ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "bash", HOUSE / script],
            cwd="/",
            capture_output=True,
            text=True,
        )
        assert done.returncode == 1
        assert f"sudo bash {script}" in done.stderr
