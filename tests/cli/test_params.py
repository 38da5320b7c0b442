"""Reading a command line: kubectl's conventions (pflag), one line per row."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minikube_lite.cli.durations import duration, whole
from minikube_lite.cli.errors import UsageError
from minikube_lite.cli.params import HelpAsked, Option, parse

OPTIONS = (
    Option("-n", "--namespace", help=""),
    Option("-i", "--stdin", flag=True, help=""),
    Option("-t", "--tty", flag=True, help=""),
    Option("-f", "--filename", many=True, help=""),
    Option("--dry-run", choices=("none", "client", "server"), bare="client", help=""),
    Option("--tail", read=whole, help=""),
)


@pytest.mark.parametrize(
    ("argv", "given", "words"),
    [
        (["pods"], {}, ["pods"]),
        (["-n", "kube", "pods"], {"namespace": "kube"}, ["pods"]),
        (["pods", "-n", "kube"], {"namespace": "kube"}, ["pods"]),
        (["-nkube"], {"namespace": "kube"}, []),
        (["-n=kube"], {"namespace": "kube"}, []),
        (["--namespace=kube"], {"namespace": "kube"}, []),
        (["--namespace", "kube"], {"namespace": "kube"}, []),
        (["--namespace="], {"namespace": ""}, []),
        (["-n", "a", "-n", "b"], {"namespace": "b"}, []),
        (["-it"], {"stdin": True, "tty": True}, []),
        (["-itn", "kube"], {"stdin": True, "tty": True, "namespace": "kube"}, []),
        (["-itnkube"], {"stdin": True, "tty": True, "namespace": "kube"}, []),
        (["--tty=false"], {"tty": False}, []),
        (["-t=true"], {"tty": True}, []),
        (["-f", "a", "-f=b", "-fc"], {"filename": ["a", "b", "c"]}, []),
        (["-f", "-"], {"filename": ["-"]}, []),
        (["-"], {}, ["-"]),
        (["--dry-run", "server"], {"dry_run": "client"}, ["server"]),
        (["--dry-run=server"], {"dry_run": "server"}, []),
        (["--tail", "-1"], {"tail": -1}, []),
        (["--", "-n", "x"], {}, ["-n", "x"]),
        ([""], {}, [""]),
    ],
)
def test_options_are_read_as_kubectl_reads_them(argv: list[str], given: dict[str, Any], words: list[str]) -> None:
    assert parse("x", OPTIONS, argv) == (given, words, [])


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--tyt"], "unknown flag: --tyt (did you mean --tty?)\nSee 'x --help' for usage."),
        (["--bogus"], "unknown flag: --bogus\nSee 'x --help' for usage."),
        (["-iz"], "unknown shorthand flag: 'z' in -iz\nSee 'x --help' for usage."),
        (["--tail"], "flag needs an argument: --tail"),
        (["-n"], "flag needs an argument: 'n' in -n"),
        (["--tail=many"], 'invalid argument "many" for "--tail" flag: must be a whole number'),
        (["--tty=perhaps"], 'invalid argument "perhaps" for "-t, --tty" flag: must be true or false'),
        (["--dry-run=x"], 'invalid argument "x" for "--dry-run" flag: must be one of none, client, server'),
    ],
)
def test_a_command_line_that_makes_no_sense_is_refused(argv: list[str], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse("x", OPTIONS, argv)
    assert caught.value.args[0] == message


def test_what_follows_two_dashes_is_the_command_of_exec() -> None:
    assert parse("x", OPTIONS, ["web", "-i", "--", "sh", "-c", "--help"], tail=True) == (
        {"stdin": True},
        ["web"],
        ["sh", "-c", "--help"],
    )


def test_global_options_end_at_the_first_word() -> None:
    assert parse("x", OPTIONS, ["-n", "a", "get", "-n", "b"], first_only=True) == (
        {"namespace": "a"},
        ["get", "-n", "b"],
        [],
    )


@pytest.mark.parametrize("argv", [["--help"], ["-h"], ["pods", "-ih"]])
def test_help_may_be_asked_for_anywhere(argv: list[str]) -> None:
    with pytest.raises(HelpAsked):
        parse("x", OPTIONS, argv)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30s", 30), ("5m", 300), ("1h30m", 5400), ("300ms", 0.3), ("1.5h", 5400), ("-1s", -1), ("0", 0), ("7", 7)],
)
def test_durations_are_gos(text: str, seconds: float) -> None:
    assert duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "5 m", "m", "1d", "5m3", "--1s", "1e3s", "."])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be a duration"):
        duration(text)


@settings(deadline=None)
@given(st.lists(st.text(alphabet="-=nitfdryrun tail", max_size=8), max_size=5), st.booleans())
def test_whatever_is_typed_is_read_or_refused_with_a_reason(argv: list[str], tail: bool) -> None:
    with contextlib.suppress(UsageError, HelpAsked):
        parse("x", OPTIONS, argv, tail=tail)
