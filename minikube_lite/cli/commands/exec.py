"""`exec`: runs a command in a container, with this terminal if wanted; its exit code becomes ours."""

from __future__ import annotations

import os

from minikube_lite.cli.errors import UsageError
from minikube_lite.cli.params import Command, Option
from minikube_lite.cli.resources import POD, first_container, pod_name
from minikube_lite.cli.session import Session, warn


def run(
    session: Session, words: list[str], *, container: str, stdin: bool, tty: bool, quiet: bool, tail: list[str]
) -> int:
    if not words:
        raise UsageError("pod or type/name must be specified\nSee 'minikube-lite exec --help' for usage.")
    if words[1:]:
        raise UsageError("exec [POD] [COMMAND] is not supported anymore. Use exec [POD] -- [COMMAND] instead")
    if not tail:
        raise UsageError("you must specify at least one command for the container")
    name = pod_name(words[0])
    if tty and not os.isatty(0):
        warn("Unable to use a TTY - input is not a terminal or the right kind of file")
        tty = False
    client = session.client
    if not container:
        container = first_container(client.get(POD.path(session.namespace, name)), quiet=quiet)
    query = [("container", container), *(("command", word) for word in tail), ("stdout", "true")]
    query += [("stdin", "true")] if stdin else []
    query += [("tty", "true")] if tty else [("stderr", "true")]
    from minikube_lite.cli.streaming import Streams

    return Streams(
        client, POD.path(session.namespace, name) + "/exec", query, source=0 if stdin else None, tty=tty
    ).run()


COMMAND = Command(
    "exec",
    run,
    summary="Run a command in a container.",
    usage="(POD | pod/NAME) [-c CONTAINER] [-i] [-t] -- COMMAND [ARGS...]",
    examples="""
minikube-lite exec web -- ps aux
minikube-lite exec -it web -c app -- sh
echo hello | minikube-lite exec -i web -- cat
""",
    tail=True,
    completes=("pod",),
    options=(
        Option("-c", "--container", metavar="NAME", help="Which container (the pod's default one)."),
        Option("-i", "--stdin", flag=True, help="Pass standard input on."),
        Option("-t", "--tty", flag=True, help="With a terminal."),
        Option("-q", "--quiet", flag=True, help="Say nothing but what the command says."),
    ),
)
