"""Whatever a registry does wrong: one line says the true cause, and nothing false is handed on."""

from __future__ import annotations

import hashlib
import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from minikube_lite.images.image import ImageError
from minikube_lite.images.reference import Remote
from minikube_lite.images.registry.client import Registries, Repository
from minikube_lite.images.registry.credentials import Keychain
from minikube_lite.images.registry.transport import Timeouts
from minikube_lite.images.source import Descriptor, OffsetNotSupported
from tests.images.registry.evil import Answer, Asked, Evil, evil

MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
MANIFEST = json.dumps({"schemaVersion": 2, "mediaType": MANIFEST_TYPE, "config": {}, "layers": []}).encode()
BLOB = bytes(range(256)) * 4096
DESCRIPTOR = Descriptor("", f"sha256:{hashlib.sha256(BLOB).hexdigest()}", len(BLOB))


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def error(status: int, code: str, message: str = "so it is", **headers: str) -> Answer:
    body = json.dumps({"errors": [{"code": code, "message": message}]}).encode()
    return Answer(status, body, {"Content-Type": "application/json", **headers})


def manifest(data: bytes = MANIFEST, media_type: str = MANIFEST_TYPE, **headers: str) -> Answer:
    return Answer(200, data, {"Content-Type": media_type, **headers})


@pytest.fixture
def server() -> Iterator[Evil]:
    with evil() as server:
        yield server


@pytest.fixture
def app(server: Evil, registries: Registries, remote: Callable[[str], Remote]) -> Repository:
    return registries.repository(remote(f"{server.host}/app:1"))


