"""Gives a volume to the pod's fsGroup. Called by node.volumes for the kinds that are the pod's own.

As the kubelet's `SetVolumeOwnership` (pkg/volume/volume_linux.go): the group becomes the owner of everything, may read
and write it (read-only volumes: read), and what is made in a directory later belongs to the group too (setgid).
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

READ_WRITE, READ_ONLY = 0o660, 0o440
DIRECTORY = stat.S_ISGID | 0o110


def give(root: Path, group: int | None, *, read_only: bool = False, only_if_wrong: bool = False) -> None:
    """Give all of `root` to the group; None: nothing. `only_if_wrong`: fsGroupChangePolicy OnRootMismatch. OSError."""
    if group is None:
        return
    mask = READ_ONLY if read_only else READ_WRITE
    if only_if_wrong and _is_given(root, group, mask):
        return
    # The root comes last: a walk that is broken off is begun anew, whatever the policy says.
    top = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for _, directories, files, directory in os.fwalk(".", topdown=False, follow_symlinks=False, dir_fd=top):
            for name in files:
                _give_entry(name, directory, group, mask)
            for name in directories:
                _give_entry(name, directory, group, mask)
        _give_open(top, group, mask | DIRECTORY)
    finally:
        os.close(top)


def _is_given(root: Path, group: int, mask: int) -> bool:
    found = os.stat(root)
    wanted = mask | DIRECTORY
    return found.st_gid == group and found.st_mode & wanted == wanted


def _give_entry(name: str, directory: int, group: int, mask: int) -> None:
    """One entry, never what a symlink leads to: containers may be at work in the volume."""
    try:
        entry = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    except FileNotFoundError:
        return
    try:
        mode = os.fstat(entry).st_mode
        if stat.S_ISLNK(mode):
            os.chown(name, -1, group, dir_fd=directory, follow_symlinks=False)
        else:
            _give_open(entry, group, mask | DIRECTORY if stat.S_ISDIR(mode) else mask)
    finally:
        os.close(entry)


def _give_open(fd: int, group: int, mask: int) -> None:
    path = f"/proc/self/fd/{fd}"
    mode = stat.S_IMODE(os.fstat(fd).st_mode)  # before chown(2), which clears setuid and setgid
    os.chown(path, -1, group)
    os.chmod(path, mode | mask)
