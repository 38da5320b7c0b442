"""The door of `images`: a reference goes in, an `Image` or an `ImageError` comes out. Called by node and cli.

What lies below the root, and in which module:

blobs/ partial/          parts of images as they travelled                     `blobs`
names/ used/             which image a name means, when it was last used       `names`, `inventory`
layers/ implied/         layers, unpacked by digest                            `layers`, `implied`
rootfs/ host/            other trees; tmp/ locks/ unsynced/ are of them all    `trees`, `local`, `host`
known/                   what was found at a path                              `local`
leases/ holds/ lock      what must not be removed                              `leases`

An image is whole when its name is there: blobs come first, then layers, then the name. Any number of threads and
processes may use one root at once, and be killed at any step.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from minikube_lite.images import forms, host, reference
from minikube_lite.images.blobs import BlobStore
from minikube_lite.images.copying import keep, look
from minikube_lite.images.image import Image, ImageError, NotPresent, unavailable
from minikube_lite.images.inventory import Inventory, StoredImage, StoreSource, repository
from minikube_lite.images.layers import KINDS, Layers
from minikube_lite.images.leases import Lease, Leases
from minikube_lite.images.local import Local
from minikube_lite.images.names import Named, Names
from minikube_lite.images.progress import Progress, nobody
from minikube_lite.images.reference import Remote
from minikube_lite.images.source import Source
from minikube_lite.images.trees import Trees

__all__ = ["Image", "ImageError", "ImageStore", "Lease", "NotPresent", "StoredImage"]


class ImageStore:
    """The images below `root`; made where missing. Any number of threads and processes may use one root at once."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.blobs = BlobStore(root)
        self._trees = Trees(root, ("rootfs", "host", *KINDS))
        self._layers = Layers(root, self._trees)
        self._names = Names(root)
        self._leases = Leases(root)
        self._local = Local(root, self._trees, self._layers, self._leases)
        self._inventory = Inventory(root, self.blobs, self._trees, self._layers, self._names, self._leases)
        self._host_mounts: dict[str, tuple[Mapping[str, Any], ...]] = {}
        """By version. Asked once: mountinfo is long with a thousand pods; a mount that comes later is just not seen."""

    # -- what a container runs on ------------------------------------------------------------------------------------

    def resolve(self, image: str, base_dir: Path) -> Image:
        """What the reference `image` in a manifest of `base_dir` runs on. May block for as long as layers unpack.

        Never pulls. Raises NotPresent where that is what it takes; other ImageErrors: `InvalidImageName` for what can
        never work, `ErrImagePull` for what may work later.
        """
        match reference.parse(image, base_dir):
            case reference.BuiltIn():
                return self._host(image)
            case reference.Local(path):
                return self._local.resolve(image, path, base_dir)
            case reference.Remote() as remote:
                named = self.known(remote)
                if named is None:
                    raise NotPresent(str(remote), _not_present(image, remote, base_dir))
                return self._unpacked(image, named)

    def is_cheap(self, image: str, base_dir: Path) -> bool:
        """Whether `resolve` would answer at once, be it with an error: it takes some stats."""
        try:
            match reference.parse(image, base_dir):
                case reference.BuiltIn():
                    return self._trees.has("host", host.fingerprint())
                case reference.Local(path):
                    return self._local.is_cheap(path)
                case reference.Remote() as remote if named := self.known(remote):
                    return all(
                        self._layers.has(diff_id) for diff_id in self._inventory.described(named.manifest)[1].diff_ids
                    )
        except (ImageError, OSError):
            pass  # `resolve` will say it
        return True

    # -- images with a name ------------------------------------------------------------------------------------------

    def find(self, name: str) -> StoredImage | None:
        """The image that `name` (as in a manifest, or short: `nginx`) means here; None where there is none.

        Raises ImageError `InvalidImageName`.
        """
        named = self.known(reference.remote(name))
        if named is None:
            return None
        return next(image for image in self.images() if named.name in image.names)

    def images(self) -> list[StoredImage]:
        """Every image that has a name, by its first name. One of which a part was lost is left out."""
        return self._inventory.images()

    def source(self, image: StoredImage) -> Source:
        """Gives out the parts of an image as they are stored: to push or to save it."""
        return StoreSource(self.blobs, image.manifest)

    def travel_size(self, named: Named) -> int:
        """Bytes of the image as a registry has it. Raises ImageError where it is not (whole) in the store."""
        manifest, _ = self._inventory.described(named.manifest)
        return manifest.size + manifest.config.size + sum(layer.size for layer in manifest.layers)

    def pull(
        self,
        name: str,
        source: Source,
        progress: Progress = nobody,
        *,
        at: str | None = None,
        by_hand: bool = False,
    ) -> StoredImage:
        """Bring in what `source` has under `at` (by default the tag or digest in `name`), unpack it, and name it.

        `by_hand`: the source is no registry, but what a person made.

        Of several that pull one name at once, one does it, and the others take what it brought. Raises ImageError.
        """
        remote = reference.remote(name)
        key = _key(remote)
        before = self._names.get(key)
        with self._pulling(key) as waited:
            now = self._names.get(key)
            if not (waited and now and now != before):
                self._bring(source, remote.digest or remote.tag if at is None else at, [key], progress, by_hand)
        return self._stored(key)

    def load(self, path: Path, progress: Progress = nobody, *, name: str | None = None) -> list[str]:
        """Bring in every image of a layout or archive (`path:name`: that one); returns the names, whole.

        An image that has only a tag there gets the name of the file or directory before it; `name` is for an image
        that should have another. Raises ImageError.
        """
        at, inner = forms.split_path(path)
        with self._local.open(at) as source:
            there = [inner] if inner else [found for found in source.names() if found] or [""]
            if name and len(there) > 1:
                raise unavailable(
                    f"`{at}` has several images, for one name (hint: put `:` and one of these after the path: "
                    f"{', '.join(f'`{found}`' for found in there)})"
                )
            names = [_key(reference.remote(name or forms.full_name(at, source, found))) for found in there]
            with self._local.named(at):
                for found, key in zip(there, names, strict=True):
                    self._bring(source, found, [key], progress, by_hand=True)
        return names

    def tag(self, name: str, new: str) -> str:
        """Give the image `name` a further name, taken from who has it; returns it, whole. Raises ImageError."""
        remote = reference.remote(new)
        if remote.digest:
            raise ImageError("InvalidImageName", f"`{new}` has a digest: that is not given, it is")
        with self._leases.shared():  # it must not lose its last name and its parts meanwhile
            named = self.known(reference.remote(name))
            if named is None:
                raise NotPresent(name, f"`{name}` is not on this machine")
            self._record(_key(remote), named.target, named.manifest, by_hand=True)
        return _key(remote)

    def remove(self, name: str) -> bool:
        """Take a name away; whether it was there. The image's parts go with the next `collect`."""
        named = self._named(reference.remote(name))
        return named is not None and self._names.remove(named.name)

    # -- what must stay ----------------------------------------------------------------------------------------------

    def lease(self, user: str, image: Image) -> None:
        """Note that `user` (at most 60 characters of any kind) is about to run on `image`: it stays until `release`.

        Again for the same user replaces what was. Raises NotPresent where a part is gone by now.
        """
        trees = [tree for layer in image.layers if (tree := self._tree(layer))]
        try:
            with self._leases.shared():
                for tree in trees:
                    if not (self.root / tree).is_dir():
                        raise NotPresent(image.reference, f"`{image.reference}` was removed just now")
                self._leases.put(user, image, trees)
            self._inventory.use(image.id)
        except OSError as error:
            raise unavailable(f"cannot note that `{image.reference}` is used: {error.strerror}") from error

    def release(self, user: str) -> None:
        """The user runs no more; twice is as good as once."""
        self._leases.release(user)

    def leases(self) -> Mapping[str, Lease]:
        """What is used, by user."""
        return self._leases.all()

    def sweep(self) -> None:
        """Remove what was being made when its maker was killed. For the node's start; twice is as good as once."""
        self._trees.sweep()
        self._local.sweep()
        self._names.sweep()
        self._leases.sweep()
        self.blobs.sweep()

    def collect(self) -> int:
        """Remove every part that no name, no lease and nobody at work needs; returns the bytes that the disk got back.

        What lies unpacked of images at paths goes too, unless it runs: it is unpacked again when it is wanted.
        """
        return self._inventory.collect({f"host/{host.fingerprint()}"})

    # -- inside ------------------------------------------------------------------------------------------------------

    def _host(self, image: str) -> Image:
        version = host.fingerprint()
        try:
            layer = self._trees.make("host", version, host.build)
            if version not in self._host_mounts:
                self._host_mounts[version] = host.mounts()
        except OSError as error:
            raise unavailable(f"cannot make the image `host` in `{self.root}`: {error.strerror}") from error
        return Image(image, f"sha256:{version}", (layer,), host.CONFIG, self._host_mounts[version])

    def known(self, remote: Remote) -> Named | None:
        """The record of the name; None where it is not on this machine, or has lost a part: it is to be pulled again.

        `nginx` is also podman's `localhost/nginx` where there is no other.
        """
        named = self._named(remote)
        return named if named and self._is_whole(named) else None

    def _named(self, remote: Remote) -> Named | None:
        if named := self._names.get(_key(remote)):
            return named
        if remote.digest:
            others = (named for named in self._names.all() if repository(named.name) == repository(_key(remote)))
            return next((named for named in others if remote.digest in (named.target, named.manifest)), None)
        if remote.domain == "docker.io" and remote.repository.startswith("library/"):
            return self._names.get(f"localhost/{remote.repository.removeprefix('library/')}:{remote.tag}")
        return None

    def _is_whole(self, named: Named) -> bool:
        """Whether it can be run: each layer is unpacked or can be. Only somebody else's hand can have taken a part."""
        try:
            manifest, config = self._inventory.described(named.manifest)
        except ImageError:
            return False
        layers = zip(config.diff_ids, manifest.layers, strict=True)
        return all(self._layers.has(diff_id) or self.blobs.has(layer.digest) for diff_id, layer in layers)

    def _unpacked(self, image: str, named: Named) -> Image:
        manifest, config = self._inventory.described(named.manifest)
        if all(self._layers.has(diff_id) for diff_id in config.diff_ids):
            with contextlib.suppress(FileNotFoundError):  # removed just now
                return Image(image, config.digest, self._layers.stack(config.diff_ids), config.config)
        with self._leases.hold() as hold:
            hold.image(named.target, manifest, config)
            self._layers.make_all(config.diff_ids, manifest.layers, StoreSource(self.blobs, manifest).blob)
            return Image(image, config.digest, self._layers.stack(config.diff_ids), config.config)

    def _bring(self, source: Source, wanted: str, names: Sequence[str], progress: Progress, by_hand: bool) -> None:
        """Copy, unpack, name: in this order, so that what has a name is whole."""
        found = look(source, wanted)
        with self._leases.hold() as hold:
            hold.image(found.target, found.manifest, found.config)
            stored = StoreSource(self.blobs, found.manifest)
            with self._layers.unpacking(stored.blob, progress) as unpack:
                keep(found, source, self.blobs, progress, arrived=unpack)
            for name in names:
                self._record(name, found.target, found.manifest.digest, by_hand)
            self._inventory.use(found.config.digest)

    def _record(self, name: str, target: str, manifest: str, by_hand: bool) -> None:
        try:
            self._names.put(name, target, manifest, by_hand=by_hand)
        except OSError as error:
            raise unavailable(f"cannot record `{name}` in `{self.root}`: {error.strerror}") from error

    def _stored(self, name: str) -> StoredImage:
        return next(image for image in self.images() if name in image.names)

    def _tree(self, layer: Path) -> str:
        """`<kind>/<name>` of the tree of ours that a layer is (in); "" for a directory of somebody else's."""
        if not layer.is_relative_to(self.root):
            return ""
        return "/".join(layer.relative_to(self.root).parts[:2])

    @contextlib.contextmanager
    def _pulling(self, name: str) -> Iterator[bool]:
        """Be the one who pulls this name; yields whether another was before us."""
        directory = self.root / "locks"
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        directory.mkdir(exist_ok=True)
        with open(directory / f"pull-{hashlib.sha256(name.encode()).hexdigest()}", "wb") as lock:
            waited = False
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                waited = True
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield waited


def _key(remote: Remote) -> str:
    """What the name is recorded under: where there is a digest the tag says nothing (as for Docker and the kubelet)."""
    return str(Remote(remote.domain, remote.repository, "" if remote.digest else remote.tag, remote.digest))


def _not_present(image: str, remote: Remote, base_dir: Path) -> str:
    if os.path.lexists(base_dir / image):
        return f"`{image}` is read as the registry image `{remote}` (hint: did you mean the path `./{image}`?)"
    return f"`{remote}` is not on this machine (hint: a path begins with `/`, `./` or `../`)"
