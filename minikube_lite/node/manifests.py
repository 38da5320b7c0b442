"""The manifests directory as a value. Called by `node.node` on every news from it; hands on a `Snapshot`.

Reads a file again only when its (device, inode, size, mtime) changed. Keeps the rules for what a person may do to the
directory at any moment: an edit that breaks a file takes no running pod down, two files that claim one pod do not
fight, and a directory that vanishes is no wish to stop everything.
"""

from __future__ import annotations

import fcntl
import os
import signal
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from minikube_lite.core.model import PodDesired
from minikube_lite.spec import kinds
from minikube_lite.spec.claims import Claim
from minikube_lite.spec.configs import Config
from minikube_lite.spec.manifest import Document, Manifest, read_manifest
from minikube_lite.spec.problems import InvalidManifest, Problem

SUFFIXES = (".yaml", ".yml", ".json")
MAX_SIZE = 64 << 20
"""No more than this is read of a file; `spec` refuses far smaller ones, with the right words."""


def is_manifest_name(name: str) -> bool:
    """Whether a file of this name is read. Editors' own files are not: dot files, `x~`, `#x#`, vim's `4913`."""
    return name.endswith(SUFFIXES) and not name.startswith((".", "#"))


def being_written(descriptor: int) -> bool:
    """Whether somebody has the file open for writing: a read lease is refused then (fcntl(2), F_SETLEASE).

    A half-written manifest must not be taken for the wish to stop its pods. Where leases do not work: False.
    """
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)  # a broken lease would send SIGIO, which kills
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except BlockingIOError:
        return True
    except OSError:
        return False
    fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return False


@dataclass(frozen=True, slots=True)
class ManifestFile:
    """One file as last read."""

    name: str
    signature: tuple[int, ...]
    data: bytes = b""
    documents: tuple[Document, ...] = ()
    problems: tuple[Problem, ...] = ()
    """Of the file as a whole and of its documents."""

    @property
    def objects(self) -> dict[str, Document]:
        """`Document.id` → what is in order and used here."""
        return {document.id: document for document in self.documents if document.used}

    @property
    def broken_names(self) -> set[str] | None:
        """The ids of the documents that have problems; None where at least one of them cannot be told."""
        names: set[str] = set()
        blamed = 0
        for document in self.documents:
            if document.problems:
                blamed += len(document.problems)
                if not (document.namespace and document.name) or any(map(_is_of_identity, document.problems)):
                    return None
                names.add(document.id)
                if document.kind != "Pod":  # a kind with a typo in it: whatever of that name there was
                    names.update((document.key, *(f"{kind}/{document.key}" for kind in kinds.KEPT)))
        return names if blamed >= len(self.problems) else None


def _is_of_identity(problem: Problem) -> bool:
    """Whether what is wrong leaves open which object was meant."""
    return problem.field.endswith(("metadata", "metadata.name", "metadata.namespace"))


def _holds(held: Mapping[str, frozenset[str] | None], source: str, key: str) -> bool:
    """Whether this file is broken in a way that keeps its object as it was."""
    names = held.get(source, frozenset())
    return names is None or key in names


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What the directory asks for at one moment."""

    pods: Mapping[str, PodDesired] = field(default_factory=dict)
    configs: Mapping[str, Config | Claim] = field(default_factory=dict)
    """ConfigMaps, Secrets and claims by id; one whose manifest was broken since is here as it last was."""
    problems: Mapping[str, tuple[Problem, ...]] = field(default_factory=dict)
    """Per pod key: why its manifest is not used as it stands (`InvalidManifest`, `Conflict`)."""
    file_problems: Mapping[str, tuple[Problem, ...]] = field(default_factory=dict)
    """Per file: problems that no pod's name could be put to, those of ConfigMaps and Secrets among them."""
    warnings: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    conflicts: Mapping[str, str] = field(default_factory=dict)
    """Per id: the message, naming both files."""
    held: Mapping[str, frozenset[str] | None] = field(default_factory=dict)
    """Per broken file: the ids of what to keep as it was (None: all that came from it)."""
    lost: str = ""
    """Why the directory cannot be read; "" while it can."""

    def desired(self, key: str, accepted: PodDesired | None) -> PodDesired | None:
        """What to bring about for one pod; `accepted` is what it runs as now, kept where the manifest is broken."""
        wanted = self.pods.get(key)
        if wanted is not None or accepted is None:
            return wanted
        return accepted if self.lost or _holds(self.held, accepted.source, key) else None


