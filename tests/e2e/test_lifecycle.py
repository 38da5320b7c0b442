"""From a file that is dropped to the last trace that is gone, and every command for what lies between."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.cli.terminal import Terminal
from tests.e2e.yard import Json, Yard, alive, spawn_cli, start_time

pytestmark = pytest.mark.root


# -- come and go -----------------------------------------------------------------------------------------------------


def test_a_dropped_file_runs_and_a_removed_one_leaves_nothing(yard: Yard) -> None:
    children = "for i in 1 2 3; do setsid sleep infinity & done; echo up; exec sleep infinity"
    yard.run("web", yard.container(children), yard.container(name="two"))
    yard.log_says("web", "up")
    uid = yard.uid("web")
    pids = [int(pid) for pid in (yard.controller("pids", "web") / "cgroup.procs").read_text().split()]
    assert len(pids) == 4
    shims = [json.loads((yard.bundle("web", name) / "shim.json").read_text())["pid"] for name in ("app", "two")]
    namespaces = {os.readlink(f"/proc/{pids[0]}/ns/{kind}") for kind in ("pid", "mnt", "net", "ipc", "uts", "cgroup")}
    yard.remove("web")
    assert not [pid for pid in [*pids, *shims] if alive(pid)]
    yard.nothing_is_left_of(uid)
    assert not namespaces & _namespaces()
    assert yard.node.cli("get", "pods").stderr == "No resources found in default namespace.\n"


def _namespaces() -> set[str]:
    """Every namespace that a process is in."""
    found = set()
    for link in Path("/proc").glob("[0-9]*/ns/*"):
        try:
            found.add(os.readlink(link))
        except OSError:
            continue  # it has gone, or is not ours to look at
    return found


def test_several_pods_of_one_file_come_and_go_one_by_one(yard: Yard) -> None:
    one, two = (json.dumps(yard.manifest(name)) for name in ("one", "two"))
    yard.node.put("both.yaml", f"{one}\n---\n{two}\n")
    for name in ("one", "two"):
        yard.node.wait_phase(name, "Running")
    pid = yard.pid("two")
    yard.node.put("both.yaml", f"{two}\n")
    yard.node.wait_gone("one")
    assert yard.pid("two") == pid


def test_the_cli_deletes_what_a_file_names_and_cuts_it_out_of_the_directory(yard: Yard, tmp_path: Path) -> None:
    one, two = (json.dumps(yard.manifest(name)) for name in ("one", "two"))
    yard.node.put("both.yaml", f"{one}\n---\n{two}\n")
    for name in ("one", "two"):
        yard.node.wait_phase(name, "Running")
    assert yard.node.cli("delete", "pod", "one").stdout == 'pod "one" deleted\n'
    assert yard.node.pod("one") is None, "without --wait=false it waits for the end"
    assert '"two"' in (yard.node.manifests / "both.yaml").read_text()
    (tmp_path / "two.json").write_text(two)
    assert yard.node.cli("delete", "-f", str(tmp_path / "two.json")).stdout == 'pod "two" deleted\n'
    assert not (yard.node.manifests / "both.yaml").exists()
    missing = yard.node.cli("delete", "pod", "one", check=False)
    assert (missing.returncode, missing.stderr) == (1, 'Error from server (NotFound): pods "one" not found\n')


def test_namespaces_keep_pods_of_one_name_apart(yard: Yard) -> None:
    yard.put("web")
    yard.node.put("other.json", yard.manifest("web", metadata={"namespace": "lab"}))
    yard.node.wait_phase("web", "Running")
    yard.node.wait_phase("web", "Running", "lab")
    assert yard.node.cli("-n", "lab", "exec", "web", "--", "hostname").stdout == "web\n"
    table = yard.node.cli("get", "pods", "-A").stdout.splitlines()
    assert [line.split()[:2] for line in table[1:]] == [["default", "web"], ["lab", "web"]]
    yard.node.cli("-n", "lab", "delete", "pod", "web")
    assert yard.node.pod("web") is not None


# -- restarts --------------------------------------------------------------------------------------------------------


def test_a_failing_container_is_restarted_with_growing_waits_and_counts(yard: Yard) -> None:
    yard.put("crash", yard.container("echo words of run $HOSTNAME; exit 3"))
    yard.wait_state("crash", "waiting", "CrashLoopBackOff")
    yard.node.wait_until(lambda: yard.restarts("crash") >= 2, "it was restarted twice")
    seen = yard.status("crash")
    assert (seen["lastState"].get("terminated") or seen["state"]["terminated"])["exitCode"] == 3
    assert "words of run crash" in yard.wait_event("crash", "Error", "exited with code 3")["message"]
    yard.wait_event("crash", "BackOff")
    line = yard.node.cli("get", "pods", "crash").stdout.splitlines()[1].split()
    assert line[1] == "0/1"
    assert int(line[3]) >= 2
    count = yard.restarts("crash")
    yard.node.wait_until(lambda: yard.restarts("crash") > count, "the count only ever grows")
    times = [event["lastTimestamp"] for event in yard.events("crash") if event["reason"] == "BackOff"]
    assert times


@pytest.mark.parametrize(
    ("policy", "code", "phase", "state"),
    [
        ("Never", 0, "Succeeded", "Completed"),
        ("Never", 3, "Failed", "Error"),
        ("OnFailure", 0, "Succeeded", "Completed"),
    ],
)
def test_a_pod_that_may_end_ends(yard: Yard, policy: str, code: int, phase: str, state: str) -> None:
    yard.put("job", yard.container(f"echo done; exit {code}"), restartPolicy=policy)
    yard.node.wait_phase("job", phase)
    ended = yard.wait_state("job", "terminated", state)
    assert (ended["exitCode"], yard.restarts("job")) == (code, 0)
    assert yard.log("job") == "done\n"
    assert yard.node.cli("get", "pods", "job").stdout.splitlines()[1].split()[1:4] == ["0/1", state, "0"]


def test_on_failure_tries_until_it_succeeds(yard: Yard) -> None:
    """What a container writes to its root is lost with the run; /dev/shm is the pod's and stays."""
    script = "echo x >>/dev/shm/tries; test $(wc -l </dev/shm/tries) -ge 3"
    yard.put("job", yard.container(script), restartPolicy="OnFailure")
    yard.node.wait_phase("job", "Succeeded")
    assert yard.restarts("job") == 2


