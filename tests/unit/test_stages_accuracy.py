"""The accuracy gate: what passes, what fails, and the figures that it tells."""
from __future__ import annotations

import json

import numpy as np
import pytest

from worker.stage_api import StageError
from worker.stages import accuracy
from worker.stages.accuracy import Gate, read_samples

NAN, INF = float("nan"), float("inf")


def parameters(min_cosine=0.999, accept=False, precision="fp16"):
    return {"precision": precision, "verify": {"min_cosine": min_cosine}, "accept_accuracy": accept}


def judge(pairs, *, min_cosine=0.999, accept=False, scale=None, kind="noise"):
    """The facts for one output `y` over `(expected, actual)` pairs."""
    pairs = [(np.array(a, np.float32), np.array(b, np.float32)) for a, b in pairs]
    finite = [np.abs(a[np.isfinite(a)]).max(initial=0.0) for a, _ in pairs]
    gate = Gate([{"name": "y", "max_abs": float(max(finite)) if scale is None else scale}])
    for expected, actual in pairs:
        gate.add(kind, [expected], [actual])
    facts = gate.judge(parameters(min_cosine, accept))
    return json.loads(json.dumps(facts, allow_nan=False))


def test_equal_outputs_have_cosine_one_and_no_error():
    facts = judge([([1, 2, 3], [1, 2, 3])])
    assert facts["passed"] is True and facts["accepted"] is False
    (output,) = facts["outputs"]
    assert output.pop("slices")["error"] == [0.0, 0.0, 0.0] and facts["failures"] == []
    assert output == {"name": "y", "cosine": 1.0, "worst_sample_cosine": 1.0, "max_abs_error": 0.0,
                      "max_rel_error": 0.0, "not_finite_mismatch": 0}


def test_the_figures_are_those_of_the_definition():
    (output,) = judge([([3, 4], [4, 3])], min_cosine=0.9)["outputs"]
    assert output["cosine"] == pytest.approx(24 / 25)
    assert output["max_abs_error"] == 1 and output["max_rel_error"] == 0.25


def test_below_the_threshold_the_error_names_output_and_figures():
    with pytest.raises(StageError) as caught:
        judge([([1, 0], [1, 1])])
    assert caught.value.code == "accuracy_too_low"
    assert "y: cosine 0.707107 (at least 0.999 wanted)" in caught.value.message
    assert "accept_accuracy" in caught.value.hint


def test_accept_records_that_it_failed_and_was_taken():
    facts = judge([([1, 0], [1, 1])], accept=True)
    assert facts["passed"] is False and facts["accepted"] is True
    assert facts["outputs"][0]["cosine"] == pytest.approx(0.5**0.5)


def test_accept_changes_nothing_where_the_gate_passes():
    assert judge([([1, 2], [1, 2])], accept=True)["accepted"] is False


@pytest.mark.parametrize("pair", [([0, 0], [0, 0]), ([0, 0], [1e-8, -1e-8]), ([1e-9, 0], [0, 1e-9]), ([], [])])
def test_two_outputs_of_nothing_are_equal(pair):
    assert judge([pair])["outputs"][0]["cosine"] == 1.0


@pytest.mark.parametrize("pair", [([0, 0], [1, 1]), ([1, 1], [0, 0]), ([0, 0], [1e-3, 0])])
def test_nothing_against_something_is_no_match(pair):
    with pytest.raises(StageError, match=r"cosine 0\.000000"):
        judge([pair])


def test_a_faint_sample_counts_by_its_weight_and_not_by_its_direction():
    facts = judge([([1, 1, 0], [1, 1, 0]), ([1e-5, 0, 0], [0, 1e-5, 0])])
    assert facts["passed"] and facts["outputs"][0]["worst_sample_cosine"] == 1.0


def test_one_sample_on_an_edge_shows_as_the_worst_and_does_not_fail_the_rest():
    good = ([1.0] * 100, [1.0] * 100)
    edge = ([1.0] * 99 + [0.6], [1.0] * 99 + [0.0])
    facts = judge([good] * 4 + [edge])
    assert facts["passed"] and facts["outputs"][0]["worst_sample_cosine"] < 0.999 < facts["outputs"][0]["cosine"]


def test_one_wrong_sample_of_five_fails():
    with pytest.raises(StageError):
        judge([([1, 0], [1, 0])] * 4 + [([1, 0], [0, 1])])


