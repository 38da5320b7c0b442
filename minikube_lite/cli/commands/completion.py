"""`completion`: the script that teaches a shell our commands, options and the names of pods."""

from __future__ import annotations

from minikube_lite.cli.errors import UsageError
from minikube_lite.cli.params import Command
from minikube_lite.cli.session import Session, say

SHELLS = ("bash", "zsh", "fish")


def run(session: Session, words: list[str]) -> int:
    if len(words) != 1 or words[0] not in SHELLS:
        raise UsageError(f"name the shell: {', '.join(SHELLS)}")
    from minikube_lite.cli.help import completion_script

    say(completion_script(words[0]))
    return 0


COMMAND = Command(
    "completion",
    run,
    summary="Print the completion script of a shell.",
    usage="(bash | zsh | fish)",
    examples="""
source <(minikube-lite completion bash)
minikube-lite completion zsh > "${fpath[1]}/_minikube-lite"
minikube-lite completion fish > ~/.config/fish/completions/minikube-lite.fish
""",
    completes=SHELLS,
)
