"""`run`: the node itself, in the foreground."""

from __future__ import annotations

from minikube_lite.cli.durations import duration
from minikube_lite.cli.errors import CliError, UsageError
from minikube_lite.cli.params import Command, Option
from minikube_lite.cli.session import Session

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minikube_lite.node.run import Serve


def run(
    session: Session,
    words: list[str],
    *,
    allowed_unsafe_sysctls: tuple[str, ...],
    backoff_initial: float,
    backoff_max: float,
    log_format: str,
    verbose: bool,
) -> int:
    if len(words) > 1:
        raise UsageError(f"one directory of manifests, not {len(words)}: {' '.join(words)}")
    if backoff_initial <= 0 or backoff_max < backoff_initial:
        raise UsageError("--backoff-initial must be above 0, and --backoff-max not below it")
    from pathlib import Path

    from minikube_lite.node import run as node

    patterns = tuple(pattern for given in allowed_unsafe_sysctls for pattern in given.split(",") if pattern)
    options = node.Options(backoff_initial, backoff_max, log_format, verbose, patterns)  # type: ignore[arg-type]
    try:
        node.run(session.paths, Path(words[0]) if words else None, options, _serve)
    except node.CannotRun as error:
        raise CliError(str(error)) from error
    return 0


def _serve() -> Serve:
    from minikube_lite.api.server import serve

    return serve


COMMAND = Command(
    "run",
    run,
    summary="Run the node: watch a directory of manifests and run its pods.",
    usage="[MANIFESTS]",
    details="MANIFESTS is the directory to watch: /etc/minikube-lite/manifests, or manifests below --root.\n"
    "Ctrl-C stops the node; the containers run on, and the next node takes them over.",
    examples="""
sudo minikube-lite run manifests/
sudo minikube-lite --root /tmp/lab run manifests/
""",
    options=(
        Option(
            "--allowed-unsafe-sysctls",
            metavar="PATTERN",
            many=True,
            help="Let pods set these sysctls too, such as kernel.msg* or net.core.somaxconn (comma separated).",
        ),
        Option(
            "--backoff-initial", metavar="SECONDS", read=duration, default=1.0, help="First wait before a restart (1s)."
        ),
        Option(
            "--backoff-max", metavar="SECONDS", read=duration, default=60.0, help="Longest wait before a restart (60s)."
        ),
        Option(
            "--log-format",
            choices=("auto", "text", "json"),
            default="auto",
            help="Text on a terminal, else JSON (auto).",
        ),
        Option("-v", "--verbose", flag=True, help="Log every step."),
    ),
)
