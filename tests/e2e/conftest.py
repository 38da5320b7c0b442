"""Fixtures of the end-to-end tests: a real node as root, driven by files and by the command line."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.yard import Yard
from tests.node_process import NodeProcess
from tests.traces import Traces


@pytest.fixture(scope="module")
def shared_yard(rootfs: Path) -> Iterator[Yard]:
    """One node for all tests of a module that leave it alone."""
    root = Path(os.path.realpath(tempfile.mkdtemp(prefix="mkl-")))
    traces = Traces(root)
    node = NodeProcess(root)
    try:
        node.start()
        yield Yard(node, rootfs)
        node.drain()
        traces.assert_none()
    finally:
        node.stop(signal.SIGKILL)
        traces.sweep()
        traces.assert_none()
        shutil.rmtree(root)


@pytest.fixture
def yard(shared_yard: Yard) -> Iterator[Yard]:
    """The shared node. After each test its pods have to be gone, and all that was theirs."""
    before = shared_yard.node.pid
    shared_yard.since = int(shared_yard.node.get("/api/v1/events")["metadata"]["resourceVersion"])
    yield shared_yard
    shared_yard.clear()
    assert shared_yard.node.pid == before
    assert shared_yard.node.process is not None
    assert shared_yard.node.process.poll() is None, "the node has ended"


@pytest.fixture
def fresh(node: NodeProcess, rootfs: Path) -> Yard:
    """A node of this test's own, which it may kill."""
    return Yard(node, rootfs)
