"""The seccomp programs of a node: compiled once for each profile, kept as files that launcher's children install.

Called by node.linux_runtime for every container and every command in one. The files are in the run directory and made
anew by each node (another libseccomp may be there by then); nobody else writes there.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from minikube_lite.core import oci_defaults, seccomp
from minikube_lite.node import seccomp_compiler
from minikube_lite.node.runtime import RuntimeFailure
from minikube_lite.node.seccomp_compiler import CannotCompile
from minikube_lite.spec.objects import Container, Pod
from minikube_lite.spec.security import SeccompProfile


@dataclass(frozen=True, slots=True)
class Filter:
    """What rules the system calls of one container. All empty: nothing does."""

    oci: Mapping[str, Any] = field(default_factory=dict)
    """`linux.seccomp` of its config."""
    request: Mapping[str, Any] = field(default_factory=dict)
    """`seccomp` of the request to the launcher: the program's file, and the flags for seccomp(2)."""
    warning: str = ""
    """What is not enforced, and why."""


class Seccomp:
    """`programs`: where compiled ones are kept; `profiles`: where Localhost profiles are read from."""

    def __init__(self, programs: Path, profiles: Path) -> None:
        self._programs = programs
        self._profiles = profiles
        self._machine = os.uname().machine
        self._defaults: dict[frozenset[str], Filter] = {}
        self._compiling: dict[str, asyncio.Future[None]] = {}

    async def prepare(self) -> str:
        """Compile the default profile for the default capabilities, so that no container waits for it.

        Returns what is wrong on this machine, or "".
        """
        try:
            await self._default(frozenset(oci_defaults.DEFAULT_CAPABILITIES))
        except (CannotCompile, OSError) as error:
            return f"seccomp: no container is kept from system calls: {error}"
        return ""

    async def filter(self, pod: Pod, container: Container, capabilities: Iterable[str]) -> Filter:
        """What rules the system calls of this container, which has these capabilities in its bounding set.

        Where the machine cannot do it: a filter that is empty but for a warning if the spec did not ask for one, else
        RuntimeFailure.
        """
        wanted = seccomp.profile_of(pod, container)
        if wanted.type == "Unconfined":
            return Filter()
        try:
            if wanted.type == "Localhost":
                return await self._compiled(self._localhost(wanted, capabilities))
            return await self._default(frozenset(capabilities))
        except CannotCompile as error:
            if not seccomp.is_asked_for(pod, container):
                return Filter(warning=f"seccomp: no system call is kept from it: {error}")
            raise RuntimeFailure("CreateContainerError", f"seccompProfile {wanted.type}: {error}") from error

    async def of_config(self, config: Mapping[str, Any]) -> Mapping[str, Any]:
        """The request for a further process in a container with this config.json. Raises CannotCompile, OSError."""
        profile = (config.get("linux") or {}).get("seccomp")
        return (await self._compiled(profile)).request if profile else {}

    async def _default(self, capabilities: frozenset[str]) -> Filter:
        found = self._defaults.get(capabilities)
        if found is None:
            found = await self._compiled(seccomp.runtime_default(capabilities, self._machine))
            self._defaults[capabilities] = found
        return found

    def _localhost(self, wanted: SeccompProfile, capabilities: Iterable[str]) -> Mapping[str, Any]:
        """Read anew each time: a profile that was put right is used at the next try."""
        path = self._profiles / (wanted.localhost_profile or "")
        try:
            return seccomp.from_file(path.read_bytes(), capabilities, self._machine)
        except (OSError, seccomp.InvalidProfile) as error:
            why = error.strerror if isinstance(error, OSError) else error
            raise RuntimeFailure("CreateContainerError", f'cannot load seccomp profile "{path}": {why}') from error

    async def _compiled(self, profile: Mapping[str, Any]) -> Filter:
        """Compiled once, whoever asks at the same time. Raises CannotCompile, OSError."""
        text = json.dumps(profile, sort_keys=True)
        name = f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.bpf"
        future = self._compiling.get(name)
        if future is None:
            future = asyncio.ensure_future(asyncio.to_thread(self._compile, profile, self._programs / name))
            self._compiling[name] = future
        try:
            await asyncio.shield(future)
        except (CannotCompile, OSError):
            if self._compiling.get(name) is future:  # the next one tries again: what lacks may be there by then
                del self._compiling[name]
            raise
        flags = sum(seccomp.FLAGS[flag] for flag in profile.get("flags") or ())
        return Filter(profile, {"program": str(self._programs / name), "flags": flags})

    def _compile(self, profile: Mapping[str, Any], path: Path) -> None:
        self._programs.mkdir(mode=0o700, exist_ok=True)
        temporary = path.with_suffix(".new")
        with temporary.open("wb") as file:
            os.fchmod(file.fileno(), 0o400)
            seccomp_compiler.compile_profile(profile, file)
        temporary.replace(path)
