"""Whom a container runs as: from a table of what image and spec say, on an image of three layers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from minikube_lite.core.oci import CannotRun
from minikube_lite.images.image import Image
from minikube_lite.node.image_user import image_user
from tests.core.healthy import container, pod

PASSWD = """\
root:x:0:0:root:/root:/bin/sh
broken line
odd:x:-1:7:::
app:x:1000:1001:an app:/srv:/bin/sh
"""
GROUP = """\
root:x:0:
app:x:1001:
log:x:4:app,other
video:x:27:other,app
short:x:30
"""


@pytest.fixture
def layers(tmp_path: Path) -> tuple[Path, ...]:
    made = tuple(tmp_path / name for name in ("bottom", "middle", "top"))
    for layer in made:
        (layer / "etc").mkdir(parents=True)
    (made[0] / "etc/passwd").write_text("root:x:0:0::/:/bin/sh\napp:x:5:5::/:\n")
    (made[1] / "usr/lib").mkdir(parents=True)
    (made[1] / "etc/passwd").symlink_to("../usr/lib/passwd")
    (made[0] / "etc/group").write_text(GROUP)
    (made[2] / "usr/lib").mkdir(parents=True)
    (made[2] / "usr/lib/passwd").write_text(PASSWD)
    return made


def who(layers: tuple[Path, ...], user: str, context: dict[str, Any] | None = None, **shared: Any) -> Any:
    whole = pod(container(securityContext=context or {}), securityContext=shared)
    return image_user(whole, whole.spec.containers[0], Image("x", "sha256:x", layers, {"User": user}))


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        ("", (0, 0, ())),
        ("root", (0, 0, ())),
        ("app", (1000, 1001, (4, 27))),
        ("1000", (1000, 1001, (4, 27))),
        ("app:log", (1000, 4, (4, 27))),
        ("app:30", (1000, 30, (4, 27))),
        ("app:short", (1000, 30, (4, 27))),
        ("77", (77, 0, ())),
        ("77:88", (77, 88, ())),
        (":log", (0, 4, ())),
    ],
)
def test_the_image_s_user_is_looked_up_through_layers_and_links(
    layers: tuple[Path, ...], user: str, expected: Any
) -> None:
    assert who(layers, user) == expected


@pytest.mark.parametrize(
    ("context", "shared", "expected"),
    [
        ({"runAsUser": 77}, {}, (77, 0, ())),
        ({"runAsUser": 1000}, {}, (1000, 1001, (4, 27))),
        ({"runAsUser": 1000, "runAsGroup": 5}, {}, (1000, 5, (4, 27))),
        ({"runAsGroup": 5}, {}, (1000, 5, (4, 27))),
        ({}, {"supplementalGroups": [9, 4], "fsGroup": 8}, (1000, 1001, (9, 4, 8, 27))),
        ({}, {"supplementalGroups": [9], "supplementalGroupsPolicy": "Strict"}, (1000, 1001, (9,))),
        ({}, {"supplementalGroups": [9], "supplementalGroupsPolicy": "Merge"}, (1000, 1001, (9, 4, 27))),
    ],
)
def test_the_spec_s_word_wins_over_the_image_s(
    layers: tuple[Path, ...], context: dict[str, Any], shared: dict[str, Any], expected: Any
) -> None:
    assert who(layers, "app", context, **shared) == expected


@pytest.mark.parametrize(("user", "word"), [("nobody", "user nobody"), ("odd", "user odd"), ("app:none", "group none")])
def test_a_name_that_the_image_does_not_know_is_said(layers: tuple[Path, ...], user: str, word: str) -> None:
    with pytest.raises(CannotRun, match=f"unable to find {word}: no matching entries"):
        who(layers, user)


def test_an_image_without_accounts_runs_numbers_only(tmp_path: Path) -> None:
    assert who((tmp_path,), "5:6") == (5, 6, ())
    with pytest.raises(CannotRun, match="unable to find user app"):
        who((tmp_path,), "app")


@pytest.mark.parametrize("user", ["", "0", "root", "0:5"])
def test_root_does_not_run_where_it_must_not(layers: tuple[Path, ...], user: str) -> None:
    with pytest.raises(CannotRun) as caught:
        who(layers, user, runAsNonRoot=True)
    assert caught.value.reason == "CreateContainerConfigError"
    assert "container has runAsNonRoot and image will run as root (pod: " in caught.value.message
    assert who(layers, "1000", runAsNonRoot=True)[0] == 1000


def test_a_name_in_the_image_does_not_prove_that_it_is_not_root(layers: tuple[Path, ...]) -> None:
    with pytest.raises(CannotRun) as caught:
        who(layers, "app:log", runAsNonRoot=True)
    assert caught.value.reason == "CreateContainerConfigError"
    assert caught.value.message == (
        "container has runAsNonRoot and image has non-numeric user (app), cannot verify user is non-root "
        '(pod: "web_default()", container: app)'
    )
    assert who(layers, "app", {"runAsUser": 1000}, runAsNonRoot=True)[0] == 1000
    assert who(layers, "app", {"runAsNonRoot": False}, runAsNonRoot=True)[0] == 1000
