"""Makes an image and brings it into the store. Called by `image import` and `image build-from-dir`."""

from __future__ import annotations

import os
import shlex
import time

from minikube_lite.cli.errors import UsageError
from minikube_lite.cli.images import bars, store_of
from minikube_lite.cli.params import Option
from minikube_lite.cli.session import Session, say

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

OPTIONS = (
    Option("--entrypoint", metavar="COMMAND", help="What runs: a JSON list, or words as a shell splits them."),
    Option("--cmd", metavar="ARGS", help="Its arguments, where the pod gives none: a JSON list, or words."),
    Option("-e", "--env", metavar="NAME=VALUE", many=True, help="A variable of its environment."),
    Option("-u", "--user", metavar="USER[:GROUP]", help="Whom it runs as: names in the image, or numbers."),
    Option("-w", "--workdir", metavar="DIR", help="The directory it runs in."),
    Option("--label", metavar="NAME=VALUE", many=True, help="A label of the image."),
    Option("--expose", metavar="PORT[/PROTOCOL]", many=True, help="A port that it listens on: for people to read."),
    Option(
        "--volume", metavar="DIR", many=True, help="A directory that is the container's own, outside of its layers."
    ),
    Option("--stop-signal", metavar="SIGNAL", help="What asks it to end (SIGTERM)."),
)


def make(session: Session, source: str, name: str, values: dict[str, Any]) -> int:
    """Pack the directory or archive, with the `config` that the options ask for, and say what it is called now."""
    import tempfile
    from pathlib import Path

    from minikube_lite.images import build, reference

    config = config_of(values)
    with store_of(session) as store, bars() as shown:
        reference.remote(name)  # a name that can be none is known before the work
        directory = os.path.isdir(source)
        with tempfile.TemporaryDirectory(prefix="minikube-lite-build-", dir=_roomy()) as layout:
            make_layout = build.from_directory if directory else build.from_archive
            make_layout(Path(source), Path(layout), config, created=_now(), made_by=f"minikube-lite: from {source}")
            [loaded] = store.load(Path(layout), shown, name=name)
    say(f"Loaded image: {loaded}")
    return 0


def config_of(values: dict[str, Any]) -> dict[str, Any]:
    """The `config` object of an OCI image config (image-spec config.md) from the options above."""
    config: dict[str, Any] = {
        "Entrypoint": _words("--entrypoint", values["entrypoint"]),
        "Cmd": _words("--cmd", values["cmd"]),
        "Env": [_pair("--env", text) for text in values["env"]],
        "User": values["user"],
        "WorkingDir": _absolute("--workdir", values["workdir"]) if values["workdir"] else "",
        "Labels": dict(_pair("--label", text).split("=", 1) for text in values["label"]),
        "ExposedPorts": {_port(text): {} for text in values["expose"]},
        "Volumes": {_absolute("--volume", text): {} for text in values["volume"]},
        "StopSignal": values["stop_signal"],
    }
    if config["Env"] and not any(text.startswith("PATH=") for text in config["Env"]):
        config["Env"].insert(0, _PATH)
    config["Env"] = config["Env"] or [_PATH]
    return {key: value for key, value in config.items() if value}


_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def _words(option: str, text: str) -> list[str]:
    if not text.lstrip().startswith("["):
        try:
            return shlex.split(text)
        except ValueError as error:
            raise UsageError(f'invalid argument "{text}" for "{option}" flag: {error}') from None
    import json

    try:
        found = json.loads(text)
    except ValueError as error:
        raise UsageError(f'invalid argument "{text}" for "{option}" flag: not a JSON list ({error})') from None
    if not all(isinstance(word, str) for word in found):
        raise UsageError(f'invalid argument "{text}" for "{option}" flag: the list may hold strings only')
    return list(found)


def _pair(option: str, text: str) -> str:
    if "=" not in text or text.startswith("="):
        raise UsageError(f'invalid argument "{text}" for "{option}" flag: expected NAME=VALUE')
    return text


def _absolute(option: str, text: str) -> str:
    if not text.startswith("/"):
        raise UsageError(f'invalid argument "{text}" for "{option}" flag: must begin with `/`')
    return text


def _port(text: str) -> str:
    number, _, protocol = text.partition("/")
    if not number.isdecimal() or not 0 < int(number) < 65536 or protocol not in ("", "tcp", "udp", "sctp"):
        raise UsageError(f'invalid argument "{text}" for "--expose" flag: expected a port, such as 80 or 53/udp')
    return f"{int(number)}/{protocol or 'tcp'}"


def _roomy() -> str | None:
    """Where an image may be put together: not /tmp, which is often memory."""
    return os.environ.get("TMPDIR") or ("/var/tmp" if os.path.isdir("/var/tmp") else None)


def _now() -> str:
    """RFC 3339; what SOURCE_DATE_EPOCH says, for an image that is to be the same each time (reproducible-builds)."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH") or "0"
    try:
        seconds = int(epoch) or int(time.time())
    except ValueError:
        raise UsageError(f"SOURCE_DATE_EPOCH is no number of seconds: {epoch}") from None
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
