"""A registry that runs while a module's tests do, an image in it, and a client which waits for nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from minikube_lite.images import reference
from minikube_lite.images.reference import Remote
from minikube_lite.images.registry.client import Registries
from minikube_lite.images.registry.credentials import Keychain
from tests.images.registry.docker_registry import DockerRegistry, skopeo
from tests.images.registry.layouts import Layout, layer, noise


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerRegistry]:
    """Plain HTTP, open to all."""
    directory = tmp_path_factory.mktemp("registry")
    with DockerRegistry(directory / "storage").running(directory) as registry:
        yield registry


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """An image of two layers, `one`, and an index of two images, `many`."""
    layout = Layout(tmp_path_factory.mktemp("layout") / "oci")
    base, top = layer("base", noise(3_000_000)), layer("top", b"top\n")
    layout.name(layout.image([base, top], Cmd=["/bin/app"]), "one")
    layout.name(layout.index([layout.image([base], "amd64"), layout.image([top], "arm64")]), "many")
    return layout


@pytest.fixture(scope="module")
def filled(registry: DockerRegistry, layout: Layout) -> DockerRegistry:
    """The registry with `app:one` and `app:many`, put there by skopeo."""
    for tag in ("one", "many"):
        to = f"docker://{registry.host}/team/app:{tag}"
        skopeo("copy", "-q", "--all", "--dest-tls-verify=false", f"oci:{layout.root}:{tag}", to)
    return registry


@pytest.fixture
def waits() -> list[float]:
    """How long the client would have slept."""
    return []


@pytest.fixture
def registries(waits: list[float], tmp_path: Path) -> Iterator[Registries]:
    """Reads `registries.yaml` of the test's directory and knows no credentials; sleeps are noted, not slept."""
    with Registries(tmp_path / "registries.yaml", Keychain(), sleep=waits.append) as registries:
        yield registries


@pytest.fixture
def remote() -> Callable[[str], Remote]:
    def remote(name: str) -> Remote:
        parsed = reference.parse(name, "/")
        assert isinstance(parsed, Remote)
        return parsed

    return remote
