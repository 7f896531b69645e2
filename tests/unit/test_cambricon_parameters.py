"""What a client may send for a Cambricon MLU, and every combination that is refused at once."""
from __future__ import annotations

from typing import Any

import pytest

from shared.errors import InvalidRequest
from shared.platforms.cambricon import PLATFORM, CambriconParameters
from shared.validation_messages import validate

CALIBRATION = {"precision": "int8", "calibration": "models/set.zip"}


def refusal(**parameters: Any) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        validate(CambriconParameters, parameters, "parameters")
    return caught.value


def test_nothing_has_to_be_sent() -> None:
    defaults = CambriconParameters()
    assert (defaults.chip, defaults.precision, defaults.layout, defaults.dim_range) == ("mtp_372", "fp16", "nchw", None)


def test_the_stored_parameters_are_valid_again() -> None:
    for parameters in ({}, CALIBRATION | {"quantization_algorithm": "eqnm"}, PLATFORM.example):
        stored = CambriconParameters.model_validate(parameters).model_dump(mode="json")
        assert CambriconParameters.model_validate(stored).model_dump(mode="json") == stored


@pytest.mark.parametrize(("parameters", "field", "word"), [
    ({"chip": "mlu9999"}, "parameters.chip", "mtp_372"),
    ({"precision": "int4"}, "parameters.precision", "int16"),
    ({"precision": "int8"}, "parameters", "calibration"),
    ({"calibration": "models/set.zip"}, "parameters", "calibration"),
    (CALIBRATION | {"quantization_algorithm": "eqnm", "activation_quant_algo": "asymmetric"}, "parameters",
     "symmetric only"),
    ({"mixed_float": "float32"}, "parameters", "mixed_float"),
    ({"weight_quant_granularity": "per_axis", "precision": "fp32"}, "parameters", "weight_quant_granularity"),
    ({"cluster_num": []}, "parameters.cluster_num", "at least"),
    ({"cluster_num": [0]}, "parameters.cluster_num[0]", "at least 1"),
    ({"dim_range": {}}, "parameters.dim_range", "at least"),
    ({"dim_range": {"x": {"min": [1, 3], "max": [1, 3, 4]}}}, "parameters.dim_range.x", "numbers of dimensions"),
    ({"dim_range": {"x": {"min": [2, 3], "max": [1, 3]}}}, "parameters.dim_range.x", "greater than max"),
    ({"dim_range": {"x": {"min": [0], "max": [1]}}}, "parameters.dim_range.x.min[0]", "at least 1"),
    ({"std": [1.0, -1.0, 1.0]}, "parameters", "negative"),
    ({"std": {"x": [0.0]}}, "parameters", "must not be 0"),
    ({"layout": "NHWC"}, "parameters.layout", "nhwc"),
    ({"builder_config": {"cross_compile_toolchain_path": "/usr"}}, "parameters.builder_config", "known field"),
    ({"builder_config": {"archs": ["mtp_592"]}}, "parameters.builder_config", "known field"),
    ({"builder_config": {"debug_config": {"print_ir": {"print_level": 9}}}}, "print_level", "one of: 1"),
    ({"cluster": [1]}, "parameters.cluster", "known field"),
])
def test_what_is_refused_is_named_in_both_languages(parameters: dict[str, Any], field: str, word: str) -> None:
    error = refusal(**parameters)
    assert field in error.en and word in error.en
    assert error.zh.startswith("请求参数错误") and field in error.zh
