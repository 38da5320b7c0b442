"""YAML and JSON are read as kubectl reads them; what cannot be read is one clear problem in the right place."""

from __future__ import annotations

import json
import math
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minikube_lite.spec import compose as compose_module
from minikube_lite.spec.dump import dump_yaml
from minikube_lite.spec.yaml import MAX_DOCUMENTS, MAX_SIZE, RawDocument, dotted, read_documents
from tests.spec.kubectl import needs_kubectl, objects

# What stands after `v: `, and what it means.
SCALARS: list[tuple[str, Any]] = [
    ("0o400", 256),
    ("0400", 256),
    ("0O7", 7),
    ("08", 8),
    ("0o8", "0o8"),
    ("0x1F", 31),
    ("0X1f", 31),
    ("0b11", 3),
    ("-0b11", -3),
    ("0x", "0x"),
    ("+5", 5),
    ("-0", 0),
    ("++1", "++1"),
    ("1_000", 1000),
    ("_1", "_1"),
    ("1_", 1),
    ("1e3", 1000),
    ("1E2", 100),
    ("1e+3", 1000),
    ("5e", "5e"),
    ("1.0", 1),
    ("1.", 1),
    (".5", 0.5),
    ("-.5", -0.5),
    (".5_5", 0.55),
    (".1_", ".1_"),
    (".e3", ".e3"),
    ("0.1", 0.1),
    ("1e-7", 1e-7),
    ("1e21", 1e21),
    ("1e400", "1e400"),
    ("09.5", 9.5),
    ("1.2.3", "1.2.3"),
    ("22:22", "22:22"),
    ("190:20:30", "190:20:30"),
    ("1,000", "1,000"),
    ("9223372036854775807", 2**63 - 1),
    ("-9223372036854775808", -(2**63)),
    ("123456789012345678901234", 1.2345678901234569e23),
    ("y", True),
    ("Y", True),
    ("yes", True),
    ("On", True),
    ("TRUE", True),
    ("tRue", "tRue"),
    ("yEs", "yEs"),
    ("n", False),
    ("no", False),
    ("Off", False),
    ("false", False),
    ("~", None),
    ("", None),
    ("null", None),
    ("NULL", None),
    ("nULL", "nULL"),
    ('""', ""),
    ("''", ""),
    ("2001-01-01", "2001-01-01"),
    ("2001-01-01T00:00:00Z", "2001-01-01T00:00:00Z"),
    ("=", "="),
    ("<<", "<<"),
    ("'C:\\'", "C:\\"),
    ("[\"\\'a\\'\", '\\', \"\\'\"]", ["'a'", "\\", "'"]),
    ("'5'", "5"),
    ('"yes"', "yes"),
    ("it's", "it's"),
    ("'it''s'", "it's"),
    ('"it\\\'s"', "it's"),
    ("a#b", "a#b"),
    ("a #b", "a"),
    ("a\t# b", "a"),
    ("b\t", "b"),
    ('"b"\t', "b"),
    ("http://a:80/b", "http://a:80/b"),
    ("a::b", "a::b"),
    ("-a", "-a"),
    (".", "."),
    ("é", "é"),
    ('"\\u00e9\\x41\\t"', "éA\t"),
    ("!!str 5", "5"),
    ('!!int "5"', 5),
    ("!!float 5", 5),
    ("!!bool yes", True),
    ("!!null ''", None),
    ("! 5", "5"),
    ("!foo b", "b"),
    ("!!binary aGk=", "hi"),
    ("!!timestamp 2001-01-01", "2001-01-01"),
    ("[a, b,]", ["a", "b"]),
    ("{a: 1, b}", {"a": 1, "b": None}),
    ("[a: b]", [{"a": "b"}]),
    ("{a: }", {"a": None}),
    ('{"a":1}', {"a": 1}),
    ("[]", []),
    ("[\n\ta]", ["a"]),
    ("{1: a, 1.5: b, on: c, 0x10: d, 1e3: e}", {"1": "a", "1.5": "b", "true": "c", "16": "d", "1000": "e"}),
    ("\n- a\n- b", ["a", "b"]),
    ("\n  - a:\n    b: c", [{"a": None, "b": "c"}]),
    ("|\n  a\n  b\n", "a\nb\n"),
    ("|\n  a", "a\n"),
    ("|-\n  a", "a"),
    ("|+\n  a\n\nw: 1", "a\n\n"),
    (">\n  a\n  b\n\n  c\n", "a b\nc\n"),
    ("|2\n   a", " a\n"),
    ("|\r\n  a\r\n  b\r\n", "a\nb\n"),
    ("# c\n  a", "a"),
    ('"a\n  b"', "a b"),
    ("a\n  b", "a b"),
    ("&x {a: 1}\nw: *x", {"a": 1}),
    ("{<<: {a: 1, b: 2}, b: 3}", {"a": 1, "b": 3}),
    ("{b: 3, <<: {a: 1, b: 2}}", {"a": 1, "b": 2}),
    ("{<<: [{a: 1}, {a: 2, c: 3}]}", {"a": 1, "c": 3}),
]

