"""`$(VAR)` as the Kubernetes documentation on dependent environment variables describes it."""

from __future__ import annotations

import pytest

from minikube_lite.core.expansion import expand, expand_environment

KNOWN = {"A": "a", "B": "b", "EMPTY": "", "REF": "$(A)", "spaced name": "s"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("plain", "plain"),
        ("$(A)", "a"),
        ("$(A)-$(A)_$(B)", "a-a_b"),
        ("x$(EMPTY)y", "xy"),
        ("$(UNKNOWN)", "$(UNKNOWN)"),
        ("$()", "$()"),
        ("$(spaced name)", "s"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$a"),
        ("$$$$(A)", "$$(A)"),
        ("$$A", "$A"),
        ("$A ${A} $? $!", "$A ${A} $? $!"),
        ("$", "$"),
        ("end$", "end$"),
        ("$$", "$"),
        ("$(A", "$(A"),
        ("$(", "$("),
        ("$(A)$(", "a$("),
        ("$($($(A)", "$($($(A)"),
        ("$(A$(B))", "$(A$(B))"),
        ("$(A$$B)", "$(A$$B)"),
        ("(A)", "(A)"),
        ("\\$(A)", "\\a"),
        ("$(REF)", "$(A)"),
        ("line\n$(A)\n", "line\na\n"),
    ],
)
def test_a_reference_is_replaced_only_where_kubernetes_replaces_it(text: str, expected: str) -> None:
    assert expand(text, KNOWN) == expected


def test_a_value_may_refer_to_what_stands_before_it() -> None:
    assert expand_environment([("A", "1"), ("B", "$(A)2"), ("C", "$(B)3")]) == {"A": "1", "B": "12", "C": "123"}


def test_a_value_does_not_see_what_stands_after_it() -> None:
    assert expand_environment([("B", "$(A)"), ("A", "1")]) == {"B": "$(A)", "A": "1"}


def test_the_last_of_a_repeated_name_wins_and_may_extend_the_first() -> None:
    assert expand_environment([("PATHS", "/a"), ("PATHS", "$(PATHS):/b")]) == {"PATHS": "/a:/b"}
