"""Cgroups of this machine, whatever version it has. What only one version has is skipped on the others and says so."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from minikube_lite.linux.cgroups import Cgroup, Layout, layout, resize, sweep
from tests.traces import Traces

pytestmark = pytest.mark.root

REPOSITORY = Path(__file__).parents[2]
ENTER = "import os, sys; from minikube_lite.linux.cgroups import Cgroup; cgroup = Cgroup(sys.argv[1])\n"
numbers = itertools.count()


@pytest.fixture
def path(traces: Traces) -> Iterator[str]:
    """A cgroup of the test's own; swept at the end."""
    if layout().kind == "none":
        pytest.skip("no cgroup file system is mounted here")
    name = f"/minikube-lite-test-{os.getpid()}-{next(numbers)}"
    traces.watch_cgroup(name)
    yield name
    assert sweep(name)


@pytest.fixture
def app(path: str) -> Cgroup:
    return Cgroup(f"{path}/pod1/app-0")


def needs(controller: str) -> None:
    if not layout().find(controller):
        pytest.skip(layout().missing(controller))


def needs_v1(controller: str) -> None:
    if controller not in layout().v1:
        pytest.skip(f"the {controller} controller is not on cgroup v1 here")


def text(cgroup: Cgroup, controller: str, name: str) -> str:
    file = cgroup.file(controller, name)
    assert file
    return Path(file).read_text().strip()


def python(cgroup: Cgroup, code: str) -> subprocess.Popen[str]:
    """Run code in a process that joins the cgroup first."""
    command = [sys.executable, "-c", f"{ENTER}cgroup.join()\n{code}", cgroup.path]
    return subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def said(process: subprocess.Popen[str]) -> str:
    return process.communicate(timeout=60)[0].strip()


def sleepers(cgroup: Cgroup, count: int = 1) -> list[subprocess.Popen[bytes]]:
    found = [subprocess.Popen(["sleep", "600"]) for _ in range(count)]
    for each in found:
        cgroup.join(each.pid)
    return found


# -- making, entering, leaving --------------------------------------------------------------------------------------


def test_a_cgroup_is_made_in_every_hierarchy_and_removed_from_every_one(app: Cgroup, path: str, traces: Traces) -> None:
    assert not app.exists()
    assert app.create() == []
    trees = {tree.mount for tree in (layout().unified, *map(layout().v1.get, ("cpu", "memory", "pids"))) if tree}
    assert trees
    assert {mount for mount in trees if not os.path.isdir(mount + app.path)} == set()
    assert app.exists()
    assert Cgroup(path).children() == ["pod1"]
    assert Cgroup(path).remove()
    assert traces.found() == []
    assert not app.exists()


def test_making_and_removing_twice_is_as_good_as_once(app: Cgroup) -> None:
    assert app.create() == app.create() == []
    assert app.remove()
    assert app.remove()


def test_a_process_that_joins_is_in_every_hierarchy(app: Cgroup) -> None:
    app.create()
    lines = said(python(app, "print(open('/proc/self/cgroup').read())")).splitlines()
    where = {name: line.split(":", 2)[2] for line in lines for name in line.split(":", 2)[1].split(",")}
    wanted = {"cpu", "cpuacct", "memory", "pids", "devices"} & set(layout().v1) | ({""} if layout().unified else set())
    assert wanted
    assert {name for name in wanted if not where[name].endswith(app.path)} == set()


def test_a_process_with_threads_joins_with_all_of_them(app: Cgroup) -> None:
    app.create()
    code = f"""\
{ENTER}
import threading, time
stop = threading.Event()
thread = threading.Thread(target=stop.wait)
thread.start()
cgroup.join()
for task in os.listdir("/proc/self/task"):
    print(sum(cgroup.path in line for line in open(f"/proc/self/task/{{task}}/cgroup")))
stop.set()
"""
    command = [sys.executable, "-c", code, app.path]
    found = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout.split()
    assert len(found) == 2
    assert found[0] == found[1] != "0"


def test_joining_twice_is_as_good_as_once(app: Cgroup) -> None:
    app.create()
    assert said(python(app, "cgroup.join(); print(os.getpid() in cgroup.pids())")) == "True"


def test_joining_a_cgroup_that_is_gone_says_where(app: Cgroup) -> None:
    with pytest.raises(OSError, match=r"cannot move process \d+: `.*app-0/.*` is not there"):
        app.join()


