"""Every form in which people have images, made by other tools: used by its path, and brought in by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from minikube_lite.images.store import ImageStore
from tests.images import tools

pytestmark = pytest.mark.root  # overlayfs' marks are trusted attributes


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, rootfs: Path) -> Path:
    """A directory with one image in every form."""
    work = tmp_path_factory.mktemp("forms")
    layout = tools.layout(work, rootfs)
    tools.convert(f"oci:{layout}:v1", f"docker-archive:{work / 'saved.tar'}:{tools.NAME}")
    tools.convert(f"oci:{layout}:v1", f"oci-archive:{work / 'oci.tar'}:{tools.NAME}")
    tools.convert(f"oci:{layout}:v1", f"oci:{work / 'zstd'}:v1", "--dest-compress-format", "zstd")
    for name in ("saved.tar", "oci.tar"):
        for program in ("gzip", "zstd", "xz"):
            tools.compressed(work / name, program)
    return work


FORMS = ["layout", "layout:v1", "zstd"] + [
    f"{name}{end}" for name in ("saved.tar", "oci.tar") for end in ("", ".gzip", ".zstd", ".xz", f":{tools.NAME}")
]


def merged(layers: tuple[Path, ...], work: Path) -> dict[str, str]:
    """What overlayfs makes of the layers: path → text of every file that is no program."""
    point = work / "merged"
    point.mkdir()
    (work / "empty").mkdir()
    lower = ":".join(map(str, (work / "empty", *reversed(layers))))
    tools.run("mount", "-t", "overlay", "-o", f"lowerdir={lower}", "overlay", point)
    try:
        return {
            str(path.relative_to(point)): path.read_text()
            for path in sorted(point.rglob("*"))
            if path.is_file() and not path.is_relative_to(point / "bin") and not path.is_relative_to(point / "usr")
        }
    finally:
        tools.run("umount", point)


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_used_where_it_lies(store: ImageStore, made: Path, tmp_path: Path, form: str) -> None:
    image = store.resolve(f"./{form}", made)
    assert image.config["Entrypoint"] == ["/bin/sh", "-c"]
    assert image.config["Env"] == ["GREETING=hello"]
    found = merged(image.layers, tmp_path)
    assert found["data/new"] == "new\n"
    assert found["private/new"] == "new\n"
    assert found["private/secret"] == "private/secret\n"
    assert not found.keys() & {"data/old", "data/kept", "gone/file", "etc/gone"}
    assert not store.blobs.digests()
    assert store.images() == []
    assert not list((store.root / "tmp").iterdir())


def test_all_forms_of_an_image_share_its_layers(store: ImageStore, made: Path) -> None:
    layers = {store.resolve(f"./{form}", made).layers for form in FORMS}
    assert len(layers) == 1


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_brought_in_by_name(store: ImageStore, made: Path, form: str) -> None:
    [name] = store.load(made / form)
    stem = form.partition(":")[0]
    assert name == (tools.NAME if "tar" in stem else f"docker.io/library/{stem}:v1")
    image = store.resolve(name, Path("/"))
    assert image.layers == store.resolve(f"./{form}", made).layers
    assert image.config["WorkingDir"] == "/data"
    [stored] = store.images()
    assert (stored.names, stored.id) == ((name,), image.id)
    assert stored.config.history
    assert stored.size > sum(layer.size for layer in stored.manifest.layers)
