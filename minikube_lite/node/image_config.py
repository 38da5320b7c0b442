"""What an image's config asks of whoever runs it, beyond what `core.oci` writes into the OCI config. Called by execute
and linux_runtime.

StopSignal, Volumes and Healthcheck of the OCI image spec (config.md; the last is Docker's own, and Kubernetes ignores
it). Command, environment and working directory are `core.oci`'s, the user `node.image_user`'s.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from minikube_lite.images.copy_up import copy_directory
from minikube_lite.images.image import Image
from minikube_lite.images.view import View


def stop_signal(config: Mapping[str, Any]) -> int:
    """The number of `StopSignal`, which is a name (`SIGQUIT`, `QUIT`, `SIGRTMIN+3`) or a number; SIGTERM by default.

    Raises ValueError for what is neither.
    """
    text = str(config.get("StopSignal") or "SIGTERM").strip()
    name, plus, more = text.upper().removeprefix("SIG").partition("+")
    try:
        base = int(name) if name.isdigit() and not plus else signal.Signals[f"SIG{name}"]
        number = base + (int(more) if plus else 0)
    except (KeyError, ValueError):
        raise ValueError(f"the image's StopSignal `{text}` is no signal") from None
    if not 0 < number <= signal.SIGRTMAX or (plus and name != "RTMIN"):
        raise ValueError(f"the image's StopSignal `{text}` is no signal")
    return number


def has_healthcheck(config: Mapping[str, Any]) -> bool:
    """Whether the image has a health check that Docker would run (`HEALTHCHECK NONE` is `["NONE"]`)."""
    test = (config.get("Healthcheck") or {}).get("Test") or []
    return bool(test) and test[0] != "NONE"


def is_empty(image: Image) -> bool:
    """Whether nothing at all is in the image (`FROM scratch`, and no more)."""
    if image.mounts:
        return False
    try:
        with View(image.layers) as view:
            return not view.names(view.root)
    except OSError:
        return False


def volume_paths(config: Mapping[str, Any], taken: Iterable[str]) -> list[str]:
    """The paths of `Volumes`, parents first, without those that the pod mounts something of its own on."""
    covered = {_clean(path) for path in taken} | {"/"}
    found = {_clean(path) for path in config.get("Volumes") or ()} - covered
    return sorted(found, key=lambda path: (path.count("/"), path))


def make_volumes(image: Image, paths: Iterable[str], directory: Path) -> list[dict[str, Any]]:
    """A directory below `directory` for each, filled with what the image has there; returns the OCI mounts.

    As containerd's CRI makes them: one container's own, gone with it. Raises OSError.
    """
    mounts = []
    with View(image.layers) as view:
        for number, path in enumerate(paths):
            source = directory / str(number)
            source.mkdir(parents=True)
            source.chmod(0o755)
            copy_directory(view, path, source)
            options = ["rbind", "rprivate", "rw"]
            mounts.append({"destination": path, "type": "bind", "source": str(source), "options": options})
    return mounts


def _clean(path: str) -> str:
    return os.path.normpath("/" + path.lstrip("/"))
