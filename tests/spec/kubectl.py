"""kubectl as an oracle, offline: it reads YAML and prints JSON. Files go through it in one call."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest

KUBECTL = shutil.which("kubectl")
needs_kubectl = pytest.mark.skipif(
    KUBECTL is None, reason="no kubectl to compare with (apt-get install kubernetes-client)"
)
MARK = "read-by-kubectl"


def objects(files: Sequence[bytes]) -> tuple[list[dict[str, Any]], str]:
    """(every object that kubectl reads in these files, what it says about the others)."""
    return _run(files, "annotate", f"{MARK}=y")


def quantities_as_kubectl_prints(texts: Iterable[str]) -> dict[str, str]:
    """Text → text, by way of Kubernetes' own types. A pod for each, as one bad one would hide the others."""
    numbered = dict(enumerate(texts))
    files = [
        json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": f"p{number}"},
                "spec": {"containers": [{"name": "a", "image": "b", "resources": {"limits": {"cpu": text}}}]},
            }
        ).encode()
        for number, text in numbered.items()
    ]
    found, _ = _run(files, "set", "image", "a=changed")
    return {
        numbered[int(pod["metadata"]["name"][1:])]: pod["spec"]["containers"][0]["resources"]["limits"]["cpu"]
        for pod in found
    }


def wrongly_typed(files: Sequence[bytes]) -> set[int]:
    """Which of these hold a value of another type than Kubernetes gives the field."""
    _, complaints = _run(files, "set", "image", "a=changed")
    return {int(number) for number in re.findall(r'unable to decode ".*?([0-9]{5})\.yaml"', complaints)}


def _run(files: Sequence[bytes], *command: str) -> tuple[list[dict[str, Any]], str]:
    assert KUBECTL is not None
    with tempfile.TemporaryDirectory() as directory:
        for number, data in enumerate(files):
            Path(directory, f"{number:05}.yaml").write_bytes(data)
        verb, *rest = command
        if verb == "set":
            rest = [rest[0], "--local", "-f", directory, *rest[1:]]
        else:
            rest = ["--local", "-f", directory, *rest]
        done = subprocess.run(
            [KUBECTL, verb, *rest, "-o", "json"], capture_output=True, text=True, timeout=60, check=False
        )
    return [_unmarked(item) for item in _stream(done.stdout)], done.stderr


def _stream(text: str) -> Iterable[dict[str, Any]]:
    decoder, at = json.JSONDecoder(), 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        item, at = decoder.raw_decode(text, at)
        yield item


def _unmarked(item: dict[str, Any]) -> dict[str, Any]:
    annotations = (item.get("metadata") or {}).get("annotations") or {}
    if annotations.pop(MARK, None) is not None and not annotations:
        del item["metadata"]["annotations"]
        if not item["metadata"]:
            del item["metadata"]
    return item
