"""TLS, passwords, mirrors and plain HTTP: against docker-registry with a certificate and with htpasswd, and others."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from minikube_lite.images.image import ImageError
from minikube_lite.images.reference import Remote
from minikube_lite.images.registry.client import Registries
from minikube_lite.images.registry.credentials import Keychain, keychain_of
from minikube_lite.images.registry.push import push
from minikube_lite.images.source import Descriptor
from tests.images.registry import certificates
from tests.images.registry.certificates import Certificates
from tests.images.registry.docker_registry import HTPASSWD, PASSWORD, USER, DockerRegistry, skopeo
from tests.images.registry.evil import Answer, evil
from tests.images.registry.layouts import Layout
from tests.images.registry.test_push import LayoutSource

MANIFEST = b'{"schemaVersion": 2, "layers": []}'
BLOB = bytes(range(256)) * 1000
DESCRIPTOR = Descriptor("", f"sha256:{hashlib.sha256(BLOB).hexdigest()}", len(BLOB))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return certificates.make(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory, made: Certificates) -> Iterator[DockerRegistry]:
    """A docker-registry that speaks TLS and lets one user in."""
    directory = tmp_path_factory.mktemp("guarded")
    (directory / "htpasswd").write_text(HTPASSWD)
    registry = DockerRegistry(directory / "storage")
    registry.settings["auth"] = {"htpasswd": {"realm": "tests", "path": str(directory / "htpasswd")}}
    registry.settings["http"]["tls"] = {"certificate": str(made.certificate), "key": str(made.key)}
    with registry.running(directory):
        yield registry


def configure(directory: Path, **hosts: object) -> None:
    (directory / "registries.yaml").write_text(json.dumps({"registries": hosts}))


def login(host: str, user: str = USER, password: str = PASSWORD) -> Keychain:
    return keychain_of(
        [("the secret", json.dumps({"auths": {host: {"username": user, "password": password}}}).encode())]
    )


def message(do: Callable[[], object]) -> str:
    with pytest.raises(ImageError) as caught:
        do()
    return caught.value.message


def test_a_guarded_registry_over_tls_both_ways(
    guarded: DockerRegistry, made: Certificates, layout: Layout, registries: Registries,
    remote: Callable[[str], Remote], tmp_path: Path,
) -> None:  # fmt: skip
    host = guarded.host
    configure(tmp_path, **{host: {"ca": str(made.ca)}})
    (tmp_path / "certs").mkdir()
    (tmp_path / "certs/ca.crt").write_bytes(made.ca.read_bytes())
    ours = registries.repository(remote(f"{host}/team/ours:1"), login(host))
    digest = push(LayoutSource(layout), ours, "one")
    asks = ("--creds", f"{USER}:{PASSWORD}", "--cert-dir", str(tmp_path / "certs"))
    assert skopeo("inspect", *asks, "--format", "{{.Digest}}", f"docker://{host}/team/ours:1").strip() == digest
    to = ("--dest-creds", f"{USER}:{PASSWORD}", "--dest-cert-dir", str(tmp_path / "certs"))
    skopeo("copy", "-q", *to, f"oci:{layout.root}:one", f"docker://{host}/team/theirs:1")
    theirs = registries.repository(remote(f"{host}/team/theirs:1"), login(host))
    assert theirs.digest_of() == digest
    for part in json.loads(theirs.manifest("")[1])["layers"]:
        assert b"".join(theirs.blob(Descriptor("", part["digest"], part["size"]))) == layout.read(part["digest"])


def test_a_guarded_registry_says_who_was_refused(
    guarded: DockerRegistry, made: Certificates, registries: Registries, remote: Callable[[str], Remote], tmp_path: Path
) -> None:
    host = guarded.host
    configure(tmp_path, **{host: {"ca": str(made.ca)}})
    nobody = registries.repository(remote(f"{host}/a"))
    assert "it denies the manifest `latest` without credentials" in message(lambda: nobody.manifest(""))
    wrong = registries.repository(remote(f"{host}/a"), login(host, password="wrong"))
    text = message(lambda: wrong.manifest(""))
    assert f"{host}: it denies the manifest `latest` to `{USER}` of the secret (401)" in text
    assert f"hint: `docker login {host}`" in text


def test_a_certificate_of_nobody_known_is_refused_unless_loopback_or_told(
    made: Certificates, registries: Registries, remote: Callable[[str], Remote], tmp_path: Path, waits: list[float]
) -> None:
    with evil(lambda asked: Answer(200, MANIFEST), made.server()) as server:
        name = f"{server.host}/app"
        configure(tmp_path, **{server.host: {"insecure": False}})
        text = message(lambda: registries.repository(remote(name)).manifest(""))
        assert "its certificate is not trusted: unable to get local issuer certificate" in text
        assert "name its authority with `ca`, or say `insecure: true`" in text
        assert waits == []
        assert server.log == []
        for settings in ({"ca": str(made.ca)}, {"insecure": True}, {}):
            configure(tmp_path, **{server.host: settings})
            assert registries.repository(remote(name)).manifest("")[1] == MANIFEST


def test_an_authority_that_cannot_be_used_is_named(
    registries: Registries, remote: Callable[[str], Remote], tmp_path: Path
) -> None:
    (tmp_path / "ca.pem").write_text("no certificate")
    configure(tmp_path, **{"r.example.com": {"ca": "ca.pem"}})
    text = message(lambda: registries.repository(remote("r.example.com/a")).manifest(""))
    assert f"cannot use its `ca` `{tmp_path}/ca.pem`" in text


def test_plain_http_where_it_was_not_allowed_is_told(
    registries: Registries, remote: Callable[[str], Remote], tmp_path: Path
) -> None:
    with evil(lambda asked: Answer(200, MANIFEST)) as server:
        configure(tmp_path, **{server.host: {"insecure": False}})
        text = message(lambda: registries.repository(remote(f"{server.host}/app")).manifest(""))
        assert "it speaks no TLS (hint: if it speaks plain HTTP, say `insecure: true`" in text
        assert server.log == []


def test_a_redirect_from_tls_to_plain_http_is_not_followed(
    made: Certificates, registries: Registries, remote: Callable[[str], Remote], tmp_path: Path
) -> None:
    to = {"Location": "http://storage.example.com/blob"}
    with evil(lambda asked: Answer(307, b"", to), made.server()) as server:
        configure(tmp_path, **{server.host: {"ca": str(made.ca)}})
        text = message(lambda: registries.repository(remote(f"{server.host}/app")).manifest(""))
        assert "it redirects from HTTPS to plain HTTP at `storage.example.com`" in text


def test_mirrors_are_asked_first_and_in_their_order(
    registries: Registries, remote: Callable[[str], Remote], tmp_path: Path
) -> None:
    with evil(lambda asked: Answer(404)) as first, evil(lambda asked: Answer(200, MANIFEST)) as second:
        configure(tmp_path, **{"registry.invalid": {"mirrors": [f"http://{first.host}", f"{second.host}/proxy"]}})
        assert registries.repository(remote("registry.invalid/team/app")).manifest("")[1] == MANIFEST
        assert [asked.path for asked in first.log] == ["/v2/team/app/manifests/latest"]
        assert [asked.path for asked in second.log] == ["/v2/proxy/team/app/manifests/latest"]
        assert second.log[0].query["ns"] == ["registry.invalid"]


def test_behind_mirrors_that_fail_there_is_the_registry_itself_and_all_say_why(
    registries: Registries, remote: Callable[[str], Remote], tmp_path: Path
) -> None:
    with evil(lambda asked: Answer(403)) as mirror, evil(lambda asked: Answer(200, MANIFEST)) as origin:
        configure(tmp_path, **{origin.host: {"mirrors": [mirror.host]}})
        app = registries.repository(remote(f"{origin.host}/app"), login(origin.host))
        assert app.manifest("")[1] == MANIFEST
        assert not [asked for asked in mirror.log if "authorization" in asked.headers], "not the origin's credentials"
        origin.answer = lambda asked: Answer(404)
        text = message(lambda: app.manifest(""))
        assert (
            f"{origin.host}: it does not have the manifest `latest` (before it, mirror {mirror.host}: it denies" in text
        )


def test_a_mirror_that_cannot_be_reached_is_asked_once(
    registries: Registries, remote: Callable[[str], Remote], tmp_path: Path
) -> None:
    with evil(lambda asked: Answer(200, MANIFEST if "manifests" in asked.path else BLOB)) as origin:
        configure(tmp_path, **{origin.host: {"mirrors": ["mirror.invalid"]}})
        app = registries.repository(remote(f"{origin.host}/app"))
        assert app.manifest("")[1] == MANIFEST
        assert app._useful() == [app.origin]
        assert b"".join(app.blob(DESCRIPTOR)) == BLOB


def test_what_a_mirror_begins_the_registry_ends(
    registries: Registries, remote: Callable[[str], Remote], tmp_path: Path
) -> None:
    def rest(asked: object) -> Answer:
        return Answer(206, BLOB[1000:], {"Content-Range": f"bytes 1000-{len(BLOB) - 1}/{len(BLOB)}"})

    answers = [Answer(200, BLOB[:1000], length=len(BLOB)), Answer(404)]
    with evil(lambda asked: answers[len(mirror.log) - 1]) as mirror, evil(rest) as origin:
        configure(tmp_path, **{origin.host: {"mirrors": [mirror.host]}})
        assert b"".join(registries.repository(remote(f"{origin.host}/app")).blob(DESCRIPTOR)) == BLOB
        assert [asked.headers["range"] for asked in origin.log] == ["bytes=1000-"]


def test_a_mirror_with_a_false_blob_is_not_asked_for_it_again(
    registries: Registries, remote: Callable[[str], Remote], tmp_path: Path
) -> None:
    with evil(lambda asked: Answer(200, b"x" * len(BLOB))) as mirror, evil(lambda asked: Answer(200, BLOB)) as origin:
        configure(tmp_path, **{origin.host: {"mirrors": [mirror.host]}})
        app = registries.repository(remote(f"{origin.host}/app"))
        assert f"{mirror.host}: the mirror's blob {DESCRIPTOR.digest} has another content" in message(
            lambda: b"".join(app.blob(DESCRIPTOR))
        )
        assert b"".join(app.blob(DESCRIPTOR)) == BLOB
        assert len(mirror.log) == 1


def test_a_changed_configuration_is_used_and_a_wrong_one_told(
    registries: Registries, remote: Callable[[str], Remote], tmp_path: Path
) -> None:
    with evil(lambda asked: Answer(200, MANIFEST)) as server:
        name = f"{server.host}/app"
        assert registries.repository(remote(name)).manifest("")
        (tmp_path / "registries.yaml").write_text("registries:\n  a.io: {insecur: true}\n")
        text = message(lambda: registries.repository(remote(name)))
        assert text.startswith(f"{tmp_path}/registries.yaml:2:10: registries.a.io.insecur: unknown field")
        os.unlink(tmp_path / "registries.yaml")
        assert registries.repository(remote(name)).manifest("")


def test_a_proxy_of_the_environment_is_used_but_not_for_this_machine(
    registries: Registries, remote: Callable[[str], Remote], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with evil(lambda asked: Answer(200, MANIFEST)) as proxy, evil(lambda asked: Answer(200, MANIFEST)) as local:
        monkeypatch.setenv("http_proxy", f"http://{proxy.host}")
        monkeypatch.setenv("https_proxy", "http://127.0.0.1:1")
        configure(tmp_path, **{"registry.invalid": {"mirrors": ["http://mirror.invalid"]}})
        assert registries.repository(remote("registry.invalid/app")).manifest("")
        assert proxy.log[0].headers["host"] == "mirror.invalid"
        assert registries.repository(remote(f"{local.host}/app")).manifest("")
        assert len(proxy.log) == 1
        text = message(lambda: registries.repository(remote("other.invalid/app")).manifest(""))
        assert "the proxy cannot be used: Connection refused (hint: see HTTPS_PROXY)" in text