def message(do: Callable[[], object]) -> str:
    with pytest.raises(ImageError) as caught:
        do()
    assert caught.value.reason == "ErrImagePull"
    assert "\n" not in caught.value.message
    assert caught.value.message.isprintable()
    return caught.value.message


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (error(404, "MANIFEST_UNKNOWN"), "it does not have the manifest `1`; it says `MANIFEST_UNKNOWN: so it is`"),
        (error(404, "NAME_UNKNOWN"), "there is no such repository"),
        (Answer(404), "it does not have the manifest `1`"),
        (error(403, "DENIED"), "denies the manifest `1` without credentials, or there is no such repository (403)"),
        (error(401, "UNAUTHORIZED"), "denies the manifest `1` without credentials"),
        (error(400, "TAG_INVALID"), "it answered 400 when asked for the manifest `1`; it says `TAG_INVALID"),
        (error(400, "X", "\x1b[31mred\nline"), "it says `X: [31mred line`"),
        (Answer(404, b"<!DOCTYPE html><p>no", {"Content-Type": "text/html"}), "the answer is an HTML page"),
        (manifest(b"<html>Please log in</html>", "text/html"), "an HTML page came where the manifest `1` belongs"),
        (manifest(b"<html>Please log in</html>", "application/json"), "an HTML page came"),
        (manifest(b"{"), "is not a JSON object"),
        (manifest(b"[]"), "is not a JSON object"),
        (manifest(b"[" * 1_000_000), "is not a JSON object"),
        (Answer(400, b"[" * 60_000), "it answered 400"),
        (manifest(b""), "is not a JSON object (0 bytes)"),
        (manifest(b'{"schemaVersion": 1}', "application/vnd.docker.distribution.manifest.v1+prettyjws"), "schema 1"),
        (manifest(b'{"schemaVersion": 1}', "application/json"), "schema 1, which is too old"),
        (manifest(MANIFEST + b" " * (5 << 20)), "the manifest `1` is larger than 4.0 MiB"),
        (manifest(**{"Docker-Content-Digest": digest(b"other")}), f"`{digest(b'other')}` it promised"),
        (Answer(302, b"", {"Location": "/v2/app/manifests/1"}), "redirects in a loop (10 times"),
        (Answer(302), "redirects without saying where to"),
        (Answer(302, b"", {"Location": "file:///etc/passwd"}), "no URL: `file:///etc/passwd`"),
        (Answer(302, b"", {"Location": "http://host:99999/"}), "no URL: `http://host:99999/`"),
        (Answer(302, b"", {"Location": "http://[bad/"}), "no URL: `http://[bad/`"),
        (Answer(302, b"", {"Location": "http://a\x1b[31mb/"}), "no URL"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_manifest_that_is_none_says_why(
    server: Evil, app: Repository, answer: Answer, says: str, waits: list[float]
) -> None:
    server.answer = lambda asked: answer
    text = message(lambda: app.manifest(""))
    assert says in text
    assert text.startswith(f"cannot pull `{server.host}/app:1`: {server.host}: ")
    assert waits == [], "what will not be better in a moment is not tried again"


def test_a_redirect_to_nowhere_names_where(server: Evil, app: Repository) -> None:
    server.answer = lambda asked: Answer(302, b"", {"Location": "http://" + "a" * 70 + ".invalid/"})
    assert f"{'a' * 70}.invalid: this cannot be asked for" in message(lambda: app.manifest(""))
    server.answer = lambda asked: Answer(302, b"", {"Location": "http://gone.invalid/"})
    assert "gone.invalid: this name is not known" in message(lambda: app.manifest(""))


def test_a_manifest_with_another_digest_is_refused(server: Evil, app: Repository) -> None:
    server.answer = lambda asked: manifest()
    assert app.manifest(digest(MANIFEST)) == (MANIFEST_TYPE, MANIFEST)
    wanted = digest(b"other")
    assert f"the wrong manifest came: `{wanted}` was asked for, `{digest(MANIFEST)}` is" in message(
        lambda: app.manifest(wanted)
    )


def test_a_manifest_that_says_nothing_of_its_type_is_told_by_what_is_in_it(server: Evil, app: Repository) -> None:
    for body, found in (
        (MANIFEST, MANIFEST_TYPE),
        (b'{"schemaVersion": 2, "layers": []}', MANIFEST_TYPE),
        (b'{"schemaVersion": 2, "manifests": []}', "application/vnd.oci.image.index.v1+json"),
    ):
        server.answer = lambda asked, body=body: manifest(body, "application/json; charset=utf-8")  # type: ignore[misc]
        assert app.manifest("")[0] == found


def test_what_may_work_in_a_moment_is_tried_again_a_few_times(
    server: Evil, app: Repository, waits: list[float]
) -> None:
    answers = [Answer(500), Answer(503), Answer(502, b"<html>Bad Gateway"), manifest()]
    server.answer = lambda asked: answers[len(server.log) - 1]
    assert app.manifest("")[1] == MANIFEST
    assert len(waits) == 3
    assert waits == sorted(waits)
    server.log.clear()
    server.answer = lambda asked: Answer(500, b"oh dear")
    assert "it failed with 500 when asked for the manifest `1`; it says `oh dear`" in message(lambda: app.manifest(""))
    assert len(server.log) == 4


def test_too_many_requests_are_told_with_the_time_to_come_back(
    server: Evil, app: Repository, waits: list[float]
) -> None:
    answers = [error(429, "TOOMANYREQUESTS", **{"Retry-After": "7"}), manifest()]
    server.answer = lambda asked: answers[len(server.log) - 1]
    assert app.manifest("")
    assert waits == [7.0]
    server.log.clear()
    server.answer = lambda asked: error(429, "TOOMANYREQUESTS", "limit reached", **{"Retry-After": "3600"})
    text = message(lambda: app.manifest(""))
    assert "too many requests, try again in 3600 s; it says `TOOMANYREQUESTS: limit reached`" in text
    assert len(server.log) == 1, "nobody waits an hour here"


def test_a_tag_is_looked_up_where_head_is_not_known(server: Evil, app: Repository) -> None:
    server.answer = lambda asked: Answer(405) if asked.method == "HEAD" else manifest()
    assert app.digest_of() == digest(MANIFEST)
    server.answer = lambda asked: Answer(200)  # HEAD without a digest
    server.answer = lambda asked: Answer(200) if asked.method == "HEAD" else manifest()
    assert app.digest_of() == digest(MANIFEST)


# -- blobs -----------------------------------------------------------------------------------------------------------


def ranges(server: Evil) -> list[str]:
    return [asked.headers.get("range", "") for asked in server.asked("GET", "/blobs/")]


def piece(asked: Asked, end: int | None = None) -> Answer:
    """The blob from the Range on, cut off before `end`."""
    begin = int(asked.headers.get("range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))
    headers = {"Content-Range": f"bytes {begin}-{len(BLOB) - 1}/{len(BLOB)}"} if begin else {}
    return Answer(206 if begin else 200, BLOB[begin:end], headers, length=len(BLOB) - begin)


def test_a_download_that_breaks_off_goes_on_where_it_was(server: Evil, app: Repository, waits: list[float]) -> None:
    cuts = [300_000, 300_000, 700_000, None]  # the second gives nothing at all
    server.answer = lambda asked: piece(asked, cuts[len(server.log) - 1])
    assert b"".join(app.blob(DESCRIPTOR)) == BLOB
    assert ranges(server) == ["", "bytes=300000-", "bytes=300000-", "bytes=700000-"]
    assert len(waits) == 3


def test_a_download_from_an_offset_goes_on_too(server: Evil, app: Repository) -> None:
    cuts = [400_000, None]
    server.answer = lambda asked: piece(asked, cuts[len(server.log) - 1])
    assert b"".join(app.blob(DESCRIPTOR, 1000)) == BLOB[1000:]
    assert ranges(server) == ["bytes=1000-", "bytes=400000-"]


def test_a_server_that_gets_overloaded_in_the_middle_is_waited_for(
    server: Evil, app: Repository, waits: list[float]
) -> None:
    steps: list[Callable[[Asked], Answer]] = [
        lambda asked: piece(asked, 300_000),
        lambda asked: error(503, "UNAVAILABLE", **{"Retry-After": "5"}),
        piece,
    ]
    server.answer = lambda asked: steps[len(server.log) - 1](asked)
    assert b"".join(app.blob(DESCRIPTOR)) == BLOB
    assert 5.0 in waits


def test_a_download_that_never_gets_on_is_given_up(server: Evil, app: Repository) -> None:
    server.answer = lambda asked: piece(asked, 300_000)
    got = bytearray()

    def download() -> None:
        for part in app.blob(DESCRIPTOR):
            got.extend(part)

    text = message(download)
    assert "the connection broke off in the middle of the answer" in text
    assert bytes(got) == BLOB[:300_000]
    assert len(server.log) == 6


def test_an_offset_that_is_not_honoured_is_said_before_the_first_byte(server: Evil, app: Repository) -> None:
    server.answer = lambda asked: Answer(200, BLOB)
    with pytest.raises(OffsetNotSupported):
        next(app.blob(DESCRIPTOR, 10))
    assert b"".join(app.blob(DESCRIPTOR)) == BLOB


def test_without_ranges_what_is_known_is_read_over(server: Evil, app: Repository) -> None:
    answers = [Answer(200, BLOB[:300_000], length=len(BLOB)), Answer(200, BLOB)]
    server.answer = lambda asked: answers[len(server.log) - 1]
    assert b"".join(app.blob(DESCRIPTOR)) == BLOB


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (Answer(206, BLOB[5:], {"Content-Range": f"bytes 5-{len(BLOB) - 1}/{len(BLOB)}"}), "where `bytes 1000-`"),
        (Answer(206, BLOB[1000:]), "it sent the piece `` of the blob"),
        (Answer(206, BLOB[1000:], {"Content-Range": "bytes " + "9" * 5000 + "-"}), "it sent the piece `bytes 9999"),
        (Answer(416), "it answered 416"),
        (error(404, "BLOB_UNKNOWN"), f"it does not have the blob {DESCRIPTOR.digest}"),
    ],
)
def test_a_wrong_piece_is_refused(server: Evil, app: Repository, answer: Answer, says: str) -> None:
    server.answer = lambda asked: answer
    assert says in message(lambda: b"".join(app.blob(DESCRIPTOR, 1000)))


def test_a_blob_of_another_size_is_refused(server: Evil, app: Repository) -> None:
    server.answer = lambda asked: Answer(200, BLOB + b"more")
    assert f"has {len(BLOB) + 4} bytes there, {len(BLOB)} in the" in message(lambda: b"".join(app.blob(DESCRIPTOR)))


# -- no answer at all ------------------------------------------------------------------------------------------------


def test_who_does_not_listen_is_told_so(registries: Registries, remote: Callable[[str], Remote]) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{nobody.getsockname()[1]}"
        text = message(lambda: registries.repository(remote(f"{host}/app")).manifest(""))
    assert (
        text
        == f"cannot pull `{host}/app:latest`: {host}: no connection: Connection refused (hint: does the registry run?)"
    )


def test_a_name_that_nobody_has_is_told_so(registries: Registries, remote: Callable[[str], Remote]) -> None:
    text = message(lambda: registries.repository(remote("registry.invalid/app")).manifest(""))
    assert "registry.invalid: this name is not known" in text


def test_who_says_nothing_is_not_waited_for_without_end(
    server: Evil, tmp_path: Path, remote: Callable[[str], Remote], waits: list[float]
) -> None:
    end = threading.Event()
    server.answer = lambda asked: Answer(200, b"{", length=100, pause=end)
    timeouts = Timeouts(connect=5, read=0.2)
    with Registries(None, Keychain(), sleep=waits.append, timeouts=timeouts) as registries:
        text = message(lambda: registries.repository(remote(f"{server.host}/app")).manifest(""))
    end.set()
    assert "it stopped answering" in text


def test_who_drips_is_not_listened_to_without_end(server: Evil, remote: Callable[[str], Remote]) -> None:
    server.answer = lambda asked: manifest()
    hours = iter(range(0, 10_000_000, 3600))
    with Registries(None, Keychain(), sleep=lambda _: None, clock=lambda: float(next(hours))) as registries:
        assert "comes too slowly" in message(lambda: registries.repository(remote(f"{server.host}/app")).manifest(""))


def test_something_that_is_no_http_server_is_told_so(registries: Registries, remote: Callable[[str], Remote]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def hang_up() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                connection.sendall(b"220 mail.example.com ESMTP\r\n")
                connection.close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        host = f"127.0.0.1:{listener.getsockname()[1]}"
        text = message(lambda: registries.repository(remote(f"{host}/app")).manifest(""))
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
    assert "by HTTPS: " in text
    assert "by HTTP: " in text


def test_tags_come_in_pages(server: Evil, app: Repository) -> None:
    def answer(asked: Asked) -> Answer:
        if "last" not in asked.query:
            return Answer(
                200, b'{"tags": ["b", "a"]}', {"Link": '<http://inside/v2/app/tags/list?last=b&n=2>; rel="next"'}
            )
        assert asked.query["last"] == ["b"]
        return Answer(200, b'{"tags": ["c"]}')

    server.answer = answer
    assert app.tags() == ["a", "b", "c"]
    server.answer = lambda asked: Answer(200, b'{"tags": null}')
    assert app.tags() == []
    server.answer = lambda asked: Answer(200, b"[]")
    assert "`tags` is missing" in message(app.tags)
