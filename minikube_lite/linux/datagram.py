"""One message with descriptors beside it: how launcher, shims and their helpers hear from each other.

Also the JSON in it, read without Python's own layers: each of them would cost every shim a few pages.
"""

from __future__ import annotations

import array
import json
from _socket import CMSG_SPACE, MSG_CMSG_CLOEXEC, SCM_RIGHTS, SOL_SOCKET, socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

MAX_MESSAGE = 1 << 18
MAX_FDS = 8

parse: Callable[[str, int], tuple[Any, int]] = json.JSONDecoder().scan_once  # type: ignore[attr-defined]
"""The value that begins at this place of the text, and where it ends."""


def receive(source: socket) -> tuple[bytes, list[int]]:
    """One datagram and the descriptors that came with it; b"" at the end."""
    try:
        data, ancillary, _, _ = source.recvmsg(MAX_MESSAGE, CMSG_SPACE(MAX_FDS * 4), MSG_CMSG_CLOEXEC)
    except ConnectionResetError:  # it ended with something of ours unread
        return b"", []
    fds = array.array("i")
    for level, kind, rights in ancillary:
        if level == SOL_SOCKET and kind == SCM_RIGHTS:
            fds.frombytes(rights[: len(rights) - len(rights) % fds.itemsize])
    return data, list(fds)


def rights(fds: Sequence[int]) -> list[tuple[int, int, bytes]]:
    """The ancillary data that sends these descriptors along."""
    return [(SOL_SOCKET, SCM_RIGHTS, array.array("i", fds).tobytes())] if fds else []
