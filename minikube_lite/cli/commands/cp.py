"""`cp`: files into a container and out of it, by way of `tar` in it, as kubectl does it."""

from __future__ import annotations

import os
import posixpath
from dataclasses import dataclass

from minikube_lite.cli.durations import whole
from minikube_lite.cli.errors import ApiError, CliError, UsageError
from minikube_lite.cli.params import Command, Option
from minikube_lite.cli.resources import POD, first_container
from minikube_lite.cli.session import Session, warn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import IO

    from minikube_lite.cli.client import Client
    from minikube_lite.cli.piping import Pipe

RETRY_AFTER = 0.5
"""Seconds until a copy that broke off is resumed: the node may just be starting again."""


@dataclass(frozen=True, slots=True)
class Place:
    """`file`, `pod:file` or `namespace/pod:file`."""

    namespace: str
    pod: str
    """"" for this machine."""
    file: str

    @classmethod
    def parse(cls, text: str, namespace: str) -> Place:
        pod, colon, file = text.partition(":")
        if not colon:
            return cls("", "", text)
        pieces = pod.split("/")
        if not all(pieces) or len(pieces) > 2:
            raise UsageError(f"{text}: filespec must match the canonical format: [[namespace/]pod:]file/path")
        return cls(pieces[0] if pieces[1:] else namespace, pieces[-1], file)


def run(session: Session, words: list[str], *, container: str, no_preserve: bool, retries: int) -> int:
    if len(words) != 2:
        raise UsageError("source and destination are required\nSee 'minikube-lite cp --help' for usage.")
    source, target = (Place.parse(word, session.namespace) for word in words)
    if source.pod and target.pod:
        raise UsageError("one of src or dest must be a local file specification")
    if not source.file or not target.file:
        raise UsageError("filepath can not be empty")
    if not source.pod and not target.pod:
        raise UsageError("one of src or dest must be a remote file specification")
    copy = Copy(session.client, source if source.pod else target, container)
    if source.pod:
        copy.download(target.file, preserve=not no_preserve, retries=retries, advice=_advice(session, source))
    else:
        copy.upload(source.file, preserve=not no_preserve)
    return 0


def _advice(session: Session, source: Place) -> str:
    command = session.command(f'exec -n "{source.namespace}" "{source.pod}" -- tar cf - "{source.file}" | tar xf -')
    return f" (consider using `{command}`)"


