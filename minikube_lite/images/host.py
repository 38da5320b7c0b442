"""Makes the built-in image `host`: this machine's programs without its secrets. Called by store.

The layer is a small skeleton of our own: empty directories, a synthetic /etc, and those few things of the host's
/etc that its programs cannot run without and that hold no secret (where libraries are, which `awk` is meant, which
certificate authorities are trusted). The programs themselves come as read-only bind mounts of /usr and, where the
machine has not merged them into it, /bin, /sbin and /lib*. Home directories, /etc/shadow, keys, the machine ID, /var
and /opt are not in it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

VERSION = 1
"""Raised when what `build` makes changes, so that old skeletons are not used any more."""

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
CONFIG: Mapping[str, Any] = {"Env": [f"PATH={PATH}"], "WorkingDir": "/"}
"""No Cmd: a container on `host` says itself what it runs."""

OPTIONS = ("bind", "ro", "nosuid", "nodev")
"""Not `rbind`: `ro` covers one mount only (mount_setattr(2)), so what is mounted below /usr is bound on its own."""

HIDDEN = ("/usr/local/etc", "/usr/local/src", "/usr/home")
"""What people keep below /usr that is no program: configuration, sources, homes."""

DIRECTORIES: Mapping[str, int] = {
    "boot": 0o755, "dev": 0o755, "home": 0o755, "media": 0o755, "mnt": 0o755, "opt": 0o755, "proc": 0o555,
    "root": 0o700, "run": 0o755, "run/lock": 0o1777, "srv": 0o755, "sys": 0o555, "tmp": 0o1777, "usr": 0o755,
    "var": 0o755, "var/cache": 0o755, "var/lib": 0o755, "var/log": 0o755, "var/mail": 0o755, "var/spool": 0o755,
    "var/tmp": 0o1777, "etc": 0o755, "etc/alternatives": 0o755, "etc/ssl": 0o755, "etc/ssl/certs": 0o755,
}  # fmt: skip

LINKS: Mapping[str, str] = {
    "etc/mtab": "/proc/self/mounts",
    "etc/os-release": "../usr/lib/os-release",
    "var/lock": "/run/lock",
    "var/run": "/run",
}

FILES: Mapping[str, str] = {
    # Mount points for the pod's own.
    "etc/hostname": "",
    "etc/hosts": "",
    "etc/resolv.conf": "",
    # Not the host's: who has an account here is nobody's business in a container. Numbers as Debian's base-passwd.
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\n"
    "daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin\n"
    "bin:x:2:2:bin:/bin:/usr/sbin/nologin\n"
    "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
    "etc/group": "root:x:0:\ndaemon:x:1:\nbin:x:2:\ntty:x:5:\nnogroup:x:65534:\n",
    "etc/shells": "/bin/sh\n",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\n"
    "services: files\nprotocols: files\nnetworks: files\n",
    "etc/profile": f"export PATH={PATH}\n[ -n \"$PS1\" ] && PS1='\\h:\\w\\$ '\n",
}

COPIED = (
    "etc/ld.so.cache",
    "etc/ld.so.conf",
    "etc/protocols",
    "etc/services",
    "etc/ssl/certs/ca-certificates.crt",
    "etc/pki/tls/certs/ca-bundle.crt",
)
"""Public files of the host's: where its libraries are, names of ports, certificate authorities."""

LINKED = ("etc/alternatives", "etc/ssl/certs")
"""Directories whose symbolic links into the bound programs are copied: `awk`, `editor`; certificates by hash."""


def fingerprint(host: Path = Path("/")) -> str:
    """64 hexadecimal digits that change when the skeleton of the machine whose root is `host` would; some 20 stats."""
    seen: list[object] = [VERSION, DIRECTORIES, LINKS, FILES, _roots(host)]
    for name in (*COPIED, *LINKED, "etc/ld.so.conf.d"):
        try:
            found = os.stat(os.path.join(host, name))  # not pathlib: every container on `host` asks
        except OSError:
            continue
        seen.append((name, found.st_ino, found.st_size, found.st_mtime_ns))
    return hashlib.sha256(json.dumps(seen, sort_keys=True).encode()).hexdigest()