def test_always_restarts_what_has_completed(yard: Yard) -> None:
    yard.put("again", yard.container("exit 0"))
    yard.node.wait_until(lambda: yard.node.pod("again") and yard.restarts("again") >= 2, "it was started again")
    ended = yard.wait_state("again", "terminated", "Completed")
    assert ended["exitCode"] == 0
    assert not [event for event in yard.events("again") if event["type"] == "Warning"]


def test_a_container_that_ends_does_not_disturb_the_other(yard: Yard) -> None:
    yard.put("two", yard.container("exec sleep infinity", "stays"), yard.container("sleep 0.1; exit 1", "goes"))
    yard.node.wait_until(
        lambda: yard.node.pod("two") and yard.status("two", "goes")["restartCount"] >= 1, "one was restarted"
    )
    assert yard.restarts("two", "stays") == 0


# -- edits -----------------------------------------------------------------------------------------------------------


def test_a_changed_command_restarts_that_container_only(yard: Yard) -> None:
    two = yard.container(name="two")
    yard.run("web", yard.container("exec sleep 1000", "one"), two)
    uid, other, old = yard.uid("web"), yard.pid("web", "two"), yard.pid("web", "one")
    yard.put("web", yard.container("exec sleep 2000", "one"), two)
    yard.wait_restarts("web", 1, "one")
    assert yard.exec("web", "cat", "/proc/1/cmdline", container="one") == "sleep\x002000\0"
    assert (yard.uid("web"), yard.pid("web", "two"), yard.restarts("web", "two")) == (uid, other, 0)
    assert not alive(old)


