"""What docs/registries.md says is tried out."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from minikube_lite.images.image import ImageError
from minikube_lite.images.reference import Remote
from minikube_lite.images.registry import config, failure
from minikube_lite.images.registry.config import Host, Mirror
from minikube_lite.images.registry.credentials import keychain_of

DOCS = Path(__file__).parents[3] / "docs/registries.md"
TEXT = DOCS.read_text()


def rows(first: str) -> list[list[str]]:
    """The cells of the table whose first heading this is."""
    table = TEXT.partition(f"| {first} |")[2].partition("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in table]


def test_the_example_of_the_file_is_read_as_the_page_says(tmp_path: Path) -> None:
    (authority := tmp_path / "ca.pem").write_text("")
    [example] = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
    (tmp_path / "registries.yaml").write_text(example.replace("/etc/ssl/certs/example-ca.pem", str(authority)))
    read = config.read(tmp_path / "registries.yaml")
    assert read.host("docker.io").mirrors == (
        Mirror("mirror.example.com", "https"),
        Mirror("cache.lan:5000", prefix="hub"),
    )
    assert read.host("cache.lan:5000") == Host(insecure=True)
    assert read.host("registry.example.com") == Host(ca=authority)


def test_the_message_shown_is_the_one_given(tmp_path: Path) -> None:
    [shown] = re.findall(r"```\n/etc/minikube-lite/(registries.yaml:.*)\n```", TEXT)
    (tmp_path / "registries.yaml").write_text("registries:\n\n  cache.lan:5000:\n    insecur: true\n")
    with pytest.raises(ImageError) as caught:
        config.read(tmp_path / "registries.yaml")
    assert caught.value.message == f"{tmp_path}/{shown}"


def test_the_table_of_entries_is_the_rule(remote: Callable[[str], Remote]) -> None:
    table = rows("entry")
    assert len(table) == 4
    for entry, *columns in table:
        document = '{"auths": {"%s": {"username": "u", "password": "p"}}}' % entry.strip("`")  # noqa: UP031
        for images, matches in zip(columns, (True, False), strict=True):
            for image in re.findall(r"`([^`]+)`", images):
                found = keychain_of([("x", document.encode())]).find(remote(image))
                assert bool(found.credentials) == matches, (entry, image)


def test_the_fields_are_those_that_are_read() -> None:
    assert [row[0].strip("`") for row in rows("field")] == list(Host.__dataclass_fields__)


def test_the_statuses_that_are_tried_again_are_those_named() -> None:
    named = {int(status) for status in re.search(r"moment \(([\d, ]+),", TEXT)[1].split(",")}  # type: ignore[index]
    assert named == {s for s in range(400, 600) if failure.of_status("h", "it", s, {}, b"").transient}
