"""Whether a registry is asked for a container's image. Called by node.pulls; pure: what the store has is told.

The rules are the kubelet's (pkg/kubelet/images/image_manager.go, pkg/apis/core/v1/defaults.go), with one more: where
the manifest does not say a policy, an image that was brought in by hand is never looked for anywhere else.
"""

from __future__ import annotations

from typing import Literal

from minikube_lite.core.times import go_duration
from minikube_lite.spec.objects import Container

PullPolicy = Literal["Always", "IfNotPresent", "Never"]
Presence = Literal["absent", "by hand", "pulled"]
"""What the store has under the reference: nothing, what a person loaded or built, what came from a registry."""
Step = Literal["use", "compare", "pull", "refuse"]
"""Use what is there; ask the registry whether it still is the same, and download it if not; download it; give up."""


def pull_policy(container: Container) -> PullPolicy:
    """`imagePullPolicy`, by default Always for a tag that moves (`latest`, or none), else IfNotPresent."""
    match container.image_pull_policy:
        case "Always" | "IfNotPresent" | "Never" as written:
            return written
    name, _, digest = container.image.partition("@")
    tag = name.rpartition("/")[2].partition(":")[2]
    return "Always" if tag in ("", "latest") and not digest else "IfNotPresent"


def asks_anew(container: Container) -> bool:
    """Whether every start of the container, not only its first, looks for the image again: an image by name, Always."""
    image = container.image
    by_name = image != "host" and not image.startswith(("/", "./", "../")) and image not in (".", "..")
    return by_name and pull_policy(container) == "Always"


def pull_step(container: Container, presence: Presence) -> Step:
    """What to do for an image by name. (`host` and paths are files of this machine: no policy concerns them.)

    A person who has just loaded `app`, and writes `image: app`, means that one. Kubernetes' default for it is Always,
    which asks a registry that has never heard of it; with kind and minikube everybody meets `ErrImagePull` once for
    it. So the default yields to what was brought in by hand; a policy that is written does not.
    """
    if presence == "absent":
        return "refuse" if container.image_pull_policy == "Never" else "pull"
    if pull_policy(container) != "Always" or (presence == "by hand" and not container.image_pull_policy):
        return "use"
    return "compare"


def never_pulled(reference: str) -> str:
    """The kubelet's words for `refuse`."""
    return f'Container image "{reference}" is not present with pull policy of Never'


def pulled(reference: str, seconds: float, seconds_with_wait: float, size: int) -> str:
    """The kubelet's words for a pull that worked. `size`: bytes of the image."""
    took, waited = go_duration(seconds), go_duration(seconds_with_wait)
    return f'Successfully pulled image "{reference}" in {took} ({waited} including waiting). Image size: {size} bytes.'
