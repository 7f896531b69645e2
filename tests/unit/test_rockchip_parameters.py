"""What a client may send for a Rockchip chip, and every combination that is refused at once."""
from __future__ import annotations

from typing import Any

import pytest

from shared.errors import InvalidRequest
from shared.platforms.rockchip import CHIPS, PLATFORM, RockchipParameters
from shared.validation_messages import validate

INT8 = {"precision": "int8", "calibration": "models/set.zip"}
INT16 = {"precision": "int16", "calibration": "models/set.zip"}
QUANTIZED_ONLY = {"rv1103", "rv1103b", "rv1106", "rv1106b"}


def accept(**parameters: Any) -> RockchipParameters:
    return validate(RockchipParameters, {"chip": "rk3588"} | parameters, "parameters")


def refusal(**parameters: Any) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        accept(**parameters)
    assert caught.value.zh.startswith("请求参数错误") and "parameters" in caught.value.zh
    return caught.value


def test_a_chip_has_to_be_named() -> None:
    with pytest.raises(InvalidRequest) as caught:
        validate(RockchipParameters, {}, "parameters")
    assert "parameters.chip is required" in caught.value.en


def test_the_example_and_the_stored_parameters_are_valid() -> None:
    for parameters in (PLATFORM.example, {"chip": "rk3576", "quantized_dtype": "w4a16", "quantized_algorithm": "gdq",
                                          "quantized_method": "group32"} | INT8):
        stored = RockchipParameters.model_validate(parameters).model_dump(mode="json")
        assert RockchipParameters.model_validate(stored).model_dump(mode="json") == stored


def test_the_tools_type_follows_the_precision() -> None:
    assert accept().tool_dtype() is None
    assert accept(**INT8).tool_dtype() == "w8a8"
    assert accept(**INT16).tool_dtype() == "w16a16i_dfp"
    assert accept(chip="rk3562", quantized_dtype="w8a16", **INT8).tool_dtype() == "w8a16"


@pytest.mark.parametrize("chip", CHIPS)
def test_small_chips_take_quantized_models_only_and_the_audio_chip_none(chip: str) -> None:
    if chip in QUANTIZED_ONLY:
        assert f"{chip} runs quantized models only" in refusal(chip=chip).en
    else:
        accept(chip=chip)
    if chip == "rk2118":
        assert "rk2118 does not take w8a8" in refusal(chip=chip, **INT8).en
    else:
        accept(chip=chip, **INT8)


@pytest.mark.parametrize(("parameters", "words"), [
    ({"chip": "rk3399pro"}, "parameters.chip should be one of"),
    ({"chip": "RK3588"}, "parameters.chip should be one of"),
    ({"precision": "fp32"}, "parameters.precision should be one of"),
    ({"precision": "int8"}, "needs calibration"),
    ({"calibration": "models/set.zip"}, "uses no calibration"),
    ({"quantized_dtype": "w8a8"}, "quantized_dtype needs precision int8 or int16"),
    ({"auto_hybrid": True}, "auto_hybrid needs precision int8 or int16"),
    ({"custom_hybrid": [["a", "b"]]}, "custom_hybrid needs precision int8 or int16"),
    (INT8 | {"quantized_dtype": "w16a16i_dfp"}, "none of precision int8"),
    (INT16 | {"quantized_dtype": "w8a8"}, "none of precision int16"),
    (INT8 | {"quantized_dtype": "w16a16i"}, "parameters.quantized_dtype should be one of"),
    (INT8 | {"quantized_dtype": "w8a16"}, "rk3588 does not take w8a16, it takes: w8a8, w16a16i_dfp"),
    (INT8 | {"quantized_dtype": "w4a16"}, "rk3588 does not take w4a16"),
    (INT16 | {"chip": "rv1103b"}, "rv1103b does not take w16a16i_dfp"),
    (INT16 | {"chip": "rv1106b"}, "rv1106b does not take w16a16i_dfp"),
    (INT8 | {"quantized_algorithm": "gdq"}, "for w4a16 and w8a16 only"),
    (INT8 | {"quantized_method": "group32"}, "for w4a16 only"),
    (INT8 | {"quantized_method": "group33"}, "parameters.quantized_method should be one of"),
    (INT8 | {"auto_hybrid": True, "custom_hybrid": [["a", "b"]]}, "exclude one another"),
    (INT8 | {"custom_hybrid": [["a"]]}, "should have at least 2 items"),
    (INT8 | {"auto_hybrid_cos_thresh": 1.5}, "should be at most 1"),
    ({"float_dtype": "tfloat32"}, "parameters.float_dtype should be one of"),
    ({"chip": "rk2118", "float_dtype": "bfloat16"}, "does not take float_dtype bfloat16"),
    (INT8 | {"chip": "rv1106", "float_dtype": "bfloat16"}, "does not take float_dtype bfloat16"),
    ({"sparse_infer": True}, "rk3588 has no sparse_infer; these have: rk3576"),
    ({"chip": "rk3566", "single_core_mode": True}, "rk3566 has no single_core_mode; these have: rk3576, rk3588"),
    ({"chip": "rk3576", "mini_rknn": True}, "rk3576 has no mini_rknn"),
    ({"optimization_level": 4}, "should be at most 3"),
    ({"memory_plan_strategy": "FirstFit"}, "should be one of: 'BestFit'"),
    ({"compute_order": "DepthLast"}, "should be one of: 'WidthFirst'"),
    ({"op_target": {"a": "dsp"}}, "should be one of: 'cpu'"),
    ({"inputs": ["a", "a"]}, "inputs names a tensor twice"),
    ({"outputs": []}, "should have at least 1 items"),
    ({"inputs": ["a"], "mean": [1.0]}, "cannot be used with mean and std"),
    ({"std": [0.0]}, "std must not be 0"),
    ({"error_analysis": True, "verify": {"enabled": False}}, "needs verify.enabled"),
    ({"rknn_batch_size": 2}, "is not a known field"),
])
def test_what_is_refused_says_why(parameters: dict[str, Any], words: str) -> None:
    assert words in refusal(**parameters).en
