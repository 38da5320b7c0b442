"""Kubernetes' rules for a pod's names and its DNS. Called by `spec.checks`.

Words are those of Kubernetes' own validation (pkg/apis/core/validation/validation.go) and of the kubelet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from minikube_lite.spec import names
from minikube_lite.spec.hostnames import FQDN_MAX, kernel_hostname
from minikube_lite.spec.yaml import Path

if TYPE_CHECKING:
    from minikube_lite.spec.network import PodDNSConfig
    from minikube_lite.spec.objects import Pod, PodSpec

Wrong = tuple[Path, str, str]
"""(path, message, hint)."""

MAX_NAMESERVERS = 3
MAX_SEARCHES = 32
MAX_SEARCH_CHARACTERS = 2048


def check_network(pod: Pod) -> Iterator[Wrong]:
    """What is wrong with what the pod is called, and with whom it asks for names."""
    spec, path = pod.spec, ("spec",)
    yield from _names(pod, path)
    for number, alias in enumerate(spec.host_aliases):
        here = (*path, "hostAliases", number)
        yield from _ip((*here, "ip"), alias.ip)
        for index, name in enumerate(alias.hostnames):
            yield from _text((*here, "hostnames", index), name, names.dns_subdomain)
    yield from _dns(spec, path)


def _names(pod: Pod, path: Path) -> Iterator[Wrong]:
    spec = pod.spec
    if spec.hostname:
        yield from _text((*path, "hostname"), spec.hostname, names.dns_label)
    if spec.subdomain:
        yield from _text((*path, "subdomain"), spec.subdomain, names.dns_label)
    if (override := spec.hostname_override) is not None:
        here = (*path, "hostnameOverride")
        if len(override) > FQDN_MAX:
            yield here, f'Invalid value: "{override}": must be no more than {FQDN_MAX} characters', ""
        else:
            yield from _text(here, override, names.dns_subdomain)
        for field, is_set in (("setHostnameAsFQDN", spec.set_hostname_as_fqdn), ("hostNetwork", spec.host_network)):
            if is_set:
                yield here, f'Invalid value: "{override}": may not be specified when {field} is true', ""
    elif len(name := kernel_hostname(pod)) > FQDN_MAX:
        words = f"FQDN {name} is too long ({FQDN_MAX} characters is the max, {len(name)} characters requested)"
        message = f"Invalid value: true: failed to construct FQDN from pod hostname and cluster domain, {words}"
        yield (*path, "setHostnameAsFQDN"), message, "a shorter hostname or subdomain"


def _dns(spec: PodSpec, path: Path) -> Iterator[Wrong]:
    config, here = spec.dns_config, (*path, "dnsConfig")
    if spec.dns_policy == "None":
        if config is None:
            yield here, "Required value: must provide `dnsConfig` when `dnsPolicy` is None", ""
        elif not config.nameservers:
            words = "Required value: must provide at least one DNS nameserver when `dnsPolicy` is None"
            yield (*here, "nameservers"), words, ""
    if config is not None:
        yield from _dns_config(config, here)


def _dns_config(config: PodDNSConfig, path: Path) -> Iterator[Wrong]:
    if len(config.nameservers) > MAX_NAMESERVERS:
        yield (*path, "nameservers"), f"Invalid value: must not have more than {MAX_NAMESERVERS} nameservers", ""
    for number, server in enumerate(config.nameservers):
        yield from _ip((*path, "nameservers", number), server)
    searches = (*path, "searches")
    if len(config.searches) > MAX_SEARCHES:
        yield searches, f"Invalid value: must not have more than {MAX_SEARCHES} search paths", ""
    if len(" ".join(config.searches)) > MAX_SEARCH_CHARACTERS:
        words = f"must not have more than {MAX_SEARCH_CHARACTERS} characters (including spaces) in the search list"
        yield searches, f"Invalid value: {words}", ""
    for number, search in enumerate(config.searches):
        yield from _text((*searches, number), search, names.dns_search)
    for number, option in enumerate(config.options):
        if not option.name:
            yield (*path, "options", number), "Required value: must not be empty", ""
        for field, value in (("name", option.name), ("value", option.value or "")):
            if any(character.isspace() or character == "\0" for character in value):
                yield (*path, "options", number, field), f"Invalid value: {value!r}: must be one word", ""


def _ip(path: Path, text: str) -> Iterator[Wrong]:
    import ipaddress  # few pods say anything of it

    try:
        if "%" in text:
            raise ValueError
        ipaddress.ip_address(text)
    except ValueError:
        words = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
        yield path, f'Invalid value: "{text}": {words}', ""


def _text(path: Path, value: str, rule: Callable[[str], str]) -> Iterator[Wrong]:
    if wrong := rule(value):
        yield path, f'Invalid value: "{value}": {wrong}', ""