def test_nan_on_both_sides_is_equal_and_the_rest_is_compared():
    (output,) = judge([([NAN, 1, INF], [NAN, 1, -INF])])["outputs"]
    assert output["not_finite_mismatch"] == 0 and output["cosine"] == 1.0


@pytest.mark.parametrize("pair", [([1, 1], [1, NAN]), ([1, NAN], [1, 1]), ([1, 1], [INF, 1])])
def test_nan_on_one_side_fails_whatever_the_cosine(pair):
    with pytest.raises(StageError, match="1 values are NaN"):
        judge([pair], min_cosine=-1)


def test_very_large_values_do_not_overflow():
    assert judge([([3e38, 1e38], [3e38, 1e38])])["outputs"][0]["cosine"] == 1.0


def test_integers_and_flags_are_compared_as_numbers():
    gate = Gate([{"name": "i", "max_abs": 7.0}, {"name": "b", "max_abs": 1.0}])
    gate.add("noise", [np.array([7, 0]), np.array([True, False])], [np.array([7, 0]), np.array([1, 0], np.uint8)])
    assert gate.judge(parameters(0.9999))["passed"] is True


def test_dimensions_of_one_do_not_matter_and_others_do():
    assert judge([([[1, 2]], [[[1], [2]]])])["passed"]
    with pytest.raises(StageError, match="shape"):
        judge([([[1, 2]], [1, 2, 3])])


def test_what_was_collected_is_judged_the_same_in_another_process():
    gate = Gate([{"name": "y", "max_abs": 1.0}])
    gate.add("calibration", [np.array([1.0, 0.0])], [np.array([1.0, 0.1])])
    gate.add("noise", [np.array([1.0, NAN])], [np.array([0.5, NAN])])
    told = json.loads(json.dumps(gate.figures(), allow_nan=False))
    assert accuracy.judge(told, parameters(0.9)) == gate.judge(parameters(0.9))
    assert told["samples"] == 2 and len(told["calibrated"]) == len(told["seeded"]) == 1


def test_an_unknown_scale_is_that_of_all_samples():
    gate = Gate([{"name": "y"}])
    gate.add("noise", [np.array([1e-5, 0.0])], [np.array([0.0, 1e-5])])  # faint beside the next one only
    gate.add("noise", [np.array([2.0, 0.0])], [np.array([1.0, 0.0])])
    (output,) = gate.figures()["seeded"]
    assert output["worst_sample_cosine"] == 1.0 and output["max_rel_error"] == 0.5


def test_a_lost_output_fails_by_its_name():
    gate = Gate([{"name": "boxes"}, {"name": "scores"}, {"name": "ids"}])
    expected = [np.ones((1, 4, 9)), np.ones((1, 2, 9)), np.ones((1, 9))]
    with pytest.raises(StageError, match=r"Not in the artefact: scores \[1, 2, 9\]\.") as caught:
        gate.add("noise", expected, [expected[0], np.ones(9)])
    assert "2 outputs" in caught.value.message and "ids" not in caught.value.message
    with pytest.raises(StageError, match=r"Shapes that only the artefact has: \[7\]"):
        gate.add("noise", expected, [*expected, np.ones(7)])


@pytest.mark.parametrize(("precision", "advised", "not_advised"), [
    ("int8", "calibration samples", "fp32"), ("int16", "precision: fp16", "int16"), ("fp16", "fp32", "calibration"),
    ("fp32", "verify.min_cosine", "precision")])
def test_the_hint_fits_the_precision(precision, advised, not_advised):
    gate = Gate([{"name": "y"}])
    gate.add("noise", [np.array([1.0, 0.0])], [np.array([0.0, 1.0])])
    with pytest.raises(StageError) as caught:
        gate.judge(parameters(None, precision=precision))
    assert advised in caught.value.hint and not_advised not in caught.value.hint


def test_inputs_that_cannot_be_made_again_are_refused(tmp_path):
    np.savez(tmp_path / "outputs.npz")
    facts = {"inputs": [{"name": "x", "shape": [1, 4], "dtype": "float"}], "outputs": [],
             "samples": [{"kind": "noise", "seed": 1, "inputs_sha256": "0" * 64}]}
    with pytest.raises(StageError, match="cannot be made again"):
        next(read_samples({"inputs": {"reference": {"dir": str(tmp_path), "facts": facts}}, "parameters": {}}))