def test_a_failed_creation_leaves_nothing(app: Cgroup, traces: Traces) -> None:
    if not layout().unified:
        pytest.skip("the unified map needs a v2 tree")
    with pytest.raises(OSError, match=r"cannot set cgroup\.no-such to 1: `.*app-0/cgroup.no-such` is not there"):
        app.create({"unified": {"cgroup.no-such": "1"}})
    assert traces.found() == []


def test_a_read_only_tree_is_named(path: str, tmp_path: Path) -> None:
    """In a mount namespace of its own, where the trees are mounted again, read-only."""
    code = f"""\
{ENTER}
from minikube_lite.linux.cgroups import layout
mounts = dict.fromkeys(tree.mount for tree in (*layout().v1.values(), *filter(None, [layout().unified])))
for mount in mounts:
    os.system(f"mount -o bind,remount,ro {{mount}}")
try:
    cgroup.create()
except OSError as error:
    print(error.strerror)
"""
    command = ["unshare", "--mount", sys.executable, "-c", code, path]
    lines = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("cannot make the cgroup: `/")
    assert "is read-only (hint: run on the host" in lines[0]


# -- limits ---------------------------------------------------------------------------------------------------------


def test_what_is_described_is_what_is_done_and_read_back(app: Cgroup) -> None:
    for controller in ("cpu", "memory", "pids"):
        needs(controller)
    resources = {
        "cpu": {"shares": 204, "quota": 20000, "period": 100000},
        "memory": {"limit": 100_000_000},
        "pids": {"limit": 50},
    }
    described = app.describe(resources)
    assert app.create(resources) == []
    values = {each.path: each.value for each in described}
    assert len(values) >= 4
    for file, value in values.items():
        there = Path(file).read_text().strip()
        assert there == (str(100_000_000 // 4096 * 4096) if "memory" in file else value)
    assert all(each.describe().startswith(f"write {each.value} to {each.path} (") for each in described)


def test_a_value_that_the_kernel_alters_is_a_mismatch(app: Cgroup) -> None:
    needs_v1("cpu")
    assert app.create({"cpu": {"shares": 1}}) == [
        f"cpu shares is 2, not 1 (`{app.file('cpu', 'cpu.shares')}`)",
    ]


def test_minus_one_takes_a_limit_away(app: Cgroup) -> None:
    for controller in ("cpu", "memory", "pids"):
        needs(controller)
    limited: dict[str, Any] = {
        "cpu": {"quota": 20000, "period": 100000},
        "memory": {"limit": 1 << 26, "swap": 1 << 26},
        "pids": {"limit": 50},
    }
    without: dict[str, Any] = {"cpu": {"quota": -1}, "memory": {"limit": -1, "swap": -1}, "pids": {"limit": -1}}
    swap = [words for words in app.create(limited) if "swap is not accounted" not in words]
    assert swap == []
    assert [words for words in app.apply(without) if "swap is not accounted" not in words] == []
    assert app.stats()["memory_limit"] is None
    assert text(app, "pids", "pids.max") == "max"
    file = "cpu.cfs_quota_us" if "cpu" in layout().v1 else "cpu.max"
    assert text(app, "cpu", file).split()[0] in ("-1", "max")


MEMORY = [(64, 64), (128, 128), (32, 32), (32, 128), (128, 160), (-1, -1), (64, 96), (-1, None), (64, 64), (256, None)]


def test_memory_and_swap_go_up_and_down_in_an_order_that_the_kernel_takes(app: Cgroup) -> None:
    needs_v1("memory")
    if not os.path.exists(f"{layout().v1['memory'].mount}/memory.memsw.limit_in_bytes"):
        pytest.skip("swap is not accounted here")
    app.create()
    for limit, swap in MEMORY:
        wanted = {"limit": limit << 20 if limit > 0 else -1}
        if swap:
            wanted["swap"] = swap << 20 if swap > 0 else -1
        assert app.apply({"memory": wanted}) == [], (limit, swap)


CPU = [(20000, 100000), (50000, 100000), (1000, 1000000), (1000, 2000), (-1, 100000), (300000, 100000), (20000, 30000)]


def test_quota_and_period_go_up_and_down_below_a_parent_that_has_just_as_much(app: Cgroup, path: str) -> None:
    needs("cpu")
    pod = Cgroup(f"{path}/pod1")
    for quota, period in CPU:
        resources = {"cpu": {"quota": quota, "period": period}}
        assert app.create() == []
        assert resize(pod, resources, [(app, resources)]) == [], (quota, period)
        assert app.apply(resources) == pod.apply(resources) == []


def test_a_smaller_quota_lowers_the_burst_first(app: Cgroup) -> None:
    needs_v1("cpu")
    assert app.create({"cpu": {"quota": 50000, "period": 100000, "burst": 40000}}) == []
    assert app.apply({"cpu": {"quota": 20000}}) == []
    assert text(app, "cpu", "cpu.cfs_burst_us") == "20000"
    assert app.apply({"cpu": {"quota": 10000, "burst": 5000}}) == []
    assert text(app, "cpu", "cpu.cfs_burst_us") == "5000"


def test_a_quota_above_the_parents_is_refused_by_v1_and_reported_with_the_reason(app: Cgroup, path: str) -> None:
    needs_v1("cpu")
    Cgroup(f"{path}/pod1").create({"cpu": {"quota": 20000, "period": 100000}})
    words = app.create({"cpu": {"quota": 30000, "period": 100000}})
    assert words == [
        f"cannot set cpu quota to 30000: `{app.file('cpu', 'cpu.cfs_quota_us')}` does not take that (hint: on cgroup "
        "v1 a cgroup gets no more than its parent, and no less than 1000 µs)"
    ]
    assert text(app, "cpu", "cpu.cfs_quota_us") == "-1"


def test_a_refused_quota_leaves_the_limit_that_was_there(app: Cgroup, path: str) -> None:
    needs_v1("cpu")
    Cgroup(f"{path}/pod1").create({"cpu": {"quota": 20000, "period": 100000}})
    app.create({"cpu": {"quota": 10000, "period": 100000}})
    assert len(app.apply({"cpu": {"quota": 30000, "period": 50000}})) == 2
    assert (text(app, "cpu", "cpu.cfs_quota_us"), text(app, "cpu", "cpu.cfs_period_us")) == ("10000", "100000")


FULL, HALF, FIFTH, NONE = (100000, 100000), (50000, 100000), (1000, 5000), (-1, 100000)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param([HALF, HALF, FIFTH], [FULL, FULL, HALF], id="all get more"),
        pytest.param([FULL, FULL, HALF], [HALF, HALF, FIFTH], id="all get less"),
        pytest.param([FULL, FULL, FIFTH], [FULL, FIFTH, FULL], id="one child gets less, another more"),
        pytest.param([HALF, FIFTH, HALF], [FULL, FULL, FIFTH], id="the parent gets more, one child less"),
        pytest.param([FULL, FULL, FIFTH], [HALF, FIFTH, HALF], id="the parent gets less, one child more"),
        pytest.param([NONE, HALF, NONE], [HALF, HALF, FIFTH], id="no limit becomes one"),
        pytest.param([HALF, HALF, NONE], [NONE, NONE, FULL], id="a limit is taken away"),
        pytest.param([NONE, NONE, NONE], [FIFTH, NONE, FIFTH], id="the parent alone is limited"),
    ],
)
def test_a_pod_and_its_containers_are_resized_without_a_refusal(
    path: str, before: list[tuple[int, int]], after: list[tuple[int, int]]
) -> None:
    needs("cpu")
    pod, *children = (Cgroup(f"{path}/pod1{below}") for below in ("", "/a", "/b"))
    wanted = [[{"cpu": {"quota": quota, "period": period}} for quota, period in each] for each in (before, after)]
    for cgroup, resources in zip((pod, *children), wanted[0], strict=True):
        assert cgroup.create(resources) == []
    (limits, *rest) = wanted[1]
    assert resize(pod, limits, list(zip(children, rest, strict=True))) == []
    for cgroup, (quota, period) in zip((pod, *children), after, strict=True):
        if "cpu" in layout().v1:
            there = [text(cgroup, "cpu", f"cpu.cfs_{name}_us") for name in ("quota", "period")]
        else:
            there = text(cgroup, "cpu", "cpu.max").replace("max", "-1").split()
        assert there == [str(quota), str(period)]


