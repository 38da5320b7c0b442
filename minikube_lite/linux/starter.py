"""The short-lived child of a shim that starts its container. Forked by the shim ahead of the request.

Waits for the request, reads the config, claims the bundle in the shim's name, makes the cgroup and then PID 1, as a
sibling of its own (CLONE_PARENT), so that PID 1 is the shim's child; and ends. What it does costs memory only until
then, while the shim would keep every page for the container's life; and what it can do before there is a request
costs no time either.

The shim is told by a pipe: first what to run (`tell`), before anything is made; then, by `init`, how it went.
"""

from __future__ import annotations

import json
import os
import select
from _socket import AF_UNIX, SOCK_SEQPACKET, socket
from signal import SIGKILL

from minikube_lite.linux import syscalls as kernel
from minikube_lite.linux.birth import Birth
from minikube_lite.linux.cgroups import Cgroup
from minikube_lite.linux.datagram import parse, receive
from minikube_lite.linux.errors import Failure
from minikube_lite.linux.init import STARTING, become_init, give_up, parent_alive, unsupported
from minikube_lite.linux.namespaces import Namespaces
from minikube_lite.linux.process import Process
from minikube_lite.linux.records import STATE, claim, process_record, read_json
from minikube_lite.linux.rootfs import DEVICE_RULES, Rootfs, root_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any, NoReturn

    from minikube_lite.linux.launcher import Host


SPOILT = b'{"error": {"reason": "CreateError", "message": "state.json could not be written"}, "made": null}\n'


def become_starter(host: Host, control: int, shim: int, outputs: tuple[int, int], tell: int) -> NoReturn:
    """Serve the one `run` request that comes on `control`; `outputs` are the ends to write to of the log's pipes,
    `tell` that of the pipe to the shim."""
    made: dict[str, Any] = {}
    try:
        kernel.prctl(kernel.PR_SET_PDEATHSIG, SIGKILL)
        parent_alive(tell)
        requests = socket(AF_UNIX, SOCK_SEQPACKET, 0, control)
        record = process_record(shim, host.boot_id)
        if not waiting(control):
            rehearse(host)
        data, fds = receive(requests)
        if not data:
            os._exit(0)  # the launcher has gone, nobody will ask any more
        message = parse(data.decode(), 0)[0]
        os.write(tell, known(message))
        start = prepare(host, message, record, made)
        start.stdio, start.tell = stdio(message, fds, outputs), tell
        give_birth(start, made, control)
    except BaseException as error:
        give_up(tell, error, made)


def give_birth(start: Start, made: Mapping[str, Any], control: int) -> NoReturn:
    """Make PID 1. Once it is the command write that down, tell the shim and answer the request.

    After a vfork nothing but functions in C may be called (see `Vfork`), and there is no way out but os._exit.
    """
    starting, running = f"{start.bundle}/{STARTING}", f"{start.bundle}/{STATE}"
    tell, answered = start.tell, select.poll()
    answered.register(control, 0)
    heard, start.report = os.pipe()
    report, said, pid = start.report, b"", -1
    if start.host.vfork:
        call = start.birth.vfork(lambda: become_init(start, made), kernel.CLONE_PARENT)
        pid = kernel.syscall(*call.arguments)
    if pid < 0 and start.birth.fork(kernel.CLONE_PARENT) == 0:
        become_init(start, made)
    try:
        os.close(report)
        while chunk := os.read(heard, 65536):
            said += chunk
        if said.startswith(b'{"ok"') and said.count(b"\n") == 1:
            os.rename(starting, running)
            os.write(tell, said)
            os.write(control, said)
            answered.poll(5)  # let those first who have to pass it on: taking this process down costs a while
        else:
            os.write(tell, said)
    except BrokenPipeError:
        pass  # the launcher has died: the node finds the container by state.json
    except OSError:
        os.write(tell, SPOILT)
    finally:
        os.close(tell)  # now: an exit takes the memory down first, and the shim would wait for that
        os._exit(0)


class Start:
    """One container on its way: what its config asks for, and what is known of the process that will run it."""

    def __init__(self, host: Host, config: Mapping[str, Any], message: Mapping[str, Any], shim: dict[str, Any]) -> None:
        linux = config.get("linux") or {}
        self.host, self.config, self.message, self.shim = host, config, message, shim
        self.bundle: str = message["bundle"]
        self.namespaces = Namespaces(linux.get("namespaces") or ())
        self.birth = Birth(self.namespaces.pid, cgroups_path(config, self.bundle))
        self.cgroup = Cgroup(self.birth.cgroup)
        self.process = Process(config.get("process") or {}, host.capabilities, host.last_capability, message)
        self.rootfs = Rootfs(config, self.bundle, message.get("rootfs") or ())
        self.warnings = unsupported(config, message)
        self.stdio = (0, 1, 2)
        self.tell = self.report = -1
        """The ends to write to of the pipes to the shim and to the starter."""


