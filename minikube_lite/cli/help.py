"""Help and completion, made by click from the commands' declarations. Imported only when asked for."""

from __future__ import annotations

import os
from typing import Any

import click
from click.shell_completion import CompletionItem, get_completion_class, shell_complete

from minikube_lite.cli import main
from minikube_lite.cli.errors import CliError, UsageError
from minikube_lite.cli.params import GLOBAL, Command, Option
from minikube_lite.cli.resources import BY_NAME, KINDS, POD, Kind
from minikube_lite.cli.session import Session

NAME = "minikube-lite"
WIDTH = 100


class _Group(click.Group):
    """All commands; each is built when it is looked at."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return main.FIRST

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in main.GROUPS:
            return _Subgroup(cmd_name, help=main.GROUPS[cmd_name])
        return _command(main.load(cmd_name)) if cmd_name in main.COMMANDS else None


class _Subgroup(click.Group):
    """The commands that begin with one word."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name.partition(" ")[2] for name in main.COMMANDS if name.startswith(f"{self.name} ")]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return _command(main.load(f"{self.name} {cmd_name}")) if cmd_name in self.list_commands(ctx) else None


class _Command(click.Command):
    """A command with examples, printed as they are."""

    def __init__(self, command: Command) -> None:
        self.declared = command
        words = _words(command)
        super().__init__(
            command.name.rpartition(" ")[2],
            params=[*words, *(_option(option) for option in command.options + GLOBAL)],
            help=command.summary + ("\n\n\b\n" + command.details if command.details else ""),
            short_help=command.summary,
        )

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        return ["[OPTIONS]", self.declared.usage] if self.declared.usage else ["[OPTIONS]"]

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        if self.declared.examples:
            with formatter.section("Examples"):
                for line in self.declared.examples.strip().splitlines():
                    formatter.write(f"  {line}\n")


def group() -> click.Group:
    """The whole command line as click knows it."""
    return _Group(
        NAME,
        params=[_option(option) for option in GLOBAL],
        help="A kubelet in one pip install: a directory of Pod YAML becomes running containers.",
        epilog="'minikube-lite COMMAND --help' tells more of each.",
    )


def show(command: Command | None) -> int:
    """Print the help of a command, or of all."""
    top = click.Context(group(), info_name=NAME, max_content_width=WIDTH)
    context = top if command is None else click.Context(_command(command), top, info_name=command.name)
    click.echo(context.command.get_help(context))
    return 0


def show_group(name: str) -> int:
    """Print the help of a group of commands."""
    top = click.Context(group(), info_name=NAME, max_content_width=WIDTH)
    context = click.Context(_Subgroup(name, help=main.GROUPS[name]), top, info_name=name)
    click.echo(context.command.get_help(context))
    return 0


def help_text(command: Command | None) -> str:
    """The help with a fixed width, for the docs."""
    top = click.Context(group(), info_name=NAME, terminal_width=WIDTH)
    context = top if command is None else click.Context(_command(command), top, info_name=command.name)
    return context.command.get_help(context)


def _command(command: Command) -> _Command:
    return _Command(command)


def _option(option: Option) -> click.Option:
    kind: Any = click.Choice(option.choices) if option.choices else click.STRING
    if option.flag:
        return click.Option(option.names, is_flag=True, default=False, help=option.help)
    return click.Option(
        option.names,
        type=kind,
        multiple=option.many,
        metavar=option.metavar,
        help=option.help,
        shell_complete=_namespaces if option.key == "namespace" else None,
    )


def _words(command: Command) -> list[click.Parameter]:
    if not command.completes:
        return []

    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        given = list(ctx.params.get("words") or ())
        return [CompletionItem(text) for text in _candidates(ctx, command, given, incomplete)]

    return [click.Argument(["words"], nargs=-1, shell_complete=complete)]


def _candidates(ctx: click.Context, command: Command, given: list[str], incomplete: str) -> list[str]:
    """Types, then names of that type; `pod/we` becomes `pod/web`."""
    if command.completes == ("pod",):
        found = [] if given else _names(ctx, POD)
    elif "/" in incomplete:
        prefix = incomplete.partition("/")[0]
        found = [f"{prefix}/{name}" for name in _names(ctx, BY_NAME[prefix])] if prefix in BY_NAME else []
    elif given:
        found = _names(ctx, BY_NAME[given[0]]) if given[0] in BY_NAME else []
    elif "pods" in command.completes:
        found = [*command.completes, "pod/"]
    else:
        found = list(command.completes)
    return [text for text in found if text.startswith(incomplete) and text not in given]


def _namespaces(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    names = _names(ctx, next(kind for kind in KINDS if kind.kind == "Namespace"))
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def _names(ctx: click.Context, kind: Kind) -> list[str]:
    """What there is on the node; nothing where there is no node: a completion does not complain."""
    params = {**(ctx.parent.params if ctx.parent else {}), **{key: value for key, value in ctx.params.items() if value}}
    root = params.get("root") or os.environ.get("MINIKUBE_LITE_ROOT", "")
    session = Session(str(root), str(params.get("namespace") or ""))
    try:
        items = session.client.get(kind.path(session.namespace))["items"]
    except CliError:
        return []
    return sorted(item["metadata"]["name"] for item in items)


def complete(instruction: str) -> int:
    """Answer a shell's completion script."""
    return shell_complete(group(), {}, NAME, main.COMPLETE, instruction)


def completion_script(shell: str) -> str:
    kind = get_completion_class(shell)
    if kind is None:
        raise UsageError(f"no completion for {shell}")
    return kind(group(), {}, NAME, main.COMPLETE).source()
