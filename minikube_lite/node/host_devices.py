"""The device nodes of this machine, for a privileged container. Called by node.linux_runtime for each start of one.

As containerd lists them (`pkg/oci`, HostDevices): all of /dev but what every container has of its own.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from typing import Any

_OWN = ("console", "fd", "mqueue", "ptmx", "pts", "shm")
"""Made for each container, or a link into what is."""


def host_devices(directory: str = "/dev") -> list[dict[str, Any]]:
    """OCI `linux.devices`, by path. What vanishes meanwhile is left out."""
    return sorted(_devices(directory, "/dev"), key=lambda device: str(device["path"]))


def _devices(directory: str, shown: str) -> Iterator[dict[str, Any]]:
    try:
        entries = list(os.scandir(directory))
    except FileNotFoundError:
        return
    for entry in entries:
        if entry.name.startswith(".") or (shown == "/dev" and entry.name in _OWN):
            continue
        path = f"{shown}/{entry.name}"
        try:
            found = entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            continue
        if stat.S_ISDIR(found.st_mode):
            yield from _devices(entry.path, path)
        elif stat.S_ISCHR(found.st_mode) or stat.S_ISBLK(found.st_mode):
            yield {
                "path": path,
                "type": "c" if stat.S_ISCHR(found.st_mode) else "b",
                "major": os.major(found.st_rdev),
                "minor": os.minor(found.st_rdev),
                "fileMode": stat.S_IMODE(found.st_mode),
                "uid": found.st_uid,
                "gid": found.st_gid,
            }
