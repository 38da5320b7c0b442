"""Whatever of the node is killed, and whenever: what runs, runs on; nothing runs twice; nothing is lost or left."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.yard import Json, Limits, Yard, alive, spawn_cli, start_time
from tests.node_process import NodeProcess
from tests.traces import Traces

pytestmark = pytest.mark.root

COUNTER = "i=0; while :; do i=$((i + 1)); echo $i; sleep 0.01; done"
HANDLER = "trap 'echo asked; exit 7' TERM; echo ready; while :; do sleep 0.05; done"


def launcher(node: NodeProcess) -> int:
    """The node's one child."""

    def child() -> int:
        pids = Path(f"/proc/{node.pid}/task/{node.pid}/children").read_text().split()
        found = [int(pid) for pid in pids if alive(int(pid))]
        return found[0] if len(found) == 1 else 0

    return node.wait_until(child, "the node has one child, the launcher")


def identity(yard: Yard, pod: str, *containers: str) -> Json:
    """What must not change for a pod that did not notice anything."""
    found: Json = {"uid": yard.uid(pod)}
    for name in containers or ("app",):
        pid = yard.pid(pod, name)
        found[name] = (pid, start_time(pid), yard.restarts(pod, name), yard.status(pod, name)["state"])
    return found


# -- the node --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_pods_do_not_notice_that_the_node_went_and_came(fresh: Yard, number: signal.Signals) -> None:
    yard, node = fresh, fresh.node
    yard.run("web", yard.container(COUNTER, "one"), yard.container(name="two"))
    yard.run("shared", shareProcessNamespace=True)
    yard.run("plain", hostNetwork=True, hostPID=True, hostIPC=True)
    os.kill(yard.pid("web", "two"), signal.SIGKILL)
    yard.wait_restarts("web", 1, "two")
    before = [identity(yard, "web", "one", "two"), identity(yard, "shared"), identity(yard, "plain")]
    code = node.stop(number)
    assert code == (-9 if number == signal.SIGKILL else 0)
    assert node.cli("get", "pods", check=False).stderr.startswith("error: no node is running")
    time.sleep(0.3)
    node.start()
    assert [identity(yard, "web", "one", "two"), identity(yard, "shared"), identity(yard, "plain")] == before
    # The log goes on without a gap, written by the shim that nobody killed.
    yard.node.wait_until(lambda: len(yard.log("web", "one").splitlines()) > 40, "the log goes on")
    lines = list(map(int, yard.log("web", "one").split()))
    assert lines == list(range(1, len(lines) + 1))
    # And the new node is in control: limits, commands, ends, removal.
    limited = yard.container(COUNTER, "one", resources={"limits": {"cpu": "300m"}})
    yard.put("web", limited, yard.container(name="two"))
    node.wait_until(lambda: yard.limits("web", "one") == Limits.of(30_000, shares=307), "the limit is applied")
    assert identity(yard, "web", "one", "two")["one"] == before[0]["one"]
    assert yard.sh("web", "hostname", "two") == "web\n"
    os.kill(yard.pid("web", "two"), signal.SIGKILL)
    yard.wait_restarts("web", 2, "two")
    uid = yard.uid("web")
    node.cli("delete", "pod", "web", "shared", "plain")
    assert not alive(before[0]["one"][0])
    yard.nothing_is_left_of(uid)


