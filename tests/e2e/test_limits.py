"""Limits: what the kernel holds, seen from inside and from outside, and what it does with it under load."""

from __future__ import annotations

from typing import Any

import pytest

from tests.e2e.yard import Limits, Yard, hierarchy, number, start_time

pytestmark = pytest.mark.root

MI = 1 << 20

TABLE: dict[str | int | float, tuple[int, int, int]] = {  # limit → quota, period, shares
    "1m": (1_000, 1_000_000, 2),
    "4m": (1_000, 250_000, 4),
    "10m": (1_000, 100_000, 10),
    "15m": (1_500, 100_000, 15),
    "33m": (3_300, 100_000, 33),
    "100m": (10_000, 100_000, 102),
    "200m": (20_000, 100_000, 204),
    "999m": (99_900, 100_000, 1022),
    "0.5": (50_000, 100_000, 512),
    "1e-1": (10_000, 100_000, 102),
    1: (100_000, 100_000, 1024),
    "1500m": (150_000, 100_000, 1536),
    2: (200_000, 100_000, 2048),
    0.25: (25_000, 100_000, 256),
}


def cpu(limit: Any = None, request: Any = None, memory: str | None = None) -> dict[str, Any]:
    """A container's `resources`."""
    limits = {"cpu": limit, "memory": memory}
    requests = {"cpu": request}
    return {
        "resources": {
            "limits": {name: value for name, value in limits.items() if value is not None},
            "requests": {name: value for name, value in requests.items() if value is not None},
        }
    }


def test_a_cpu_limit_is_this_quota_and_period_inside_and_outside(yard: Yard) -> None:
    if hierarchy("cpu") == hierarchy("memory"):
        script = "cat /sys/fs/cgroup/cpu.max | xargs"
    else:
        script = "cd /sys/fs/cgroup/cpu; cat cpu.cfs_quota_us cpu.cfs_period_us | xargs"
    names = {f"limit-{number}": limit for number, limit in enumerate(TABLE)}
    for name, limit in names.items():
        yard.put(name, yard.container(f"{script}; exec sleep infinity", **cpu(limit)))
    inside, outside, pod = {}, {}, {}
    for name, limit in names.items():
        yard.node.wait_phase(name, "Running")
        inside[limit] = tuple(map(int, yard.log_says(name, "000").split()))
        outside[limit] = yard.limits(name)
        pod[limit] = yard.limits(name, None)
    assert inside == {limit: values[:2] for limit, values in TABLE.items()}
    wanted = {limit: Limits.of(quota, period, shares=shares) for limit, (quota, period, shares) in TABLE.items()}
    assert outside == wanted
    assert pod == wanted


@pytest.mark.parametrize(
    ("limit", "request_", "wanted"),
    [
        (None, None, Limits.of(shares=2)),
        (None, "100m", Limits.of(shares=102)),
        ("200m", "100m", Limits.of(20_000, shares=102)),
        (None, "1m", Limits.of(shares=2)),
        (None, 300, Limits.of(shares=262_144)),
    ],
    ids=["nothing", "request", "request below the limit", "the smallest", "more than the kernel takes"],
)
def test_a_cpu_request_is_a_share(yard: Yard, limit: Any, request_: Any, wanted: Limits) -> None:
    yard.run("web", yard.container(**cpu(limit, request_)))
    assert yard.limits("web") == wanted
    assert yard.limits_inside("web") == wanted


def test_the_pods_cgroup_holds_the_sums_of_its_containers(yard: Yard) -> None:
    one, two = cpu("200m", memory="32Mi"), cpu("300m", "100m", "64Mi")
    yard.run("both", yard.container(name="one", **one), yard.container(name="two", **two))
    assert yard.limits("both", "one") == Limits.of(20_000, shares=204, memory=32 * MI)
    assert yard.limits("both", "two") == Limits.of(30_000, shares=102, memory=64 * MI)
    assert yard.limits("both", None) == Limits.of(50_000, shares=307, memory=96 * MI)


def test_a_pod_has_no_limit_where_one_of_its_containers_has_none(yard: Yard) -> None:
    yard.run("some", yard.container(name="one", **cpu("200m", memory="32Mi")), yard.container(name="two"))
    assert yard.limits("some", "two") == Limits.of()
    assert yard.limits("some", None) == Limits.of(shares=204)


