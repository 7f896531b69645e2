"""What a report says of an artefact of the real rknn-toolkit2 is what the artefact is; what it must not keep quiet."""
from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from tests import models
from tests.fixtures.calibration import npy, pictures
from tests.toolchains.rockchip.test_compile import Make, cast_to_float, host, make, refusal

__all__ = ["host", "make"]  # the fixtures

SMALL = (1, 3, 16, 16)
INT8 = {"precision": "int8", "calibration_files": pictures(6, *SMALL)}


def dtypes(facts: dict[str, Any], kind: str) -> list[str]:
    return [entry["dtype"] for entry in facts[kind]]


def test_token_ids_and_classes_are_told_as_the_whole_numbers_that_they_are(make: Make) -> None:
    assert dtypes(make(models.embedding()).run("compile"), "inputs") == ["int64"]
    facts = make(models.classes()).run("compile")
    assert (dtypes(facts, "inputs"), dtypes(facts, "outputs"), facts["precision"]) == (["float16"], ["int64"], "fp16")
    assert dtypes(make(models.classes(), **INT8).run("compile"), "outputs") == ["int64"]


@pytest.mark.parametrize(("parameters", "precision"), [
    ({"precision": "int16"}, "int16"), ({"chip": "rk3576", "quantized_dtype": "w4a16"}, "int8"),
    ({"custom_hybrid": [["x", "r"]]}, "int8")], ids=lambda value: str(value)[:40])
def test_the_precision_is_read_off_the_layers(make: Make, parameters: dict[str, Any], precision: str) -> None:
    files = pictures(6, 1, 3, 32, 32)
    facts = make(models.convolution(), **{"precision": "int8", "calibration_files": files, **parameters}).run("compile")
    assert facts["precision"] == precision and facts["details"]["layer_types"]


@pytest.mark.parametrize("parameters", [{}, INT8], ids=["fp16", "int8"])
def test_a_model_that_came_quantized_keeps_its_scales_and_is_told_as_int8(make: Make, parameters: dict[str, Any]
                                                                          ) -> None:
    conversion = make(models.quantized_already(), **parameters)
    facts = conversion.run("compile")
    assert facts["precision"] == "int8" and conversion.run("verify")["passed"]
    assert "quantised already (QuantizeLinear)" in conversion.facts["inspect"]["warnings"][0]
    assert any("the calibration set was not used" in text for text in facts["warnings"]) is bool(parameters)


def test_a_model_that_came_quantized_does_not_become_int16(make: Make) -> None:
    error = refusal(make(models.quantized_already(), **INT8 | {"precision": "int16"}))
    assert error.code == "already_quantized" and "precision int8" in error.hint


def test_an_input_that_nothing_reads_is_left_out_of_the_calibration_list_and_told(make: Make) -> None:
    files = {f"x/{name}": data for name, data in pictures(6, *SMALL).items()}
    files |= {f"unread/{name.partition('/')[2]}": npy(np.zeros((1, 7), np.float32)) for name in [*files]}
    conversion = make(models.unread_input(), precision="int8", calibration_files=files, mean=[0.5] * 3, std=[0.5] * 3)
    facts = conversion.run("compile")
    assert [entry["name"] for entry in facts["inputs"]] == ["x"] and conversion.run("verify")["passed"]
    assert "none of them: unread" in facts["warnings"][0]


def test_a_cut_that_leaves_an_input_unread_is_calibrated_too(make: Make) -> None:
    nodes = [helper.make_node("Conv", ["x", "w"], ["c"]), helper.make_node("Add", ["c", "b"], ["y"])]
    model = models.model(nodes, [models.value("b", [1, 4, 8, 8]), models.value("x", [1, 3, 8, 8])],
                         [models.value("y", [1, 4, 8, 8])], [models.weights("w", 4, 3, 1, 1)])
    files = {f"{name}/{number}.npy": data for name, shape in (("b", (1, 4, 8, 8)), ("x", (1, 3, 8, 8)))
             for number, data in pictures(6, *shape).items()}
    conversion = make(model, precision="int8", calibration_files=files, outputs=["c"])
    assert [entry["name"] for entry in conversion.run("compile")["inputs"]] == ["x"]


def test_a_success_with_a_piece_that_failed_is_a_failure(make: Make) -> None:
    files = {f"{number}.npy": npy(np.random.default_rng(number).integers(0, 9, (1, 3, 8, 8))) for number in range(4)}
    conversion = make(cast_to_float(TensorProto.INT32), precision="int8", calibration_files=files)
    error = refusal(conversion)
    assert error.code == "unsupported_type" and "x (int32)" in error.en and "emit dataconvert failed" in error.en
    assert "rknn building done" in conversion.log("compile")  # the tool's own verdict


def test_a_crash_over_a_recurrent_layer_is_told_as_the_tools_own_with_what_to_do(make: Make) -> None:
    sizes = {"W": (1, 16, 8), "R": (1, 16, 4)}
    nodes = [helper.make_node("Relu", ["x"], ["r"]), helper.make_node("LSTM", ["r", *sizes], ["Y"], hidden_size=4)]
    model = models.model(nodes, [models.value("x", [5, 1, 8])], [models.value("Y", [5, 1, 1, 4])],
                         [models.weights(name, *shape) for name, shape in sizes.items()])
    files = {f"{number}.npy": npy(np.random.default_rng(number).random((5, 1, 8), np.float32)) for number in range(4)}
    error = refusal(make(model, precision="int8", calibration_files=files))
    assert error.code == "compile_failed" and "SIG" in error.en and "LSTM Y" in error.en
    assert "fp16" in error.hint and "custom_hybrid" in error.hint


def test_values_beyond_half_precision_are_told_or_named_as_the_cause(make: Make) -> None:
    conversion = make(models.variances(), accept_accuracy=True)
    (warning,) = conversion.run("verify")["warnings"]
    assert "square (" in warning


def test_own_test_inputs_are_simulated(make: Make) -> None:
    conversion = make(models.convolution(), **INT8 | {"calibration_files": pictures(6, 1, 3, 32, 32)},
                      test_inputs=pictures(2, 1, 3, 32, 32), verify={"samples": 2})
    facts = conversion.run("verify")
    assert facts["passed"] and facts["samples"] == 2 and "seeded_outputs" not in facts


def test_where_the_tool_names_disable_rules_as_the_remedy_it_is_tried_and_told(make: Make) -> None:
    """Version 2.5.0 looks LayerNormalization's epsilon up without its default."""
    nodes = [helper.make_node("MatMul", ["x", "w"], ["m"]), helper.make_node("LayerNormalization", ["m", "g"], ["y"])]
    model = models.model(nodes, [models.value("x", [1, 4, 16])], [models.value("y", [1, 4, 32])],
                         [models.weights("w", 16, 32), models.weights("g", 32)], opset=17)
    conversion = make(model)
    conversion.run("prepare")
    (conversion.dir("prepare") / "model.onnx").write_bytes(model.SerializeToString())  # as the tool stumbles over it
    facts = conversion.run("compile")
    assert "convert_layernorm_to_exnorm" in facts["warnings"][0] and conversion.run("verify")["passed"]
    assert any("disable_rules=['convert_layernorm_to_exnorm']" in line for line in facts["commands"])
    asked = make(model, disable_rules=["convert_layernorm_to_exnorm"])
    assert "run again" not in str(asked.run("compile")["warnings"])
