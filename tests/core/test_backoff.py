"""Back-off: the first restart at once, then one second doubling to a minute, forgiven after a good run."""

from __future__ import annotations

import pytest

from minikube_lite.core import backoff
from minikube_lite.core.model import Exit, Failure, Policy

POLICY = Policy()


@pytest.mark.parametrize(
    ("failures", "delay"), [(0, 0), (1, 0), (2, 1), (3, 2), (4, 4), (5, 8), (7, 32), (8, 60), (9, 60), (100_000, 60)]
)
def test_the_first_restart_is_at_once_and_then_the_delay_doubles_up_to_a_minute(failures: int, delay: float) -> None:
    assert backoff.restart_delay(failures, POLICY) == delay


@pytest.mark.parametrize(("seconds", "failures"), [(0, 4), (119.9, 4), (120, 0), (1e9, 0)])
def test_a_run_of_two_minutes_forgives_the_failures_before_it(seconds: float, failures: int) -> None:
    assert backoff.failures_after(3, seconds, POLICY) == failures


def test_the_next_start_counts_from_the_end_of_the_run() -> None:
    ended = Exit(1, started_at=100.0, finished_at=103.0)
    assert backoff.next_start_at(2, ended, POLICY) == 103.0 + 2.0


def test_a_good_run_is_started_again_at_once() -> None:
    assert backoff.next_delay(50, Exit(1, started_at=0.0, finished_at=500.0), POLICY) == 0


@pytest.mark.parametrize(("count", "delay"), [(1, 10), (2, 20), (3, 40), (6, 300), (1000, 300)])
def test_a_failed_pull_waits_ten_seconds_doubling_to_five_minutes(count: int, delay: float) -> None:
    assert backoff.image_delay(Failure("ErrImagePull", "", 0.0, count), POLICY) == delay


def test_a_container_that_could_not_be_made_waits_even_the_first_time() -> None:
    assert backoff.make_delay(Failure("CreateContainerError", "", 0.0, 1), POLICY) == 1


def test_an_instant_of_the_boot_before_this_one_is_over() -> None:
    assert backoff.due(5_000.0, 300.0, now=12.0) == 12.0
    assert backoff.due(10.0, 300.0, now=12.0) == 310.0