def test_a_container_that_has_just_ended_does_not_keep_the_pod_from_its_limits(path: str) -> None:
    needs("cpu")
    pod, ended = Cgroup(f"{path}/pod1"), Cgroup(f"{path}/pod1/ended")
    resources = {"cpu": {"quota": 20000, "period": 100000}}
    pod.create()
    assert resize(pod, resources, [(ended, resources)]) == []


def test_cpus_can_be_chosen(app: Cgroup) -> None:
    needs("cpuset")
    assert app.create({"cpu": {"cpus": "0"}}) == []
    assert said(python(app, "print(os.sched_getaffinity(0))")) == "{0}"


def test_a_busy_loop_at_200m_gets_a_fifth_of_a_core(app: Cgroup) -> None:
    """Measured in the kernel's own periods and not by our clock: a loaded machine makes the test longer, not wrong."""
    needs("cpu")
    quota_ns = 20_000_000
    app.create({"cpu": {"quota": 20000, "period": 100000}})
    loop = python(app, "while True: pass")
    try:
        deadline = time.monotonic() + 60
        while (stats := app.stats())["cpu_throttled_periods"] < 8:  # type: ignore[operator]
            assert time.monotonic() < deadline, f"never throttled: {stats}"
            time.sleep(0.05)
    finally:
        app.kill()
        loop.communicate()
    usage, periods, throttled = (stats[f"cpu_{name}"] or 0 for name in ("usage_ns", "periods", "throttled_periods"))
    assert 0.5 * quota_ns * throttled <= usage <= 1.5 * quota_ns * (periods + 1)


