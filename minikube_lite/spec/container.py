"""One container as a value, and what it is made of. Part of `spec.objects`, which everybody else imports."""

from __future__ import annotations

from pydantic import Field, model_validator

from minikube_lite.spec.environment import EnvFromSource, EnvVarSource
from minikube_lite.spec.model import Bool, Int, Json, Model
from minikube_lite.spec.quantity import Quantity
from minikube_lite.spec.security import AppArmorProfile, SeccompProfile
from minikube_lite.spec.view import complete_requests
from minikube_lite.spec.volumes import VolumeMount


class EnvVar(Model):
    """One variable. `value` may hold `$(OTHER)` references (core.expansion)."""

    name: str
    value: str = ""
    value_from: EnvVarSource | None = None


class ContainerPort(Model):
    """A port that the container says it listens on: information, nothing is opened or closed by it."""

    container_port: Int
    name: str = ""
    protocol: str = "TCP"
    host_port: Int | None = None
    host_ip: str = Field("", alias="hostIP")


class ResourceRequirements(Model):
    """`limits` are enforced, `requests` weigh when CPUs are short. A limit without a request is its own request."""

    limits: dict[str, Quantity] = Field(default_factory=dict)
    requests: dict[str, Quantity] = Field(default_factory=dict)
    claims: Json = None

    @model_validator(mode="after")
    def _requests_default_to_limits(self) -> ResourceRequirements:
        completed = complete_requests(self.limits, self.requests)
        if len(completed) > len(self.requests):
            object.__setattr__(self, "requests", completed)
            self.__pydantic_fields_set__.add("requests")
        return self


class Capabilities(Model):
    """Names without `CAP_`; `ALL` stands for all of them."""

    add: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()


class SecurityContext(Model):
    """A container's own; where a field is None the pod's holds (`spec.objects.run_as`)."""

    run_as_user: Int | None = None
    run_as_group: Int | None = None
    run_as_non_root: Bool | None = None
    capabilities: Capabilities | None = None
    allow_privilege_escalation: Bool | None = None
    read_only_root_filesystem: Bool | None = None
    privileged: Bool | None = None
    proc_mount: str | None = None
    se_linux_options: Json = None
    seccomp_profile: SeccompProfile | None = None
    app_armor_profile: AppArmorProfile | None = None
    windows_options: Json = None


class Container(Model):
    """One container. `command` takes the place of the image's entrypoint, `args` of its arguments."""

    name: str
    image: str = ""
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    working_dir: str = ""
    env: tuple[EnvVar, ...] = ()
    env_from: tuple[EnvFromSource, ...] = ()
    ports: tuple[ContainerPort, ...] = ()
    resources: ResourceRequirements = ResourceRequirements()
    resize_policy: Json = None
    image_pull_policy: str = ""
    security_context: SecurityContext | None = None
    volume_mounts: tuple[VolumeMount, ...] = ()
    volume_devices: Json = None
    liveness_probe: Json = None
    readiness_probe: Json = None
    startup_probe: Json = None
    lifecycle: Json = None
    restart_policy: str | None = None
    restart_policy_rules: Json = None
    stdin: Bool = False
    stdin_once: Bool = False
    tty: Bool = False
    termination_message_path: str = "/dev/termination-log"
    termination_message_policy: str = "File"
