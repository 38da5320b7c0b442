"""How the node's log looks. node.run calls it once; all others just say `log.info("container_started", pod=…)`."""

from __future__ import annotations

import logging
import sys
from typing import Any, Literal

import structlog

LogFormat = Literal["auto", "text", "json"]


def configure(format: LogFormat, verbose: bool = False) -> None:
    """`auto`: coloured lines on a terminal, JSON elsewhere. Lines go to standard error."""
    # watchdog reports each end of a watch that had news under way as an error; `node.watch` looks for itself.
    logging.getLogger("watchdog.observers.inotify").setLevel(logging.CRITICAL)
    tty = sys.stderr.isatty()
    renderer: Any
    if format == "json" or (format == "auto" and not tty):
        timestamper = structlog.processors.TimeStamper(fmt="iso", utc=True)
        renderer = structlog.processors.JSONRenderer()
        tail: list[Any] = [_without_none, structlog.processors.format_exc_info, renderer]
    else:
        timestamper = structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False)
        tail = [
            _without_none,
            structlog.dev.ConsoleRenderer(
                colors=tty, pad_event_to=24, exception_formatter=structlog.dev.plain_traceback
            ),
        ]
    structlog.configure(
        processors=[structlog.processors.add_log_level, timestamper, *tail],
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG if verbose else logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )


def _without_none(_logger: Any, _method: str, event: Any) -> Any:
    return {key: value for key, value in event.items() if value is not None}
