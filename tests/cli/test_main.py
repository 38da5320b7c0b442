"""The command as a process: exit codes, signals, pipes, what it imports."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from minikube_lite import __version__
from minikube_lite.cli import main
from minikube_lite.cli.commands import get, version
from minikube_lite.cli.session import Session
from minikube_lite.node.paths import Paths
from tests.api.fake_node import make_pod
from tests.cli.conftest import Cli, ServedNode

HEAVY = (
    "click",
    "pydantic",
    "yaml",
    "asyncio",
    "ssl",
    "email",
    "http.client",
    "urllib.parse",
    "pathlib",
    "websockets",
    "structlog",
    "typing",
    "dataclasses",
    "argparse",
)


def command(*argv: str) -> list[str]:
    return [sys.executable, "-m", "minikube_lite", *argv]


def test_get_pods_imports_nothing_heavy(node: ServedNode, environment: dict[str, str]) -> None:
    start = "from minikube_lite.cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-S", "-X", "importtime", "-c", start, "get", "pods"],
        capture_output=True,
        text=True,
        env=environment,
    )
    assert (done.returncode, done.stdout.split()[:2]) == (0, ["NAME", "READY"])
    imported = set(re.findall(r"\| +(\S+)$", done.stderr, re.MULTILINE))
    assert "minikube_lite.cli.commands.get" in imported
    assert imported.isdisjoint(HEAVY)


def test_the_session_and_the_node_mean_the_same_socket(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    for root in ("", str(tmp_path), str(tmp_path / "link"), ".", f"{tmp_path}/"):
        assert Session(root, "").socket == str(Paths(root or None).socket)


def test_every_command_is_declared_under_its_name() -> None:
    for name in main.COMMANDS:
        assert main.load(name).name == name


def test_a_pipe_that_is_closed_ends_it_silently(node: ServedNode, environment: dict[str, str]) -> None:
    process = subprocess.Popen(
        command("get", "pods", "-w"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    )
    assert process.stdout is not None
    assert process.stderr is not None
    with process:
        assert process.stdout.readline().startswith(b"NAME")
        process.stdout.close()
        node.when_watched(lambda: node.fake.add("Pod", make_pod("more")), next_one=False)
        assert process.wait() == 141
        assert process.stderr.read() == b""


def test_interrupt_ends_it_with_130_and_no_traceback(node: ServedNode, environment: dict[str, str]) -> None:
    process = subprocess.Popen(
        command("get", "pods", "-w"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    )
    assert process.stdout is not None
    assert process.stdout.readline().startswith(b"NAME")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate()
    assert (process.returncode, err) == (130, b"")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_output_that_cannot_be_written_is_an_error(node: ServedNode, environment: dict[str, str]) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(command("get", "pods"), stdout=full, stderr=subprocess.PIPE, env=environment)
    assert (done.returncode, done.stderr) == (1, b"error: No space left on device\n")


def test_output_works_in_an_old_locale(node: ServedNode, environment: dict[str, str]) -> None:
    environment |= {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command("get", "pods", "-o", "jsonpath={'\\u2713'}"), capture_output=True, env=environment)
    assert (done.returncode, done.stdout) == (0, b"\\u2713")


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["gte"], 'error: unknown command "gte" for "minikube-lite"\n\nDid you mean this?\n\tget\n'),
        (
            ["frobnicate"],
            'error: unknown command "frobnicate" for "minikube-lite"\nRun \'minikube-lite --help\' for usage.\n',
        ),
        (
            ["get", "pods", "--wtach"],
            "error: unknown flag: --wtach (did you mean --watch?)\nSee 'minikube-lite get --help' for usage.\n",
        ),
        (["--nope"], "error: unknown flag: --nope\nSee 'minikube-lite --help' for usage.\n"),
    ],
)
def test_what_is_misspelt_gets_a_suggestion(argv: list[str], message: str, cli: Cli) -> None:
    shown = cli(*argv)
    assert (shown.code, shown.out, shown.err) == (1, "", message)


@pytest.mark.parametrize(
    "argv",
    [
        ["get", "pods"],
        ["logs", "web"],
        ["exec", "web", "--", "ls"],
        ["events"],
        ["delete", "pod", "x"],
        ["describe", "pod", "x"],
        ["wait", "--for=delete", "pod/x"],
        ["version"],
    ],
)
def test_without_a_node_each_says_so_and_what_to_do(argv: list[str], cli: Cli, root: Path) -> None:
    shown = cli(*argv)
    assert shown.code == 1
    assert shown.err == (
        f"error: no node is running at {root}/run/api.sock (start one with: minikube-lite --root {root} run)\n"
    )


def test_a_socket_that_is_roots_says_sudo(node: ServedNode, environment: dict[str, str], root: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become somebody else")
    (root / "run/api.sock").chmod(0o660)
    root.chmod(0o755)
    script = (
        "import os; os.setgid(65534); os.setuid(65534); from minikube_lite.cli.main import main; main(['get', 'pods'])"
    )
    # the interpreter and the package must be readable for anybody: import them before giving up root
    script = "import minikube_lite.cli.main, minikube_lite.cli.commands.get, minikube_lite.cli.client; " + script
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment)
    assert done.returncode == 1
    assert done.stderr == (
        f"error: permission denied on {root}/run/api.sock: the socket is root's (try again with sudo)\n"
    )


def test_a_bug_is_one_line_unless_debugging(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> int:
        raise KeyError("boom")

    monkeypatch.setattr(get.COMMAND, "run", broken)
    shown = cli("get", "pods")
    assert (shown.code, shown.err) == (
        1,
        "error: a bug in minikube-lite: KeyError: 'boom' (MINIKUBE_LITE_DEBUG=1 shows where)\n",
    )
    monkeypatch.setenv("MINIKUBE_LITE_DEBUG", "1")
    assert "Traceback" in cli("get", "pods").err


@pytest.mark.parametrize("argv", [[], ["--help"], ["-h"], ["help"]])
def test_help_lists_every_command(argv: list[str], cli: Cli) -> None:
    shown = cli(*argv)
    assert shown.code == 0
    for name in main.FIRST:
        assert re.search(rf"^  {name} +\S", shown.out, re.MULTILINE)


@pytest.mark.parametrize("name", main.COMMANDS)
def test_every_command_has_help_with_examples(name: str, cli: Cli) -> None:
    words = name.split()
    shown = cli(*words, "--help")
    assert shown.code == 0
    assert f"Usage: minikube-lite {name}" in shown.out
    assert "\nExamples:\n  " in shown.out
    assert cli("help", *words).out == shown.out


def test_versions_of_the_command_and_the_node(node: ServedNode, cli: Cli) -> None:
    own = f"Client Version: v{__version__}\n"
    assert cli("version", "--client").out == cli("--version").out == own
    assert cli("version").out.startswith(own + "Server Version: v")
    assert cli("version", "--client", "-o", "yaml").out == f"clientVersion:\n  gitVersion: v{__version__}\n"


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["run", "a", "b"], "error: one directory of manifests, not 2: a b\n"),
        (["run", "--backoff-max=0.5"], "error: --backoff-initial must be above 0, and --backoff-max not below it\n"),
        (
            ["run", "--log-format=xml"],
            'error: invalid argument "xml" for "--log-format" flag: must be one of auto, text, json\n',
        ),
    ],
)
def test_run_checks_its_options_before_anything_else(argv: list[str], message: str, cli: Cli) -> None:
    shown = cli(*argv)
    assert (shown.code, shown.err) == (1, message)


# -- completion ------------------------------------------------------------------------------------------------------


def completed(environment: dict[str, str], *words: str) -> list[str]:
    """What bash would be offered for the last of `words`."""
    asked = {
        "COMP_WORDS": " ".join(("minikube-lite", *words)),
        "COMP_CWORD": str(len(words)),
        main.COMPLETE: "bash_complete",
    }
    done = subprocess.run(command(), capture_output=True, text=True, env=environment | asked)
    assert done.stderr == ""
    return [line.partition(",")[2] for line in done.stdout.splitlines() if line]


def test_commands_options_types_and_names_are_completed(node: ServedNode, environment: dict[str, str]) -> None:
    assert completed(environment, "e") == ["exec", "events"]
    assert completed(environment, "get", "--sh") == ["--show-labels"]
    assert completed(environment, "get", "po") == ["pods", "pod/"]
    assert completed(environment, "get", "pods", "w") == ["web"]
    assert completed(environment, "delete", "pod/w") == ["pod/web"]
    assert completed(environment, "logs", "w") == ["web"]
    assert completed(environment, "run", "--log-format", "j") == ["json"]
    assert completed(environment, "get", "-n", "d") == ["default"]


def test_without_a_node_completion_offers_no_names_and_does_not_complain(environment: dict[str, str]) -> None:
    assert completed(environment, "logs", "w") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_has_its_script(shell: str, cli: Cli) -> None:
    shown = cli("completion", shell)
    assert shown.code == 0
    assert main.COMPLETE in shown.out
    assert cli("completion", "csh").err == "error: name the shell: bash, zsh, fish\n"


def test_a_command_may_stand_in_a_group(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(main, "COMMANDS", (*main.COMMANDS, "show version"))
    monkeypatch.setattr(main, "GROUPS", {"show": "Show things."})
    monkeypatch.setitem(sys.modules, "minikube_lite.cli.commands.show_version", version)
    assert main.execute(["show", "version", "--client"]) == 0
    assert "Client Version" in capsys.readouterr().out
    assert main.execute(["show", "-n", "x", "version", "--client"]) == 0
    capsys.readouterr()
    assert main.execute(["show", "versoin"]) == 1
    assert capsys.readouterr().err == (
        'error: unknown command "versoin" for "minikube-lite show"\n\nDid you mean this?\n\tversion\n'
    )
    for words in (["show"], ["show", "--help"]):
        assert main.execute(words) == 0
        assert "Show things." in capsys.readouterr().out
