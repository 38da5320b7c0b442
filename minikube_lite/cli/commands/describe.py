"""`describe pod`: all that is known of a pod on one page."""

from __future__ import annotations

import sys
import time
from typing import Any

from minikube_lite.cli.client import Client
from minikube_lite.cli.commands.get import ALL_NAMESPACES, SELECTOR
from minikube_lite.cli.describing import describe_pod
from minikube_lite.cli.describing_claims import describe_claim
from minikube_lite.cli.describing_configs import describe_config_map, describe_secret
from minikube_lite.cli.errors import ApiError, CliError, UsageError
from minikube_lite.cli.params import Command, Option
from minikube_lite.cli.resources import CLAIM, CONFIG_MAP, EVENT, POD, SECRET, Kind, resources
from minikube_lite.cli.session import Session, warn

Json = dict[str, Any]

DESCRIBERS = {POD: describe_pod, CONFIG_MAP: describe_config_map, SECRET: describe_secret, CLAIM: describe_claim}


def run(session: Session, words: list[str], *, selector: str, all_namespaces: bool, show_events: bool) -> int:
    if not words:
        raise UsageError("You must specify the type of resource to describe: pod NAME")
    targets = resources(words)
    for kind, _ in targets:
        if kind not in DESCRIBERS:
            raise CliError(f"{kind.plural} cannot be described (try: {session.command(f'get {kind.plural} -o yaml')})")
    client = session.client
    if any(name for _, name in targets) and (selector or all_namespaces):
        raise CliError("name cannot be provided when a selector or -A is specified")
    failures: list[ApiError] = []
    found: list[tuple[Kind, Json]] = []
    namespace = None if all_namespaces else session.namespace
    for kind, name in targets:
        try:
            if name:
                items = _named(client, kind, session.namespace, name)
            else:
                items = client.get(kind.path(namespace), [("labelSelector", selector)])["items"]
            found += [(kind, item) for item in items]
        except ApiError as error:
            failures.append(error)
    if not found and not failures:
        warn("No resources found" if all_namespaces else f"No resources found in {session.namespace} namespace.")
    texts = [
        DESCRIBERS[kind](item, _events(client, kind, item) if show_events else [], time.time()) for kind, item in found
    ]
    sys.stdout.write("\n\n".join(texts))
    for failure in failures:
        warn(str(failure))
    return 1 if failures else 0


def _named(client: Client, kind: Kind, namespace: str, name: str) -> list[Json]:
    """The object of this name or, as kubectl does it, those whose names begin so."""
    try:
        return [client.get(kind.path(namespace, name))]
    except ApiError as error:
        if error.reason != "NotFound":
            raise
        items = client.get(kind.path(namespace))["items"]
        found = [item for item in items if item["metadata"]["name"].startswith(name)]
        if not found:
            raise
        return found


def _events(client: Client, kind: Kind, item: Json) -> list[Json]:
    metadata = item["metadata"]
    query = [("fieldSelector", f"involvedObject.kind={kind.kind},involvedObject.name={metadata['name']}")]
    events: list[Json] = client.get(EVENT.path(metadata.get("namespace", "default")), query)["items"]
    return events


COMMAND = Command(
    "describe",
    run,
    summary="Tell all about a pod, a ConfigMap, a Secret (of which only the sizes are told) or a volume claim.",
    usage="(TYPE NAME... | TYPE/NAME... | TYPE -l SELECTOR)",
    examples="""
minikube-lite describe pod web
minikube-lite describe pods -l app=web
minikube-lite describe secret keys
""",
    completes=("pods", "configmaps", "secrets", "persistentvolumeclaims"),
    options=(
        SELECTOR,
        ALL_NAMESPACES,
        Option("--show-events", flag=True, default=True, help="With the events (--show-events=false: without)."),
    ),
)
