"""A registry that serves one OCI layout, and does wrong where a test tells it to. For the tests of pulls."""

from __future__ import annotations

import base64
import contextlib
import json
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.images.registry.evil import Answer, Asked, Evil, evil
from tests.images.registry.layouts import Layout

Wrong = Callable[[Asked], Answer | None]
"""The answer that is given; None: the right one."""


class Registry:
    """Every repository has the tags of `layout`. `wrong[repository]` is asked first."""

    def __init__(self, server: Evil, layout: Layout) -> None:
        self.host = server.host
        self.wrong: dict[str, Wrong] = {}
        self._server = server
        self._layout = layout
        server.answer = self._answer

    def asked(self, repository: str, contains: str = "", method: str = "GET") -> list[Asked]:
        return [asked for asked in self._server.asked(method, contains) if f"/v2/{repository}/" in asked.path]

    def _answer(self, asked: Asked) -> Answer:
        match = re.fullmatch(r"/v2/(.+)/(manifests|blobs)/(.+)", asked.path)
        if match is None:
            return Answer(200, b"{}")
        repository, kind, reference = match.groups()
        if (wrong := self.wrong.get(repository)) and (answer := wrong(asked)):
            return answer
        if kind == "blobs":
            return part(self._layout.read(reference), asked)
        index: dict[str, Any] = json.loads((self._layout.root / "index.json").read_text())
        for entry in index["manifests"]:
            if reference in (entry["digest"], entry["annotations"]["org.opencontainers.image.ref.name"]):
                headers = {"Content-Type": entry["mediaType"], "Docker-Content-Digest": entry["digest"]}
                return Answer(200, self._layout.read(entry["digest"]), headers)
        return Answer(404, b'{"errors": [{"code": "MANIFEST_UNKNOWN", "message": "manifest unknown"}]}')


def part(data: bytes, asked: Asked) -> Answer:
    """A blob, from where it is asked for (RFC 9110, Range)."""
    if match := re.fullmatch(r"bytes=(\d+)-", asked.headers.get("range", "")):
        start = int(match[1])
        return Answer(206, data[start:], {"Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"})
    return Answer(200, data, {"Accept-Ranges": "bytes"})


def needs(user: str, password: str) -> Wrong:
    """Who does not show these credentials is refused."""
    expected = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()

    def wrong(asked: Asked) -> Answer | None:
        if asked.headers.get("authorization") == expected:
            return None
        return Answer(401, b'{"errors": [{"code": "UNAUTHORIZED"}]}', {"WWW-Authenticate": 'Basic realm="test"'})

    return wrong


@contextlib.contextmanager
def serving(layout: Layout) -> Iterator[Registry]:
    with evil() as server:
        yield Registry(server, layout)


def tar_of(directory: Path) -> bytes:
    """A layer of everything in the directory, made by GNU tar."""
    command = ["tar", "--sort=name", "--numeric-owner", "-C", str(directory), "-c", "."]
    return subprocess.run(command, check=True, capture_output=True).stdout
