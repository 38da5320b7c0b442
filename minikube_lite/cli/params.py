"""What a command line may say, and the reading of one. Called by cli.main with the `Command` that a module declares.

Reads as kubectl's library does (github.com/spf13/pflag), which fingers know: options anywhere, `--wait=false`,
`-n=default`, `-it`, a bare `--dry-run`. Nothing is imported here: this is on the way of `get pods`. Help and completion
are click's, made from the same declarations (cli.help), and imported only when asked for.
"""

from __future__ import annotations

from minikube_lite.cli.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


class Option:
    """One option. Values are text unless `read` turns them into something else (raising ValueError)."""

    def __init__(
        self,
        *names: str,
        help: str,
        metavar: str = "",
        default: Any = None,
        flag: bool = False,
        many: bool = False,
        bare: str = "",
        choices: tuple[str, ...] = (),
        read: Callable[[str], Any] | None = None,
    ) -> None:
        self.names = names
        self.help = help
        self.flag = flag
        self.many = many
        self.bare = bare
        """What the option means without a value; one with a value needs `=` then."""
        self.choices = choices
        self.read = read
        self.metavar = metavar or "|".join(choices) or "TEXT"
        self.default: Any = default if default is not None else (False if flag else () if many else "")
        self.shown = ", ".join(sorted(names, key=len))
        self.key = max(names, key=len).lstrip("-").replace("-", "_")

    def value(self, text: str) -> Any:
        try:
            if self.flag:
                return _boolean(text)
            if self.choices and text not in self.choices:
                raise ValueError(f"must be one of {', '.join(self.choices)}")
            return self.read(text) if self.read else text
        except ValueError as error:
            raise UsageError(f'invalid argument "{text}" for "{self.shown}" flag: {error}') from None


class Command:
    """One command: what it takes, what it tells of itself, and what does it."""

    def __init__(
        self,
        name: str,
        run: Callable[..., int | None],
        *,
        summary: str,
        usage: str,
        options: tuple[Option, ...] = (),
        details: str = "",
        examples: str = "",
        tail: bool = False,
        completes: tuple[str, ...] = (),
    ) -> None:
        self.name = name
        self.run = run
        self.summary = summary
        self.usage = usage
        self.options = options
        self.details = details
        self.examples = examples
        self.tail = tail
        """Whether what follows `--` is kept apart (exec's command)."""
        self.completes = completes
        """Names to offer for the first word: resource types, or `pod` for the names of pods."""


class HelpAsked(Exception):
    """`--help` was given."""


GLOBAL = (
    Option("--root", metavar="DIR", help="Directory of the node's state, logs and socket ($MINIKUBE_LITE_ROOT)."),
    Option("-n", "--namespace", metavar="NAME", help="Namespace to work in (default: default)."),
)


def parse(
    command: str, options: tuple[Option, ...], argv: list[str], *, tail: bool = False, first_only: bool = False
) -> tuple[dict[str, Any], list[str], list[str]]:
    """(what was given, the words, what follows `--` if `tail`). `first_only`: stop at the first word.

    Only options that were given are in the dictionary. Raises UsageError and HelpAsked.
    """
    known = {name: option for option in options for name in option.names}
    given: dict[str, Any] = {}
    words: list[str] = []
    rest = list(argv)
    while rest:
        token = rest.pop(0)
        if token == "--":
            if tail:
                return given, words, rest
            words += rest
            break
        if token == "-" or not token.startswith("-"):
            words.append(token)
            if first_only:
                words += rest
                break
        elif token.startswith("--"):
            name, equals, text = token.partition("=")
            if name == "--help":
                raise HelpAsked
            option = known.get(name)
            if option is None:
                raise _unknown(command, f"unknown flag: {name}", name, known)
            if not equals:
                text = _implied(option, rest, name)
            _store(given, option, text)
        else:
            _shorts(command, known, given, token, rest)
    return given, words, []


def defaults(options: tuple[Option, ...]) -> dict[str, Any]:
    return {option.key: list(option.default) if option.many else option.default for option in options}


def _shorts(command: str, known: dict[str, Option], given: dict[str, Any], token: str, rest: list[str]) -> None:
    """`-it`, `-nkube`, `-n=kube`, `-n kube`."""
    letters = token[1:]
    while letters:
        letter, letters = letters[0], letters[1:]
        if letter == "h" and "-h" not in known:
            raise HelpAsked
        option = known.get("-" + letter)
        if option is None:
            raise _unknown(command, f"unknown shorthand flag: '{letter}' in {token}", "-" + letter, known)
        if letters.startswith("="):
            text, letters = letters[1:], ""
        elif option.flag or option.bare:
            text = option.bare or "true"
        elif letters:
            text, letters = letters, ""
        else:
            text = _implied(option, rest, f"'{letter}' in {token}")
        _store(given, option, text)


def _implied(option: Option, rest: list[str], shown: str) -> str:
    """The value of an option that has none attached to it."""
    if option.flag:
        return "true"
    if option.bare:
        return option.bare
    if not rest:
        raise UsageError(f"flag needs an argument: {shown}")
    return rest.pop(0)


def _store(given: dict[str, Any], option: Option, text: str) -> None:
    value = option.value(text)
    if option.many:
        given.setdefault(option.key, []).append(value)
    else:
        given[option.key] = value


def _boolean(text: str) -> bool:
    if text in ("1", "t", "T", "true", "TRUE", "True"):  # Go's strconv.ParseBool
        return True
    if text in ("0", "f", "F", "false", "FALSE", "False"):
        return False
    raise ValueError("must be true or false")


def _unknown(command: str, message: str, name: str, known: dict[str, Option]) -> UsageError:
    close = closest(name, list(known))
    hint = f" (did you mean {close}?)" if close else ""
    return UsageError(f"{message}{hint}\nSee '{command} --help' for usage.")


def closest(word: str, choices: list[str]) -> str:
    """The choice that was probably meant; "" where none is near."""
    from difflib import get_close_matches

    found = get_close_matches(word, choices, 1, 0.65)
    return found[0] if found else ""
