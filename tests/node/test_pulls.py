"""Long work on images: shared, bounded, and given up when nobody waits for it."""

from __future__ import annotations

import asyncio
import threading

import pytest

from minikube_lite.images.image import ImageError, unavailable
from minikube_lite.images.progress import Progress, Step
from minikube_lite.node.pulls import Pulls

STEP = Step("copying", "sha256:1", 1, 2)


class Work:
    """A work that stands still at a gate."""

    def __init__(self, result: str | ImageError = "done") -> None:
        self.gate, self.began, self.ended = threading.Event(), threading.Event(), threading.Event()
        self.result = result
        self.runs = 0
        self.stopped = False

    def __call__(self, progress: Progress) -> str:
        self.runs += 1
        self.began.set()
        try:
            assert self.gate.wait(10)
            progress(STEP)
        except ImageError:
            self.stopped = True
            raise
        finally:
            self.ended.set()
        if isinstance(self.result, ImageError):
            raise self.result
        return self.result


async def until_set(event: threading.Event) -> None:
    assert await asyncio.to_thread(event.wait, 10)


async def test_who_wants_the_same_shares_one_work() -> None:
    pulls: Pulls[str] = Pulls(2)
    work = Work()
    waiting = [asyncio.create_task(pulls.share("a", work)) for _ in range(3)]
    await until_set(work.began)
    work.gate.set()
    assert [(await task).result for task in waiting] == ["done"] * 3
    assert work.runs == 1
    await pulls.share("a", work)
    assert work.runs == 2, "what is over is done again for who comes later"


async def test_a_failure_is_everybody_s() -> None:
    pulls: Pulls[str] = Pulls(1)
    work = Work(unavailable("gone"))
    work.gate.set()
    outcomes = await asyncio.gather(pulls.share("a", work), pulls.share("a", work))
    assert [str(done.result) for done in outcomes] == ["gone", "gone"]


async def test_no_more_than_so_many_go_on_at_once_and_waiting_is_told() -> None:
    pulls: Pulls[str] = Pulls(1)
    first, second = Work(), Work()
    one = asyncio.create_task(pulls.share("a", first))
    await until_set(first.began)
    two = asyncio.create_task(pulls.share("b", second))
    await asyncio.sleep(0.05)
    assert not second.began.is_set()
    first.gate.set()
    await until_set(second.began)
    second.gate.set()
    done = (await one, await two)
    assert [item.result for item in done] == ["done", "done"]
    assert done[1].took_with_waiting > done[1].took


async def test_what_nobody_waits_for_is_ended_at_its_next_piece() -> None:
    pulls: Pulls[str] = Pulls(1)
    work = Work()
    one, two = (asyncio.create_task(pulls.share("a", work)) for _ in range(2))
    await until_set(work.began)
    one.cancel()
    with pytest.raises(asyncio.CancelledError):
        await one
    again = Work()
    two.cancel()
    with pytest.raises(asyncio.CancelledError):
        await two
    three = asyncio.create_task(pulls.share("a", again))
    work.gate.set()
    await until_set(work.ended)
    assert work.stopped
    again.gate.set()
    assert (await three).result == "done", "who comes after that is not given the end of another's"


async def test_what_has_one_left_who_waits_goes_on() -> None:
    pulls: Pulls[str] = Pulls(1)
    work = Work()
    one, two = (asyncio.create_task(pulls.share("a", work)) for _ in range(2))
    await until_set(work.began)
    one.cancel()
    work.gate.set()
    assert (await two).result == "done"
    assert not work.stopped


async def test_a_bug_is_not_taken_for_an_answer() -> None:
    pulls: Pulls[str] = Pulls(1)

    def broken(progress: Progress) -> str:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await pulls.share("a", broken)
    work = Work()
    work.gate.set()
    assert (await pulls.share("a", work)).result == "done", "and frees its place"
