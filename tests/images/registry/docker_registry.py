"""Debian's `docker-registry` on a free port of loopback, and `skopeo`, the other tool that fills and asks it."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

USER, PASSWORD = "carol", "secret"
# bcrypt is all that docker-registry reads; nothing in Python makes it.
HTPASSWD = f"{USER}:$2b$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\n"


class DockerRegistry:
    """One that runs. `host` is its `127.0.0.1:port`; `log` what it has said so far."""

    def __init__(self, storage: Path) -> None:
        self.storage = storage
        self.host = ""
        self.log: list[str] = []
        self.settings: dict[str, Any] = {
            "version": "0.1",
            "log": {"accesslog": {"disabled": False}},
            "storage": {"filesystem": {"rootdirectory": str(storage)}, "delete": {"enabled": True}},
            "http": {"addr": "127.0.0.1:0", "secret": "of this test"},
        }

    @contextlib.contextmanager
    def running(self, directory: Path) -> Iterator[DockerRegistry]:
        for program in ("docker-registry", "skopeo"):
            if shutil.which(program) is None:
                pytest.skip(f"no {program} (apt-get install {program})")
        settings = directory / "registry.yaml"
        settings.write_text(yaml.safe_dump(self.settings))
        # Were the tests killed, the registry would go with them.
        command = ["setpriv", "--pdeathsig", "KILL", "docker-registry", "serve", str(settings)]
        environment = {**os.environ, "OTEL_TRACES_EXPORTER": "none"}
        with subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment
        ) as process:
            listening = threading.Event()
            reader = threading.Thread(target=self._read, args=(process, listening))
            reader.start()
            try:
                assert listening.wait(60), self.log
                assert self.host, self.log
                yield self
            finally:
                process.terminate()
                try:
                    process.wait(20)
                except subprocess.TimeoutExpired:
                    process.kill()
                process.wait()
                reader.join()

    def _read(self, process: subprocess.Popen[str], listening: threading.Event) -> None:
        assert process.stderr is not None
        for line in process.stderr:
            self.log.append(line)
            if match := re.search(r"listening on ([0-9.]+:[0-9]+)", line):
                self.host = match[1]
                listening.set()
        listening.set()  # it has ended


def skopeo(*arguments: str) -> str:
    """What `skopeo` says. Its certificates and credentials are given as arguments, nothing of this user's is used."""
    done = subprocess.run(
        ["skopeo", "--insecure-policy", *arguments], capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
