"""Numbers and v2 files. The v2 files are ordinary ones in a temporary directory: proven here is what is written,
where and in which order; that a kernel takes it is proven where the tests run on a v2 machine (`test_cgroups.py`).
"""

from __future__ import annotations

import errno
from decimal import ROUND_CEILING, Decimal, localcontext
from pathlib import Path
from typing import Any

import pytest

from minikube_lite.linux import cgroup_tree, cgroup_writes
from minikube_lite.linux.cgroups import Cgroup, Hierarchy, Layout, Write, resize, weight_from_shares


@pytest.mark.parametrize(
    ("shares", "weight"),
    [(0, 1), (2, 1), (3, 2), (102, 17), (512, 59), (1024, 100), (2048, 174), (262143, 10000), (262144, 10000)],
)
def test_shares_become_weights_by_the_formula_of_2025(shares: int, weight: int) -> None:
    assert weight_from_shares(shares) == weight


def test_a_weight_is_the_formula_in_exact_decimals() -> None:
    with localcontext() as context:
        context.prec = 40
        for shares in range(3, 262144, 1009):
            logarithm = Decimal(shares).ln() / Decimal(2).ln()
            exponent = (logarithm**2 + 125 * logarithm) / 612 - Decimal(7) / 34
            assert weight_from_shares(shares) == (10**exponent).to_integral_value(ROUND_CEILING), shares


def test_more_shares_never_weigh_less() -> None:
    weights = [weight_from_shares(shares) for shares in range(2, 262145, 7)]
    assert weights == sorted(weights)


@pytest.mark.parametrize(
    ("written", "there", "is_same"),
    [
        ("200", "200", True),
        ("200", "2", False),
        ("100000000", "99999744", True),  # whole pages
        ("100000000", "99995648", False),
        ("-1", str(cgroup_writes.UNLIMITED), True),
        ("-1", "max", True),
        ("max", "50", False),
        ("20000 100000", "20000 100000", True),
        ("20000 100000", "max 100000", False),
        ("0,1", "0-1", True),
        ("0,2", "0-2", False),
    ],
)
def test_a_value_is_read_back_as_the_kernel_keeps_it(tmp_path: Path, written: str, there: str, is_same: bool) -> None:
    file = tmp_path / "memory.max"
    file.write_text(there + "\n")
    words = Write(str(file), written, "memory limit").mismatch()
    assert words == ("" if is_same else f"memory limit is {there}, not {written} (`{file}`)")


@pytest.mark.parametrize("path", ["", "/", "/..", "/a/../../b", "."])
def test_a_path_that_is_not_below_the_top_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="does not name a cgroup"):
        Cgroup(path, Layout({}, None, frozenset()))


FILES = {
    "cgroup.controllers": "cpuset cpu io memory pids",
    "cgroup.subtree_control": "",
    "cgroup.procs": "",
    "cgroup.events": "populated 0\nfrozen 0",
    "cpu.max": "max 100000",
    "cpu.max.burst": "0",
    "cpu.weight": "100",
    "cpu.stat": "usage_usec 7\nuser_usec 4\nnr_periods 3\nnr_throttled 2\nthrottled_usec 5",
    "memory.max": "max",
    "memory.low": "0",
    "memory.current": "8192",
    "memory.stat": "anon 4096\ninactive_file 4096",
    "memory.swap.max": "max",
    "memory.events": "oom 2\noom_kill 1",
    "pids.max": "max",
    "pids.current": "1",
    "cpuset.cpus": "",
}


@pytest.fixture
def v2(tmp_path: Path) -> Layout:
    """A v2 tree with `/node/pod/app` in it."""
    directory = tmp_path
    for name in ("", "node", "pod", "app"):
        directory = directory / name
        directory.mkdir(exist_ok=True)
        for file, text in FILES.items():
            (directory / file).write_text(text + "\n")
    return Layout({}, Hierarchy(2, str(tmp_path), ("cpu", "memory", "pids"), "/", True), frozenset())


