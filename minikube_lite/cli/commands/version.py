"""`version`: of the command, and of the node where one runs."""

from __future__ import annotations

from minikube_lite import __version__
from minikube_lite.cli.errors import CliError
from minikube_lite.cli.output import ObjectPrinter
from minikube_lite.cli.params import Command, Option
from minikube_lite.cli.session import Session, say


def run(session: Session, words: list[str], *, client: bool, output: str) -> int:
    versions = {"clientVersion": {"gitVersion": f"v{__version__}"}}
    failure: CliError | None = None
    if not client:
        try:
            versions["serverVersion"] = session.client.get("/version")
        except CliError as error:
            failure = error
    if output:
        say(ObjectPrinter(output).text(versions).rstrip("\n"))
    else:
        say(f"Client Version: {versions['clientVersion']['gitVersion']}")
        if "serverVersion" in versions:
            say(f"Server Version: {versions['serverVersion']['gitVersion']}")
    if failure is not None:
        raise failure
    return 0


COMMAND = Command(
    "version",
    run,
    summary="Show the version of the command and of the node.",
    usage="",
    examples="""
minikube-lite version
minikube-lite version --client -o json
""",
    options=(
        Option("--client", flag=True, help="Only of the command; needs no node."),
        Option("-o", "--output", choices=("json", "yaml"), help="As JSON or YAML."),
    ),
)
