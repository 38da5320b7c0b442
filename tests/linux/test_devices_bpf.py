"""The device filter of cgroup v2, in the v2 tree of this machine (a hybrid's will do)."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from minikube_lite.linux.cgroups import Cgroup, Layout, layout, sweep
from minikube_lite.linux.devices_bpf import DeviceFilter, attached, compile_rules
from tests.linux.test_cgroups import DEVICES, NO, REPOSITORY, RULES, TRY_DEVICES
from tests.traces import Traces

ENTER = "import os, sys; open(sys.argv[1] + '/cgroup.procs', 'w').write('0')\n"


@pytest.fixture
def cgroup(traces: Traces) -> Iterator[Cgroup]:
    """A cgroup in the v2 tree alone, as if there were no v1 controller."""
    if not layout().unified:
        pytest.skip("there is no cgroup v2 tree here")
    cgroup = Cgroup(f"/minikube-lite-test-{os.getpid()}-bpf", Layout({}, layout().unified, frozenset()))
    traces.watch_cgroup(cgroup.path)
    cgroup.create()
    yield cgroup
    assert sweep(cgroup.path)


def directory(cgroup: Cgroup) -> str:
    assert cgroup.layout.unified
    return cgroup.directory(cgroup.layout.unified)


def inside(cgroup: Cgroup, code: str) -> list[str]:
    command = [sys.executable, "-c", ENTER + code, directory(cgroup)]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout.splitlines()


def programs(cgroup: Cgroup) -> list[int]:
    fd = os.open(directory(cgroup), os.O_RDONLY)
    try:
        return attached(fd)
    finally:
        os.close(fd)


@pytest.mark.root
def test_only_the_devices_allowed_can_be_opened_or_made(cgroup: Cgroup, tmp_path: Path) -> None:
    assert cgroup.apply({"devices": RULES}) == []
    assert inside(cgroup, f"node = {str(tmp_path / 'disk')!r}\n{TRY_DEVICES}") == DEVICES


@pytest.mark.root
def test_new_rules_replace_those_before(cgroup: Cgroup) -> None:
    opening = "os.open('/dev/null', os.O_RDWR); print('yes')"
    assert cgroup.apply({"devices": RULES}) == []
    (before,) = programs(cgroup)
    assert cgroup.apply({"devices": [{"allow": True, "access": "rwm"}]}) == []
    (after,) = programs(cgroup)
    assert before != after
    assert inside(cgroup, opening) == ["yes"]


CASES: list[tuple[list[dict[str, Any]], str]] = [
    ([], "yes"),
    ([{"allow": False}], NO),
    ([{"allow": False, "type": "b"}], "yes"),
    ([{"allow": False, "type": "c", "major": 1}], NO),
    ([{"allow": False, "type": "c", "major": 1, "minor": -1, "access": "w"}], NO),
    ([{"allow": False, "type": "c", "major": 1, "minor": 5}], "yes"),
    ([{"allow": False, "access": "m"}], "yes"),
    ([{"allow": False}, {"allow": True, "major": 1, "minor": 3}], "yes"),
    ([{"allow": False}, {"allow": True, "access": "r"}], NO),
    ([{"allow": False}, {"allow": True, "access": "r"}, {"allow": True, "access": "w"}], "yes"),
    ([{"allow": True}, {"allow": False, "type": "c", "major": 1, "minor": 3, "access": "w"}], NO),
    ([{"allow": False, "type": "c", "major": 1, "minor": 3}, {"allow": True}], "yes"),
]


@pytest.mark.root
@pytest.mark.parametrize(("rules", "answer"), CASES)
def test_the_last_rule_that_names_a_kind_of_access_decides(
    cgroup: Cgroup, rules: list[dict[str, Any]], answer: str
) -> None:
    """Asked for is /dev/null (c 1:3), to read and write."""
    DeviceFilter(directory(cgroup), rules).apply()
    code = """\
try:
    os.open("/dev/null", os.O_RDWR)
except OSError as error:
    print(error.strerror)
else:
    print("yes")
"""
    assert inside(cgroup, code) == [answer]


@pytest.mark.root
def test_a_filter_on_a_cgroup_that_is_gone_says_where(cgroup: Cgroup) -> None:
    with pytest.raises(OSError, match=r"cannot limit access to devices \(bpf\): `.*/gone` is not there"):
        DeviceFilter(f"{directory(cgroup)}/gone", RULES).apply()


def test_a_filter_is_described_rule_by_rule() -> None:
    words = "attach a device filter to /x (deny a *:* rwm; allow c 1:3 rwm; allow c 1:5 r)"
    assert DeviceFilter("/x", RULES[:3]).describe() == words


def test_a_program_is_whole_instructions_that_end_in_an_answer() -> None:
    code = compile_rules(RULES)
    assert len(code) % 8 == 0
    assert code[-8] == 0x95


@pytest.mark.parametrize("rule", [{"allow": True, "type": "x"}, {"allow": True, "access": "rx"}])
def test_a_rule_that_makes_no_sense_is_refused(rule: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="no such type or access"):
        compile_rules([rule])
