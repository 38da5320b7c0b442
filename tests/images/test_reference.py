"""What an image reference means: one rule, as a table."""

from __future__ import annotations

from pathlib import Path

import pytest

from minikube_lite.images.image import ImageError
from minikube_lite.images.reference import BuiltIn, Local, Remote, parse

BASE = "/manifests"
HEX = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("reference", "path"),
    [
        ("/images/alpine", "/images/alpine"),
        ("./rootfs", "/manifests/./rootfs"),
        ("../rootfs.tar", "/manifests/../rootfs.tar"),
        (".", "/manifests/."),
        ("..", "/manifests/.."),
        ("/", "/"),
        ("./a b:c@d,é", "/manifests/./a b:c@d,é"),
        ("./host", "/manifests/./host"),
    ],
)
def test_a_path_is_told_by_how_it_begins(reference: str, path: str) -> None:
    assert str(parse(reference, BASE)) == str(Local(Path(path)))


def test_host_is_the_built_in_image() -> None:
    assert parse("host", BASE) == BuiltIn("host")


@pytest.mark.parametrize(
    ("reference", "name"),
    [
        ("nginx", "docker.io/library/nginx:latest"),
        ("nginx:1.25", "docker.io/library/nginx:1.25"),
        ("host:1", "docker.io/library/host:1"),
        ("library/nginx", "docker.io/library/nginx:latest"),
        ("index.docker.io/nginx", "docker.io/library/nginx:latest"),
        ("a/b/c", "docker.io/a/b/c:latest"),
        ("localhost/a", "localhost/a:latest"),
        ("localhost:5000", "docker.io/library/localhost:5000"),
        ("localhost:5000/a:b", "localhost:5000/a:b"),
        ("UPPER/a", "UPPER/a:latest"),
        ("[::1]:5000/a", "[::1]:5000/a:latest"),
        ("quay.io/a/b", "quay.io/a/b:latest"),
        (f"quay.io/a/b@sha256:{HEX}", f"quay.io/a/b@sha256:{HEX}"),
        (f"a:1@sha256:{HEX}", f"docker.io/library/a:1@sha256:{HEX}"),
        ("a__b.c-d--e/f_g", "docker.io/a__b.c-d--e/f_g:latest"),
        ("rootfs.tar", "docker.io/library/rootfs.tar:latest"),
        ("a.b/c:" + "t" * 128, "a.b/c:" + "t" * 128),
    ],
)
def test_all_else_is_a_registry_name_read_as_docker_reads_it(reference: str, name: str) -> None:
    remote = parse(reference, BASE)
    assert isinstance(remote, Remote)
    assert str(remote) == name


@pytest.mark.parametrize(
    ("reference", "says"),
    [
        ("", "it is empty"),
        (" nginx", "white space"),
        ("nginx\n", "white space"),
        ("Nginx", "hint: `nginx`"),
        ("a/Nginx:V1", "lower case"),
        ("~/rootfs", "not expanded"),
        ("file:///rootfs", "hint: `/rootfs`"),
        ("docker://nginx", "hint: `nginx`"),
        ("my rootfs", "hint: a path begins with"),
        ("rootfs\\a", "written with `/`"),
        ("nginx:", "[host[:port]/]name"),
        ("nginx:-a", "[host[:port]/]name"),
        ("a.b/c:" + "t" * 129, "[host[:port]/]name"),
        ("nginx@", "[host[:port]/]name"),
        ("a//b", "[host[:port]/]name"),
        ("-a", "[host[:port]/]name"),
        ("a___b", "[host[:port]/]name"),
        ("...", "[host[:port]/]name"),
        (".rootfs", "[host[:port]/]name"),
        ("a/", "[host[:port]/]name"),
        (f"a@sha256:{HEX[:40]}", "64 digits"),
        (f"a@sha256:{HEX.upper()}", "not a digest"),
        (f"a@md5:{HEX[:32]}", "not a digest"),
        (HEX, "image ID"),
        ("a" * 256, "longer than 255"),
        ("a/" * 3000, "too long"),
        ("./a\0b", "NUL"),
    ],
)
def test_what_is_neither_is_an_invalid_image_name_and_says_why(reference: str, says: str) -> None:
    with pytest.raises(ImageError) as caught:
        parse(reference, BASE)
    assert caught.value.reason == "InvalidImageName"
    assert says in caught.value.message
