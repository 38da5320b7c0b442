"""A ConfigMap or Secret is read as an API server would take it, or is wrong at a line, a column and a field."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from minikube_lite.spec.configs import MAX_BYTES, Config, forbidden_changes
from minikube_lite.spec.manifest import Document
from tests.spec.agreement import read_both_ways
from tests.spec.test_objects import SHAPES

CONFIG_MAP = """\
apiVersion: v1
kind: ConfigMap
metadata:
  name: conf
data:
  port: "8080"
  app.conf: |
    a=1
binaryData:
  logo.bin: AAH/
"""
SECRET = """\
apiVersion: v1
kind: Secret
metadata:
  name: keys
  labels: {app: web}
data:
  user: YWRtaW4=
  both: b2xk
stringData:
  both: new
"""
HIDDEN = "hunter2-hunter2"


def read(text: str) -> Document:
    (document,) = read_both_ways(text.encode(), "conf.yaml").documents
    return document


def config(text: str) -> Config:
    found = read(text)
    assert found.problems == ()
    assert found.config is not None
    return found.config


def test_a_config_map_has_its_text_and_its_bytes() -> None:
    found = config(CONFIG_MAP)
    assert (found.kind, found.key, found.id) == ("ConfigMap", "default/conf", "ConfigMap/default/conf")
    assert found.data == {"port": b"8080", "app.conf": b"a=1\n", "logo.bin": b"\0\1\xff"}
    assert found.binary == {"logo.bin"}
    assert not found.immutable


def test_a_secret_has_its_data_with_string_data_over_it() -> None:
    found = config(SECRET)
    assert found.id == "Secret/default/keys"
    assert found.data == {"user": b"admin", "both": b"new"}
    assert (found.type, found.labels) == ("Opaque", {"app": "web"})


def test_what_is_given_out_is_what_an_api_server_gives_out() -> None:
    assert config(CONFIG_MAP).to_json() == {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "conf", "namespace": "default"},
        "data": {"app.conf": "a=1\n", "port": "8080"},
        "binaryData": {"logo.bin": "AAH/"},
    }
    assert config(SECRET + "immutable: true\n").to_json() == {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "keys", "namespace": "default", "labels": {"app": "web"}},
        "data": {"both": "bmV3", "user": "YWRtaW4="},
        "type": "Opaque",
        "immutable": True,
    }


def test_nulls_and_nothing_at_all_are_well() -> None:
    assert config("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata:\n").data == {}
    assert config("apiVersion: v1\nkind: Secret\nmetadata: {name: a}\ndata: {k: }\ntype: ''\n").data == {"k": b""}


def test_base64_may_be_broken_into_lines() -> None:
    text = json.dumps(
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}, "data": {"k": "YWRt\r\naW4=\n"}}
    )
    assert config(text).data == {"k": b"admin"}


# (from, old text, new text, line, column, field, words of the message)
WRONG = [
    (CONFIG_MAP, '"8080"', "8080", 6, 9, "data.port", "must be a string, found the number 8080"),
    (CONFIG_MAP, "port", "po/rt", 6, 3, "data[po/rt]", "a valid config key must consist of alphanumeric characters"),
    (CONFIG_MAP, "port", "'..'", 6, 3, "data[..]", "must not be '..'"),
    (CONFIG_MAP, "port", ".", 6, 3, "data[.]", "must not be '.'"),
    (CONFIG_MAP, "port", "..data", 6, 3, "data[..data]", "must not start with '..'"),
    (CONFIG_MAP, "port", "k" * 254, 6, 3, "data." + "k" * 254, "must be no more than 253 characters"),
    (CONFIG_MAP, "port", "logo.bin", 6, 3, "data[logo.bin]", "duplicate of key present in binaryData"),
    (CONFIG_MAP, "AAH/", "AAH", 10, 13, "binaryData[logo.bin]", "illegal base64 data at input byte 3"),
    (CONFIG_MAP, "\ndata:", "\ndta:", 5, 1, "dta", 'unknown field "dta"'),
    (CONFIG_MAP, "\ndata:", "\nstringData: {}\ndata:", 5, 1, "stringData", 'unknown field "stringData"'),
    (CONFIG_MAP, "name: conf", "name: Conf", 4, 9, "metadata.name", "a lowercase RFC 1123 subdomain"),
    (CONFIG_MAP, "name: conf", "labels: {}", 4, 3, "metadata.name", "Required value: name is required"),
    (CONFIG_MAP, "\ndata:", "\nimmutable: 'yes'\ndata:", 5, 12, "immutable", "expected true or false"),
    (SECRET, "YWRtaW4=", "admin!", 7, 9, "data.user", "illegal base64 data at input byte 5"),
    (SECRET, "YWRtaW4=", f"{HIDDEN}", 7, 9, "data.user", "illegal base64 data at input byte 7"),
    (SECRET, "YWRtaW4=", "pässword", 7, 9, "data.user", "illegal base64 data at input byte 1"),
    (SECRET, "YWRtaW4=", "YQ=a", 7, 9, "data.user", "illegal base64 data at input byte 2"),
    (SECRET, "YWRtaW4=", "Y===", 7, 9, "data.user", "illegal base64 data at input byte 1"),
    (SECRET, "new", "12345678", 10, 9, "stringData.both", "must be a string"),
    (SECRET, "new", "[x]", 10, 9, "stringData.both", "expected a string, found a list"),
    (SECRET, "user", "us er", 7, 3, "data[us er]", "a valid config key must consist of alphanumeric characters"),
]


@pytest.mark.parametrize(("whole", "old", "new", "line", "column", "field", "words"), WRONG)
def test_what_is_wrong_is_said_with_line_column_and_field(
    whole: str, old: str, new: str, line: int, column: int, field: str, words: str
) -> None:
    assert old in whole
    (problem, *_) = read(whole.replace(old, new, 1)).problems
    assert (problem.source, problem.line, problem.column, problem.field) == ("conf.yaml", line, column, field)
    assert words in problem.message


@pytest.mark.parametrize(
    "text",
    [
        SECRET.replace("YWRtaW4=", HIDDEN),
        SECRET.replace("new", "[hunter2]"),
        SECRET.replace("both: new", "both: 271828182845"),
        SECRET + "type: kubernetes.io/dockerconfigjson\n" + f"  .dockerconfigjson: {HIDDEN}\n",
        SECRET.replace("  both: new", f"  .dockerconfigjson: {HIDDEN}\ntype: kubernetes.io/dockerconfigjson"),
    ],
)
def test_no_message_holds_what_a_secret_holds(text: str) -> None:
    document = read(text)
    assert document.problems or document.config
    said = "\n".join(map(str, document.problems)) + repr(document.config)
    assert "hunter2" not in said
    assert "271828" not in said


TYPES = {
    "kubernetes.io/tls": ["data[tls.crt]", "data[tls.key]"],
    "kubernetes.io/ssh-auth": ["data.ssh-privatekey"],
    "kubernetes.io/basic-auth": ["data.username", "data.password"],
    "kubernetes.io/dockercfg": ["data[.dockercfg]"],
    "kubernetes.io/dockerconfigjson": ["data[.dockerconfigjson]"],
    "kubernetes.io/service-account-token": ["metadata.annotations[kubernetes.io/service-account.name]"],
    "bootstrap.kubernetes.io/token": [],
    "example.com/own": [],
}


@pytest.mark.parametrize("type_", TYPES)
def test_a_known_type_of_secret_must_have_its_keys(type_: str) -> None:
    problems = read(f"{SECRET}type: {type_}\n").problems
    assert [(problem.field, problem.message) for problem in problems] == [
        (field, "Required value") for field in TYPES[type_]
    ]


@pytest.mark.parametrize(
    ("type_", "data"),
    [
        ("kubernetes.io/tls", {"tls.crt": "", "tls.key": ""}),
        ("kubernetes.io/ssh-auth", {"ssh-privatekey": "k"}),
        ("kubernetes.io/basic-auth", {"password": ""}),
        ("kubernetes.io/dockerconfigjson", {".dockerconfigjson": "{}"}),
    ],
)
def test_with_its_keys_it_is_well(type_: str, data: dict[str, str]) -> None:
    whole = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}, "type": type_, "stringData": data}
    assert config(json.dumps(whole)).type == type_


@pytest.mark.parametrize("value", ["{", "[]", '"a"', ""])
def test_what_docker_reads_must_be_a_json_object(value: str) -> None:
    data = {".dockerconfigjson": base64.b64encode(value.encode()).decode()}
    type_ = "kubernetes.io/dockerconfigjson"
    (problem,) = read(
        json.dumps({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}, "type": type_, "data": data})
    ).problems
    assert problem.field == "data[.dockerconfigjson]"
    assert "<secret contents redacted>" in problem.message


def test_one_mebibyte_is_the_most_that_one_can_hold() -> None:
    def sized(size: int) -> str:
        data = {"a": "x" * (size - 10), "b": "y" * 10}
        return json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "big"}, "data": data})

    assert len(config(sized(MAX_BYTES)).data["a"]) == MAX_BYTES - 10
    (problem,) = read(sized(MAX_BYTES + 1)).problems
    assert (problem.field, problem.message) == ("data", f"Too long: may not be more than {MAX_BYTES} bytes")
    (problem,) = read(sized(2 << 20)).problems
    assert "Too long" in problem.message


def test_many_stand_in_one_file_and_in_a_list() -> None:
    items = [{"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": name}, "data": {}} for name in ("a", "b")]
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": items}) + "\n---\n" + SECRET
    documents = read_both_ways(text.encode(), "all.yaml").documents
    assert [document.id for document in documents] == [
        "ConfigMap/default/a",
        "ConfigMap/default/b",
        "Secret/default/keys",
    ]
    assert all(document.used for document in documents)


def test_of_two_with_one_name_the_first_keeps_it_and_other_kinds_have_names_of_their_own() -> None:
    pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: conf}\nspec: {containers: [{name: a, image: host}]}\n"
    secret = SECRET.replace("keys", "conf")
    documents = read_both_ways("---\n".join((CONFIG_MAP, pod, secret, CONFIG_MAP)).encode(), "all.yaml").documents
    assert [document.used for document in documents] == [True, True, True, False]
    (problem,) = documents[-1].problems
    assert problem.message == 'ConfigMap "conf" is here twice, first on line 1'


def test_another_group_has_no_such_kind() -> None:
    (problem,) = read(CONFIG_MAP.replace("apiVersion: v1", "apiVersion: apps/v1")).problems
    assert problem.message == 'no kind "ConfigMap" in version "apps/v1"'


# (change of the old, change of the new, fields that may not change so)
FORBIDDEN = [
    ("", "data: {port: '1'}", []),
    ("immutable: true", "immutable: true", []),
    ("immutable: true", "immutable: true\nmetadata: {name: conf, labels: {a: b}}", []),
    ("immutable: true", "", ["immutable"]),
    ("immutable: true", "immutable: false", ["immutable"]),
    ("immutable: true", "immutable: true\ndata: {port: '1'}", ["data"]),
    ("immutable: true", "immutable: true\nbinaryData: {a: AA==}", ["binaryData"]),
    ("immutable: true\ndata: {port: '1'}", "binaryData: {a: AA==}", ["immutable", "data", "binaryData"]),
]


@pytest.mark.parametrize(("old", "new", "fields"), FORBIDDEN)
def test_what_an_immutable_one_holds_does_not_change(old: str, new: str, fields: list[str]) -> None:
    def made(text: str) -> Config:
        meta = "" if "metadata" in text else "metadata: {name: conf}\n"
        return config(f"apiVersion: v1\nkind: ConfigMap\n{meta}{text}\n")

    wrong = forbidden_changes(made(old), made(new))
    assert [field for field, _ in wrong] == fields
    assert all(words == "Forbidden: field is immutable when `immutable` is set" for _, words in wrong)


def test_the_type_of_a_secret_does_not_change() -> None:
    wrong = forbidden_changes(config(SECRET), config(SECRET + "type: example.com/own\n"))
    assert wrong == [("type", 'Invalid value: "example.com/own": field is immutable')]


@pytest.mark.parametrize("kind", ["ConfigMap", "Secret"])
@pytest.mark.parametrize("place", ["metadata", "data", "binaryData", "stringData", "type", "immutable", "data.k"])
def test_a_value_of_any_shape_is_taken_or_refused_and_never_shown(kind: str, place: str) -> None:
    for value in [*SHAPES, "\ud800", "é", "=", "A===", "A" * 5, {"k": "\n\n=="}, {"": ""}]:
        whole: dict[str, Any] = {"apiVersion": "v1", "kind": kind, "metadata": {"name": "a"}}
        outer, _, inner = place.partition(".")
        whole[outer] = {inner: value} if inner else value
        document = read(json.dumps(whole))
        assert (document.config is None) == bool(document.problems), whole
        if document.config is not None:
            assert read(json.dumps(document.config.to_json())).config == document.config
