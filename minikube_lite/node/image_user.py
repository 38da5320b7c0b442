"""Whom a container runs as: the security context's word, else the image's, names looked up in the image.

Called by node.linux_runtime, which may read the image's layers; `core.oci` is told numbers. As containerd's CRI does it
(oci.WithUser, WithAdditionalGIDs): a uid that the image's /etc/passwd knows brings its group along, and every group of
/etc/group that has the user as a member counts too, unless `supplementalGroupsPolicy` is Strict.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

from minikube_lite.core.oci import CannotRun
from minikube_lite.images.store import Image
from minikube_lite.images.view import View
from minikube_lite.spec.objects import Container, Pod, run_as

FILE_MAX = 4 << 20
"""Bytes of /etc/passwd and /etc/group that are read: an image may hold anything."""


@dataclass(frozen=True, slots=True)
class _Account:
    name: str
    uid: int
    gid: int


def image_user(pod: Pod, container: Container, image: Image, pod_uid: str = "") -> tuple[int, int, tuple[int, ...]]:
    """(uid, gid, further gids). Raises CannotRun where a name is not in the image, or root runs where it must not.

    A name in the image says nothing to `runAsNonRoot`: the image's own /etc/passwd could make it root (kubelet
    `verifyRunAsNonRoot`, whose words these are).
    """
    wanted_uid, wanted_gid, groups = run_as(pod, container)
    try:
        with View(image.layers) as view:
            user = str(image.config.get("User") or "") if wanted_uid is None else str(wanted_uid)
            account, gid = _account(view, user)
            members = () if _is_strict(pod) else tuple(_member_of(view, account))
    except OSError as error:
        raise CannotRun("CreateContainerError", f"cannot look up the user in the image: {error.strerror}") from error
    if wanted_gid is not None:
        gid = wanted_gid
    if _must_not_be_root(pod, container):
        why = ""
        if account.uid == 0:
            why = "image will run as root"
        elif wanted_uid is None and not _is_number(user.partition(":")[0]):
            why = f"image has non-numeric user ({user.partition(':')[0]}), cannot verify user is non-root"
        if why:
            where = f'"{pod.metadata.name}_{pod.metadata.namespace}({pod_uid})", container: {container.name}'
            raise CannotRun("CreateContainerConfigError", f"container has runAsNonRoot and {why} (pod: {where})")
    return account.uid, gid, tuple(dict.fromkeys((*groups, *members)))


def _must_not_be_root(pod: Pod, container: Container) -> bool:
    own, shared = container.security_context, pod.spec.security_context
    if own is not None and own.run_as_non_root is not None:
        return own.run_as_non_root
    return shared is not None and bool(shared.run_as_non_root)


def _is_strict(pod: Pod) -> bool:
    context = pod.spec.security_context
    return context is not None and context.supplemental_groups_policy == "Strict"


def _account(view: View, user: str) -> tuple[_Account, int]:
    """The account and the group of `uid`, `uid:gid`, `name` or `name:group` (OCI image config.md, `User`)."""
    name, _, group = user.partition(":")
    found = next((item for item in _passwd(view) if name in (item.name, str(item.uid))), None)
    if _is_number(name or "0"):
        account = found or _Account("", int(name or 0), 0)
    elif found is not None:
        account = found
    else:
        raise CannotRun("CreateContainerError", f"unable to find user {name}: no matching entries in passwd file")
    if not group:
        return account, account.gid
    if _is_number(group):
        return account, int(group)
    gid = next((gid for known, gid, _ in _groups(view) if known == group), None)
    if gid is None:
        raise CannotRun("CreateContainerError", f"unable to find group {group}: no matching entries in group file")
    return account, gid


def _member_of(view: View, account: _Account) -> Iterator[int]:
    return (gid for _, gid, members in _groups(view) if account.name and account.name in members)


def _passwd(view: View) -> Iterator[_Account]:
    for fields in _entries(view, "etc/passwd", 4):
        if _is_number(fields[2]) and _is_number(fields[3]):
            yield _Account(fields[0], int(fields[2]), int(fields[3]))


def _groups(view: View) -> Iterator[tuple[str, int, list[str]]]:
    for fields in _entries(view, "etc/group", 3):
        if _is_number(fields[2]):
            yield fields[0], int(fields[2]), fields[3].split(",") if len(fields) > 3 else []


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and int(text) < (1 << 32) - 1


def _entries(view: View, path: str, least: int) -> Iterator[list[str]]:
    """The lines with at least so many fields; none where the image has no such file."""
    try:
        with view.open(path) as descriptor:
            text = os.read(descriptor, FILE_MAX).decode("utf-8", "replace")
    except FileNotFoundError:
        return
    for line in text.splitlines():
        fields = line.strip().split(":")
        if len(fields) >= least:
            yield fields