class Copy:
    """One copy into or out of one container."""

    def __init__(self, client: Client, remote: Place, container: str) -> None:
        self._client = client
        self._path = POD.path(remote.namespace, remote.pod)
        self._file = posixpath.normpath(remote.file.replace("\\", "/"))
        self._container = container or first_container(client.get(self._path))

    def upload(self, source: str, *, preserve: bool) -> None:
        from minikube_lite.cli.archives import pack

        if not os.path.exists(source):
            raise CliError(f"{source} doesn't exist in local filesystem")
        target = self._file
        if self._is_directory(target):
            target = posixpath.join(target, os.path.basename(os.path.abspath(source)))
        directory, name = posixpath.split(target)
        command = ["tar", *([] if preserve else ["--no-same-permissions", "--no-same-owner"]), "-xmf", "-"]
        command += ["-C", _plain(directory or ".")]
        # A name of its own: a file called `-x` is not an option within an archive.
        self._piped(command, lambda pipe: pack(source, name, pipe, warn), into=True)

    def _is_directory(self, path: str) -> bool:
        from minikube_lite.cli.streaming import Streams

        query = self._query(["test", "-d", path])
        try:
            return Streams(self._client, f"{self._path}/exec", query, take=lambda channel, data: None).outcome() == 0
        except ApiError:
            return False  # no `test` in it: the path is taken for a file's, as kubectl does

    def download(self, target: str, *, preserve: bool, retries: int, advice: str) -> None:
        from minikube_lite.cli.archives import Unpacker

        prefix = self._file.lstrip("/")
        while prefix.startswith("../"):
            prefix = prefix[3:]  # tar takes these away too, whatever lies above the root
        unpacker = Unpacker("" if prefix in (".", "..") else prefix, target, warn, preserve=preserve, advice=advice)
        self._piped(["tar", "cf", "-", _plain(self._file)], unpacker.unpack, into=False, retries=retries)

    def _query(self, command: list[str], *, stdin: bool = False) -> list[tuple[str, str]]:
        query = [("container", self._container), *(("command", word) for word in command)]
        return [*query, *([("stdin", "true")] if stdin else []), ("stdout", "true"), ("stderr", "true")]

    def _piped(self, command: list[str], work: Callable[[IO[bytes]], None], *, into: bool, retries: int = 0) -> None:
        """Run the command with `work` at the other end of its pipe, in a thread. What failed first is what is told."""
        from minikube_lite.cli.piping import Pipe, Stopped

        pipe, code = Pipe(work, into=into), 0
        try:
            code = self._run(command, pipe, into, retries)
        except Stopped:
            pass
        finally:
            failure = pipe.failure()
        if failure is not None and (into or not code):
            if isinstance(failure, OSError):
                raise CliError(f"{failure.filename}: {failure.strerror}") from failure
            raise failure
        if code:
            raise CliError(f"command terminated with exit code {code}")

    def _run(self, command: list[str], pipe: Pipe, into: bool, retries: int) -> int:
        """Its exit code. A copy out of the container goes on where it broke off: what `tar` says is the same each
        time, if the files are."""
        from time import sleep

        from minikube_lite.cli.streaming import ConnectionLost

        attempt = 0
        while True:
            try:
                return self._stream(command, pipe, into)
            except ApiError as error:
                if 'exec: "tar": executable file not found' in str(error):
                    hint = "hint: cp needs it; use an image that has it, or a volume"
                    raise CliError(f'no tar in container "{self._container}": {error.args[0]} ({hint})') from error
                raise
            except CliError as error:  # the node has gone, or is not back yet
                first = attempt == 0 and not isinstance(error, ConnectionLost)
                attempt += 1
                if into or first or 0 <= retries < attempt:
                    raise
                warn(f"Resuming copy at {pipe.passed} bytes, retry {attempt}/{retries}")
                sleep(RETRY_AFTER)

    def _stream(self, command: list[str], pipe: Pipe, into: bool) -> int:
        from minikube_lite.cli.streaming import Streams

        query = self._query(command, stdin=into)
        if pipe.passed:
            resumed = f'{" ".join(command[:-1])} "$1" | tail -c+{pipe.passed + 1}'
            query = self._query(["sh", "-c", resumed, "sh", command[-1]])
        source = pipe.descriptor if into else None
        return Streams(self._client, f"{self._path}/exec", query, source=source, take=pipe.take).outcome()


def _plain(path: str) -> str:
    """A path that no program takes for an option."""
    return f"./{path}" if path.startswith("-") else path


COMMAND = Command(
    "cp",
    run,
    summary="Copy files into a container or out of one.",
    usage="SRC DST",
    details="One of SRC and DST is [NAMESPACE/]POD:PATH, the other a path on this machine.\n"
    "The container needs `tar`. Symlinks that come out of a container are left out, with a warning.",
    examples="""
minikube-lite cp web:/var/log/app.log app.log
minikube-lite cp ./site web:/srv -c nginx
minikube-lite cp staging/web:/etc/app ./app
""",
    options=(
        Option("-c", "--container", metavar="NAME", help="Which container (the pod's default one)."),
        Option("--no-preserve", flag=True, help="Owner and permissions are those of new files."),
        Option(
            "--retries",
            metavar="COUNT",
            read=whole,
            default=0,
            help="Resume a copy out of a container so often; -1: for ever (0).",
        ),
    ),
)
