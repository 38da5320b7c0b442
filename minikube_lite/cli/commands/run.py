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
    max_parallel_image_pulls: int,
    image_gc_high_threshold: int,
    image_gc_low_threshold: int,
    minimum_image_ttl: float,
    log_format: str,
    verbose: bool,
) -> int:
    if len(words) > 1:
        raise UsageError(f"one directory of manifests, not {len(words)}: {' '.join(words)}")
    if backoff_initial <= 0 or backoff_max < backoff_initial:
        raise UsageError("--backoff-initial must be above 0, and --backoff-max not below it")
    if image_gc_low_threshold >= image_gc_high_threshold:
        raise UsageError("--image-gc-low-threshold must be below --image-gc-high-threshold")
    from pathlib import Path

    from minikube_lite.node import run as node

    patterns = tuple(pattern for given in allowed_unsafe_sysctls for pattern in given.split(",") if pattern)
    options = node.Options(
        backoff_initial=backoff_initial,
        backoff_max=backoff_max,
        parallel_pulls=max_parallel_image_pulls,
        image_gc_high=image_gc_high_threshold,
        image_gc_low=image_gc_low_threshold,
        minimum_image_ttl=minimum_image_ttl,
        log_format=log_format,  # type: ignore[arg-type]
        verbose=verbose,
        allowed_unsafe_sysctls=patterns,
    )
    try:
        node.run(session.paths, Path(words[0]) if words else None, options, _serve)
    except node.CannotRun as error:
        raise CliError(str(error)) from error
    return 0


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise ValueError("must be a number above 0")
    return int(text)


def _percent(text: str) -> int:
    number = int(text) if text.isascii() and text.isdigit() else -1
    if not 0 <= number <= 100:
        raise ValueError("must be a number from 0 to 100")
    return number


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
            "--max-parallel-image-pulls",
            metavar="N",
            read=_count,
            default=3,
            help="How many images are pulled at once (3); 1: one after the other.",
        ),
        Option(
            "--image-gc-high-threshold",
            metavar="PERCENT",
            read=_percent,
            default=85,
            help="Disk usage above which unused images are removed (85); 100: never.",
        ),
        Option(
            "--image-gc-low-threshold",
            metavar="PERCENT",
            read=_percent,
            default=80,
            help="Disk usage down to which they are removed (80).",
        ),
        Option(
            "--minimum-image-ttl",
            metavar="SECONDS",
            read=duration,
            default=120.0,
            help="An image younger than this is not removed (2m).",
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
