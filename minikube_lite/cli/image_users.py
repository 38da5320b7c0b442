"""Which pods run on an image. Called by `image remove` and `image prune`, which need no node for it."""

from __future__ import annotations

import json

from minikube_lite.cli.session import Session

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minikube_lite.images.store import ImageStore, StoredImage


def users_of(session: Session, store: ImageStore, image: StoredImage) -> list[str]:
    """`pod default/web` for each, by the leases that the node has taken; a lease of nobody known under its own name."""
    users = [lease.user for lease in store.leases().values() if lease.id == image.id]
    return sorted({_pod(session, user) for user in users})


def _pod(session: Session, user: str) -> str:
    """The node's leases begin with the pod's uid, which its record is kept under."""
    try:
        uid = next(uid for path in session.paths.pods.iterdir() if user.startswith(uid := path.name))
        metadata = json.loads((session.paths.pod_state(uid) / "pod.json").read_bytes())["metadata"]
        return f"pod {metadata.get('namespace') or 'default'}/{metadata['name']}"
    except (OSError, StopIteration, ValueError, KeyError):
        return user  # it has just gone, or was never a pod
