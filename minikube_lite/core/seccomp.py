"""Which system calls a container may make: the OCI `linux.seccomp` of its profile. Called by core.oci and node.seccomp.

The profile is RuntimeDefault (see `seccomp_default`) where nothing is said, a JSON file (Localhost) or none at all.
What becomes of it, a program for the kernel, node.seccomp compiles. Sources: OCI config-linux.md "Seccomp", the
seccomp profile format of Docker, Kubernetes `pkg/apis/core/v1/types.go` SeccompProfile.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from minikube_lite.core import seccomp_default as table
from minikube_lite.spec.objects import Container, Pod
from minikube_lite.spec.security import SeccompProfile

Json = dict[str, Any]

ACTIONS = (
    *("SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_KILL_THREAD", "SCMP_ACT_TRAP", "SCMP_ACT_ERRNO"),
    *("SCMP_ACT_TRACE", "SCMP_ACT_ALLOW", "SCMP_ACT_LOG"),
)
"""Those of OCI but SCMP_ACT_NOTIFY, which wants a process that listens."""
OPERATORS = tuple(f"SCMP_CMP_{name}" for name in ("NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"))
FLAGS = {
    "SECCOMP_FILTER_FLAG_TSYNC": 1,
    "SECCOMP_FILTER_FLAG_LOG": 2,
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW": 4,
}
"""For seccomp(2). The command is its process' only thread, so TSYNC changes nothing."""
MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
"""Docker's name of an architecture → the kernel's."""
RUNTIME_DEFAULT = SeccompProfile(type="RuntimeDefault")
UNCONFINED = SeccompProfile(type="Unconfined")


class InvalidProfile(ValueError):
    """A profile file cannot be used; the message says what and where in it."""


def profile_of(pod: Pod, container: Container) -> SeccompProfile:
    """The container's word, else the pod's, else RuntimeDefault. A privileged one has none, whatever it says."""
    own, shared = container.security_context, pod.spec.security_context
    if own is not None and own.privileged:
        return UNCONFINED
    for context in (own, shared):
        if context is not None and context.seccomp_profile is not None:
            return context.seccomp_profile
    return RUNTIME_DEFAULT


def is_asked_for(pod: Pod, container: Container) -> bool:
    """Whether the spec itself says which profile."""
    return profile_of(pod, container) is not RUNTIME_DEFAULT


@lru_cache(maxsize=64)
def runtime_default(capabilities: frozenset[str], machine: str) -> Json:
    """The default profile for a container with this bounding set on this machine (`uname -m`). Not to be changed."""
    words = [table.ALWAYS, table.BY_MACHINE.get(machine, "")]
    words += [calls for name, calls in table.BY_CAPABILITY.items() if name in capabilities]
    allowed = sorted(set(" ".join(words).split()))
    rules: list[Json] = [{"names": allowed, "action": "SCMP_ACT_ALLOW"}]
    rules.append(_allow("socket", table.SOCKET_FAMILIES_BELOW, "SCMP_CMP_LT"))
    rules += [_allow("socket", family) for family in table.SOCKET_FAMILIES]
    rules += [_allow("personality", persona) for persona in table.PERSONALITIES]
    if "CAP_SYS_ADMIN" not in capabilities:
        rules.append(_allow("clone", table.CLONE_NEW_ANYTHING, "SCMP_CMP_MASKED_EQ"))
        rules.append({"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": table.ENOSYS})
    return {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": 1,
        "architectures": list(table.ARCHITECTURES.get(machine, ())),
        "syscalls": rules,
    }


def _allow(name: str, value: int, operator: str = "SCMP_CMP_EQ") -> Json:
    condition: Json = {"index": 0, "value": value, "op": operator}
    if operator == "SCMP_CMP_MASKED_EQ":
        condition["valueTwo"] = 0  # `value` is the mask: none of its bits is set
    return {"names": [name], "action": "SCMP_ACT_ALLOW", "args": [condition]}


