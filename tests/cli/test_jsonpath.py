"""kubectl's JSONPath templates: one template per row, and the same rows through kubectl itself where it is there."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minikube_lite.cli.jsonpath import JsonPath, relaxed
from minikube_lite.cli.jsonpath_steps import JsonPathError

needs_kubectl = pytest.mark.skipif(shutil.which("kubectl") is None, reason="no kubectl to compare with")

POD: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "web", "labels": {"app": "web", "kubernetes.io/x": "why"}},
    "spec": {
        "priority": 0,
        "hostNetwork": True,
        "containers": [
            {"name": "a", "image": "a:1", "ports": [{"containerPort": 80}, {"containerPort": 443, "name": "tls<&>"}]},
            {"name": "b", "image": "b:2", "command": ["x", "y z"]},
        ],
    },
}
ROWS = [
    ("{.metadata.name}", "web"),
    (".metadata.name", ".metadata.name"),
    ("{@.kind}{$.kind}", "PodPod"),
    ("{['kind']}", "Pod"),
    ("{['kind','apiVersion']}", "Pod v1"),
    ("a{.kind}b {.metadata.name}\n", "aPodb web\n"),
    ("}", "}"),
    (r"{.metadata.labels.kubernetes\.io/x}", "why"),
    (r"{.metadata.labels['kubernetes\.io/x']}", "why"),
    ("{.nope}", ""),
    ("{.kind.foo}", ""),
    ("{.spec.containers.name}", ""),
    ("{.spec.priority} {.spec.hostNetwork}", "0 true"),
    ("{.spec.containers[*].name}", "a b"),
    ("{.spec.containers[0].name}", "a"),
    ("{.spec.containers[-1].name}", "b"),
    ("{.spec.containers[0:2].name}", "a b"),
    ("{.spec.containers[-1:].name}", "b"),
    ("{.spec.containers[::2].name}", "a"),
    ("{.spec.containers[1:1].name}", ""),
    ("{.spec.containers[0,1].name}", "a b"),
    ("{.spec.containers[*]['name', 'image']}", "a b a:1 b:2"),
    ("{.spec.containers[*].ports[0].containerPort}", "80"),
    ("{.spec.containers[*].ports}", r'[{"containerPort":80},{"containerPort":443,"name":"tls\u003c\u0026\u003e"}]'),
    ("{.metadata.labels.app}|{.metadata.labels}", r'web|{"app":"web","kubernetes.io/x":"why"}'),
    ("{.spec.containers[1].command[*]}", "x y z"),
    ("{.spec..containerPort}", "80 443"),
    ("{.spec.containers..name}", "a tls<&> b"),
    ("{.spec.containers[?(@.name=='b')].image}", "b:2"),
    ('{.spec.containers[?(@.name == "b")].image}', "b:2"),
    ('{.spec.containers[?(@.name!="a")].name}', "b"),
    ('{.spec.containers[?(@.name=="b)c")].image}', ""),
    ("{.spec.containers[?(@.ports)].name}", "a"),
    ("{.spec.containers[?(@.ports[0].containerPort>79)].name}", "a"),
    ("{.spec.containers[0].ports[?(@.containerPort<=80)].containerPort}", "80"),
    ('{range .spec.containers[*]}{.name}{"\\t"}{.image}{"\\n"}{end}x', "a\ta:1\nb\tb:2\nx"),
    ("{range .spec.containers[*]}{.name}:{range .ports[*]}{.containerPort},{end};{end}", "a:80,443,;b:;"),
    ("{range .spec.nope[*]}{.x}{end}tail", "tail"),
    ("{range .spec.containers[*]}{.name}", "ab"),
    ("{range .spec.containers[*]}{@.name}{$.kind}{end}", "ab"),
    (r"{'it\'s'}", "it's"),
    (r'{"\u00e9"}', "é"),
    ('{range .spec.containers[0:1]}{"{"}{end}', "{"),
    ("{1}{true}{-1}{1.50}", "1true-11.5"),
]
WRONG = [
    ("{", "unclosed action"),
    ("{.a", "unclosed action"),
    ("{foo}", "unrecognized identifier foo"),
    ("{end}", "not in range, nothing to end"),
    ("{#}", "unrecognized character in action: U+0023 '#'"),
    ('{"a}', "unterminated quoted string"),
    ("{.a[}", "unterminated array"),
    ("{.spec.containers[x]}", "invalid array index x"),
    ('{.spec.containers[?(@.name=="a"]}', "unterminated filter"),
    ('{.spec.containers[?(@.name=="a" && @.image=="x")].name}', "unrecognized character in action: U+0026 '&'"),
    ("{.spec.containers[5]}", "array index out of bounds: index 5, length 2"),
    ("{.spec.containers[0:9].name}", "array index out of bounds: index 8, length 2"),
    ("{.spec.containers[1:0].name}", "starting index 1 is greater than ending index 0"),
    ("{.kind[0]}", "is not array or slice"),
    ("{.spec.containers[?(@.name>3)].name}", "incompatible types for comparison"),
]


@pytest.mark.parametrize(("template", "text"), ROWS)
def test_a_template_is_filled_in(template: str, text: str) -> None:
    assert JsonPath(template).text(POD) == text


@pytest.mark.parametrize(("template", "message"), WRONG)
def test_a_template_that_cannot_be_read_or_applied_says_why(template: str, message: str) -> None:
    with pytest.raises(JsonPathError) as caught:
        JsonPath(template).text(POD)
    assert message in str(caught.value)


def kubectl(template: str, directory: Path) -> subprocess.CompletedProcess[str]:
    file = directory / "pod.json"
    file.write_text(json.dumps(POD))
    command = ["kubectl", "label", "--local", "--overwrite", "-f", str(file), "app=web", "-o", f"jsonpath={template}"]
    environment = {"PATH": os.environ["PATH"], "HOME": str(directory)}
    return subprocess.run(command, capture_output=True, text=True, env=environment)


@needs_kubectl
def test_kubectl_fills_them_in_alike(tmp_path: Path) -> None:
    """All at once, one after the other: a template may be followed by another unless it leaves a range open."""
    rows = [row for row in ROWS if row[0].count("{range") == row[0].count("{end}")]
    said = kubectl("¦".join(template for template, _ in rows), tmp_path)
    assert said.stdout.split("¦") == [text for _, text in rows]


@needs_kubectl
@pytest.mark.parametrize(("template", "message"), WRONG)
def test_kubectl_refuses_the_same(template: str, message: str, tmp_path: Path) -> None:
    said = kubectl(template, tmp_path)
    assert said.returncode == 1
    assert message in said.stderr


@pytest.mark.parametrize("path", ["metadata.name", ".metadata.name", "{metadata.name}", "{.metadata.name}"])
def test_columns_may_leave_the_braces_out(path: str) -> None:
    assert JsonPath(relaxed(path)).values(POD) == ["web"]


@pytest.mark.parametrize("path", ["", "{.a}{.b}", "{.a"])
def test_a_path_with_half_its_braces_is_refused(path: str) -> None:
    with pytest.raises(JsonPathError, match="unexpected path string"):
        relaxed(path)


@settings(deadline=None)
@given(st.text(alphabet="{}[]().*,:-?@$'\"\\\\ ab01=<>!rangeend\n", max_size=40))
def test_whatever_the_template_it_gives_text_or_says_what_is_wrong(template: str) -> None:
    with contextlib.suppress(JsonPathError):
        JsonPath(template).text(POD)
