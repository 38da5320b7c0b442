"""The nouns that deciding works on: what was asked for, what was seen, what to do.

`node` builds `PodDesired` and `PodObserved`, `core.plan.plan` turns them into a `Plan`, `node` carries its
actions out. All values are frozen; every instant named `…_at` is seconds of CLOCK_BOOTTIME unless its name ends
in `_wall` (seconds since the epoch, for display only).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from minikube_lite.spec.objects import Pod


@dataclass(frozen=True, slots=True)
class Policy:
    """The node's settings that deciding needs. Durations in seconds."""

    backoff_initial: float = 1.0
    backoff_max: float = 60.0
    backoff_forgive: float = 120.0
    """A run at least this long forgives the failures before it."""
    image_backoff_initial: float = 10.0
    image_backoff_max: float = 300.0
    """Between two tries to bring an image in (the kubelet's numbers)."""
    parallel_pulls: int = 3
    """How many images are brought in at once (the kubelet's maxParallelImagePulls; 1 is its serializeImagePulls)."""


@dataclass(frozen=True, slots=True)
class PodDesired:
    """One pod as the manifests directory asks for it; `pod` is validated and defaulted."""

    pod: Pod
    source: str
    """The manifest file it stands in, for messages."""
    inputs: int = 0
    """Version of what the pod refers to (ConfigMaps, Secrets): another number, other content."""


@dataclass(frozen=True, slots=True)
class Exit:
    """How one run of a container ended, from the shim's exit record."""

    code: int
    """As a shell shows it: the exit status, or 128 + signal."""
    signal: int = 0
    oom_killed: bool = False
    started_at: float = 0.0
    finished_at: float = 0.0
    started_wall: float = 0.0
    finished_wall: float = 0.0
    message: str = ""
    """Why, where something is known beyond the code (last log lines, "the shim was killed")."""
    reason: str = ""
    """Set where the run ended for a cause of its own (`ContainerCannotRun`, `ContainerStatusUnknown`); else derived."""


@dataclass(frozen=True, slots=True)
class Failure:
    """The last failed try to make something (an image, a container, a sandbox); cleared by success."""

    reason: str
    """Kubernetes' word: `ErrImagePull`, `InvalidImageName`, `CreateContainerError`, `FailedCreatePodSandBox`, …"""
    message: str
    at: float
    count: int = 1
    """Consecutive failed tries; back-off is derived from it."""
    inputs: int = 0
    """`PodDesired.inputs` that it failed with: with others it is tried again at once."""


@dataclass(frozen=True, slots=True)
class Stop:
    """A stop under way: the signal has been sent at `at`; at `deadline` the container is killed."""

    at: float
    deadline: float
    reason: str
    killed: bool = False


ImageState = Literal["absent", "pulling", "ready"]


@dataclass(frozen=True, slots=True)
class ContainerObserved:
    """One container of a pod, as records, exit files and pidfds show it."""

    name: str
    state: Literal["waiting", "running", "exited"] = "waiting"
    restart_count: int = 0
    """Number of starts after the first; stored before the start, never goes down."""
    ever_started: bool = False
    """Whether any start was recorded (a restart_count of 0 does not tell)."""
    hash: str = ""
    """`core.hashes.container_hash` of the spec this run was started with; "" before the first. After a start that
    failed (`create_failure`): of the spec that it was tried with."""
    resources: str = ""
    """`core.hashes.resources_hash` of what was last applied to its cgroup."""
    image: ImageState = "absent"
    image_reference: str = ""
    """The reference that `image` speaks of."""
    image_failure: Failure | None = None
    image_id: str = ""
    image_healthcheck: bool = False
    """Whether the image has a health check; Kubernetes ignores it, and so do we, but say so."""
    stop_signal: int = 15
    """What the present run is asked to end with: the image's StopSignal, else SIGTERM."""
    pid: int = 0
    started_at: float = 0.0
    started_wall: float = 0.0
    exit: Exit | None = None
    """How the current run ended; set when `state` is `exited`."""
    last_exit: Exit | None = None
    """How the run before the current one ended (`lastState`)."""
    failures: int = 0
    """Consecutive short runs before the current one, as stored at its start; back-off is derived from it. After a
    start that failed: those of the start that was tried."""
    create_failure: Failure | None = None
    stop: Stop | None = None
    """Belongs to one run: kept when that run exits (so that a run which we ended is told from one that ended itself),
    cleared by the next start."""