# What stands after `v: `, and words of the problem.
BROKEN = [
    ("@a", "a value cannot begin with @"),
    ("`a", "a value cannot begin with `"),
    ("a: b", "a `:` cannot stand here"),
    ("\n\t- a", "a tab cannot indent YAML"),
    ('"a', "the quote that opens here is never closed"),
    ("[a", "expected"),
    ("{a: b}}", "expected"),
    ("*x", "the alias *x is not defined above"),
    ("&x [*x]", "the alias *x contains itself"),
    ("[a,,b]", "did not find expected node content"),
    ("- a", "a list item (`- …`) cannot stand here"),
    ("!!int a", "cannot be read as !!int"),
    ("!!binary a", "!!binary needs text in base64"),
    (".nan", "JSON has no such number"),
    ("-.inf", "JSON has no such number"),
    ("{~: a}", "a key may not be empty or null"),
    ("{[a]: b}", "a key must be a plain word"),
    ("{<<: 1}", "<< needs a mapping"),
    ('"\\q"', "this escape is not known"),
    ("a\x01", "control character U+0001"),
]


def one(text: str | bytes) -> RawDocument:
    data = text.encode() if isinstance(text, str) else text
    documents, problems = read_documents(data, "f.yaml")
    assert (len(documents), problems) == (1, [])
    return documents[0]


def value(text: str) -> Any:
    document = one(text)
    assert document.root is not None, document.problems
    assert document.problems == ()
    return document.root.value


