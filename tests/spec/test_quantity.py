"""Quantities are Kubernetes' own: what is read, how it is printed, how it compares."""

from __future__ import annotations

import json
import pickle
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from minikube_lite.spec.quantity import Quantity
from tests.spec.kubectl import needs_kubectl, quantities_as_kubectl_prints

# text, exact value, as `kubectl set image --local -o json` printed it
PRINTED = [
    ("0", "0", "0"),
    ("0Ki", "0", "0"),
    ("-0", "0", "0"),
    ("0.5", "0.5", "500m"),
    (".5", "0.5", "500m"),
    ("5.", "5", "5."),
    ("500m", "0.5", "500m"),
    ("1000m", "1", "1"),
    ("1500m", "1.5", "1500m"),
    ("+5", "5", "+5"),
    ("-5", "-5", "-5"),
    ("-.5Gi", "-536870912", "-512Mi"),
    ("00001", "1", "00001"),
    ("1000", "1000", "1k"),
    ("1024", "1024", "1024"),
    ("128Mi", "134217728", "128Mi"),
    ("1024Ki", "1048576", "1Mi"),
    ("1000Ki", "1024000", "1000Ki"),
    ("1.5Gi", "1610612736", "1536Mi"),
    ("0.5Ki", "512", "512"),
    ("1.1Ki", "1126.4", "1126400m"),
    ("0.0001Ki", "0.1024", "102400u"),
    ("1G", "1000000000", "1G"),
    ("1.5E", "1500000000000000000", "1500P"),
    ("1e3", "1000", "1e3"),
    ("1E3", "1000", "1E3"),
    ("1e+3", "1000", "1e+3"),
    ("1e5", "100000", "100e3"),
    ("10e3", "10000", "10e3"),
    ("1.5e3", "1500", "1500"),
    ("0.001e3", "1", "1"),
    ("3.0000e3", "3000", "3e3"),
    ("123456e-2", "1234.56", "1234560e-3"),
    ("1e-3", "0.001", "1e-3"),
    ("1n", "0.000000001", "1n"),
    ("0.1n", "0.000000001", "1n"),
    ("1e-12", "0.000000001", "1e-9"),
    ("1.0000000001", "1.000000001", "1000000001n"),
    ("-1.2345678901", "-1.234567891", "-1234567891n"),
    ("9223372036854775808", "9223372036854775808", "9223372036854775808"),
    ("99999999999999999999Ei", "9223372036854775807", "9223372036854775807"),
    ("1e1000", "1e1000", "10e999"),
    (" 1 ", "1", "1"),
]


@pytest.mark.parametrize(("text", "value", "printed"), PRINTED)
def test_a_quantity_has_its_exact_value_and_prints_as_kubernetes_prints_it(text: str, value: str, printed: str) -> None:
    quantity = Quantity.parse(text)
    assert quantity.value == Decimal(value)
    assert str(quantity) == printed


@pytest.mark.parametrize(
    "text",
    ["", " ", "+", "-", ".", "Ki", "m", "1e3m", "1e", "1K", "1ki", "1mi", "1Mi1", "1kk", "0x10", "1_0", "1 Gi", "1,5",
     "1e1.5", "abc", "1..5", "--1", "١", "1GB", "1e9999999999", "1" * 1001, "NaN", "inf"],
)  # fmt: skip
def test_what_is_no_quantity_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a quantity|is out of range"):
        Quantity.parse(text)


@pytest.mark.parametrize(
    ("text", "guess"),
    [("1GB", "1G"), ("512mb", "512M"), ("1ki", "1Ki"), ("1K", "1k"), ("64MiB", "64Mi"), ("1 Gi", "1Gi"), ("5b", "5")],
)
def test_a_wrong_suffix_is_answered_with_what_was_probably_meant(text: str, guess: str) -> None:
    with pytest.raises(ValueError, match=rf"did you mean {guess}\?$"):
        Quantity.parse(text)


