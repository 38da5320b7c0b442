"""Every field of Kubernetes' Pod and what minikube-lite does about it: the one place that says so.

`spec.walk` checks documents against it, docs/generate_reference.py makes the manifest reference of it. Names and types
are those of Kubernetes 1.32 and of what came since.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import Any

from minikube_lite.spec.config_fields import CONFIG_FIELDS, CONFIG_PLACES
from minikube_lite.spec.nested import NESTED
from minikube_lite.spec.volume_fields import VOLUME_FIELDS, VOLUME_PLACES


class Verdict(Enum):
    """What becomes of a field that is set."""

    HONOURED = "honoured"
    IGNORED = "ignored"
    """Only a scheduler or a cluster reads it: accepted, and listed."""
    NOT_YET = "not yet"
    """Nothing unsafe comes of its loss: a warning names it."""
    REFUSED = "refused"
    """Its silent loss would run the pod with more rights than it asks for, or without its data: an error."""


HONOURED, IGNORED, NOT_YET, REFUSED = Verdict.HONOURED, Verdict.IGNORED, Verdict.NOT_YET, Verdict.REFUSED


@dataclass(frozen=True, slots=True)
class Type:
    """`kind`: string, secret (a string never shown), int, bool, int-or-string, quantity, any, list, map or object
    (`name` says which)."""

    kind: str
    name: str = ""
    item: Type | None = None

    def __str__(self) -> str:
        if self.kind == "list":
            return f"list of {self.item}"
        if self.kind == "map":
            return f"mapping to {self.item}"
        return self.name or {"secret": "string"}.get(self.kind, self.kind)


@dataclass(frozen=True, slots=True)
class Field:
    """One field of an object."""

    name: str
    type: Type
    verdict: Verdict = HONOURED
    note: str = ""
    required: bool = False
    harmless: tuple[Any, ...] = ()
    """Values with which nothing is lost, though the field is not honoured. Empty ones never lose anything."""
    one_of: tuple[str, ...] = ()


_SCALARS = ("string", "secret", "int", "bool", "int-or-string", "quantity", "any")
_TYPES: dict[str, Type] = {kind: Type(kind) for kind in _SCALARS}


def parse_type(text: str) -> Type:
    """`[string]`, `{quantity}`, `Probe` → Type."""
    found = _TYPES.get(text)
    if found is None:
        if text[0] == "[":
            found = Type("list", item=parse_type(text[1:-1]))
        elif text[0] == "{":
            found = Type("map", item=parse_type(text[1:-1]))
        else:
            found = Type("object", text)
        _TYPES[text] = found
    return found


def _field(
    name: str,
    type_: str,
    verdict: Verdict = HONOURED,
    note: str = "",
    *,
    harmless: tuple[Any, ...] = (),
    one_of: tuple[str, ...] = (),
) -> Field:
    required = name.endswith("!")
    return Field(name.rstrip("!"), parse_type(type_), verdict, note, required, harmless, one_of)


_POD = (
    _field("apiVersion!", "string", one_of=("v1",)),
    _field("kind!", "string", one_of=("Pod",)),
    _field("metadata!", "ObjectMeta"),
    _field("spec!", "PodSpec"),
    _field("status", "any", IGNORED, "what a cluster had to say about the pod", harmless=({},)),
)

_OBJECT_META = (
    _field("name", "string", note="a DNS subdomain of at most 253 characters; with the namespace, the pod's identity"),
    _field("namespace", "string", note="a DNS label; `default` where it is missing"),
    _field("labels", "{string}"),
    _field("annotations", "{string}"),
    _field("generateName", "string", IGNORED, "refused where there is no `name`: the directory is the database"),
    _field("creationTimestamp", "string", IGNORED, "written by an API server"),
    _field("deletionGracePeriodSeconds", "int", IGNORED, "written by an API server"),
    _field("deletionTimestamp", "string", IGNORED, "written by an API server"),
    _field("finalizers", "[string]", IGNORED, "there is no controller that would remove them"),
    _field("generation", "int", IGNORED, "written by an API server"),
    _field("managedFields", "[ManagedFieldsEntry]", IGNORED, "written by an API server"),
    _field("ownerReferences", "[OwnerReference]", IGNORED, "nothing here owns a pod but its file"),
    _field("resourceVersion", "string", IGNORED, "written by an API server"),
    _field("selfLink", "string", IGNORED, "written by an API server"),
    _field("uid", "string", IGNORED, "each pod gets one when it is made"),
)

_POD_SPEC = (
    _field("containers!", "[Container]", note="at least one; all run side by side"),
    _field("restartPolicy", "string", one_of=("Always", "OnFailure", "Never"), note="`Always` where it is missing"),
    _field("terminationGracePeriodSeconds", "int", note="from SIGTERM to SIGKILL; 30 where it is missing"),
    _field("hostname", "string", note="a DNS label; the pod's name where it is missing"),
    _field("hostNetwork", "bool", note="the machine's own network and host name"),
    _field("hostPID", "bool", note="sees the machine's processes"),
    _field("hostIPC", "bool", note="the machine's own System V IPC, message queues and /dev/shm"),
    _field("shareProcessNamespace", "bool", note="the containers see each other's processes"),
    _field("securityContext", "PodSecurityContext"),
    _field(
        "dnsPolicy",
        "string",
        one_of=("ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"),
        note="there is no cluster DNS: all but `None` give the machine's /etc/resolv.conf",
    ),
    _field("dnsConfig", "PodDNSConfig", note="on top of what `dnsPolicy` gives"),
    _field("hostAliases", "[HostAlias]", note="lines of /etc/hosts"),
    _field("hostnameOverride", "string", note="the host name as it stands, at most 64 characters"),
    _field("setHostnameAsFQDN", "bool", note="the host name is the whole name, at most 64 characters"),
    _field("subdomain", "string", note="/etc/hosts knows the pod by `hostname.subdomain.namespace.svc.cluster.local`"),
    _field("initContainers", "[Container]", REFUSED, "the containers would start without what these prepare"),
    _field("ephemeralContainers", "[EphemeralContainer]", REFUSED, "they are added to a running pod, never written"),
    _field("volumes", "[Volume]", note="see docs/volumes.md; a change of them makes a new pod"),
    _field("activeDeadlineSeconds", "int", NOT_YET, "the pod is not stopped when this time is over"),
    _field("hostUsers", "bool", REFUSED, "root in the containers would be root of the machine", harmless=(True,)),
    _field("readinessGates", "[PodReadinessGate]", NOT_YET, "the pod is Ready when its containers are"),
    _field("resourceClaims", "[PodResourceClaim]", REFUSED, "the containers would lack the devices they need"),
    _field("resources", "ResourceRequirements", REFUSED, "the pod would run without the limit it asks for"),
    _field(
        "imagePullSecrets",
        "[LocalObjectReference]",
        note="Secrets of the types `kubernetes.io/dockerconfigjson` and `kubernetes.io/dockercfg`",
    ),
    _field("runtimeClassName", "string", REFUSED, "the pod would run without the isolation it asks for"),
    _field("os", "PodOS"),
    _field("affinity", "Affinity", IGNORED, "there is one node"),
    _field("automountServiceAccountToken", "bool", IGNORED, "there are no service accounts"),
    _field("enableServiceLinks", "bool", IGNORED, "there are no services"),
    _field("evictionResponders", "[EvictionResponder]", IGNORED, "nothing is evicted"),
    _field("nodeName", "string", IGNORED, "there is one node"),
    _field("nodeSelector", "{string}", IGNORED, "there is one node"),
    _field("overhead", "{quantity}", IGNORED, "the scheduler's"),
    _field("preemptionPolicy", "string", IGNORED, "nothing is preempted"),
    _field("priority", "int", IGNORED, "nothing is preempted"),
    _field("priorityClassName", "string", IGNORED, "nothing is preempted"),
    _field("schedulerName", "string", IGNORED, "there is no scheduler"),
    _field("schedulingGates", "[PodSchedulingGate]", IGNORED, "there is no scheduler"),
    _field("schedulingGroup", "PodSchedulingGroup", IGNORED, "there is no scheduler"),
    _field("serviceAccount", "string", IGNORED, "there are no service accounts"),
    _field("serviceAccountName", "string", IGNORED, "there are no service accounts"),
    _field("tolerations", "[Toleration]", IGNORED, "there is one node"),
    _field("topologySpreadConstraints", "[TopologySpreadConstraint]", IGNORED, "there is one node"),
    _field("workloadRef", "any", IGNORED, "there is no scheduler"),
)

_HOST_ALIAS = (
    _field("ip!", "string", note="IPv4 or IPv6"),
    _field("hostnames", "[string]"),
)

_POD_DNS_CONFIG = (
    _field("nameservers", "[string]", note="addresses; three in all"),
    _field("searches", "[string]", note="domains; 32 in all"),
    _field("options", "[PodDNSConfigOption]", note="of resolv.conf(5)"),
)

_SECURITY_SHARED = (
    _field("seLinuxOptions", "SELinuxOptions", NOT_YET, "no label is set"),
    _field("seccompProfile", "SeccompProfile", note="which system calls are allowed; `RuntimeDefault` is the default"),
    _field(
        "appArmorProfile",
        "AppArmorProfile",
        NOT_YET,
        "the container runs without an AppArmor profile, as all do here; `Localhost` is refused",
        harmless=({"type": "Unconfined"},),
    ),
    _field("windowsOptions", "WindowsSecurityContextOptions", IGNORED, "this is Linux"),
)

_POD_SECURITY_CONTEXT = (
    _field("runAsUser", "int", note="the user id of every container that does not set its own"),
    _field("runAsGroup", "int", note="the group id likewise"),
    _field("runAsNonRoot", "bool", note="a container that would run as root does not start"),
    _field("supplementalGroups", "[int]", note="further group ids of every container"),
    _field(
        "supplementalGroupsPolicy",
        "string",
        one_of=("Merge", "Strict"),
        note="Merge: the groups that the user has in the image's /etc/group count too; Strict: they do not",
    ),
    _field("fsGroup", "int", note="a further group id of every container, which the pod's volumes are given to"),
    _field("fsGroupChangePolicy", "string", note="`OnRootMismatch`: not where the root of a volume is right already"),
    _field("sysctls", "[Sysctl]", note="Kubernetes' safe ones; others as `run --allowed-unsafe-sysctls` permits"),
    _field("seLinuxChangePolicy", "string", IGNORED, "says how `seLinuxOptions` are brought about"),
    *_SECURITY_SHARED,
)

_SECURITY_CONTEXT = (
    _field("runAsUser", "int", note="a user id"),
    _field("runAsGroup", "int", note="a group id"),
    _field("runAsNonRoot", "bool", note="a container that would run as root does not start"),
    _field("readOnlyRootFilesystem", "bool"),
    _field("allowPrivilegeEscalation", "bool", note="`false` sets no_new_privs"),
    _field("capabilities", "Capabilities", note="on top of Docker's default set"),
    _field("privileged", "bool", note="every capability and device of the machine, all of /proc and /sys"),
    _field("procMount", "string", one_of=("Default", "Unmasked"), note="`Unmasked` would need user namespaces"),
    *_SECURITY_SHARED,
)

_CAPABILITIES = (
    _field("add", "[string]", note="names with or without `CAP_`, in any letter case, or `ALL`"),
    _field("drop", "[string]", note="names with or without `CAP_`, in any letter case, or `ALL`"),
)

_SECCOMP_PROFILE = (
    _field("type!", "string", one_of=("Localhost", "RuntimeDefault", "Unconfined")),
    _field("localhostProfile", "string", note="for `Localhost`: a file below the node's seccomp directory"),
)

_APP_ARMOR_PROFILE = (
    _field("type!", "string", one_of=("Localhost", "RuntimeDefault", "Unconfined")),
    _field("localhostProfile", "string", note="for `Localhost`, which is refused: no profile is loaded here"),
)

_SYSCTL = (
    _field("name!", "string", note="of the pod's own network or IPC namespace"),
    _field("value!", "string"),
)

_CONTAINER = (
    _field("name!", "string", note="a DNS label, unique in the pod"),
    _field("image", "string", note="`host`, a path, or a name: a local image's, else a registry's"),
    _field("command", "[string]", note="takes the place of the image's entrypoint; `$(VAR)` is filled in"),
    _field("args", "[string]", note="takes the place of the image's arguments; `$(VAR)` is filled in"),
    _field("workingDir", "string", note="an absolute path"),
    _field("env", "[EnvVar]"),
    _field("resources", "ResourceRequirements"),
    _field("ports", "[ContainerPort]", note="information: nothing is opened or closed by it"),
    _field("imagePullPolicy", "string", one_of=("Always", "IfNotPresent", "Never")),
    _field("securityContext", "SecurityContext"),
    _field("envFrom", "[EnvFromSource]", note="every key of a ConfigMap or Secret; `env` wins over it"),
    _field("volumeMounts", "[VolumeMount]"),
    _field("volumeDevices", "[VolumeDevice]", REFUSED, "the container would start without its devices"),
    _field("livenessProbe", "Probe", NOT_YET, "a container that hangs is not restarted"),
    _field("readinessProbe", "Probe", NOT_YET, "the container is Ready as soon as it runs"),
    _field("startupProbe", "Probe", NOT_YET, "the container counts as started as soon as it runs"),
    _field("lifecycle", "Lifecycle", NOT_YET, "its hooks are not run"),
    _field("resizePolicy", "[ContainerResizePolicy]", note="limits are changed in place"),
    _field("restartPolicy", "string", REFUSED, "only the pod's own `restartPolicy` is known"),
    _field("restartPolicyRules", "[ContainerRestartRule]", REFUSED, "only the pod's own `restartPolicy` is known"),
    _field("stdin", "bool", NOT_YET, "standard input is /dev/null", harmless=(False,)),
    _field("stdinOnce", "bool", NOT_YET, "standard input is /dev/null", harmless=(False,)),
    _field("tty", "bool", NOT_YET, "the container's output goes to its log, not to a terminal", harmless=(False,)),
    _field("terminationMessagePath", "string", NOT_YET, "the file is not read", harmless=("/dev/termination-log",)),
    _field(
        "terminationMessagePolicy",
        "string",
        IGNORED,
        "the last lines of the log are always shown",
        one_of=("File", "FallbackToLogsOnError"),
    ),
)

_ENV_VAR = (
    _field("name!", "string"),
    _field("value", "string", note="`$(VAR)` is filled in from the variables above it, `$$(VAR)` is `$(VAR)`"),
    _field("valueFrom", "EnvVarSource", note="instead of `value`: exactly one of its fields"),
)

_CONTAINER_PORT = (
    _field("containerPort!", "int"),
    _field("name", "string"),
    _field("protocol", "string", one_of=("SCTP", "TCP", "UDP")),
    _field("hostPort", "int", NOT_YET, "the port is not opened on the machine (`hostNetwork: true` would be)"),
    _field("hostIP", "string", NOT_YET, "the port is not opened on the machine"),
)

_RESOURCE_REQUIREMENTS = (
    _field("limits", "{quantity}", note="`cpu` and `memory` are enforced by the kernel; missing requests equal them"),
    _field("requests", "{quantity}", note="`cpu` weighs when CPUs are short; both decide the QoS class"),
    _field("claims", "[ResourceClaim]", REFUSED, "the container would lack the devices it needs"),
)

_RESIZE_POLICY = (
    _field("resourceName!", "string"),
    _field("restartPolicy!", "string", NOT_YET, "limits are changed in place", harmless=("NotRequired",)),
)


def _index(fields: tuple[Field, ...]) -> dict[str, Field]:
    return {field.name: field for field in fields}


OBJECTS: dict[str, dict[str, Field]] = {
    "Pod": _index(_POD),
    "ObjectMeta": _index(_OBJECT_META),
    "PodSpec": _index(_POD_SPEC),
    "PodSecurityContext": _index(_POD_SECURITY_CONTEXT),
    "Container": _index(_CONTAINER),
    "EphemeralContainer": _index((*_CONTAINER, _field("targetContainerName", "string"))),
    "EnvVar": _index(_ENV_VAR),
    "ContainerPort": _index(_CONTAINER_PORT),
    "ResourceRequirements": _index(_RESOURCE_REQUIREMENTS),
    "ContainerResizePolicy": _index(_RESIZE_POLICY),
    "SecurityContext": _index(_SECURITY_CONTEXT),
    "Capabilities": _index(_CAPABILITIES),
    "HostAlias": _index(_HOST_ALIAS),
    "PodDNSConfig": _index(_POD_DNS_CONFIG),
    "PodDNSConfigOption": _index((_field("name", "string"), _field("value", "string"))),
    "AppArmorProfile": _index(_APP_ARMOR_PROFILE),
    "SeccompProfile": _index(_SECCOMP_PROFILE),
    "Sysctl": _index(_SYSCTL),
}
"""Object name → field name → field. The objects inside fields that are not honoured come from `spec.nested`."""


PLACES = {
    "Pod": "",
    "ObjectMeta": "metadata",
    "PodSpec": "spec",
    "PodSecurityContext": "spec.securityContext",
    "Container": "spec.containers[]",
    "EnvVar": "spec.containers[].env[]",
    "ContainerPort": "spec.containers[].ports[]",
    "ResourceRequirements": "spec.containers[].resources",
    "ContainerResizePolicy": "spec.containers[].resizePolicy[]",
    "SecurityContext": "spec.containers[].securityContext",
    "Capabilities": "spec.containers[].securityContext.capabilities",
    "HostAlias": "spec.hostAliases[]",
    "PodDNSConfig": "spec.dnsConfig",
    "PodDNSConfigOption": "spec.dnsConfig.options[]",
    "AppArmorProfile": "spec.containers[].securityContext.appArmorProfile",
    "SeccompProfile": "spec.containers[].securityContext.seccompProfile",
    "Sysctl": "spec.securityContext.sysctls[]",
    **VOLUME_PLACES,
    **CONFIG_PLACES,
}
"""Where each object with a verdict of its own stands in a Pod."""


def _read_nested() -> None:
    for paragraph in re.split(r"\n(?=\S)", NESTED.strip()):
        name, _, rest = paragraph.partition(":")
        pairs = (item.split() for item in rest.split(","))
        OBJECTS[name] = {field.name: field for field in (_field(*pair) for pair in pairs)}


def _read_rows() -> None:
    for name, rows in (CONFIG_FIELDS | VOLUME_FIELDS).items():
        fields = (_field(row[0], row[1], Verdict[row[2]], row[3], one_of=row[4]) for row in rows)
        OBJECTS[name] = _index(tuple(fields))


_read_nested()
_read_rows()
