"""`create`: objects out of files and values as kubectl makes them, and its words where they cannot be made."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.cli.conftest import Cli, ServedNode

needs_kubectl = pytest.mark.skipif(shutil.which("kubectl") is None, reason="no kubectl to compare with")


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with all sorts of sources in it."""
    directory = tmp_path / "files"
    (directory / "conf.d").mkdir(parents=True)
    contents = {
        "app.conf": b"a=1\nb=2\n",
        "logo.bin": b"\x00\xff",
        "conf.d/one": b"1",
        "conf.d/two": b"2\n",
        "bad name": b"x",
        "app.env": b"# comment\n\nPORT=8080\n  NAME=two words\nEQUALS=a=b\nHOME_DIR\n",
        "digit.env": b"1A=b\n",
        "blank.env": b"a b=c\n",
        "docker.json": b'{"auths": {}}',
    }
    for name, data in contents.items():
        (directory / name).write_bytes(data)
    (directory / "conf.d/link").symlink_to("one")
    (directory / "conf.d/more").mkdir()
    monkeypatch.chdir(directory)
    monkeypatch.setenv("HOME_DIR", "/home/of")
    return directory


SAME = [
    "configmap conf",
    "configmap conf --from-literal=a=b",
    "cm conf --from-literal=a=b --from-literal=c=d=e -n shop",
    "configmap conf --from-literal=a=",
    "configmap conf --from-file=app.conf",
    "configmap conf --from-file=renamed=app.conf --from-literal=port=8080",
    "configmap conf --from-file=logo.bin --from-file=app.conf",
    "configmap conf --from-file=conf.d",
    "configmap conf --from-file=conf.d/",
    "configmap conf --from-env-file=app.env",
    "configmap Conf",
    "secret generic keys",
    "secret generic keys --from-literal=a=b",
    "secret generic keys --from-file=conf.d --type=example.com/own -n shop",
    "secret generic keys --from-env-file=app.env",
    "secret docker-registry reg --docker-username=u --docker-password=p --docker-email=e",
    "secret docker-registry reg --docker-username=u --docker-password=p --docker-server=r.example.com",
    "secret docker-registry reg --from-file=docker.json",
    "secret docker-registry reg --from-file=.dockerconfigjson=docker.json",
    "secret tls web --cert=c.pem --key=k.pem",
]
WRONG = [
    "configmap",
    "configmap a b",
    "secret generic",
    "configmap conf --from-literal=a",
    "configmap conf --from-literal=a/b=c",
    "configmap conf --from-literal=a=1 --from-literal=a=2",
    "configmap conf --from-file=app.conf --from-literal=app.conf=x",
    "configmap conf --from-file=nofile",
    "configmap conf --from-file==x",
    "configmap conf --from-file=x=",
    "configmap conf --from-file=a=b=c",
    "configmap conf --from-file=a=conf.d",
    "configmap conf --from-env-file=app.env --from-literal=a=2",
    "configmap conf --from-env-file=conf.d",
    "configmap conf --from-env-file=digit.env",
    "configmap conf --from-env-file=blank.env",
    "secret generic keys --from-literal=a/b=c",
    "secret generic keys --from-literal=a=1 --from-literal=a=2",
    "secret docker-registry reg",
    "secret docker-registry reg --docker-username=u",
    "secret tls web",
    "secret tls web --cert=c.pem",
]


def make_certificate(directory: Path) -> None:
    subprocess.run(
        [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-keyout",
            "k.pem",
            "-out",
            "c.pem",
            "-subj",
            "/CN=x",
            "-days",
            "1",
        ],
        cwd=directory,
        check=True,
        capture_output=True,
    )


def kubectl(*argv: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "KUBECONFIG": "/dev/null"}
    return subprocess.run(["kubectl", *argv], capture_output=True, text=True, timeout=60, env=environment)


@needs_kubectl
def test_we_make_what_kubectl_makes(files: Path, cli: Cli) -> None:
    make_certificate(files)
    for line in SAME:
        argv = ["create", *line.split(), "--dry-run=client", "-o"]
        theirs, ours = kubectl(*argv, "json"), cli(*argv, "json")
        assert (ours.code, ours.err) == (theirs.returncode, theirs.stderr) == (0, ""), line
        assert json.loads(ours.out) == json.loads(theirs.stdout), line
        assert yaml.safe_load(cli(*argv, "yaml").out) == yaml.safe_load(theirs.stdout), line
        argv.pop()
        assert cli(*argv).out == kubectl(*argv).stdout, line