@pytest.mark.parametrize("what", ["env", "image"])
def test_a_changed_env_or_image_restarts_the_container(yard: Yard, what: str) -> None:
    (yard.node.root / "other").unlink(missing_ok=True)
    (yard.node.root / "other").symlink_to(yard.rootfs)
    yard.run("web", yard.container(env=[{"name": "A", "value": "1"}]))
    other = str(yard.node.root / "other")
    changed: Json = {"env": [{"name": "A", "value": "2"}]} if what == "env" else {"image": other}
    yard.put("web", {**yard.container(env=[{"name": "A", "value": "1"}]), **changed})
    yard.wait_restarts("web", 1)
    assert yard.sh("web", "echo $A") == ("2\n" if what == "env" else "1\n")


def test_labels_and_formatting_restart_nothing(yard: Yard) -> None:
    yard.run("web")
    before = yard.uid("web"), yard.pid("web"), start_time(yard.pid("web"))
    labelled = yard.manifest("web", metadata={"labels": {"app": "web"}, "annotations": {"note": "x"}})
    yard.node.put("web.json", json.dumps(labelled, indent=4))
    yard.node.wait_until(
        lambda: (yard.node.pod("web") or {})["metadata"].get("labels") == {"app": "web"}, "the label is there"
    )
    assert "web" in yard.node.cli("get", "pods", "-l", "app=web").stdout
    assert (yard.uid("web"), yard.pid("web"), start_time(yard.pid("web"))) == before
    assert yard.restarts("web") == 0


def test_a_container_is_added_and_taken_away_while_the_other_runs(yard: Yard) -> None:
    yard.run("web")
    before = yard.pid("web")
    yard.put("web", yard.container(), yard.container(name="side"))
    yard.node.wait_until(lambda: len((yard.node.pod("web") or {})["status"]["containerStatuses"]) == 2, "two are there")
    yard.wait_state("web", "running", container="side")
    side = yard.pid("web", "side")
    yard.put("web")
    yard.node.wait_until(lambda: not alive(side), "the second is gone")
    yard.node.wait_until(lambda: len((yard.node.pod("web") or {})["status"]["containerStatuses"]) == 1, "one is there")
    assert (yard.pid("web"), yard.restarts("web")) == (before, 0)


def test_a_changed_sandbox_makes_a_new_pod(yard: Yard) -> None:
    yard.run("web")
    uid, pid = yard.uid("web"), yard.pid("web")
    yard.put("web", hostNetwork=True)
    yard.node.wait_until(lambda: (yard.node.pod("web") or {"metadata": {"uid": uid}})["metadata"]["uid"] != uid, "new")
    yard.node.wait_phase("web", "Running")
    assert not alive(pid)
    yard.nothing_is_left_of(uid)
    assert os.readlink(f"/proc/{yard.pid('web')}/ns/net") == os.readlink("/proc/self/ns/net")
    assert yard.restarts("web") == 0


# -- the end of a container ------------------------------------------------------------------------------------------

HANDLER = "trap 'echo asked; exit 7' TERM; echo ready; while :; do sleep 0.05; done"
DEAF = "trap '' TERM; echo ready; while :; do sleep 0.05; done"


def test_a_container_is_asked_first_and_its_own_exit_code_counts(yard: Yard) -> None:
    yard.run("web", yard.container(HANDLER), terminationGracePeriodSeconds=30)
    yard.log_says("web", "ready")
    follow = spawn_cli(yard.node, "logs", "-f", "web")
    yard.node.cli("delete", "pod", "web")
    assert "asked" in follow.communicate(timeout=20)[0]
    assert "exited with code 7" in " ".join(event["message"] for event in yard.events("web"))


def test_a_deaf_container_is_killed_at_the_deadline(yard: Yard) -> None:
    yard.run("web", yard.container(DEAF), terminationGracePeriodSeconds=1)
    yard.log_says("web", "ready")
    pid = yard.pid("web")
    (yard.node.manifests / "web.json").unlink()
    yard.node.wait_until(lambda: "deletionTimestamp" in (yard.node.pod("web") or {"metadata": {}})["metadata"], "going")
    assert alive(pid), "it still has its grace"
    assert "Terminating" in yard.node.cli("get", "pods").stdout
    yard.node.wait_gone("web")
    assert not alive(pid)
    assert "was killed by signal 9" in " ".join(event["message"] for event in yard.events("web"))