def written(cgroup: Cgroup, resources: dict[str, Any]) -> list[tuple[str, str]]:
    return [(each.path.rpartition("/")[2], each.value) for each in cgroup.describe(resources)]


@pytest.mark.parametrize(
    ("resources", "files"),
    [
        ({"cpu": {"shares": 1024}}, [("cpu.weight", "100")]),
        ({"cpu": {"quota": 20000, "period": 100000}}, [("cpu.max", "20000 100000")]),
        ({"cpu": {"quota": 20000}}, [("cpu.max", "20000 100000")]),
        ({"cpu": {"period": 50000}}, [("cpu.max", "max 50000")]),
        ({"cpu": {"quota": -1}}, [("cpu.max", "max 100000")]),
        ({"cpu": {"quota": 20000, "burst": 1000}}, [("cpu.max", "20000 100000"), ("cpu.max.burst", "1000")]),
        ({"memory": {"limit": 4096}}, [("memory.max", "4096")]),
        ({"memory": {"limit": 4096, "swap": 4096}}, [("memory.max", "4096"), ("memory.swap.max", "0")]),
        ({"memory": {"limit": 4096, "swap": 12288}}, [("memory.max", "4096"), ("memory.swap.max", "8192")]),
        ({"memory": {"limit": -1, "swap": -1}}, [("memory.max", "max"), ("memory.swap.max", "max")]),
        ({"memory": {"reservation": 4096}}, [("memory.low", "4096")]),
        ({"pids": {"limit": 5}}, [("pids.max", "5")]),
        ({"pids": {"limit": -1}}, [("pids.max", "max")]),
        ({"unified": {"memory.swap.max": "0"}}, [("memory.swap.max", "0")]),
        ({"cpu": {}, "memory": None}, []),
    ],
)
def test_resources_become_v2_files(v2: Layout, resources: dict[str, Any], files: list[tuple[str, str]]) -> None:
    cgroup = Cgroup("/node/pod/app", v2)
    assert written(cgroup, resources) == files
    assert cgroup.apply(resources) == []
    for name, value in files:
        assert Path(v2.unified.mount, "node/pod/app", name).read_text() == value  # type: ignore[union-attr]


def test_a_burst_larger_than_the_new_quota_is_lowered_first(v2: Layout) -> None:
    cgroup = Cgroup("/node/pod/app", v2)
    cgroup.apply({"cpu": {"quota": 50000, "burst": 40000}})
    assert written(cgroup, {"cpu": {"quota": 20000}}) == [("cpu.max.burst", "20000"), ("cpu.max", "20000 100000")]


@pytest.mark.parametrize(
    ("resources", "words"),
    [
        (
            {"memory": {"swap": 4096}},
            "memory+swap limit of 4096 needs a memory limit no larger than itself: not enforced",
        ),
        ({"memory": {"swappiness": 5}}, "cgroup v2 has no swappiness: not enforced"),
        ({"unified": {"io.weight": "50"}}, "no cgroup v2 with io controller: io.weight = 50 not enforced"),
        ({"blockIO": {"weight": 5}}, "linux.resources.blockIO is not supported: not enforced"),
        ({"cpu": {"realtimePeriod": 5}}, "linux.resources.cpu.realtimePeriod is not supported: not enforced"),
        ({"cpu": {"cpus": "0"}}, "cpuset controller is missing: cpuset of cpus 0 not enforced"),
    ],
)
def test_what_is_not_enforced_is_said(v2: Layout, resources: dict[str, Any], words: str) -> None:
    assert Cgroup("/node/pod/app", v2).apply(resources) == [words]


def test_a_file_of_the_unified_map_cannot_lie_elsewhere(v2: Layout) -> None:
    with pytest.raises(ValueError, match="not the name of a cgroup file"):
        Cgroup("/node/pod/app", v2).apply({"unified": {"../pod/memory.max": "max"}})