@needs_kubectl
@pytest.mark.parametrize("line", WRONG)
def test_we_refuse_what_kubectl_refuses_in_its_words(line: str, files: Path, cli: Cli) -> None:
    argv = ["create", *line.split(), "--dry-run=client", "-o", "yaml"]
    theirs, ours = kubectl(*argv), cli(*argv)
    assert (ours.code, ours.out) == (theirs.returncode, theirs.stdout) == (1, "")
    assert ours.err.splitlines()[0] == theirs.stderr.splitlines()[0]


def test_the_yaml_is_kubectls(cli: Cli) -> None:
    made = cli("create", "configmap", "conf", "--from-literal=port=8080", "--dry-run=client", "-o", "yaml")
    assert made.out == (
        'apiVersion: v1\ndata:\n  port: "8080"\nkind: ConfigMap\nmetadata:\n  creationTimestamp: null\n  name: conf\n'
    )


def test_a_certificate_and_a_key_must_fit(files: Path, cli: Cli) -> None:
    make_certificate(files)
    (files / "k.pem").rename(files / "other.pem")
    make_certificate(files)
    for cert, key in (("c.pem", "other.pem"), ("app.conf", "k.pem"), ("c.pem", "app.conf")):
        made = cli("create", "secret", "tls", "web", f"--cert={cert}", f"--key={key}", "--dry-run=client")
        assert made.code == 1
        assert made.err.startswith(f"error: tls: {cert} and {key} are not a certificate and its key in PEM: ")


def test_what_is_wrong_with_a_literal_is_said_without_the_value(cli: Cli) -> None:
    made = cli("create", "secret", "generic", "keys", "--from-literal==hunter2", "--dry-run=client")
    assert made.code == 1
    assert "hunter2" not in made.err


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "must specify one of -f, configmap or secret"),
        (["pod", "web"], "Unexpected args: ['pod', 'web']"),
        (["secret"], "unknown command"),
        (["secret", "opaque", "keys"], 'unknown command "opaque keys"'),
        (["-f", "x.yaml", "configmap"], "name what to create or give -f, not both"),
        (["-f", "nofile.yaml"], 'the path "nofile.yaml" does not exist'),
    ],
)
def test_a_line_that_makes_no_sense_is_an_error(argv: list[str], message: str, cli: Cli) -> None:
    made = cli("create", *argv)
    assert (made.code, made.out) == (1, "")
    assert made.err.startswith(f"error: {message}")


def test_what_is_made_is_on_the_node(node: ServedNode, cli: Cli) -> None:
    made = cli("create", "configmap", "conf", "--from-literal=port=1", "-n", "shop")
    assert (made.code, made.out) == (0, "configmap/conf created\n")
    assert node.fake.objects["ConfigMap", "shop", "conf"]["data"] == {"port": "1"}
    again = cli("create", "cm", "conf", "-n", "shop")
    message = 'error: failed to create configmap: configmaps "conf" already exists\n'
    assert (again.code, again.out, again.err) == (1, "", message)
    made = cli("create", "secret", "generic", "keys", "--from-literal=a=b", "-o", "name")
    assert (made.code, made.out) == (0, "secret/keys\n")
    again = cli("create", "secret", "generic", "keys")
    assert again.err == 'error: failed to create secret secrets "keys" already exists\n'
    dry = cli("create", "cm", "other", "--dry-run=server")
    assert dry.out == "configmap/other created (server dry run)\n"
    assert ("ConfigMap", "default", "other") not in node.fake.objects


def test_a_value_may_come_from_a_pipe(node: ServedNode, environment: dict[str, str]) -> None:
    words = ["create", "secret", "generic", "keys", "--from-file=k=/dev/stdin"]
    command = [sys.executable, "-m", "minikube_lite", *words]
    done = subprocess.run(command, input="from a pipe", text=True, capture_output=True, env=environment)
    assert (done.returncode, done.stdout) == (0, "secret/keys created\n"), done.stderr
    data = node.fake.objects["Secret", "default", "keys"]["data"]
    assert base64.b64decode(data["k"]) == b"from a pipe"


def test_manifests_are_created_and_what_is_there_stays(node: ServedNode, cli: Cli) -> None:
    text = "---\n".join(
        f"apiVersion: v1\nkind: {kind}\nmetadata: {{name: {name}}}\n"
        for kind, name in (("Pod", "web"), ("Pod", "new"), ("ConfigMap", "conf"))
    )
    made = cli("create", "-f", "-", stdin=text)
    assert (made.code, made.out) == (1, "pod/new created\nconfigmap/conf created\n")
    error = 'Error from server (AlreadyExists): error when creating "STDIN": pods "web" already exists\n'
    assert made.err == error
    assert cli("create", "-f", "-", "-o", "name", stdin=text.replace("web", "db").replace("new", "x")).lines == [
        "pod/db",
        "pod/x",
    ]
