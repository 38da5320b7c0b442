"""Millicores become what the kernel takes, exactly."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minikube_lite.spec.cpu import MAX_QUOTA, quota_and_period, shares


@pytest.mark.parametrize(
    ("milli", "expected"),
    [
        (1, (1000, 1_000_000)),
        (2, (1000, 500_000)),
        (3, (1002, 334_000)),
        (9, (1008, 112_000)),
        (10, (1000, 100_000)),
        (15, (1500, 100_000)),
        (200, (20_000, 100_000)),
        (333, (33_300, 100_000)),
        (1000, (100_000, 100_000)),
        (64_000, (6_400_000, 100_000)),
    ],
)
def test_a_limit_is_a_quota_in_a_period(milli: int, expected: tuple[int, int]) -> None:
    assert quota_and_period(milli) == expected


@given(st.integers(1, MAX_QUOTA // 100))
def test_quota_over_period_is_exactly_the_limit_and_the_kernel_takes_both(milli: int) -> None:
    quota, period = quota_and_period(milli)
    assert Fraction(quota, period) == Fraction(milli, 1000)
    assert 1_000 <= quota <= MAX_QUOTA
    assert 1_000 <= period <= 1_000_000
    assert period == 100_000 or milli < 10


def test_a_quota_below_one_millisecond_stretches_the_period() -> None:
    assert [quota_and_period(milli)[1] > 100_000 for milli in (9, 10)] == [True, False]


@pytest.mark.parametrize("milli", [0, -1, MAX_QUOTA // 100 + 1])
def test_a_limit_that_the_kernel_cannot_hold_is_refused(milli: int) -> None:
    with pytest.raises(ValueError, match="a CPU limit"):
        quota_and_period(milli)


@pytest.mark.parametrize(
    ("milli", "expected"), [(0, 2), (1, 2), (2, 2), (3, 3), (100, 102), (1000, 1024), (1500, 1536), (10**9, 262_144)]
)
def test_a_request_is_shares_of_1024_a_core_within_the_kernels_bounds(milli: int, expected: int) -> None:
    assert shares(milli) == expected


@given(st.integers(0, 10**9), st.integers(0, 10**9))
def test_more_never_weighs_less(one: int, other: int) -> None:
    assert (shares(one) <= shares(other)) == (one <= other) or shares(one) == shares(other)
