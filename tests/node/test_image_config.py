"""What an image's config asks for beyond its command: signal, volumes, health check."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest

from minikube_lite.images.image import Image
from minikube_lite.node.image_config import has_healthcheck, make_volumes, stop_signal, volume_paths


@pytest.mark.parametrize(
    ("text", "number"),
    [
        (None, signal.SIGTERM),
        ("", signal.SIGTERM),
        ("SIGQUIT", signal.SIGQUIT),
        ("quit", signal.SIGQUIT),
        ("3", 3),
        ("SIGRTMIN+3", signal.SIGRTMIN + 3),
        ("RTMIN", signal.SIGRTMIN),
        ("37", 37),
    ],
)
def test_a_stop_signal_is_a_name_or_a_number(text: str | None, number: int) -> None:
    assert stop_signal({"StopSignal": text}) == number
    assert stop_signal({}) == signal.SIGTERM


@pytest.mark.parametrize("text", ["SIGNOTHING", "0", "65", "-1", "SIGTERM+1", "RTMIN+99", "RTMIN+x", "SIG_DFL"])
def test_what_is_no_signal_is_said(text: str) -> None:
    with pytest.raises(ValueError, match="is no signal"):
        stop_signal({"StopSignal": text})


@pytest.mark.parametrize(
    ("check", "has"),
    [
        (None, False),
        ({}, False),
        ({"Test": []}, False),
        ({"Test": ["NONE"]}, False),
        ({"Test": ["CMD", "true"]}, True),
        ({"Test": ["CMD-SHELL", "true"]}, True),
    ],
)
def test_a_health_check_is_seen(check: Any, has: bool) -> None:
    assert has_healthcheck({"Healthcheck": check}) is has


def test_volumes_are_those_of_the_image_that_the_pod_does_not_mount_itself() -> None:
    config = {"Volumes": {"/data/deep": {}, "/data": {}, "cache/": {}, "/own": {}, "/../up": {}, "/": {}}}
    assert volume_paths(config, ["/own/"]) == ["/cache", "/data", "/up", "/data/deep"]
    assert volume_paths({}, []) == volume_paths({"Volumes": None}, []) == []


@pytest.mark.root
def test_a_volume_begins_with_what_the_image_has_there(tmp_path: Path) -> None:
    layer = tmp_path / "layer"
    (layer / "data").mkdir(parents=True)
    (layer / "data/file").write_text("from the image")
    (layer / "data").chmod(0o1770)
    image = Image("x", "sha256:x", (layer,))
    full, empty = make_volumes(image, ["/data", "/none"], tmp_path / "volumes")
    assert (full["destination"], empty["destination"]) == ("/data", "/none")
    assert (Path(full["source"]) / "file").read_text() == "from the image"
    assert Path(full["source"]).stat().st_mode & 0o7777 == 0o1770
    assert list(Path(empty["source"]).iterdir()) == []
    assert Path(empty["source"]).stat().st_mode & 0o7777 == 0o755
