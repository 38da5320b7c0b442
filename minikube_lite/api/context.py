"""What every endpoint needs. Made by `app.create_app`, handed to each module's `routes`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from minikube_lite.node.service import NodeService


@dataclass(frozen=True, slots=True)
class Context:
    node: NodeService
    clock: Callable[[], float]
    """The wall clock, seconds since the epoch: ages in tables, the Date header, `sinceSeconds`."""
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the node stops: ends watches and log streams."""
    writing: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held from a write's check (is it there?) to its end, so that two writers cannot both pass the check."""