def test_ends_that_no_node_saw_are_seen_by_the_next(fresh: Yard) -> None:
    yard, node = fresh, fresh.node
    yard.run("always")
    yard.run("never", yard.container("until test -e /dev/shm/go; do sleep 0.02; done; exit 5"), restartPolicy="Never")
    yard.run("job", yard.container(HANDLER), restartPolicy="OnFailure")
    yard.run("calm")
    pids = {name: yard.pid(name) for name in ("always", "never", "job", "calm")}
    shims = {name: json.loads((yard.bundle(name) / "shim.json").read_text())["pid"] for name in pids}
    calm = identity(yard, "calm")
    node.kill9()
    Path(f"/proc/{pids['never']}/root/dev/shm/go").touch()
    os.kill(pids["always"], signal.SIGKILL)
    os.kill(pids["job"], signal.SIGTERM)
    node.wait_until(lambda: not any(alive(shims[name]) for name in ("always", "never", "job")), "they have ended")
    node.start()
    node.wait_phase("never", "Failed")
    assert yard.status("never")["state"]["terminated"]["exitCode"] == 5
    assert yard.wait_restarts("always", 1)["lastState"]["terminated"]["exitCode"] == 137
    assert yard.wait_restarts("job", 1)["lastState"]["terminated"]["exitCode"] == 7
    assert identity(yard, "calm") == calm
    assert [yard.restarts(name) for name in ("always", "never", "job")] == [1, 0, 1]
    assert yard.log("job").startswith("ready\n")


def test_manifests_that_were_changed_while_no_node_ran_are_followed(fresh: Yard) -> None:
    yard, node = fresh, fresh.node
    for name in ("gone", "command", "limit", "sandbox", "broken", "same"):
        yard.run(name)
    uids = {name: yard.uid(name) for name in ("gone", "sandbox")}
    before = {name: identity(yard, name) for name in ("limit", "same", "broken")}
    node.kill9()
    (node.manifests / "gone.json").unlink()
    yard.put("command", yard.container("exec sleep 1000"))
    yard.put("limit", yard.container(resources={"limits": {"cpu": "100m"}}))
    yard.put("sandbox", hostNetwork=True)
    node.put("broken.json", "{ this is no manifest")
    yard.put("new")
    node.start()
    node.wait_gone("gone")
    yard.nothing_is_left_of(uids["gone"])
    yard.wait_restarts("command", 1)
    assert yard.exec("command", "cat", "/proc/1/cmdline") == "sleep\x001000\0"
    node.wait_until(lambda: yard.limits("limit") == Limits.of(10_000, shares=102), "the limit is applied")
    node.wait_until(
        lambda: (node.pod("sandbox") or {"metadata": {"uid": uids["sandbox"]}})["metadata"]["uid"] != uids["sandbox"],
        "the pod is a new one",
    )
    node.wait_phase("new", "Running")
    assert {name: identity(yard, name) for name in before} == before
    assert "broken.json:1" in node.cli("describe", "pod", "broken").stdout


def test_an_end_that_was_under_way_is_brought_to_its_end(fresh: Yard) -> None:
    yard, node = fresh, fresh.node
    deaf = "trap '' TERM; echo ready; while :; do sleep 0.05; done"
    yard.run("web", yard.container(deaf), terminationGracePeriodSeconds=2)
    yard.log_says("web", "ready")
    uid, pid = yard.uid("web"), yard.pid("web")
    (node.manifests / "web.json").unlink()
    node.wait_until(lambda: "deletionTimestamp" in (node.pod("web") or {"metadata": {}})["metadata"], "it is going")
    node.kill9()
    node.start()
    node.wait_gone("web")
    assert not alive(pid)
    yard.nothing_is_left_of(uid)


def test_back_off_and_counts_outlive_the_node(fresh: Yard) -> None:
    yard, node = fresh, fresh.node
    yard.put("crash", yard.container("exit 3"))
    node.wait_until(lambda: node.pod("crash") and yard.restarts("crash") >= 3, "it was restarted")
    yard.wait_state("crash", "waiting", "CrashLoopBackOff")
    count = yard.restarts("crash")
    for _ in range(2):
        node.kill9()
        node.start()
        assert yard.restarts("crash") == count
        assert yard.status("crash")["state"]["waiting"]["reason"] == "CrashLoopBackOff"


