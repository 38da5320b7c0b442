"""What a pod says about names: its own and those it looks up, as values. Part of `spec.objects`."""

from __future__ import annotations

from minikube_lite.spec.model import Model


class HostAlias(Model):
    """One line of /etc/hosts."""

    ip: str
    hostnames: tuple[str, ...] = ()


class PodDNSConfigOption(Model):
    """`name` or `name:value` in the `options` of resolv.conf(5)."""

    name: str = ""
    value: str | None = None


class PodDNSConfig(Model):
    """What comes into /etc/resolv.conf besides what `dnsPolicy` gives."""

    nameservers: tuple[str, ...] = ()
    searches: tuple[str, ...] = ()
    options: tuple[PodDNSConfigOption, ...] = ()
