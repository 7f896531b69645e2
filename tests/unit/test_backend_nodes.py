"""The harness of onnx's node tests tells right from wrong by itself, and what agrees from what does not."""
from __future__ import annotations

import numpy as np
import pytest

from tests.backend_nodes.cases import collect
from tests.backend_nodes.compare import difference
from tests.backend_nodes.outcome import Outcome, are_finite, in_half, where_finite, with_numbers
from tests.backend_nodes.tables import agreement, counts

WANTED = np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4)


@pytest.mark.parametrize("got", [WANTED, WANTED.astype(np.float16), WANTED.reshape(1, 3, 4), WANTED * 1.005])
def test_what_half_precision_rounds_is_right(got: np.ndarray) -> None:
    assert difference({"y": WANTED}, [got]) == ""


@pytest.mark.parametrize(("got", "said"), [
    (WANTED * 1.05, "values"), (np.where(WANTED > 0.99, 0, WANTED), "1 of 12 values"), (WANTED.T, "shape [4, 3]"),
    (np.full_like(WANTED, np.nan), "12 of 12")])
def test_what_is_not_is_told(got: np.ndarray, said: str) -> None:
    assert said in difference({"y": WANTED}, [got])


def test_whole_numbers_are_equal_and_what_is_not_finite_is_the_same() -> None:
    assert "1 of 2 values" in difference({"y": np.array([3, 1000])}, [np.array([3, 1001])])
    odd = np.array([np.inf, -np.inf, np.nan, 1.0], np.float32)
    assert difference({"y": odd}, [odd]) == "" and "1 of 4" in difference({"y": odd}, [np.nan_to_num(odd, nan=np.nan,
                                                                                     posinf=np.inf, neginf=65504.0)])
    assert "0 outputs instead of 1" in difference({"y": odd}, [])


def test_a_limit_takes_one_of_each_operator_before_a_second_one() -> None:
    cases = collect(40)
    assert len(cases) == 40 == len({case.operator for case in cases})
    assert {case.operator for case in collect(pattern="Softmax")} >= {"Softmax"}


def outcome(said: str, happened: str) -> Outcome:
    return Outcome("test_x", "X", "intel", said, happened, "", "", 0.1)


def test_the_tables_count_what_was_said_beside_what_happened() -> None:
    outcomes = [outcome("valid", "right"), outcome("valid", "wrong"), outcome("valid", "compile_failed"),
                outcome("unsupported_operator", "unsupported_operator"), outcome("uncertain", "accuracy_too_low"),
                outcome("valid", "right but for NaN")]
    assert [entry.agrees for entry in outcomes] == [True, True, False, True, True, True]
    assert "| right | 1 |" in counts(outcomes) and "| wrong | 1 |" in counts(outcomes)
    assert agreement(outcomes).splitlines()[2:] == [
        "| intel | refused | 0 | 0 | 0 | 0 | 1 |", "| intel | uncertain | 0 | 0 | 0 | 1 | 0 |",
        "| intel | valid | 1 | 1 | 1 | 0 | 1 |"]


def test_inputs_are_rounded_to_half_precision_and_rid_of_what_is_no_number() -> None:
    odd = {"x": np.array([10001.0, np.nan, np.inf, -np.inf, 1e9], np.float32), "i": np.array([10001])}
    assert not are_finite(odd) and are_finite({"x": np.ones(2), "i": odd["i"]})
    np.testing.assert_array_equal(in_half(odd)["x"], np.array([10000, np.nan, np.inf, -np.inf, np.inf], np.float32))
    np.testing.assert_array_equal(with_numbers(odd)["x"], np.array([10001, 0.5, 2.5, -2.5, 1e9], np.float32))
    wanted, given = where_finite(odd, [np.array([10001, 3, 4, 5, 1e9]), odd["i"]])
    assert difference(wanted, given) == "" and "1 of 5" in difference(*where_finite(
        odd, [np.array([10001, 3, 4, 5, 5e8]), odd["i"]]))
    assert in_half(odd)["i"] is odd["i"] is with_numbers(odd)["i"]