def test_force_kills_at_once_and_shortens_a_grace_that_runs(yard: Yard) -> None:
    yard.run("web", yard.container(DEAF), terminationGracePeriodSeconds=3600)
    yard.log_says("web", "ready")
    yard.node.cli("delete", "pod", "web", "--wait=false")
    yard.node.wait_until(lambda: "deletionTimestamp" in (yard.node.pod("web") or {"metadata": {}})["metadata"], "going")
    yard.node.cli("delete", "pod", "web", "--grace-period=0", "--force")
    yard.node.wait_gone("web")


def test_a_restart_for_a_changed_command_honours_the_grace(yard: Yard) -> None:
    yard.run("web", yard.container(HANDLER), terminationGracePeriodSeconds=30)
    yard.log_says("web", "ready")
    yard.put("web", yard.container(HANDLER + " # changed"), terminationGracePeriodSeconds=30)
    seen = yard.wait_restarts("web", 1)
    assert seen["lastState"]["terminated"]["exitCode"] == 7
    assert yard.node.cli("logs", "-p", "web").stdout == "ready\nasked\n"


# -- apply -----------------------------------------------------------------------------------------------------------


def test_apply_says_created_configured_unchanged(yard: Yard, tmp_path: Path) -> None:
    file = tmp_path / "web.json"
    file.write_text(json.dumps(yard.manifest("web")))
    said = []
    for _ in range(2):
        said.append(yard.node.cli("apply", "-f", str(file), "--wait", "--timeout=20s").stdout.splitlines()[0])
    pid = yard.pid("web")
    file.write_text(json.dumps(yard.manifest("web", yard.container("exec sleep 1000"))))
    said.append(yard.node.cli("apply", "-f", "-", input=file.read_text()).stdout.splitlines()[0])
    assert said == ["pod/web created", "pod/web unchanged", "pod/web configured"]
    yard.wait_restarts("web", 1)
    assert not alive(pid)


def test_apply_dry_run_changes_nothing(yard: Yard) -> None:
    done = yard.node.cli("apply", "-f", "-", "--dry-run", input=json.dumps(yard.manifest("web")))
    assert done.stdout == "pod/web created (dry run)\n"
    assert yard.node.pod("web") is None
    assert not list(yard.node.manifests.iterdir())


def test_apply_wait_fails_where_the_pod_does_not_come_up(yard: Yard) -> None:
    text = json.dumps(yard.manifest("web", {**yard.container(), "command": ["no-such-command"]}))
    done = yard.node.cli("apply", "-f", "-", "--wait", "--timeout=1s", input=text, check=False)
    assert done.returncode == 1
    assert "no-such-command" in done.stdout + done.stderr


# -- logs ------------------------------------------------------------------------------------------------------------


def test_logs_give_the_lines_as_asked_for(yard: Yard) -> None:
    yard.run(
        "web", yard.container("for i in $(seq 5); do echo line $i; sleep 0.02; done; echo err >&2; exec sleep infinity")
    )
    yard.log_says("web", "err")

    def logs(*options: str) -> str:
        return yard.node.cli("logs", "web", *options).stdout

    assert sorted(logs().splitlines()) == ["err", *(f"line {number}" for number in range(1, 6))]
    assert len(logs("--tail", "2").splitlines()) == 2
    assert logs("--tail", "0") == ""
    stamped = logs("--timestamps").splitlines()
    assert all(line.split()[0].endswith("Z") and line[4] == "-" for line in stamped)
    assert logs("--since", "1h") == logs()
    since = stamped[3].split()[0]
    assert len(logs(f"--since-time={since}").splitlines()) == 3


