"""Files into a tar archive and out of one, as kubectl cp does it: `cp` sends and gets archives. Called by commands.cp.

What comes out of a container is not to be trusted: no name leaves the place it is for, no symlink is ever made, and a
file is only ever a file (CVE-2018-1002100, CVE-2019-1002101, CVE-2019-11246, CVE-2019-11249, CVE-2019-11251).
"""

from __future__ import annotations

import os
import posixpath
import shutil
import stat
import tarfile
from collections.abc import Callable
from typing import IO

from minikube_lite.cli.errors import CliError

Warn = Callable[[str], None]


def pack(source: str, name: str, out: IO[bytes], warn: Warn) -> None:
    """Write the file or directory `source` as `name`; symlinks as such, directories only where they are empty.

    The headers of other directories would change owner and mode of those that are there already.
    """
    with tarfile.open(fileobj=out, mode="w|", format=tarfile.GNU_FORMAT) as archive:  # which busybox reads too
        _pack(archive, source, name, warn)


def _pack(archive: tarfile.TarFile, path: str, name: str, warn: Warn) -> None:
    mode = os.lstat(path).st_mode
    if stat.S_ISDIR(mode):
        entries = sorted(os.listdir(path))
        if not entries:
            archive.addfile(archive.gettarinfo(path, name))
        for entry in entries:
            _pack(archive, os.path.join(path, entry), posixpath.join(name, entry), warn)
    elif stat.S_ISLNK(mode):
        archive.addfile(archive.gettarinfo(path, name))
    elif stat.S_ISREG(mode):
        with open(path, "rb") as file:
            archive.addfile(archive.gettarinfo(arcname=name, fileobj=file), file)
    else:
        warn(f"warning: skipping {path!r}: neither a file nor a directory")


class Unpacker:
    """Puts an archive of `prefix` (a path in the container, no slash before it) at `target` on this machine."""

    def __init__(self, prefix: str, target: str, warn: Warn, *, preserve: bool, advice: str) -> None:
        """`preserve`: permission bits are those of the container's files. `advice`: how to get symlinks."""
        self._prefix = prefix
        self._target = target
        self._warn = warn
        self._preserve = preserve
        self._advice = advice
        self._files: dict[str, str] = {}
        """Name in the archive → path, of the files so far: what a hard link may lead to."""

    def unpack(self, source: IO[bytes]) -> None:
        """Raises CliError for an archive that is not what was asked for, OSError where it cannot be written."""
        try:
            with tarfile.open(fileobj=source, mode="r|") as archive:
                for member in archive:
                    self._take(archive, member)
        except tarfile.TarError as error:
            raise CliError(f"tar contents corrupted: {error}") from error

    def _take(self, archive: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        path = self._place(member.name)
        if path is None:
            return
        if member.isdir():
            os.makedirs(path, exist_ok=True)
            return
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        if member.issym():
            self._warn(f'warning: skipping symlink: "{path}" -> "{member.linkname}"{self._advice}')
            self._advice = ""
        elif member.islnk():
            linked = self._files.get(posixpath.normpath(member.linkname))
            if linked is None:
                self._warn(f'warning: skipping hard link: "{path}" -> "{member.linkname}"')
            else:
                shutil.copy(linked, path)
        elif member.isreg():
            self._write(archive, member, path)
        else:
            self._warn(f'warning: skipping "{path}": neither a file nor a directory')

    def _place(self, name: str) -> str | None:
        """Where this member goes; None, with a warning, where that would be outside of the target."""
        if self._prefix and name != self._prefix and not name.startswith(self._prefix + "/"):
            raise CliError(f'tar contents corrupted: "{name}" is not part of "{self._prefix}"')
        rest = name[len(self._prefix) :].strip("/")
        if ".." in rest.split("/") or "\0" in rest:
            shown = os.path.normpath(os.path.join(self._target, rest))
            self._warn(f'warning: file "{shown}" is outside target destination, skipping')
            return None
        return os.path.join(self._target, os.path.normpath(rest)) if rest else self._target

    def _write(self, archive: tarfile.TarFile, member: tarfile.TarInfo, path: str) -> None:
        if os.path.isdir(path) and posixpath.normpath(member.name) == self._prefix:
            path = os.path.join(path, posixpath.basename(self._prefix))  # one file, and the target is a directory
        content = archive.extractfile(member)
        assert content is not None
        mode = member.mode & 0o777 if self._preserve else 0o666
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        with os.fdopen(descriptor, "wb") as file:
            shutil.copyfileobj(content, file)
        self._files[posixpath.normpath(member.name)] = path
