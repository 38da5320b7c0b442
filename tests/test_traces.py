"""The leak detector sees what it is there to see: else no test that trusts it can fail."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from minikube_lite.node.paths import Paths
from tests.traces import MARK, Traces

pytestmark = pytest.mark.root


@pytest.fixture
def sleeper() -> Iterator[list[subprocess.Popen[bytes]]]:
    started: list[subprocess.Popen[bytes]] = []
    yield started
    for process in started:
        process.kill()
        process.communicate()


def test_a_test_that_does_nothing_leaves_no_trace(tmp_path: Path) -> None:
    assert Traces(tmp_path).found() == []


def test_a_mount_below_the_directory_is_a_trace(tmp_path: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "none", tmp_path], check=True)
    try:
        assert [line.split()[0] for line in Traces(tmp_path).found()] == ["mount"]
    finally:
        subprocess.run(["umount", tmp_path], check=True)


@pytest.mark.parametrize("how", ["cmdline", "environ", "cwd", "fd"])
def test_a_process_is_a_trace_however_it_is_tied_to_the_directory(
    tmp_path: Path, sleeper: list[subprocess.Popen[bytes]], how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(MARK)
    sleep, output = ["sleep", "1000"], tmp_path / "output"
    with output.open("wb") as file:
        match how:
            case "cmdline":
                sleeper.append(subprocess.Popen(["sh", "-c", "read line", str(tmp_path)], stdin=subprocess.PIPE))
            case "environ":
                sleeper.append(subprocess.Popen(sleep, env={"OF": str(tmp_path)}))
            case "cwd":
                sleeper.append(subprocess.Popen(sleep, cwd=tmp_path))
            case "fd":
                sleeper.append(subprocess.Popen(sleep, stdout=file))
    found = Traces(tmp_path).found()
    assert [line.split()[:2] for line in found] == [["process", str(sleeper[0].pid)]]
    assert f": {how}" in found[0]


def test_whatever_a_test_starts_is_a_trace_even_when_its_parent_is_gone(tmp_path: Path) -> None:
    command = ["sh", "-c", "sleep 1000 >/dev/null 2>&1 & echo $!"]
    shell = subprocess.run(command, capture_output=True, text=True, check=True)
    pid = int(shell.stdout)
    try:
        assert [line.split()[:2] for line in Traces(tmp_path).found()] == [["process", str(pid)]]
    finally:
        os.kill(pid, signal.SIGKILL)


def test_a_cgroup_of_a_node_rooted_in_the_directory_is_a_trace(tmp_path: Path) -> None:
    traces = Traces(tmp_path)
    hierarchies = [
        line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines() if " - cgroup" in line
    ]
    cgroup = Path(hierarchies[0] + Paths(tmp_path).cgroup)
    cgroup.mkdir()
    try:
        assert traces.found() == [f"cgroup {cgroup}"]
    finally:
        cgroup.rmdir()


def test_another_directory_with_the_same_beginning_is_none_of_the_tests_business(
    tmp_path: Path, sleeper: list[subprocess.Popen[bytes]]
) -> None:
    other = tmp_path.with_name(f"{tmp_path.name}1")
    other.mkdir()
    sleeper.append(subprocess.Popen(["sleep", "1000"], cwd=other, env={}))
    assert Traces(tmp_path).found() == []


def test_a_sweep_takes_every_trace_away(tmp_path: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "none", tmp_path], check=True)
    process = subprocess.Popen(["sleep", "1000"], cwd=tmp_path)
    traces = Traces(tmp_path)
    traces.sweep()
    process.wait(10)
    traces.assert_none()
