"""What skopeo put into a real docker-registry comes out of it, byte for byte."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

import pytest

from minikube_lite.images.image import ImageError
from minikube_lite.images.reference import Remote
from minikube_lite.images.registry.client import Registries, Repository
from minikube_lite.images.source import Source
from tests.images.registry.docker_registry import DockerRegistry, skopeo
from tests.images.registry.layouts import INDEX, MANIFEST, Layout, descriptor

NOWHERE = "0" * 64


@pytest.fixture
def app(filled: DockerRegistry, registries: Registries, remote: Callable[[str], Remote]) -> Repository:
    return registries.repository(remote(f"{filled.host}/team/app:one"))


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def test_a_manifest_is_had_by_tag_by_digest_and_by_the_name_s_own_tag(app: Repository, filled: DockerRegistry) -> None:
    source: Source = app
    media_type, data = source.manifest("")
    assert media_type == MANIFEST
    assert data == skopeo("inspect", "--raw", "--tls-verify=false", f"docker://{filled.host}/team/app:one").encode()
    assert source.manifest("one") == source.manifest(digest(data)) == (media_type, data)
    assert source.manifest("many")[0] == INDEX


def test_an_index_and_all_it_names_comes_byte_for_byte(app: Repository, layout: Layout) -> None:
    for entry in json.loads(app.manifest("many")[1])["manifests"]:
        manifest = app.manifest(entry["digest"])[1]
        assert manifest == layout.read(entry["digest"])
        for part in (json.loads(manifest)["config"], *json.loads(manifest)["layers"]):
            assert b"".join(app.blob(descriptor(part))) == layout.read(part["digest"])


def test_a_blob_is_had_from_any_offset(app: Repository, layout: Layout) -> None:
    base = json.loads(app.manifest("one")[1])["layers"][0]
    whole = layout.read(base["digest"])
    for offset in (1, 1_000_000, base["size"] - 1):
        assert b"".join(app.blob(descriptor(base), offset)) == whole[offset:]
    assert b"".join(app.blob(descriptor(base), base["size"])) == b""


def test_what_a_tag_stands_for_is_told_without_a_download(app: Repository, filled: DockerRegistry) -> None:
    data = app.manifest("one")[1]
    before = len(filled.log)
    assert app.digest_of("one") == digest(data)
    assert app.digest_of() == digest(data)
    asked = [line for line in filled.log[before:] if "/v2/" in line and "HTTP/1.1" in line]
    assert not [line for line in asked if '"GET ' in line]


def test_threads_share_one_repository(app: Repository, layout: Layout) -> None:
    parts = [part for part in json.loads(app.manifest("one")[1])["layers"] for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        for part, data in zip(parts, pool.map(lambda p: b"".join(app.blob(descriptor(p))), parts), strict=True):
            assert data == layout.read(part["digest"])


def test_a_download_may_be_given_up_in_the_middle(app: Repository) -> None:
    base = json.loads(app.manifest("one")[1])["layers"][0]
    pieces = app.blob(descriptor(base))
    assert sum(len(piece) for piece in islice(pieces, 2))
    pieces.close()  # type: ignore[attr-defined]
    assert app.manifest("one")


def test_the_tags_are_listed(app: Repository) -> None:
    assert app.tags() == ["many", "one"]


def test_what_is_not_there_is_told_apart(
    app: Repository, registries: Registries, remote: Callable[[str], Remote]
) -> None:
    host = app.remote.domain
    with pytest.raises(ImageError) as tag:
        app.manifest("three")
    assert tag.value.message.startswith(
        f"cannot pull `{host}/team/app:one`: {host}: it does not have the manifest `three`"
    )
    assert "MANIFEST_UNKNOWN" in tag.value.message
    with pytest.raises(ImageError) as repository:
        registries.repository(remote(f"{host}/team/other")).manifest("")
    assert repository.value.reason == "ErrImagePull"
    with pytest.raises(ImageError) as listed:
        registries.repository(remote(f"{host}/team/other")).tags()
    assert "there is no such repository" in listed.value.message
    with pytest.raises(ImageError, match="it does not have the manifest"):
        app.digest_of("three")


def test_the_client_costs_nothing_before_it_is_used() -> None:
    program = (
        "import sys; from minikube_lite.images.registry.client import Registries; Registries()\n"
        "print(sorted({'urllib3', 'ssl', 'http.client', 'urllib.request'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