def test_a_second_node_with_the_same_root_is_refused(fresh: Yard) -> None:
    refused = fresh.node.cli("run", str(fresh.node.manifests), check=False)
    assert refused.returncode == 1
    assert f"a node runs already with --root {fresh.node.root} (pid {fresh.node.pid})" in refused.stderr
    fresh.run("web")
    assert fresh.node.cli("get", "pods").returncode == 0


def test_nodes_with_different_roots_live_side_by_side(fresh: Yard, traces: Traces) -> None:
    root = Path(os.path.realpath(tempfile.mkdtemp(prefix="mkl-")))
    traces.watch(root)
    other = Yard(NodeProcess(root), fresh.rootfs)
    try:
        other.node.start()
        for yard in (fresh, other):
            yard.run("web")
        assert fresh.uid("web") != other.uid("web")
        assert fresh.cgroup("web") != other.cgroup("web")
        pid = fresh.pid("web")
        other.remove("web")
        assert alive(pid)
        assert other.node.cli("get", "pods", "-o", "name").stdout == ""
        assert fresh.node.cli("get", "pods", "-o", "name").stdout == "pod/web\n"
        other.node.kill9()
        other.node.start()
        assert alive(pid)
        other.node.drain()
    finally:
        other.node.stop(signal.SIGKILL)
        traces_of_other = Traces(root)
        traces_of_other.assert_none()
        shutil.rmtree(root)


# -- the launcher ----------------------------------------------------------------------------------------------------


def test_a_killed_launcher_is_replaced_and_nothing_restarts(fresh: Yard) -> None:
    yard, node = fresh, fresh.node
    yard.run("web")
    before = identity(yard, "web")
    for number in range(3):
        old = launcher(node)
        os.kill(old, signal.SIGKILL)
        yard.run(f"new-{number}")
        assert launcher(node) != old
        assert yard.exec("web", "hostname") == "web\n"
    assert identity(yard, "web") == before
    yard.remove("new-1")


def test_a_launcher_that_dies_while_pods_start_costs_none_of_them(fresh: Yard) -> None:
    yard, node = fresh, fresh.node
    for number in range(12):
        yard.put(f"pod-{number}")
        if number % 3 == 1:
            os.kill(launcher(node), signal.SIGKILL)
    for number in range(12):
        node.wait_phase(f"pod-{number}", "Running")
    runs = [len(list(yard.controller("pids", f"pod-{number}", None).glob("*/"))) for number in range(12)]
    assert runs == [1] * 12, "one run of each"


def test_a_launcher_that_is_killed_again_and_again_before_it_is_up_is_started_again(fresh: Yard) -> None:
    yard, node = fresh, fresh.node
    yard.run("web")
    before = identity(yard, "web")
    killed = {0}
    while len(killed) < 7:
        found = node.wait_until(lambda: launcher(node) not in killed and launcher(node), "there is another one")
        os.kill(found, signal.SIGKILL)
        killed.add(found)
    yard.run("new")
    assert identity(yard, "web") == before


def test_launcher_and_node_are_killed_together(fresh: Yard) -> None:
    yard, node = fresh, fresh.node
    yard.run("web")
    before = identity(yard, "web")
    child = launcher(node)
    os.kill(child, signal.SIGKILL)
    node.kill9()
    node.start()
    assert identity(yard, "web") == before
    yard.run("new")


def test_the_launcher_goes_with_the_node(fresh: Yard) -> None:
    yard, node = fresh, fresh.node
    yard.run("web")
    child = launcher(node)
    node.kill9()
    node.wait_until(lambda: not alive(child), "the launcher has gone")
    node.start()


