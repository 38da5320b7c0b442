"""The OCI `process` of a container whose variables hold something of a Secret: kept in memory, on no disk.

node.linux_runtime puts it into the pod's private tmpfs and names it to the launcher; `exec` finds it there, after a
restart of the node too. The bundle's config.json has everything but the secret variables; the annotation names those.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from minikube_lite.linux.sandbox import PRIVATE, private_memory

ANNOTATION = "node.minikube-lite/secret-variables"


def keep(sandbox: Path, bundle: str, process: Mapping[str, Any]) -> str:
    """Write it down in the memory of this pod's sandbox; returns where. Raises OSError."""
    path = f"{private_memory(str(sandbox))}/{bundle}.json"
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as file:
        file.write(json.dumps(process).encode())
    return path


def recall(sandbox: Path, bundle: str) -> dict[str, Any] | None:
    """What was kept; None where there is nothing (any more). Raises OSError."""
    try:
        process: dict[str, Any] = json.loads((sandbox / PRIVATE / f"{bundle}.json").read_bytes())
    except FileNotFoundError:
        return None
    return process


def forget(sandbox: Path, bundle: str) -> None:
    """The run is over. Twice is as good as once."""
    (sandbox / PRIVATE / f"{bundle}.json").unlink(missing_ok=True)


def redacted(message: str, values: Iterable[str]) -> str:
    """A message of the runtime's without what is secret: a command line may have had it in it."""
    for value in sorted(filter(None, values), key=len, reverse=True):
        message = message.replace(value, "<secret>")
    return message