def known(message: Mapping[str, Any]) -> bytes:
    """What the shim must know in any case: the bundle, and the log's path and limits."""
    log = message.get("log") or {}
    facts = (message["bundle"], log.get("path"), log.get("maxBytes") or 10 << 20, log.get("maxFiles") or 5)
    return json.dumps(facts).encode() + b"\n"


def prepare(host: Host, message: Mapping[str, Any], shim: dict[str, Any], made: dict[str, Any]) -> Start:
    """Everything that is done from outside of the container. What is `made` is noted there, for the shim to undo."""
    bundle = message["bundle"]
    config = read_json(f"{bundle}/config.json")
    if config is None:
        raise Failure("CreateError", f"{bundle}/config.json: No such file or directory")
    if elsewhere := message.get("process"):  # what may be on no disk: a file in memory has it
        config["process"] = read_json(elsewhere)
        if config["process"] is None:
            raise Failure("CreateError", f"{elsewhere}: No such file or directory")
    start = Start(host, config, message, shim)
    if not claim(bundle, shim):
        raise Failure("AlreadyClaimed", f"{bundle} was claimed by another process")
    made |= {"claim": True, "cgroup": start.birth.cgroup}
    if message.get("rootfs"):
        made["root"] = make_directory_once(root_path(config, bundle))
    start.warnings += start.cgroup.create(with_default_devices((config.get("linux") or {}).get("resources") or {}))
    return start


def stdio(message: Mapping[str, Any], fds: Sequence[int], outputs: tuple[int, int]) -> tuple[int, int, int]:
    """What the container gets as 0, 1, 2: what came with the request, or pipes to the log, or else /dev/null."""
    if fds:
        if len(fds) != 3:
            raise Failure("CreateError", "run takes three descriptors (stdin, stdout, stderr) or none")
        return (fds[0], fds[1], fds[2])
    return (0, *outputs) if message.get("log") else (0, 1, 2)


def cgroups_path(config: Mapping[str, Any], bundle: str) -> str:
    """`linux.cgroupsPath`, absolute in every hierarchy; without one it is named after the bundle."""
    path = (config.get("linux") or {}).get("cgroupsPath") or os.path.basename(bundle)
    return Cgroup("/" + path).path


def with_default_devices(resources: Mapping[str, Any]) -> Mapping[str, Any]:
    """Where access to devices is ruled at all, allow what every container has, and to make nodes (as runc does)."""
    rules = resources.get("devices")
    if not rules:
        return resources
    return {**resources, "devices": [*rules, *(rule for rule in DEVICE_RULES if rule not in rules)]}


def make_directory_once(path: str) -> bool:
    """Whether it was made now: only then it is ours to remove."""
    try:
        os.mkdir(path, 0o755)
    except FileExistsError:
        return False
    return True


def waiting(control: int) -> bool:
    """Whether there is a request already, or nobody any more who could send one."""
    poller = select.poll()
    poller.register(control, select.POLLIN)
    return bool(poller.poll(0))


def rehearse(host: Host) -> None:
    """Do once what every start does, without touching anything.

    In the launcher, for its children: Python rewrites code that runs often for the types it meets (PEP 659) and fills
    caches in classes and modules. In a starter that waits, for itself: the pages that it will write to become its own.
    """
    message = parse(REHEARSAL_REQUEST, 0)[0]
    config = json.loads(REHEARSAL)
    start = Start(host, config, message, process_record(os.getpid(), host.boot_id))
    with_default_devices(config["linux"]["resources"])
    start.cgroup.describe(config["linux"]["resources"])
    stdio(message, (), (1, 2))
    waiting(0)


REHEARSAL_REQUEST = json.dumps({"bundle": "/bundle", "log": {"path": "/log", "maxBytes": 1, "maxFiles": 2}})
REHEARSAL = json.dumps(
    {
        "process": {"args": ["true"], "env": ["PATH=/bin"], "capabilities": {"bounding": ["CAP_KILL"]}},
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "ro"]},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
            {"destination": "/etc/hosts", "type": "bind", "source": "/hosts", "options": ["rbind", "ro"]},
        ],
        "linux": {
            "namespaces": [{"type": "pid"}, {"type": "mount"}, {"type": "network", "path": "/ns/net"}],
            "resources": {
                "cpu": {"shares": 102, "quota": 20000, "period": 100000},
                "memory": {"limit": 1 << 26},
                "devices": [{"allow": False, "access": "rwm"}],
            },
        },
    }
)
