"""Whom a pod or a container runs as and what it may do, as values. Part of `spec.objects`, which everybody imports."""

from __future__ import annotations

from minikube_lite.spec.model import Model


class AppArmorProfile(Model):
    """No profile is ever loaded here; see `spec.fields` for what becomes of each type."""

    type: str
    localhost_profile: str | None = None


class SeccompProfile(Model):
    """`localhostProfile`: a file below the node's seccomp directory, for type Localhost and only that."""

    type: str
    localhost_profile: str | None = None


class Sysctl(Model):
    """A kernel parameter of one of the pod's own namespaces, named as sysctl(8) names it."""

    name: str
    value: str
