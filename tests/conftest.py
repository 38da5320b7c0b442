"""What every test may use: a root file system, a real node, and the detector that fails a test which leaks.

Everything here looks only at things that carry the test's own directory or the cgroup name derived from it, so
tests may run side by side.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.node_process import NodeProcess
from tests.traces import MARK, Traces


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if os.geteuid() == 0:
        return
    for item in items:
        if item.get_closest_marker("root"):
            item.add_marker(pytest.mark.skip(reason="starts real containers: run as root (sudo bash tests/run.sh)"))


@pytest.fixture(scope="session", autouse=True)
def nothing_left_by_this_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """At the end no mount and no process knows the directory that all tests of this worker worked below."""
    yield
    Traces(tmp_path_factory.getbasetemp()).assert_none()


@pytest.fixture
def traces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Traces]:
    """What the kernel still holds of this test; `watch(directory)` adds one outside `tmp_path`."""
    monkeypatch.setenv(MARK, str(tmp_path))
    traces = Traces(tmp_path)
    yield traces
    try:
        traces.assert_none()
    finally:
        traces.sweep()


@pytest.fixture(autouse=True)
def _nothing_leaks(request: pytest.FixtureRequest) -> None:
    """Every test marked `root` is watched, whether it asks for it or not."""
    if request.node.get_closest_marker("root"):
        request.getfixturevalue("traces")


@pytest.fixture(scope="session")
def rootfs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small root file system: a static busybox under all its names, and the directories a root has. Read only."""
    busybox = shutil.which("busybox", path="/usr/bin:/bin")
    if busybox is None:
        pytest.skip("no /usr/bin/busybox to make a root file system of (apt-get install busybox-static)")
    if b"/ld-linux" in Path(busybox).read_bytes()[:4096]:
        pytest.skip("/usr/bin/busybox is not static (apt-get install busybox-static)")
    root = tmp_path_factory.mktemp("rootfs")
    root.chmod(0o755)
    return make_busybox_root(Path(busybox), root)


def make_busybox_root(busybox: Path, root: Path) -> Path:
    for name in ("bin", "sbin", "usr", "etc", "proc", "sys", "dev", "tmp", "root", "var"):
        (root / name).mkdir()
    (root / "tmp").chmod(0o1777)
    (root / "usr/bin").symlink_to("../bin")
    shutil.copy(busybox, root / "bin/busybox")
    applets = subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True).stdout.split()
    for applet in applets:
        if applet != "busybox":
            (root / "bin" / applet).symlink_to("busybox")
    (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/:/bin/sh\n")
    (root / "etc/group").write_text("root:x:0:\nuser:x:1000:\n")
    return root


@pytest.fixture
def node_root(traces: Traces) -> Iterator[Path]:
    """A short directory for a node's `--root`: the path of a unix socket holds 107 bytes, `tmp_path` may not fit."""
    root = Path(os.path.realpath(tempfile.mkdtemp(prefix="mkl-")))
    traces.watch(root)
    yield root
    # Before anything is removed, mounts below it have to be gone: rmtree would go through them.
    traces.assert_none()
    shutil.rmtree(root)


@pytest.fixture
def node(node_root: Path) -> Iterator[NodeProcess]:
    """A real node, started. At the end its manifests are taken away, the pods must go, then it is stopped."""
    node = NodeProcess(node_root)
    try:
        node.start()
        yield node
        node.drain()
    finally:
        node.stop(signal.SIGKILL)