def test_under_load_the_kernel_holds_a_container_to_its_share(yard: Yard) -> None:
    """Counted by the kernel's own periods, so that a busy machine changes nothing."""
    yard.run("busy", yard.container("while :; do :; done & while :; do :; done", **cpu("200m")))
    before = yard.cpu_stat("busy")

    def enough() -> dict[str, int] | None:
        now = yard.cpu_stat("busy")
        return now if now["nr_periods"] >= before["nr_periods"] + 15 else None

    after = yard.node.wait_until(enough, "the busy container has run for 15 periods")
    periods, used = after["nr_periods"] - before["nr_periods"], after["usage"] - before["usage"]
    assert after["nr_throttled"] > before["nr_throttled"]
    assert used <= (periods + 1) * 20_000 * 1.2, f"{used} us in {periods} periods of 20000 us"
    assert used >= (periods - 1) * 20_000 * 0.3, f"{used} us in {periods} periods of 20000 us"


def test_two_containers_are_held_to_their_own_shares(yard: Yard) -> None:
    loop = "while :; do :; done"
    small, large = yard.container(loop, "small", **cpu("50m")), yard.container(loop, "large", **cpu("200m"))
    yard.run("busy", small, large)
    before = {name: yard.cpu_stat("busy", name) for name in ("small", "large")}
    yard.node.wait_until(
        lambda: yard.cpu_stat("busy", "small")["nr_periods"] >= before["small"]["nr_periods"] + 15,
        "the smaller one has run for 15 periods",
    )
    after = {name: yard.cpu_stat("busy", name) for name in ("small", "large")}
    for name, quota in {"small": 5_000, "large": 20_000}.items():
        periods = after[name]["nr_periods"] - before[name]["nr_periods"]
        used = after[name]["usage"] - before[name]["usage"]
        # A slice of bandwidth (5 ms, sched-bwc.rst) may be overdrawn on each CPU and is paid back later.
        assert used <= (periods + 1) * quota * 1.2 + 20_000, f"{name}: {used} us in {periods} periods of {quota} us"
        assert after[name]["nr_throttled"] > before[name]["nr_throttled"], name


def test_what_takes_more_memory_than_its_limit_is_oomkilled_and_says_so(yard: Yard) -> None:
    yard.put("hungry", yard.container("exec tail /dev/zero", **cpu(memory="16Mi")), restartPolicy="Never")
    yard.node.wait_phase("hungry", "Failed")
    ended = yard.wait_state("hungry", "terminated", "OOMKilled")
    assert (ended["exitCode"], ended["signal"]) == (137, 9)
    assert "OOMKilled" in yard.node.cli("get", "pods", "hungry").stdout
    assert "(out of memory)" in yard.wait_event("hungry", "OOMKilled")["message"]
    described = yard.node.cli("describe", "pod", "hungry").stdout
    assert "Reason:       OOMKilled" in described
    assert "Exit Code:    137" in described


def test_a_kill_that_was_not_for_memory_is_not_called_one(yard: Yard) -> None:
    yard.put("killed", yard.container("sleep 9 & kill -9 $!; wait $!", **cpu(memory="16Mi")), restartPolicy="Never")
    yard.node.wait_phase("killed", "Failed")
    assert yard.wait_state("killed", "terminated", "Error")["exitCode"] == 137


def test_a_memory_limit_allows_no_swap(yard: Yard) -> None:
    yard.run("web", yard.container(**cpu(memory="32Mi")))
    directory = yard.controller("memory", "web")
    for name, wanted in {"memory.memsw.limit_in_bytes": 32 * MI, "memory.swap.max": 0}.items():
        if (directory / name).exists():
            assert number((directory / name).read_text()) == wanted


