"""What OpenVINO's parameters refuse before anything runs."""
from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from shared.platforms.intel import IntelParameters

INT8 = {"precision": "int8", "calibration": "models/set.zip"}


def parse(**parameters: Any) -> IntelParameters:
    return IntelParameters.model_validate(parameters)


def int8(**quantization: Any) -> dict[str, Any]:
    return INT8 | {"quantization": quantization}


@pytest.mark.parametrize("parameters", [
    {}, {"precision": "fp32"}, {"precision": "fp32", "compress_to_fp16": False},
    {"precision": "fp16", "compress_to_fp16": True}, INT8, INT8 | {"compress_to_fp16": False},
    {"mean": [127.5] * 3, "std": [127.5] * 3, "layout": "nhwc", "reverse_channels": True, "input_type": "u8"},
    int8(preset="performance", subset_size=10, fast_bias_correction=False, overflow_fix="disable"),
    int8(activations_range_estimator="minmax", ignored_scope={"types": ["MatMul"]}),
    int8(model_type="transformer", smooth_quant_alpha=-1), int8(accuracy_control={}),
    int8(accuracy_control={"max_drop": 0.01, "max_num_iterations": 3}),
    int8(ignored_scope={"names": ["/head/Conv"], "patterns": ["/neck/.*"], "types": ["Multiply"]})])
def test_what_the_tools_take_is_taken_and_stays_as_it_is_when_it_is_read_again(parameters):
    parsed = parse(**parameters)
    assert parse(**parsed.model_dump()) == parsed


@pytest.mark.parametrize(("parameters", "words"), [
    ({"precision": "int16"}, "precision"),
    ({"precision": "int8"}, "needs calibration"),
    ({"calibration": "models/set.zip"}, "uses no calibration"),
    ({"precision": "fp32", "compress_to_fp16": True}, "contradicts precision fp32"),
    ({"precision": "fp16", "compress_to_fp16": False}, "contradicts precision fp16"),
    ({"quantization": {"preset": "performance"}}, "needs precision int8"),
    ({"precision": "fp32", "quantization": {"accuracy_control": {}}}, "needs precision int8"),
    (int8(preset="accuracy"), "preset"),
    (int8(subset_size=0), "subset_size"),
    (int8(model_type="cnn"), "model_type"),
    (int8(smooth_quant_alpha=0.5), "needs model_type transformer"),
    (int8(model_type="transformer", smooth_quant_alpha=1.5), "smooth_quant_alpha"),
    (int8(overflow_fix="first"), "overflow_fix"),
    (int8(activations_range_estimator="entropy"), "activations_range_estimator"),
    (int8(ignored_scope={}), "ignored_scope needs"),
    (int8(ignored_scope={"names": []}), "ignored_scope"),
    (int8(ignored_scope={"patterns": ["(head"]}), "no regular expression"),
    (int8(accuracy_control={"max_drop": 0}), "max_drop"),
    (int8(accuracy_control={"max_drop": 1}), "max_drop"),
    (int8(accuracy_control={"max_num_iterations": 0}), "max_num_iterations"),
    (int8(accuracy_control={}) | {"verify": {"enabled": False}}, "accuracy_control needs verify.enabled"),
    (int8(bits=4), "bits"),
    ({"layout": "chw"}, "layout"),
    ({"input_type": "f64"}, "input_type"),
    ({"std": [1.0, 0.0, 1.0]}, "must not be 0")])
def test_what_would_fail_later_or_mean_nothing_is_refused_at_once(parameters, words):
    with pytest.raises(ValidationError) as caught:
        parse(**parameters)
    assert words in str(caught.value)
