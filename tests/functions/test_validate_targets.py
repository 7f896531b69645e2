"""What POST /tasks/validate and create say of each target: from what its real toolchain was seen to do."""
from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tests import models
from tests.functions.service import Caller
from tests.functions.validating import ENGLISH, Put, codes, create, validate

ROCKCHIP = {"task_type": "onnx_to_rknn", "platform": "rockchip"}
QUALCOMM = {"task_type": "onnx_to_qnn", "platform": "qualcomm"}


@pytest.mark.parametrize(("target", "chip", "model", "precision", "code", "mention"), [
    (ROCKCHIP, "rk3588", models.choosing_boxes(), "fp16", "unsupported_operator", 'outputs = ["boxes", "scores"]'),
    (QUALCOMM, "SM8650", models.choosing_boxes(), "fp16", "unsupported_operator", 'outputs = ["boxes", "scores"]'),
    (ROCKCHIP, "rk3588", models.bytes_then_convolution(), "fp16", "unsupported_type", "x (uint8)"),
    (QUALCOMM, "SM8650", models.bytes_then_convolution(), "fp16", "unsupported_type", "x (uint8)"),
    (ROCKCHIP, "rk3588", models.unary("CumProd", opset=26), "fp16", "opset_unsupported", "CumProd"),
    (ROCKCHIP, "rk3588", models.unary("Relu", opset=5), "fp16", "reference_failed", "Relu (opset 5)"),
    (QUALCOMM, "SM8650", models.unary("Abs", dtype=onnx.TensorProto.DOUBLE), "fp16", "", ""),
    (ROCKCHIP, "rk3588", models.squeezed_if(), "fp16", "", ""),
    (QUALCOMM, "SM8650", models.squeezed_if(), "fp16", "", ""),
], ids=lambda value: value if isinstance(value, str) else "")
def test_validate_and_create_agree_on_what_a_target_does(call: Caller, put: Put, target: dict[str, str], chip: str,
                                                        model: onnx.ModelProto, precision: str, code: str, mention: str
                                                        ) -> None:
    path, asked = put(model), {**target, "parameters": {"chip": chip, "precision": precision}}
    data = validate(call, path, ENGLISH, **asked)
    assert codes(data) == ([code] if code else [])
    if code:
        problem = data["targets"][0]["problems"][0]
        assert mention in problem["message"] + problem["hint"]
        create(call, path, ENGLISH, **asked).assert_error(400, code, mention)
    else:
        assert create(call, path, **asked).status == 200


def test_a_cut_without_what_is_refused_is_valid(call: Caller, put: Put) -> None:
    asked = {**ROCKCHIP, "parameters": {"chip": "rk3588", "outputs": ["boxes", "scores"]}}
    assert validate(call, put(models.choosing_boxes()), **asked)["valid"]


def test_what_a_vendor_publishes_warns_and_refuses_nothing(call: Caller, put: Put) -> None:
    huawei = {"task_type": "onnx_to_om", "platform": "huawei"}
    data = validate(call, put(models.unary("Mish", opset=18)), ENGLISH, **huawei)
    (missing, listed) = data["targets"][0]["warnings"]
    assert data["valid"] and "Mish" in missing["message"] and "CANN 8.0.0" in listed["message"]
    assert {missing["code"], listed["code"]} == {"operator_uncertain"}


def test_what_a_fixed_input_may_take_away_is_no_problem(call: Caller, put: Put) -> None:
    path = put(models.model(
        [helper.make_node("Relu", ["x"], ["r"]), helper.make_node("Det", ["r"], ["d"]),
         helper.make_node("Where", ["flag", "d", "one"], ["y"])],
        [models.value("x", [4, 4]), models.value("flag", [], TensorProto.BOOL)], [models.value("y", [])],
        [models.constant("one", 1.0, np.float32)]))
    assert codes(validate(call, path)) == ["unsupported_operator"]
    data = validate(call, path, parameters={"fixed_inputs": {"flag": True}})
    assert data["valid"] and "Det" in data["targets"][0]["warnings"][0]["message"]