def test_a_process_that_wants_too_much_memory_is_killed_and_counted(app: Cgroup) -> None:
    needs("memory")
    app.create({"memory": {"limit": 32 << 20, "swap": 32 << 20}})
    assert app.oom_kills() == 0
    process = python(app, "bytearray(100 << 20)")
    assert said(process) == ""
    assert process.returncode == -9
    assert app.oom_kills() == 1


def test_a_fork_bomb_ends_at_the_limit_of_processes(app: Cgroup) -> None:
    needs("pids")
    app.create({"pids": {"limit": 5}})
    code = """\
for number in range(9):
    try:
        pid = os.fork()
    except BlockingIOError:
        print(number + 1, flush=True)
        break
    if pid == 0:
        import time
        time.sleep(600)
cgroup.kill()
"""
    assert said(python(app, code)) == "5"


def test_only_the_devices_allowed_can_be_opened_or_made(app: Cgroup, tmp_path: Path) -> None:
    app.create({"devices": RULES})
    assert said(python(app, f"node = {str(tmp_path / 'disk')!r}\n{TRY_DEVICES}")).splitlines() == DEVICES


def test_the_same_device_rules_are_not_written_again(app: Cgroup) -> None:
    needs_v1("devices")
    assert app.create({"devices": RULES}) == []
    assert app.describe({"devices": RULES}) == []
    assert app.apply({"devices": [{"allow": False, "access": "rwm"}]}) == []
    assert text(app, "devices", "devices.list") == ""


def test_a_device_that_the_parent_denies_is_an_error_and_not_a_warning(app: Cgroup, path: str) -> None:
    needs_v1("devices")
    Cgroup(f"{path}/pod1").create({"devices": [{"allow": False, "access": "rwm"}]})
    with pytest.raises(OSError, match="cannot set device rule to c 1:3 rwm"):
        app.create({"devices": RULES})


RULES = [
    {"allow": False, "access": "rwm"},
    {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "rwm"},
    {"allow": True, "type": "c", "major": 1, "minor": 5, "access": "r"},
    {"allow": True, "type": "c", "major": 1, "minor": 8, "access": "r"},
    {"allow": True, "type": "c", "major": 1, "minor": 8, "access": "w"},
    {"allow": True, "type": "c", "access": "m"},
]
"""/dev/null; to read /dev/zero; to read and write, by two rules, /dev/random; to make any character device."""
TRY_DEVICES = """\
import stat
def attempt(what, call, *arguments):
    try:
        call(*arguments)
    except OSError as error:
        print(what, error.strerror)
    else:
        print(what, "yes")
attempt("null", os.open, "/dev/null", os.O_RDWR)
attempt("read zero", os.open, "/dev/zero", os.O_RDONLY)
attempt("write zero", os.open, "/dev/zero", os.O_WRONLY)
attempt("both random", os.open, "/dev/random", os.O_RDWR)
attempt("urandom", os.open, "/dev/urandom", os.O_RDONLY)
attempt("make a disk", os.mknod, node, 0o600 | stat.S_IFBLK, os.makedev(8, 0))
attempt("make a terminal", os.mknod, node, 0o600 | stat.S_IFCHR, os.makedev(5, 1))
"""
NO = "Operation not permitted"
DEVICES = [
    "null yes",
    "read zero yes",
    f"write zero {NO}",
    "both random yes",
    f"urandom {NO}",
    f"make a disk {NO}",
    "make a terminal yes",
]