@dataclass(frozen=True, slots=True)
class SandboxObserved:
    """The pod's namespaces and cgroup. `ready` is false once any of it is gone (a reboot, an unmount by hand)."""

    ready: bool
    hash: str
    """`core.hashes.sandbox_hash` of the pod it was made for."""
    resources: str = ""
    """`core.hashes.pod_resources_hash` of what was last applied to the pod's cgroup."""


@dataclass(frozen=True, slots=True)
class VolumesObserved:
    """The pod's volumes, if it has any."""

    ready: bool = False
    """Whether they were all there once. Only then does anything start; what is lost later stops nothing."""
    fresh: bool = False
    """Whether they show what they should; a changed label takes it back."""
    inputs: int = 0
    """`PodDesired.inputs` that they were last set up with: with others they are written anew."""
    busy: bool = False
    """Whether they are being set up now, in the background."""
    failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class Termination:
    """The pod is going: nothing starts any more, all of it dies by `deadline`."""

    at: float
    deadline: float
    reason: Literal["Deleted", "Replaced"]
    at_wall: float = 0.0


@dataclass(frozen=True, slots=True)
class Eviction:
    """The pod took more than it may have: it is killed and stays as it is, `Failed`, until its manifest changes."""

    message: str
    at_wall: float = 0.0


@dataclass(frozen=True, slots=True)
class PodObserved:
    """One pod as this machine has it. `pod` is the spec it was last accepted with."""

    uid: str
    pod: Pod
    source: str = ""
    created_wall: float = 0.0
    sandbox: SandboxObserved | None = None
    sandbox_failure: Failure | None = None
    volumes: VolumesObserved = VolumesObserved()
    containers: Mapping[str, ContainerObserved] = field(default_factory=dict)
    evicted: Eviction | None = None
    termination: Termination | None = None
    grace_override: float | None = None
    """Seconds of grace that `delete --grace-period` asked for."""
    generation: int = 1
    """Counts the changes of `pod.spec` since the pod was created (metadata.generation)."""


@dataclass(frozen=True, slots=True)
class CreatePod:
    """Give the pod a uid and a record. Nothing of the kernel's yet."""


@dataclass(frozen=True, slots=True)
class AcceptSpec:
    """Store the desired pod as the accepted one (a label edit does only this)."""


@dataclass(frozen=True, slots=True)
class CreateSandbox:
    """Make namespaces and the pod's cgroup."""


@dataclass(frozen=True, slots=True)
class SetUpVolumes:
    """Make the pod's volumes, or what is missing of them, and write anew what shows something that has changed."""


@dataclass(frozen=True, slots=True)
class PullImage:
    """Bring the container's image in; runs in the background, the key comes back when it is done."""

    container: str


@dataclass(frozen=True, slots=True)
class StartContainer:
    """Record `restart_count` and `failures`, then start. `reason` says why for the event (`""` for a first start)."""

    container: str
    restart_count: int
    failures: int
    reason: str = ""


@dataclass(frozen=True, slots=True)
class StopContainer:
    """Record the deadline, then send the stop signal (the image's, else SIGTERM)."""

    container: str
    deadline: float
    reason: str


@dataclass(frozen=True, slots=True)
class KillContainer:
    """Kill everything in the container's cgroup, now."""

    container: str
    reason: str


@dataclass(frozen=True, slots=True)
class ForgetContainer:
    """A container that the spec no longer names has stopped: remove its record, files and logs."""

    container: str


@dataclass(frozen=True, slots=True)
class UpdateResources:
    """Write changed limits to the running container's cgroup. `container` "" means the pod's own cgroup together with
    those of its running containers, in the order that the direction needs (v1: widen top-down, narrow bottom-up)."""

    container: str = ""


@dataclass(frozen=True, slots=True)
class BeginTermination:
    """Record that the pod goes, and by when."""

    deadline: float
    reason: Literal["Deleted", "Replaced"]


@dataclass(frozen=True, slots=True)
class RemovePod:
    """Everything is dead: remove sandbox, cgroups, files and the record."""

    reason: Literal["Deleted", "Replaced"]


Action = (
    CreatePod
    | AcceptSpec
    | CreateSandbox
    | SetUpVolumes
    | PullImage
    | StartContainer
    | StopContainer
    | KillContainer
    | ForgetContainer
    | UpdateResources
    | BeginTermination
    | RemovePod
)


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do now, in order, and when to look again even if nothing happens (CLOCK_BOOTTIME, None: never)."""

    actions: tuple[Action, ...] = ()
    wake_at: float | None = None
