"""The resource types, and how a command line names them: `pods`, `pod/web`, `po web db`. Called by the commands."""

from __future__ import annotations

from minikube_lite.cli.errors import CliError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any


class Kind:
    """One resource type."""

    def __init__(self, kind: str, plural: str, *short: str, namespaced: bool = True) -> None:
        self.kind = kind
        self.plural = plural
        self.singular = kind.lower()
        self.names = (plural, self.singular, *short)
        self.namespaced = namespaced

    def path(self, namespace: str | None, name: str = "") -> str:
        """The REST path of one object, of a namespace's, or (None) of all."""
        from minikube_lite.cli.client import quote

        path = "/api/v1"
        if self.namespaced and namespace is not None:
            path += f"/namespaces/{quote(namespace)}"
        path += f"/{self.plural}"
        return f"{path}/{quote(name)}" if name else path


POD = Kind("Pod", "pods", "po")
CONFIG_MAP = Kind("ConfigMap", "configmaps", "cm")
SECRET = Kind("Secret", "secrets")
CLAIM = Kind("PersistentVolumeClaim", "persistentvolumeclaims", "pvc")
EVENT = Kind("Event", "events", "ev")
NODE = Kind("Node", "nodes", "no", namespaced=False)
NAMESPACE = Kind("Namespace", "namespaces", "ns", namespaced=False)
KINDS = (POD, CONFIG_MAP, SECRET, CLAIM, EVENT, NODE, NAMESPACE)
WRITABLE = (POD, CONFIG_MAP, SECRET, CLAIM)
BY_NAME = {name: kind for kind in KINDS for name in kind.names}


def kind_of(name: str) -> Kind:
    """The type of this name, plural, singular or short. Raises CliError in kubectl's words."""
    kind = BY_NAME.get(name.lower().removesuffix(".v1.").removesuffix(".v1"))
    if kind is None:
        from minikube_lite.cli.params import closest

        close = closest(name.lower(), list(BY_NAME))
        hint = f" (did you mean {close}?)" if close else f" (there are {', '.join(kind.plural for kind in KINDS)})"
        raise CliError(f'the server doesn\'t have a resource type "{name}"{hint}')
    return kind


def resources(words: Sequence[str]) -> list[tuple[Kind, str]]:
    """(type, name) for each thing that is named; name "" means all of the type.

    `pods`, `pods,events`, `all`, `pod web db`, `pod/web node/here`.
    """
    if any("/" in word for word in words):
        found = []
        for word in words:
            type_name, slash, name = word.partition("/")
            if not slash:
                raise CliError(
                    "there is no need to specify a resource type as a separate argument when passing arguments in "
                    f"resource/name form (e.g. 'get pod/{word}' instead of 'get pod {word}')"
                )
            if not type_name or not name or "/" in name:
                raise CliError(f'arguments in resource/name form must have a single resource and name, not "{word}"')
            found.append((kind_of(type_name), name))
        return found
    types = ["pods"] if words[0] == "all" else words[0].split(",")
    kinds = [kind_of(type_name) for type_name in types if type_name]
    return [(kind, name) for kind in kinds for name in (list(words[1:]) or [""])]


DEFAULT_CONTAINER = "kubectl.kubernetes.io/default-container"


def first_container(pod: dict[str, Any], *, quiet: bool = False) -> str:
    """The container that is meant where none is named: the one that the pod's annotation names (KEP-2227), else the
    first, and then it says so where there are others. "" where there is none."""
    from minikube_lite.cli.session import warn

    spec = pod.get("spec") or {}
    names = [container["name"] for container in spec.get("containers") or []]
    named = (pod["metadata"].get("annotations") or {}).get(DEFAULT_CONTAINER)
    if named in names:
        return str(named)
    others = [f"{container['name']} (init)" for container in spec.get("initContainers") or []]
    if len(names) + len(others) > 1 and not quiet:
        warn(f'Defaulted container "{names[0]}" out of: {", ".join(names + others)}')
    return names[0] if names else ""


def pod_name(word: str) -> str:
    """`web`, `pod/web` or `po/web`."""
    type_name, slash, name = word.partition("/")
    if not slash:
        return word
    if kind_of(type_name) is not POD:
        raise CliError(f"only pods can be meant here, not {word}")
    return name