# -- the end --------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["as it is", "v1 alone", "v1 without freezer"])
def machine(request: pytest.FixtureRequest) -> Layout:
    """This machine's trees; then as if there were no v2 tree, and no freezer."""
    there = layout()
    if request.param == "as it is":
        return there
    if not there.v1:
        pytest.skip("there is no cgroup v1 here")
    v1 = {name: tree for name, tree in there.v1.items() if request.param == "v1 alone" or name != "freezer"}
    return Layout(v1, None, there.known)


FORKING = """\
import os, signal, sys, time
sys.stdin.read(1)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
for _ in range(3):
    os.fork()
os.write(1, b"x")
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
while True:
    try:
        if os.fork():
            time.sleep(0.002)
            os._exit(0)
    except BlockingIOError:
        pass
"""


def test_kill_ends_processes_that_fork_faster_than_they_can_be_listed(machine: Layout, path: str) -> None:
    cgroup, below = Cgroup(f"{path}/pod1", machine), Cgroup(f"{path}/pod1/a", machine)
    below.create({"pids": {"limit": 100}})
    command = [sys.executable, "-c", FORKING]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin
        assert process.stdout
        try:
            below.join(process.pid)
            process.stdin.write(b"x")
            process.stdin.close()
            assert process.stdout.read(8) == b"x" * 8
            assert below.populated()
            assert cgroup.populated()
            assert cgroup.pids()
        finally:
            cgroup.kill()
        assert cgroup.remove()
        assert process.stdout.read() == b""
    assert (cgroup.populated(), cgroup.pids(), cgroup.exists()) == (False, [], False)


def test_killing_what_is_empty_or_gone_is_no_error(machine: Layout, path: str) -> None:
    cgroup = Cgroup(path, machine)
    cgroup.kill()
    cgroup.create()
    cgroup.kill()
    assert cgroup.remove()


def test_a_process_that_somebody_put_into_v1_alone_is_killed_as_well(app: Cgroup) -> None:
    needs_v1("memory")
    app.create()
    with subprocess.Popen(["sleep", "600"]) as stray:
        Path(app.file("memory", "cgroup.procs") or "").write_text(str(stray.pid))
        assert app.populated()
        app.kill()
        assert stray.wait(30) == -9
    assert not app.populated()


def test_a_busy_cgroup_is_left_and_said_to_be_so(app: Cgroup) -> None:
    app.create()
    (sleeper,) = sleepers(app)
    assert app.pids() == [sleeper.pid]
    assert not app.remove()
    assert app.populated()
    app.kill()
    assert sleeper.wait(30) == -9
    assert app.remove()


def test_a_sweep_takes_everything_below(path: str, traces: Traces) -> None:
    apps = [Cgroup(f"{path}/pod{number}/app-0") for number in range(3)]
    for each in apps:
        each.create()
    processes = [process for each in apps for process in sleepers(each, 2)]
    assert sweep(path)
    assert [process.wait(30) for process in processes] == [-9] * 6
    assert traces.found() == []


def test_counters_are_those_of_the_processes_in_it(app: Cgroup) -> None:
    for controller in ("cpu", "memory", "pids"):
        needs(controller)
    app.create({"memory": {"limit": 1 << 28}})
    processes = sleepers(app, 3)
    stats = app.stats()
    app.kill()
    for process in processes:
        process.wait(30)
    assert stats["pids"] == 3
    assert stats["memory_limit"] == 1 << 28
    assert 0 <= (stats["memory_working_set"] or 0) <= (stats["memory_usage"] or 0) < 1 << 28
    assert set(stats) == {
        *("cpu_usage_ns", "cpu_periods", "cpu_throttled_periods", "cpu_throttled_ns"),
        *("memory_usage", "memory_working_set", "memory_limit", "pids"),
    }
