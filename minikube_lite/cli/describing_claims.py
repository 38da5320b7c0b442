"""The text of `describe pvc`. Pure: called by commands.describe. The layout is kubectl's (describe.go)."""

from __future__ import annotations

from typing import Any

from minikube_lite.cli.describing import annotation_lines, event_lines, pair_lines
from minikube_lite.cli.output import NONE
from minikube_lite.cli.tabs import align

Json = dict[str, Any]


def describe_claim(claim: Json, events: list[Json], now: float) -> str:
    """`now`: the wall clock, in seconds since the epoch."""
    meta, spec, status = claim["metadata"], claim.get("spec") or {}, claim.get("status") or {}
    owners = meta.get("ownerReferences") or ()
    lines = [
        f"Name:\t{meta['name']}",
        f"Namespace:\t{meta.get('namespace', '')}",
        f"StorageClass:\t{spec.get('storageClassName', '')}",
        f"Status:\t{'Terminating' if meta.get('deletionTimestamp') else status.get('phase', '')}",
        f"Volume:\t{spec.get('volumeName', '')}",
        *pair_lines("Labels", meta.get("labels"), "="),
        *annotation_lines(meta.get("annotations") or {}),
        f"Finalizers:\t[{' '.join(meta.get('finalizers') or ())}]",
        f"Capacity:\t{(status.get('capacity') or {}).get('storage', '')}",
        f"Access Modes:\t{','.join(status.get('accessModes') or ())}",
        f"VolumeMode:\t{spec.get('volumeMode', '')}",
        *(f"Controlled By:\t{owner.get('kind')}/{owner.get('name')}" for owner in owners),
    ]
    head = align("\n".join(lines) + "\n")
    return head + (align("\n".join(event_lines(events, now)) + "\n") if events else align(f"Events:\t{NONE}\n"))
