"""Whatever is put before it: a clear word where the person looks, the node unharmed, what runs runs on."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.yard import Json, Yard, alive, start_time
from tests.node_process import NodeProcess
from tests.traces import Traces

pytestmark = pytest.mark.root

GOOD = """\
apiVersion: v1
kind: Pod
metadata:
  name: NAME
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: app
    image: IMAGE
    command: [sleep, infinity]
"""
LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{here}: &{here} [{', '.join([f'*{before}'] * 9)}]\n" for before, here in zip("abcdefgh", "bcdefghi", strict=True)
)

BAD: dict[str, tuple[Callable[[str], str | bytes], str, str]] = {
    # name → how the good one is spoilt, "line:column" of the complaint, words of it
    "broken YAML": (lambda good: good.replace("infinity]", "infinity"), ":11:1", "expected `,` or `]`"),
    "a tab": (lambda good: good.replace("  name: NAME", "\tname: NAME"), ":4:1", "tab"),
    "binary": (lambda good: bytes(range(256)) * 20, ":1:1", ""),
    "not UTF-8": (lambda good: good.replace("NAME", "n\udcff").encode(errors="surrogateescape"), ":4:", "UTF-8"),
    "50 MB": (lambda good: good + "# padding to make it large\n" * 2_000_000, "", "too large"),
    "billion laughs": (lambda good: LAUGHS + good, ":", "alias"),
    "deep nesting": (lambda good: good + "x: " + "[" * 5000, ":", "levels deep"),
    "a duplicate key": (lambda good: good.replace("kind: Pod\n", "kind: Pod\nkind: Pod\n"), ":3:1", "kind"),
    "a typo": (lambda good: good.replace("image:", "imgae:"), ":9:5", "did you mean `image`?"),
    "a nested typo": (lambda good: good + "    resources: {limit: {cpu: 1}}\n", ":11:17", "did you mean `limits`?"),
    "a wrong type": (lambda good: good.replace("[sleep, infinity]", "sleep infinity"), ":10:14", "command"),
    "a wrong kind of number": (lambda good: good.replace("Seconds: 0", "Seconds: soon"), ":6:34", "Seconds"),
    "an impossible quantity": (lambda good: good + "    resources: {limits: {cpu: 2 cores}}\n", ":11:31", "2 cores"),
    "a negative limit": (lambda good: good + "    resources: {limits: {memory: -1Mi}}\n", ":11:34", "-1Mi"),
    "no containers": (lambda good: good[: good.index("  containers")], ":", "containers"),
    "a bad name": (lambda good: good.replace("NAME", "Not_A_Name"), ":4:9", "Not_A_Name"),
    "no document": (lambda good: "just some words\n", ":1:1", ""),
    "two containers of one name": (lambda good: good + "  - {name: app, image: host}\n", ":11:", "app"),
}


@pytest.fixture(params=list(BAD))
def bad(request: pytest.FixtureRequest, rootfs: Path) -> tuple[Callable[[str], bytes], str, str]:
    spoil, where, words = BAD[request.param]

    def text(name: str) -> bytes:
        spoilt = spoil(GOOD)
        data = spoilt if isinstance(spoilt, bytes) else spoilt.encode()
        return data.replace(b"NAME", name.encode()).replace(b"IMAGE", os.fsencode(rootfs))

    return text, where, words


def good(yard: Yard, name: str) -> str:
    return GOOD.replace("NAME", name).replace("IMAGE", str(yard.rootfs))


def identity(yard: Yard, name: str) -> Json:
    pid = yard.pid(name)
    return {"uid": yard.uid(name), "pid": pid, "start": start_time(pid), "restarts": yard.restarts(name)}


def conditions(yard: Yard, name: str) -> dict[str, Json]:
    pod = yard.node.pod(name)
    assert pod is not None, f"no pod {name}"
    return {item["type"]: item for item in pod["status"]["conditions"]}


def wait_said(yard: Yard, name: str, reason: str, words: str) -> str:
    """Wait until the pod's object says that its manifest is not used, and why; the same from describe and events."""

    def look() -> str:
        if yard.node.pod(name) is None:
            return ""
        found = conditions(yard, name).get("ManifestValid", {})
        return found["message"] if found.get("reason") == reason and words in found["message"] else ""

    message = yard.node.wait_until(look, f"{name} says {reason}: {words}")
    described = yard.node.cli("describe", "pod", name).stdout
    assert reason in described
    assert words in described
    assert words in yard.wait_event(name, reason, words)["message"]
    assert reason in yard.node.cli("events").stdout
    return message