# -- the shim --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host_pid", [False, True], ids=["own PID namespace", "the machine's"])
def test_a_killed_shim_takes_its_container_along_and_it_is_restarted_once(fresh: Yard, host_pid: bool) -> None:
    yard, node = fresh, fresh.node
    children = "setsid sleep infinity & setsid sleep infinity & exec sleep infinity"
    yard.run("web", yard.container(children), yard.container(name="two"), hostPID=host_pid)
    node.wait_until(lambda: len((yard.controller("pids", "web") / "cgroup.procs").read_text().split()) == 3, "up")
    pids = [int(pid) for pid in (yard.controller("pids", "web") / "cgroup.procs").read_text().split()]
    other, cgroup, uid = identity(yard, "web", "two"), yard.controller("pids", "web"), yard.uid("web")
    os.kill(json.loads((yard.bundle("web") / "shim.json").read_text())["pid"], signal.SIGKILL)
    seen = yard.wait_restarts("web", 1)
    assert seen["lastState"]["terminated"]["exitCode"] == 137
    assert not [pid for pid in pids if alive(pid)]
    assert not cgroup.exists()
    assert identity(yard, "web", "two") == other
    time.sleep(0.3)
    assert yard.restarts("web") == 1
    yard.remove("web")
    yard.nothing_is_left_of(uid)


def test_a_shim_that_dies_while_no_node_runs(fresh: Yard) -> None:
    yard, node = fresh, fresh.node
    yard.run("web")
    pid, shim = yard.pid("web"), json.loads((yard.bundle("web") / "shim.json").read_text())["pid"]
    node.kill9()
    os.kill(shim, signal.SIGKILL)
    node.wait_until(lambda: not alive(pid), "the container has died with its shim")
    node.start()
    yard.wait_restarts("web", 1)


# -- records ---------------------------------------------------------------------------------------------------------


