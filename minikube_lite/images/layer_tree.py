"""Writes one layer of an image, with its marks of what is deleted, into overlayfs' own form. Called by layers.

What a layer deletes stands in it as `.wh.NAME`, and `.wh..wh..opq` where all that a directory had below it is gone (OCI
layer.md "Whiteouts"). Overlayfs wants a character device 0:0, and the attribute trusted.overlay.opaque
(Documentation/filesystems/overlayfs.rst). Both hide what is in lower layers only, never what is in the same one.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from minikube_lite.images import tar
from minikube_lite.images.archive import ArchiveError
from minikube_lite.images.tree import Parts, Tree, show, split

_PREFIX, _OPAQUE, _AUFS = b".wh.", b".wh..wh..opq", b".wh..wh."


class LayerTree(Tree):
    """The directory being filled with a layer. Needs root: others may not set trusted attributes."""

    def __init__(self, target: Path) -> None:
        super().__init__(target)
        self.opaque = False
        """The layer hides all that is below it: overlayfs does not look for the mark at a layer's own top."""
        self._whiteouts: set[Parts] = set()

    def add(self, parts: Parts, member: tar.Member, reader: tar.Reader) -> None:
        if any(part.startswith(_AUFS) and part != _OPAQUE for part in parts):  # aufs' own books, of no use here
            reader.skip(member.size)
        elif any(part.startswith(_PREFIX) for part in parts[:-1]):
            raise ArchiveError(f"its member {show(parts)} is below a mark of a deleted file")
        elif parts and parts[-1].startswith(_PREFIX):
            reader.skip(member.size)
            if parts[-1] == _OPAQUE:
                self._hide_all(parts[:-1])
            else:
                self._hide(parts[:-1], parts[-1].removeprefix(_PREFIX))
        else:
            if member.kind == tar.LINK and split(member.link) in self._whiteouts:
                raise ArchiveError(f"its hard link {show(parts)} leads to {show(split(member.link))}, a deleted file")
            super().add(parts, member, reader)
            if parts in self._whiteouts:
                self._whiteouts.remove(parts)
                if member.kind == tar.DIRECTORY:
                    self._hide_all(parts)

    def _hide(self, parent: Parts, name: bytes) -> None:
        if name in (b"", b".", b".."):
            raise ArchiveError(f"its member {show((*parent, _PREFIX + name))} deletes no name")
        at = self._enter(parent)
        try:
            found = os.stat(name, dir_fd=at, follow_symlinks=False)
        except FileNotFoundError:
            os.mknod(name, stat.S_IFCHR, os.makedev(0, 0), dir_fd=at)
            self._whiteouts.add((*parent, name))
        else:
            if stat.S_ISDIR(found.st_mode):
                self._hide_all((*parent, name))

    def _hide_all(self, parts: Parts) -> None:
        if not parts:
            self.opaque = True
        os.setxattr(self._enter(parts), "trusted.overlay.opaque", b"y")

    def _open_directory(self, parent: int, parts: Parts) -> int:
        if parts not in self._whiteouts:
            return super()._open_directory(parent, parts)
        os.unlink(parts[-1], dir_fd=parent)  # deleted below, and made anew by what is in it
        self._whiteouts.remove(parts)
        descriptor = super()._open_directory(parent, parts)
        os.setxattr(descriptor, "trusted.overlay.opaque", b"y")
        return descriptor
