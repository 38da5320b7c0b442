"""`describe pod`: all that is known of a pod on one page."""

from __future__ import annotations

import sys
import time
from typing import Any

from minikube_lite.cli.client import Client
from minikube_lite.cli.commands.get import ALL_NAMESPACES, SELECTOR
from minikube_lite.cli.describing import describe_pod
from minikube_lite.cli.errors import ApiError, CliError, UsageError
from minikube_lite.cli.params import Command, Option
from minikube_lite.cli.resources import EVENT, POD, resources
from minikube_lite.cli.session import Session, warn

Json = dict[str, Any]


def run(session: Session, words: list[str], *, selector: str, all_namespaces: bool, show_events: bool) -> int:
    if not words:
        raise UsageError("You must specify the type of resource to describe: pod NAME")
    targets = resources(words)
    for kind, _ in targets:
        if kind is not POD:
            raise CliError(f"only pods can be described (try: {session.command(f'get {kind.plural} -o yaml')})")
    client = session.client
    names = [name for _, name in targets if name]
    if names and (selector or all_namespaces):
        raise CliError("name cannot be provided when a selector or -A is specified")
    failures: list[ApiError] = []
    pods: list[Json] = []
    for name in names:
        try:
            pods += _named(client, session.namespace, name)
        except ApiError as error:
            failures.append(error)
    if not names:
        namespace = None if all_namespaces else session.namespace
        pods = client.get(POD.path(namespace), [("labelSelector", selector)])["items"]
        if not pods:
            warn("No resources found" if all_namespaces else f"No resources found in {session.namespace} namespace.")
    texts = [describe_pod(pod, _events(client, pod) if show_events else [], time.time()) for pod in pods]
    sys.stdout.write("\n\n".join(texts))
    for failure in failures:
        warn(str(failure))
    return 1 if failures else 0


def _named(client: Client, namespace: str, name: str) -> list[Json]:
    """The pod of this name or, as kubectl does it, those whose names begin so."""
    try:
        return [client.get(POD.path(namespace, name))]
    except ApiError as error:
        if error.reason != "NotFound":
            raise
        pods = client.get(POD.path(namespace))["items"]
        found = [pod for pod in pods if pod["metadata"]["name"].startswith(name)]
        if not found:
            raise
        return found


def _events(client: Client, pod: Json) -> list[Json]:
    metadata = pod["metadata"]
    query = [("fieldSelector", f"involvedObject.kind=Pod,involvedObject.name={metadata['name']}")]
    events: list[Json] = client.get(EVENT.path(metadata.get("namespace", "default")), query)["items"]
    return events


COMMAND = Command(
    "describe",
    run,
    summary="Tell all about a pod: containers, states, limits, events.",
    usage="(pod NAME... | pod/NAME... | pods -l SELECTOR)",
    examples="""
minikube-lite describe pod web
minikube-lite describe pods -l app=web
""",
    completes=("pods",),
    options=(
        SELECTOR,
        ALL_NAMESPACES,
        Option("--show-events", flag=True, default=True, help="With the events (--show-events=false: without)."),
    ),
)