def _half(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _binary(path: Path) -> None:
    path.write_bytes(bytes(range(256)) * 4)


@pytest.mark.parametrize(
    ("file", "harm"),
    [
        ("record.json", _half),
        ("record.json", _empty),
        ("record.json", Path.unlink),
        ("pod.json", _half),
        ("pod.json", Path.unlink),
        ("bundle/state.json", _empty),
        ("bundle/state.json", _binary),
        ("bundle/shim.json", _half),
        ("bundle/shim.json", Path.unlink),
        ("events", _half),
        ("events", _binary),
    ],
)
def test_a_torn_record_is_survived(fresh: Yard, file: str, harm: Callable[[Path], None]) -> None:
    """The pod may have to start anew; it does not run twice, and nothing of the run that was forgotten is left."""
    yard, node = fresh, fresh.node
    yard.run("web", yard.container("setsid sleep infinity & exec sleep infinity"))
    yard.run("other")
    other = identity(yard, "other")
    pids = [int(pid) for pid in (yard.controller("pids", "web") / "cgroup.procs").read_text().split()]
    directory = node.paths.pod_state(yard.uid("web"))
    places = {"bundle": yard.bundle("web"), "events": node.paths.events}
    path = directory / file if "bundle" not in file and file != "events" else places[file.partition("/")[0]]
    path = path / file.partition("/")[2] if "bundle" in file else path
    node.stop()
    harm(path)
    node.start()
    node.wait_phase("web", "Running")
    assert identity(yard, "other") == other
    kept = yard.pid("web") in pids
    node.wait_until(lambda: kept or not any(map(alive, pids)), "what was forgotten does not run on")
    assert len(list(yard.controller("pids", "web", None).glob("*/"))) == 1
    assert yard.exec("web", "hostname") == "web\n"


# -- at random -------------------------------------------------------------------------------------------------------


@pytest.fixture
def arena() -> Iterator[Path]:
    """A place that containers with `hostIPC` share with the machine: locks that the kernel gives back by itself."""
    directory = Path(tempfile.mkdtemp(prefix="mkl-arena-", dir="/dev/shm"))
    yield directory
    shutil.rmtree(directory)


def locked(arena: Path, name: str, version: int) -> str:
    """Two runs of it at once are written down. (busybox has no flock, so the image is `host`.)"""
    lock = f"exec 9>{arena}/{name}; flock -n 9 || echo {name} {version} >>{arena}/twice"
    return f"{lock}; : {version}; trap 'exit 0' TERM; while :; do sleep 0.05; done"


@pytest.mark.parametrize("seed", [1])
def test_killed_at_random_moments_nothing_runs_twice_and_nothing_is_left(fresh: Yard, arena: Path, seed: int) -> None:
    yard, node = fresh, fresh.node
    chance = random.Random(seed)
    names = [f"pod-{number}" for number in range(10)]

    def manifest(name: str, version: int) -> Json:
        cpu = {"limits": {"cpu": f"{chance.choice([300, 500])}m"}}
        containers = [yard.container(locked(arena, name, version), image="host", resources=cpu)]
        if chance.random() < 0.3:
            containers.append(yard.container(name="side"))
        return yard.manifest(name, *containers, hostIPC=True, terminationGracePeriodSeconds=chance.choice([0, 1]))

    def stir() -> None:
        name = chance.choice(names)
        file = node.manifests / f"{name}.json"
        if file.exists() and chance.random() < 0.45:
            file.unlink()
        else:
            node.put(file.name, manifest(name, chance.randrange(3)))

    kills = 0
    until = time.monotonic() + 12
    while time.monotonic() < until:
        for _ in range(chance.randrange(1, 8)):
            stir()
            time.sleep(chance.random() * 0.03)
        victim = chance.random()
        if victim < 0.3:
            children = Path(f"/proc/{node.pid}/task/{node.pid}/children").read_text().split()
            for child in children:
                os.kill(int(child), signal.SIGKILL)
        if victim > 0.15:
            node.stop(signal.SIGKILL if chance.random() < 0.8 else signal.SIGTERM)
            kills += 1
            _launch(node)
            time.sleep(chance.choice([0.0, 0.2, 0.4, 0.6]) + chance.random() * 0.2)
    assert kills > 5
    node.kill9()
    for name in names:
        node.put(
            f"{name}.json", yard.manifest(name, yard.container(locked(arena, name, 9), image="host"), hostIPC=True)
        )
    node.start()
    for name in names:
        node.wait_until(lambda name=name: _runs(node, name) == ["app"], f"{name} runs as it was last asked for")  # type: ignore[misc]
    assert not (arena / "twice").exists(), (arena / "twice").read_text()
    for name in names:
        assert len(list(yard.controller("pids", name, None).glob("*/"))) == 1, name
        inode = f":{(arena / name).stat().st_ino}"
        holders = [line for line in Path("/proc/locks").read_text().splitlines() if line.split()[5].endswith(inode)]
        assert len(holders) == 1, name
    node.drain()
    fresh_traces = Traces(node.root)
    fresh_traces.assert_none()
    assert not list((node.paths.logs / "pods").iterdir())


def _launch(node: NodeProcess) -> None:
    """Start it and do not wait for anything."""
    with node.log.open("ab") as log:
        node.process = subprocess.Popen(
            [*node.command, "run", str(node.manifests)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            cwd=node.root,
        )


def _runs(node: NodeProcess, name: str) -> list[str]:
    """The containers of the pod as it is now, if all run its last command."""
    pod = node.pod(name)
    if pod is None or "deletionTimestamp" in pod["metadata"]:
        return []
    commands = [" ".join(container["command"]) for container in pod["spec"]["containers"]]
    statuses = pod["status"].get("containerStatuses", ())
    if len(commands) != 1 or ": 9;" not in commands[0] or not all("running" in one["state"] for one in statuses):
        return []
    return [one["name"] for one in statuses]


def test_a_client_that_follows_is_told_when_the_node_goes(fresh: Yard) -> None:
    fresh.run("web", fresh.container(COUNTER))
    follow = spawn_cli(fresh.node, "logs", "-f", "web")
    assert follow.stdout is not None
    assert follow.stdout.readline() == "1\n"
    fresh.node.kill9()
    follow.stdout.read()
    assert follow.wait(20) in (0, 1)
    follow.stdout.close()
    fresh.node.start()
