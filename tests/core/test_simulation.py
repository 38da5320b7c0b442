"""Whatever happens, in whatever order: the promises that plans keep. Each seed is one life, and is repeatable."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from minikube_lite.core.model import Plan
from tests.core.healthy import container, wanted
from tests.core.world import World

STEPS = 60


def any_pod(random: Random) -> Any:
    names = random.sample(["app", "side", "extra"], random.randint(1, 3))
    containers = [
        container(
            name,
            image=random.choice(["host", "other"]),
            command=random.choice([["sleep", "inf"], ["sleep", "60"]]),
            resources={"limits": {"cpu": random.choice(["100m", "250m", "1"]), "memory": "64Mi"}},
        )
        for name in names
    ]
    return wanted(
        *containers,
        metadata={"labels": {"edit": random.choice("ab")}},
        restartPolicy=random.choice(["Always", "OnFailure", "Never"]),
        terminationGracePeriodSeconds=random.choice([0, 1, 30]),
        hostNetwork=random.random() < 0.2,
    )


def happen(world: World, random: Random) -> None:
    """One thing that happens to a pod."""
    match random.choice(["edit", "edit", "remove", "exit", "exit", "exit", "time", "time", "time", "world", "sandbox"]):
        case "edit":
            world.desired = any_pod(random)
        case "remove":
            world.desired = None
        case "exit" if world.running():
            world.exit(random.choice(world.running()), random.choice([0, 1, 137]))
        case "time":
            world.pass_time(world.now + random.choice([0.5, 3.0, 40.0, 200.0, 4000.0]))
        case "world":
            world.broken, world.ignores_term = random.random() < 0.3, random.random() < 0.4
        case "sandbox" if world.observed is not None and random.random() < 0.3:
            world.lose_sandbox()
    if world.observed is not None and random.random() < 0.7:
        world.finish_pulls()
    world.settle()


def calm_down(world: World) -> None:
    """Nothing fails any more, nobody edits: give it the time that the longest back-off takes."""
    world.broken = False
    for _ in range(8):
        if world.observed is not None:
            world.finish_pulls()
        world.pass_time(world.now + 400)


@pytest.mark.parametrize("seed", range(60))
def test_whatever_happens_the_pod_comes_to_be_as_asked_for_and_to_rest(seed: int) -> None:
    random = Random(seed)
    world = World(random)
    for _ in range(STEPS):
        happen(world, random)
    world.desired = any_pod(random)
    calm_down(world)
    assert world.settle() == Plan()
    assert world.observed is not None
    assert world.observed.pod == world.desired.pod
    assert world.observed.containers.keys() == {item.name for item in world.desired.pod.spec.containers}
    for seen in world.observed.containers.values():
        policy = world.desired.pod.spec.restart_policy
        done = seen.exit is not None and (policy == "Never" or (policy == "OnFailure" and seen.exit.code == 0))
        assert seen.state == ("exited" if done else "running"), seen


@pytest.mark.parametrize("seed", range(60))
def test_whatever_happened_a_deleted_pod_is_gone_by_its_deadline(seed: int) -> None:
    random = Random(10_000 + seed)
    world = World(random)
    for _ in range(STEPS):
        happen(world, random)
    before = world.observed
    world.desired = None
    world.ignores_term = True
    world.settle()
    if before is not None:
        ending = before.termination
        deadline = ending.deadline if ending else world.now + before.pod.spec.termination_grace_period_seconds
        world.pass_time(deadline)
    assert world.observed is None
    assert world.settle() == Plan()


@pytest.mark.parametrize("seed", range(10))
def test_a_pod_at_rest_stays_at_rest_for_ever(seed: int) -> None:
    random = Random(20_000 + seed)
    world = World(random, desired=any_pod(random))
    calm_down(world)
    settled = world.observed
    world.pass_time(world.now + 1e6)
    assert world.observed == settled
