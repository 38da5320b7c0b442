"""The text of `describe configmap` and `describe secret`. Pure: called by commands.describe.

The layout is kubectl's (k8s.io/kubectl/pkg/describe/describe.go). Of what a Secret holds only the sizes are told.
"""

from __future__ import annotations

import base64
from typing import Any

from minikube_lite.cli.describing import LAST_APPLIED, annotation_lines, event_lines, pair_lines
from minikube_lite.cli.output import NONE
from minikube_lite.cli.tabs import align

Json = dict[str, Any]


def describe_config_map(config: Json, events: list[Json], now: float) -> str:
    """`now`: the wall clock, in seconds since the epoch."""
    lines = [*_head(config), "", "Data", "===="]
    for key, value in sorted((config.get("data") or {}).items()):
        lines += [f"{key}:", "----", *_visible(value).split("\n"), ""]
    lines += ["", "BinaryData", "===="]
    for key, value in sorted((config.get("binaryData") or {}).items()):
        lines.append(f"{key}: {_size(value)} bytes")
    return align("\n".join([*lines, ""])) + _events(events, now)


def describe_secret(secret: Json, events: list[Json], now: float) -> str:
    """`now`: the wall clock, in seconds since the epoch. kubectl shows no events of Secrets; here there may be some."""
    lines = [*_head(secret), "", f"Type:\t{secret.get('type', '')}", "", "Data", "===="]
    lines += [f"{key}:\t{_size(value)} bytes" for key, value in sorted((secret.get("data") or {}).items())]
    return align("\n".join(lines) + "\n") + (_events(events, now) if events else "")


def _head(config: Json) -> list[str]:
    meta = config["metadata"]
    annotations = {name: value for name, value in (meta.get("annotations") or {}).items() if name != LAST_APPLIED}
    return [
        f"Name:\t{meta['name']}",
        f"Namespace:\t{meta.get('namespace', '')}",
        *pair_lines("Labels", meta.get("labels"), "="),
        *annotation_lines(annotations),
    ]


def _events(events: list[Json], now: float) -> str:
    return "\n" + align("\n".join(event_lines(events, now)) + "\n") if events else align(f"\nEvents:\t{NONE}\n")


def _size(value: str) -> int:
    return len(base64.b64decode(value))


def _visible(text: str) -> str:
    """Nothing that a terminal, or the tab stops, would take for a command."""
    return "".join(char if char.isprintable() or char == "\n" else " " for char in text)