@pytest.fixture(params=["libyaml", "pure"])
def _both_parsers(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "pure":
        monkeypatch.setattr(compose_module.yaml, "__with_libyaml__", False)


@pytest.mark.parametrize(("text", "expected"), SCALARS, ids=[text for text, _ in SCALARS])
def test_a_value_is_what_kubectl_makes_of_it(text: str, expected: Any) -> None:
    found = value(f"v: {text}")["v"]
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.usefixtures("_both_parsers")
@pytest.mark.parametrize(("text", "words"), BROKEN, ids=[text for text, _ in BROKEN])
def test_what_cannot_be_read_is_one_clear_problem_on_its_line(text: str, words: str) -> None:
    document = one(f"a: 1\nv: {text}\n")
    assert document.root is None
    (problem,) = document.problems
    assert problem.line in (2, 3, 4)
    if compose_module.yaml.__with_libyaml__:  # the pure parser has words of its own
        assert words in problem.message


@needs_kubectl
def test_kubectl_reads_the_same_values_and_refuses_the_same_texts() -> None:
    head = "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: a{}}}\nv: {}\n"
    texts = [text for text, _ in SCALARS + BROKEN]
    found, _ = objects([head.format(number, text).encode() for number, text in enumerate(texts)])
    read = {int(item["metadata"]["name"][1:]): item.get("v") for item in found}
    assert {number: read.get(number, "refused") for number in range(len(SCALARS))} == {
        number: expected for number, (_, expected) in enumerate(SCALARS)
    }
    assert [BROKEN[number - len(SCALARS)] for number in read if number >= len(SCALARS)] == []


def documents(text: str | bytes) -> list[tuple[Any, int]]:
    data = text.encode() if isinstance(text, str) else text
    found, problems = read_documents(data, "")
    assert problems == []
    return [(item.root.value if item.root is not None else "broken", item.line) for item in found]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("# only a comment\n", []),
        ("---\n---\n# x\n---\n", []),
        ("---", []),
        ("...\n", []),
        ("a: 1\n---\nb: 2", [({"a": 1}, 1), ({"b": 2}, 3)]),
        ("--- # first\na: 1\n--- # second\nb: 2\n", [({"a": 1}, 2), ({"b": 2}, 4)]),
        ("--- {a: 1}\n--- {b: 2}\n", [({"a": 1}, 1), ({"b": 2}, 2)]),
        ("a: 1\n...\nb: 2\n", [({"a": 1}, 1), ({"b": 2}, 3)]),
        ("a: 1\n...\n---\nb: 2\n...\n", [({"a": 1}, 1), ({"b": 2}, 4)]),
        ("%YAML 1.1\n---\na: 1\n", [({"a": 1}, 3)]),
        ("a: 1\n...\n%YAML 1.1\n---\nb: 2\n", [({"a": 1}, 1), ({"b": 2}, 5)]),
        ("a: |\n  ---\n  x\n", [({"a": "---\nx\n"}, 1)]),
        ("a: ---x\n---x: 1\n", [({"a": "---x", "---x": 1}, 1)]),
        ("a: 1\r\n---\r\nb: 2\r\n", [({"a": 1}, 1), ({"b": 2}, 3)]),
        ("\ufeffa: 1\n---\n\ufeffb: 2\n", [({"a": 1}, 1), ({"b": 2}, 3)]),
        ('{"a": 1}{"b": 2}\n\n{"c": 3}', [({"a": 1}, 1), ({"b": 2}, 1), ({"c": 3}, 3)]),
        ('{\n\t"a":\t[1, 2.5, true, null, "\\ud83d\\ude00\\/"]\n}', [({"a": [1, 2.5, True, None, "😀/"]}, 1)]),
        ('{"a": 1}\n{"b": \n{"c": 3}', [({"a": 1}, 1), ("broken", 1)]),
        ("---\n{\n  a: 1, # KYAML\n  b: [\n    {c: 2},\n  ],\n}\n", [({"a": 1, "b": [{"c": 2}]}, 2)]),
        ("a: 1\n---\nb: [}\n---\nc: 3\n", [({"a": 1}, 1), ("broken", 2), ({"c": 3}, 5)]),
        ("null\n---\n~\n", [(None, 1), (None, 3)]),
    ],
)
def test_a_stream_falls_into_documents_that_do_not_harm_each_other(text: str, expected: list[tuple[Any, int]]) -> None:
    assert documents(text) == expected


def test_every_key_and_value_has_its_place() -> None:
    text = "# é\nspec:\n  containers:\n  - name: web\n    env:\n      - {name: Ä, value: 'x'}\n"
    document = one(text)
    path = ("spec", "containers", 0, "env", 0, "value")
    assert document.position(document.offset(path)) == (6, 26)
    assert document.position(document.offset(path, key=True)) == (6, 19)
    node = document.find(path)
    assert node is not None
    start, end = document.byte(node.start), document.byte(node.end)
    assert text.encode()[start:end] == b"'x'"
    assert document.find(("spec", "volumes")) is None
    assert document.position(document.offset(("spec", "volumes", 0))) == (3, 3)
    assert dotted((*path[:4], "a/b.c")) == "spec.containers[0].env[a/b.c]"


def test_places_in_json_are_those_of_the_file() -> None:
    text = '{"a": 1}\n{"é": {"b":\n [1, "x"]}}'
    second = read_documents(text.encode(), "")[0][1]
    node = second.find(("é", "b", 1))
    assert node is not None
    assert second.position(node.start) == (3, 6)
    assert text.encode()[second.byte(node.start) : second.byte(node.end)] == b'"x"'


