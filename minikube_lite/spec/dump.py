"""Plain data → YAML that reads back as the same. Called wherever an object is written for a person or to a file."""

from __future__ import annotations

import re
from typing import Any

import yaml

from minikube_lite.spec.scalars import resolve

_BREAKS = re.compile("[\r\x85\u2028\u2029\ufeff]")
"""What YAML takes for line ends, or drops, unless it is escaped."""


class _Dumper(yaml.SafeDumper):
    """Quotes what kubectl would take for something else than a string: `y`, `1e3`, `08`, which PyYAML leaves plain."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def represent_mapping(self, tag: str, mapping: Any, flow_style: bool | None = None) -> yaml.MappingNode:
        """A key of several lines cannot be a block."""
        node = super().represent_mapping(tag, mapping, flow_style)
        for key, _ in node.value:
            if key.style == "|":
                key.style = '"'
        return node


def _string(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    if _BREAKS.search(text):
        return dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"')
    if "\n" in text and not any(line != line.rstrip() for line in text.split("\n")):
        return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|")
    style = None if resolve(text) is text or resolve(text) == text else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _string)


def dump_yaml(value: Any) -> str:
    """Block style, keys in their order, long lines left long."""
    text: str = yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=1 << 20)
    return text
