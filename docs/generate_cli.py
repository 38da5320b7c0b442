"""Writes docs/cli.md from the commands' own help. `--check` only says whether it is up to date (exit code 1: no)."""

from __future__ import annotations

import sys
from pathlib import Path

from minikube_lite.cli import main
from minikube_lite.cli.help import help_text

TARGET = Path(__file__).parent / "cli.md"
HEADING = """# The command line

<!-- Made by docs/generate_cli.py from the commands themselves: edit those. -->

Output, option names and exit codes are kubectl's: 0 for success, 1 for an error, the command's own code for `exec`, 130
after Ctrl-C. Options may stand anywhere; `--option=value`, `--option value`, `-o value` and `-it` all work, and a
switch takes `=false`. Data goes to standard output, what is said about it to standard error.

`MINIKUBE_LITE_ROOT` stands for `--root`; with `MINIKUBE_LITE_DEBUG=1` an unexpected error shows all of its traceback.
"""


def generate() -> str:
    parts = [HEADING, f"```\n{help_text(None)}\n```\n"]
    for name in main.COMMANDS:
        parts.append(f"## {name}\n\n```\n{help_text(main.load(name)).rstrip()}\n```\n")
    return "\n".join(parts)


if __name__ == "__main__":
    text = generate()
    if "--check" not in sys.argv[1:]:
        TARGET.write_text(text, encoding="utf-8")
    elif not TARGET.exists() or TARGET.read_text(encoding="utf-8") != text:
        sys.exit(f"{TARGET} is not up to date (run: python docs/generate_cli.py)")