@pytest.mark.parametrize(
    ("text", "line", "column", "field", "first"),
    [
        ("a: 1\nb: 2\na: 3\n", 3, 1, "a", 1),
        ("x:\n  - a: 1\n    a: 2\n", 3, 5, "x[0].a", 2),
        ('{"a": {"b": 1,\n "b": 2}}', 2, 2, "a.b", 1),
        ("# x\n---\n1: a\n'1': b\n", 4, 1, "1", 3),
        ("{on: a, true: b}", 1, 9, "true", 1),
        ("{{: 1}", 1, 1, "", 0),
    ],
)
def test_two_equal_keys_are_an_error_that_names_both_lines(
    text: str, line: int, column: int, field: str, first: int
) -> None:
    (problem,) = one(text).problems
    if first:
        assert problem.message == f'the key "{field.split(".")[-1]}" is here twice, first on line {first}'
        assert (problem.line, problem.column, problem.field) == (line, column, field)


def test_a_key_that_overrides_a_merged_one_is_no_duplicate() -> None:
    assert value("a: &a {k: 1, l: 2}\nb:\n  <<: *a\n  k: 3\n")["b"] == {"k": 3, "l": 2}


@pytest.mark.parametrize(
    ("text", "line", "column", "piece"),
    [
        ("a: 1\nname: {{ .Values.name }}\n", 2, 7, "{{ .Values.name }}"),
        ("{{- if .Values.on }}\na: 1\n{{- end }}\n", 1, 1, "{{- if .Values.on }}"),
        ("a:\n{% for x in y %}\n", 2, 1, "{% for x in y %}"),
        ("a: {b: ${X}}\n", 1, 8, "${X}"),
        ("a: 1\n  {{ include }}: x\n", 2, 3, "{{ include }}"),
    ],
)
def test_a_template_is_called_one(text: str, line: int, column: int, piece: str) -> None:
    (problem,) = one(text).problems
    assert problem.message == f"this is a template, not YAML yet: {piece}"
    assert (problem.line, problem.column) == (line, column)


@pytest.mark.parametrize(
    ("data", "words", "line", "column"),
    [
        (b"a: 1\nb: \xff\n", "byte 0xff is not UTF-8", 2, 4),
        (b"a: \xc3\xa9\xc3\n", "byte 0xc3 is not UTF-8", 1, 5),
    ],
)
def test_bytes_that_are_not_utf8_are_named_with_their_place(data: bytes, words: str, line: int, column: int) -> None:
    (problem,) = one(data).problems
    assert words in problem.message
    assert (problem.line, problem.column) == (line, column)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\x7fELF\x02\x00\x00", "not a text file"),
        ("a: 1".encode("utf-16"), "the file is UTF-16"),
        (b"a" * (MAX_SIZE + 1), "too large"),
        (b"a: b\n" * 10_000_000, "too large"),
    ],
)
def test_a_file_that_is_no_manifest_at_all_is_one_problem(data: bytes, words: str) -> None:
    found, (problem,) = read_documents(data, "f.yaml")
    assert found == []
    assert words in problem.message


LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join(['*' + before] * 10)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.usefixtures("_both_parsers")
@pytest.mark.parametrize(
    ("text", "words"),
    [
        (LAUGHS, "the aliases stand for more than"),
        ("[" * 10_000, "nested more than 100 levels deep"),
        ("- " * 10_000, "nested more than 100 levels deep"),
        ("{a: " * 10_000, "nested more than 100 levels deep"),
        ('{"a":' * 10_000, "nested more than 100 levels deep"),
        ('{"a":' * 200 + "1" + "}" * 200, "nested more than 100 levels deep"),
        ("\n".join(f"k{n}: &k{n} [*k{n - 1}]" if n else "k0: &k0 [x]" for n in range(200)), "nested more than"),
    ],
)
def test_no_text_exhausts_memory_or_the_stack(text: str, words: str) -> None:
    (problem,) = one(text).problems
    assert words in problem.message


