"""A manifest becomes documents that run, are skipped or are wrong, each wrong one with its file, line and field."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minikube_lite.spec import pods
from minikube_lite.spec.manifest import Document, Manifest, read_manifest, without_document
from minikube_lite.spec.problems import Problem
from tests.spec.agreement import read_both_ways

HEALTHY = """\
apiVersion: v1
kind: Pod
metadata:
  name: web
  labels:
    app: web
spec:
  containers:
    - name: app
      image: ./rootfs
      command: [sh, -c]
      env:
        - name: PORT
          value: "8080"
      ports:
        - containerPort: 8080
      resources:
        limits:
          cpu: 200m
          memory: 64Mi
  restartPolicy: Always
"""


def read(text: str, namespace: str = "default") -> Manifest:
    return read_both_ways(text.encode(), "pod.yaml", namespace)


def one(text: str) -> Document:
    manifest = read(text)
    assert manifest.problems == ()
    (document,) = manifest.documents
    return document


def changed(old: str, new: str) -> str:
    assert old in HEALTHY
    return HEALTHY.replace(old, new, 1)


def test_a_healthy_pod_runs() -> None:
    document = one(HEALTHY)
    assert document.problems == ()
    assert document.pod is not None
    assert (document.kind, document.key, document.pod.key, document.line) == ("Pod", "default/web", "default/web", 1)
    assert (document.warnings, document.ignored, document.skipped) == ((), (), "")


# (old text, new text, line, column, field, words of the message, hint)
WRONG = [
    ("image:", "imagee:", 10, 7, "spec.containers[0].imagee", 'unknown field "imagee"', "did you mean `image`?"),
    ("metadata:", "metdata:", 3, 1, "metdata", 'unknown field "metdata"', "did you mean `metadata`?"),
    ("labels:", "zzz:", 5, 3, "metadata.zzz", 'unknown field "zzz"', ""),
    ("restartPolicy:", "restartpolicy:", 21, 3, "spec.restartpolicy", "unknown field", "did you mean `restartPolicy`?"),
    ("Always", "always", 21, 18, "spec.restartPolicy", 'Unsupported value: "always"', "did you mean `Always`?"),
    ("Always", "Sometimes", 21, 18, "spec.restartPolicy", 'supported values: "Always", "OnFailure", "Never"', ""),
    (
        '"8080"',
        "8080",
        14,
        18,
        "spec.containers[0].env[0].value",
        "must be a string, found the number 8080",
        "put it in quotes",
    ),
    ('"8080"', "yes", 14, 18, "spec.containers[0].env[0].value", "must be a string, found true", "put it in quotes"),
    (
        "containerPort: 8080",
        'containerPort: "80x"',
        16,
        26,
        "spec.containers[0].ports[0].containerPort",
        'expected an integer, found the string "80x"',
        "",
    ),
    (
        "containerPort: 8080",
        'containerPort: "80"',
        16,
        26,
        "spec.containers[0].ports[0].containerPort",
        "expected an integer",
        "take away the quotes",
    ),
    (
        "containerPort: 8080",
        "containerPort: 8.5",
        16,
        26,
        "spec.containers[0].ports[0].containerPort",
        "expected an integer, found the number 8.5",
        "",
    ),
    (
        "containerPort: 8080",
        "containerPort: 70000",
        16,
        26,
        "spec.containers[0].ports[0].containerPort",
        "must be between 1 and 65535, inclusive",
        "",
    ),
    ("containerPort: 8080", "name: http", 16, 11, "spec.containers[0].ports[0].containerPort", "Required value", ""),
    (
        "containerPort: 8080",
        "{containerPort: 1, name: A}",
        16,
        36,
        "spec.containers[0].ports[0].name",
        "must contain only",
        "",
    ),
    (
        "[sh, -c]",
        "sh -c",
        11,
        16,
        "spec.containers[0].command",
        'expected a list, found the string "sh -c"',
        "put `- ` before it",
    ),
    (
        "[sh, -c]",
        "[sh, 5]",
        11,
        21,
        "spec.containers[0].command[1]",
        "must be a string, found the number 5",
        "put it in quotes",
    ),
    ("[sh, -c]", '["a\\0b"]', 11, 17, "spec.containers[0].command[0]", "NUL character", ""),
    (
        "[sh, -c]",
        "[sh]\n      workingDir: tmp",
        12,
        19,
        "spec.containers[0].workingDir",
        "must be an absolute path",
        "",
    ),
    ("200m", "200M8", 19, 16, "spec.containers[0].resources.limits.cpu", "'200M8' is not a quantity", ""),
    ("64Mi", "64MB", 20, 19, "spec.containers[0].resources.limits.memory", "did you mean 64M?", ""),
    ("200m", "[1]", 19, 16, "spec.containers[0].resources.limits.cpu", "expected a quantity such as 500m", ""),
    ("200m", "-1", 19, 16, "spec.containers[0].resources.limits.cpu", "must be greater than or equal to 0", ""),
    ("200m", "1e9", 19, 16, "spec.containers[0].resources.limits.cpu", "more than the kernel can limit to", ""),
    ("64Mi", "1e30", 20, 19, "spec.containers[0].resources.limits.memory", "more than any machine has", ""),
    (
        "64Mi",
        "64Mi\n        requests: {cpu: 300m}",
        21,
        25,
        "spec.containers[0].resources.requests.cpu",
        'Invalid value: "300m": must be less than or equal to cpu limit of 200m',
        "",
    ),
    (
        "cpu:",
        "cpus:",
        19,
        17,
        "spec.containers[0].resources.limits.cpus",
        "must be a standard resource type",
        "did you mean `cpu`?",
    ),
    ("cpu:", "nvidia.com/gpu:", 19, 27, "spec.containers[0].resources.limits[nvidia.com/gpu]", "not supported yet", ""),
    ("name: web", "name: Web", 4, 9, "metadata.name", "a lowercase RFC 1123 subdomain must consist of", ""),
    ("name: web", "name: " + "a" * 254, 4, 9, "metadata.name", "must be no more than 253 characters", ""),
    ("name: web", "name: 5", 4, 9, "metadata.name", "must be a string, found the number 5", "put it in quotes"),
    ("name: web\n", "name:\n", 4, 3, "metadata.name", "Required value", ""),
    ("name: web", "generateName: web-", 4, 17, "metadata.generateName", "needs a name that stays", "name: web-1"),
    (
        "name: web",
        "name: web\n  namespace: a.b",
        5,
        14,
        "metadata.namespace",
        "a lowercase RFC 1123 label must consist of",
        "",
    ),
    ("app: web", "app: a b", 6, 10, "metadata.labels.app", "a valid label must be an empty string or", ""),
    ("app: web", "app: " + "a" * 64, 6, 10, "metadata.labels.app", "must be no more than 63 characters", ""),
    ("app: web", "a/b/c: web", 6, 12, "metadata.labels[a/b/c]", "a qualified name must be", ""),
    ("app: web", "/b: web", 6, 9, "metadata.labels[/b]", "prefix part must be non-empty", ""),
    ("app: web", "b/: web", 6, 9, "metadata.labels[b/]", "name part must be non-empty", ""),
    ("app: web", "app: 5", 6, 10, "metadata.labels.app", "must be a string, found the number 5", "put it in quotes"),
    (
        "labels:\n    app: web",
        "labels: web",
        5,
        11,
        "metadata.labels",
        'expected a mapping, found the string "web"',
        "",
    ),
    ("name: app", "name: app_1", 9, 13, "spec.containers[0].name", "a lowercase RFC 1123 label must consist of", ""),
    ("name: app", "name: ''", 9, 13, "spec.containers[0].name", "Required value", ""),
    (
        "name: PORT",
        "name: A=B",
        13,
        17,
        "spec.containers[0].env[0].name",
        "printable ASCII characters other than '='",
        "",
    ),
    ("name: PORT", "name: ''", 13, 17, "spec.containers[0].env[0].name", "must be non-empty", ""),
    (
        "image: ./rootfs",
        "image: ' x'",
        10,
        14,
        "spec.containers[0].image",
        "must not have leading or trailing whitespace",
        "",
    ),
    (
        "image: ./rootfs",
        "image: ",
        10,
        7,
        "spec.containers[0].image",
        "Required value",
        "a directory, a tar archive, or `host`",
    ),
    (
        "image: ./rootfs",
        "image: app:${TAG}",
        10,
        14,
        "spec.containers[0].image",
        "${TAG} is a template",
        "fill it in first",
    ),
    (
        "image: ./rootfs",
        "image: '{{ .Image }}'",
        10,
        14,
        "spec.containers[0].image",
        "{{ .Image }} is a template",
        "fill it in",
    ),
    (
        "image: ./rootfs",
        "image: {{ .Image }}",
        10,
        14,
        "",
        "this is a template, not YAML yet: {{ .Image }}",
        "fill it in first",
    ),
    (
        "name: web",
        'name: "{{ .Name }}"',
        4,
        9,
        "metadata.name",
        "a lowercase RFC 1123 subdomain",
        "{{ .Name }} is a template",
    ),
    ("name: web", "name: ${NAME}", 4, 9, "metadata.name", "a lowercase RFC 1123 subdomain", "${NAME} is a template"),
    (
        "containerPort: 8080",
        "containerPort: ${PORT}",
        16,
        26,
        "spec.containers[0].ports[0].containerPort",
        "expected an integer",
        "${PORT} is a template",
    ),
    (
        "restartPolicy: Always",
        "terminationGracePeriodSeconds: -1",
        21,
        34,
        "spec.terminationGracePeriodSeconds",
        "must be greater than or equal to 0",
        "",
    ),
    ("restartPolicy: Always", "hostname: A", 21, 13, "spec.hostname", "a lowercase RFC 1123 label must consist of", ""),
    (
        "restartPolicy: Always",
        "hostname: " + "a" * 64,
        21,
        13,
        "spec.hostname",
        "must be no more than 63 characters",
        "",
    ),
    (
        "restartPolicy: Always",
        "hostNetwork: 'true'",
        21,
        16,
        "spec.hostNetwork",
        "expected true or false",
        "take away the quotes",
    ),
    (
        "restartPolicy: Always",
        "hostPID: true\n  shareProcessNamespace: true",
        22,
        26,
        "spec.shareProcessNamespace",
        "ShareProcessNamespace and HostPID cannot both be enabled",
        "",
    ),
    (
        "restartPolicy: Always",
        "securityContext: {runAsUser: -1}",
        21,
        32,
        "spec.securityContext.runAsUser",
        "must be between 0 and 2147483647, inclusive",
        "",
    ),
    (
        "restartPolicy: Always",
        "securityContext: {runAsUsr: 1}",
        21,
        21,
        "spec.securityContext.runAsUsr",
        "unknown field",
        "did you mean `runAsUser`?",
    ),
    (
        "restartPolicy: Always",
        "affinity: {nodeAffinty: {}}",
        21,
        14,
        "spec.affinity.nodeAffinty",
        "unknown field",
        "did you mean `nodeAffinity`?",
    ),
    (
        "restartPolicy: Always",
        "tolerations: [{key: 5}]",
        21,
        23,
        "spec.tolerations[0].key",
        "must be a string",
        "put it in quotes",
    ),
    ("restartPolicy: Always", "os: {name: windows}", 21, 14, "spec.os.name", "this machine runs linux", ""),
    ("kind: Pod", "kind: pod", 2, 7, "kind", 'no kind "pod" in version "v1"', "did you mean `Pod`?"),
    (
        "kind: Pod",
        "kind: Deployment",
        1,
        13,
        "apiVersion",
        'no kind "Deployment" in version "v1"',
        "did you mean `apps/v1`?",
    ),
    ("apiVersion: v1", "apiVersion: v2", 1, 13, "apiVersion", 'no kind "Pod" in version "v2"', "did you mean `v1`?"),
    ("apiVersion: v1\n", "", 1, 1, "", "apiVersion must be set", ""),
    ("apiVersion: v1\nkind: Pod\n", "", 1, 1, "", "apiVersion and kind must be set", "a pod begins with"),
    ("apiVersion: v1", "apiVersion: 1", 1, 13, "apiVersion", "must be a string, found the number 1", ""),
    (
        "image: ./rootfs",
        "image: a\n      image: b",
        11,
        7,
        "spec.containers[0].image",
        "here twice, first on line 10",
        "",
    ),
    ("  containers:", "\tcontainers:", 8, 1, "", "a tab cannot indent YAML", "use spaces"),
    ("name: web", "name: [web", 5, 9, "", "expected", ""),
    (
        "restartPolicy: Always",
        "image: x",
        21,
        3,
        "spec.image",
        "unknown field",
        "`image` is a field of spec.containers[]",
    ),
    (
        "image:",
        "imagePullSecrets: []\n      image:",
        10,
        7,
        "spec.containers[0].imagePullSecrets",
        "unknown field",
        "`imagePullSecrets` is a field of spec: check",
    ),
    ("labels:", "containers:", 5, 3, "metadata.containers", "unknown field", "`containers` is a field of spec: check"),
    # What may not be lost silently.
    (
        "restartPolicy: Always",
        "initContainers: [{name: a, image: b}]",
        21,
        3,
        "spec.initContainers",
        "not supported yet",
        "",
    ),
    ("restartPolicy: Always", "hostUsers: false", 21, 3, "spec.hostUsers", "not supported yet", ""),
    ("restartPolicy: Always", "runtimeClassName: gvisor", 21, 3, "spec.runtimeClassName", "not supported yet", ""),
    ("restartPolicy: Always", "resources: {limits: {cpu: 1}}", 21, 3, "spec.resources", "not supported yet", ""),
    (
        'value: "8080"',
        "valueFrom: {fileKeyRef: {volumeName: a, path: b, key: c}}",
        14,
        23,
        "spec.containers[0].env[0].valueFrom.fileKeyRef",
        "not supported yet",
        "",
    ),
    (
        "env:",
        "volumeDevices: [{name: a, devicePath: /a}]\n      env:",
        12,
        7,
        "spec.containers[0].volumeDevices",
        "not supported yet",
        "",
    ),
    ("env:", "restartPolicy: Never\n      env:", 12, 7, "spec.containers[0].restartPolicy", "not supported yet", ""),
]


@pytest.mark.parametrize(
    ("old", "new", "line", "column", "field", "words", "hint"), WRONG, ids=[row[1] for row in WRONG]
)
def test_what_is_wrong_is_said_with_line_column_field_and_hint(
    old: str, new: str, line: int, column: int, field: str, words: str, hint: str
) -> None:
    document = one(changed(old, new))
    assert document.pod is None
    problem = document.problems[0]
    assert words in problem.message
    assert (problem.source, problem.line, problem.column, problem.field) == ("pod.yaml", line, column, field)
    assert problem.hint.startswith(hint) if hint else True
    assert len(document.problems) == 1


# What is put in place of `restartPolicy: Always`, and words of the one warning.
WARNED = [
    ("activeDeadlineSeconds: 5", "spec.activeDeadlineSeconds is not supported yet: "),
]


@pytest.mark.parametrize(("new", "words"), WARNED, ids=[row[0] for row in WARNED])
def test_a_field_that_is_not_honoured_yet_is_named_in_a_warning(new: str, words: str) -> None:
    document = one(changed("restartPolicy: Always", new))
    assert document.pod is not None
    (warning,) = document.warnings
    assert warning.startswith(words)


CONTAINER_WARNED = [
    ("livenessProbe: {exec: {command: [a]}}", "livenessProbe"),
    ("readinessProbe: {tcpSocket: {port: http}}", "readinessProbe"),
    ("startupProbe: {httpGet: {port: 80}}", "startupProbe"),
    ("lifecycle: {preStop: {exec: {command: [a]}}}", "lifecycle"),
    ("stdin: true", "stdin"),
    ("tty: true", "tty"),
    ("resizePolicy: [{resourceName: cpu, restartPolicy: RestartContainer}]", "resizePolicy[0].restartPolicy"),
]


@pytest.mark.parametrize(("new", "field"), CONTAINER_WARNED)
def test_so_is_one_of_a_container(new: str, field: str) -> None:
    document = one(changed("env:", f"{new}\n      env:"))
    assert document.pod is not None
    (warning,) = document.warnings
    assert warning.startswith(f"spec.containers[0].{field} is not supported yet: ")


@pytest.mark.parametrize(
    "new",
    [
        "hostUsers: true",
        "securityContext: {}",
        "volumes:",
        "volumes: []",
        "initContainers: []",
        'serviceAccountName: ""',
        "dnsPolicy: Default",
        "dnsPolicy: ClusterFirst",
        "securityContext: {seccompProfile: {type: Unconfined}}",
        "nodeName:",
        "setHostnameAsFQDN: false",
        "restartPolicy: ~",
        'restartPolicy: ""',
        "os: {name: linux}",
        "securityContext: {runAsNonRoot: true, runAsUser: 1000, runAsGroup: 1000, supplementalGroups: [5], fsGroup: 6}",
        "securityContext: {runAsNonRoot: true, supplementalGroupsPolicy: Strict}",
    ],
)
def test_empty_and_harmless_values_are_passed_over_in_silence(new: str) -> None:
    document = one(changed("restartPolicy: Always", new))
    assert document.pod is not None
    assert (document.warnings, document.ignored) == ((), ())


def test_what_only_a_scheduler_or_a_cluster_reads_is_accepted_and_listed() -> None:
    document = one(
        changed("restartPolicy: Always", "nodeSelector: {a: b}\n  tolerations: [{key: a}]\n  serviceAccountName: x")
        + "status: {phase: Running, anything: [1]}\n"
    )
    assert document.pod is not None
    assert document.warnings == ()
    assert document.ignored == ("spec.nodeSelector", "spec.tolerations", "spec.serviceAccountName", "status")


def test_what_an_api_server_gives_out_can_be_put_back() -> None:
    metadata = (
        "name: web\n  uid: 1-2\n  resourceVersion: '5'\n  creationTimestamp: 2024-01-01T00:00:00Z\n  generation: 1\n"
        "  managedFields: [{manager: kubectl, fieldsV1: {f:metadata: {}}}]\n  ownerReferences: []"
    )
    mount = "volumeMounts: [{name: kube-api-access-x, mountPath: /var/run/secrets/kubernetes.io/serviceaccount}]"
    projected = "{sources: [{serviceAccountToken: {path: token}}, {configMap: {name: kube-root-ca.crt}}]}"
    volumes = f"volumes: [{{name: kube-api-access-x, projected: {projected}}}]"
    pod = changed("name: web", metadata).replace("env:", f"{mount}\n      env:")
    document = one(pod.replace("restartPolicy: Always", f"restartPolicy: Always\n  {volumes}"))
    assert document.problems == ()
    assert document.pod is not None
    assert document.pod.spec.volumes == ()
    assert document.warnings == (
        "/var/run/secrets/kubernetes.io/serviceaccount is not there: there are no service accounts",
    )


def test_a_fraction_of_a_byte_is_warned_of() -> None:
    (warning,) = one(changed("64Mi", "64m")).warnings
    assert 'fractional byte value "64m" is invalid' in warning


def test_a_template_in_one_document_leaves_the_others_alone() -> None:
    other = HEALTHY.replace("name: web", "name: other")
    manifest = read(f"{HEALTHY}---\nname: {{{{ x }}}}\n---\n{other}")
    assert [document.name for document in manifest.documents] == ["web", "", "other"]
    assert [bool(document.problems) for document in manifest.documents] == [False, True, False]
    assert [document.line for document in manifest.documents] == [1, 22, 25]
    assert manifest.documents[1].problems[0].line == 23


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ("  restartPolicy", " restartPolicy", "default/web"),
        ("image: ./rootfs", "image: {{ .Image }}", "default/web"),
        ("name: app", "name: [app", "default/web"),
        ("    app: web", "\tapp: web", "default/"),
        ("kind: Pod", "kind: List", "/"),
    ],
)
def test_a_document_that_breaks_off_is_still_known_by_what_stood_before_the_break(old: str, new: str, key: str) -> None:
    document = one(changed(old, new) + "\t- [\n")
    assert document.problems != ()
    assert (document.key, document.raw, document.pod) == (key, {}, None)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\n", "Deployment is not run yet by minikube-lite"),
        ("apiVersion: extensions/v1beta1\nkind: Deployment\n", "Deployment is not run yet by minikube-lite"),
        ("apiVersion: v1\nkind: Service\n", "nothing to do with a Service"),
        ("apiVersion: v1\nkind: PersistentVolume\n", "PersistentVolume is not used yet"),
        ("apiVersion: example.com/v1\nkind: Thing\n", "does not know Thing (example.com/v1)"),
    ],
)
def test_another_kind_is_skipped_and_says_why(text: str, words: str) -> None:
    document = one(text)
    assert document.problems == ()
    assert document.pod is None
    assert words in document.skipped


def test_two_pods_of_one_name_are_a_problem_of_the_second_that_names_the_line_of_the_first() -> None:
    manifest = read(
        f"# x\n{HEALTHY}---\n{HEALTHY}---\n{HEALTHY.replace('name: web', 'name: web' + chr(10) + '  namespace: b')}"
    )
    assert [document.pod is not None for document in manifest.documents] == [True, False, True]
    assert manifest.documents[1].problems == (
        Problem(
            'pod "web" is here twice, first on line 2', "pod.yaml", 27, 9, "metadata.name",
            "a pod needs a name of its own in its namespace",
        ),
    )  # fmt: skip


def test_the_namespace_is_the_documents_or_the_given_one() -> None:
    manifest = read(f"{HEALTHY}---\n{HEALTHY.replace('name: web', 'name: web' + chr(10) + '  namespace: b')}", "given")
    assert [document.key for document in manifest.documents] == ["given/web", "b/web"]
    assert [document.pod.key for document in manifest.documents if document.pod] == ["given/web", "b/web"]


def test_the_bytes_of_each_image_can_be_replaced() -> None:
    text = HEALTHY.replace("name: web", "name: web # é") + (
        '---\napiVersion: v1\nkind: Pod\nmetadata: {name: b}\nspec:\n  containers:\n  - {name: a, image: "./x"}\n'
        "  - name: b\n    image: &i './y'\n  - name: c\n    image: *i\n"
        "  - name: d\n    image: >-\n      ./z\n    args: []\n"
    )
    data = text.encode()
    spans = [span for document in read(text).documents for span in document.image_spans]
    assert [value for _, _, value in spans] == ["./rootfs", "./x", "./y", "./z"]
    for start, end, _ in sorted(spans, reverse=True):
        data = data[:start] + b"/new" + data[end:]
    images = [[c.image for c in d.pod.spec.containers] for d in read(data.decode()).documents if d.pod]
    assert images == [["/new"], ["/new", "/new", "/new", "/new"]]


def pod(name: str) -> str:
    return HEALTHY.replace("name: web", f"name: {name}")


def listed(*names: str) -> str:
    items = "".join("- " + pod(name).replace("\n", "\n  ").rstrip(" ") for name in names)
    return f"apiVersion: v1\nkind: List\nitems:\n{items}"


def json_list(*names: str) -> str:
    items = [{"metadata": {"name": name}, "spec": {"containers": [{"name": "a", "image": "b"}]}} for name in names]
    return json.dumps({"apiVersion": "v1", "kind": "PodList", "items": items})


STREAMS = {
    "documents": f"# head\n{pod('a')}---\n# of b\n{pod('b')}---\n{pod('c')}",
    "with markers": f"---\n{pod('a')}...\n---\n{pod('b')}...\n# x\n---\n{pod('c')}...\n",
    "no newline at the end": f"---\n{pod('a')}---\n{pod('b')}---\n{pod('c')}".rstrip(),
    "CRLF": f"{pod('a')}---\n{pod('b')}---\n{pod('c')}".replace("\n", "\r\n"),
    "byte order mark": f"\ufeff{pod('a')}---\n{pod('b')}---\n{pod('c')}",
    "a list": listed("a", "b", "c"),
    "a list with comments": listed("a", "b", "c").replace("- api", "# for this one\n- api")
    + "# the end\nmetadata: {}\n",
    "a list among documents": f"{pod('a')}---\n{listed('b')}---\n{pod('c')}",
    "a list of lists' items": f"---\n{listed('a', 'b')}---\n{pod('c')}",
    "a JSON list": json_list("a", "b", "c"),
    "JSON objects": "".join(json_list(name) for name in "abc"),
    "indented JSON objects": "\n\n".join(json.dumps(json.loads(json_list(name)), indent=2) for name in "abc"),
    "a flow list": "apiVersion: v1\nkind: List\nitems: [\n"
    + ",\n".join(json.dumps({"apiVersion": "v1", "kind": "Pod", **json.loads(json_list(n))["items"][0]}) for n in "abc")
    + "]\n",
    "directives": f"%YAML 1.1\n---\n{pod('a')}---\n{pod('b')}...\n%YAML 1.1\n---\n{pod('c')}",
}


@pytest.mark.parametrize("index", [0, 1, 2])
@pytest.mark.parametrize("text", STREAMS.values(), ids=STREAMS.keys())
def test_one_object_can_be_cut_out_and_the_others_stay_what_they_are(text: str, index: int) -> None:
    before = read(text).documents
    assert [document.name for document in before] == ["a", "b", "c"]
    left = without_document(text.encode(), index)
    after = read_manifest(left, "pod.yaml")
    assert after.problems == ()
    assert [document.raw for document in after.documents] == [
        document.raw for number, document in enumerate(before) if number != index
    ]
    assert all(document.pod is not None for document in after.documents)
    while left:
        left = without_document(left, 0)
    assert left == b""


def test_an_object_of_a_list_in_block_style_is_cut_out_without_touching_the_rest() -> None:
    text = listed("a", "b").replace("- api", "# hand-written\n- api") + "# end\n"
    left = without_document(text.encode(), 0).decode()
    assert left.count("hand-written") == 1
    assert "# end" in left


def test_start_and_end_hold_the_whole_document_and_nothing_else() -> None:
    text = STREAMS["documents"]
    first, second, third = read(text).documents
    assert text[: first.end].endswith("Always\n")
    assert text[second.start : second.end] == f"---\n# of b\n{pod('b')}"
    assert (first.start, first.end, second.end, third.end) == (0, second.start, third.start, len(text))


def test_an_error_that_only_the_models_find_is_put_into_plain_words_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pods, "walk", lambda value, *rest: value)
    wrong = {
        "image: ./rootfs": ("imagee: ./rootfs", '10:7: spec.containers[0].imagee: unknown field "imagee"'),
        '"8080"': ("8080", "14:18: spec.containers[0].env[0].value: must be a string, found the number 8080"),
        "containerPort: 8080": (
            "containerPort: a",
            "16:26: spec.containers[0].ports[0].containerPort: expected an integer",
        ),
        "name: app\n      image": ("image", "9:7: spec.containers[0].name: Required value"),
        "Always": ("Never5", "21:18: spec.restartPolicy: Unsupported value"),
        "200m": ("2x", "19:16: spec.containers[0].resources.limits.cpu: '2x' is not a quantity"),
        "[sh, -c]": ("sh", "11:16: spec.containers[0].command: expected a list"),
        "labels:\n    app: web": ("labels: web", "5:11: metadata.labels: expected a mapping"),
    }
    for old, (new, words) in wrong.items():
        (document,) = read_manifest(changed(old, new).encode(), "pod.yaml").documents
        problems = [str(problem) for problem in document.problems]
        assert any(f"pod.yaml:{words}" in problem for problem in problems), problems


@pytest.mark.parametrize("text", ["", "# x\n", "---\n", "null\n", "--- ~\n"])
def test_nothing_is_no_document_and_no_problem(text: str) -> None:
    assert read(text) == Manifest()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a\n", 'found the string "a"'),
        ("- a\n", "found a list"),
        ("5\n", "found the number 5"),
        ("services: {}\n", "apiVersion and kind must be set"),
    ],
)
def test_what_is_no_object_is_a_problem(text: str, words: str) -> None:
    assert words in one(text).problems[0].message


def test_a_list_holds_objects() -> None:
    text = "apiVersion: v1\nkind: List\nitems:\n- 5\n- apiVersion: v1\n  kind: Service\n  metadata: {name: s}\n"
    first, second = read(text).documents
    assert str(first.problems[0]) == "pod.yaml:4:3: items[0]: expected an object, found the number 5"
    assert (second.name, second.in_list, second.line) == ("s", True, 5)
    assert read("apiVersion: v1\nkind: List\n").documents == ()


def test_a_wrong_field_inside_a_list_is_named_from_the_list_on() -> None:
    document = read(listed("a").replace("imag", "umag")).documents[0]
    assert document.problems[0].field == "items[0].spec.containers[0].umage"


def test_no_more_than_twenty_problems_are_listed() -> None:
    text = HEALTHY + "".join(f"x{number}: 1\n" for number in range(1000))
    assert 20 <= len(one(text).problems) <= 1001


PIECES = st.sampled_from(
    [
        "apiVersion: v1\n",
        "kind: Pod\n",
        "kind: List\n",
        "items:\n",
        "metadata:\n",
        "  name: a\n",
        "spec:\n",
        "  containers:\n",
        "  - name: a\n",
        "    image: b\n",
        "    command: [a]\n",
        "    resources: {limits: {cpu: 1}}\n",
        "---\n",
        "...\n",
        "- ",
        "  ",
        "{",
        "}",
        "null\n",
        "5\n",
        "&a ",
        "*a\n",
        "<<: ",
        "\t",
        "'",
        '"',
        "\u2028",
        "é",
        "status: 1\n",
        "[",
        "]",
        "\r\n",
        "#",
    ]
)


@given(st.lists(PIECES, max_size=30).map("".join), st.binary(max_size=10), st.integers(0, 300))
@settings(max_examples=400, deadline=None)
def test_any_bytes_become_documents_or_problems_and_never_an_exception(text: str, noise: bytes, at: int) -> None:
    data = text.encode()[:at] + noise + text.encode()[at:]
    manifest = read_manifest(data, "f")
    for number, document in enumerate(manifest.documents):
        assert (document.pod is not None) + bool(document.skipped) + bool(document.problems) == 1
        assert 0 <= document.start < document.end <= len(data)
        rest = read_manifest(without_document(data, number), "f")
        assert len(rest.documents) <= len(manifest.documents) - 1 or document.problems


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_a_pod_with_a_character_changed_runs_or_says_where_it_is_wrong(data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(HEALTHY) - 1))
    text = HEALTHY[:at] + data.draw(st.sampled_from(list("\t {}[]:-\"'#\n&*!0a,|>%@"))) + HEALTHY[at + 1 :]
    for document in read(text).documents:
        assert (document.pod is None) == bool(document.problems)
        for problem in document.problems:
            assert 1 <= problem.line <= text.count("\n") + 1
            assert problem.column >= 1
