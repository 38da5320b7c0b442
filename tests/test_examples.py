"""A real server from Debian's packages runs, serves and goes, as examples/real-server.sh shows it."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(not shutil.which("apt-get"), reason="it is made of Debian's packages: there is no apt-get here"),
]
HOUSE = Path(__file__).parent.parent
SCRIPT = HOUSE / "examples/real-server.sh"


def places() -> set[Path]:
    return set(Path("/tmp").glob("minikube-lite-real-server.*"))


def installed() -> str:
    query = ["dpkg-query", "-W", "-f", "${Package} ${Status}\n", "redis*"]
    return subprocess.run(query, capture_output=True, text=True).stdout


def test_a_real_server_runs_from_debians_packages_and_nothing_is_left(tmp_path: Path) -> None:
    before = (places(), installed())
    done = subprocess.run(["bash", SCRIPT], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    output = done.stdout + done.stderr
    assert done.returncode == 0, output
    assert re.search(r"^docker\.io/library/redis +local +[0-9a-f]{12} ", output, re.MULTILINE), output
    assert "\nPONG\n" in output
    assert re.search(r"^process_id:1\r?$", output, re.MULTILINE), output
    assert re.search(r"^redis +1/1 +Running +1 ", output, re.MULTILINE), "it is started again after it ended"
    assert output.count("\nhello from redis\n") == 2, "the data outlives the container"
    assert "Ready to accept connections" in output
    assert "processes left: 0, mounts left: 0, cgroups left: 0" in output
    assert (places(), installed()) == before


def test_it_cleans_up_when_it_is_interrupted(tmp_path: Path) -> None:
    before = places()
    with subprocess.Popen(
        ["bash", SCRIPT],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as example:
        assert example.stdout is not None
        for line in example.stdout:
            if line.startswith("PONG"):  # the server runs
                break
        os.killpg(example.pid, signal.SIGINT)  # as the terminal does: to all of the foreground group
        output = example.stdout.read()
    assert example.returncode == 128 + signal.SIGINT, output
    assert places() <= before, output
