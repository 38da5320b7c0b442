"""A fake node behind the real API on a unix socket, served from a thread; and the CLI, run in this process."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest

from minikube_lite.api.server import serve
from minikube_lite.cli.main import execute
from tests.api.fake_node import FakeNode, make_pod

NOW = 1714565100.0
"""2024-05-01T12:05:00Z: five minutes after the objects of `fake_node` were made."""
T = TypeVar("T")


class ServedNode:
    """A FakeNode at `root`/run/api.sock. `do` runs something on the node's own thread, where its objects live."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.fake = FakeNode()
        self.fake.add("Pod", make_pod("web"))
        self._exec, self.fake.exec = self.fake.exec, self._waited_for  # type: ignore[method-assign]
        (root / "run").mkdir()
        self._started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))
        self._thread.start()
        self._started.wait()

    async def _serve(self) -> None:
        self.loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        async with serve(self.fake, self.root / "run/api.sock", clock=lambda: NOW):
            self._started.set()
            await self._stop.wait()

    async def _waited_for(self, namespace: str, name: str, container: Any, command: Any, **options: Any) -> Any:
        """With a terminal the fake starts the command through setsid(1), which shall wait for its exit code."""
        return await self._exec(namespace, name, container, ["-w"] * options["tty"] + command, **options)

    def do(self, action: Callable[[], T]) -> T:
        async def act() -> T:
            return action()

        return asyncio.run_coroutine_threadsafe(act(), self.loop).result()

    def add(self, kind: Any, item: dict[str, Any]) -> None:
        self.do(lambda: self.fake.add(kind, item))

    def remove(self, name: str, namespace: str = "default") -> None:
        self.do(lambda: self.fake.remove("Pod", namespace, name))

    def when_watched(self, action: Callable[[], object], *, next_one: bool = True) -> None:
        """Run `action` as soon as a client watches: the next one, or one that may do so already."""

        async def until(wanted: int) -> None:
            while self.fake.watchers != wanted:
                await asyncio.sleep(0.005)

        async def later() -> None:
            await until(1)
            action()

        if next_one:  # an earlier client may be on its way out
            asyncio.run_coroutine_threadsafe(until(0), self.loop).result()
        self._later = asyncio.run_coroutine_threadsafe(later(), self.loop)

    def close(self) -> None:
        with contextlib.suppress(RuntimeError):  # it has stopped, and its loop is closed
            self.loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


Cli = Callable[..., Outcome]


@pytest.fixture
def root() -> Iterator[Path]:
    """A short path: tmp_path may be longer than a unix socket's may be."""
    with tempfile.TemporaryDirectory(prefix="cli-") as directory:
        yield Path(directory)


@pytest.fixture
def node(root: Path) -> Iterator[ServedNode]:
    served = ServedNode(root)
    try:
        yield served
    finally:
        served.close()


@pytest.fixture
def cli(root: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """Run a command line; text for standard input is given as `stdin`."""
    monkeypatch.setenv("MINIKUBE_LITE_ROOT", str(root))
    monkeypatch.delenv("MINIKUBE_LITE_DEBUG", raising=False)

    def run(*argv: str, stdin: str = "") -> Outcome:
        out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)
        err = io.StringIO()
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = execute(list(argv))
        return Outcome(code, out.buffer.getvalue().decode(), err.getvalue())  # type: ignore[attr-defined]

    return run


@pytest.fixture
def environment(root: Path) -> dict[str, str]:
    """For the CLI as a process of its own."""
    return {**os.environ, "MINIKUBE_LITE_ROOT": str(root), "PYTHONPATH": str(Path(__file__).parents[2])}
