"""`delete`: takes objects out of the node's directory, and waits until pods are gone."""

from __future__ import annotations

from typing import Any

from minikube_lite.cli.client import Client
from minikube_lite.cli.commands.apply import SUFFIX, problem_text
from minikube_lite.cli.commands.get import ALL_NAMESPACES, SELECTOR
from minikube_lite.cli.conditions import Deleted
from minikube_lite.cli.durations import duration, whole
from minikube_lite.cli.errors import ApiError, CliError, UsageError
from minikube_lite.cli.files import FILENAME, RECURSIVE, sources
from minikube_lite.cli.params import Command, Option
from minikube_lite.cli.resources import POD, WRITABLE, Kind, resources
from minikube_lite.cli.session import Session, say, warn
from minikube_lite.cli.waiting import Key, Waiter, deadline_of, until

PATH = "/apis/node.minikube-lite/v1/delete"


class Deletion:
    """One `delete`: what is gone, what went wrong."""

    def __init__(
        self, session: Session, *, grace: int, force: bool, dry_run: str, ignore_not_found: bool, name_only: bool
    ) -> None:
        self._client: Client = session.client
        self._session = session
        self._query = [("gracePeriodSeconds", str(grace) if grace >= 0 else "")]
        self._query += [("dryRun", "All")] if dry_run != "none" else []
        self._word = "force deleted" if force else "deleted"
        self._suffix = SUFFIX[dry_run]
        self._ignore_not_found = ignore_not_found
        self._name_only = name_only
        self.failed = False
        self.gone: dict[Key, str] = {}
        """The uid of each pod that is to go ("" where it is not known)."""

    def object(self, kind: Kind, key: Key) -> None:
        try:
            gone = self._client.send("DELETE", kind.path(*key), self._query)
        except ApiError as error:
            self._failure(error)
        else:
            self._report(kind.singular, key, str((gone.get("metadata") or {}).get("uid") or ""))

    def file(self, name: str, data: bytes) -> None:
        query = [("source", name), ("namespace", self._session.namespace), *self._query]
        outcome = self._client.send("POST", PATH, query, body=data)
        for item in outcome["items"]:
            key = (item["namespace"], item["name"])
            if item["result"] == "deleted":
                self._report(item["kind"].lower(), key, "")
            elif item["result"] == "not found":
                message = f'{item["kind"].lower()}s "{item["name"]}" not found'
                self._failure(ApiError(404, "NotFound", message, f'error when deleting "{name}": '))
            else:
                say(f'{item["kind"].lower()} "{item["name"]}" {item["result"]} ({item["message"]})')
        for problem in outcome["problems"]:
            self.failed = True
            warn(f"error: {problem_text(problem)}")

    def _failure(self, error: ApiError) -> None:
        if error.reason == "NotFound" and self._ignore_not_found:
            return
        self.failed = True
        warn(str(error))

    def _report(self, kind: str, key: Key, uid: str) -> None:
        if kind == POD.singular:  # anything else is gone with its file
            self.gone[key] = uid
        say(f"{kind}/{key[1]}" if self._name_only else f'{kind} "{key[1]}" {self._word}{self._suffix}')


def run(session: Session, words: list[str], **options: Any) -> int:
    grace, now, force = options["grace_period"], options["now"], options["force"]
    if now and grace >= 0:
        raise CliError("--now and --grace-period cannot be specified together")
    if now:
        grace = 1
    if force and grace < 0:
        grace = 0
    if grace == 0 and not force and options["wait"]:
        grace = 1  # kubectl's rule: only --force kills at once
    deletion = Deletion(
        session,
        grace=grace,
        force=force,
        dry_run=options["dry_run"],
        ignore_not_found=options["ignore_not_found"],
        name_only=options["output"] == "name",
    )
    _delete(session, words, deletion, options)
    if options["wait"] and options["dry_run"] == "none" and deletion.gone:
        _wait(session, deletion, options["timeout"])
    return 1 if deletion.failed else 0


def _delete(session: Session, words: list[str], deletion: Deletion, options: dict[str, Any]) -> None:
    if options["filename"]:
        if words:
            raise UsageError("name objects or give -f, not both")
        for source in sources(options["filename"], recursive=options["recursive"]):
            deletion.file(source.name, source.data)
        return
    if not words:
        raise UsageError(
            "You must provide one or more resources by argument or filename.\nSee 'minikube-lite delete --help'."
        )
    targets = resources(words)
    for kind, _ in targets:
        if kind not in WRITABLE:
            raise CliError(f"{kind.plural} cannot be deleted: only {', '.join(kind.plural for kind in WRITABLE)}")
    names = [name for _, name in targets if name]
    if names and (options["all"] or options["selector"] or options["all_namespaces"]):
        raise CliError("name cannot be provided when --all, -A or a selector is specified")
    if names:
        for kind, name in targets:
            deletion.object(kind, (session.namespace, name))
        return
    if not options["all"] and not options["selector"]:
        raise CliError("resource(s) were provided, but no name was specified")
    namespace = None if options["all_namespaces"] else session.namespace
    found = [
        (kind, item["metadata"])
        for kind, _ in targets
        for item in session.client.get(kind.path(namespace), [("labelSelector", options["selector"])])["items"]
    ]
    for kind, meta in found:
        deletion.object(kind, (meta.get("namespace", "default"), meta["name"]))
    if not found:
        say("No resources found")


def _wait(session: Session, deletion: Deletion, timeout: float) -> None:
    namespaces = {namespace for namespace, _ in deletion.gone}
    deleted = Deleted()

    def done(key: Key, pod: dict[str, Any] | None) -> bool:
        uid = deletion.gone[key]
        replaced = pod is not None and uid and pod["metadata"].get("uid") != uid
        return deleted.met(pod) or bool(replaced)

    with Waiter(session.client, POD, namespaces.pop() if len(namespaces) == 1 else None) as waiter:
        left = set(deletion.gone) - set(until(waiter, deletion.gone, done, deadline_of(timeout or -1)))
    for key in sorted(left):
        deletion.failed = True
        warn(f"error: timed out waiting for the condition on pods/{key[1]}")


COMMAND = Command(
    "delete",
    run,
    summary="Remove pods, ConfigMaps, Secrets (that is, their manifests), and volume claims with all their data.",
    usage="(-f FILE... | TYPE NAME... | TYPE/NAME... | TYPE -l SELECTOR | TYPE --all)",
    examples="""
minikube-lite delete pod web
minikube-lite delete -f pod.yaml
minikube-lite delete pods -l app=web --now
minikube-lite delete pods --all --wait=false
""",
    completes=("pods", "configmaps", "secrets", "persistentvolumeclaims"),
    options=(
        FILENAME,
        RECURSIVE,
        SELECTOR,
        ALL_NAMESPACES,
        Option("--all", flag=True, help="All of the type in the namespace."),
        Option("--grace-period", metavar="SECONDS", read=whole, default=-1, help="Time to end in (the pod's own)."),
        Option("--now", flag=True, help="Almost at once: the same as --grace-period=1."),
        Option("--force", flag=True, help="At once: kill, do not ask."),
        Option("--wait", flag=True, default=True, help="Stay until they are gone (--wait=false: do not)."),
        Option("--timeout", metavar="DURATION", read=duration, default=0.0, help="When to give up waiting (never)."),
        Option("--ignore-not-found", flag=True, help="What is not there is no error."),
        Option(
            "--dry-run",
            choices=("none", "client", "server"),
            bare="client",
            default="none",
            help="Say what would be done, and do nothing.",
        ),
        Option("-o", "--output", choices=("name",), help="Print names only."),
    ),
)
