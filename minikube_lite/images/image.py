"""The nouns of `images`: what a reference turned into, and why it could not. Handed to node, which shows both."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Reason = Literal["ErrImagePull", "InvalidImageName", "ErrImageNeverPull"]


@dataclass(frozen=True, slots=True)
class Image:
    """A root file system to run on. Nothing in `layers` or `mounts` may be written to."""

    reference: str
    """As it stands in the manifest."""
    id: str
    """`sha256:<hex>` of what it was made from, or `dir:<real path>`; `imageID` shows it."""
    layers: tuple[Path, ...]
    """Directories, bottom first."""
    config: Mapping[str, Any] = field(default_factory=dict)
    """The `config` object of an OCI image config (Entrypoint, Cmd, Env, …); {} where the image says nothing."""
    mounts: tuple[Mapping[str, Any], ...] = ()
    """OCI mounts that belong to the image, in the order to make them."""


class ImageError(Exception):
    """An image cannot be had. `reason` is the word that Kubernetes shows in the pod's waiting state."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason: Reason = reason
        self.message = message


def unavailable(message: str) -> ImageError:
    """The reference is well formed, but what it names cannot be used."""
    return ImageError("ErrImagePull", message)


def no_room(error: BaseException | None) -> bool:
    """Whether it was for want of room on the disk that an image could not be had."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        error = error.__cause__
    return False


class NotPresent(ImageError):
    """The reference names an image that is not on this machine: it has to be pulled first."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__("ErrImagePull", message)
        self.name = name
        """The whole name, as Docker completes it."""
