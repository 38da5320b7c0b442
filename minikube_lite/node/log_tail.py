"""The last lines of a container's log, for "why did it die". Called by `node.execute`; reads at most a few KiB."""

from __future__ import annotations

from minikube_lite.node.paths import Paths
from minikube_lite.node.records import PodRecord

TAIL_BYTES = 4096
TAIL_LINES = 5
"""Lines that an event carries."""


def log_path(paths: Paths, record: PodRecord, container: str, bundle: str) -> str:
    """Where the log of one run is written: as the kubelet's `/var/log/pods/NS_NAME_UID/CONTAINER/N.log`."""
    pod = record.observed.pod
    directory = paths.pod_logs(pod.metadata.namespace, pod.metadata.name, record.observed.uid)
    return str(directory / container / f"{bundle.partition('-')[0]}.log")


def last_lines(paths: Paths, record: PodRecord, container: str, bundle: str) -> tuple[str, ...]:
    """The text of the last lines, without the CRI prefix; none where there is no log."""
    try:
        with open(log_path(paths, record, container, bundle), "rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - TAIL_BYTES))
            lines = file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return ()
    texts = [parts[3] for line in lines if len(parts := line.split(" ", 3)) == 4 and parts[1] in ("stdout", "stderr")]
    return tuple(texts[-TAIL_LINES:])
