"""Which credential is for which image: Kubernetes' rule as a table; the files and helpers of `docker login`."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from minikube_lite.images.image import ImageError
from minikube_lite.images.reference import Remote
from minikube_lite.images.registry.credentials import AuthFile, Credential, Keychain, default_keychain, keychain_of


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def document(*keys: str) -> bytes:
    return json.dumps({"auths": {key: {"username": key, "password": "p"} for key in keys}}).encode()


@pytest.mark.parametrize(
    ("keys", "image", "users"),
    [
        (["registry.example.com"], "registry.example.com/a/b", ["registry.example.com"]),
        (["https://registry.example.com"], "registry.example.com/a", ["https://registry.example.com"]),
        (["https://registry.example.com/v2/"], "registry.example.com/a", ["https://registry.example.com/v2/"]),
        (["registry.example.com"], "other.example.com/a", []),
        (["*.example.com"], "registry.example.com/a", ["*.example.com"]),
        (["*.example.com"], "a.b.example.com/a", []),
        (["*.*.example.com"], "a.b.example.com/a", ["*.*.example.com"]),
        (["*.example.com"], "example.com/a", []),
        (["reg*.example.com"], "registry.example.com/a", ["reg*.example.com"]),
        (["*.example.com"], "registry.example.com:5000/a", []),
        (["*.example.com:5000"], "registry.example.com:5000/a", ["*.example.com:5000"]),
        (["r.io/team"], "r.io/team/app", ["r.io/team"]),
        (["r.io/team"], "r.io/other/app", []),
        (["r.io", "r.io/team/app", "r.io/team"], "r.io/team/app", ["r.io/team/app", "r.io/team", "r.io"]),
        (["https://index.docker.io/v1/"], "nginx", ["https://index.docker.io/v1/"]),
        (["docker.io"], "docker.io/library/nginx", ["docker.io"]),
        (["docker.io/team"], "team/app", ["docker.io/team"]),
        (["docker.io/team"], "nginx", []),
        (["localhost:5000"], "localhost:5000/a", ["localhost:5000"]),
        (["[::1]:5000"], "[::1]:5000/a", ["[::1]:5000"]),
        (["r.io:notaport"], "r.io/a", []),
    ],
)
def test_an_entry_matches_an_image_as_kubernetes_has_it(
    keys: list[str], image: str, users: list[str], remote: Callable[[str], Remote]
) -> None:
    found = keychain_of([("secret", document(*keys))]).find(remote(image))
    assert [credential.username for credential in found.credentials] == users
    assert found.searched == ("secret",)


def test_several_documents_are_one_and_come_before_another_keychain(remote: Callable[[str], Remote]) -> None:
    pod = keychain_of([("one", document("r.io")), ("two", document("r.io/team", "r.io"))])
    node = keychain_of([("node", document("r.io/team/app"))])
    found = (pod + node).find(remote("r.io/team/app"))
    assert [(each.username, each.origin) for each in found.credentials] == [
        ("r.io/team", "two"), ("r.io", "one"), ("r.io", "two"), ("r.io/team/app", "node"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("entry", "credential"),
    [
        ({"auth": b64("carol:se:cret")}, Credential("carol", "se:cret", origin="x")),
        ({"auth": b64("carol:secret\0\0")}, Credential("carol", "secret", origin="x")),
        (
            {"username": "carol", "password": "secret", "email": "c@example.com"},
            Credential("carol", "secret", origin="x"),
        ),
        ({"auth": b64("0000:"), "identitytoken": "t"}, Credential("0000", "", "t", origin="x")),
        ({"registrytoken": "t"}, Credential(registry_token="t", origin="x")),
    ],
)
def test_an_entry_says_who_asks_in_several_ways(
    entry: dict[str, str], credential: Credential, remote: Callable[[str], Remote]
) -> None:
    for whole in ({"auths": {"r.io": entry}}, {"r.io": entry}):  # .dockerconfigjson, .dockercfg
        found = keychain_of([("x", json.dumps(whole).encode())]).find(remote("r.io/a"))
        assert found.credentials == (credential,)
    assert "secret" not in repr(credential)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"{", "secret:1:2: this is not JSON"),
        (b"\xff", "secret is not UTF-8"),
        (b"[]", "secret: an object is expected"),
        (b'{"auths": []}', "secret: `auths` must be an object"),
        (b'{"auths": {"r.io": "x"}}', "the entry `r.io` must be an object"),
        (b'{"auths": {"r.io": {"auth": 1}}}', "the entry `r.io` must be an object of texts"),
        (b'{"auths": {"r.io": {"auth": "%"}}}', "`auth` of `r.io` is not base64"),
        (b'{"auths": {"r.io": {"auth": "Y2Fyb2w="}}}', "`auth` of `r.io` is not base64 of `user:password`"),
    ],
)
def test_a_document_that_is_none_says_where(data: bytes, says: str) -> None:
    with pytest.raises(ImageError) as caught:
        keychain_of([("secret", data)])
    assert says in caught.value.message


def helper(directory: Path, name: str, script: str) -> None:
    program = directory / f"docker-credential-{name}"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    directory = tmp_path / "bin"
    directory.mkdir()
    monkeypatch.setenv("PATH", f"{directory}:/usr/bin:/bin")
    return directory


def test_helpers_are_asked_for_their_host_and_the_store_for_all(
    tmp_path: Path, programs: Path, remote: Callable[[str], Remote]
) -> None:
    answer = (
        'read -r server; printf \'{"ServerURL": "%%s", "Username": "%s of %%s", "Secret": "s"}\' "$server" "$server"'
    )
    helper(programs, "cloud", answer % "cloud")
    helper(programs, "store", answer % "store")
    file = tmp_path / "config.json"
    file.write_text(json.dumps({"auths": {"r.io": {}}, "credsStore": "store", "credHelpers": {"c.io": "cloud"}}))
    keychain = Keychain(AuthFile(file))
    assert [each.username for each in keychain.find(remote("r.io/a")).credentials] == ["store of r.io"]
    found = keychain.find(remote("c.io/a")).credentials
    assert [each.username for each in found] == ["cloud of c.io", "store of c.io"]
    assert found[0].origin == f"{file} (docker-credential-cloud)"
    hub = keychain.find(remote("nginx")).credentials
    assert [each.username for each in hub] == ["store of https://index.docker.io/v1/"]


def test_a_helper_may_give_a_refresh_token_or_nothing(
    tmp_path: Path, programs: Path, remote: Callable[[str], Remote]
) -> None:
    helper(programs, "token", 'echo \'{"Username": "<token>", "Secret": "refresh"}\'')
    helper(programs, "empty", "echo credentials not found in native keychain; exit 1")
    file = tmp_path / "config.json"
    file.write_text(json.dumps({"credHelpers": {"t.io": "token", "e.io": "empty"}}))
    (credential,) = Keychain(AuthFile(file)).find(remote("t.io/a")).credentials
    assert (credential.username, credential.identity_token) == ("", "refresh")
    found = Keychain(AuthFile(file)).find(remote("e.io/a"))
    assert (found.credentials, found.problems) == ((), ())


@pytest.mark.parametrize(
    ("name", "script", "says"),
    [
        ("missing", "", "the credential helper `docker-credential-missing` is not in PATH"),
        ("../../bin/sh", "", "`../../bin/sh` is not the name of a credential helper"),
        ("broken", "echo locked >&2; exit 3", "`docker-credential-broken` failed (exit code 3): locked"),
        ("strange", "echo hello", "answered with something else than credentials"),
    ],
)
def test_a_helper_that_cannot_be_asked_is_a_problem_to_be_told(
    tmp_path: Path, programs: Path, remote: Callable[[str], Remote], name: str, script: str, says: str
) -> None:
    if script:
        helper(programs, name, script)
    file = tmp_path / "config.json"
    file.write_text(json.dumps({"auths": {"r.io": {"auth": b64("carol:secret")}}, "credHelpers": {"r.io": name}}))
    found = Keychain(AuthFile(file)).find(remote("r.io/a"))
    assert [credential.username for credential in found.credentials] == ["carol"], "what else there is, is used"
    assert says in found.problems[0]
    assert str(file) in found.problems[0]


def test_the_files_are_looked_for_where_docker_and_podman_put_them(
    tmp_path: Path, remote: Callable[[str], Remote]
) -> None:
    def searched(**environment: str) -> tuple[str, ...]:
        return default_keychain(environment).find(remote("r.io/a")).searched

    home = str(tmp_path)
    assert searched(HOME=home) == (f"{home}/.docker/config.json", f"{home}/.config/containers/auth.json")
    assert searched(HOME=home, DOCKER_CONFIG="/d")[0] == "/d/config.json"
    assert searched(HOME=home, XDG_RUNTIME_DIR="/run/user/1")[0] == "/run/user/1/containers/auth.json"
    assert searched(HOME=home, REGISTRY_AUTH_FILE="/a.json") == ("/a.json", f"{home}/.docker/config.json")
    (tmp_path / ".docker").mkdir()
    (tmp_path / ".docker/config.json").write_text(json.dumps({"auths": {"r.io": {"auth": b64("carol:secret")}}}))
    (credential,) = default_keychain({"HOME": home}).find(remote("r.io/a")).credentials
    assert str(credential) == f"`carol` of {home}/.docker/config.json"


def test_a_login_after_the_start_is_seen(tmp_path: Path, remote: Callable[[str], Remote]) -> None:
    keychain = Keychain(AuthFile(tmp_path / "config.json"))
    assert keychain.find(remote("r.io/a")).credentials == ()
    (tmp_path / "config.json").write_text(json.dumps({"auths": {"r.io": {"auth": b64("carol:secret")}}}))
    assert len(keychain.find(remote("r.io/a")).credentials) == 1
