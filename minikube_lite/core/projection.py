"""What the files of a configMap, secret, downwardAPI or projected volume hold. Called by node.volumes; pure.

The kubelet's `MakePayload` of each of these (pkg/volume/configmap, secret, downwardapi, projected), in its words where
something is missing. One thing is stricter: of two sources that write one path the later wins there, which nobody ever
means; here it is an error that names both.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from minikube_lite.core.environment import CannotRun, Facts, Lookup, field_value, resource_value
from minikube_lite.spec.configs import ConfigKind
from minikube_lite.spec.objects import Pod, Volume
from minikube_lite.spec.volumes import (
    FILE_MODE,
    ConfigMapSource,
    DownwardAPIFile,
    DownwardAPISource,
    KeyToPath,
    Projection,
    SecretSource,
)


class NotThere(ValueError):
    """Something that the volume shows is not there (yet)."""


@dataclass(frozen=True, slots=True)
class File:
    """One file. `user` None: root owns it."""

    data: bytes = field(repr=False)
    mode: int
    user: int | None = None


Files = dict[str, File]
"""Path in the volume → file."""


@dataclass(frozen=True, slots=True)
class _Maker:
    """Makes the files of one volume; `mode` and `user` are those of files that have none of their own."""

    pod: Pod
    lookup: Lookup
    facts: Facts
    mode: int
    user: int | None

    def config(self, kind: ConfigKind, name: str, items: Sequence[KeyToPath], *, optional: bool) -> Files:
        found = self.lookup(kind, self.pod.metadata.namespace, name)
        if found is None:
            if optional:
                return {}
            raise NotThere(f'{kind.lower()} "{name}" not found')
        if not items:
            return {key: File(data, self.mode, self.user) for key, data in found.data.items()}
        files: Files = {}
        for item in items:
            if item.key in found.data:
                files[item.path] = self.file(found.data[item.key], item)
            elif not optional:
                what = "configmap references non-existent config key" if kind == "ConfigMap" else _NO_SECRET_KEY
                raise NotThere(f"{what}: {item.key} ({_known(name, found.data)})")
        return files

    def file(self, data: bytes, item: KeyToPath | DownwardAPIFile) -> File:
        return File(data, self.mode if item.mode is None else item.mode, self.user if item.user is None else item.user)

    def downward(self, items: Sequence[DownwardAPIFile]) -> Files:
        return {item.path: self.file(self.told(item).encode("utf-8", "surrogatepass"), item) for item in items}

    def told(self, item: DownwardAPIFile) -> str:
        if item.field_ref is not None:
            path = item.field_ref.field_path
            meta = self.pod.metadata
            if path in ("metadata.labels", "metadata.annotations"):
                return format_map(meta.labels if path == "metadata.labels" else meta.annotations)
            return field_value(path, self.pod, self.facts)
        assert item.resource_field_ref is not None
        try:
            return resource_value(item.resource_field_ref, self.pod, self.pod.spec.containers[0], self.facts)
        except CannotRun as error:
            raise NotThere(error.message) from error

    def projected(self, sources: Sequence[Projection]) -> Files:
        files: Files = {}
        writers: dict[str, str] = {}
        for number, source in enumerate(sources):
            who, made = self.projection(source)
            who = f"sources[{number}] ({who})"
            for path in made:
                if path in writers:
                    raise NotThere(f"{writers[path]} and {who} both write {path}")
                writers[path] = who
            files |= made
        for path, above in _inside(writers):
            raise NotThere(f"{writers[above]} writes the file {above}, and {writers[path]} writes {path} below it")
        return files

    def projection(self, source: Projection) -> tuple[str, Files]:
        if (config_map := source.config_map) is not None:
            made = self.config("ConfigMap", config_map.name, config_map.items, optional=config_map.optional)
            return f"configMap {config_map.name}", made
        if (secret := source.secret) is not None:
            return f"secret {secret.name}", self.config("Secret", secret.name, secret.items, optional=secret.optional)
        return "downwardAPI", self.downward(source.downward_api.items if source.downward_api else ())


_NO_SECRET_KEY = "references non-existent secret key"


def files_of(volume: Volume, pod: Pod, lookup: Lookup, facts: Facts) -> Files:
    """The files of a volume whose kind is one of `core.volumes.PROJECTED`. Raises NotThere."""
    source = volume.config_map or volume.secret or volume.downward_api or volume.projected
    assert source is not None
    mode = FILE_MODE if source.default_mode is None else source.default_mode
    make = _Maker(pod, lookup, facts, mode, source.default_user)
    match source:
        case ConfigMapSource():
            files = make.config("ConfigMap", source.name, source.items, optional=source.optional)
        case SecretSource():
            files = make.config("Secret", source.secret_name, source.items, optional=source.optional)
        case DownwardAPISource():
            files = make.downward(source.items)
        case _:
            files = make.projected(source.sources)
    for path, above in _inside(files):
        raise NotThere(f"{above} is to be a file, and {path} to lie below it")
    return files


def _inside(paths: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """(path, file above it): what cannot both be."""
    for path in paths:
        parts = path.split("/")
        for length in range(1, len(parts)):
            if (above := "/".join(parts[:length])) in paths:
                yield path, above


def _known(name: str, data: Mapping[str, object]) -> str:
    return f"{name} has {', '.join(sorted(data))}" if data else f"{name} has none"


def format_map(pairs: Mapping[str, str]) -> str:
    """`key="value"` a line, sorted, quoted as Go's %q (pkg/fieldpath FormatMap)."""
    return "\n".join(f"{key}={go_quote(pairs[key])}" for key in sorted(pairs))


_ESCAPES = {"\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v"}
_ESCAPES |= {"\\": "\\\\", '"': '\\"'}


def go_quote(text: str) -> str:
    """As Go's strconv.Quote."""
    return f'"{"".join(map(_go_letter, text))}"'


def _go_letter(letter: str) -> str:
    if letter in _ESCAPES:
        return _ESCAPES[letter]
    if letter.isprintable():
        return letter
    number = ord(letter)
    if number < 0x80:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