def from_file(data: bytes, capabilities: Iterable[str], machine: str) -> Json:
    """The `linux.seccomp` of a profile file: OCI's form, or Docker's with conditions. Raises InvalidProfile."""
    try:
        profile = json.loads(data)
    except ValueError as error:
        raise InvalidProfile(f"it is not JSON: {error}") from error
    if not isinstance(profile, dict):
        raise InvalidProfile("it is not a JSON object")
    if profile.get("listenerPath"):
        raise InvalidProfile("listenerPath: no agent is told of system calls here")
    found: Json = {"defaultAction": _word(profile.get("defaultAction"), ACTIONS, "defaultAction")}
    if "defaultErrnoRet" in profile:
        found["defaultErrnoRet"] = _number(profile["defaultErrnoRet"], "defaultErrnoRet")
    found["architectures"] = _architectures(profile, machine)
    if flags := profile.get("flags"):
        found["flags"] = [_word(flag, FLAGS, f"flags[{index}]") for index, flag in enumerate(_list(flags, "flags"))]
    names = frozenset(capabilities)
    rules = enumerate(_list(profile.get("syscalls"), "syscalls"))
    found["syscalls"] = [
        _rule(rule, where)
        for where, rule in ((f"syscalls[{index}]", _object(rule, f"syscalls[{index}]")) for index, rule in rules)
        if _applies(rule, where, names, machine)
    ]
    return found


def _architectures(profile: Mapping[str, Any], machine: str) -> list[str]:
    """Those given; else those that Docker's `archMap` gives for this machine; else the machine's own and no other."""
    known = table.ARCHITECTURES.get(machine, ())
    if given := profile.get("architectures"):
        return [str(name) for name in _list(given, "architectures") if name in known]
    for index, entry in enumerate(_list(profile.get("archMap"), "archMap")):
        entry = _object(entry, f"archMap[{index}]")
        if known and entry.get("architecture") == known[0]:
            return [known[0], *(str(name) for name in entry.get("subArchitectures") or () if name in known)]
    return list(known[:1])


def _applies(rule: Mapping[str, Any], where: str, capabilities: frozenset[str], machine: str) -> bool:
    """Docker's `includes` (all of it has to be so) and `excludes` (none of it may be)."""
    includes = _object(rule.get("includes") or {}, f"{where}.includes")
    excludes = _object(rule.get("excludes") or {}, f"{where}.excludes")
    arches = [MACHINES.get(name, name) for name in includes.get("arches") or (machine,)]
    if machine not in arches or not capabilities.issuperset(includes.get("caps") or ()):
        return False
    if any(MACHINES.get(name, name) == machine for name in excludes.get("arches") or ()):
        return False
    return capabilities.isdisjoint(
        excludes.get("caps") or ()
    )  # `minKernel` is at most 4.8: older than any that can run this


def _rule(rule: Mapping[str, Any], where: str) -> Json:
    names = _list(rule.get("names") or ([rule["name"]] if rule.get("name") else None), f"{where}.names")
    if not names or not all(isinstance(name, str) and name for name in names):
        raise InvalidProfile(f"{where}.names: it takes the names of system calls")
    found: Json = {"names": names, "action": _word(rule.get("action"), ACTIONS, f"{where}.action")}
    if "errnoRet" in rule:
        found["errnoRet"] = _number(rule["errnoRet"], f"{where}.errnoRet")
    conditions = enumerate(_list(rule.get("args"), f"{where}.args"))
    if args := [
        _condition(_object(item, f"{where}.args[{index}]"), f"{where}.args[{index}]") for index, item in conditions
    ]:
        found["args"] = args
    return found


def _condition(condition: Mapping[str, Any], where: str) -> Json:
    index = _number(condition.get("index", 0), f"{where}.index")
    if index > 5:
        raise InvalidProfile(f"{where}.index: a system call has the arguments 0 to 5, not {index}")
    return {
        "index": index,
        "value": _number(condition.get("value", 0), f"{where}.value"),
        "valueTwo": _number(condition.get("valueTwo", 0), f"{where}.valueTwo"),
        "op": _word(condition.get("op"), OPERATORS, f"{where}.op"),
    }


def _word(value: Any, known: Iterable[str], where: str) -> str:
    known = tuple(known)
    if value not in known:
        raise InvalidProfile(f"{where}: {value!r} is none of {', '.join(known)}")
    return str(value)


def _number(value: Any, where: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**64:
        raise InvalidProfile(f"{where}: {value!r} is not a number from 0 on")
    return value


def _list(value: Any, where: str) -> list[Any]:
    if value is not None and not isinstance(value, list):
        raise InvalidProfile(f"{where}: it is not a list")
    return value or []


def _object(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise InvalidProfile(f"{where}: it is not an object")
    return value