def test_controllers_are_enabled_from_the_top_down_but_not_in_the_leaf(v2: Layout) -> None:
    assert v2.unified
    assert Cgroup("/node/pod/app", v2).create({"pids": {"limit": 5}}) == []
    controls = [
        Path(v2.unified.mount, name, "cgroup.subtree_control") for name in ("", "node", "node/pod", "node/pod/app")
    ]
    assert [file.read_text().strip() for file in controls] == ["+cpu +memory +pids"] * 3 + [""]


def test_a_controller_that_is_enabled_already_is_not_enabled_again(v2: Layout) -> None:
    assert v2.unified
    file = Path(v2.unified.mount, "cgroup.subtree_control")
    file.write_text("cpu memory pids io\n")
    Cgroup("/node/pod/app", v2).create()
    assert file.read_text() == "cpu memory pids io\n"


def test_processes_at_the_top_of_a_container_make_room_for_its_children(
    v2: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rule of the kernel that counts here is played: a cgroup with processes cannot enable controllers (EBUSY)."""
    assert v2.unified
    top, really = Path(v2.unified.mount), cgroup_writes.write
    (top / "cgroup.procs").write_text("17\n18\n")

    def write(path: str, value: str) -> None:
        if path == f"{top}/cgroup.subtree_control" and (top / "cgroup.procs").read_text():
            raise OSError(errno.EBUSY, "Device or resource busy")
        if path == f"{top}/init/cgroup.procs":
            rest = (top / "cgroup.procs").read_text().replace(f"{value}\n", "")
            (top / "cgroup.procs").write_text(rest)
            return
        really(path, value)

    monkeypatch.setattr(cgroup_tree, "write", write)
    monkeypatch.setattr(cgroup_writes, "write", write)
    assert Cgroup("/node/pod/app", v2).create() == []
    assert (top / "cgroup.procs").read_text() == ""
    assert (top / "cgroup.subtree_control").read_text() == "+cpu +memory +pids"


def test_v2_counters_have_the_names_and_units_of_v1(v2: Layout) -> None:
    cgroup = Cgroup("/node/pod/app", v2)
    assert cgroup.oom_kills() == 1
    assert cgroup.stats() == {
        "cpu_usage_ns": 7000,
        "cpu_periods": 3,
        "cpu_throttled_periods": 2,
        "cpu_throttled_ns": 5000,
        "memory_usage": 8192,
        "memory_working_set": 4096,
        "memory_limit": None,
        "pids": 1,
    }


def test_v2_parents_and_children_are_resized_with_one_write_each(v2: Layout) -> None:
    pod, app = Cgroup("/node/pod", v2), Cgroup("/node/pod/app", v2)
    for quota in (20000, 50000, 10000, -1, 30000):
        resources = {"cpu": {"quota": quota, "period": 100000}}
        assert resize(pod, resources, [(app, resources)]) == []
    assert Path(app.file("cpu", "cpu.max") or "").read_text() == "30000 100000"


def test_without_cgroups_every_limit_is_named_and_nothing_fails() -> None:
    cgroup = Cgroup("/node/pod/app", Layout({}, None, frozenset()))
    why = "is missing: no cgroup file system is mounted:"
    resources = {
        "cpu": {"shares": 5, "quota": 20000},
        "memory": {"limit": 4096},
        "pids": {"limit": 9},
        "devices": [{"allow": False}],
    }
    assert cgroup.create(resources) == [
        f"cpu controller {why} cpu limit of 20000 µs per 100000 µs not enforced",
        f"cpu controller {why} cpu shares of 5 not enforced",
        f"memory controller {why} memory limit of 4096 bytes not enforced",
        f"pids controller {why} limit of 9 processes not enforced",
        f"devices controller {why} access to devices is not limited",
    ]
    cgroup.join()
    cgroup.kill()
    assert (cgroup.pids(), cgroup.populated(), cgroup.exists(), cgroup.oom_kills()) == ([], False, False, 0)
    assert (cgroup.stats(), cgroup.children(), cgroup.remove()) == ({}, [], True)
