"""The schemas of targets' parameters let through what the targets take, and nothing that they refuse."""
from __future__ import annotations

import base64
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from pydantic import SecretStr

from infra.gateway import load_functions
from shared.api import openapi
from shared.errors import InvalidRequest
from shared.platforms import get_platforms
from shared.settings import Settings
from shared.validation_messages import validate

SET = {"calibration": "models/set.zip"}
INT8 = SET | {"precision": "int8"}
RK, RV = {"chip": "rk3588"}, {"chip": "rv1103"}


def takes(target: str, parameters: dict[str, Any]) -> bool:
    try:
        validate(get_platforms()[target].parameters, parameters)
    except InvalidRequest:
        return False
    return True


def told(target: str, parameters: dict[str, Any]) -> bool:
    return Draft202012Validator(get_platforms()[target].parameters.model_json_schema()).is_valid(parameters)


@pytest.mark.parametrize(("target", "parameters", "good"), [
    ("intel", {"input_shape": "1,3"}, True), ("intel", {"input_shape": "a:1,3;b:1"}, True),
    ("intel", {"input_shape": "1,0"}, False), ("intel", {"input_shape": "a:1;a:2"}, False),
    ("intel", {"input_shape": {"a": [1, 3]}}, True), ("intel", {"input_shape": [0]}, False),
    ("intel", {"fixed_inputs": {"a": [1, 2.5, True]}}, True), ("intel", {"fixed_inputs": {"a": []}}, False),
    ("intel", {"fixed_inputs": {"a": "x"}}, False), ("intel", {"inputs": ["a", "a"]}, False),
    ("intel", {"inputs": ["a"], "std": [1.0]}, False), ("intel", {"std": [0.0]}, False),
    ("intel", {"std": {"a": [2.0]}}, True), ("intel", {"auto_time_s": 1.0}, False),
    ("intel", {"precision": "auto", "auto_time_s": 1.0}, True),
    ("intel", {"precision": "auto", "verify": {"enabled": False}}, False), ("intel", INT8, True),
    ("intel", SET, False), ("intel", {"quantization": {"subset_size": 5}}, False),
    ("intel", INT8 | {"quantization": {"smooth_quant_alpha": 0.5}}, False),
    ("intel", {"compress_to_fp16": False}, False), ("rockchip", RK, True), ("rockchip", RV, False),
    ("rockchip", RV | INT8, True), ("rockchip", RV | {"precision": "auto"}, False),
    ("rockchip", RV | SET | {"precision": "auto"}, True), ("rockchip", RK | {"sparse_infer": True}, False),
    ("rockchip", RK | INT8 | {"quantized_dtype": "w4a16"}, False),
    ("rockchip", {"chip": "rk3576", "quantized_dtype": "w4a16"} | INT8, True),
    ("qualcomm", {"chip": "SM6450"}, False), ("qualcomm", {"chip": "SM6450"} | INT8, True),
    ("qualcomm", {"chip": "SM8650", "vtcm_mb": 9}, False), ("qualcomm", {"chip": "SM8650", "vtcm_mb": 8}, True),
    ("qualcomm", {"chip": "SM8650", "weight_type": "QInt16"} | INT8, False),
    ("cambricon", {"std": [-1.0]}, False), ("cambricon", {"mixed_float": "float32"}, False),
    ("cambricon", {"dim_range": {"a": {"min": [8], "max": [1, 2]}}}, False),
    ("huawei", {"verify": {"min_cosine": 0.9}}, False), ("huawei", {"soc_version": "Ascend999"}, False),
    ("huawei", {"extra_params": {"dynamic_batch_size": "1,2,4"}}, True),
    ("huawei", {"extra_params": {"dynamic_batch_size": "1,2,1"}}, False),
    ("huawei", {"extra_params": {"dynamic_dims": "1,2;1"}}, False),
    ("huawei", {"extra_params": {"is_input_adjust_hw_layout": "true"}}, False)])
def test_a_schema_says_what_its_target_refuses(target: str, parameters: dict[str, Any], good: bool) -> None:
    assert told(target, parameters) == takes(target, parameters) == good


@pytest.mark.parametrize("parameters", [
    {"fixed_inputs": {"a": [[1, 2], [3, 4]]}}, {"inputs": ["a"], "fixed_inputs": {"b": 1}}])
def test_more_is_taken_than_a_schema_can_say(parameters: dict[str, Any]) -> None:
    assert takes("intel", parameters) and not told("intel", parameters)


@pytest.mark.parametrize(("secret", "good"), [
    ("", False), (f"whsec_{base64.b64encode(b's' * 24).decode()}", True)])
def test_a_callback_is_told_where_the_service_announces(monkeypatch: pytest.MonkeyPatch, secret: str,
                                                        good: bool) -> None:
    monkeypatch.setattr(openapi, "get_settings", lambda: Settings(callback_secret=SecretStr(secret)))
    document = openapi.build_document([function.endpoint for function in load_functions().values()])
    body = {"task_type": "onnx_to_openvino", "platform": "intel", "input_path": "models/a.onnx",
            "callback_url": "https://a.example/done"}
    assert Draft202012Validator({"$ref": "#/components/schemas/CreateTask",
                                 "components": document["components"]}).is_valid(body) == good
