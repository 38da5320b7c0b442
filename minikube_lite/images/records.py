"""Small JSON files that are there whole or not at all. Called by names, leases and local."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any


def write(path: Path, document: Any, sync: bool = False) -> None:
    """Replace the file; with `sync`, it and its name are on the disk when this returns. Raises OSError."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = path.with_name(f".{path.name[:64]}.{os.getpid()}.{threading.get_ident()}")
    try:
        with open(new, "w", encoding="utf-8") as file:
            json.dump(document, file)
            if sync:
                file.flush()
                os.fsync(file.fileno())
        new.rename(path)
    except BaseException:
        new.unlink(missing_ok=True)
        raise
    if sync:
        descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def read(path: Path) -> dict[str, Any] | None:
    """The document; None where there is none, or none that can be read (after a power cut)."""
    try:
        document = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    return document if isinstance(document, dict) else None


def paths(directory: Path) -> list[Path]:
    """The files of the directory, without those that are being written."""
    try:
        return sorted(path for path in directory.iterdir() if not path.name.startswith("."))
    except FileNotFoundError:
        return []


def sweep(directory: Path) -> None:
    """Remove what was being written when its writer was killed, and those whose writer is no more."""
    try:
        found = list(directory.glob(".*"))
    except FileNotFoundError:
        return
    for path in found:
        pid = path.name.split(".")[-2:][0]
        if not (pid.isdigit() and os.path.exists(f"/proc/{pid}")):
            path.unlink(missing_ok=True)
