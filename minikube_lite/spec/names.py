"""Kubernetes' rules for names, labels and the like, in Kubernetes' words. Called by `spec.checks`.

Each function gives what is wrong, or "". Source: apimachinery `pkg/util/validation/validation.go`.
"""

from __future__ import annotations

import re

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", re.ASCII)
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*", re.ASCII)
_SEARCH_LABEL = re.compile(r"_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?", re.ASCII)
_QUALIFIED = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]", re.ASCII)

_CONFIG_KEY = re.compile(r"[-._a-zA-Z0-9]+", re.ASCII)

_LABEL_WORDS = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with "
    "an alphanumeric character (e.g. 'my-name' or '123-abc')"
)
_SUBDOMAIN_WORDS = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'example.com')"
)
_QUALIFIED_WORDS = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric "
    "character (e.g. 'MyName' or 'my.name' or '123-abc')"
)
_VALUE_WORDS = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'MyValue' or 'my_value' or '12345')"
)


def _too_long(limit: int) -> str:
    return f"must be no more than {limit} characters"


def dns_label(text: str) -> str:
    """RFC 1123 label: container names, namespaces, host names."""
    if len(text) > 63:
        return _too_long(63)
    return "" if _LABEL.fullmatch(text) else _LABEL_WORDS


def dns_subdomain(text: str) -> str:
    """RFC 1123 subdomain: pod names."""
    if len(text) > 253:
        return _too_long(253)
    return "" if _SUBDOMAIN.fullmatch(text) else _SUBDOMAIN_WORDS


def dns_search(text: str) -> str:
    """A search domain of resolv.conf(5): as a subdomain, but a dot may end it, and underscores as SRV names have them
    (KEP-4427)."""
    plain = text.removesuffix(".")
    if text == "." or (len(plain) <= 253 and all(_SEARCH_LABEL.fullmatch(label) for label in plain.split("."))):
        return ""
    return _too_long(253) if len(plain) > 253 else _SUBDOMAIN_WORDS


def qualified_name(text: str) -> str:
    """`app`, `example.com/app`: keys of labels and annotations, names of resources."""
    prefix, slash, name = text.rpartition("/")
    if "/" in prefix:
        return (
            "a qualified name must be a name with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
        )
    if slash:
        if not prefix:
            return "prefix part must be non-empty"
        if wrong := dns_subdomain(prefix):
            return f"prefix part {wrong}"
    if not name:
        return "name part must be non-empty"
    if len(name) > 63:
        return f"name part {_too_long(63)}"
    return "" if _QUALIFIED.fullmatch(name) else _QUALIFIED_WORDS


def label_value(text: str) -> str:
    """The value of a label."""
    if len(text) > 63:
        return _too_long(63)
    return "" if not text or _QUALIFIED.fullmatch(text) else _VALUE_WORDS


def port_name(text: str) -> str:
    """The name of a container's port (IANA_SVC_NAME)."""
    if len(text) > 15:
        return _too_long(15)
    if not re.fullmatch(r"[-a-z0-9]+", text, re.ASCII):
        return "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)"
    if not re.search(r"[a-z]", text):
        return "must contain at least one letter (a-z)"
    if "--" in text:
        return "must not contain consecutive hyphens"
    return "must not begin or end with a hyphen" if text[0] == "-" or text[-1] == "-" else ""


def env_name(text: str) -> str:
    """The name of a variable, by the relaxed rule (IsRelaxedEnvVarName)."""
    if not text:
        return "environment variable name must be non-empty"
    if all(" " <= character <= "~" and character != "=" for character in text):
        return ""
    return "a valid environment variable name must consist only of printable ASCII characters other than '='"


def config_key(text: str) -> str:
    """A key of a ConfigMap or Secret, which is a file name too (IsConfigMapKey)."""
    if len(text) > 253:
        return _too_long(253)
    if not _CONFIG_KEY.fullmatch(text):
        return (
            "a valid config key must consist of alphanumeric characters, '-', '_' or '.' "
            "(e.g. 'key.name', or 'KEY_NAME', or 'key-name')"
        )
    if text in (".", ".."):
        return f"must not be '{text}'"
    return "must not start with '..'" if text.startswith("..") else ""
