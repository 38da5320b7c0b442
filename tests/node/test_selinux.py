"""A label counts only where the machine has SELinux."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from minikube_lite.core.oci import CannotRun
from minikube_lite.node.selinux import refuse_label
from tests.core.healthy import container, pod

LABEL = {"seLinuxOptions": {"level": "s0:c1"}}


@pytest.mark.parametrize(("shared", "own"), [(LABEL, {}), ({}, LABEL)])
def test_a_label_is_refused_where_it_would_count_and_ignored_where_not(tmp_path: Path, shared: Any, own: Any) -> None:
    whole = pod(container(securityContext=own), securityContext=shared)
    refuse_label(whole, whole.spec.containers[0], tmp_path / "enforce")
    (tmp_path / "enforce").write_text("0")
    with pytest.raises(CannotRun, match="seLinuxOptions: this machine has SELinux"):
        refuse_label(whole, whole.spec.containers[0], tmp_path / "enforce")


def test_who_asks_for_none_runs_anywhere(tmp_path: Path) -> None:
    (tmp_path / "enforce").write_text("1")
    whole = pod(container(securityContext={"runAsUser": 1}), securityContext={"seLinuxOptions": {}})
    refuse_label(whole, whole.spec.containers[0], tmp_path / "enforce")
