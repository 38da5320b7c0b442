"""`exec` as a process, through the real API, to a command on this machine."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.api.fake_node import make_pod
from tests.cli.conftest import Cli, ServedNode
from tests.cli.terminal import Terminal


def run(environment: dict[str, str], *argv: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "minikube_lite", "exec", *argv]
    return subprocess.run(command, input=given, capture_output=True, env=environment, timeout=60)


def test_output_errors_and_exit_code_are_the_commands(node: ServedNode, environment: dict[str, str]) -> None:
    done = run(environment, "web", "--", "sh", "-c", "echo out; echo err >&2; exit 3")
    assert done.returncode == 3
    assert done.stdout == b"out\n"
    assert done.stderr == b"err\ncommand terminated with exit code 3\n"


def test_words_reach_the_command_as_they_are(node: ServedNode, environment: dict[str, str]) -> None:
    done = run(environment, "pod/web", "-c", "app", "--", "printf", "%s|", "a b", "", "--help", "$HOME", "é")
    assert done.stdout.decode() == "a b||--help|$HOME|é|"
    assert node.fake.calls == [
        (
            "exec",
            {
                "container": "app",
                "command": ["printf", "%s|", "a b", "", "--help", "$HOME", "é"],
                "tty": False,
                "stdin": False,
            },
        )
    ]


def test_standard_input_is_passed_on_to_its_end(node: ServedNode, environment: dict[str, str]) -> None:
    given = bytes(range(256)) * 20_000
    done = run(environment, "-i", "web", "--", "cat", given=given)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == given


def test_standard_input_is_left_alone_unless_asked_for(node: ServedNode, environment: dict[str, str]) -> None:
    assert run(environment, "web", "--", "cat", given=b"secret").stdout == b""


def test_a_command_that_does_not_read_does_not_block_the_end(node: ServedNode, environment: dict[str, str]) -> None:
    done = run(environment, "-i", "web", "--", "sh", "-c", "exec <&-; echo done", given=b"x" * 5_000_000)
    assert (done.returncode, done.stdout) == (0, b"done\n")


def test_a_command_killed_by_a_signal_ends_as_a_shell_shows_it(node: ServedNode, environment: dict[str, str]) -> None:
    assert run(environment, "web", "--", "sh", "-c", "kill -9 $$").returncode == 137


def test_interrupt_without_a_terminal_ends_with_130(node: ServedNode, environment: dict[str, str]) -> None:
    command = [sys.executable, "-m", "minikube_lite", "exec", "web", "--", "sh", "-c", "echo on; exec sleep 60"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)
    assert process.stdout is not None
    assert process.stdout.readline() == b"on\n"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (130, b"")


def test_the_default_container_is_told(node: ServedNode, environment: dict[str, str]) -> None:
    pod = make_pod("duo")
    pod["spec"]["containers"].append({"name": "side", "image": "host"})
    node.add("Pod", pod)
    assert run(environment, "duo", "--", "true").stderr == b'Defaulted container "app" out of: app, side\n'
    assert run(environment, "-q", "duo", "--", "true").stderr == b""


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "error: pod or type/name must be specified\nSee 'minikube-lite exec --help' for usage.\n"),
        (["web"], "error: you must specify at least one command for the container\n"),
        (["web", "ls"], "error: exec [POD] [COMMAND] is not supported anymore. Use exec [POD] -- [COMMAND] instead\n"),
        (["nope", "--", "ls"], 'Error from server (NotFound): pods "nope" not found\n'),
        (
            ["web", "-c", "nope", "--", "ls"],
            "Error from server (BadRequest): container nope is not valid for pod web\n",
        ),
    ],
)
def test_what_cannot_be_run_is_an_error(argv: list[str], message: str, node: ServedNode, cli: Cli) -> None:
    shown = cli("exec", *argv)
    assert (shown.code, shown.out, shown.err) == (1, "", message)


# -- on a terminal ---------------------------------------------------------------------------------------------------


def test_a_terminal_of_the_same_size_is_there_and_follows_the_window(
    node: ServedNode, environment: dict[str, str]
) -> None:
    script = "trap 'stty size' WINCH; tty >/dev/null && stty size; while :; do sleep 0.05; done"
    with Terminal("exec", "-it", "web", "--", "sh", "-c", script, environment=environment, size=(31, 97)) as terminal:
        terminal.expect("31 97") if not node.fake.sessions else None
        terminal.resize(40, 120)
        terminal.expect("40 120")


def test_keys_go_to_the_command_raw_and_interrupt_is_its_own(node: ServedNode, environment: dict[str, str]) -> None:
    script = "trap 'echo caught; exit 7' INT; echo ready; read line; echo got $line; while :; do sleep 0.05; done"
    with Terminal("exec", "-it", "web", "--", "sh", "-c", script, environment=environment) as terminal:
        terminal.expect("ready")
        assert not terminal.restored
        terminal.type("hello\r")
        terminal.expect("got hello\r\n")
        terminal.type("\x03")
        terminal.expect("caught")
        assert terminal.wait() == 7
        assert terminal.seen.endswith("command terminated with exit code 7\r\n")
        assert terminal.restored


def test_what_is_typed_ahead_is_not_lost(node: ServedNode, environment: dict[str, str]) -> None:
    with Terminal("exec", "-it", "web", "--", "cat", environment=environment) as terminal:
        terminal.type("early\n")
        terminal.expect("early\r\nearly\r\n")  # echoed here, and by the other terminal or by cat
        terminal.type("\x04")


def test_the_terminal_is_given_back_when_the_node_goes(node: ServedNode, environment: dict[str, str]) -> None:
    with Terminal("exec", "-it", "web", "--", "sh", "-c", "echo on; sleep 60", environment=environment) as terminal:
        terminal.expect("on\r\n")
        node.close()
        assert terminal.wait() == 1
        assert terminal.restored


def test_a_tty_is_not_asked_for_without_one_here(node: ServedNode, environment: dict[str, str]) -> None:
    done = run(environment, "-it", "web", "--", "cat", given=b"x")
    assert (done.returncode, done.stdout) == (0, b"x")
    assert done.stderr == b"Unable to use a TTY - input is not a terminal or the right kind of file\n"


# -- progress --------------------------------------------------------------------------------------------------------


def test_apply_shows_its_progress_in_place(node: ServedNode, environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "web.yaml").write_text("kind: Pod\nmetadata: {name: web}\nstatus: {phase: Pending, conditions: []}\n")
    with Terminal("apply", "-f", f"{tmp_path}/web.yaml", "--wait", environment=environment) as terminal:
        terminal.expect("pod/web configured\r\n")
        assert "⠋ pod/web its phase is Pending 0.0s" in terminal.expect("⠙ pod/web")
        node.when_watched(lambda: node.fake.add("Pod", make_pod("web")), next_one=False)
        terminal.expect("\x1b[1A\x1b[J\x1b[32m✓\x1b[0m pod/web ready \x1b[2m")
        assert terminal.wait() == 0