def test_too_many_values_and_too_many_documents_are_refused() -> None:
    assert "more than 100000 values" in one("- a\n" * 400_000).problems[0].message
    found, (problem,) = read_documents(b"a: 1\n---\n" * (MAX_DOCUMENTS + 5), "")
    assert len(found) == MAX_DOCUMENTS
    assert problem.line == 2 * MAX_DOCUMENTS


YAMLISH = st.text(alphabet=st.sampled_from(list(" \n\t:-{}[],\"'#&*!|>%@`?~<.ab01\\é\u2028\ufeff")), max_size=60)


@given(st.one_of(st.binary(max_size=80), YAMLISH.map(str.encode)))
@settings(max_examples=500, deadline=None)
def test_any_bytes_become_documents_or_problems_and_never_an_exception(data: bytes) -> None:
    found, problems = read_documents(data, "f")
    for document in found:
        assert document.root is not None or document.problems
        assert 0 <= document.start < document.end <= len(data)
        json.dumps(document.root.value if document.root is not None else None, allow_nan=False)
    for problem in [*problems, *(item for document in found for item in document.problems)]:
        assert problem.message
        assert problem.line <= data.count(b"\n") + 1


PLAIN = st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(max_size=8)
JSON = st.recursive(
    PLAIN | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


@given(st.lists(st.dictionaries(st.text(max_size=5), JSON, max_size=4), min_size=1, max_size=3), st.booleans())
@settings(deadline=None)
def test_json_is_read_as_json(values: list[dict[str, Any]], indented: bool) -> None:
    text = "\n".join(json.dumps(item, indent="\t" if indented else None) for item in values)
    found, problems = read_documents(text.encode(), "")
    assert problems == []
    assert [item.root.value if item.root else None for item in found] == values


STRINGS = st.one_of(
    st.text(max_size=12), st.sampled_from([text for text, _ in SCALARS]), st.sampled_from(["a\nb\n", "a\n"])
)


@given(
    st.recursive(
        STRINGS | PLAIN, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(STRINGS, inner, max_size=3)
    )
)
@settings(deadline=None)
def test_what_is_dumped_reads_back_as_the_same_data(data: Any) -> None:
    text = dump_yaml({"v": data})
    document = one(text)
    assert document.problems == ()
    assert document.root is not None
    assert json.loads(json.dumps(document.root.value)) == json.loads(json.dumps({"v": data})), text


@needs_kubectl
def test_kubectl_agrees_on_texts_put_together_at_random() -> None:
    """What both read, both read alike. (libyaml and go-yaml differ in what they refuse, at the edges.)"""
    chance = random.Random(20)
    pieces = ["a", "b: ", "- ", "\n", "\n  ", " ", ": ", "{", "}", "[", "]", ", ", '"', "'", "#", " #", "1", "0x1",
              "|", ">", "\t", "&x ", "*x", "~", "yes", "!!str ", ".5", "---\n", "? ", "<<: ", "\\n", "é"]  # fmt: skip
    bodies = ["".join(chance.choices(pieces, k=chance.randint(1, 9))) for _ in range(1500)]
    files = [
        f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: a{number}}}\nv: {body}\n".encode()
        for number, body in enumerate(bodies)
    ]
    found, _ = objects(files)
    theirs = {item["metadata"]["name"]: item for item in found if "name" in (item.get("metadata") or {})}
    compared = 0
    for number, data in enumerate(files):
        documents_found, _ = read_documents(data, "")
        document = documents_found[0]
        their = theirs.get(f"a{number}")
        if their is None or document.root is None or document.problems:
            continue
        compared += 1
        assert _as_floats(document.root.value) == _as_floats(their), bodies[number]
    assert compared > 300


def _as_floats(item: Any) -> Any:
    """Integers beyond 64 bits are floats to kubectl's printer."""
    if isinstance(item, dict):
        return {key: _as_floats(inner) for key, inner in item.items()}
    if isinstance(item, list):
        return [_as_floats(inner) for inner in item]
    if isinstance(item, int) and not isinstance(item, bool) and not -(2**63) <= item < 2**63:
        return math.fsum([item])
    return item