def test_logs_follow_what_is_written(yard: Yard) -> None:
    yard.run("web", yard.container("i=0; while :; do i=$((i + 1)); echo $i; sleep 0.01; done"))
    follow = spawn_cli(yard.node, "logs", "-f", "web")
    assert follow.stdout is not None
    lines = [int(follow.stdout.readline()) for _ in range(60)]
    follow.terminate()
    follow.wait(20)
    follow.stdout.close()
    assert lines == list(range(1, 61)), "no line is lost, none comes twice"


def test_logs_of_the_run_before(yard: Yard) -> None:
    yard.put("web", yard.container("echo run; cat /proc/sys/kernel/random/uuid; sleep 0.1; exit 1"))
    yard.node.wait_until(lambda: yard.node.pod("web") and yard.restarts("web") >= 1, "it was restarted")
    before, now = yard.node.cli("logs", "-p", "web").stdout, yard.log("web")
    assert before.startswith("run\n")
    assert before != now
    yard.run("other")
    refused = yard.node.cli("logs", "-p", "other", check=False)
    assert refused.returncode == 1
    assert refused.stderr.endswith('previous terminated container "app" in pod "other" not found\n')


def test_output_without_a_newline_and_binary_output_are_kept(yard: Yard) -> None:
    yard.run("web", yard.container("printf 'no newline'; printf '\\001\\377\\n' >&2; exec sleep infinity"))
    words = [*yard.node.command, "logs", "web"]
    for wanted in (b"no newline", b"\x01\xff\n"):
        yard.node.wait_until(
            lambda wanted=wanted: wanted in subprocess.run(words, capture_output=True).stdout,  # type: ignore[misc]
            f"the log holds {wanted!r}",
        )


# -- exec ------------------------------------------------------------------------------------------------------------


def test_exec_passes_on_the_exit_code(yard: Yard) -> None:
    yard.run("web")
    for script, code in {"exit 0": 0, "exit 42": 42, "kill -9 $$": 137, "nosuchcommand": 127}.items():
        assert yard.node.cli("exec", "web", "--", "sh", "-c", script, check=False).returncode == code, script
    missing = yard.node.cli("exec", "web", "--", "nosuchcommand", check=False)
    assert missing.returncode != 0
    assert "nosuchcommand" in missing.stderr
    assert yard.node.cli("exec", "web", "-c", "nope", "--", "true", check=False).stderr == (
        "Error from server (BadRequest): container nope is not valid for pod web\n"
    )


def test_exec_keeps_output_and_errors_apart(yard: Yard) -> None:
    yard.run("web")
    done = yard.node.cli("exec", "web", "--", "sh", "-c", "echo out; echo err >&2; exit 3", check=False)
    assert (done.stdout, done.returncode) == ("out\n", 3)
    assert done.stderr == "err\ncommand terminated with exit code 3\n"


def test_exec_pipes_a_large_binary_both_ways(yard: Yard) -> None:
    yard.run("web")
    data = os.urandom(8 << 20) + bytes(range(256))
    done = subprocess.run(
        [*yard.node.command, "exec", "-i", "web", "--", "cat"], input=data, capture_output=True, timeout=60, check=True
    )
    assert hashlib.sha256(done.stdout).hexdigest() == hashlib.sha256(data).hexdigest()
    half = subprocess.run(
        [*yard.node.command, "exec", "-i", "web", "--", "head", "-c", "10"], input=data, capture_output=True, timeout=60
    )
    assert (half.returncode, half.stdout) == (0, data[:10])


def test_exec_without_i_has_no_input(yard: Yard) -> None:
    yard.run("web")
    assert yard.node.cli("exec", "web", "--", "cat", input="not for you").stdout == ""


def test_exec_on_a_terminal_has_its_size_and_its_keys(yard: Yard) -> None:
    yard.run("web")
    words = ("--root", str(yard.node.root), "exec", "-it", "web", "--", "sh")
    with Terminal(*words, environment=dict(os.environ), size=(33, 101)) as terminal:
        terminal.type("stty size; tty\r")
        terminal.expect("33 101")
        terminal.expect("/dev/pts/")
        terminal.resize(40, 120)
        terminal.type("sleep 0.1; stty size\r")
        terminal.expect("40 120")
        terminal.type("sleep 1000\r")
        terminal.expect("sleep 1000")
        yard.node.wait_until(lambda: "sleep 1000" in yard.exec("web", "ps", "-o", "args"), "the command runs")
        terminal.type("\x03")
        terminal.type("exit 9\r")
        assert terminal.wait() == 9
        assert terminal.restored
    assert yard.exec("web", "ps", "-o", "args").splitlines() == ["COMMAND", "sleep infinity", "ps -o args"]