def drop(yard: Yard, name: str, data: bytes) -> Path:
    aside = yard.node.root / "aside"
    aside.write_bytes(data)
    return aside.replace(yard.node.manifests / name)


# -- what is wrong with the text -------------------------------------------------------------------------------------


def test_apply_refuses_it_and_says_where(
    yard: Yard, bad: tuple[Callable[[str], bytes], str, str], tmp_path: Path
) -> None:
    text, where, words = bad
    drop(yard, "web.yaml", good(yard, "web").encode())
    yard.node.wait_phase("web", "Running")
    before = identity(yard, "web")
    (tmp_path / "web.yaml").write_bytes(text("web"))
    done = yard.node.cli("apply", "-f", str(tmp_path / "web.yaml"), check=False)
    assert done.returncode == 1
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith(f"error: {tmp_path / 'web.yaml'}{where}")
    assert words in lines[0]
    assert len(lines[0]) < 1000
    assert (yard.node.manifests / "web.yaml").read_text() == good(yard, "web")
    assert identity(yard, "web") == before


def test_a_file_that_becomes_bad_changes_nothing_that_runs(
    yard: Yard, bad: tuple[Callable[[str], bytes], str, str]
) -> None:
    text, where, words = bad
    for name in ("web", "other"):
        drop(yard, f"{name}.yaml", good(yard, name).encode())
    for name in ("web", "other"):
        yard.node.wait_phase(name, "Running")
    before = identity(yard, "web"), identity(yard, "other")
    drop(yard, "web.yaml", text("web"))
    message = wait_said(yard, "web", "InvalidManifest", words)
    assert f"web.yaml{where}" in message
    assert (identity(yard, "web"), identity(yard, "other")) == before
    row = next(line for line in yard.node.cli("get", "pods").stdout.splitlines() if line.startswith("web "))
    assert "1/1" in row
    assert "InvalidManifest" in row
    assert "ManifestValid" not in conditions(yard, "other")
    drop(yard, "web.yaml", good(yard, "web").encode())
    yard.node.wait_until(lambda: "ManifestValid" not in conditions(yard, "web"), "all is well again")
    assert (identity(yard, "web"), identity(yard, "other")) == before


def test_a_file_that_was_never_good_is_shown(yard: Yard, bad: tuple[Callable[[str], bytes], str, str]) -> None:
    text, where, _ = bad
    path = drop(yard, "new.yaml", text("new"))
    yard.node.wait_until(lambda: "InvalidManifest" in yard.node.cli("get", "pods").stdout, "it is shown")
    [pod] = yard.node.pods()
    assert f"new.yaml{where}" in pod["status"]["message"]
    assert "InvalidManifest" in yard.node.cli("describe", "pod", pod["metadata"]["name"]).stdout
    path.unlink()
    yard.node.wait_until(lambda: not yard.node.pods(), "it is not shown any more")


def test_the_good_documents_of_a_file_are_used(yard: Yard, tmp_path: Path) -> None:
    both = good(yard, "one") + "---\n" + good(yard, "two").replace("command", "comand")
    drop(yard, "both.yaml", both.encode())
    yard.node.wait_phase("one", "Running")
    wait_said(yard, "two", "InvalidManifest", "did you mean `command`?")
    (tmp_path / "x.yaml").write_text(both.replace("one", "three").replace("two", "four"))
    done = yard.node.cli("apply", "-f", str(tmp_path / "x.yaml"), check=False)
    assert (done.returncode, done.stdout) == (1, "pod/three created\n")
    assert f"{tmp_path}/x.yaml:21:5" in done.stderr


