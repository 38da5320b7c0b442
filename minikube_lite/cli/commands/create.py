"""`create`: makes a ConfigMap or a Secret out of files and values, or what manifests ask for if it is not there yet."""

from __future__ import annotations

import sys

from minikube_lite.cli.commands.apply import SUFFIX
from minikube_lite.cli.creating import DOCKER_HUB, config_map, docker_secret, secret, tls_secret
from minikube_lite.cli.errors import ApiError, CliError, UsageError
from minikube_lite.cli.files import FILENAME, RECURSIVE, sources
from minikube_lite.cli.output import ObjectPrinter
from minikube_lite.cli.params import Command, Option
from minikube_lite.cli.resources import CONFIG_MAP, SECRET, Kind
from minikube_lite.cli.session import Session, say, warn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Json = dict[str, Any]

PATH = "/apis/node.minikube-lite/v1/create"


def run(session: Session, words: list[str], **options: Any) -> int:
    if options["filename"]:
        if words:
            raise UsageError("name what to create or give -f, not both")
        return _from_files(session, options)
    if not words:
        raise UsageError("must specify one of -f, configmap or secret\nSee 'minikube-lite create --help' for usage.")
    kind, made = _made(words, session.asked_namespace, options)
    return _create(session, kind, made, options["dry_run"], options["output"])


def _made(words: list[str], namespace: str, options: dict[str, Any]) -> tuple[Kind, Json]:
    """The object that the words and options describe."""
    data = (options["from_file"], options["from_literal"], options["from_env_file"])
    what, *rest = words
    if what in CONFIG_MAP.names:
        return CONFIG_MAP, config_map(_name(rest, what), namespace, *data)
    if what not in SECRET.names:
        raise UsageError(f"Unexpected args: {words}\nSee 'minikube-lite create --help' for help and examples")
    sort, *rest = rest or [""]
    if sort not in ("generic", "docker-registry", "tls"):
        raise UsageError(
            f'unknown command "{" ".join([sort, *rest]).strip()}" (there are generic, docker-registry and tls)\n'
            "See 'minikube-lite create --help' for help and examples"
        )
    name = _name(rest, f"secret {sort}")
    if sort == "generic":
        return SECRET, secret(name, namespace, options["type"], *data)
    if sort == "tls":
        return SECRET, tls_secret(name, namespace, options["cert"], options["key"])
    names = ("docker_server", "docker_username", "docker_password", "docker_email", "from_file")
    return SECRET, docker_secret(name, namespace, *(options[name] for name in names))


def _name(words: list[str], what: str) -> str:
    if len(words) != 1:
        raise UsageError(
            f"exactly one NAME is required, got {len(words)}\n"
            f"See 'minikube-lite create --help' for help and examples of create {what}"
        )
    return words[0]


def _create(session: Session, kind: Kind, made: Json, dry_run: str, output: str) -> int:
    printer = ObjectPrinter(output) if output else None
    shown = made
    if dry_run != "client":
        import json

        query = [("dryRun", "All")] if dry_run == "server" else []
        body = json.dumps(made).encode()
        try:
            shown = session.client.send("POST", kind.path(session.namespace), query, body=body)
        except ApiError as error:
            colon = ":" if kind is CONFIG_MAP else ""
            raise CliError(f"failed to create {kind.singular}{colon} {error.args[0]}") from None
    if printer is not None:
        sys.stdout.write(printer.text(shown))
    else:
        say(f"{kind.singular}/{made['metadata']['name']} created{SUFFIX[dry_run]}")
    return 0


def _from_files(session: Session, options: dict[str, Any]) -> int:
    from minikube_lite.cli.commands.apply import problem_text

    failed = False
    output = options["output"]
    if output not in ("", "name"):
        raise CliError("with -f only -o name is known (try: minikube-lite get -o yaml)")
    for source in sources(options["filename"], recursive=options["recursive"]):
        query = [("source", source.name), ("baseDir", source.directory), ("namespace", session.namespace)]
        query += [("dryRun", "All")] if options["dry_run"] != "none" else []
        outcome = session.client.send("POST", PATH, query, body=source.data)
        for item in outcome["items"]:
            for warning in item.get("warnings") or ():
                warn(f"Warning: {warning}")
            thing = f"{item['kind'].lower()}/{item['name']}"
            if item["result"] == "exists":
                failed = True
                message = f'{item["kind"].lower()}s "{item["name"]}" already exists'
                warn(str(ApiError(409, "AlreadyExists", message, f'error when creating "{source.name}": ')))
            elif output == "name":
                say(thing)
            else:
                why = f" ({item['message']})" if item.get("message") else ""
                say(f"{thing} {item['result']}{why}{SUFFIX[options['dry_run']]}")
        for problem in outcome["problems"]:
            failed = True
            warn(f"error: {problem_text(problem)}")
        if not outcome["items"] and not outcome["problems"]:
            failed = True
            warn(f"error: no objects passed to create in {source.name}")
    return 1 if failed else 0


COMMAND = Command(
    "create",
    run,
    summary="Make a ConfigMap or a Secret of files and values, or what manifests hold and is not there yet.",
    usage="(configmap NAME | secret (generic|docker-registry|tls) NAME | -f FILE...)",
    details="Values may come from files, from the command line, or from a file of KEY=value lines. What is given on a\n"
    "command line can be seen in `ps` while it runs: --from-file=KEY=/dev/stdin reads a secret from a pipe.",
    examples="""
minikube-lite create configmap conf --from-file=app.conf --from-literal=port=8080
minikube-lite create configmap conf --from-env-file=app.env --dry-run=client -o yaml
minikube-lite create secret generic keys --from-file=password=/dev/stdin
minikube-lite create secret docker-registry pull --docker-server=registry.example.com --from-file=config.json
minikube-lite create secret tls web --cert=web.crt --key=web.key
minikube-lite create -f pod.yaml
""",
    completes=("configmap", "secret"),
    options=(
        FILENAME,
        RECURSIVE,
        Option("--from-file", many=True, metavar="[KEY=]FILE", help="A file, or all files of a directory."),
        Option("--from-literal", many=True, metavar="KEY=VALUE", help="A value."),
        Option("--from-env-file", many=True, metavar="FILE", help="A file of KEY=value lines."),
        Option("--type", metavar="TYPE", help="Of a generic Secret (Opaque)."),
        Option("--docker-server", metavar="URL", default=DOCKER_HUB, help="The registry."),
        Option("--docker-username", metavar="NAME", help="Who pulls from it."),
        Option("--docker-password", metavar="WORD", help="With which password."),
        Option("--docker-email", metavar="ADDRESS", help="With which address."),
        Option("--cert", metavar="FILE", help="The certificate of a tls Secret, in PEM."),
        Option("--key", metavar="FILE", help="Its private key, in PEM."),
        Option(
            "--dry-run",
            choices=("none", "client", "server"),
            bare="client",
            default="none",
            help="Make nothing: say what would be made (client), and whether the node would take it (server).",
        ),
        Option("-o", "--output", metavar="FORMAT", help="json, yaml, name, jsonpath=..., custom-columns=..."),
    ),
)
