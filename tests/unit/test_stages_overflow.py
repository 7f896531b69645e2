"""Values inside a model that FP16 cannot hold are told, with tensor and value, and named as the cause of a refusal."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tests import models
from tests.fixtures.stages import Conversion
from worker.platforms.rockchip import verify
from worker.stage_api import StageError
from worker.stages import reasons
from worker.stages.inner import Inner
from worker.stages.overflow import describe_overflow, overflow_named

BIG = [models.constant("big", 1e3, np.float32), models.constant("small", 1e-7, np.float32)]


def squares(out: str = "y") -> onnx.ModelProto:
    """Squares of a million, made small again: the output shows nothing of them."""
    nodes = [helper.make_node("Mul", ["x", "big"], ["scaled"]),
             helper.make_node("Mul", ["scaled", "scaled"], ["square"]),
             helper.make_node("Mul", ["square", "small"], [out])]
    return models.model(nodes, [models.value("x", [1, 8])], [models.value(out, [1, 8])], BIG)


def attention(*more_outputs: str) -> onnx.ModelProto:
    """Scores to which a mask of 0 or -3.4e38 is added before a Softmax."""
    nodes = [helper.make_node("Cast", ["mask"], ["m"], to=TensorProto.FLOAT),
             helper.make_node("Mul", ["m", "lowest"], ["bias"]), helper.make_node("Add", ["x", "bias"], ["masked"]),
             helper.make_node("Softmax", ["masked"], ["y"])]
    return models.model(nodes, [models.value("x", [1, 8]), models.value("mask", [1, 8], TensorProto.INT64)],
                        [models.value(name, [1, 8]) for name in ("y", *more_outputs)],
                        [models.constant("lowest", np.finfo(np.float32).min, np.float32)])


def overflow(folder: Path, model: onnx.ModelProto) -> list[dict[str, Any]]:
    return Conversion(folder, model).run("reference")["overflow"]


def test_an_inner_tensor_beyond_half_precision_is_told_with_its_value(tmp_path: Path) -> None:
    (found,) = overflow(tmp_path, squares())
    assert found["name"] == "square" and 65504 < found["value"] <= 1e6


def test_what_stays_within_is_not_told(tmp_path: Path) -> None:
    assert overflow(tmp_path, models.convolution()) == []


def test_a_mask_before_a_softmax_is_no_overflow_and_the_same_tensor_as_an_output_is(tmp_path: Path) -> None:
    assert overflow(tmp_path / "mask", attention()) == []
    assert {entry["name"] for entry in overflow(tmp_path / "output", attention("masked"))} == {"bias", "masked"}


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.float64])
def test_the_ranges_are_those_of_the_tensors(tmp_path: Path, dtype: Any) -> None:
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    model = models.model([helper.make_node("Abs", ["x"], ["inner0"]), helper.make_node("Neg", ["inner0"], ["y"])],
                         [models.value("x", [2, 3], kind)], [models.value("y", [2, 3], kind)])
    onnx.save(model, tmp_path / "model.onnx")
    feed = np.array([[-2, 0.5, 1], [4, 3, -8]], dtype)
    assert Inner(str(tmp_path), 1).run({"x": feed}) == {"inner0": (0.5, 8.0), "y": (-8.0, -0.5)}


def test_nan_is_no_overflow(tmp_path: Path) -> None:
    assert overflow(tmp_path, models.ratio()) == []
    onnx.save(models.ratio(), tmp_path / "model.onnx")
    assert Inner(str(tmp_path), 1).run({"x": np.zeros((1, 4), np.float32)}) == {}


def test_no_more_than_three_tensors_are_named(tmp_path: Path) -> None:
    text = describe_overflow([{"name": f"t{number}", "value": 1e5 + number} for number in range(5)])
    assert "t2 (1e+05) and 2 more tensors" in text.en and "另有 2 个张量" in text.zh


def test_a_refusal_for_accuracy_names_the_cause_and_another_stays_as_it_is() -> None:
    found = [{"name": "square", "value": 1e6}]
    with pytest.raises(StageError) as caught, overflow_named(found):
        raise reasons.OTHER_SHAPE(name="y", actual=[1], expected=[2])
    assert caught.value.code == "accuracy_too_low"
    assert "square (1e+06)" in caught.value.message and "shape [1]" in caught.value.message
    assert "square (1e+06)" in caught.value.message_zh and "divide before squaring" in caught.value.hint
    with pytest.raises(StageError, match=r"^the reference's inputs"), overflow_named(found):
        raise reasons.OTHER_INPUTS()


@pytest.mark.parametrize(("parameters", "told"), [
    ({"precision": "fp16", "float_dtype": "float16"}, True), ({"precision": "fp16", "float_dtype": "bfloat16"}, False),
    ({"precision": "int8", "float_dtype": "float16"}, False)])
def test_only_an_artefact_that_computes_in_half_precision_is_warned_of(parameters: dict[str, str], told: bool) -> None:
    figures = {"calibrated": [], "samples": 1, "seeded": [{
        "name": "y", "cosine": 1.0, "worst_sample_cosine": 1.0, "max_abs_error": 0.0, "max_rel_error": 0.0,
        "not_finite_mismatch": 0}]}
    facts = verify.run({
        "parameters": {**parameters, "verify": {"min_cosine": None}, "accept_accuracy": False},
        "inputs": {"compile": {"facts": {"figures": figures}},
                   "reference": {"facts": {"overflow": [{"name": "square", "value": 1e6}]}}}})
    assert ("square (1e+06)" in str(facts.get("warnings"))) is told
    assert ("square (1e+06)" in str(facts.get("warnings_zh"))) is told
