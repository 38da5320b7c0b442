"""What every command is given: the root, the namespace, the way to the node, and the terminal. Made by cli.main."""

from __future__ import annotations

import os
import sys

from minikube_lite.cli.errors import CliError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minikube_lite.cli.client import Client
    from minikube_lite.node.paths import Paths


class Session:
    """One run of one command."""

    def __init__(self, root: str, namespace: str) -> None:
        self.root = root
        """"" means the system's own places."""
        self.asked_namespace = namespace
        """"" where none was named."""
        self.namespace = namespace or "default"

    @property
    def socket(self) -> str:
        """`Paths(root).socket`, without the import of pathlib (a test holds the two together)."""
        base = os.path.realpath(self.root) + "/run" if self.root else "/run/minikube-lite"
        return base + "/api.sock"

    @property
    def paths(self) -> Paths:
        from minikube_lite.node.paths import Paths

        return Paths(self.root or None)

    @property
    def client(self) -> Client:
        from minikube_lite.cli.client import Client

        return Client(self.socket, self.command("run"))

    def command(self, rest: str) -> str:
        """How a person types a command for the same node."""
        return f"minikube-lite --root {self.root} {rest}" if self.root else f"minikube-lite {rest}"


def say(line: str = "") -> None:
    """A line for standard output."""
    sys.stdout.write(line + "\n")


def warn(line: str) -> None:
    """A line for standard error, after all that was said before it."""
    sys.stdout.flush()
    sys.stderr.write(line + "\n")


def read_input() -> bytes:
    """All of standard input."""
    if sys.stdin is None:
        raise CliError("standard input is closed")
    return sys.stdin.buffer.read()
