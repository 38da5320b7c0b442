"""Whom a pod asks for names: /etc/resolv.conf from `dnsPolicy`, `dnsConfig` and the machine's own. Called by
node.pod_files.

As the kubelet does it (`pkg/kubelet/network/dns`) where no cluster DNS is configured, and written as containerd's CRI
writes it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from minikube_lite.spec.network import PodDNSConfig
from minikube_lite.spec.objects import Pod

MAX_NAMESERVERS = 3
MAX_SEARCHES = 32
MAX_SEARCH_CHARACTERS = 2048
"""What the C libraries read (resolv.conf(5)), and Kubernetes' word for it."""

Note = tuple[str, str]
"""(reason, message) of an event."""


@dataclass(frozen=True, slots=True)
class Resolver:
    """What resolv.conf(5) says, as far as pods have it."""

    nameservers: tuple[str, ...] = ()
    searches: tuple[str, ...] = ()
    options: tuple[str, ...] = ()

    def text(self) -> str:
        lines = [f"search {' '.join(self.searches)}"] if self.searches else []
        lines += [f"nameserver {server}" for server in self.nameservers]
        lines += [f"options {' '.join(self.options)}"] if self.options else []
        return "".join(f"{line}\n" for line in lines)


def parse(text: str) -> Resolver:
    """The machine's resolv.conf. Of several `search` lines the last counts, as for the C library."""
    nameservers: list[str] = []
    searches: tuple[str, ...] = ()
    options: list[str] = []
    for line in text.splitlines():
        words = line.split("#", 1)[0].split(";", 1)[0].split()
        match words:
            case ["nameserver", server, *_]:
                nameservers.append(server)
            case ["search", *names]:
                searches = tuple(name if name == "." else name.removesuffix(".") for name in names)
            case ["options", *given]:
                options += given
            case _:
                pass
    return Resolver(tuple(nameservers), searches, tuple(options))


def pod_resolver(pod: Pod, machine: Resolver, uid: str = "") -> tuple[Resolver, list[Note]]:
    """What the pod gets, and the events that tell of what it does not get."""
    policy, notes = pod.spec.dns_policy, []
    if policy == "ClusterFirst" and pod.spec.host_network:
        policy = "Default"
    if policy.startswith("ClusterFirst"):
        if "dns_policy" in pod.spec.model_fields_set:  # it is the default too, and nobody asked for that
            notes.append(("MissingClusterDNS", _no_cluster_dns(pod, policy, uid)))
        policy = "Default"
    resolver = Resolver() if policy == "None" else machine
    if pod.spec.dns_config is not None:
        resolver = _with_config(resolver, pod.spec.dns_config)
    return _within_limits(resolver, notes), notes


def _no_cluster_dns(pod: Pod, policy: str, uid: str) -> str:
    name = f'"{pod.metadata.name}_{pod.metadata.namespace}({uid})"'
    lacks = f'there is no cluster DNS here and so none for the "{policy}" policy'
    return f'pod: {name}. {lacks}. Falling back to "Default" policy.'


def _with_config(resolver: Resolver, config: PodDNSConfig) -> Resolver:
    """The machine's first; of options that both have the pod's wins."""
    options = {name: value for name, _, value in (option.partition(":") for option in resolver.options)}
    options |= {option.name: option.value or "" for option in config.options}
    return Resolver(
        _once((*resolver.nameservers, *config.nameservers)),
        _once((*resolver.searches, *config.searches)),
        tuple(f"{name}:{value}" if value else name for name, value in options.items()),
    )


def _once(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(values))


def _within_limits(resolver: Resolver, notes: list[Note]) -> Resolver:
    servers, searches = resolver.nameservers[:MAX_NAMESERVERS], resolver.searches[:MAX_SEARCHES]
    while len(" ".join(searches)) > MAX_SEARCH_CHARACTERS:
        searches = searches[:-1]
    if servers != resolver.nameservers:
        what = "Nameserver limits were exceeded, some nameservers have been omitted, the applied nameserver line is"
        notes.append(("DNSConfigForming", f"{what}: {' '.join(servers)}"))
    if searches != resolver.searches:
        what = "Search Line limits were exceeded, some search paths have been omitted, the applied search line is"
        notes.append(("DNSConfigForming", f"{what}: {' '.join(searches)}"))
    return Resolver(servers, searches, resolver.options)
