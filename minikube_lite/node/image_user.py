"""Whom a container runs as: the security context's word, else the image's, names looked up in the image.

Called by node.linux_runtime, which may read the image's layers; `core.oci` is told numbers.
"""

from __future__ import annotations

import os

from minikube_lite.core.oci import CannotRun
from minikube_lite.images.store import Image
from minikube_lite.spec.objects import Container, Pod, run_as


def image_user(pod: Pod, container: Container, image: Image) -> tuple[int, int, tuple[int, ...]]:
    """(uid, gid, further gids). Raises CannotRun where a name is not in the image, or root runs where it must not."""
    uid, gid = _from_image(str(image.config.get("User") or ""), image)
    wanted_uid, wanted_gid, groups = run_as(pod, container)
    if wanted_uid is not None:
        uid, gid = wanted_uid, 0
    if wanted_gid is not None:
        gid = wanted_gid
    if uid == 0 and _must_not_be_root(pod, container):
        raise CannotRun(
            "CreateContainerConfigError",
            f"container has runAsNonRoot and image will run as root (pod: {pod.key}, container: {container.name})",
        )
    return uid, gid, groups


def _must_not_be_root(pod: Pod, container: Container) -> bool:
    own, shared = container.security_context, pod.spec.security_context
    if own is not None and own.run_as_non_root is not None:
        return own.run_as_non_root
    return shared is not None and bool(shared.run_as_non_root)


def _from_image(user: str, image: Image) -> tuple[int, int]:
    """`uid`, `uid:gid`, `name` or `name:group`, as OCI image config.md has it for `User`."""
    if not user:
        return 0, 0
    name, _, group = user.partition(":")
    entry = _look_up(image, "etc/passwd", name)
    if name.isdigit():
        uid, gid = int(name), int(entry[3]) if entry else 0
    elif entry:
        uid, gid = int(entry[2]), int(entry[3])
    else:
        raise CannotRun("CreateContainerError", f"unable to find user {name}: no matching entries in passwd file")
    if group.isdigit():
        gid = int(group)
    elif group:
        found = _look_up(image, "etc/group", group)
        if not found:
            raise CannotRun("CreateContainerError", f"unable to find group {group}: no matching entries in group file")
        gid = int(found[2])
    return uid, gid


def _look_up(image: Image, file: str, name: str) -> list[str] | None:
    """The entry of this name (or number) in the topmost layer that has the file; never through a symlink out of it."""
    for layer in reversed(image.layers):
        try:
            descriptor = os.open(layer / file, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            continue
        with os.fdopen(descriptor, encoding="utf-8", errors="replace") as lines:
            for line in lines:
                fields = line.rstrip("\n").split(":")
                if len(fields) > 3 and name in (fields[0], fields[2]):
                    return fields
        return None
    return None
