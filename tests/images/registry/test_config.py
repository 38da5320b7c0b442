"""`registries.yaml`: what it says, and where it is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from minikube_lite.images.image import ImageError
from minikube_lite.images.registry.config import Configuration, Host, Mirror, read


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "ca.pem").write_text("a certificate")
    return tmp_path / "registries.yaml"


def test_all_that_it_can_say(file: Path) -> None:
    file.write_text(
        "registries:\n"
        "  docker.io:\n"
        '    mirrors: [https://mirror.example.com, cache.lan:5000/hub, "http://[::1]:80", https://m.example.com/v2/]\n'
        "  cache.lan:5000: {insecure: true}\n"
        "  registry.example.com: {ca: ca.pem, insecure: false}\n"
    )
    configuration = read(file)
    assert configuration.host("docker.io") == Host(
        (
            Mirror("mirror.example.com", "https"),
            Mirror("cache.lan:5000", "", "hub"),
            Mirror("[::1]:80", "http"),
            Mirror("m.example.com", "https"),
        )
    )
    assert configuration.host("cache.lan:5000") == Host(insecure=True)
    assert configuration.host("registry.example.com:443") == Host(insecure=False, ca=file.parent / "ca.pem")
    assert configuration.host("cache.lan") == Host()


@pytest.mark.parametrize("text", [None, "", "# nothing\n", "registries: {}\n", "registries: {docker.io: {}}\n"])
def test_nothing_is_nothing(file: Path, text: str | None) -> None:
    if text is not None:
        file.write_text(text)
    assert read(file).host("docker.io") == Configuration().host("docker.io")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("registries: [a\n", ":2:1: this is not YAML"),
        ("[]", ":1:1: the file: a mapping is expected, not a list"),
        ("mirrors: {}", ":1:1: mirrors: unknown field (known: registries)"),
        ("registry: {}", ":1:1: registry: unknown field (did you mean `registries`?)"),
        ("registries:\n  - a\n", ":2:3: registries: a mapping is expected, not a list"),
        ("registries:\n", ":1:12: registries: a mapping is expected, not nothing"),
        ("registries:\n  https://a.io: {}\n", "registries.https://a.io: `https://a.io` is not a `host[:port]` (hint"),
        ("registries:\n  a.io: {mirror: []}\n", ":2:10: registries.a.io.mirror: unknown field (did you mean `m"),
        ("registries:\n  a.io: {mirrors: b.io}\n", ":2:19: registries.a.io.mirrors: a list is expected, not `b.io`"),
        ("registries:\n  a.io:\n    mirrors:\n    - b.io\n    - ftp://b\n", ":5:7: registries.a.io.mirrors[1]: `ftp:"),
        ("registries:\n  a.io:\n    mirrors: [5]\n", ":3:15: registries.a.io.mirrors[0]: a text is expected, not `5`"),
        ("registries:\n  a.io: {insecure: yes}\n", ":2:20: registries.a.io.insecure: `true` or `false` is"),
        ("registries:\n  a.io: {insecure: 'true'}\n", "a.io.insecure: `true` or `false` is expected"),
        ("registries:\n  a.io: {ca: gone.pem}\n", ":2:14: registries.a.io.ca: there is no file"),
        ("registries:\n  a.io: {}\n  a.io: {}\n", ":3:3: registries.a.io: it is given twice"),
        ("registries:\n  ? [a]\n  : {}\n", ":2:5: registries: a key is a text, not a list"),
        ("\x07", ": this is not YAML"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_line_column_and_field(file: Path, text: str, says: str) -> None:
    file.write_text(text)
    with pytest.raises(ImageError) as caught:
        read(file)
    assert f"{file}{says}" in caught.value.message or says in caught.value.message
    assert "\n" not in caught.value.message


def test_what_cannot_be_read_is_told(file: Path) -> None:
    file.write_bytes(b"\xff\xfe\xff")
    with pytest.raises(ImageError, match="it is not UTF-8"):
        read(file)
    file.unlink()
    file.mkdir()
    with pytest.raises(ImageError, match="Is a directory"):
        read(file)