class ManifestDirectory:
    """Reads the directory; remembers what it read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.files: dict[str, ManifestFile] = {}
        self.owners: dict[str, str] = {}
        """Id → the file it came from first; seeded with the records of pods at start."""
        self.configs: dict[str, Config | Claim] = {}
        """As they were in the last snapshot."""
        self.lost = ""
        self.unsettled: set[str] = set()
        """Files that somebody had open for writing when we looked: to be looked at again."""

    def rescan(self) -> Snapshot:
        """Look at every file. Reads only what changed; never raises for what it finds."""
        try:
            names = [entry.name for entry in os.scandir(self.path) if is_manifest_name(entry.name)]
        except OSError as error:
            self.lost = f"cannot read the manifests directory {self.path}: {error.strerror}; every pod stays as it is"
            return self.snapshot()
        self.lost = ""
        for gone in self.files.keys() - set(names):
            del self.files[gone]
        self.unsettled.intersection_update(names)
        return self.refresh(names)

    def refresh(self, names: Iterable[str]) -> Snapshot:
        """Look at these files only (new, changed or gone)."""
        for name in names:
            if is_manifest_name(name):
                self._read(name)
        return self.snapshot()

    def _read(self, name: str) -> None:
        path = self.path / name
        self.unsettled.discard(name)
        known = self.files.get(name)
        try:
            status = os.stat(path)
            signature = (
                status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_mode
            )  # fmt: skip
            if known is not None and known.signature == signature:
                return
            if not stat.S_ISREG(status.st_mode):
                raise OSError(0, "not a regular file")
            with path.open("rb", buffering=0) as file:
                if being_written(file.fileno()):
                    self.unsettled.add(name)
                    return
                data = file.read(MAX_SIZE + 1)
        except OSError as error:
            if isinstance(error, FileNotFoundError) and not path.is_symlink():
                if not self.path.is_dir():
                    self.rescan_lost()
                else:
                    self.files.pop(name, None)
                return
            what = "a symbolic link to nothing" if isinstance(error, FileNotFoundError) else error.strerror
            problem = Problem(f"cannot read the file: {what}", source=str(path), hint="check the file and its rights")
            self.files[name] = ManifestFile(name, (), problems=(problem,))
            return
        try:
            manifest = read_manifest(data, str(path))
        except InvalidManifest as error:
            manifest = Manifest((), error.problems)
        problems = manifest.problems + tuple(
            problem
            for document in manifest.documents
            for problem in document.problems
            if problem not in manifest.problems
        )
        self.files[name] = ManifestFile(name, signature, data, manifest.documents, problems)

    def rescan_lost(self) -> None:
        """The directory went away between an event and our look."""
        self.lost = f"the manifests directory {self.path} is gone; every pod stays as it is until it is back"

    def snapshot(self) -> Snapshot:
        """Put the files together: who owns which object, what is broken, what is held."""
        pods: dict[str, PodDesired] = {}
        configs: dict[str, Config | Claim] = {}
        problems: dict[str, tuple[Problem, ...]] = {}
        file_problems: dict[str, tuple[Problem, ...]] = {}
        warnings: dict[str, tuple[str, ...]] = {}
        conflicts: dict[str, str] = {}
        held: dict[str, frozenset[str] | None] = {}
        claims: dict[str, list[ManifestFile]] = {}
        for name in sorted(self.files):
            file = self.files[name]
            for key in file.objects:
                claims.setdefault(key, []).append(file)
            if file.problems:
                names = file.broken_names
                held[str(self.path / name)] = None if names is None else frozenset(names)
        for name in self.unsettled - self.files.keys():  # not read yet: what came from it (before a restart) stays
            held[str(self.path / name)] = None
        for key, files in claims.items():
            owner = next((file for file in files if str(self.path / file.name) == self.owners.get(key)), files[0])
            if str(self.path / owner.name) != self.owners.get(key) and _holds(held, self.owners.get(key, ""), key):
                first, others = os.path.basename(self.owners[key]), ", ".join(file.name for file in files)
                what = _words(key)
                conflicts[key] = f"{first} and {others} both define {what}; {first} keeps it, though it is broken"
                continue
            if len(files) > 1:
                losers = ", ".join(file.name for file in files if file is not owner)
                conflicts[key] = f"{owner.name} and {losers} both define {_words(key)}; {owner.name} keeps it"
            document = owner.objects[key]
            source = str(self.path / owner.name)
            kept = document.config or document.claim
            if kept is not None:
                configs[key] = kept
            elif document.pod is not None:
                pods[key] = PodDesired(document.pod, source)
            self.owners[key] = source
            if document.warnings:
                warnings[key] = document.warnings
        for name, file in sorted(self.files.items()):
            blamed: set[Problem] = set()
            for document in file.documents:
                key = document.key
                if not (document.problems and document.name and document.namespace):
                    continue
                if document.kind in kinds.KEPT:
                    continue  # no pod's: the file's
                if key in pods and pods[key].source != str(self.path / name):
                    continue  # the pod is another file's, and that one is in order
                problems[key] = problems.get(key, ()) + document.problems
                blamed.update(document.problems)
            rest = tuple(problem for problem in file.problems if problem not in blamed)
            if rest:
                file_problems[name] = rest
        for key, config in self.configs.items():
            if key not in configs and (self.lost or _holds(held, self.owners.get(key, ""), key)):
                configs[key] = config
        self.configs = configs
        if not self.lost:
            for key in [key for key in self.owners if not (key in pods or key in configs or key in problems)]:
                if not _holds(held, self.owners[key], key):
                    del self.owners[key]
        return Snapshot(pods, configs, problems, file_problems, warnings, conflicts, held, self.lost)


def _words(key: str) -> str:
    """`pod default/web`, `Secret default/keys`."""
    kind, _, rest = key.partition("/")
    return f"{kind} {rest}" if kind in kinds.KEPT and "/" in rest else f"pod {key}"
