"""Lets a stream be made in one thread and used in another, so that two processors work on it. Called by layers."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterator

AHEAD = 8
"""Pieces that are made before they are wanted; each is up to 1 MiB."""


def ahead(pieces: Iterator[bytes], name: str, count: int = AHEAD) -> Generator[bytes, None, None]:
    """The same pieces, made in a thread of their own. What making them raises is raised here, in its place.

    When it is closed half-way (as a generator is) the thread ends with it.
    """
    ready: queue.Queue[bytes | BaseException | None] = queue.Queue(count)
    closed = threading.Event()

    def make() -> None:
        end: BaseException | None = None
        try:
            for piece in pieces:
                if closed.is_set():
                    return
                ready.put(piece)
        except BaseException as error:
            end = error
        ready.put(end)

    thread = threading.Thread(target=make, name=name, daemon=True)
    thread.start()
    try:
        while (piece := ready.get()) is not None:
            if isinstance(piece, BaseException):
                raise piece
            yield piece
    finally:
        closed.set()
        while thread.is_alive():  # it may wait for room
            try:
                ready.get(timeout=0.01)
            except queue.Empty:
                continue
        thread.join()
