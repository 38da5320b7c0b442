"""How long to wait before the next try. core.plan decides by it, core.status and node's events say it.

Two rules. A container's restarts: the first at once, then `backoff_initial` doubling up to `backoff_max`; a run of
`backoff_forgive` or longer makes it a fresh container again. A failed try to make something (image, sandbox,
container): a wait after every failure, doubling too. Nothing is stored but counts; delays follow from them.
"""

from __future__ import annotations

from minikube_lite.core.model import Exit, Failure, Policy


def doubling(tries: int, initial: float, maximum: float) -> float:
    """Seconds to wait after `tries` consecutive failures: 0 after none, then `initial`, doubling up to `maximum`."""
    if tries <= 0:
        return 0.0
    return min(initial * 2.0 ** min(tries - 1, 64), maximum)


def restart_delay(failures: int, policy: Policy) -> float:
    """Seconds between an exit and the restart, after `failures` consecutive short runs. The first is free."""
    return doubling(failures - 1, policy.backoff_initial, policy.backoff_max)


def ran_for(ended: Exit) -> float:
    """Seconds that the run lasted."""
    return max(0.0, ended.finished_at - ended.started_at)


def failures_after(failures_before: int, ran_for: float, policy: Policy) -> int:
    """Consecutive short runs, once a run of that many seconds is over too."""
    return 0 if ran_for >= policy.backoff_forgive else failures_before + 1


def next_delay(failures_before: int, ended: Exit, policy: Policy) -> float:
    """Seconds from this exit to the restart, if there is one."""
    return restart_delay(failures_after(failures_before, ran_for(ended), policy), policy)


def next_start_at(failures_before: int, ended: Exit, policy: Policy) -> float:
    """The instant (CLOCK_BOOTTIME) before which the container is not started again."""
    return ended.finished_at + next_delay(failures_before, ended, policy)


def image_delay(failure: Failure, policy: Policy) -> float:
    """Seconds between a failed pull and the next. To look whether an image came by hand costs nothing: no doubling."""
    if failure.reason == "ErrImageNeverPull":
        return policy.image_backoff_initial
    return doubling(failure.count, policy.image_backoff_initial, policy.image_backoff_max)


def make_delay(failure: Failure, policy: Policy) -> float:
    """Seconds between a failed try to make a sandbox or a container and the next."""
    return doubling(failure.count, policy.backoff_initial, policy.backoff_max)


def due(since: float, delay: float, now: float) -> float:
    """The instant `delay` seconds after `since`; at once where `since` lies ahead.

    CLOCK_BOOTTIME begins anew with each boot: an instant of the future was noted down before a reboot.
    """
    return now if since > now else since + delay
