"""The programs we are measured against, each run as its users run it, with state directories of the bench's own."""

from __future__ import annotations

import ctypes
import json
import shutil
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from minikube_lite.linux.cgroup_layout import layout

CLONE_NEWNS, CLONE_FS = 0x20000, 0x200


class Floor:
    """bench/floor.c: the same steps in C, in one warm process. Raises FileNotFoundError without a C compiler."""

    def __init__(self, work: Path, lower: Path, command: str) -> None:
        program = work / "floor"
        subprocess.run(["cc", "-O2", "-o", program, Path(__file__).with_name("floor.c")], check=True)
        wanted = {"cpu", "cpuacct", "memory", "pids", "devices"}  # those that every container of ours is in
        used = sorted({tree.mount for name, tree in layout().v1.items() if name in wanted})
        if unified := layout().unified:
            used.insert(0, unified.mount)
        self._process = subprocess.Popen(
            [program, lower, command, *used], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )

    def run(self, bundle: Path, cgroup: str) -> tuple[float, float]:
        """Seconds to the exec, and to all removed."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(f"{bundle} {cgroup}\n")
        answer = self._process.stdout.readline().split()
        if not answer:
            raise RuntimeError(f"floor ended with {self._process.wait()}")
        return int(answer[0]) / 1e9, int(answer[1]) / 1e9

    def close(self) -> None:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()


class OciRuntime:
    """`runc run` and `crun run`: create, start, wait and delete, in the foreground."""

    def __init__(self, work: Path, program: str, *options: str) -> None:
        self.state = work / program
        self.command = [program, "--root", str(self.state), *options]
        self.note = ""
        self._thread = ThreadPoolExecutor(1)
        if program == "crun" and layout().kind == "hybrid":
            # crun 1.8 refuses to run while the v2 tree has a controller of its own; out of its sight, it does all.
            self.note = "crun ran in a mount namespace without the cgroup v2 tree: it refuses hybrid machines."
            self._thread.submit(_hide, layout().unified.mount).result()  # type: ignore[union-attr]

    def run(self, bundle: Path, name: str) -> float:
        """Seconds from starting the command to its end."""
        return self._thread.submit(self._run, bundle, name).result()

    def _run(self, bundle: Path, name: str) -> float:
        begin = time.perf_counter()
        done = subprocess.run([*self.command, "run", "--bundle", bundle, name], capture_output=True, text=True)
        taken = time.perf_counter() - begin
        if done.returncode:
            raise RuntimeError(f"{self.command[0]}: {done.stderr}")
        return taken

    def close(self) -> None:
        self._thread.shutdown()


def _hide(mount: str) -> None:
    """Give this thread a mount namespace of its own, without `mount`. What it starts inherits that."""
    libc = ctypes.CDLL(None, use_errno=True)
    private = 1 << 18 | 1 << 14  # MS_PRIVATE | MS_REC
    for result in (
        libc.unshare(CLONE_NEWNS | CLONE_FS),
        libc.mount(None, b"/", None, private, None),
        libc.umount2(mount.encode(), 2),
    ):
        if result < 0:
            raise OSError(ctypes.get_errno(), f"hide {mount}")


WRAPPER = """#!/bin/sh
# runc, without the rlimits of config.json: raising them takes CAP_SYS_RESOURCE, which root lacks here.
previous=
for word in "$@"; do
    case $previous in --bundle | -b) bundle=$word ;; esac
    previous=$word
done
case " $* " in
*" create "*) sed -i 's/,"rlimits":\\[[^]]*\\]//; s/"rlimits":\\[[^]]*\\],//' "$bundle/config.json" ;;
esac
exec runc "$@"
"""


class Podman:
    """`podman play kube` on storage of the bench's own."""

    IMAGE = "localhost/minikube-lite-bench:1"

    def __init__(self, work: Path, rootfs: Path) -> None:
        wrapper = work / "runc-without-rlimits"
        wrapper.write_text(WRAPPER)
        wrapper.chmod(0o755)
        self.home = work / "podman"
        self.had_parent = {path: path.exists() for path in self._parents()}
        self.command = ["podman", "--cgroup-manager=cgroupfs", "--events-backend=none", "--storage-driver=overlay"]
        for option in ("root", "runroot", "tmpdir"):
            self.command += [f"--{option}", str(self.home / option)]
        runtime = "runc" if _may_raise_limits() else str(wrapper)
        self.command += ["--runtime", runtime]
        tar = subprocess.run(["tar", "-C", rootfs, "-c", "."], capture_output=True, check=True).stdout
        subprocess.run([*self.command, "import", "-", self.IMAGE], input=tar, capture_output=True, check=True)

    def play(self, manifest: Path) -> float:
        return self._timed("play", "kube", "--network=none", str(manifest))

    def down(self, manifest: Path) -> float:
        return self._timed("play", "kube", "--down", str(manifest))

    def logs(self, container: str) -> str:
        return subprocess.run([*self.command, "logs", container], capture_output=True, text=True, check=True).stdout

    def _timed(self, *arguments: str) -> float:
        begin = time.perf_counter()
        done = subprocess.run([*self.command, *arguments], capture_output=True, text=True)
        taken = time.perf_counter() - begin
        if done.returncode:
            raise RuntimeError(f"podman {' '.join(arguments)}: {done.stderr}")
        return taken

    def _parents(self) -> list[Path]:
        return [Path(mount) / "libpod_parent" for mount in hierarchies()]

    def close(self) -> None:
        """Pods, images, mounts, cgroups and files: all of it goes."""
        for arguments in (["pod", "rm", "-af"], ["rmi", "-af"]):
            subprocess.run([*self.command, *arguments], capture_output=True)
        time.sleep(0.5)  # conmon ends a little after its container
        for path, was_there in self.had_parent.items():
            if not was_there and path.exists():
                remove_empty(path)
        for line in Path("/proc/self/mountinfo").read_text().splitlines()[::-1]:
            if line.split()[4].startswith(f"{self.home}/"):
                subprocess.run(["umount", line.split()[4]], check=True)


def hierarchies() -> list[str]:
    """Where every cgroup tree is mounted, the named ones too (`name=systemd`): runc makes cgroups in all of them."""
    lines = [line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    return [words[4] for words in lines if words[words.index("-") + 1] in ("cgroup", "cgroup2")]


def _may_raise_limits() -> bool:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("CapEff"))
    return bool(int(line.split()[1], 16) >> 24 & 1)  # CAP_SYS_RESOURCE, capabilities(7)


def missing(program: str) -> bool:
    return shutil.which(program) is None


def write_config(bundle: Path, config: dict[str, Any]) -> None:
    (bundle / "config.json").write_text(json.dumps(config))


def remove_empty(cgroup: Path) -> None:
    """Remove a cgroup with all below it; given a moment, for a dying process still counts. One in use stays: told."""
    for patience in range(20, -1, -1):
        tell = subprocess.DEVNULL if patience else None
        subprocess.run(["find", cgroup, "-depth", "-type", "d", "-exec", "rmdir", "{}", ";"], stderr=tell, check=False)
        if not cgroup.exists():
            return
        time.sleep(0.05)