def build(target: Path, host: Path = Path("/")) -> None:
    """Fill the empty directory `target` with the skeleton. Raises OSError."""
    target.chmod(0o755)
    for name, mode in DIRECTORIES.items():
        (target / name).mkdir()
        (target / name).chmod(mode)  # mkdir's own mode is cut by the umask
    for name, link in _roots(host).items():
        if link:
            (target / name).symlink_to(link)
        else:
            (target / name).mkdir(mode=0o755)
    for name, link in LINKS.items():
        (target / name).symlink_to(link)
    for name, text in FILES.items():
        _write(target / name, text.encode())
    for name in (*COPIED, *_names(host, "etc/ld.so.conf.d", ".conf")):
        if (host / name).is_file():
            data = (host / name).read_bytes()
            if b"PRIVATE KEY" not in data:  # some people append a key to a bundle
                _write(target / name, data)
    for directory in LINKED:
        _copy_links(host / directory, target / directory, _programs(host))


def mounts(host: Path = Path("/"), mountinfo: str | None = None) -> tuple[Mapping[str, Any], ...]:
    """The OCI mounts of the programs, parents first. `mountinfo` is the text of proc(5) mountinfo, for tests."""
    programs = [program.rstrip("/") for program in _programs(host)]
    bound = [*programs, *(point for point in mounts_below(*programs, mountinfo=mountinfo) if Path(point).is_dir())]
    binds = [{"destination": at, "type": "bind", "source": at, "options": list(OPTIONS)} for at in bound]
    hidden = [at for at in HIDDEN if (host / at[1:]).is_dir() and not (host / at[1:]).is_symlink()]
    options = ["ro", "nosuid", "nodev", "noexec", "mode=755", "size=4k"]
    return (*binds, *({"destination": at, "type": "tmpfs", "source": "tmpfs", "options": options} for at in hidden))


def mounts_below(*directories: str, mountinfo: str | None = None) -> list[str]:
    """The mount points inside the directories (not the directories themselves), sorted."""
    if mountinfo is None:
        mountinfo = Path("/proc/self/mountinfo").read_text(errors="surrogateescape")
    inside = tuple(f"{directory}/" for directory in directories)
    return sorted({point for point in map(_mount_point, mountinfo.splitlines()) if point.startswith(inside)})


def _roots(host: Path) -> dict[str, str]:
    """The names beside /usr that programs are found by: name → target of the symbolic link, "" for a real directory."""
    roots: dict[str, str] = {}
    with os.scandir(host) as entries:
        for entry in entries:
            if entry.name not in ("bin", "sbin") and not entry.name.startswith("lib"):
                continue
            link = os.readlink(entry.path) if entry.is_symlink() else ""
            if link.lstrip("/").startswith("usr/") if link else entry.is_dir():
                roots[entry.name] = link
    return dict(sorted(roots.items()))


def _programs(host: Path) -> tuple[str, ...]:
    """The directories that are bound, each with a `/` at its end."""
    return ("/usr/", *(f"/{name}/" for name, link in _roots(host).items() if not link))


def _mount_point(line: str) -> str:
    """The fifth field, its octal escapes undone (proc(5))."""
    point = line.split(" ", 5)[4]
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        point = point.replace(code, character)
    return point


def _names(host: Path, directory: str, suffix: str) -> list[str]:
    if not (host / directory).is_dir():
        return []
    return [f"{directory}/{name}" for name in sorted(os.listdir(host / directory)) if name.endswith(suffix)]


def _copy_links(source: Path, target: Path, programs: tuple[str, ...]) -> None:
    """Copy the symbolic links that end, over any number of others, inside the bound programs."""
    if not source.is_dir():
        return
    with os.scandir(source) as entries:
        for entry in entries:
            if entry.is_symlink() and os.path.realpath(entry.path).startswith(programs):
                (target / entry.name).symlink_to(os.readlink(entry.path))


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    path.write_bytes(data)
    path.chmod(0o644)
    shutil.chown(path, os.geteuid(), os.getegid())
