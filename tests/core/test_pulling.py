"""When a registry is asked for an image: Kubernetes' table, and what stands in the store."""

from __future__ import annotations

from pathlib import Path

import pytest

from minikube_lite.core.pulling import pull_policy, pull_step, pulled
from minikube_lite.core.times import go_duration
from minikube_lite.spec.objects import Container

DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("nginx", "Always"),
        ("nginx:latest", "Always"),
        ("nginx:1.25", "IfNotPresent"),
        ("nginx:latest-slim", "IfNotPresent"),
        (f"nginx@{DIGEST}", "IfNotPresent"),
        (f"nginx:latest@{DIGEST}", "IfNotPresent"),
        ("localhost:5000/nginx", "Always"),
        ("localhost:5000/nginx:latest", "Always"),
        ("localhost:5000/nginx:1", "IfNotPresent"),
        ("quay.io/a/b", "Always"),
    ],
)
def test_a_policy_that_is_not_written_follows_from_the_tag(image: str, policy: str) -> None:
    assert pull_policy(Container(name="app", image=image)) == policy
    for written in ("Always", "IfNotPresent", "Never"):
        assert pull_policy(Container(name="app", image=image, image_pull_policy=written)) == written


@pytest.mark.parametrize(
    ("image", "written", "absent", "by_hand", "pulled"),
    [
        ("app", "", "pull", "use", "compare"),
        ("app:1", "", "pull", "use", "use"),
        ("app", "Always", "pull", "compare", "compare"),
        ("app:1", "Always", "pull", "compare", "compare"),
        ("app", "IfNotPresent", "pull", "use", "use"),
        ("app:1", "IfNotPresent", "pull", "use", "use"),
        ("app", "Never", "refuse", "use", "use"),
        ("app:1", "Never", "refuse", "use", "use"),
        (f"app@{DIGEST}", "", "pull", "use", "use"),
        (f"app@{DIGEST}", "Always", "pull", "compare", "compare"),
    ],
)
def test_what_is_done_follows_from_the_policy_and_from_what_is_there(
    image: str, written: str, absent: str, by_hand: str, pulled: str
) -> None:
    container = Container(name="app", image=image, image_pull_policy=written)
    found = (pull_step(container, "absent"), pull_step(container, "by hand"), pull_step(container, "pulled"))
    assert found == (absent, by_hand, pulled)


def test_the_table_in_the_docs_is_this_one() -> None:
    text = (Path(__file__).parents[2] / "docs/images.md").read_text()
    words = {"pull": "pulled", "compare": "asked whether it is still the same", "use": "used"}
    words["refuse"] = "`ErrImageNeverPull`"
    rows = {
        "not written; the tag is `latest` or missing": Container(name="app", image="app"),
        "not written; another tag, or a digest": Container(name="app", image="app:1"),
        **{
            f"`{policy}`": Container(name="app", image="app", image_pull_policy=policy)
            for policy in ("IfNotPresent", "Always", "Never")
        },
    }
    for title, container in rows.items():
        cells = [words[pull_step(container, presence)] for presence in ("absent", "pulled", "by hand")]
        assert f"| {title} | {' | '.join(cells)} |" in text.replace("**", ""), title


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (0.0351, "35ms"),
        (0.9999, "1s"),
        (1.2, "1.2s"),
        (1.2345, "1.234s"),
        (62.5, "1m2.5s"),
        (3600.0, "1h0m0s"),
    ],
)
def test_durations_are_written_as_go_writes_them(seconds: float, text: str) -> None:
    assert go_duration(seconds) == text


def test_a_pull_is_told_in_the_kubelet_s_words() -> None:
    said = 'Successfully pulled image "nginx" in 1.2s (1.3s including waiting). Image size: 70 bytes.'
    assert pulled("nginx", 1.2, 1.3, 70) == said
