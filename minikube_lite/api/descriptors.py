"""Waiting for a descriptor on the event loop. Called by exec, which reads and writes pipes and terminals itself."""

from __future__ import annotations

import asyncio


async def readable(descriptor: int, ended: asyncio.Event, quiet: float) -> bool:
    """Wait for data or end of file. False: `ended` is set and nothing came for `quiet` seconds more."""
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    loop.add_reader(descriptor, _set, ready)
    over = asyncio.create_task(ended.wait())
    try:
        await asyncio.wait((ready, over), return_when=asyncio.FIRST_COMPLETED)
        if not ready.done():
            await asyncio.wait((ready,), timeout=quiet)
        return ready.done()
    finally:
        loop.remove_reader(descriptor)
        over.cancel()


async def writable(descriptor: int, seconds: float) -> bool:
    """Wait until the descriptor takes data (or its reader has gone), at most so many seconds."""
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    loop.add_writer(descriptor, _set, ready)
    try:
        await asyncio.wait((ready,), timeout=seconds)
        return ready.done()
    finally:
        loop.remove_writer(descriptor)


def _set(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)
