"""The command `minikube-lite`: picks the command, reads its options, runs it. The only place that picks an exit code.

Only the module of the command that was asked for is imported, and click only for help and completion.
"""

from __future__ import annotations

import os
import sys

from minikube_lite.cli.errors import CliError, Exit, UsageError
from minikube_lite.cli.params import GLOBAL, Command, HelpAsked, closest, defaults, parse
from minikube_lite.cli.session import Session

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

COMMANDS = (
    "run",
    "apply",
    "create",
    "delete",
    "get",
    "describe",
    "logs",
    "exec",
    "cp",
    "wait",
    "events",
    "validate",
    "image load",
    "image import",
    "image pull",
    "image push",
    "image list",
    "image inspect",
    "image tag",
    "image remove",
    "image prune",
    "image save",
    "image history",
    "image build-from-dir",
    "completion",
    "version",
)
GROUPS = {"image": "Bring images in, look at them, send them on, and remove them."}
"""First words that stand before another (`image list` is one command), and what such a group is for."""
FIRST = list(dict.fromkeys(name.partition(" ")[0] for name in COMMANDS))
"""What may stand first on a command line."""
COMPLETE = "_MINIKUBE_LITE_COMPLETE"
"""Set by the completion scripts that click writes."""


def main(argv: list[str] | None = None) -> NoReturn:
    """Run a command line and exit."""
    if sys.stdout is None:  # closed by whoever started us
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - for as long as we live
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    sys.exit(execute(sys.argv[1:] if argv is None else argv))


def execute(argv: list[str]) -> int:
    """Run a command line; gives its exit code. Whatever goes wrong becomes a line for a person."""
    try:
        try:
            if COMPLETE in os.environ:
                from minikube_lite.cli.help import complete

                return complete(os.environ[COMPLETE])
            code = dispatch(argv)
            sys.stdout.flush()
            return code
        except Exit as exit:
            sys.stdout.flush()
            return exit.code
        except CliError as error:
            sys.stdout.flush()
            sys.stderr.write(f"{error}\n")
            return error.code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        _give_up_stdout()
        return 141  # 128 + SIGPIPE: what a C program's death of it looks like to the shell
    except Exception as error:
        return _unexpected(error)


def dispatch(argv: list[str]) -> int:
    """Find the command, read its options and run it."""
    if argv[:1] == ["--version"]:
        argv = ["version", "--client"]
    try:
        common, words, _ = parse("minikube-lite", GLOBAL, argv, first_only=True)
    except HelpAsked:
        words = []
    if words[:1] == ["help"]:
        asked = words[1:3] if words[1:2] and words[1] in GROUPS else words[1:2]
        words = [*asked, "--help"] if asked else []
    if not words:
        from minikube_lite.cli.help import show

        return show(None)
    if words[0] in GROUPS:
        name, words = _in_group(common, words)
        if not name:
            from minikube_lite.cli.help import show_group

            return show_group(words[0])
        words = [name, *words]
    command = load(words[0])
    options = command.options + GLOBAL
    try:
        given, args, tail = parse(f"minikube-lite {command.name}", options, words[1:], tail=command.tail)
    except HelpAsked:
        from minikube_lite.cli.help import show

        return show(command)
    values = defaults(options) | common | given
    session = Session(values.pop("root") or os.environ.get("MINIKUBE_LITE_ROOT", ""), values.pop("namespace"))
    if command.tail:
        values["tail"] = tail
    return command.run(session, args, **values) or 0


def _in_group(common: dict[str, Any], words: list[str]) -> tuple[str, list[str]]:
    """(`image list`, what follows it); ("", [the group]) where only help can be meant. Fills `common`."""
    group, *rest = words
    try:
        given, rest, _ = parse(f"minikube-lite {group}", GLOBAL, rest, first_only=True)
    except HelpAsked:
        return "", [group]
    common |= given
    return (f"{group} {rest[0]}", rest[1:]) if rest else ("", [group])


def load(name: str) -> Command:
    """The command of this name. Raises UsageError, with a suggestion."""
    if name not in COMMANDS:
        group, _, word = name.rpartition(" ")
        above = f"minikube-lite {group}".rstrip()
        known = [other.rpartition(" ")[2] for other in COMMANDS if other.startswith(f"{group} ")] if group else FIRST
        close = closest(word, known)
        hint = f"\n\nDid you mean this?\n\t{close}" if close else f"\nRun '{above} --help' for usage."
        raise UsageError(f'unknown command "{word}" for "{above}"{hint}')
    module = "minikube_lite.cli.commands." + name.replace(" ", "_").replace("-", "_")
    __import__(module)
    command: Command = sys.modules[module].COMMAND
    return command


def _unexpected(error: Exception) -> int:
    """A bug of ours, or the world's (a full disk): one line, or all of it with MINIKUBE_LITE_DEBUG=1."""
    if os.environ.get("MINIKUBE_LITE_DEBUG"):
        import traceback

        traceback.print_exc()
    elif isinstance(error, OSError):
        sys.stderr.write(f"error: {error.strerror or error}" + (f": {error.filename}" if error.filename else "") + "\n")
    else:
        what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        sys.stderr.write(f"error: a bug in minikube-lite: {what} (MINIKUBE_LITE_DEBUG=1 shows where)\n")
    _give_up_stdout()
    return 1


def _give_up_stdout() -> None:
    """Nobody reads it, or it cannot be written: what is still buffered must not fail again when Python ends."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