# -- what is wrong with the file -------------------------------------------------------------------------------------


def _directory(path: Path) -> None:
    path.mkdir()


def _dangling(path: Path) -> None:
    path.symlink_to("nowhere")


def _loop(path: Path) -> None:
    path.symlink_to(path.name)


def _endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


def _fifo(path: Path) -> None:
    os.mkfifo(path)


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(path))


@pytest.mark.parametrize("make", [_directory, _dangling, _loop, _endless, _fifo, _socket])
@pytest.mark.parametrize("instead", [False, True], ids=["beside", "in place of a good one"])
def test_a_file_that_cannot_be_read_is_said_and_does_not_hang_the_node(
    yard: Yard, make: Callable[[Path], None], instead: bool
) -> None:
    drop(yard, "web.yaml", good(yard, "web").encode())
    yard.node.wait_phase("web", "Running")
    before = identity(yard, "web")
    path = yard.node.manifests / ("web.yaml" if instead else "x.yaml")
    path.unlink(missing_ok=True)
    make(path)
    if instead:
        # Between the two there was no file: whoever replaces a file so wants its pod gone, or was too slow.
        yard.node.wait_until(
            lambda: any("InvalidManifest" in json.dumps(pod) for pod in yard.node.pods()), "it is said"
        )
    else:
        wait_said(yard, "x.yaml", "InvalidManifest", "x.yaml: cannot read the file")
        assert identity(yard, "web") == before
    yard.run("new")
    assert "new" in yard.node.cli("get", "pods").stdout


def test_a_directory_that_vanishes_and_comes_back_costs_nothing(yard: Yard) -> None:
    for name in ("web", "other"):
        drop(yard, f"{name}.yaml", good(yard, name).encode())
    for name in ("web", "other"):
        yard.node.wait_phase(name, "Running")
    before = identity(yard, "web")
    away = yard.node.root / "away"
    yard.node.manifests.rename(away)
    try:
        wait_said(yard, "web", "ManifestsLost", "every pod stays as it is")
        assert yard.node.cli("get", "pods").stdout.count("1/1") == 2
        refused = yard.node.cli("apply", "-f", "-", input=good(yard, "new"), check=False)
        assert refused.returncode == 1
        assert str(yard.node.manifests) in refused.stderr
        assert yard.node.cli("delete", "pod", "web", check=False).returncode == 1
        (away / "other.yaml").unlink()
    finally:
        away.rename(yard.node.manifests)
    yard.node.wait_gone("other")
    yard.node.wait_until(lambda: "ManifestValid" not in conditions(yard, "web"), "all is well again")
    assert identity(yard, "web") == before
    yard.run("new")


def test_a_directory_that_is_made_anew_is_watched(yard: Yard) -> None:
    yard.run("web")
    shutil.rmtree(yard.node.manifests)
    wait_said(yard, "web", "ManifestsLost", "every pod stays as it is")
    yard.node.manifests.mkdir()
    yard.node.wait_gone("web")
    yard.run("new")


def test_two_files_with_one_pod_do_not_fight(yard: Yard) -> None:
    drop(yard, "second.yaml", good(yard, "web").encode())
    yard.node.wait_phase("web", "Running")
    before = identity(yard, "web")
    other = good(yard, "web").replace("infinity", "1000s")
    drop(yard, "first.yaml", other.encode())
    message = wait_said(yard, "web", "Conflict", "both define pod default/web")
    assert "second.yaml" in message
    assert "first.yaml" in message
    assert identity(yard, "web") == before
    (yard.node.manifests / "first.yaml").unlink()
    yard.node.wait_until(lambda: "ManifestValid" not in conditions(yard, "web"), "all is well again")
    assert identity(yard, "web") == before
    drop(yard, "first.yaml", other.encode())
    wait_said(yard, "web", "Conflict", "both define pod default/web")
    (yard.node.manifests / "second.yaml").unlink()
    yard.wait_restarts("web", 1)
    assert yard.exec("web", "cat", "/proc/1/cmdline") == "sleep\x001000s\0"