def test_what_exec_started_dies_with_the_container(yard: Yard) -> None:
    yard.run("web")
    background = spawn_cli(yard.node, "exec", "web", "--", "sleep", "3000")
    yard.node.wait_until(lambda: "sleep 3000" in yard.exec("web", "ps", "-o", "args"), "the command runs")
    pids = [int(pid) for pid in (yard.controller("pids", "web") / "cgroup.procs").read_text().split()]
    assert len(pids) == 2, "it is in the container's cgroup"
    os.kill(yard.pid("web"), signal.SIGKILL)
    assert background.wait(20) == 137
    assert background.stdout is not None
    background.stdout.close()
    assert not [pid for pid in pids if alive(pid)]
    yard.wait_restarts("web", 1)


# -- looking ---------------------------------------------------------------------------------------------------------


def test_wait_waits_for_conditions_fields_and_deletion(yard: Yard) -> None:
    yard.put("web", yard.container(HANDLER), terminationGracePeriodSeconds=30)
    ready = yard.node.cli("wait", "--for=condition=Ready", "pod/web", "--timeout=20s")
    assert ready.stdout == "pod/web condition met\n"
    yard.node.cli("wait", "--for=jsonpath={.status.phase}=Running", "pod/web", "--timeout=20s")
    waiting = spawn_cli(yard.node, "wait", "--for=delete", "pod/web", "--timeout=20s")
    (yard.node.manifests / "web.json").unlink()
    assert waiting.wait(20) == 0
    assert waiting.stdout is not None
    waiting.stdout.close()
    yard.run("other")
    late = yard.node.cli("wait", "--for=jsonpath={.status.phase}=Failed", "pod/other", "--timeout=0.3s", check=False)
    assert late.returncode == 1
    assert "timed out" in late.stderr


def test_get_watch_shows_each_change(yard: Yard) -> None:
    watching = spawn_cli(yard.node, "get", "pods", "-w")
    assert watching.stdout is not None
    yard.run("web", yard.container(HANDLER), terminationGracePeriodSeconds=30)
    seen = ""
    while "Running" not in seen:
        seen += watching.stdout.readline()
    (yard.node.manifests / "web.json").unlink()
    while "Terminating" not in seen:
        seen += watching.stdout.readline()
    watching.terminate()
    watching.wait(20)
    watching.stdout.close()
    assert seen.splitlines()[0].split() == ["NAME", "READY", "STATUS", "RESTARTS", "AGE"]


def test_get_gives_every_format(yard: Yard) -> None:
    yard.run("web", metadata={"labels": {"app": "web"}})

    def get(*options: str) -> str:
        return yard.node.cli("get", "pods", "web", *options).stdout

    assert get("-o", "name") == "pod/web\n"
    assert get("-o", "jsonpath={.metadata.labels.app} {.status.containerStatuses[0].restartCount}") == "web 0"
    assert json.loads(get("-o", "json"))["status"]["phase"] == "Running"
    assert "phase: Running" in get("-o", "yaml")
    assert get("-o", "wide").splitlines()[0].split()[:5] == ["NAME", "READY", "STATUS", "RESTARTS", "AGE"]


def test_events_tell_the_story_in_order(yard: Yard) -> None:
    yard.run("web")
    yard.remove("web")
    reasons = [event["reason"] for event in sorted(yard.events("web"), key=_order)]
    assert reasons.index("Started") < len(reasons)
    table = yard.node.cli("events").stdout.splitlines()
    assert table[0].split() == ["LAST", "SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"]
    assert any("Started container app" in line for line in table)


def _order(event: Json) -> int:
    return int(event["metadata"]["resourceVersion"])
