"""`validate`: reads manifests as the node would, and says what is wrong with them. Needs no node and no root."""

from __future__ import annotations

from minikube_lite.cli.errors import UsageError
from minikube_lite.cli.files import FILENAME, RECURSIVE, Source, sources
from minikube_lite.cli.params import Command
from minikube_lite.cli.session import Session, say, warn


def run(session: Session, words: list[str], *, filename: list[str], recursive: bool) -> int:
    names = [*words, *filename]
    if not names:
        raise UsageError("name the files to validate (- for standard input)")
    results = [_validate(source, session.namespace) for source in sources(names, recursive=recursive)]
    return 0 if all(results) else 1


def _validate(source: Source, namespace: str) -> bool:
    """One line per document, or per problem; whether there was no problem."""
    from minikube_lite.spec.manifest import read_manifest
    from minikube_lite.spec.problems import InvalidManifest

    try:
        manifest = read_manifest(source.data, source.name, default_namespace=namespace, build=False)
    except InvalidManifest as error:
        for problem in error.problems:
            say(str(problem))
        return False
    problems = list(manifest.problems)
    for document in manifest.documents:
        where = f"{source.name}:{document.line}"
        thing = f"{document.kind.lower()}/{document.name}"
        for problem in document.problems:
            if problem not in problems:
                problems.append(problem)
        if document.problems:
            continue
        if document.skipped:
            say(f"{where}: {thing} skipped ({document.skipped})")
            continue
        ignored = f" (ignored here: {', '.join(document.ignored)})" if document.ignored else ""
        say(f"{where}: {thing} valid{ignored}")
        for warning in document.warnings:
            warn(f"Warning: {where}: {warning}")
    for problem in problems:
        say(str(problem))
    if not manifest.documents and not problems:
        say(f"{source.name}: no objects in it")
    return not problems


COMMAND = Command(
    "validate",
    run,
    summary="Say what is wrong with manifests; needs no node.",
    usage="(FILE | DIR | -)...",
    examples="""
minikube-lite validate pod.yaml
minikube-lite validate -R manifests/
""",
    options=(FILENAME, RECURSIVE),
)
