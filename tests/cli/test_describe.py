"""`describe pod`: what it shows beyond kubectl, whose layout test_like_kubectl holds it to; and the tab stops."""

from __future__ import annotations

import re

import pytest

from minikube_lite.cli.describing import HEALTHCHECK, MANIFEST, describe_pod
from minikube_lite.cli.tabs import align
from tests.api.fake_node import make_event, make_pod
from tests.cli.conftest import NOW, Cli, ServedNode

WHOLE = """\
Name:         web
Namespace:    default
Node:         box/
Labels:       app=web
Annotations:  <none>
Status:       Running
IP:           10.0.0.1
IPs:          <none>
Containers:
  app:
    Container ID:
    Image:          host
    Image ID:
    Port:           <none>
    Host Port:      <none>
    State:          Running
      Started:      Wed, 01 May 2024 12:00:01 +0000
    Ready:          True
    Restart Count:  0
    Environment:    <none>
    Mounts:         <none>
Conditions:
  Type           Status
  Ready          True
Volumes:         <none>
QoS Class:
Node-Selectors:  <none>
Tolerations:     <none>
Events:
  Type    Reason   Age              From           Message
  ----    ------   ----             ----           -------
  Normal  Started  4m (x3 over 5m)  minikube-lite  Started container app
"""


def test_a_healthy_pod_on_one_page() -> None:
    assert describe_pod(make_pod(), [make_event()], NOW) == WHOLE


def test_a_health_check_of_the_image_is_said_to_be_ignored() -> None:
    pod = make_pod()
    pod["metadata"]["annotations"] = {HEALTHCHECK: "app"}
    text = describe_pod(pod, [], NOW)
    assert re.search(r"^    Image Healthcheck: +ignored, as Kubernetes ignores it \(hint: livenessProbe\)$", text, re.M)
    assert re.search(r"^Annotations: +<none>$", text, re.M)


@pytest.mark.parametrize(
    ("milli", "text"),
    [
        ("200m", "20000us of every 100000us"),
        ("1m", "1000us of every 1000000us"),
        ("1.5", "150000us of every 100000us"),
    ],
)
def test_a_cpu_limit_is_shown_as_the_kernel_has_it(milli: str, text: str) -> None:
    pod = make_pod(spec={"containers": [{"name": "x", "image": "host", "resources": {"limits": {"cpu": milli}}}]})
    assert re.search(f"^    CPU Quota: +{text}$", describe_pod(pod, [], NOW), re.MULTILINE)


def test_the_manifest_is_named_and_is_no_annotation() -> None:
    pod = make_pod(metadata={"annotations": {MANIFEST: "/m/web.yaml"}})
    text = describe_pod(pod, [], NOW)
    assert "\nManifest:     /m/web.yaml\n" in text
    assert "\nAnnotations:  <none>\n" in text


def test_why_a_container_waits_is_told() -> None:
    waiting = {"name": "app", "state": {"waiting": {"reason": "ErrImagePull", "message": "no such image:\nx"}}}
    pod = make_pod(status={"containerStatuses": [waiting]})
    assert "      Reason:       ErrImagePull\n      Message:      no such image:; x\n" in describe_pod(pod, [], NOW)


def test_nothing_in_a_pod_commands_the_terminal_or_the_layout() -> None:
    pod = make_pod(metadata={"annotations": {"a": "x\x1b[31m\ty"}}, status={"message": "one\n\x1b[2Jtwo"})
    text = describe_pod(pod, [make_event(message="a\tb\x07\nc")], NOW)
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "Annotations:  a: x [31m y\n" in text
    assert "Message:      one;  [2Jtwo\n" in text
    assert text.endswith("a b ; c\n")


def test_a_pod_with_next_to_nothing_can_be_described() -> None:
    assert describe_pod({"metadata": {"name": "x"}}, [], NOW).startswith("Name:            x\nNamespace:\n")


@pytest.mark.parametrize(
    ("text", "aligned"),
    [
        ("a\tb\nccc\td", "a    b\nccc  d"),
        ("a\tb\n\nccc\td", "a  b\n\nccc  d"),
        ("a\tb\tc\naa\tbb\tcc", "a   b   c\naa  bb  cc"),
        ("plain\na\tb", "plain\na  b"),
        ("a\tb\nplain\nlonger\tc", "a  b\nplain\nlonger  c"),
        ("a\t", "a"),
    ],
)
def test_a_column_is_as_wide_as_the_cells_of_neighbouring_lines(text: str, aligned: str) -> None:
    assert align(text) == aligned


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "error: You must specify the type of resource to describe: pod NAME\n"),
        (["node", "box"], "error: nodes cannot be described (try: minikube-lite --root {root} get nodes -o yaml)\n"),
        (["pod", "x", "-A"], "error: name cannot be provided when a selector or -A is specified\n"),
    ],
)
def test_what_cannot_be_described_is_an_error(argv: list[str], message: str, node: ServedNode, cli: Cli) -> None:
    shown = cli("describe", *argv)
    assert (shown.code, shown.out, shown.err) == (1, "", message.replace("{root}", str(node.root)))
