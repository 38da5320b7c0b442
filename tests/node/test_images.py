"""What pods run on: policies, pulls and what is said of them, against a store and registries of values."""

from __future__ import annotations

import asyncio
import errno
import json
import threading
from pathlib import Path
from typing import Any

import pytest

from minikube_lite.images.image import ImageError, unavailable
from minikube_lite.node import images
from minikube_lite.node.runtime import RuntimeFailure
from tests.node.fakes import FakeSecret
from tests.node.harness import KEY, Life, app, wanted

NGINX = "docker.io/library/nginx:1.25"
LATEST = "docker.io/library/nginx:latest"
ONE, TWO = "sha256:" + "1" * 64, "sha256:" + "2" * 64


@pytest.fixture
def life(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Life:
    return Life(tmp_path / "root", monkeypatch)


async def until_running(life: Life, *names: str) -> None:
    async with asyncio.timeout(10):
        while life.running != sorted(names):
            await life.settle()
            await asyncio.sleep(0.001)


async def until_said(life: Life, reason: str, times: int = 1) -> list[str]:
    async with asyncio.timeout(10):
        while len(life.said(reason)) < times:
            await life.settle()
            await asyncio.sleep(0.001)
    return life.said(reason)


def how(life: Life) -> list[str]:
    return [f"{method} {name.rpartition('/')[2]}" for method, name, _ in life.registries.asked]


# -- policies ----------------------------------------------------------------------------------------------------------


async def test_an_image_that_is_not_there_is_pulled_and_told_in_the_kubelet_s_words(life: Life) -> None:
    life.registries.has[NGINX] = ONE
    await life.want(wanted(app(image="nginx:1.25")))
    assert life.seen().image == "pulling" or life.running
    await until_running(life, "app")
    assert life.said("Pulling") == ['Pulling image "nginx:1.25"']
    (message,) = life.said("Pulled")
    assert message.startswith('Successfully pulled image "nginx:1.25" in ')
    assert message.endswith(" including waiting). Image size: 1000 bytes.")
    assert life.seen().image_id == f"docker.io/library/nginx@{ONE}"
    assert how(life) == ["GET nginx:1.25"]


@pytest.mark.parametrize(
    ("reference", "policy", "asked", "runs_on"),
    [
        ("nginx:1.25", "", [], ONE),
        ("nginx:1.25", "IfNotPresent", [], ONE),
        ("nginx:1.25", "Never", [], ONE),
        ("nginx:1.25", "Always", ["HEAD nginx:1.25", "GET nginx:1.25"], TWO),
        ("nginx", "", ["HEAD nginx:latest", "GET nginx:latest"], TWO),
        ("nginx", "IfNotPresent", [], ONE),
    ],
)
async def test_what_is_there_is_used_or_compared_as_the_policy_says(
    life: Life, reference: str, policy: str, asked: list[str], runs_on: str
) -> None:
    for name in (NGINX, LATEST):
        life.images.put(name, ONE)
        life.registries.has[name] = TWO
    await life.want(wanted(app(image=reference, **({"imagePullPolicy": policy} if policy else {}))))
    await until_running(life, "app")
    assert how(life) == asked
    assert life.seen().image_id == f"docker.io/library/nginx@{runs_on}"
    if not asked:
        assert life.said("Pulled") == [f'Container image "{reference}" already present on machine']
        assert not life.said("Pulling")


async def test_always_downloads_nothing_where_nothing_changed(life: Life) -> None:
    life.images.put(LATEST, ONE)
    life.registries.has[LATEST] = ONE
    await life.want(wanted(app(image="nginx")))
    await until_running(life, "app")
    assert how(life) == ["HEAD nginx:latest"]
    assert life.said("Pulled")[0].startswith("Successfully pulled")


async def test_always_asks_before_each_start_and_not_before_it_is_due(life: Life) -> None:
    life.images.put(LATEST, ONE)
    life.registries.has[LATEST] = ONE
    await life.want(wanted(app(image="nginx")))
    await until_running(life, "app")
    for count in range(2, 4):
        life.runtime.end("app", 1)
        await life.settle()
        while life.running != ["app"]:
            await life.pass_time(1)
            await life.settle()
            await asyncio.sleep(0.001)
        assert how(life) == ["HEAD nginx:latest"] * count


async def test_what_was_brought_in_by_hand_is_looked_for_nowhere_else_unless_that_is_written(life: Life) -> None:
    life.images.put(LATEST, ONE, by_hand=True)
    await life.want(wanted(app("a", image="nginx"), app("b", image="nginx", imagePullPolicy="Always")))
    await until_running(life, "a")
    await until_said(life, "BackOff")
    assert how(life) == ["HEAD nginx:latest"]
    assert life.seen("a").image_id == f"sha256:{ONE}", "no registry's digest is claimed for it"
    failure = life.seen("b").image_failure
    assert failure is not None
    assert failure.reason == "ErrImagePull"


async def test_never_pulls_never_and_says_so_until_the_image_comes_by_hand(life: Life) -> None:
    await life.want(wanted(app(image="nginx:1.25", imagePullPolicy="Never")))
    assert life.said("ErrImageNeverPull") == ['Container image "nginx:1.25" is not present with pull policy of Never']
    assert life.said("Failed") == ["Error: ErrImageNeverPull"]
    failure = life.seen().image_failure
    assert failure is not None
    assert (failure.reason, failure.message) == ("ErrImageNeverPull", life.said("ErrImageNeverPull")[0])
    life.images.put(NGINX, ONE, by_hand=True)
    await life.pass_time(10)
    await until_running(life, "app")
    assert how(life) == []


@pytest.mark.parametrize("reference", ["host", "/rootfs", "./rootfs"])
@pytest.mark.parametrize("policy", ["Always", "IfNotPresent", "Never"])
async def test_no_policy_concerns_files_of_this_machine(life: Life, reference: str, policy: str) -> None:
    await life.want(wanted(app(image=reference, imagePullPolicy=policy)))
    assert life.running == ["app"]
    assert how(life) == []
    assert not life.said("Pulled")


# -- failures ----------------------------------------------------------------------------------------------------------


async def test_a_pull_that_fails_is_told_with_its_cause_and_tried_again_with_back_off(life: Life) -> None:
    life.registries.has[NGINX] = ONE
    life.registries.fail[NGINX] = [unavailable("registry-1.docker.io: it is down") for _ in range(2)]
    await life.want(wanted(app(image="nginx:1.25")))
    await until_said(life, "BackOff")
    await life.settle()
    assert set(life.said("Failed")) == {
        'Failed to pull image "nginx:1.25": registry-1.docker.io: it is down',
        "Error: ErrImagePull",
    }
    assert life.said("BackOff") == ['Back-off pulling image "nginx:1.25"']
    assert life.wake[KEY] == life.now + 2
    await life.pass_time(2)
    await until_said(life, "Failed", 3)
    assert "Error: ImagePullBackOff" in life.said("Failed")
    failure = life.seen().image_failure
    assert failure is not None
    assert failure.count == 2
    await life.pass_time(4)
    await until_running(life, "app")
    assert life.seen().image_failure is None


async def test_a_name_that_is_none_is_told_as_the_kubelet_tells_it(life: Life) -> None:
    await life.want(wanted(app(image="Not A Name")))
    (message,) = life.said("InspectFailed")
    assert message.startswith('Failed to apply default image tag "Not A Name": `Not A Name` is not an image reference')
    assert life.said("Failed") == ["Error: InvalidImageName"]


async def test_an_edit_of_the_image_ends_the_wait_for_the_old_one(life: Life) -> None:
    life.registries.gates["docker.io/library/old:1"] = gate = threading.Event()
    life.registries.has |= {"docker.io/library/old:1": TWO, NGINX: ONE}
    await life.want(wanted(app(image="old:1")))
    await until_said(life, "Pulling")
    await life.want(wanted(app(image="nginx:1.25")))
    await until_running(life, "app")
    assert life.seen().image_id == f"docker.io/library/nginx@{ONE}"
    gate.set()
    await life.settle()
    assert life.seen().image_reference == "nginx:1.25"
    assert [message for message in life.said("Pulled") if "old:1" in message] == []


async def test_an_image_that_comes_by_hand_ends_its_back_off(life: Life, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "LOOK", 0.01)
    await life.want(wanted(app(image="nginx:1.25")))
    await until_said(life, "BackOff")
    life.images.put(NGINX, ONE, by_hand=True)
    await until_running(life, "app")
    assert life.now == 1000.0, "no time had to go by"


async def test_what_was_removed_while_the_container_waited_is_brought_in_again(life: Life) -> None:
    life.registries.has[NGINX] = ONE
    await life.want(wanted(app(image="nginx:1.25")))
    await until_running(life, "app")
    for _ in range(2):
        life.runtime.end("app", 1)
        await life.settle()
    assert life.running == []
    life.images.names.clear()
    await life.pass_time(5)
    await until_running(life, "app")
    assert how(life) == ["GET nginx:1.25"] * 2


async def test_a_full_disk_is_given_room_and_the_pull_tried_again_once(life: Life) -> None:
    full = unavailable("cannot store it")
    full.__cause__ = OSError(errno.ENOSPC, "No space left on device")
    life.registries.has[NGINX] = ONE
    life.registries.fail[NGINX] = [full]
    life.room = [4096]
    await life.want(wanted(app(image="nginx:1.25")))
    await until_running(life, "app")
    assert not life.said("Failed")
    assert how(life) == ["GET nginx:1.25"] * 2


async def test_a_disk_that_stays_full_is_said(life: Life) -> None:
    full = unavailable("cannot store it: No space left on device")
    full.__cause__ = OSError(errno.ENOSPC, "No space left on device")
    life.registries.fail[NGINX] = [full]
    await life.want(wanted(app(image="nginx:1.25")))
    await until_said(life, "BackOff")
    assert 'Failed to pull image "nginx:1.25": cannot store it: No space left on device' in life.said("Failed")


# -- sharing -----------------------------------------------------------------------------------------------------------


async def test_two_containers_that_want_the_same_new_image_share_one_pull(life: Life) -> None:
    life.registries.has[NGINX] = ONE
    life.registries.gates[NGINX] = gate = threading.Event()
    await life.want(wanted(app("a", image="nginx:1.25"), app("b", image="nginx:1.25"), app("c")))
    assert life.running == ["c"]
    gate.set()
    await until_running(life, "a", "b", "c")
    assert how(life) == ["GET nginx:1.25"]
    assert len(life.said("Pulled")) == 2


async def test_a_pod_that_goes_while_its_image_is_pulled_is_gone_and_so_is_the_pull(life: Life) -> None:
    life.registries.has[NGINX] = ONE
    life.registries.gates[NGINX] = gate = threading.Event()
    await life.want(wanted(app(image="nginx:1.25")))
    await until_said(life, "Pulling")
    await life.want(None)
    gate.set()
    await life.settle()
    await life.executor.close()
    assert life.pods.get(KEY) is None
    assert NGINX not in life.images.names, "it was ended at its next piece"
    assert not life.said("Pulled")


async def test_a_node_that_dies_while_it_pulls_pulls_again(life: Life) -> None:
    life.registries.has[NGINX] = ONE
    life.registries.gates[NGINX] = gate = threading.Event()
    await life.want(wanted(app("a", image="nginx:1.25"), app("b")))
    await until_said(life, "Pulling")
    before = life.pod.observed.uid
    await life.executor.close()
    gate.set()
    await life.adopt()
    await life.settle()
    await until_running(life, "a", "b")
    assert life.pod.observed.uid == before
    assert life.starts("b") == 1


# -- secrets -----------------------------------------------------------------------------------------------------------


def docker_config(user: str) -> bytes:
    return json.dumps({"auths": {"docker.io": {"username": user, "password": "x"}}}).encode()


SECRETS: dict[str, FakeSecret] = {
    "json": FakeSecret("kubernetes.io/dockerconfigjson", {".dockerconfigjson": docker_config("one")}),
    "cfg": FakeSecret(
        "kubernetes.io/dockercfg", {".dockercfg": b'{"docker.io": {"username": "two", "password": "x"}}'}
    ),
    "opaque": FakeSecret("Opaque", {".dockerconfigjson": docker_config("three")}),
}


@pytest.mark.parametrize(
    ("names", "users", "warning"),
    [
        (["json"], {"one"}, ""),
        (["cfg"], {"two"}, ""),
        (["json", "cfg"], {"one", "two"}, ""),
        (["opaque"], set(), ""),
        (["none", "json", "lost"], {"one"}, "none, lost"),
        (["none"], set(), "none"),
        ([""], set(), ""),
    ],
)
async def test_the_pod_s_secrets_are_shown_and_a_missing_one_is_said(
    life: Life, names: list[str], users: set[str], warning: str
) -> None:
    life.registries.has[NGINX] = ONE
    life.secrets = {("default", name): secret for name, secret in SECRETS.items()}
    secrets: Any = [{"name": name} if name else {} for name in names]
    await life.want(wanted(app(image="nginx:1.25"), imagePullSecrets=secrets))
    await until_running(life, "app")
    assert {user for _, _, shown in life.registries.asked for user in shown} == users
    said = life.said("FailedToRetrieveImagePullSecret")
    words = f"Unable to retrieve some image pull secrets ({warning}); attempting to pull the image may not succeed."
    assert said == ([words] if warning else [])


async def test_a_secret_that_holds_no_credentials_is_said(life: Life) -> None:
    life.registries.has[NGINX] = ONE
    broken = FakeSecret("kubernetes.io/dockerconfigjson", {".dockerconfigjson": b'{"auths": {"x": {"auth": "?"}}}'})
    life.secrets["default", "broken"] = broken
    await life.want(wanted(app(image="nginx:1.25"), imagePullSecrets=[{"name": "broken"}]))
    await until_said(life, "BackOff")
    assert any("the Secret default/broken" in message for message in life.said("Failed"))


async def test_a_refusal_of_one_pod_s_credentials_is_not_another_s(life: Life) -> None:
    life.registries.has[NGINX] = ONE
    life.registries.fail[NGINX] = [ImageError("ErrImagePull", "401")]
    life.secrets["default", "json"] = SECRETS["json"]
    await life.want(wanted(app(image="nginx:1.25"), imagePullSecrets=[{"name": "json"}]))
    await until_said(life, "BackOff")
    assert life.registries.asked[-1][2] == ("one",)
    life.secrets["default", "json"] = SECRETS["cfg"]
    life.secrets["default", "json"] = FakeSecret(SECRETS["json"].type, {".dockerconfigjson": docker_config("new")})
    await life.pass_time(2)
    await until_running(life, "app")
    assert life.registries.asked[-1][2] == ("new",)


# -- leases ------------------------------------------------------------------------------------------------------------


async def test_an_image_is_leased_for_as_long_as_there_is_anything_of_a_run_on_it(life: Life) -> None:
    held: list[set[str]] = []
    life.runtime.on_start = lambda record, container, bundle: held.append(set(life.images.leased))
    await life.want(wanted())
    uid = life.pod.observed.uid
    first = f"{uid}/{life.pod.bundles['app']}"
    assert held == [{first}], "before it starts"
    life.runtime.end("app", 1)
    await life.settle()
    second = f"{uid}/{life.pod.bundles['app']}"
    assert set(life.images.leased) == {second}, "of the run before only the log is left"
    await life.adopt()
    assert set(life.images.leased) == {second}
    await life.want(None)
    assert life.images.leased == {}


async def test_a_start_that_fails_leaves_no_lease(life: Life) -> None:
    life.runtime.fail_start = [RuntimeFailure("CreateContainerError", "no room")]
    await life.want(wanted())
    assert life.images.leased == {}
    await life.pass_time(2)
    assert len(life.images.leased) == 1


async def test_leases_of_nobody_are_released_after_adoption(life: Life) -> None:
    await life.want(wanted())
    life.images.leased["gone/0-abc"] = life.images.resolve("host", Path("/m"))
    kept = set(life.images.leased) - {"gone/0-abc"}
    await life.adopt()
    life.pod_images.release_strangers()
    assert set(life.images.leased) == kept
