"""ConfigMap, Secret, and what a container's variables may come from. Read by `spec.fields`.

Rows: object → (field, type, verdict, note, values allowed). Types as `spec.fields.parse_type` reads them, `!` marks
what Kubernetes requires.
"""

from __future__ import annotations

Row = tuple[str, str, str, str, tuple[str, ...]]


def _row(name: str, type_: str, note: str = "", *, verdict: str = "HONOURED", one_of: tuple[str, ...] = ()) -> Row:
    return name, type_, verdict, note, one_of


_IN_THE_NAMESPACE = "the object, in the pod's namespace"
_KEY_SELECTOR = (
    _row("name", "string", _IN_THE_NAMESPACE),
    _row("key!", "string"),
    _row("optional", "bool", "`true`: without the object or the key there is no such variable"),
)
_ENV_SOURCE = (
    _row("name", "string", _IN_THE_NAMESPACE),
    _row("optional", "bool", "`true`: without the object there are no such variables"),
)
_IMMUTABLE = _row("immutable", "bool", "`apply` refuses to change what it holds")
_FIELD_PATHS = (
    "`metadata.name`, `.namespace`, `.uid`, `.labels['KEY']`, `.annotations['KEY']`, `spec.nodeName`, "
    "`spec.serviceAccountName`, `status.podIP`, `.podIPs`, `.hostIP`, `.hostIPs`"
)
_RESOURCES = "`limits.` or `requests.` with `cpu`, `memory`, `ephemeral-storage`; without a limit, what the node has"

CONFIG_FIELDS: dict[str, tuple[Row, ...]] = {
    "EnvVarSource": (
        _row("configMapKeyRef", "ConfigMapKeySelector"),
        _row("secretKeyRef", "SecretKeySelector"),
        _row("fieldRef", "ObjectFieldSelector", "what is known of the pod"),
        _row("resourceFieldRef", "ResourceFieldSelector", "what is known of a container's resources"),
        _row("fileKeyRef", "FileKeySelector", "the variable would be missing", verdict="REFUSED"),
    ),
    "ConfigMapKeySelector": _KEY_SELECTOR,
    "SecretKeySelector": _KEY_SELECTOR,
    "ObjectFieldSelector": (
        _row("fieldPath!", "string", _FIELD_PATHS),
        _row("apiVersion", "string", one_of=("v1",)),
    ),
    "ResourceFieldSelector": (
        _row("resource!", "string", _RESOURCES),
        _row("containerName", "string", "this container where it is missing"),
        _row("divisor", "quantity", "`1` where it is missing; the result is rounded up"),
    ),
    "EnvFromSource": (
        _row("configMapRef", "ConfigMapEnvSource"),
        _row("secretRef", "SecretEnvSource"),
        _row("prefix", "string", "put before each key"),
    ),
    "ConfigMapEnvSource": _ENV_SOURCE,
    "SecretEnvSource": _ENV_SOURCE,
    "ConfigMap": (
        _row("apiVersion!", "string", one_of=("v1",)),
        _row("kind!", "string", one_of=("ConfigMap",)),
        _row("metadata!", "ObjectMeta"),
        _row("data", "{string}", "keys of letters, digits, `-`, `_` and `.`; 1 MiB at most, with `binaryData`"),
        _row("binaryData", "{secret}", "in base64; its keys are others than those of `data`"),
        _IMMUTABLE,
    ),
    "Secret": (
        _row("apiVersion!", "string", one_of=("v1",)),
        _row("kind!", "string", one_of=("Secret",)),
        _row("metadata!", "ObjectMeta"),
        _row("data", "{secret}", "in base64; keys as a ConfigMap's, 1 MiB at most"),
        _row("stringData", "{secret}", "as it stands; wins over `data`"),
        _row("type", "string", "`Opaque` where it is missing; the known types must have their keys"),
        _IMMUTABLE,
    ),
}

_SOURCE = "spec.containers[].env[].valueFrom"
CONFIG_PLACES = {
    "EnvVarSource": _SOURCE,
    "ConfigMapKeySelector": f"{_SOURCE}.configMapKeyRef",
    "SecretKeySelector": f"{_SOURCE}.secretKeyRef",
    "ObjectFieldSelector": f"{_SOURCE}.fieldRef",
    "ResourceFieldSelector": f"{_SOURCE}.resourceFieldRef",
    "EnvFromSource": "spec.containers[].envFrom[]",
    "ConfigMapEnvSource": "spec.containers[].envFrom[].configMapRef",
    "SecretEnvSource": "spec.containers[].envFrom[].secretRef",
    "ConfigMap": "ConfigMap",
    "Secret": "Secret",
}
"""Where each object stands in a Pod, or what it is alone."""
