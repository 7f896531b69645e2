"""Outputs that are probabilities: what no half precision can tell from zero is none, and no more than that."""
from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from tests import models
from tests.fixtures.stages import Conversion
from worker.stage_api import StageError
from worker.stages.accuracy import Gate
from worker.stages.probabilities import find_probabilities

PARAMETERS = {"precision": "fp16", "verify": {"min_cosine": None}, "accept_accuracy": False}


def ending(*nodes: onnx.NodeProto) -> onnx.ModelProto:
    return models.model(list(nodes), [models.value("x", [1, 4])], [models.value(nodes[-1].output[0], None)],
                        [models.constant("axis", [1])])


def judge(expected: list[float], actual: list[float], probability: bool = True, precision: str = "fp16") -> bool:
    gate = Gate([{"name": "y", "max_abs": max(expected), **({"probability": True} if probability else {})}])
    for one, other in zip(expected, actual, strict=True):
        gate.add("noise", [np.full((1, 1), one, np.float32)], [np.full((1, 1), other, np.float32)])
    try:
        return bool(gate.judge(PARAMETERS | {"precision": precision})["passed"])
    except StageError:
        return False


@pytest.mark.parametrize(("nodes", "found"), [
    ([helper.make_node("Sigmoid", ["x"], ["y"])], True), ([helper.make_node("Softmax", ["x"], ["y"])], True),
    ([helper.make_node("Sigmoid", ["x"], ["s"]), helper.make_node("ReduceMean", ["s"], ["m"], axes=[1]),
      helper.make_node("Unsqueeze", ["m", "axis"], ["y"])], True),
    ([helper.make_node("Sigmoid", ["x"], ["s"]), helper.make_node("Softmax", ["x"], ["t"]),
      helper.make_node("Concat", ["s", "t"], ["y"], axis=1)], True),
    ([helper.make_node("Sigmoid", ["x"], ["s"]), helper.make_node("Concat", ["s", "x"], ["y"], axis=1)], False),
    ([helper.make_node("Sigmoid", ["x"], ["s"]), helper.make_node("Add", ["s", "s"], ["y"])], False),
    ([helper.make_node("Relu", ["x"], ["y"])], False),
    ([helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "scale", "zero"]),
      helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["d"]), helper.make_node("Sigmoid", ["d"], ["y"])],
     False)])
def test_they_are_what_a_sigmoid_or_a_softmax_makes(tmp_path: Path, nodes: list[onnx.NodeProto], found: bool) -> None:
    path = tmp_path / "m.onnx"
    onnx.save(ending(*nodes), path)
    assert find_probabilities(str(path), path.stat().st_size) == ({"y"} if found else set())
    assert find_probabilities(str(path), 1 << 30) == set()


@pytest.mark.parametrize(("expected", "actual", "passes"), [
    ([4.5e-5, 3e-5, 5e-5, 2e-5], [0.0, 0.0, 0.0, 0.0], True),
    ([4.5e-5, 3e-5, 5e-5, 2e-5], [0.0, 0.0, 0.0, 0.3], False),  # a false alarm
    ([4.5e-5, 3e-5, 5e-5, 0.4], [0.0, 0.0, 0.0, 0.0], False),  # what it should have found
    ([1e-3, 2e-3, 5e-3, 4e-3], [0.0, 0.0, 0.0, 0.0], False)])
def test_only_what_all_samples_lack_is_not_asked_for(expected: list[float], actual: list[float], passes: bool) -> None:
    assert judge(expected, actual) is passes


@pytest.mark.parametrize(("precision", "passes"), [("fp32", True), ("fp16", True), ("int16", False), ("int8", False)])
def test_scores_that_integers_make_zero_of_are_dead_all_the_same(precision: str, passes: bool) -> None:
    assert judge([4.5e-5, 3e-5, 5e-5, 2e-5], [0.0, 0.0, 0.0, 0.0], precision=precision) is passes
    assert judge([4.5e-5, 3e-5, 5e-5, 2e-5], [4.5e-5, 3e-5, 5e-5, 2e-5], precision=precision)


@pytest.mark.parametrize("precision", ["int16", "int8"])
def test_what_an_integer_artefact_is_told_is_as_without_the_floor(precision: str) -> None:
    """Many scores, on the samples of the calibration set and on seeded ones: the same figures, slices and words."""
    told = []
    for named in ({"probability": True}, {}):
        gate, rng = Gate([{"name": "y", "max_abs": 6e-5, **named}]), np.random.default_rng(7)
        for kind in ("calibration", "noise"):
            for scores in rng.random((4, 1, 3, 40)).astype(np.float32) * 6e-5:
                gate.add(kind, [scores], [np.zeros_like(scores)])
        with pytest.raises(StageError) as refused:
            gate.judge(PARAMETERS | {"precision": precision})
        told.append((refused.value.text, refused.value.found))
    assert told[0] == told[1] and "cosine 0.000000" in told[0][0].en and "y on seeded inputs" in told[0][0].en


def test_another_output_of_that_size_is_compared_as_any() -> None:
    assert not judge([4.5e-5, 3e-5, 5e-5, 2e-5], [0.0, 0.0, 0.0, 0.0], probability=False)
    assert judge([4.5e-5, 3e-5, 5e-5, 2e-5], [4.5e-5, 3e-5, 5e-5, 2e-5], probability=False)


def test_that_nothing_was_shown_is_told_in_both_languages() -> None:
    gate = Gate([{"name": "y", "max_abs": 0.6, "probability": True}])  # another sample has it, which was not simulated
    gate.add("noise", [np.full((1, 1), 4.5e-5, np.float32)], [np.zeros((1, 1), np.float32)])
    facts = gate.judge(PARAMETERS)
    assert facts["passed"] and "hardly tested: y" in facts["warnings"][0] and "y" in facts["warnings_zh"][0]
    assert facts["outputs"][0]["unshown"] is True and facts["outputs"][0]["max_abs_error"] == pytest.approx(4.5e-5)


def test_the_reference_tells_which_they_are_behind_an_if_too(tmp_path: Path) -> None:
    facts = Conversion(tmp_path, models.squeezed_if()).run("reference")
    assert "probability" not in facts["outputs"][0]
    branch = helper.make_graph([helper.make_node("Sigmoid", ["x"], ["s"])], "then", [], [models.value("s", None)])
    other = helper.make_graph([helper.make_node("Relu", ["x"], ["r"])], "else", [], [models.value("r", None)])
    model = models.model([helper.make_node("If", ["yes"], ["y"], then_branch=branch, else_branch=other)],
                         [models.value("x", [1, 4])], [models.value("y", [1, 4])],
                         [models.constant("yes", True, np.bool_)])
    assert Conversion(tmp_path / "b", model).run("reference")["outputs"][0]["probability"] is True
