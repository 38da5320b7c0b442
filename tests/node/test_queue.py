"""The queue of keys: level, not edge; never one key twice at once."""

from __future__ import annotations

import asyncio

from minikube_lite.node.clock import boottime
from minikube_lite.node.queue import KeyQueue


async def test_a_key_added_twice_before_it_is_worked_is_worked_once() -> None:
    worked: list[str] = []

    async def work(key: str) -> None:
        worked.append(key)

    queue = KeyQueue(work, limit=1)
    for key in ("first", "a", "b", "a", "b"):
        queue.add(key)
    await queue.idle()
    assert worked == ["first", "a", "b"]


async def test_a_key_is_never_worked_twice_at_once_and_news_brings_it_back_once() -> None:
    active = 0
    runs = 0
    gate = asyncio.Event()

    async def work(key: str) -> None:
        nonlocal active, runs
        active += 1
        runs += 1
        assert active == 1
        await gate.wait()
        active -= 1

    queue = KeyQueue(work)
    queue.add("a")
    await asyncio.sleep(0)
    for _ in range(5):
        queue.add("a")
    gate.set()
    await queue.idle()
    assert runs == 2


async def test_different_keys_are_worked_side_by_side_up_to_the_limit() -> None:
    active = peak = 0

    async def work(key: str) -> None:
        nonlocal active, peak
        active += 1
        peak = max(peak, active)
        await asyncio.sleep(0)
        active -= 1

    queue = KeyQueue(work, limit=3)
    for number in range(10):
        queue.add(str(number))
    await queue.idle()
    assert peak == 3


async def test_a_timer_brings_a_key_and_a_later_wish_replaces_it() -> None:
    worked: list[str] = []

    async def work(key: str) -> None:
        worked.append(key)

    queue = KeyQueue(work)
    queue.add_at("never", boottime() + 0.01)
    queue.add_at("never", None)
    queue.add_at("soon", boottime() + 0.02)
    await asyncio.sleep(0.1)
    await queue.idle()
    assert worked == ["soon"]


async def test_after_sleep_overdue_timers_are_found_by_the_rescan() -> None:
    worked: list[str] = []

    async def work(key: str) -> None:
        worked.append(key)

    queue = KeyQueue(work)
    queue.add_at("late", boottime() + 1000)
    at, handle = queue._timers["late"]
    queue._timers["late"] = (at - 2000, handle)  # the machine slept: boottime went on, the loop's clock did not
    queue.overdue()
    await queue.idle()
    assert worked == ["late"]
    await queue.close()


async def test_a_closed_queue_lets_the_running_work_end_and_takes_nothing_new() -> None:
    worked: list[str] = []
    gate = asyncio.Event()

    async def work(key: str) -> None:
        await gate.wait()
        worked.append(key)

    queue = KeyQueue(work)
    queue.add("a")
    await asyncio.sleep(0)
    queue.add("a")
    closing = asyncio.create_task(queue.close())
    await asyncio.sleep(0)
    queue.add("b")
    gate.set()
    await closing
    assert worked == ["a"]
