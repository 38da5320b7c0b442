"""What the `image …` commands share: the store, the words for what is in it, and how the work on an image is shown.

They work on the node's store itself, as root, with or without a node: the store is made for several processes.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from contextlib import contextmanager

from minikube_lite.cli.errors import CliError
from minikube_lite.cli.session import say

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from minikube_lite.cli.session import Session
    from minikube_lite.images.progress import Step
    from minikube_lite.images.store import ImageStore, StoredImage

WIDTH = 30
SHORT_ID = 12
"""Digits of an image ID that a table shows."""


@contextmanager
def store_of(session: Session) -> Iterator[ImageStore]:
    """The node's image store; what goes wrong with an image or with the disk becomes one line."""
    from minikube_lite.images.store import ImageError, ImageStore

    paths = session.paths
    if os.geteuid() != 0:
        raise CliError(f"images are kept by root: `sudo {session.command('image …')}`")
    try:
        paths.images.mkdir(parents=True, exist_ok=True)
        yield ImageStore(paths.images)
    except ImageError as error:
        raise CliError(error.message) from error


def stored(store: ImageStore, wanted: str) -> StoredImage:
    """The image of this name, or with an ID that begins so (`sha256:` may be left out). Raises CliError."""
    from minikube_lite.images.store import ImageError

    try:
        if found := store.find(wanted):
            return found
    except ImageError:
        pass  # it may be an ID still
    digits = wanted.removeprefix("sha256:")
    if digits and not digits.strip("0123456789abcdef"):
        matching = [image for image in store.images() if image.id.removeprefix("sha256:").startswith(digits)]
        if len(matching) > 1:
            raise CliError(f"`{wanted}` is the beginning of the IDs of {len(matching)} images: write more of it")
        if matching:
            return matching[0]
    raise CliError(f"no image `{wanted}` is on this machine (hint: `minikube-lite image list` shows what is)")


def short_id(image: StoredImage) -> str:
    return image.id.removeprefix("sha256:")[:SHORT_ID]


def name_and_tag(name: str) -> tuple[str, str]:
    """(`docker.io/library/nginx`, `1.25`); a name with a digest has `<none>` for a tag."""
    bare, _, digest = name.partition("@")
    repository, colon, tag = bare.rpartition(":")
    if not colon or "/" in tag:
        return bare, "<none>" if digest else "latest"
    return repository, tag


def human_size(size: int) -> str:
    """Docker's: 3 digits of a decimal multiple (docker/go-units, `HumanSizeWithPrecision`)."""
    value, units = float(size), ["B", "kB", "MB", "GB", "TB"]
    while value >= 1000 and len(units) > 1:
        value /= 1000
        units.pop(0)
    return f"{value:.3g}{units[0]}"


class Bars:
    """Shows the progress of an image's parts: a bar for each on a terminal, else a line for each that is done."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._parts: dict[tuple[str, str], tuple[int, int]] = {}
        self._live = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self._drawn = 0
        self._last = 0.0

    def __call__(self, step: Step) -> None:
        """Called from the threads that copy and unpack."""
        with self._lock:
            key, state = (step.part, step.stage), (step.done, step.total)
            news = self._parts.get(key) != state
            self._parts[key] = state
            if self._live:
                now = time.monotonic()
                if now - self._last > 0.1 or step.done == step.total:
                    self._last = now
                    self._draw()
            elif news and step.done == step.total and step.total:
                sys.stderr.write(f"{_part(step.part)}: {_PAST[step.stage]} ({human_size(step.total)})\n")
                sys.stderr.flush()

    def finish(self) -> None:
        """Take the bars away."""
        with self._lock:
            self._erase()
            sys.stderr.flush()

    def _draw(self) -> None:
        """Redraw in place (ECMA-48: CUU, ED); no more lines than the terminal has."""
        size = os.get_terminal_size(sys.stderr.fileno())
        busy = [(key, state) for key, state in self._parts.items() if state[0] < state[1]]
        busy = busy[: max((size.lines or 24) - 2, 1)]
        self._erase()
        for (part, stage), (done, total) in busy:
            filled = WIDTH * done // max(total, 1)
            bar = "█" * filled + "░" * (WIDTH - filled)
            line = f"{_part(part)} {stage:<9} {bar} {human_size(done)}/{human_size(total)}"
            sys.stderr.write(line[: (size.columns or 80) - 1] + "\n")
        self._drawn = len(busy)
        sys.stderr.flush()

    def _erase(self) -> None:
        if self._drawn:
            sys.stderr.write(f"\x1b[{self._drawn}A\x1b[J")
            self._drawn = 0


@contextmanager
def bars() -> Iterator[Bars]:
    """Bars that are gone at the end, however it ends."""
    shown = Bars()
    try:
        yield shown
    finally:
        shown.finish()


def _part(digest: str) -> str:
    return digest.partition(":")[2][:SHORT_ID]


_PAST = {"copying": "copied", "unpacking": "unpacked"}


def print_json(value: object) -> None:
    import json

    say(json.dumps(value, indent=4, ensure_ascii=False))
