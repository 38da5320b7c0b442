"""Who may have what: tokens, passwords, refresh tokens; to whom they are shown, and to whom never."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import parse_qs

import pytest

from minikube_lite.images.image import ImageError
from minikube_lite.images.reference import Remote
from minikube_lite.images.registry.challenge import Challenge, parse
from minikube_lite.images.registry.client import Registries
from minikube_lite.images.registry.credentials import Keychain, keychain_of
from minikube_lite.images.source import Descriptor
from tests.images.registry.evil import Answer, Asked, Evil, evil

MANIFEST = b'{"schemaVersion": 2, "layers": []}'
BLOB = b"blob"
DESCRIPTOR = Descriptor("", f"sha256:{hashlib.sha256(BLOB).hexdigest()}", len(BLOB))


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


class Issuer:
    """A registry with a token endpoint, on one server: who may have a token, and which are good."""

    def __init__(self, server: Evil) -> None:
        self.server = server
        self.allowed = {""}
        """Values of Authorization at the token endpoint."""
        self.refresh: set[str] = set()
        """Refresh tokens that are good."""
        self.good: set[str] = set()
        self.lifetime = 300
        self.realm = f"http://{server.host}/token"
        self.issued = 0
        self.lock = threading.Lock()
        server.answer = self.answer

    def answer(self, asked: Asked) -> Answer:
        if asked.path == "/token":
            return self.token(asked)
        if asked.headers.get("authorization", "").removeprefix("Bearer ") not in self.good:
            name = asked.path.removeprefix("/v2/").partition("/")[0]
            challenge = f'Bearer realm="{self.realm}",service="the registry",scope="repository:{name}:pull"'
            return Answer(401, b'{"errors": [{"code": "UNAUTHORIZED"}]}', {"WWW-Authenticate": challenge})
        return Answer(200, MANIFEST if "/manifests/" in asked.path else BLOB)

    def token(self, asked: Asked) -> Answer:
        form = parse_qs(asked.body.decode()) if asked.method == "POST" else asked.query
        assert form["service"] == ["the registry"]
        ok = (
            form["refresh_token"][0] in self.refresh
            if asked.method == "POST"
            else asked.headers.get("authorization", "") in self.allowed
        )
        if not ok:
            return Answer(401, b'{"errors": [{"code": "UNAUTHORIZED", "message": "incorrect"}]}')
        with self.lock:
            self.issued += 1
            token = f"token-{self.issued}"
            self.good.add(token)
        return Answer(200, json.dumps({"token": token, "expires_in": self.lifetime}).encode())


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with evil() as server:
        yield Issuer(server)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def anonymous(clock: Clock) -> Iterator[Registries]:
    with Registries(None, Keychain(), clock=clock, sleep=lambda _: None) as registries:
        yield registries


def keys(host: str, **entry: str) -> Keychain:
    return keychain_of([("the secret", json.dumps({"auths": {host: entry}}).encode())])


def message(do: Callable[[], object]) -> str:
    with pytest.raises(ImageError) as caught:
        do()
    return caught.value.message


def test_without_credentials_a_token_is_got_once_and_used_until_shortly_before_its_end(
    issuer: Issuer, anonymous: Registries, remote: Callable[[str], Remote], clock: Clock
) -> None:
    app = anonymous.repository(remote(f"{issuer.server.host}/app"))
    assert app.manifest("")[1] == MANIFEST
    assert app.manifest("")[1] == MANIFEST
    assert anonymous.repository(remote(f"{issuer.server.host}/app")).manifest("")
    assert [asked.path for asked in issuer.server.log].count("/token") == 1
    assert issuer.server.asked(contains="/token")[0].query["scope"] == ["repository:app:pull"]
    assert len(issuer.server.asked(contains="/manifests/")) == 4, "the first was challenged"
    clock.now = 295
    assert app.manifest("")
    assert issuer.issued == 2


def test_a_token_that_was_withdrawn_is_got_anew(
    issuer: Issuer, anonymous: Registries, remote: Callable[[str], Remote]
) -> None:
    app = anonymous.repository(remote(f"{issuer.server.host}/app"))
    assert app.manifest("")
    issuer.good.clear()
    assert app.manifest("")
    assert issuer.issued == 2


def test_a_token_that_is_not_enough_is_not_got_again(
    issuer: Issuer, anonymous: Registries, remote: Callable[[str], Remote]
) -> None:
    given = issuer.token
    issuer.token = lambda asked: (given(asked), issuer.good.clear())[0]  # type: ignore[method-assign, func-returns-value]
    app = anonymous.repository(remote(f"{issuer.server.host}/private"))
    for tokens in (1, 2):
        text = message(lambda: app.manifest(""))
        assert "denies the manifest `latest` without credentials, or there is no such repository (401)" in text
        assert "it says `UNAUTHORIZED`" in text
        assert issuer.issued == tokens


def test_another_repository_needs_another_token(
    issuer: Issuer, anonymous: Registries, remote: Callable[[str], Remote]
) -> None:
    for name in ("app", "other"):
        assert anonymous.repository(remote(f"{issuer.server.host}/{name}")).manifest("")
    assert issuer.issued == 2


def test_many_threads_get_one_token(issuer: Issuer, anonymous: Registries, remote: Callable[[str], Remote]) -> None:
    app = anonymous.repository(remote(f"{issuer.server.host}/app"))
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda _: app.manifest("")[1], range(32))) == {MANIFEST}
    assert issuer.issued == 1


def test_a_password_is_shown_to_the_token_endpoint_and_to_nobody_else(
    issuer: Issuer, anonymous: Registries, remote: Callable[[str], Remote]
) -> None:
    issuer.allowed = {basic("carol", "secret")}
    host = issuer.server.host
    app = anonymous.repository(remote(f"{host}/app"), keys(host, username="carol", password="secret"))
    assert app.manifest("")
    shown = {asked.path for asked in issuer.server.log if "Basic" in asked.headers.get("authorization", "")}
    assert shown == {"/token"}


def test_one_s_token_is_not_another_s(issuer: Issuer, anonymous: Registries, remote: Callable[[str], Remote]) -> None:
    issuer.allowed = {basic("carol", "secret")}
    host = issuer.server.host
    assert anonymous.repository(remote(f"{host}/app"), keys(host, username="carol", password="secret")).manifest("")
    text = message(lambda: anonymous.repository(remote(f"{host}/app")).manifest(""))
    assert "denies the manifest `latest` without credentials" in text
    wrong = keys(host, username="carol", password="wrong")
    text = message(lambda: anonymous.repository(remote(f"{host}/app"), wrong).manifest(""))
    assert f"{host}: it denies the manifest `latest` to `carol` of the secret (401)" in text
    assert "it says `UNAUTHORIZED: incorrect`" in text
    assert "wrong" not in text, "a password is nobody's business"


def test_a_refresh_token_is_posted_and_the_new_one_it_gives_is_used(
    issuer: Issuer, anonymous: Registries, remote: Callable[[str], Remote], clock: Clock
) -> None:
    issuer.refresh = {"first"}
    host = issuer.server.host
    original = issuer.token

    def token(asked: Asked) -> Answer:
        answer = original(asked)
        if answer.status == 200:
            issuer.refresh = {"second"}
            return Answer(200, json.dumps({**json.loads(answer.body), "refresh_token": "second"}).encode())
        return answer

    issuer.token = token  # type: ignore[method-assign]
    app = anonymous.repository(remote(f"{host}/app"), keys(host, username="carol", identitytoken="first"))
    assert app.manifest("")
    clock.now = 1000
    issuer.good.clear()
    assert app.manifest("")
    posts = [parse_qs(asked.body.decode()) for asked in issuer.server.asked("POST", "/token")]
    assert [post["refresh_token"] for post in posts] == [["first"], ["second"]]
    assert posts[0]["grant_type"] == ["refresh_token"]
    assert posts[0]["scope"] == ["repository:app:pull"]


def test_a_bearer_token_of_the_configuration_is_sent_as_it_is(
    issuer: Issuer, anonymous: Registries, remote: Callable[[str], Remote]
) -> None:
    issuer.good = {"mine"}
    host = issuer.server.host
    assert anonymous.repository(remote(f"{host}/app"), keys(host, registrytoken="mine")).manifest("")
    assert issuer.issued == 0
    issuer.good.clear()
    text = message(lambda: anonymous.repository(remote(f"{host}/app"), keys(host, registrytoken="mine")).manifest(""))
    assert "denies the manifest `latest` to the token of the secret" in text


def test_of_several_credentials_each_is_tried_and_the_good_one_remembered(
    issuer: Issuer, anonymous: Registries, remote: Callable[[str], Remote]
) -> None:
    issuer.allowed = {basic("carol", "secret")}
    host = issuer.server.host
    both = keys(f"{host}/app", username="old", password="expired") + keys(host, username="carol", password="secret")
    app = anonymous.repository(remote(f"{host}/app"), both)
    assert app.manifest("")
    assert b"".join(app.blob(DESCRIPTOR)) == BLOB
    assert len(issuer.server.asked(contains="/token")) == 2
    none = keys(f"{host}/app", username="old", password="expired") + keys(host, username="dave", password="secret")
    text = message(lambda: anonymous.repository(remote(f"{host}/app"), none).manifest(""))
    assert "to `old` of the secret, `dave` of the secret (401)" in text


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (Answer(200, b"<html>Log in</html>"), "an HTML page came where a token belongs"),
        (Answer(200, b"{}"), "its answer to the question for a token holds none"),
        (Answer(200, b"[]"), "its answer to the question for a token holds none"),
        (Answer(200, b'{"token": "x", "expires_in": "soon"}'), "holds none"),
        (Answer(404, b"nothing here"), "it does not have a token; it says `nothing here`"),
        (Answer(200, b'{"token": "a\\nX-Evil: b"}'), "the token that it gives cannot be sent in a header"),
    ],
)
def test_a_token_endpoint_that_gives_none_is_named(
    issuer: Issuer, anonymous: Registries, remote: Callable[[str], Remote], answer: Answer, says: str
) -> None:
    issuer.token = lambda asked: answer  # type: ignore[method-assign]
    text = message(lambda: anonymous.repository(remote(f"{issuer.server.host}/app")).manifest(""))
    assert says in text


@pytest.mark.parametrize("realm", ["ftp://a/b", "http://[bad/token", "https://a:99999/", "https://"])
def test_a_realm_that_is_no_url_is_told(
    issuer: Issuer, anonymous: Registries, remote: Callable[[str], Remote], realm: str
) -> None:
    issuer.realm = realm
    text = message(lambda: anonymous.repository(remote(f"{issuer.server.host}/app")).manifest(""))
    assert f"the realm it names for tokens is not a URL: `{realm}`" in text


def test_a_password_does_not_go_over_plain_http_to_a_host_that_is_not_trusted_with_it(
    issuer: Issuer, anonymous: Registries, remote: Callable[[str], Remote]
) -> None:
    issuer.realm = "http://tokens.example.com/token"
    host = issuer.server.host
    app = anonymous.repository(remote(f"{host}/app"), keys(host, username="carol", password="secret"))
    assert "wants the credentials to go to `tokens.example.com` by plain HTTP" in message(lambda: app.manifest(""))


def test_basic_is_sent_when_it_was_asked_for_and_from_then_on(
    anonymous: Registries, remote: Callable[[str], Remote]
) -> None:
    def answer(asked: Asked) -> Answer:
        if asked.headers.get("authorization") == basic("carol", "secret"):
            return Answer(200, MANIFEST)
        return Answer(401, b"", {"WWW-Authenticate": 'Basic realm="here"'})

    with evil(answer) as server:
        carol = keys(server.host, auth=base64.b64encode(b"carol:secret").decode())
        app = anonymous.repository(remote(f"{server.host}/app"), carol)
        assert app.manifest("")
        assert app.manifest("")
        assert [bool(asked.headers.get("authorization")) for asked in server.log] == [False, True, True]
        wrong = anonymous.repository(remote(f"{server.host}/app"), keys(server.host, username="carol", password="x"))
        assert "to `carol` of the secret (401)" in message(lambda: wrong.manifest(""))
        assert "without credentials" in message(lambda: anonymous.repository(remote(f"{server.host}/a")).manifest(""))


def test_who_is_redirected_to_another_host_does_not_show_it_who_asks(
    issuer: Issuer, anonymous: Registries, remote: Callable[[str], Remote]
) -> None:
    host = issuer.server.host
    with evil(lambda asked: Answer(200, BLOB)) as storage:

        def answer(asked: Asked) -> Answer:
            found = issuer.answer(asked)
            if found.status == 200 and "/blobs/" in asked.path and "again" not in asked.query:
                return Answer(307, b"", {"Location": f"{asked.path}?again=1"})
            if found.status == 200 and "/blobs/" in asked.path:
                return Answer(307, b"", {"Location": f"http://{storage.host}/bucket/blob?signature=x"})
            return found

        issuer.server.answer = answer
        issuer.allowed = {basic("carol", "secret")}
        app = anonymous.repository(remote(f"{host}/app"), keys(host, username="carol", password="secret"))
        assert b"".join(app.blob(DESCRIPTOR)) == BLOB
        assert [asked.path for asked in storage.log] == ["/bucket/blob"]
        assert not [asked for asked in storage.log if "authorization" in asked.headers]
        again = [asked for asked in issuer.server.log if "again" in asked.query]
        assert again[0].headers["authorization"].startswith("Bearer "), "the same host is the same host"
        # From the storage on nothing comes back to the registry.
        storage.answer = lambda asked: Answer(403, b"<Error><Code>AccessDenied</Code></Error>")
        text = message(lambda: b"".join(app.blob(DESCRIPTOR)))
        assert f"{storage.host}: access to the blob {DESCRIPTOR.digest} is denied (403)" in text


def test_a_range_goes_along_when_redirected(anonymous: Registries, remote: Callable[[str], Remote]) -> None:
    def storage(asked: Asked) -> Answer:
        assert asked.headers["range"] == "bytes=1-"
        return Answer(206, BLOB[1:], {"Content-Range": "bytes 1-3/4"})

    with evil(storage) as far, evil(lambda asked: Answer(307, b"", {"Location": f"http://{far.host}/x"})) as near:
        assert b"".join(anonymous.repository(remote(f"{near.host}/app")).blob(DESCRIPTOR, 1)) == b"lob"


def test_what_could_not_be_used_is_told_when_it_was_needed(
    issuer: Issuer, remote: Callable[[str], Remote], tmp_path: Path
) -> None:
    from minikube_lite.images.registry.credentials import AuthFile

    (tmp_path / "config.json").write_text('{\n "auths": oops}')
    with Registries(None, Keychain(AuthFile(tmp_path / "config.json"))) as registries:
        app = registries.repository(remote(f"{issuer.server.host}/app"))
        assert app.manifest(""), "a public image needs none"
        issuer.allowed = set()
        issuer.good.clear()
        text = message(lambda: app.manifest(""))
    assert f"{tmp_path}/config.json:2:11: this is not JSON" in text
    assert f"looked for credentials in: {tmp_path}/config.json" in text


@pytest.mark.parametrize(
    ("headers", "challenges"),
    [
        ([], ()),
        (["Basic"], (Challenge("basic"),)),
        (['BASIC realm="a b"'], (Challenge("basic", {"realm": "a b"}),)),
        (
            ['Bearer realm="https://a/t",service=s, scope="repository:a:pull,push", Basic realm="x"'],
            (
                Challenge("bearer", {"realm": "https://a/t", "service": "s", "scope": "repository:a:pull,push"}),
                Challenge("basic", {"realm": "x"}),
            ),
        ),
        (["Negotiate", r'Bearer realm="a\"b"'], (Challenge("negotiate"), Challenge("bearer", {"realm": 'a"b'}))),
        (["Bearer realm=https://a/t"], (Challenge("bearer", {"realm": "https://a/t"}),)),
        (["=;="], ()),
    ],
)
def test_a_challenge_is_read_as_the_rfc_has_it(headers: list[str], challenges: tuple[Challenge, ...]) -> None:
    assert parse(headers) == challenges