@pytest.mark.parametrize(
    ("number", "printed"),
    [
        (1, "1"),
        (1000, "1k"),
        (1000.0, "1k"),
        (0.0, "0"),
        (0.5, "500m"),
        (0.00001, "10u"),
        (1e-9, "1e-9"),
        (1e-10, "1e-9"),
        (1e300, "1e+300"),
        (12345678901234567890123.0, "1.2345678901234568e+22"),
        (123456789012345680000.0, "123456789012345680k"),
        (Decimal("0.1"), "100m"),
    ],
)
def test_a_bare_number_is_read_as_json_would_carry_it(number: float, printed: str) -> None:
    assert str(Quantity.parse(number)) == printed


@pytest.mark.parametrize("value", [True, None, [], {}])
def test_what_is_no_number_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="expected a quantity"):
        Quantity.parse(value)  # type: ignore[arg-type]


def test_quantities_compare_and_hash_by_value() -> None:
    assert Quantity("1") == Quantity("1000m") == Quantity("1e0")
    assert Quantity("1Ki") != Quantity("1k")
    assert len({Quantity("1"), Quantity("1000m")}) == 1
    assert sorted(map(Quantity, ["1Gi", "1G", "0.5", "-1"])) == list(map(Quantity, ["-1", "0.5", "1G", "1Gi"]))
    assert Quantity("1") != 1


def test_a_quantity_does_not_change() -> None:
    quantity = Quantity("1")
    with pytest.raises(AttributeError):
        quantity._nanos = 5
    assert pickle.loads(pickle.dumps(quantity)) == quantity


@pytest.mark.parametrize(
    ("text", "milli", "whole"),
    [("1m", 1, 1), ("0.0005", 1, 1), ("1.0001", 1001, 2), ("-0.0005", -1, -1), ("2", 2000, 2)],
)
def test_millis_and_bytes_round_away_from_zero(text: str, milli: int, whole: int) -> None:
    assert (Quantity(text).milli, Quantity(text).bytes) == (milli, whole)


def test_a_model_reads_strings_and_numbers_and_writes_what_kubernetes_prints() -> None:
    class Model(BaseModel):
        amounts: dict[str, Quantity]

    model = Model.model_validate({"amounts": {"cpu": 0.5, "memory": "1024Ki", "n": 1000}})
    written = model.model_dump_json()
    assert json.loads(written) == {"amounts": {"cpu": "500m", "memory": "1Mi", "n": "1k"}}
    assert Model.model_validate_json(written) == model


TEXTS = st.from_regex(
    r"\A[+-]?([0-9]{1,25}(\.[0-9]{0,12})?|\.[0-9]{1,12})(|[numkMGTPE]|[KMGTPE]i|[eE][+-]?[0-9]{1,2})\Z"
)


@given(TEXTS)
def test_what_is_printed_reads_back_as_the_same_value(text: str) -> None:
    quantity = Quantity(text)
    again = Quantity(str(quantity))
    # What is over 2^63-1 and prints as binary is the one thing that Kubernetes caps.
    assert again == quantity
    assert hash(again) == hash(quantity)


@given(TEXTS)
def test_nothing_is_lost_down_to_nano_and_nothing_vanishes(text: str) -> None:
    quantity = Quantity(text)
    assert (quantity.nanos == 0) == all(digit in "0" for digit in text.lower().split("e")[0] if digit.isdigit())
    assert quantity.milli * 10**6 >= quantity.nanos if quantity.nanos >= 0 else quantity.milli * 10**6 <= quantity.nanos


@given(st.integers(-(2**70), 2**70))
def test_an_integer_is_itself(number: int) -> None:
    assert Quantity(number).value == number
    assert Quantity(str(number)) == Quantity(number)


@given(st.text(max_size=20))
def test_any_text_is_a_quantity_or_a_clear_refusal(text: str) -> None:
    try:
        Quantity(text)
    except ValueError as error:
        refusal = str(error)
    else:
        return
    assert "quantity" in refusal or "out of range" in refusal


@needs_kubectl
def test_kubectl_prints_them_so() -> None:
    texts = [text for text, _, _ in PRINTED]
    assert quantities_as_kubectl_prints(texts) == {text: printed for text, _, printed in PRINTED}
