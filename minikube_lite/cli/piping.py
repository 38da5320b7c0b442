"""A pipe between a command in a container and a thread here that makes or takes what goes through. Called by `cp`.

The command's streams stay with the main thread, since signals do (see streaming).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from threading import Thread
from typing import IO

STDOUT, STDERR = 1, 2
"""Channels of v5.channel.k8s.io."""


class Stopped(Exception):
    """Nobody takes what the command says any more."""


class Pipe:
    """`work` is given its end as a file; `into`: it writes what the command reads, else it reads what that writes."""

    def __init__(self, work: Callable[[IO[bytes]], None], *, into: bool) -> None:
        reader, writer = os.pipe()
        self.descriptor, theirs = (reader, writer) if into else (writer, reader)
        self.passed = 0
        """Bytes of the command's output that have come so far."""
        self._into = into
        self._open = True
        self._error: BaseException | None = None
        self._thread = Thread(target=self._work, args=(work, theirs), daemon=True)
        self._thread.start()

    def _work(self, work: Callable[[IO[bytes]], None], descriptor: int) -> None:
        try:
            with os.fdopen(descriptor, "wb" if self._into else "rb") as file:
                work(file)
                if not self._into:
                    while file.read(1 << 16):  # what stands behind the end of an archive
                        pass
        except BaseException as error:
            self._error = error

    def take(self, channel: int, data: bytes) -> None:
        """What the command says. Raises Stopped where nobody listens."""
        if channel == STDERR or self._into:
            _write(2 if channel == STDERR else 1, data)
            return
        try:
            _write(self.descriptor, data)
        except BrokenPipeError:
            raise Stopped from None
        self.passed += len(data)

    def close(self) -> None:
        """Let go of our end and wait for the thread."""
        if self._open:
            self._open = False
            os.close(self.descriptor)
        self._thread.join()

    def failure(self) -> BaseException | None:
        """Why the thread failed, once it has ended; not that the command did not want all of it."""
        self.close()
        return None if isinstance(self._error, BrokenPipeError) else self._error


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        with contextlib.suppress(InterruptedError):
            view = view[os.write(descriptor, view) :]
