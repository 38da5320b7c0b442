"""Runs one OCI bundle in the foreground: `python -m minikube_lite.linux.run BUNDLE`.

What `runc run` does, by the same launcher and shim that the node uses; for tests, for the benchmark, and to try a
`config.json` by hand. Exits with the container's code, or with 125 (could not be made), 126, 127 (could not be run).
"""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import sys

from minikube_lite.linux.client import Launcher, LauncherError
from minikube_lite.linux.records import EXIT, SHIM, STATE, read_json, remove


async def run(launcher: Launcher, bundle: str) -> int:
    """Run the bundle with this process' own stdin, stdout and stderr; returns its exit code."""
    loop = asyncio.get_running_loop()
    launcher.attach(loop)
    try:
        started = await launcher.request("run", bundle=bundle, fds=(0, 1, 2))
    except LauncherError as error:
        print(f"{error.reason}: {error.message}", file=sys.stderr)
        return {errno.ENOENT: 127, errno.EACCES: 126}.get(error.errno, 125) if error.reason == "StartError" else 125
    for warning in started["mismatches"]:
        print(f"warning: {warning}", file=sys.stderr)
    container = os.pidfd_open(started["pid"])
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        loop.add_signal_handler(number, signal.pidfd_send_signal, container, number)
    try:
        shim = os.pidfd_open(started["shimPid"])
    except ProcessLookupError:
        pass  # it was quick
    else:
        ended = asyncio.Event()
        loop.add_reader(shim, ended.set)
        await ended.wait()
        loop.remove_reader(shim)
        os.close(shim)
    os.close(container)
    record = read_json(f"{bundle}/{EXIT}")
    for name in (EXIT, STATE, SHIM):
        remove(f"{bundle}/{name}")
    return int(record["code"]) if record else 128 + signal.SIGKILL


def main() -> None:
    if len(sys.argv) != 2:
        raise SystemExit(f"usage: {sys.executable} -m minikube_lite.linux.run BUNDLE")
    launcher = Launcher.spawn()
    try:
        code = asyncio.run(run(launcher, os.path.abspath(sys.argv[1])))
    finally:
        launcher.close()
    raise SystemExit(code)


if __name__ == "__main__":
    main()
