"""What we push into a real docker-registry, skopeo finds there, with the same digests."""

from __future__ import annotations

import errno
import hashlib
import json
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from minikube_lite.images.image import ImageError, unavailable
from minikube_lite.images.reference import Remote
from minikube_lite.images.registry.client import Registries
from minikube_lite.images.registry.push import push
from minikube_lite.images.source import Descriptor, OffsetNotSupported
from tests.images.registry.docker_registry import DockerRegistry, skopeo
from tests.images.registry.evil import Answer, Asked, Evil, evil
from tests.images.registry.layouts import Layout, layer, noise


class LayoutSource:
    """A layout as a source of images."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.asked: list[tuple[str, int]] = []

    def manifest(self, reference: str) -> tuple[str, bytes]:
        for entry in json.loads((self.layout.root / "index.json").read_text())["manifests"]:
            if entry["annotations"]["org.opencontainers.image.ref.name"] == reference:
                return entry["mediaType"], self.layout.read(entry["digest"])
        if not reference.startswith("sha256:"):
            raise unavailable(f"no `{reference}` in the layout")
        data = self.layout.read(reference)
        return json.loads(data)["mediaType"], data

    def blob(self, descriptor: Descriptor, offset: int = 0) -> Iterator[bytes]:
        self.asked.append((descriptor.digest, offset))
        data = self.layout.read(descriptor.digest)
        for at in range(offset, len(data), 100_000):
            yield data[at : at + 100_000]


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def test_skopeo_copies_what_was_pushed_with_the_same_digests(
    registry: DockerRegistry, layout: Layout, registries: Registries, remote: Callable[[str], Remote], tmp_path: Path
) -> None:
    name, source, seen = f"{registry.host}/pushed/one:v1", LayoutSource(layout), dict[str, int]()

    def progress(part: Descriptor, done: int) -> None:
        assert seen.get(part.digest, 0) <= done <= part.size
        seen[part.digest] = done

    pushed = push(source, registries.repository(remote(name)), "one", progress=progress)
    assert skopeo("inspect", "--tls-verify=false", "--format", "{{.Digest}}", f"docker://{name}").strip() == pushed
    assert skopeo("inspect", "--raw", "--tls-verify=false", f"docker://{name}").encode() == source.manifest("one")[1]
    skopeo("copy", "-q", "--src-tls-verify=false", f"docker://{name}", f"dir:{tmp_path / 'copied'}")
    manifest = json.loads(source.manifest("one")[1])
    for part in (manifest["config"], *manifest["layers"]):
        assert (tmp_path / "copied" / part["digest"].removeprefix("sha256:")).read_bytes() == layout.read(
            part["digest"]
        )
        assert seen[part["digest"]] == part["size"]


def test_an_index_is_pushed_with_all_its_images(
    registry: DockerRegistry, layout: Layout, registries: Registries, remote: Callable[[str], Remote], tmp_path: Path
) -> None:
    name = f"{registry.host}/pushed/many:v1"
    pushed = push(LayoutSource(layout), registries.repository(remote(name)), "many")
    assert registries.repository(remote(name)).digest_of() == pushed
    skopeo("copy", "-q", "--all", "--src-tls-verify=false", f"docker://{name}", f"oci:{tmp_path / 'copied'}:x")
    assert (tmp_path / "copied/blobs/sha256" / pushed.removeprefix("sha256:")).exists()


def test_what_the_registry_has_is_not_sent_again(
    registry: DockerRegistry, layout: Layout, registries: Registries, remote: Callable[[str], Remote]
) -> None:
    repository = registries.repository(remote(f"{registry.host}/pushed/again"))
    push(LayoutSource(layout), repository, "one")
    again = LayoutSource(layout)
    push(again, registries.repository(remote(f"{registry.host}/pushed/again:other")), "one")
    assert again.asked == []
    assert repository.tags() == ["latest", "other"]


def test_blobs_of_another_repository_are_mounted_not_sent(
    registry: DockerRegistry, layout: Layout, registries: Registries, remote: Callable[[str], Remote]
) -> None:
    push(LayoutSource(layout), registries.repository(remote(f"{registry.host}/pushed/first")), "one")
    source = LayoutSource(layout)
    name = f"{registry.host}/pushed/second"
    push(source, registries.repository(remote(name)), "one", mount_from="pushed/first")
    assert source.asked == []
    assert skopeo("inspect", "--tls-verify=false", f"docker://{name}")
    third = LayoutSource(layout)
    push(third, registries.repository(remote(f"{registry.host}/pushed/third")), "one", mount_from="pushed/nowhere")
    assert len(third.asked) == 3


def test_an_upload_that_breaks_off_ends_all_the_same(
    registry: DockerRegistry,
    registries: Registries,
    remote: Callable[[str], Remote],
    tmp_path: Path,
    waits: list[float],
) -> None:
    layout = Layout(tmp_path / "oci")
    layout.name(layout.image([layer("big", noise(5_000_000, seed=7))]), "big")

    class Breaks(LayoutSource):
        """Its first reading of the layer stops in the middle; the connection that it is sent on is closed then."""

        def blob(self, descriptor: Descriptor, offset: int = 0) -> Iterator[bytes]:
            sent = 0
            first = descriptor.size > 1_000_000 and not any(d == descriptor.digest for d, _ in self.asked)
            for piece in super().blob(descriptor, offset):
                yield piece
                sent += len(piece)
                if first and sent > 3_000_000:
                    raise OSError(errno.ECONNABORTED, "as if the connection were gone")

    source = Breaks(layout)
    name = f"{registry.host}/pushed/broken"
    pushed = push(source, registries.repository(remote(name)), "big")
    assert skopeo("inspect", "--tls-verify=false", "--format", "{{.Digest}}", f"docker://{name}").strip() == pushed
    big = next(d for d, _ in source.asked if source.layout.read(d)[:2] == b"\x1f\x8b")
    offsets = [offset for d, offset in source.asked if d == big]
    assert len(offsets) == 2
    assert waits


def test_a_source_that_reads_from_the_start_alone_is_read_over() -> None:
    from minikube_lite.images.registry.push import _from

    class FromStart:
        def manifest(self, reference: str) -> tuple[str, bytes]:
            raise AssertionError

        def blob(self, descriptor: Descriptor, offset: int = 0) -> Iterator[bytes]:
            if offset:
                raise OffsetNotSupported
            yield from (b"abc", b"def", b"ghi")

    assert b"".join(_from(FromStart(), Descriptor("", "", 9), 4)) == b"efghi"


def test_a_name_with_another_digest_is_refused(
    registry: DockerRegistry, layout: Layout, registries: Registries, remote: Callable[[str], Remote]
) -> None:
    name = f"{registry.host}/pushed/one@sha256:{'0' * 64}"
    with pytest.raises(ImageError, match="the digest of the image is"):
        push(LayoutSource(layout), registries.repository(remote(name)), "one")


class Uploading:
    """A registry that takes uploads, of which the first breaks off; it can say how far it came, as the spec has it."""

    def __init__(self, server: Evil) -> None:
        self.server = server
        self.blobs: dict[str, bytes] = {}
        self.uploads: dict[str, bytes] = {}
        self.manifests: dict[str, bytes] = {}
        self.numbers = count(1)  # several uploads begin at once
        self.breaks = 1
        self.knows = True
        """Whether it remembers what broke off."""
        server.answer = self.answer

    def answer(self, asked: Asked) -> Answer:
        name = asked.path.rpartition("/")[2]
        if asked.method == "HEAD":
            return Answer(200 if name in self.blobs else 404)
        if asked.method == "POST":
            upload = f"/v2/app/blobs/uploads/{next(self.numbers)}"
            self.uploads[upload] = b""
            return Answer(202, headers={"Location": f"{upload}?state=0"})
        if "/manifests/" in asked.path:
            self.manifests[name] = asked.body
            return Answer(201, headers={"Docker-Content-Digest": digest(asked.body)})
        if asked.path not in self.uploads:
            return Answer(404, b'{"errors": [{"code": "BLOB_UPLOAD_UNKNOWN"}]}')
        if asked.method == "PATCH":
            kept = self.uploads[asked.path]
            assert asked.headers.get("content-range", "0-").startswith(f"{len(kept)}-")
            if self.breaks and len(asked.body) > 1_000_000:
                self.breaks -= 1
                self.uploads[asked.path] += asked.body[:400_000]
                if not self.knows:
                    del self.uploads[asked.path]
                return Answer(503)
            self.uploads[asked.path] += asked.body
        elif asked.method == "PUT":
            blob = self.uploads.pop(asked.path)
            assert asked.query["digest"] == [digest(blob)]
            assert asked.query["state"] == [str(len(blob))]
            self.blobs[digest(blob)] = blob
            return Answer(201)
        kept = self.uploads[asked.path]
        location = f"http://{self.server.host}{asked.path}?state={len(kept)}"
        status = 202 if asked.method == "PATCH" else 204
        return Answer(status, headers={"Location": location, "Range": f"0-{max(len(kept) - 1, 0)}"})


@pytest.mark.parametrize(("knows", "sent"), [(True, [0, 400_000]), (False, [0, 0])])
def test_an_upload_goes_on_where_the_registry_says_or_begins_anew(
    registries: Registries, remote: Callable[[str], Remote], layout: Layout, knows: bool, sent: list[int]
) -> None:
    source = LayoutSource(layout)
    with evil() as server:
        registry = Uploading(server)
        registry.knows = knows
        pushed = push(source, registries.repository(remote(f"{server.host}/app:v")), "one")
        assert digest(registry.manifests["v"]) == pushed
        manifest = json.loads(registry.manifests["v"])
        for part in (manifest["config"], *manifest["layers"]):
            assert registry.blobs[part["digest"]] == layout.read(part["digest"])
        assert registry.uploads == {}
    big = manifest["layers"][0]["digest"]
    assert [offset for part, offset in source.asked if part == big] == sent


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (Answer(403, b'{"errors": [{"code": "DENIED"}]}'), "denies the upload of sha256:"),
        (Answer(202), "it does not say where to upload to"),
        (Answer(413), "it answered 413 when asked for the upload of sha256:"),
        (Answer(202, headers={"Location": "ftp://x/y"}), "it redirects to something that is no URL: `ftp://x/y`"),
        (Answer(507), "it failed with 507 when asked for the upload"),
    ],
)
def test_an_upload_that_is_not_taken_says_why(
    registries: Registries, remote: Callable[[str], Remote], layout: Layout, answer: Answer, says: str
) -> None:
    def refuse(asked: Asked) -> Answer:
        return Answer(404) if asked.method == "HEAD" else answer

    with evil(refuse) as server, pytest.raises(ImageError) as caught:
        push(LayoutSource(layout), registries.repository(remote(f"{server.host}/app:v")), "one")
    assert caught.value.message.startswith(f"cannot push `{server.host}/app:v`: {server.host}: ")
    assert says in caught.value.message


def test_a_registry_that_changes_the_manifest_is_told_of(
    registries: Registries, remote: Callable[[str], Remote], layout: Layout
) -> None:
    def change(asked: Asked) -> Answer:
        return Answer(201, headers={"Docker-Content-Digest": digest(b"x")}) if asked.method == "PUT" else Answer(200)

    with evil(change) as server, pytest.raises(ImageError, match="does it change manifests"):
        push(LayoutSource(layout), registries.repository(remote(f"{server.host}/app:v")), "one")
