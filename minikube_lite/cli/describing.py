"""The text of `describe pod`. Pure: called by commands.describe with the pod, its events and the time.

The layout is kubectl's (k8s.io/kubectl/pkg/describe/describe.go `describePod`), with three additions: the manifest a
pod stands in, why a container waits, and the CPU quota that a limit has become.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from minikube_lite.cli.describing_volumes import volume_lines
from minikube_lite.cli.output import NONE
from minikube_lite.cli.tabs import align

Json = dict[str, Any]

MANIFEST = "node.minikube-lite/manifest"
"""The annotation that names the manifest file."""
HEALTHCHECK = "node.minikube-lite/ignored-healthcheck"
"""The annotation that names the containers whose image has a health check."""
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
"""The annotation in which kubectl keeps a whole object: never shown, as by kubectl."""
LONG = 140


def describe_pod(pod: Json, events: list[Json], now: float) -> str:
    """`now`: the wall clock, in seconds since the epoch."""
    metadata, spec, status = pod["metadata"], pod.get("spec") or {}, pod.get("status") or {}
    annotations = dict(metadata.get("annotations") or {})
    manifest = annotations.pop(MANIFEST, "")
    annotations.pop(HEALTHCHECK, None)
    annotations.pop(LAST_APPLIED, None)
    lines = [f"Name:\t{metadata['name']}", f"Namespace:\t{metadata.get('namespace', '')}"]
    if spec.get("priority") is not None:
        lines.append(f"Priority:\t{spec['priority']}")
    if spec.get("priorityClassName"):
        lines.append(f"Priority Class Name:\t{spec['priorityClassName']}")
    if spec.get("serviceAccountName"):
        lines.append(f"Service Account:\t{spec['serviceAccountName']}")
    node = spec.get("nodeName")
    lines.append(f"Node:\t{node}/{status.get('hostIP', '')}" if node else f"Node:\t{NONE}")
    if manifest:
        lines.append(f"Manifest:\t{manifest}")
    if status.get("startTime"):
        lines.append(f"Start Time:\t{_rfc1123(status['startTime'])}")
    lines += pair_lines("Labels", metadata.get("labels"), "=")
    lines += annotation_lines(annotations)
    lines += _state_of_pod(metadata, status, now)
    lines.append(f"IP:\t{status.get('podIP', '')}")
    addresses = [entry.get("ip", "") for entry in status.get("podIPs") or []]
    lines += ["IPs:", *(f"  IP:\t{address}" for address in addresses)] if addresses else [f"IPs:\t{NONE}"]
    if spec.get("initContainers"):
        lines += _containers("Init Containers", spec["initContainers"], status.get("initContainerStatuses"), pod)
    lines += _containers("Containers", spec.get("containers") or [], status.get("containerStatuses"), pod)
    lines += _conditions(status.get("conditions") or [])
    lines += volume_lines(spec.get("volumes") or [])
    lines.append(f"QoS Class:\t{status.get('qosClass', '')}")
    lines += pair_lines("Node-Selectors", spec.get("nodeSelector"), "=")
    tolerations = sorted(spec.get("tolerations") or [], key=lambda entry: str(entry.get("key") or ""))
    lines += _list("Tolerations", [_toleration(entry) for entry in tolerations])
    text = "\n".join(lines)
    if not events:
        return align(f"{text}\nEvents:\t{NONE}\n")
    return align(text) + "\n" + align("\n".join(event_lines(events, now))) + "\n"


def _state_of_pod(metadata: Json, status: Json, now: float) -> list[str]:
    if metadata.get("deletionTimestamp"):
        lines = [f"Status:\tTerminating (lasts {since(metadata['deletionTimestamp'], now)})"]
        if metadata.get("deletionGracePeriodSeconds") is not None:
            lines.append(f"Termination Grace Period:\t{metadata['deletionGracePeriodSeconds']}s")
    else:
        lines = [f"Status:\t{status.get('phase', '')}"]
    lines += [f"{key.capitalize()}:\t{_flat(status[key])}" for key in ("reason", "message") if status.get(key)]
    return lines


def _containers(heading: str, containers: list[Json], statuses: list[Json] | None, pod: Json) -> list[str]:
    by_name = {status["name"]: status for status in statuses or []}
    lines = [f"{heading}:" if containers else f"{heading}:\t{NONE}"]
    for container in containers:
        lines.append(f"  {container['name']}:")
        lines += ["    " + line for line in _container(container, by_name.get(container["name"]), pod)]
    return lines


def _container(container: Json, status: Json | None, pod: Json) -> list[str]:
    lines = [f"Container ID:\t{status.get('containerID', '')}"] if status else []
    lines.append(f"Image:\t{container.get('image', '')}")
    lines += [f"Image ID:\t{status.get('imageID', '')}"] if status else []
    if container["name"] in str((pod["metadata"].get("annotations") or {}).get(HEALTHCHECK, "")).split(","):
        lines.append("Image Healthcheck:\tignored, as Kubernetes ignores it (hint: livenessProbe)")
    ports = container.get("ports") or []
    for title, key in (("Port", "containerPort"), ("Host Port", "hostPort")):
        shown = ", ".join(f"{port.get(key, 0)}/{port.get('protocol', 'TCP')}" for port in ports)
        lines.append(f"{title}{'s' if len(ports) > 1 else ''}:\t{shown or NONE}")
    for title in ("command", "args"):
        if container.get(title):
            lines.append(f"{title.capitalize()}:")
            lines += [f"  {_plain(line)}" for word in container[title] for line in str(word).split("\n")]
    if status:
        lines += _state("State", status.get("state") or {})
        if (status.get("lastState") or {}).get("terminated"):
            lines += _state("Last State", status["lastState"])
        lines.append(f"Ready:\t{bool(status.get('ready'))}")
        lines.append(f"Restart Count:\t{status.get('restartCount', 0)}")
    lines += _resources(container.get("resources") or {})
    for title in ("liveness", "readiness", "startup"):
        if container.get(f"{title}Probe"):
            lines.append(f"{title.capitalize()}:\t{_probe(container[f'{title}Probe'])}")
    lines += _env_from(container.get("envFrom") or [])
    lines += _environment(container.get("env") or [], pod)
    mounts = sorted(container.get("volumeMounts") or [], key=lambda mount: str(mount.get("mountPath")))
    lines += ["Mounts:"] if mounts else [f"Mounts:\t{NONE}"]
    lines += [f"  {mount.get('mountPath')} from {mount.get('name')} ({_mount_flags(mount)})" for mount in mounts]
    return lines


def _state(title: str, state: Json) -> list[str]:
    if about := state.get("running"):
        return [f"{title}:\tRunning", f"  Started:\t{_rfc1123(about.get('startedAt'))}"]
    if about := state.get("terminated"):
        lines = [f"{title}:\tTerminated"]
        lines += [f"  {key.capitalize()}:\t{_flat(about[key])}" for key in ("reason", "message") if about.get(key)]
        lines.append(f"  Exit Code:\t{about.get('exitCode', 0)}")
        lines += [f"  Signal:\t{about['signal']}"] if about.get("signal") else []
        lines.append(f"  Started:\t{_rfc1123(about.get('startedAt'))}")
        return [*lines, f"  Finished:\t{_rfc1123(about.get('finishedAt'))}"]
    about = state.get("waiting") or {}
    lines = [f"{title}:\tWaiting"]
    return lines + [f"  {key.capitalize()}:\t{_flat(about[key])}" for key in ("reason", "message") if about.get(key)]


def _resources(resources: Json) -> list[str]:
    lines = []
    for key in ("limits", "requests"):
        amounts = resources.get(key) or {}
        lines += [f"{key.capitalize()}:"] if amounts else []
        lines += [f"  {name}:\t{amounts[name]}" for name in sorted(amounts)]
    limit = (resources.get("limits") or {}).get("cpu")
    if limit is not None:
        lines.append(f"CPU Quota:\t{_quota(limit)}")
    return lines


def _quota(limit: Any) -> str:
    from minikube_lite.spec.cpu import quota_and_period
    from minikube_lite.spec.quantity import Quantity

    quota, period = quota_and_period(Quantity.parse(limit).milli)
    return f"{quota}us of every {period}us"


def _probe(probe: Json) -> str:
    """As `DescribeProbe` words it."""
    attributes = (
        f"delay={probe.get('initialDelaySeconds', 0)}s timeout={probe.get('timeoutSeconds', 1)}s "
        f"period={probe.get('periodSeconds', 10)}s #success={probe.get('successThreshold', 1)} "
        f"#failure={probe.get('failureThreshold', 3)}"
    )
    if "exec" in probe:
        return f"exec [{' '.join(map(str, probe['exec'].get('command') or []))}] {attributes}"
    if "httpGet" in probe:
        get = probe["httpGet"]
        where = f"{str(get.get('scheme', 'HTTP')).lower()}://{get.get('host', '')}:{get.get('port', '')}"
        return f"http-get {where}{get.get('path', '')} {attributes}"
    if "tcpSocket" in probe:
        return f"tcp-socket {probe['tcpSocket'].get('host', '')}:{probe['tcpSocket'].get('port', '')} {attributes}"
    if "grpc" in probe:
        return f"grpc <pod>:{probe['grpc'].get('port')} {probe['grpc'].get('service', '')} {attributes}"
    return f"unknown {attributes}"


def _env_from(entries: list[Json]) -> list[str]:
    lines = ["Environment Variables from:"] if entries else []
    for entry in entries:
        kind, key = ("ConfigMap", "configMapRef") if "configMapRef" in entry else ("Secret", "secretRef")
        ref = entry.get(key) or {}
        prefix = f" with prefix '{entry['prefix']}'" if entry.get("prefix") else ""
        lines.append(f"  {ref.get('name', '')}\t{kind}{prefix}\tOptional: {_truth(ref.get('optional'))}")
    return lines


def _environment(variables: list[Json], pod: Json) -> list[str]:
    lines = ["Environment:"] if variables else [f"Environment:\t{NONE}"]
    for variable in variables:
        source = variable.get("valueFrom")
        if not source:
            first, *rest = str(variable.get("value") or "").split("\n")
            lines += [f"  {variable['name']}:\t{_plain(first)}", *(f"  \t{_plain(line)}" for line in rest)]
            continue
        lines.append(f"  {variable['name']}:\t{_source(source, pod)}")
    return lines


def _source(source: Json, pod: Json) -> str:
    if ref := source.get("fieldRef"):
        return f"{_field(pod, ref.get('fieldPath', ''))} ({ref.get('apiVersion', 'v1')}:{ref.get('fieldPath', '')})"
    if ref := source.get("resourceFieldRef"):
        return f"({ref.get('resource', '')})"
    if ref := source.get("secretKeyRef"):
        what = f"<set to the key '{ref.get('key')}' in secret '{ref.get('name')}'>"
        return f"{what}\tOptional: {_truth(ref.get('optional'))}"
    ref = source.get("configMapKeyRef") or {}
    what = f"<set to the key '{ref.get('key')}' of config map '{ref.get('name')}'>"
    return f"{what}\tOptional: {_truth(ref.get('optional'))}"


def _field(pod: Json, path: str) -> str:
    value: Any = pod
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value if isinstance(value, str) else ""


def _mount_flags(mount: Json) -> str:
    path = f',path="{mount["subPath"]}"' if mount.get("subPath") else ""
    return ("ro" if mount.get("readOnly") else "rw") + path


def _conditions(conditions: list[Json]) -> list[str]:
    lines = ["Conditions:", "  Type\tStatus"] if conditions else []
    return lines + [f"  {entry.get('type')} \t{entry.get('status')} " for entry in conditions]


def _toleration(entry: Json) -> str:
    text = str(entry.get("key") or "")
    text += f"={entry['value']}" if entry.get("value") else ""
    text += f":{entry['effect']}" if entry.get("effect") else ""
    if entry.get("operator") == "Exists" and not entry.get("value"):
        text += " op=Exists" if text else "op=Exists"
    seconds = entry.get("tolerationSeconds")
    return text + (f" for {seconds}s" if seconds is not None else "")


def event_lines(events: list[Json], now: float) -> list[str]:
    """The table at the end; the latest event last."""
    lines = ["Events:", "  Type\tReason\tAge\tFrom\tMessage", "  ----\t------\t----\t----\t-------"]
    for event in sorted(events, key=lambda event: str(event.get("lastTimestamp") or event.get("eventTime") or "")):
        age = since(event.get("firstTimestamp") or event.get("eventTime"), now)
        if int(event.get("count") or 1) > 1:
            age = f"{since(event.get('lastTimestamp'), now)} (x{event['count']} over {age})"
        source = (event.get("source") or {}).get("component") or event.get("reportingComponent") or ""
        cells = (event.get("type"), event.get("reason"), age, source, _flat(str(event.get("message") or "").strip()))
        lines.append("  " + "\t".join(_plain(cell) for cell in cells))
    return lines


def pair_lines(title: str, pairs: Json | None, between: str) -> list[str]:
    """Labels and the like, sorted, one a line."""
    return _list(title, [f"{key}{between}{_plain(value)}" for key, value in sorted((pairs or {}).items())])


def _list(title: str, entries: list[str]) -> list[str]:
    return [f"{title}:\t{entries[0]}", *(f"\t{entry}" for entry in entries[1:])] if entries else [f"{title}:\t{NONE}"]


def annotation_lines(annotations: Json) -> list[str]:
    """Annotations, long ones on lines of their own and shortened."""
    entries = []
    for key, value in sorted(annotations.items()):
        text = str(value).removesuffix("\n")
        if len(text) + len(key) + 2 > LONG or "\n" in text:
            entries.append(f"{key}:")
            entries += [f"  {_shortened(_plain(line))}" for line in text.split("\n")]
        else:
            entries.append(f"{key}: {_plain(text)}")
    return _list("Annotations", entries)


def _shortened(line: str) -> str:
    return line if len(line) <= LONG - 2 else line[: LONG - 2] + "..."


def _flat(text: Any) -> str:
    """On one line: the layout is made of lines."""
    return _plain("; ".join(part for part in str(text).split("\n") if part.strip()))


def _plain(text: Any) -> str:
    """Nothing that a terminal, or the tab stops, would take for a command."""
    return "".join(char if char.isprintable() else " " for char in str(text))


def _truth(value: Any) -> str:
    return "true" if value else "false"


def _instant(stamp: Any) -> datetime | None:
    try:
        return datetime.fromisoformat(stamp) if isinstance(stamp, str) else None
    except ValueError:
        return None


def _rfc1123(stamp: Any) -> str:
    instant = _instant(stamp)
    return instant.astimezone(UTC).strftime("%a, %d %b %Y %H:%M:%S +0000") if instant else str(stamp or "")


def since(stamp: Any, now: float) -> str:
    """How long ago, as kubectl shows an age."""
    from minikube_lite.core.times import human_duration

    instant = _instant(stamp)
    return human_duration(now - instant.timestamp()) if instant else "<unknown>"
