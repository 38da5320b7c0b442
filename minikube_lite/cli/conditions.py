"""What `wait --for=…` and `apply --wait` wait for, and whether a pod is there yet. Pure. Called by waiting and wait."""

from __future__ import annotations

from typing import Any, Protocol

from minikube_lite.cli.errors import CliError

Json = dict[str, Any]


class Condition(Protocol):
    """One `--for`. `met` takes the object, None where there is none."""

    gone: bool = False
    """Whether it is the object's absence that is waited for."""

    def met(self, pod: Json | None) -> bool: ...


class Deleted(Condition):
    gone = True

    def met(self, pod: Json | None) -> bool:
        return pod is None


class Created(Condition):
    def met(self, pod: Json | None) -> bool:
        return pod is not None


class ConditionIs(Condition):
    """`condition=Ready`, `condition=Ready=false`."""

    def __init__(self, type_: str, status: str) -> None:
        self.type = type_.lower()
        self.status = status.lower()

    def met(self, pod: Json | None) -> bool:
        conditions = ((pod or {}).get("status") or {}).get("conditions") or []
        return any(
            str(condition.get("type", "")).lower() == self.type
            and str(condition.get("status", "")).lower() == self.status
            and up_to_date(pod or {})
            for condition in conditions
        )


class PathIs(Condition):
    """`jsonpath='{.status.phase}'=Running`; without a value: the field is there."""

    def __init__(self, template: str, value: str | None) -> None:
        from minikube_lite.cli.jsonpath import JsonPath, relaxed

        self._path = JsonPath(relaxed(template))
        self._value = value

    def met(self, pod: Json | None) -> bool:
        from minikube_lite.cli.jsonpath_steps import go_text

        found = self._path.values(pod) if pod is not None else []
        if self._value is None:
            return bool(found)
        if len(found) > 1:
            raise CliError(f"given jsonpath expression matches more than one value: {found}")
        if found and isinstance(found[0], (dict, list)):
            raise CliError("jsonpath leads to a nested object or list which is not supported")
        return bool(found) and go_text(found[0]).strip() == self._value


class Running(Condition):
    """What `apply --wait` waits for: every container is ready, or the pod has done its work."""

    def met(self, pod: Json | None) -> bool:
        if pod is None or "deletionTimestamp" in pod["metadata"]:
            return False
        phase = (pod.get("status") or {}).get("phase")
        return up_to_date(pod) and (phase == "Succeeded" or ConditionIs("Ready", "true").met(pod))


def up_to_date(pod: Json) -> bool:
    """Whether the status speaks of the spec that is there now (`observedGeneration`, where the node keeps one)."""
    observed = (pod.get("status") or {}).get("observedGeneration")
    return observed is None or int(observed) >= int(pod["metadata"].get("generation") or 0)


def condition(text: str) -> Condition:
    """The condition that `--for` names. Raises CliError, in kubectl's words."""
    lower = text.lower()
    if lower == "delete":
        return Deleted()
    if lower == "create":
        return Created()
    if text.startswith("condition="):
        type_, _, status = text.removeprefix("condition=").partition("=")
        return ConditionIs(type_, status or "true")
    if text.startswith("jsonpath="):
        return _path_condition(text.removeprefix("jsonpath="))
    raise CliError(
        f'unrecognized condition: "{text}" (there are delete, create, condition=NAME[=VALUE], jsonpath=PATH=VALUE)'
    )


def _path_condition(text: str) -> Condition:
    text = text.replace("'", "") if text.startswith("'") else text
    brace = text.rfind("}") if text.startswith("{") else -1
    template, rest = (text[: brace + 1], text[brace + 1 :]) if brace > 0 else ("", text)
    if not template:
        template, equals, value = rest.partition("=")
        rest = equals + value
    if rest and not rest.startswith("="):
        raise CliError(
            "jsonpath wait format must be --for=jsonpath='{.status.readyReplicas}'=3 or "
            "--for=jsonpath='{.status.readyReplicas}'"
        )
    if rest == "=":
        raise CliError(
            "jsonpath wait has to have a value after equal sign, like --for=jsonpath='{.status.readyReplicas}'=3"
        )
    return PathIs(template, rest[1:].strip("'\"") if rest else None)


def why_not_ready(pod: Json | None) -> str:
    """In one line, why this pod is not ready: the first container in trouble, else the pod's own reason."""
    if pod is None:
        return "it does not exist"
    status = pod.get("status") or {}
    reason = _reason(status.get("reason"), status.get("message"))
    if reason:
        return reason
    for container in [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]:
        if container.get("ready"):
            continue
        text = _why_container(container)
        if text:
            return f"container {container['name']} {text}"
    for entry in status.get("conditions") or []:
        if entry.get("status") == "False" and entry.get("message"):
            return _reason(entry.get("reason"), entry.get("message"))
    return f"its phase is {status.get('phase') or 'Unknown'}"


def _why_container(container: Json) -> str:
    state = container.get("state") or {}
    if "running" in state:
        return "runs but is not ready"
    if "terminated" in state:
        return "has ended: " + _ended(state["terminated"])
    waiting = state.get("waiting") or {}
    last = (container.get("lastState") or {}).get("terminated")
    if last and waiting.get("reason") == "CrashLoopBackOff":  # its own message says when, not why
        return "is in CrashLoopBackOff: " + _ended(last)
    text = _reason(waiting.get("reason"), waiting.get("message"))
    return f"waits: {text}" if text else ""


def _ended(terminated: Json) -> str:
    text = _reason(terminated.get("reason"), terminated.get("message"))
    code = f"exit code {terminated.get('exitCode')}"
    return f"{text} ({code})" if text else code


def _reason(reason: Any, message: Any) -> str:
    return ": ".join(str(part) for part in (reason, message) if part)
