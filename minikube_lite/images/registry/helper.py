"""Asks a `docker-credential-NAME` program for what it keeps. Called by credentials.

The protocol is of github.com/docker/docker-credential-helpers: `get`, the server on stdin, JSON on stdout.
"""

from __future__ import annotations

import json
import re
import subprocess

from minikube_lite.images.registry.failure import one_line

TIMEOUT = 30
"""Seconds that a helper may take: some ask a cloud."""


class HelperError(Exception):
    """The helper could not be asked."""


def get(name: str, server: str) -> tuple[str, str] | None:
    """(user name, secret) for `server`; None where it keeps nothing. Raises HelperError."""
    program = f"docker-credential-{name}"
    if not re.fullmatch(r"[A-Za-z0-9._-]+", name):
        raise HelperError(f"`{one_line(name, 40)}` is not the name of a credential helper")
    try:
        done = subprocess.run([program, "get"], input=server.encode(), capture_output=True, timeout=TIMEOUT)
    except FileNotFoundError as error:
        raise HelperError(f"the credential helper `{program}` is not in PATH") from error
    except OSError as error:
        raise HelperError(f"the credential helper `{program}` cannot be run: {error.strerror}") from error
    except subprocess.TimeoutExpired as error:
        raise HelperError(f"the credential helper `{program}` did not answer within {TIMEOUT} s") from error
    if done.returncode:
        said = one_line((done.stdout + b" " + done.stderr).decode(errors="replace"))
        if "credentials not found" in said:
            return None
        raise HelperError(f"the credential helper `{program}` failed (exit code {done.returncode}): {said}")
    try:
        answer = json.loads(done.stdout)
        return (str(answer["Username"]), str(answer["Secret"])) if answer.get("Secret") else None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise HelperError(f"the credential helper `{program}` answered with something else than credentials") from error