# -- what is right by itself and cannot be done ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("image", "reason", "words"),
    [
        ("/no/such/root", "ErrImagePull", "/no/such/root"),
        ("./no-such", "ErrImagePull", "manifests/no-such"),
        ("nginx:1.27", "ErrImagePull", "nginx"),
        ("Not A Name", "InvalidImageName", "Not A Name"),
        ("/etc/passwd", "ErrImagePull", "/etc/passwd"),
    ],
)
def test_an_image_that_is_not_there_is_said(yard: Yard, image: str, reason: str, words: str) -> None:
    yard.put("web", yard.container(image=image))
    yard.node.wait_until(lambda: yard.node.pod("web") and yard.status("web")["state"].get("waiting"), "it waits")
    waiting = yard.node.wait_until(
        lambda: (found := yard.status("web")["state"]["waiting"]).get("message") and found, "it says why"
    )
    assert waiting["reason"] in (reason, "ImagePullBackOff")
    assert words in waiting["message"]
    told = "InspectFailed" if reason == "InvalidImageName" else "Failed"
    assert words in yard.wait_event("web", told, words)["message"]
    assert waiting["reason"].split("Pull")[0][:3] in yard.node.cli("get", "pods").stdout
    assert words in yard.node.cli("describe", "pod", "web").stdout


def test_an_image_that_comes_later_is_used(yard: Yard) -> None:
    link = yard.node.root / "later"
    yard.put("web", yard.container(image=str(link)))
    yard.node.wait_until(lambda: yard.node.pod("web") and yard.status("web")["state"].get("waiting"), "it waits")
    yard.wait_event("web", "Failed")
    link.symlink_to(yard.rootfs)
    yard.node.wait_phase("web", "Running")
    link.unlink()


def test_what_runs_is_not_stopped_for_an_image_that_is_not_there(yard: Yard) -> None:
    yard.run("web")
    before = identity(yard, "web")
    yard.put("web", yard.container(image="/no/such/root"))
    yard.wait_event("web", "Failed", "/no/such/root")
    assert identity(yard, "web") == before
    yard.put("web")
    yard.node.wait_until(lambda: "running" in yard.status("web")["state"], "it runs")
    assert identity(yard, "web") == before


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"command": ["no-such-command"]}, 'exec: "no-such-command": executable file not found in $PATH'),
        ({"command": ["/no/such/file"]}, "no such file or directory"),
        ({"command": ["/etc/passwd"]}, "permission denied"),
        ({"command": ["/"]}, ""),
    ],
    ids=lambda value: value["command"][0] if isinstance(value, dict) else "",
)
def test_a_command_that_cannot_be_run_is_said(yard: Yard, fields: Json, words: str) -> None:
    yard.put("web", {**yard.container(), **fields}, yard.container(name="other"))
    yard.wait_state("web", "running", container="other")
    pid = yard.pid("web", "other")
    event = yard.wait_event("web", "StartError")
    assert words in event["message"]
    yard.wait_state("web", "waiting", "CrashLoopBackOff")
    last = yard.node.wait_until(
        lambda: yard.status("web")["lastState"].get("terminated") or yard.status("web")["state"].get("terminated"),
        "it tells how it ended",
    )
    assert last["exitCode"] == 128
    assert words in yard.node.cli("describe", "pod", "web").stdout
    assert (yard.pid("web", "other"), yard.restarts("web", "other")) == (pid, 0)


def test_no_command_at_all_is_said(yard: Yard) -> None:
    container = {name: value for name, value in yard.container().items() if name != "command"}
    yard.put("web", container)
    waiting = yard.wait_state("web", "waiting", "CreateContainerError")
    assert "no command specified" in waiting["message"]
    assert "CreateContainerError" in yard.node.cli("get", "pods").stdout


# -- what is wrong with the machine ----------------------------------------------------------------------------------


