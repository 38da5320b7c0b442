"""`apply`: hands manifests to the node, which puts them into its directory; `--wait` stays until the pods are ready."""

from __future__ import annotations

from typing import Any

from minikube_lite.cli.durations import duration
from minikube_lite.cli.errors import UsageError
from minikube_lite.cli.files import FILENAME, RECURSIVE, sources
from minikube_lite.cli.params import Command, Option
from minikube_lite.cli.session import Session, say, warn

PATH = "/apis/node.minikube-lite/v1/apply"
SUFFIX = {"none": "", "client": " (dry run)", "server": " (server dry run)"}


def run(
    session: Session,
    words: list[str],
    *,
    filename: list[str],
    recursive: bool,
    dry_run: str,
    wait: bool,
    timeout: float,
    output: str,
) -> int:
    if words:
        raise UsageError(
            f"Unexpected args: {words} (a file is given with -f)\nSee 'minikube-lite apply --help' for usage."
        )
    if not filename:
        raise UsageError("must specify one of -f\nSee 'minikube-lite apply --help' for usage and examples.")
    before = _versions(session) if wait else {}
    failed = False
    pods: list[dict[str, Any]] = []
    for source in sources(filename, recursive=recursive):
        query = [("source", source.name), ("baseDir", source.directory), ("namespace", session.namespace)]
        query += [("dryRun", "All")] if dry_run != "none" else []
        outcome = session.client.send("POST", PATH, query, body=source.data)
        for item in outcome["items"]:
            _report(item, SUFFIX[dry_run], output)
        for problem in outcome["problems"]:
            failed = True
            warn(f"error: {problem_text(problem)}")
        if not outcome["items"] and not outcome["problems"]:
            failed = True
            warn(f"error: no objects passed to apply in {source.name}")
        pods += [item for item in outcome["items"] if item["kind"] == "Pod" and item["result"] != "skipped"]
    if wait and dry_run == "none" and pods:
        from minikube_lite.cli.progress import wait_until_running

        keys = {(item["namespace"], item["name"]): item["result"] for item in pods}
        failed = not wait_until_running(session, keys, before, timeout) or failed
    return 1 if failed else 0


def _versions(session: Session) -> dict[tuple[str, str], str]:
    """The resource version of every pod, so that a status from before the change is not taken for one after it."""
    pods = session.client.get("/api/v1/pods")["items"]
    return {
        (pod["metadata"].get("namespace", ""), pod["metadata"]["name"]): pod["metadata"].get("resourceVersion", "")
        for pod in pods
    }


def _report(item: dict[str, Any], suffix: str, output: str) -> None:
    for warning in item.get("warnings") or ():
        warn(f"Warning: {warning}")
    thing = f"{item['kind'].lower()}/{item['name']}"
    if output == "name":
        if item["result"] != "skipped":
            say(thing)
        return
    why = f" ({item['message']})" if item.get("message") else ""
    say(f"{thing} {item['result']}{why}{suffix}")


def problem_text(problem: dict[str, Any]) -> str:
    """As `spec.problems.Problem` words it, whose import the CLI is spared."""
    where = ":".join(str(problem[key]) for key in ("source", "line", "column") if problem.get(key))
    field = f"{problem['field']}: " if problem.get("field") else ""
    hint = f" ({problem['hint']})" if problem.get("hint") else ""
    return f"{where}: {field}{problem['message']}{hint}" if where else f"{field}{problem['message']}{hint}"


COMMAND = Command(
    "apply",
    run,
    summary="Bring manifests to the node: what they ask for is made, changed or left alone.",
    usage="-f (FILE | DIR | -)...",
    details="Each document is put into the node's manifests directory, where it stays until it is deleted.",
    examples="""
minikube-lite apply -f pod.yaml
minikube-lite apply -f manifests/ -R
minikube-lite apply -f pod.yaml --wait --timeout=30s
cat pod.yaml | minikube-lite apply -f -
""",
    options=(
        FILENAME,
        RECURSIVE,
        Option(
            "--dry-run",
            choices=("none", "client", "server"),
            bare="client",
            default="none",
            help="Say what would be done, and do nothing.",
        ),
        Option("--wait", flag=True, help="Stay until all pods are ready or have succeeded."),
        Option("--timeout", metavar="DURATION", read=duration, default=60.0, help="When --wait gives up (60s)."),
        Option("-o", "--output", choices=("name",), help="Print names only."),
    ),
)
