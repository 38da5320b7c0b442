"""What docs/images.md says is tried out."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from minikube_lite.cli import main, params
from minikube_lite.images.store import ImageError, ImageStore
from tests.images.archives import small_rootfs, tar

TEXT = (Path(__file__).parents[2] / "docs" / "images.md").read_text()


def test_the_busybox_recipe_makes_a_root_file_system_that_runs(store: ImageStore, tmp_path: Path) -> None:
    if not shutil.which("busybox"):
        pytest.skip("busybox-static is not installed")
    [recipe] = [block for block in re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL) if "busybox --list" in block]
    script = "\n".join(line for line in recipe.splitlines() if "apt-get" not in line)
    subprocess.run(["sh", "-ec", script], cwd=tmp_path, check=True)
    root = store.resolve("./rootfs", tmp_path).layers[0]
    assert subprocess.run([root / "bin/sh", "-c", "echo works"], capture_output=True, check=True).stdout == b"works\n"


def test_the_message_shown_for_a_registry_name_is_the_one_given(store: ImageStore, tmp_path: Path) -> None:
    [shown] = re.findall(r"```\n(.*is not on this machine)…\n```", TEXT)
    with pytest.raises(ImageError) as caught:
        store.resolve("nginx", tmp_path)
    assert caught.value.message.startswith(shown)


@pytest.mark.parametrize("line", re.findall(r"^(?:sudo )?minikube-lite (image .*)$", TEXT, re.MULTILINE))
def test_every_image_command_shown_is_one(line: str) -> None:
    first, second, *words = shlex.split(line, comments=True)
    command = main.load(f"{first} {second}")
    _, names, _ = params.parse(command.name, command.options + params.GLOBAL, words)
    assert names or second == "list" or second == "prune"


@pytest.mark.parametrize("image", sorted(set(re.findall(r"^\s*image: (\S+)$", TEXT, re.MULTILINE))))
def test_every_image_shown_is_of_a_form_that_works(store: ImageStore, tmp_path: Path, image: str) -> None:
    (tmp_path / "rootfs/bin").mkdir(parents=True)
    (tmp_path / "rootfs.tar.gz").write_bytes(tar(small_rootfs(), "w:gz"))
    assert store.resolve(image, tmp_path).layers
