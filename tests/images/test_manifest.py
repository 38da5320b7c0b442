"""What describes an image is read as OCI and Docker write it; what is anything else is refused, and says what it is."""

from __future__ import annotations

import json
from typing import Any

import pytest

from minikube_lite.images import manifest as formats
from minikube_lite.images import platforms
from minikube_lite.images.digests import sha256
from minikube_lite.images.image import ImageError
from minikube_lite.images.manifest import Index, Manifest, choose, parse, parse_config
from minikube_lite.images.source import Descriptor

HERE = platforms.this_machine()[0]
DIGEST = sha256(b"some")
LAYER = {"mediaType": f"{formats.OCI_LAYER}+gzip", "digest": DIGEST, "size": 9}
CONFIG = {"mediaType": formats.OCI_CONFIG, "digest": DIGEST, "size": 9}
GOOD = {"schemaVersion": 2, "mediaType": formats.OCI_MANIFEST, "config": CONFIG, "layers": [LAYER]}
INDEX = {"schemaVersion": 2, "mediaType": formats.OCI_INDEX, "manifests": [CONFIG]}


def data(document: Any) -> bytes:
    return document if isinstance(document, bytes) else json.dumps(document).encode()


def without(document: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in document.items() if key not in keys}


@pytest.mark.parametrize(
    ("given", "document"),
    [
        ("", GOOD),
        ("", without(GOOD, "mediaType")),
        (formats.OCI_MANIFEST, without(GOOD, "mediaType")),
        (f"{formats.OCI_MANIFEST}; charset=utf-8", GOOD),
        ("application/json", GOOD),
        (formats.DOCKER_MANIFEST, {**GOOD, "mediaType": formats.DOCKER_MANIFEST}),
        ("", {**GOOD, "layers": []}),
        ("", {**GOOD, "config": {**CONFIG, "mediaType": formats.DOCKER_CONFIG}}),
    ],
)
def test_a_manifest_of_an_image_is_read(given: str, document: dict[str, Any]) -> None:
    found = parse(given, data(document))
    assert isinstance(found, Manifest)
    assert found.digest == sha256(data(document))
    assert (found.size, len(found.layers)) == (len(data(document)), len(document["layers"]))


@pytest.mark.parametrize("kind", formats.INDEXES)
def test_an_index_is_read(kind: str) -> None:
    assert isinstance(parse(kind, data({**INDEX, "mediaType": kind})), Index)
    assert isinstance(parse("", data(without(INDEX, "mediaType"))), Index)


SCHEMA_1 = "application/vnd.docker.distribution.manifest.v1+prettyjws"
REFUSED: dict[str, tuple[str, Any, str]] = {
    "HTML": ("text/html", b"<html>log in</html>", "is not JSON"),
    "a list": ("", [], "not a JSON object"),
    "nested without end": ("", b"[" * 100_000, "JSON"),
    "too large": ("", data({**GOOD, "annotations": {"a": "x" * (5 << 20)}}), "larger than 4 MiB"),
    "schema 1 by its source": (SCHEMA_1, {"schemaVersion": 1}, "Docker's first format"),
    "schema 1 by its own word": ("", {"schemaVersion": 1, "fsLayers": []}, "Docker's first format"),
    "an unknown type": ("", {**GOOD, "mediaType": "application/x-thing"}, "not known: `application/x-thing`"),
    "of no type": ("application/x-thing", {"schemaVersion": 2}, "not known: `application/x-thing`"),
    "both at once (CVE-2021-41190)": ("", {**GOOD, **without(INDEX, "mediaType")}, "at once an image and an index"),
    "said to be the other": (formats.OCI_INDEX, GOOD, "its source calls it"),
    "an index without manifests": ("", {"mediaType": formats.OCI_INDEX}, "is not one"),
    "an artifact": ("", {**GOOD, "config": {**CONFIG, "mediaType": "application/vnd.cncf.helm.config.v1+json"}},
                    "an artifact: its config is `application/vnd.cncf.helm"),
    "an encrypted layer": ("", {**GOOD, "layers": [{**LAYER, "mediaType": f"{formats.OCI_LAYER}+encrypted"}]},
                           "not known: `application/vnd.oci.image.layer.v1.tar+encrypted`"),
    "too many layers": ("", {**GOOD, "layers": [LAYER] * 129}, "129 layers"),
    "no config": ("", without(GOOD, "config"), "a descriptor is missing"),
    "layers that are none": ("", {**GOOD, "layers": {}}, "`layers` is not a list"),
    "a digest with a path": ("", {**GOOD, "layers": [{**LAYER, "digest": "sha256:../../etc/passwd"}]}, "not a digest"),
    "a short digest": ("", {**GOOD, "layers": [{**LAYER, "digest": "sha256:abc"}]}, "not a digest"),
    "a digest of md5": ("", {**GOOD, "layers": [{**LAYER, "digest": "md5:" + "a" * 32}]}, "not a digest"),
    "a negative size": ("", {**GOOD, "layers": [{**LAYER, "size": -1}]}, "-1 is not a size"),
    "a size of text": ("", {**GOOD, "layers": [{**LAYER, "size": "9"}]}, "'9' is not a size"),
    "a size of truth": ("", {**GOOD, "layers": [{**LAYER, "size": True}]}, "True is not a size"),
}  # fmt: skip


