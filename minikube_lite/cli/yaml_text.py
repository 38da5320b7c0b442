"""Objects as YAML, as kubectl writes them: keys sorted, lists not indented, text over several lines as a block."""

from __future__ import annotations

from typing import Any

import yaml

from minikube_lite.spec.scalars import resolve

STRING = "tag:yaml.org,2002:str"
Base: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


class _Dumper(Base):  # type: ignore[misc]
    """go-yaml's habits: no aliases, `"1"` and `"yes"` in double quotes."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _string(dumper: Any, value: str) -> Any:
    style = None
    if "\n" in value:
        style = "|"
    elif resolve(value) != value or dumper.resolve(yaml.ScalarNode, value, (True, False)) != STRING:
        style = '"'  # what kubectl (`yes`, `1e3`, `08`) or any YAML 1.1 reader (a date) takes for something else
    return dumper.represent_scalar(STRING, value, style=style)


_Dumper.add_representer(str, _string)


def to_yaml(value: Any) -> str:
    return str(
        yaml.dump(value, Dumper=_Dumper, sort_keys=True, allow_unicode=True, width=100_000, default_flow_style=False)
    )
