"""Every form of an image, made by tools that are not ours, runs as a pod; the image's config says what runs."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from tests.e2e.yard import Json, Yard
from tests.images import tools
from tests.images.archives import directory, file, symlink, tar
from tests.images.registry.layouts import Layout
from tests.images.test_forms import FORMS, made  # noqa: F401

pytestmark = pytest.mark.root

TOOLS = ("sh", "ls", "grep", "sleep")


def container(image: str, **fields: object) -> Json:
    return {"name": "app", "image": image, **fields}


@pytest.mark.parametrize("form", FORMS)
def test_an_image_at_a_path_runs_what_its_config_says(yard: Yard, made: Path, form: str) -> None:  # noqa: F811
    yard.run("web", container(f"{made}/{form}"))
    assert yard.log_says("web", "hello") == "hello\n"
    assert yard.sh("web", "pwd; cat new; ls /data; cat /proc/1/cmdline | tr '\\0' ' '").split("\n")[:4] == [
        "/data",
        "new",
        "new",
        "sleep infinity ",
    ]
    assert yard.sh("web", "ls -d /gone /etc/gone /data/old 2>/dev/null; true") == ""
    assert yard.status("web")["imageID"].startswith("sha256:")


def test_an_image_brought_in_runs_by_its_name(yard: Yard, made: Path) -> None:  # noqa: F811
    yard.node.cli("image", "load", str(made / "saved.tar.gzip"))
    yard.run("named", container(tools.NAME, imagePullPolicy="Never"))
    assert yard.log_says("named", "hello") == "hello\n"


@pytest.mark.parametrize("form", ["docker-archive", "oci-archive", "oci-dir"])
def test_what_podman_saves_runs(yard: Yard, made: Path, tmp_path: Path, form: str) -> None:  # noqa: F811
    tools.need("podman")
    saved = tmp_path / f"saved-{form}"
    with tempfile.TemporaryDirectory(prefix="mkl-") as own:  # podman takes no longer path than 50 characters
        podman = ("podman", "--root", f"{own}/root", "--runroot", f"{own}/run", "--storage-driver", "vfs")
        tools.run(*podman, "pull", "--quiet", f"oci-archive:{made / 'oci.tar'}")
        tools.run(*podman, "save", "--quiet", "--format", form, "--output", saved, tools.NAME)
    yard.run("saved", container(str(saved)))
    assert yard.log_says("saved", "hello") == "hello\n"
    assert yard.sh("saved", "ls /data") == "new\n"


def test_an_image_of_as_many_layers_as_docker_makes_runs(yard: Yard, tmp_path: Path) -> None:
    """The paths of 127 layers do not fit in the page that mount(2) takes."""
    made = Layout(tmp_path / "many")  # noqa: F811
    busybox = (yard.rootfs / "bin/busybox").read_bytes()
    base = tar([directory("bin"), file("bin/busybox", busybox), *(symlink(f"bin/{name}", "busybox") for name in TOOLS)])
    layers = [
        tar([file(f"layer{number}", b"%d" % number), file(f".wh.layer{number - 2}", b"")]) for number in range(126)
    ]
    made.name(made.image([base, *layers], Cmd=["/bin/sh", "-c", "ls / | grep layer; exec sleep infinity"]), "v1")
    yard.run("many", container(str(made.root)))
    assert yard.log_says("many", "layer125") == "layer124\nlayer125\n"


@pytest.mark.parametrize(
    ("layers", "config", "says"),
    [
        ([tar([file("../../../etc/passwd")])], {}, "climbs out of it"),
        ([tar([file("x")]) + b"more"], {"architecture": "sparc64"}, "it is for: linux/sparc64"),
    ],
)
def test_a_bad_image_is_told_in_the_pod_s_status_and_events(
    yard: Yard, tmp_path: Path, layers: list[bytes], config: dict[str, str], says: str
) -> None:
    made = Layout(tmp_path / "bad")  # noqa: F811
    made.name(made.image(layers, **config), "v1")
    yard.put("bad", container(str(made.root)))
    state = yard.wait_state("bad", "waiting", "ErrImagePull")
    assert says in state["message"]
    assert str(made.root) in state["message"]
    assert any(says in event["message"] for event in yard.events("bad"))
    good = Layout(tmp_path / "good")
    base = (yard.rootfs / "bin/busybox").read_bytes()
    good.name(good.image([tar([directory("bin"), file("bin/sleep", base)])], Cmd=["/bin/sleep", "infinity"]), "v1")
    tmp_path.joinpath("bad").rename(tmp_path / "old")
    tmp_path.joinpath("good").rename(made.root)
    yard.node.wait_phase("bad", "Running")