@pytest.mark.parametrize(("given", "document", "says"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_manifest_of_an_image_is_refused(given: str, document: Any, says: str) -> None:
    with pytest.raises(ImageError) as caught:
        parse(given, data(document))
    assert says in caught.value.message


MANIFEST = parse("", data(GOOD))
assert isinstance(MANIFEST, Manifest)
IMAGE = {"os": "linux", "architecture": HERE, "rootfs": {"type": "layers", "diff_ids": [DIGEST]}}


def test_an_image_config_is_read() -> None:
    document = {**IMAGE, "config": {"Cmd": ["a"]}, "created": "2020-01-01T00:00:00Z", "history": [{"created_by": "x"}]}
    found = parse_config(data(document), MANIFEST)
    assert (found.digest, found.diff_ids, found.config) == (DIGEST, (DIGEST,), {"Cmd": ["a"]})
    assert (found.created, found.history) == ("2020-01-01T00:00:00Z", ({"created_by": "x"},))
    for sparse in ({**IMAGE, "config": None, "history": None}, without(IMAGE, "os", "architecture")):
        assert parse_config(data(sparse), MANIFEST).config == {}


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ({**IMAGE, "architecture": "sparc64"}, f"not made for this machine (linux/{HERE}"),
        ({**IMAGE, "architecture": "sparc64"}, "it is for: linux/sparc64"),
        ({**IMAGE, "os": "windows"}, f"it is for: windows/{HERE}"),
        (without(IMAGE, "rootfs"), "does not say what its layers unpack to"),
        ({**IMAGE, "rootfs": {"diff_ids": ["../x"]}}, "does not say what its layers unpack to"),
        ({**IMAGE, "rootfs": {"diff_ids": []}}, "its manifest has 1 layers, its image config 0"),
        ({**IMAGE, "config": []}, {}),
        ({**IMAGE, "config": ["x"]}, "is damaged"),
        (b"\0", "is not JSON"),
    ],
)
def test_an_image_config_that_does_not_fit_is_refused(document: Any, says: Any) -> None:
    if not says:
        assert parse_config(data(document), MANIFEST).config == {}
        return
    with pytest.raises(ImageError) as caught:
        parse_config(data(document), MANIFEST)
    assert says in caught.value.message


@pytest.mark.parametrize(
    ("machine", "offered", "best"),
    [
        (("amd64", ""), ["linux/arm64", "linux/amd64", "linux/386"], "linux/amd64"),
        (("amd64", ""), ["windows/amd64", "linux/386"], "linux/386"),
        (("amd64", ""), ["linux/amd64/v3", "linux/amd64/v1"], "linux/amd64/v1"),
        (("amd64", ""), ["linux/amd64/v3", "linux/arm64"], None),
        (("arm64", ""), ["linux/amd64", "linux/arm/v7", "linux/arm64/v8"], "linux/arm64/v8"),
        (("arm64", ""), ["linux/arm/v6", "linux/arm/v7"], "linux/arm/v7"),
        (("arm", "v6"), ["linux/arm/v7", "linux/arm/v6", "linux/arm/v5"], "linux/arm/v6"),
        (("arm", "v7"), ["linux/arm"], "linux/arm"),
        (("riscv64", ""), ["linux/riscv64"], "linux/riscv64"),
        (("s390x", ""), ["linux/amd64", "unknown/unknown"], None),
    ],
)
def test_the_platform_is_chosen_as_containerd_does(
    monkeypatch: pytest.MonkeyPatch, machine: tuple[str, str], offered: list[str], best: str | None
) -> None:
    monkeypatch.setattr(platforms, "this_machine", lambda: machine)
    found = []
    for name in offered:
        system, architecture, *variant = name.split("/")
        platform = {"os": system, "architecture": architecture, **({"variant": variant[0]} if variant else {})}
        found.append(Descriptor(formats.OCI_MANIFEST, sha256(name.encode()), 9, platform))
    if best is not None:
        assert choose(tuple(found)).digest == sha256(best.encode())
        return
    with pytest.raises(ImageError) as caught:
        choose(tuple(found))
    real = sorted(name for name in offered if "unknown" not in name)
    assert caught.value.message.endswith(f"it is for: {', '.join(real)}")
