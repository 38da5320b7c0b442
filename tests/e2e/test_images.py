"""Every form of an image, made by tools that are not ours, runs as a pod; the image's config says what runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.yard import Json, Yard
from tests.images.test_forms import FORMS, made  # noqa: F401

pytestmark = pytest.mark.root


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
