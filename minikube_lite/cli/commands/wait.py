"""`wait`: until pods are as `--for` says."""

from __future__ import annotations

from minikube_lite.cli.commands.get import ALL_NAMESPACES, SELECTOR
from minikube_lite.cli.conditions import Created, condition, why_not_ready
from minikube_lite.cli.durations import duration
from minikube_lite.cli.errors import ApiError, CliError, UsageError
from minikube_lite.cli.params import Command, Option
from minikube_lite.cli.resources import POD, Kind, resources
from minikube_lite.cli.session import Session, say, warn
from minikube_lite.cli.waiting import Key, Waiter, deadline_of, until


def run(
    session: Session,
    words: list[str],
    *,
    selector: str,
    all: bool,
    all_namespaces: bool,
    timeout: float,
    **options: str,
) -> int:
    wanted = condition(options["for"]) if options["for"] else None
    if wanted is None:
        raise UsageError("--for is needed: what to wait for (condition=Ready, delete, create, jsonpath=PATH=VALUE)")
    if not words:
        raise UsageError("name what to wait for: pod/NAME, pod NAME..., or pods with -l or --all")
    targets = resources(words)
    kind = targets[0][0]
    if any(other is not kind for other, _ in targets):
        raise CliError("only one type of resource can be waited for")
    names = [name for _, name in targets if name]
    if not names and not selector and not all:
        raise CliError("resource(s) were provided, but no name was specified")
    namespace = None if all_namespaces else session.namespace
    deadline = deadline_of(timeout)
    with Waiter(session.client, kind, namespace, [("labelSelector", selector)]) as waiter:
        own = session.namespace if kind.namespaced else ""
        keys = [(own, name) for name in dict.fromkeys(names)] or list(waiter.objects)
        if names and not wanted.gone and not isinstance(wanted, Created):
            _all_there(kind, keys, waiter)
        if not keys and not wanted.gone:
            raise CliError("no matching resources found")
        if wanted.gone:
            keys = [key for key in keys if key in waiter.objects]
        done: set[Key] = set()
        for key in until(waiter, keys, lambda key, item: wanted.met(item), deadline):
            done.add(key)
            say(f"{kind.singular}/{key[1]} condition met")
    for key in [key for key in keys if key not in done]:
        reason = f": {why_not_ready(waiter.objects.get(key))}" if kind is POD and not wanted.gone else ""
        warn(f"error: timed out waiting for the condition on {kind.plural}/{key[1]}{reason}")
    return 0 if len(done) == len(keys) else 1


def _all_there(kind: Kind, keys: list[Key], waiter: Waiter) -> None:
    for key in keys:
        if key not in waiter.objects:
            raise ApiError(404, "NotFound", f'{kind.plural} "{key[1]}" not found')


COMMAND = Command(
    "wait",
    run,
    summary="Wait until pods are ready, gone, or as you say.",
    usage="(pod/NAME... | pod NAME... | pods -l SELECTOR | pods --all) --for=CONDITION",
    examples="""
minikube-lite wait --for=condition=Ready pod/web
minikube-lite wait --for=condition=Ready pods -l app=web --timeout=2m
minikube-lite wait --for=jsonpath='{.status.phase}'=Succeeded pod/job
minikube-lite wait --for=delete pod/web
""",
    completes=("pods",),
    options=(
        Option("--for", metavar="CONDITION", help="delete, create, condition=NAME[=VALUE], jsonpath=PATH[=VALUE]."),
        Option(
            "--timeout", metavar="DURATION", read=duration, default=30.0, help="When to give up (30s); 0: look once."
        ),
        SELECTOR,
        Option("--all", flag=True, help="All of the type."),
        ALL_NAMESPACES,
    ),
)
