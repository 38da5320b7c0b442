"""Chooses among the platforms that an image is made for. Called by manifest; pure but for `this_machine`.

The order of preference is that of github.com/containerd/platforms (compare.go): the machine's own architecture with the
nearest variant that is not newer, then the 32-bit one that it also runs.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from typing import Any

_ARCHITECTURES = {
    "x86_64": ("amd64", ""), "aarch64": ("arm64", ""), "armv8l": ("arm", "v8"), "armv7l": ("arm", "v7"),
    "armv6l": ("arm", "v6"), "armv5tel": ("arm", "v5"), "i386": ("386", ""), "i486": ("386", ""), "i586": ("386", ""),
    "i686": ("386", ""), "loongarch64": ("loong64", ""), "mips64": ("mips64le", ""),
}  # fmt: skip
"""uname(2)'s machine → Go's GOARCH and a variant; a machine that is not here has the same name in both."""
_ARM = ("v8", "v7", "v6", "v5")


@functools.cache
def this_machine() -> tuple[str, str]:
    """Architecture and variant, as OCI image-index.md names them."""
    machine = os.uname().machine
    return _ARCHITECTURES.get(machine, (machine, ""))


def rank(platform: Mapping[str, Any], machine: tuple[str, str] | None = None) -> int | None:
    """How well an image for `platform` suits the machine: 0 is best, None not at all."""
    architecture, variant = machine or this_machine()
    runs = [(architecture, variant)]
    if architecture == "amd64":
        runs = [("amd64", ""), ("386", "")]
    elif architecture == "arm64":
        runs = [("arm64", ""), *(("arm", older) for older in _ARM)]
    elif architecture == "arm":
        runs = [("arm", older) for older in _ARM[_ARM.index(variant or "v7") :]]
    if str(platform.get("os") or "linux") != "linux":
        return None
    offered = _normal(str(platform.get("architecture") or ""), str(platform.get("variant") or ""))
    return runs.index(offered) if offered in runs else None


def name(platform: Mapping[str, Any]) -> str:
    """`linux/arm64/v8`, for a message."""
    parts = (platform.get("os"), platform.get("architecture"), platform.get("variant"))
    return "/".join(str(part) for part in parts if part) or "an unnamed platform"


def _normal(architecture: str, variant: str) -> tuple[str, str]:
    """Other spellings of the same (database.go there)."""
    if architecture in ("x86_64", "x86-64", "amd64"):
        return "amd64", "" if variant == "v1" else variant
    if architecture in ("aarch64", "arm64"):
        return "arm64", "" if variant in ("8", "v8") else variant
    if architecture in ("armhf", "armel"):
        return "arm", "v7" if architecture == "armhf" else "v6"
    if architecture == "arm":
        return "arm", f"v{variant.removeprefix('v') or '7'}"
    if architecture in ("i386", "386"):
        return "386", ""
    return architecture, variant
