"""A real node as a subprocess, for tests. Made by the `node` fixture; drives it as a person would: files and CLI."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from minikube_lite.node.paths import Paths

T = TypeVar("T")

PATIENCE = 30.0
"""Seconds after which waiting is given up. Nothing is measured by it: a healthy wait ends in milliseconds."""


class NodeProcess:
    """`minikube-lite --root ROOT run ROOT/manifests`, in a process group of its own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.paths = Paths(root)
        self.manifests = root / "manifests"
        self.manifests.mkdir(exist_ok=True)
        self.log = root / "node.log"
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def command(self) -> list[str]:
        return [sys.executable, "-m", "minikube_lite", "--root", str(self.root)]

    @property
    def pid(self) -> int:
        assert self.process is not None, "the node has not been started"
        return self.process.pid

    def start(self, *options: str) -> None:
        """Start it and wait until its socket answers."""
        assert self.process is None or self.process.poll() is not None, "the node runs already"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*self.command, "run", str(self.manifests), *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd=self.root,
            )
        self.wait_until(self._answers, "the node's socket answers")

    def stop(self, number: int = signal.SIGTERM) -> int | None:
        """Send the signal and wait for its end; pods keep running by design. Returns the exit status."""
        if self.process is None:
            return None
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(PATIENCE)

    def kill9(self) -> None:
        """Kill the node itself, and nothing else: the launcher and the shims are left to find out."""
        self.stop(signal.SIGKILL)

    def drain(self) -> None:
        """Take every manifest away, wait until no pod is left, stop the node, and see that nothing of it stays."""
        for file in sorted(self.manifests.iterdir()):
            if not file.is_dir():
                file.unlink()
        if self.process is None or self.process.poll() is not None:
            self.start()
        self.wait_until(lambda: not self.pods(), "no pod is left")
        assert self.stop() == 0, f"the node did not stop orderly; its log:\n{self.log_tail()}"
        for directory in (self.paths.pods, self.paths.run / "pods"):
            left = list(directory.iterdir()) if directory.is_dir() else []
            assert not left, f"files of removed pods are left: {left}"

    def cli(
        self, *arguments: str, check: bool = True, input: str | None = None, timeout: float = 60
    ) -> subprocess.CompletedProcess[str]:
        """Run `minikube-lite ARGUMENTS` against this node; with `check` a failure is an assertion with its words."""
        done = subprocess.run(
            [*self.command, *arguments],
            input=input if input is not None else "",
            capture_output=True,
            text=True,
            timeout=timeout,
            cwd=self.root,
        )
        if check:
            assert done.returncode == 0, (
                f"minikube-lite {' '.join(arguments)}: exit code {done.returncode}\n{done.stdout}{done.stderr}"
                f"\nthe node's log:\n{self.log_tail()}"
            )
        return done

    def put(self, name: str, manifest: str | dict[str, Any]) -> Path:
        """Put a manifest into the watched directory as an editor does: written aside, renamed into place."""
        text = manifest if isinstance(manifest, str) else json.dumps(manifest)
        aside = self.root / f"{name}.new"
        aside.write_text(text)
        target = self.manifests / name
        os.replace(aside, target)
        return target

    def pods(self) -> list[dict[str, Any]]:
        """Every pod of every namespace, as the API gives it."""
        items: list[dict[str, Any]] = self.get("/api/v1/pods")["items"]
        return items

    def pod(self, name: str, namespace: str = "default") -> dict[str, Any] | None:
        """One pod, or None where there is none."""
        for pod in self.pods():
            if (pod["metadata"]["namespace"], pod["metadata"]["name"]) == (namespace, name):
                return pod
        return None

    def wait_phase(self, name: str, phase: str, namespace: str = "default") -> dict[str, Any]:
        """Wait until the pod is in this phase (`Running` with all containers running) and return it."""

        def there() -> dict[str, Any] | None:
            pod = self.pod(name, namespace)
            if pod is None or pod.get("status", {}).get("phase") != phase:
                return None
            running = ["running" in one["state"] for one in pod["status"].get("containerStatuses", ())]
            return pod if phase != "Running" or (running and all(running)) else None

        return self.wait_until(there, f"pod {namespace}/{name} is {phase}")

    def wait_gone(self, name: str, namespace: str = "default") -> None:
        self.wait_until(lambda: self.pod(name, namespace) is None, f"pod {namespace}/{name} is gone")

    def wait_until(self, look: Callable[[], T | None], what: str) -> T:
        """Look until there is something true, and return it; a look is cheap, so it is done often."""
        deadline = time.monotonic() + PATIENCE
        while not (seen := look()):
            assert time.monotonic() < deadline, f"waited in vain until {what}; the node's log:\n{self.log_tail()}"
            time.sleep(0.01)
        return seen

    def get(self, path: str) -> dict[str, Any]:
        """GET from the API over the socket; raises OSError where nothing listens."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(PATIENCE)
            connection.connect(str(self.paths.socket))
            connection.sendall(f"GET {path} HTTP/1.0\r\nHost: node\r\nAccept: application/json\r\n\r\n".encode())
            answer = b""
            while part := connection.recv(65536):
                answer += part
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.split()[1] == b"200", answer.decode()
        parsed: dict[str, Any] = json.loads(body)
        return parsed

    def log_tail(self, lines: int = 30) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:]) if self.log.exists() else ""

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, f"the node ended by itself; its log:\n{self.log_tail()}"
        try:
            self.get("/version")
        except OSError:
            return False
        return True
