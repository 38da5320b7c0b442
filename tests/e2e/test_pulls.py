"""Images out of registries: pulled, refused, interrupted, and run as their config says."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from minikube_lite.images.store import ImageStore
from tests.e2e.registry import Registry, needs, serving, tar_of
from tests.e2e.yard import Json, Yard
from tests.images import tools
from tests.images.archives import directory, file, tar
from tests.images.registry.docker_registry import DockerRegistry, skopeo
from tests.images.registry.evil import Answer, Asked
from tests.images.registry.layouts import Layout, layer, noise
from tests.node_process import NodeProcess
from tests.traces import Traces

pytestmark = pytest.mark.root

RUNS = {"Entrypoint": ["/bin/sh", "-c"], "Cmd": ["echo $GREETING; exec sleep infinity"], "Env": ["GREETING=hello"]}
HTML = Answer(200, b"<!DOCTYPE html><html><body>Please log in</body></html>", {"Content-Type": "text/html"})


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory, rootfs: Path) -> Layout:
    """Images of busybox and a megabyte above it: one that is right, and those that cannot run."""
    made = Layout(tmp_path_factory.mktemp("layout") / "oci")
    base = tar_of(rootfs)
    made.name(made.image([base, layer("top", noise(1_000_000))], **RUNS), "1")
    made.name(made.image([base, layer("top", noise(1_000_000, 2))], **RUNS), "2")
    other = "arm64" if os.uname().machine == "x86_64" else "amd64"
    made.name(made.image([base], other, **RUNS), "other")
    made.name(made.image([base]), "no-command")
    made.name(made.image([], **RUNS), "no-layers")
    return made


@pytest.fixture
def registry(layout: Layout) -> Iterator[Registry]:
    with serving(layout) as registry:
        yield registry


def container(image: str, **fields: object) -> Json:
    return {"name": "app", "image": image, **fields}


def waiting(yard: Yard, pod: str, *words: str) -> Json:
    """Wait until the container waits for its image with all of these words in its message."""

    def look() -> Json | None:
        found = yard.node.pod(pod)
        if not found or not found["status"].get("containerStatuses"):
            return None
        state: Json = found["status"]["containerStatuses"][0]["state"].get("waiting") or {}
        return state if all(word in state.get("message", "") for word in words) else None

    return yard.node.wait_until(look, f"{pod} waits and says {words}")


def is_consistent(node: NodeProcess) -> None:
    """Nothing half-done is in the store, and what is there is what it is called."""
    store = ImageStore(node.paths.images)
    for name in ("tmp", "partial"):
        left = list((store.root / name).iterdir()) if (store.root / name).is_dir() else []
        assert not left, left
    for digest in store.blobs.digests():
        store.blobs.read(digest)


# -- a real registry ---------------------------------------------------------------------------------------------------


def test_an_image_of_a_real_registry_runs_as_its_config_says(yard: Yard, tmp_path: Path, rootfs: Path) -> None:
    made = tools.layout(tmp_path, rootfs)
    with DockerRegistry(tmp_path / "storage").running(tmp_path) as real:
        image = f"{real.host}/team/app:v1"
        skopeo("copy", "-q", "--dest-tls-verify=false", f"oci:{made}:v1", f"docker://{image}")
        digest = json.loads(skopeo("inspect", "--tls-verify=false", f"docker://{image}"))["Digest"]
        yard.run("web", container(image))
        assert yard.log_says("web", "hello") == "hello\n"
        assert yard.sh("web", "pwd; ls").split() == ["/data", "new"]
        assert yard.status("web")["imageID"] == f"{real.host}/team/app@{digest}"
        assert yard.wait_event("web", "Pulling")["message"] == f'Pulling image "{image}"'
        pulled = yard.wait_event("web", "Pulled")["message"]
        assert re.fullmatch(
            rf'Successfully pulled image "{re.escape(image)}" in \S+s \(\S+s including waiting\)\. '
            r"Image size: \d+ bytes\.",
            pulled,
        )
        text = yard.node.cli("describe", "pod", "web").stdout
        assert re.search(rf"^    Image: +{re.escape(image)}$", text, re.M)
        assert re.search(rf"^    Image ID: +{re.escape(real.host)}/team/app@{digest}$", text, re.M)
        yard.run("again", container(image))
    present = yard.wait_event("again", "Pulled")["message"]
    assert present == f'Container image "{image}" already present on machine'
    yard.run("offline", container(image))  # the registry is down by now
    refused = yard.node.cli("image", "remove", image, check=False)
    assert refused.returncode == 1
    for name in ("again", "offline", "web"):
        assert f"pod default/{name}" in refused.stderr
    yard.node.cli("image", "prune", "-a")
    yard.run("after", container(image))
    for name in ("after", "again", "offline", "web"):
        yard.remove(name)
    yard.node.cli("image", "remove", image)
    assert image not in yard.node.cli("image", "list").stdout


# -- policies ----------------------------------------------------------------------------------------------------------


def test_always_asks_for_the_digest_and_downloads_what_changed(yard: Yard, registry: Registry, layout: Layout) -> None:
    image, blobs = f"{registry.host}/team/app:latest", "/blobs/"
    served = {"tag": "1"}

    def latest(asked: Asked) -> Answer | None:
        if not asked.path.endswith("/manifests/latest"):
            return None
        index = json.loads((layout.root / "index.json").read_text())["manifests"]
        entry = next(e for e in index if e["annotations"]["org.opencontainers.image.ref.name"] == served["tag"])
        headers = {"Content-Type": entry["mediaType"], "Docker-Content-Digest": entry["digest"]}
        return Answer(200, layout.read(entry["digest"]), headers)

    registry.wrong["team/app"] = latest
    yard.run("one", container(image))
    assert len(registry.asked("team/app", blobs)) == 3  # two layers and the config
    yard.run("two", container(image))
    assert len(registry.asked("team/app", blobs)) == 3
    assert registry.asked("team/app", method="HEAD")
    served["tag"] = "2"
    yard.run("three", container(image))
    assert len(registry.asked("team/app", blobs)) == 5  # what both have is not brought in again
    first, third = (yard.status(name)["imageID"] for name in ("one", "three"))
    assert first != third
    yard.run("four", container(image, imagePullPolicy="IfNotPresent"))
    assert yard.status("four")["imageID"] == third


def test_never_waits_for_an_image_that_is_brought_in_by_hand(yard: Yard, registry: Registry, layout: Layout) -> None:
    yard.put("web", container("by-hand:1", imagePullPolicy="Never"))
    words = 'Container image "by-hand:1" is not present with pull policy of Never'
    assert waiting(yard, "web", words)["reason"] == "ErrImageNeverPull"
    assert yard.wait_event("web", "ErrImageNeverPull")["message"] == words
    yard.node.cli("image", "load", f"{layout.root}:1", "--name", "by-hand:1")
    yard.node.wait_phase("web", "Running")
    yard.run("default", container("by-hand:1"))
    yard.node.cli("image", "tag", "by-hand:1", "by-hand:latest")
    yard.run("latest", container("by-hand"))  # no registry is asked for what came by hand, unless that is written


# -- what goes wrong ---------------------------------------------------------------------------------------------------


def _short(asked: Asked) -> Answer | None:
    return Answer(200, b"not the layer", {}) if "/blobs/" in asked.path else None


FAILURES: dict[str, tuple[Answer | None, tuple[str, ...]]] = {
    "refused": (Answer(401, b"", {"WWW-Authenticate": 'Basic realm="x"'}), ("without credentials",)),
    "missing": (Answer(404, b'{"errors": [{"code": "NAME_UNKNOWN", "message": "no"}]}'), ("no such repository",)),
    "hurried": (Answer(429, b"", {"Retry-After": "0"}), ("too many requests",)),
    "portal": (HTML, ("HTML page",)),
    "broken": (Answer(500, b"oops"), ("500",)),
    "spoilt": (None, ("sha256:",)),
}


def test_each_failure_is_told_and_all_run_when_it_is_over(yard: Yard, registry: Registry) -> None:
    for name, (answer, _) in FAILURES.items():
        registry.wrong[f"team/{name}"] = _short if answer is None else (lambda asked, answer=answer: answer)  # type: ignore[misc]
        yard.put(name, container(f"{registry.host}/team/{name}:1"))
    for name, (_, words) in FAILURES.items():
        state = waiting(yard, name, *words)
        assert state["reason"] in ("ErrImagePull", "ImagePullBackOff")
        image = f"{registry.host}/team/{name}:1"
        told = yard.wait_event(name, "Failed", f'Failed to pull image "{image}": ')["message"]
        assert all(word in told for word in words), told
        yard.wait_event(name, "Failed", "Error: ErrImagePull")
        yard.wait_event(name, "BackOff", f'Back-off pulling image "{image}"')
    is_consistent(yard.node)
    registry.wrong.clear()
    for name in FAILURES:
        yard.node.wait_phase(name, "Running")
    is_consistent(yard.node)


def test_a_registry_that_is_down_is_said_and_an_edit_ends_the_wait(yard: Yard, layout: Layout) -> None:
    with serving(layout) as gone:
        host = gone.host
    yard.put("web", container(f"{host}/team/app:1"))
    waiting(yard, "web", host, "refused")
    with serving(layout) as registry:
        yard.put("web", container(f"{registry.host}/team/app:1"))
        yard.node.wait_phase("web", "Running")


@pytest.mark.parametrize(
    ("tag", "fields", "reason", "words"),
    [
        ("other", {}, "ErrImagePull", ("not made for this machine",)),
        ("no-command", {}, "CreateContainerError", ("no command specified",)),
        ("no-layers", {}, "CrashLoopBackOff", ()),
    ],
)
def test_an_image_that_cannot_run_is_said(
    yard: Yard, registry: Registry, tag: str, fields: Json, reason: str, words: tuple[str, ...]
) -> None:
    yard.put("web", container(f"{registry.host}/team/app:{tag}", **fields))
    yard.node.wait_until(lambda: waiting(yard, "web", *words)["reason"] == reason, f"it waits with {reason}")
    if words:
        yard.wait_event("web", "Failed", words[0])
    else:
        yard.wait_event("web", "StartError", "the image is empty: it has no files")


def test_an_image_with_no_command_runs_the_pod_s(yard: Yard, registry: Registry) -> None:
    yard.run("web", container(f"{registry.host}/team/app:no-command", command=["sleep", "infinity"]))


def test_a_disk_that_is_full_in_the_middle_of_a_pull_is_said_and_the_pull_tried_again(
    layout: Layout, rootfs: Path, tmp_path: Path
) -> None:
    big = Layout(tmp_path / "big")
    base = tar_of(rootfs)
    big.name(big.image([base, layer("noise", noise(60 << 20))], **RUNS), "noise")
    zeros = tar([directory("etc"), file("etc/zeros", bytes(200 << 20))])
    big.name(big.image([base, zeros], **RUNS), "zeros")
    root = Path(os.path.realpath(tempfile.mkdtemp(prefix="mkl-full-")))
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=60m", "tmpfs", root], check=True)
    node, traces = NodeProcess(root), Traces(root)
    try:
        with serving(big) as registry:
            node.start()
            yard = Yard(node, rootfs)
            for name in ("noise", "zeros"):
                yard.put(name, container(f"{registry.host}/team/{name}:{name}"))
            waiting(yard, "noise", "MiB, the disk has")
            waiting(yard, "zeros", "that the disk has free")
            is_consistent(node)
            subprocess.run(["mount", "-o", "remount,size=600m", root], check=True)
            for name in ("noise", "zeros"):
                node.wait_phase(name, "Running")
            is_consistent(node)
            node.drain()
            subprocess.run(["umount", root], check=True)  # nothing is mounted below it any more
    finally:
        node.stop(signal.SIGKILL)
        traces.sweep()
        traces.assert_none()
        shutil.rmtree(root)


def test_a_secret_that_comes_later_lets_the_pull_through_at_once(yard: Yard, registry: Registry) -> None:
    registry.wrong["team/own"] = needs("carol", "s3cret")
    image = f"{registry.host}/team/own:1"
    yard.put("web", container(image), imagePullSecrets=[{"name": "login"}])
    waiting(yard, "web", "without credentials")
    yard.wait_event(
        "web",
        "FailedToRetrieveImagePullSecret",
        "Unable to retrieve some image pull secrets (login); attempting to pull the image may not succeed.",
    )
    config = {"auths": {registry.host: {"username": "carol", "password": "s3cret"}}}
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/dockerconfigjson",
        "metadata": {"name": "login"},
        "stringData": {".dockerconfigjson": json.dumps(config)},
    }
    yard.node.put("login.json", secret)
    yard.node.wait_phase("web", "Running")
    said = json.dumps(yard.events("web"))
    assert "s3cret" not in said
    assert "s3cret" not in yard.node.log.read_text()


# -- killed in the middle ----------------------------------------------------------------------------------------------


def test_two_pods_pull_one_image_and_the_node_is_killed(fresh: Yard, registry: Registry, layout: Layout) -> None:
    reached, killed, gate = threading.Event(), threading.Event(), threading.Event()

    def stalls(asked: Asked) -> Answer | None:
        digest = asked.path.rpartition("/")[2]
        if killed.is_set() or "/blobs/" not in asked.path or len(data := layout.read(digest)) < 900_000:
            return None
        reached.set()
        return Answer(200, data[: len(data) // 2], {"Accept-Ranges": "bytes"}, length=len(data), pause=gate)

    registry.wrong["team/app"] = stalls
    image = f"{registry.host}/team/app:1"
    try:
        for name in ("one", "two"):
            fresh.put(name, container(image))
        assert reached.wait(30)
        fresh.wait_event("one", "Pulling")
        fresh.wait_event("two", "Pulling")
        assert len(registry.asked("team/app", "/manifests/")) == 1, "one pull for both"
        fresh.node.kill9()
        killed.set()
        fresh.node.start()
        for name in ("one", "two"):
            fresh.node.wait_phase(name, "Running")
            assert fresh.status(name)["restartCount"] == 0
    finally:
        gate.set()
    resumed = [asked.headers["range"] for asked in registry.asked("team/app", "/blobs/") if "range" in asked.headers]
    assert resumed, "what had come was not thrown away"
    is_consistent(fresh.node)
    assert fresh.node.cli("image", "list").stdout.count(f"{registry.host}/team/app") == 1


def test_a_node_is_stopped_though_a_registry_says_nothing(fresh: Yard, registry: Registry) -> None:
    reached, gate = threading.Event(), threading.Event()

    def silent(asked: Asked) -> Answer | None:
        if "/blobs/" not in asked.path:
            return None
        reached.set()
        return Answer(200, b"x", {}, length=1000, pause=gate)

    registry.wrong["team/app"] = silent
    try:
        fresh.put("web", container(f"{registry.host}/team/app:1"))
        assert reached.wait(30)
        fresh.wait_event("web", "Pulling")
        fresh.put("other")
        fresh.node.wait_phase("other", "Running")
        fresh.remove("web")
        assert fresh.node.stop() == 0
    finally:
        gate.set()
    fresh.node.start()


# -- what the image's config asks for ----------------------------------------------------------------------------------


def test_user_directory_volumes_and_stop_signal_are_the_image_s(
    yard: Yard, rootfs: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    made = Layout(tmp_path_factory.mktemp("config") / "oci")
    accounts = tar(
        [
            directory("etc"),
            file("etc/passwd", b"root:x:0:0:::\napp:x:1000:1001::/srv:/bin/sh\n"),
            file("etc/group", b"app:x:1001:\nlog:x:4:app\n"),
            directory("data", uid=1000, gid=1001),
            file("data/seed", b"from the image\n", uid=1000),
        ]
    )
    script = "echo ready; trap 'echo told to quit; exit 0' QUIT; while :; do sleep 0.1; done"
    config = {
        "Entrypoint": ["/bin/sh", "-c", script],
        "User": "app",
        "WorkingDir": "/srv/made/for/it",
        "Volumes": {"/data": {}},
        "StopSignal": "SIGQUIT",
        "Healthcheck": {"Test": ["CMD", "false"]},
    }
    made.name(made.image([tar_of(rootfs), accounts], **config), "1")
    image = f"{made.root}:1"
    yard.run("web", container(image), terminationGracePeriodSeconds=30)
    yard.log_says("web", "ready")
    assert yard.sh("web", "id -u; id -g; id -G; pwd").split() == ["1000", "1001", "1001", "4", "/srv/made/for/it"]
    assert yard.sh("web", "cat /data/seed; echo more >> /data/seed; stat -c %u /data") == "from the image\n1000\n"
    assert " /data " in yard.sh("web", "cat /proc/self/mountinfo")
    assert "Image Healthcheck:  ignored" in yard.node.cli("describe", "pod", "web").stdout
    yard.run("readonly", container(image, securityContext={"readOnlyRootFilesystem": True}))
    assert yard.sh("readonly", "cat /data/seed; echo x > /data/new; cat /data/new") == "from the image\nx\n"
    uid = str((yard.node.pod("web") or {})["metadata"]["uid"])
    log = next((yard.node.paths.logs / "pods").glob(f"default_web_{uid}/app/*"))
    with log.open() as lines:
        yard.remove("web")
        assert "told to quit" in lines.read(), "it was killed, and not asked by the image's signal"
    yard.nothing_is_left_of(uid)


# -- image volumes -----------------------------------------------------------------------------------------------------


def with_volume(yard: Yard, reference: str, policy: str = "IfNotPresent") -> Json:
    """A pod of the busybox directory with an image of several layers as a volume at /image."""
    volume = {"name": "tools", "image": {"reference": reference, "pullPolicy": policy}}
    mounted = yard.container(volumeMounts=[{"name": "tools", "mountPath": "/image"}])
    return yard.manifest("web", mounted, volumes=[volume])


def test_an_image_volume_is_pulled_before_the_first_container(yard: Yard, registry: Registry) -> None:
    image = f"{registry.host}/team/app:1"
    registry.wrong["team/app"] = lambda asked: FAILURES["missing"][0]
    yard.node.put("web.json", with_volume(yard, image))
    said = yard.wait_event("web", "FailedMount", "no such repository")["message"]
    assert said.startswith('MountVolume.SetUp failed for volume "tools" : ErrImagePull: ')
    del registry.wrong["team/app"]
    yard.node.wait_phase("web", "Running")
    assert yard.wait_event("web", "Pulled")["message"].startswith(f'Successfully pulled image "{image}" in ')
    assert yard.exec("web", "ls", "/image/bin") == yard.exec("web", "ls", "/bin")
    assert yard.exec("web", "find", "/image", "-name", "top", "-size", "+900k") != ""  # of the upper layer
    yard.remove("web")
    assert not ImageStore(yard.node.paths.images).leases()


def test_an_image_volume_that_may_not_be_pulled_waits_for_a_hand(yard: Yard, layout: Layout) -> None:
    yard.node.put("web.json", with_volume(yard, "volume-by-hand:1", "Never"))
    yard.wait_event("web", "FailedMount", "is not present with pull policy of Never")
    yard.node.cli("image", "load", f"{layout.root}:1", "--name", "volume-by-hand:1")
    yard.node.wait_phase("web", "Running")


def test_a_pod_goes_though_the_registry_of_its_volume_says_nothing(yard: Yard, registry: Registry) -> None:
    asked, over = threading.Event(), threading.Event()

    def silent(_: Asked) -> Answer | None:
        asked.set()
        over.wait(30)
        return None

    registry.wrong["team/app"] = silent
    try:
        yard.node.put("web.json", with_volume(yard, f"{registry.host}/team/app:silent"))
        assert asked.wait(30)
        yard.remove("web")
    finally:
        over.set()
