"""A launcher, and containers to run with it. What they leave behind fails the test (see the top `conftest.py`)."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from minikube_lite.linux.client import Launcher
from tests.linux.oci import Box
from tests.traces import Traces


@pytest.fixture
async def launcher() -> AsyncIterator[Launcher]:
    launcher = Launcher.spawn()
    launcher.attach(asyncio.get_running_loop())
    yield launcher
    launcher.close()


@pytest.fixture
def make_box(launcher: Launcher, tmp_path: Path, rootfs: Path, traces: Traces) -> Callable[[], Box]:
    cgroup = f"/mkl-test-{os.getpid()}"
    traces.watch_cgroup(cgroup)
    numbers = itertools.count()

    def make() -> Box:
        number = next(numbers)
        return Box(launcher, tmp_path / f"box{number}", rootfs, f"{cgroup}-{number}")

    for number in range(5):
        traces.watch_cgroup(f"{cgroup}-{number}")
    return make


@pytest.fixture
def box(make_box: Callable[[], Box]) -> Box:
    """One container, not started."""
    return make_box()
