"""Reads `registries.yaml`: what this machine must know of a registry beyond its name. Called by client.

registries:
  docker.io:
    mirrors: [https://mirror.example.com, "cache.lan:5000/hub"]
  cache.lan:5000:
    insecure: true
  registry.example.com:
    ca: /etc/ssl/example-ca.pem
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from minikube_lite.images.image import ImageError, unavailable

_HOST = re.compile(r"(?:[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:]+\])(?::[0-9]{1,5})?")
_MIRROR = re.compile(rf"(?:(?P<scheme>https?)://)?(?P<host>{_HOST.pattern})(?:/(?P<prefix>[a-z0-9._/-]*))?")


@dataclass(frozen=True, slots=True)
class Mirror:
    """A registry to ask before another."""

    host: str
    scheme: str = ""
    """`https` or `http` where the configuration names one."""
    prefix: str = ""
    """Stands before the repository's name there, without slashes at its ends (Harbor's proxy projects)."""


@dataclass(frozen=True, slots=True)
class Host:
    """What is configured for one `host[:port]`."""

    mirrors: tuple[Mirror, ...] = ()
    insecure: bool | None = None
    """True: unverified TLS, and plain HTTP where there is no TLS. None: as the default for its name is."""
    ca: Path | None = None
    """PEM file with authorities that are trusted beside the system's."""


@dataclass(frozen=True, slots=True)
class Configuration:
    hosts: Mapping[str, Host] = field(default_factory=dict)

    def host(self, name: str) -> Host:
        """`name`: `host[:port]`. What is said of a host without a port holds for the port 443 of it."""
        return self.hosts.get(name) or self.hosts.get(name.removesuffix(":443")) or Host()


def read(path: Path) -> Configuration:
    """What `path` configures; nothing where there is no file. Raises ImageError with file, line, column and field."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return Configuration()
    except OSError as error:
        raise unavailable(f"cannot read `{path}`: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise unavailable(f"cannot read `{path}`: it is not UTF-8") from error
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        at = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        raise unavailable(f"{path}{at}: this is not YAML: {error.problem}") from error
    except yaml.YAMLError as error:
        raise unavailable(f"{path}: this is not YAML: {' '.join(str(error).split())}") from error
    if root is None or (isinstance(root, yaml.ScalarNode) and root.tag.endswith(":null")):
        return Configuration()
    return _Reader(path).configuration(root)


class _Reader:
    """Walks the nodes, which know where they stand."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def configuration(self, root: yaml.Node) -> Configuration:
        hosts: dict[str, Host] = {}
        for _, value in self._fields(root, "", ("registries",)):
            for key, entry in self._items(value, "registries"):
                name = key.value
                if not _HOST.fullmatch(name):
                    bare = re.sub(r"^https?://", "", name).strip("/").lower()
                    hint = f" (hint: `{bare}`)" if _HOST.fullmatch(bare) else ""
                    raise self._wrong(key, f"registries.{name}", f"`{name}` is not a `host[:port]`{hint}")
                hosts[name] = self._host(entry, f"registries.{name}")
        return Configuration(hosts)

    def _host(self, node: yaml.Node, field: str) -> Host:
        mirrors: tuple[Mirror, ...] = ()
        insecure: bool | None = None
        ca: Path | None = None
        for key, value in self._fields(node, field, ("mirrors", "insecure", "ca")):
            at = f"{field}.{key}"
            if key == "mirrors":
                if not isinstance(value, yaml.SequenceNode):
                    raise self._wrong(value, at, f"a list is expected, not {_kind(value)}")
                mirrors = tuple(self._mirror(item, f"{at}[{index}]") for index, item in enumerate(value.value))
            elif key == "insecure":
                # As YAML 1.2 has it: `yes` and `on` are words.
                if not (isinstance(value, yaml.ScalarNode) and not value.style and value.value in ("true", "false")):
                    raise self._wrong(value, at, f"`true` or `false` is expected, not {_kind(value)}")
                insecure = value.value == "true"
            else:
                ca = Path(os.path.join(self._path.parent, self._string(value, at)))
                if not ca.is_file():
                    raise self._wrong(value, at, f"there is no file `{ca}`")
        return Host(mirrors, insecure, ca)

    def _mirror(self, node: yaml.Node, field: str) -> Mirror:
        text = self._string(node, field)
        match = _MIRROR.fullmatch(text)
        if not match:
            raise self._wrong(node, field, f"`{text}` is not a `[http[s]://]host[:port][/prefix]`")
        prefix = (match["prefix"] or "").strip("/")
        # Docker's documentation writes mirrors with `/v2` at the end here and there; requests add it themselves.
        return Mirror(match["host"], match["scheme"] or "", "" if prefix == "v2" else prefix)

    def _string(self, node: yaml.Node, field: str) -> str:
        if not (isinstance(node, yaml.ScalarNode) and node.tag.endswith(":str") and node.value):
            raise self._wrong(node, field, f"a text is expected, not {_kind(node)}")
        return str(node.value)

    def _fields(self, node: yaml.Node, field: str, known: tuple[str, ...]) -> Iterator[tuple[str, yaml.Node]]:
        for key, value in self._items(node, field):
            if key.value not in known:
                near = difflib.get_close_matches(key.value, known, 1)
                hint = f"did you mean `{near[0]}`?" if near else f"known: {', '.join(known)}"
                raise self._wrong(key, f"{field}.{key.value}".lstrip("."), f"unknown field ({hint})")
            yield key.value, value

    def _items(self, node: yaml.Node, field: str) -> Iterator[tuple[yaml.ScalarNode, yaml.Node]]:
        if not isinstance(node, yaml.MappingNode):
            raise self._wrong(node, field or "the file", f"a mapping is expected, not {_kind(node)}")
        seen: set[str] = set()
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise self._wrong(key, field or "the file", f"a key is a text, not {_kind(key)}")
            if key.value in seen:
                raise self._wrong(key, f"{field}.{key.value}".lstrip("."), "it is given twice")
            seen.add(key.value)
            yield key, value

    def _wrong(self, node: yaml.Node, field: str, why: str) -> ImageError:
        mark = node.start_mark
        return unavailable(f"{self._path}:{mark.line + 1}:{mark.column + 1}: {field}: {why}")


def _kind(node: yaml.Node) -> str:
    if isinstance(node, yaml.MappingNode):
        return "a mapping"
    if isinstance(node, yaml.SequenceNode):
        return "a list"
    return f"`{node.value}`" if node.value else "nothing"