@pytest.fixture
def small_disk(node_root: Path, tmp_path: Path, rootfs: Path) -> Iterator[Yard]:
    """A node whose whole root is a file system of 4 MB; the manifests are elsewhere."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "small", str(node_root)], check=True)
    manifests = tmp_path / "m"
    node = NodeProcess(node_root)
    node.manifests = manifests
    manifests.mkdir()
    try:
        node.start()
        yield Yard(node, rootfs)
        (node_root / "filler").unlink(missing_ok=True)
        node.drain()
    finally:
        node.stop(signal.SIGKILL)
        Traces(tmp_path).sweep()
        subprocess.run(["umount", "-l", str(node_root)], check=True)


def fill(yard: Yard) -> None:
    with (yard.node.root / "filler").open("wb", buffering=0) as file:
        for size in (65536, 4096, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue


def put_beside(yard: Yard, name: str, *containers: Json) -> None:
    """`Yard.put` would write into the full disk."""
    path = yard.node.manifests / f"{name}.json"
    path.write_text(json.dumps(yard.manifest(name, *containers)))


def test_a_full_disk_refuses_what_is_new_and_harms_nothing_that_runs(small_disk: Yard) -> None:
    yard = small_disk
    put_beside(yard, "web", yard.container("i=0; while :; do i=$((i + 1)); echo $i; sleep 0.01; done"))
    yard.node.wait_phase("web", "Running")
    before = identity(yard, "web")
    fill(yard)
    put_beside(yard, "new")
    said = yard.node.wait_until(
        lambda: next((event for event in yard.events("new") if "No space left on device" in event["message"]), None),
        "it is said that there is no space left",
    )
    assert said["type"] == "Warning"
    assert "No space left on device" in yard.node.cli("events").stdout
    assert yard.node.cli("get", "pods").returncode == 0
    assert identity(yard, "web") == before
    assert yard.exec("web", "hostname") == "web\n"
    assert alive(yard.node.pid)
    (yard.node.root / "filler").unlink()
    yard.node.wait_phase("new", "Running")
    assert identity(yard, "web") == before


def test_apply_to_a_full_disk_says_so_and_leaves_the_directory_as_it_was(small_disk: Yard) -> None:
    yard = small_disk
    inside = yard.node.root / "manifests"
    yard.node.manifests.rmdir()
    yard.node.manifests.symlink_to(inside)
    (inside / "web.yaml").write_text(good(yard, "web"))
    yard.node.wait_phase("web", "Running")
    before = identity(yard, "web")
    fill(yard)
    large = good(yard, "web").replace("infinity", "1000s") + "# padding\n" * 1000
    done = yard.node.cli("apply", "-f", "-", input=large, check=False)
    assert done.returncode == 1
    assert "No space left on device" in done.stderr
    assert [path.name for path in inside.iterdir()] == ["web.yaml"]
    assert (inside / "web.yaml").read_text() == good(yard, "web")
    assert identity(yard, "web") == before


def test_on_a_full_disk_a_container_that_ends_is_not_forgotten(small_disk: Yard) -> None:
    yard = small_disk
    put_beside(yard, "web")
    yard.node.wait_phase("web", "Running")
    pid = yard.pid("web")
    fill(yard)
    os.kill(pid, signal.SIGKILL)
    yard.node.wait_until(lambda: not alive(pid), "it has ended")
    yard.node.wait_until(lambda: "running" not in yard.status("web")["state"] or yard.restarts("web"), "it is seen")
    (yard.node.root / "filler").unlink()
    yard.node.wait_until(
        lambda: yard.restarts("web") >= 1 and "running" in yard.status("web")["state"], "it runs again"
    )


def test_a_pod_can_be_removed_from_a_full_disk(small_disk: Yard) -> None:
    yard = small_disk
    put_beside(yard, "web")
    yard.node.wait_phase("web", "Running")
    fill(yard)
    (yard.node.manifests / "web.json").unlink()
    yard.node.wait_gone("web")


AS_NOBODY = """
import os, sys
import minikube_lite.cli.main as cli, minikube_lite.node.run
import minikube_lite.cli.commands.get, minikube_lite.cli.commands.run
os.setgroups([]); os.setgid(65534); os.setuid(65534)
sys.argv[1:] = {words!r}
sys.exit(cli.main())
"""


def as_nobody(node: NodeProcess, *words: str) -> subprocess.CompletedProcess[str]:
    """Drops root once everything is imported: the interpreter may lie where only root can read."""
    code = AS_NOBODY.format(words=["--root", str(node.root), *words])
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd="/")


def test_without_root_the_node_says_so(yard: Yard) -> None:
    done = as_nobody(yard.node, "run", str(yard.node.manifests))
    assert done.returncode == 1
    assert done.stderr == (
        "error: minikube-lite run needs root: it makes namespaces, mounts and cgroups (try: sudo minikube-lite run)\n"
    )


def test_without_root_a_command_says_so(yard: Yard) -> None:
    yard.node.root.chmod(0o755)
    done = as_nobody(yard.node, "get", "pods")
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert "root" in done.stderr or "ermission" in done.stderr
    assert "Traceback" not in done.stderr


class Bare(NodeProcess):
    """A node in a mount namespace of its own, in which there are no cgroups."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        script = "mount -t tmpfs none /sys/fs/cgroup && echo made && exec sleep infinity"
        self.holder = subprocess.Popen(["unshare", "-m", "sh", "-c", script], stdout=subprocess.PIPE)
        assert self.holder.stdout is not None
        assert self.holder.stdout.readline() == b"made\n"

    def start(self, *options: str) -> None:
        run = [*self.command, "run", str(self.manifests), *options]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                ["nsenter", "-m", "-t", str(self.holder.pid), *run],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd=self.root,
            )
        self.wait_until(self._answers, "the node's socket answers")

    def close(self) -> None:
        self.stop(signal.SIGKILL)
        self.holder.kill()
        self.holder.communicate()