CHANGES = {
    "wider": (cpu("200m"), cpu("400m"), Limits.of(40_000, shares=409)),
    "narrower": (cpu("400m"), cpu("100m"), Limits.of(10_000, shares=102)),
    "to a longer period": (cpu("400m"), cpu("1m"), Limits.of(1_000, 1_000_000, shares=2)),
    "from a longer period": (cpu("2m"), cpu("500m"), Limits.of(50_000, shares=512)),
    "limited": (cpu(), cpu("100m", memory="32Mi"), Limits.of(10_000, shares=102, memory=32 * MI)),
    "unlimited": (cpu("100m", memory="32Mi"), cpu(), Limits.of()),
    "request only": (cpu("400m", "100m"), cpu("400m", "300m"), Limits.of(40_000, shares=307)),
    "more memory": (cpu(memory="32Mi"), cpu(memory="64Mi"), Limits.of(memory=64 * MI)),
    "less memory": (cpu(memory="64Mi"), cpu(memory="32Mi"), Limits.of(memory=32 * MI)),
}


@pytest.mark.parametrize("change", list(CHANGES))
def test_a_changed_limit_is_written_to_the_running_container(yard: Yard, change: str) -> None:
    before, after, wanted = CHANGES[change]
    yard.run("web", yard.container(**before))
    uid, pid = yard.uid("web"), yard.pid("web")
    started = start_time(pid)
    assert yard.limits("web") != wanted
    yard.put("web", yard.container(**after))
    yard.node.wait_until(lambda: yard.limits("web") == wanted and yard.limits("web", None) == wanted, "it is applied")
    assert (yard.uid("web"), yard.pid("web"), start_time(pid), yard.restarts("web")) == (uid, pid, started, 0)
    assert not [event for event in yard.events("web") if event["reason"] == "ResizeFailed"]


def test_two_containers_trade_their_limits_in_one_edit(yard: Yard) -> None:
    """On v1 no child may be wider than its parent, at no moment: one grows and the other shrinks."""
    amounts = [("100m", "400m"), ("400m", "100m"), ("50m", "50m"), ("800m", "700m"), (None, "100m"), ("200m", "300m")]
    resources = [(cpu(one, memory="32Mi"), cpu(two, memory="32Mi")) for one, two in amounts]
    first = resources[0]
    yard.run("both", yard.container(name="one", **first[0]), yard.container(name="two", **first[1]))
    pids = {name: (yard.pid("both", name), start_time(yard.pid("both", name))) for name in ("one", "two")}
    for (one, two), (left, right) in zip(amounts[1:], resources[1:], strict=True):
        yard.put("both", yard.container(name="one", **left), yard.container(name="two", **right))
        wanted = {"one": _limit(one), "two": _limit(two), None: None}
        if one and two:
            wanted[None] = (wanted["one"] or 0) + (wanted["two"] or 0)
        yard.node.wait_until(
            lambda wanted=wanted: {name: yard.limits("both", name).quota for name in wanted} == wanted,  # type: ignore[misc]
            f"the limits are {one} and {two}",
        )
    assert pids == {name: (yard.pid("both", name), start_time(yard.pid("both", name))) for name in ("one", "two")}
    assert not [event for event in yard.events("both") if event["reason"] == "ResizeFailed"]


def _limit(text: str | None) -> int | None:
    return int(text.removesuffix("m")) * 100 if text else None


def test_a_limit_that_cannot_be_applied_is_said_and_harms_nobody(yard: Yard) -> None:
    """Less memory than is in use, and none of it can be given back."""
    fill = "head -c 24m /dev/zero >/dev/shm/x; echo full; exec sleep infinity"
    yard.run("web", yard.container(fill, **cpu(memory="128Mi")))
    pid = yard.pid("web")
    yard.log_says("web", "full")
    if hierarchy("memory") == hierarchy("cpu"):
        pytest.skip("on cgroup v2 the kernel takes any memory.max and kills what is above it")
    yard.put("web", yard.container(fill, **cpu(memory="8Mi")))
    said = yard.wait_event("web", "ResizeFailed")["message"]
    assert "memory" in said
    assert (yard.pid("web"), yard.restarts("web")) == (pid, 0)
    assert yard.limits("web").memory == 128 * MI


def test_limits_and_command_changed_at_once_restart_the_container_with_the_new_limits(yard: Yard) -> None:
    yard.run("web", yard.container("exec sleep 1000", **cpu("100m")))
    yard.put("web", yard.container("exec sleep 2000", **cpu("300m")))
    yard.wait_restarts("web", 1)
    assert yard.limits("web") == yard.limits("web", None) == Limits.of(30_000, shares=307)
