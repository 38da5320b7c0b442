"""From a registry into the image store: whole, once, and after a kill from where it was."""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from minikube_lite.images.image import ImageError
from minikube_lite.images.reference import Remote
from minikube_lite.images.registry.client import Registries
from minikube_lite.images.store import ImageStore
from tests.images.registry.docker_registry import DockerRegistry, skopeo
from tests.images.registry.evil import Answer, Asked, Evil, evil
from tests.images.registry.layouts import Layout, layer, noise


def test_what_skopeo_pushed_is_unpacked_and_runs_by_its_config(
    filled: DockerRegistry, store: ImageStore, registries: Registries, remote: Callable[[str], Remote], tmp_path: Path
) -> None:
    name = f"{filled.host}/team/app:one"
    stored = store.pull(name, registries.repository(remote(name)))
    told = skopeo("inspect", "--tls-verify=false", "--format", "{{.Digest}}", f"docker://{name}").strip()
    assert stored.target == told
    image = store.resolve(name, tmp_path)
    assert image.config["Cmd"] == ["/bin/app"]
    assert [sorted(path.name for path in (tree / "etc").iterdir()) for tree in image.layers] == [["base"], ["top"]]
    assert (image.layers[0] / "etc/base").read_bytes() == noise(3_000_000)


class Slow:
    """A layout as a registry, which stops in the middle of each blob of some size until it is let on."""

    def __init__(self, server: Evil, layout: Layout, stop: int) -> None:
        self.server, self.layout, self.stop = server, layout, stop
        self.stopped, self.on = threading.Event(), threading.Event()
        server.answer = self.answer

    def answer(self, asked: Asked) -> Answer:
        name = asked.path.rpartition("/")[2]
        if name == "latest":
            (entry,) = json.loads((self.layout.root / "index.json").read_text())["manifests"]
            name = entry["digest"]
        data = self.layout.read(name)
        begin = int(asked.headers.get("range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        headers = {"Content-Range": f"bytes {begin}-{len(data) - 1}/{len(data)}"} if begin else {}
        if "/manifests/" in asked.path:
            headers["Content-Type"] = json.loads(data)["mediaType"]
        status = 206 if begin else 200
        if len(data) > self.stop and not self.on.is_set():
            return Answer(status, data[begin : begin + self.stop], headers, len(data) - begin, self.Stop(self))
        return Answer(status, data[begin:], headers)

    class Stop(threading.Event):
        """Waiting for it tells that the first bytes were sent."""

        def __init__(self, slow: Slow) -> None:
            super().__init__()
            self._slow = slow

        def wait(self, timeout: float | None = None) -> bool:
            self._slow.stopped.set()
            return self._slow.on.wait(timeout)


PULL = """
import sys
from pathlib import Path
from minikube_lite.images import reference
from minikube_lite.images.registry.client import Registries
from minikube_lite.images.registry.credentials import Keychain
from minikube_lite.images.store import ImageStore
root, name = sys.argv[1:]
with Registries(None, Keychain()) as registries:
    source = registries.repository(reference.remote(name))
    ImageStore(Path(root)).pull(name, source, lambda step: print(step.done, flush=True))
"""


def test_a_pull_that_was_killed_goes_on_where_it_was(
    store: ImageStore, registries: Registries, remote: Callable[[str], Remote], tmp_path: Path
) -> None:
    layout = Layout(tmp_path / "oci")
    layout.name(layout.image([layer("big", noise(6_000_000, seed=3))]), "latest")
    with evil() as server:
        slow = Slow(server, layout, stop=4_000_000)
        name = f"{server.host}/app"
        with subprocess.Popen(
            [sys.executable, "-c", PULL, str(store.root), name], stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                if int(line) >= 4_000_000:
                    break
            process.send_signal(signal.SIGKILL)
        slow.on.set()
        before = len(server.log)
        assert store.find(name) is None
        store.pull(name, registries.repository(remote(name)))
        ranges = [asked.headers.get("range") for asked in server.log[before:] if "/blobs/" in asked.path]
        begun = [int(text.removeprefix("bytes=").removesuffix("-")) for text in ranges if text]
        assert begun == [4_000_000], "of the layer only the rest was asked for"
    assert (store.resolve(name, tmp_path).layers[0] / "etc/big").read_bytes() == noise(6_000_000, seed=3)


def test_of_many_who_pull_one_image_at_once_one_does(
    store: ImageStore, registries: Registries, remote: Callable[[str], Remote], tmp_path: Path
) -> None:
    layout = Layout(tmp_path / "oci")
    layout.name(layout.image([layer("big", noise(2_000_000, seed=4))]), "latest")
    with evil() as server, ThreadPoolExecutor(4) as pool:
        slow = Slow(server, layout, stop=1_000_000)
        name = f"{server.host}/app"
        pulls = [pool.submit(store.pull, name, registries.repository(remote(name))) for _ in range(4)]
        assert slow.stopped.wait(60)
        slow.on.set()
        assert len({pull.result().target for pull in pulls}) == 1
        # The half that was sent before counts once more: the connection was closed in the middle.
        assert len([asked for asked in server.log if "/blobs/" in asked.path and "range" not in asked.headers]) == 2


def test_a_registry_that_lies_leaves_nothing_in_the_store(
    store: ImageStore, registries: Registries, remote: Callable[[str], Remote], tmp_path: Path
) -> None:
    layout = Layout(tmp_path / "oci")
    layout.name(layout.image([layer("big", noise(2_000_000, seed=5))]), "latest")
    with evil() as server:
        slow = Slow(server, layout, stop=1 << 30)

        def lie(asked: Asked) -> Answer:
            found = slow.answer(asked)
            return Answer(200, found.body[:-1] + b"x") if len(found.body) > 1_000_000 else found

        server.answer = lie
        name = f"{server.host}/app"
        with pytest.raises(ImageError, match="another digest"):
            store.pull(name, registries.repository(remote(name)))
        assert store.find(name) is None
        kept = [path for path in (store.root / "blobs").rglob("*") if path.is_file()]
        assert [path for path in kept if hashlib.sha256(path.read_bytes()).hexdigest() != path.name] == []
        server.answer = slow.answer
        assert store.pull(name, registries.repository(remote(name)))