def test_without_cgroups_pods_run_and_it_is_said_what_is_not_enforced(traces: Traces, rootfs: Path) -> None:
    root = Path(os.path.realpath(tempfile.mkdtemp(prefix="mkl-")))
    traces.watch(root)
    node = Bare(root)
    yard = Yard(node, rootfs)
    try:
        node.start()
        assert "not_enforced" in node.log.read_text()
        yard.run("web", yard.container(resources={"limits": {"cpu": "100m", "memory": "32Mi"}}))
        for what in ("memory limit of 33554432 bytes", "cpu"):
            yard.wait_event("web", "NotEnforced", what)
        assert yard.exec("web", "hostname") == "web\n"
        yard.run("shared", shareProcessNamespace=True)
        yard.run("asked", yard.container("trap 'exit 7' TERM; while :; do sleep 0.05; done"))
        before = [identity(yard, name) for name in ("web", "shared", "asked")]
        node.kill9()
        node.start()
        assert [identity(yard, name) for name in ("web", "shared", "asked")] == before
        yard.put("web", yard.container("exec sleep 1000"))
        yard.wait_restarts("web", 1)
        node.drain()
        assert not [one for one in before if alive(one["pid"])]
    finally:
        node.close()
        traces.assert_none()
        shutil.rmtree(root)


@pytest.mark.parametrize(
    "words",
    [
        ("get", "pods"),
        ("apply", "-f", "-"),
        ("delete", "pod", "web"),
        ("describe", "pod", "web"),
        ("logs", "web"),
        ("exec", "web", "--", "true"),
        ("wait", "--for=condition=Ready", "pod/web"),
        ("events",),
    ],
    ids=lambda words: words[0],
)
def test_without_a_node_every_command_says_so_and_what_to_do(words: tuple[str, ...], tmp_path: Path) -> None:
    node = NodeProcess(tmp_path)
    done = node.cli(*words, input=GOOD, check=False)
    assert done.returncode == 1
    assert done.stderr == (
        f"error: no node is running at {node.paths.socket} (start one with: minikube-lite --root {tmp_path} run)\n"
    )


def test_a_directory_of_manifests_that_is_not_there_is_said(tmp_path: Path) -> None:
    node = NodeProcess(tmp_path)
    done = node.cli("run", str(tmp_path / "nowhere"), check=False)
    assert done.returncode == 1
    assert done.stderr == (
        f"error: the manifests directory {tmp_path}/nowhere does not exist (make it: mkdir -p {tmp_path}/nowhere)\n"
    )
