"""The toolkit's arguments: what needs no toolkit to be seen."""
from __future__ import annotations

from typing import Any

import pytest

from shared.platforms.rockchip import RockchipParameters
from worker.platforms.rockchip.arguments import check_inputs, config_arguments
from worker.stage_api import StageError

IMAGE = {"name": "x", "dtype": "float", "shape": [1, 3, 32, 32]}
VECTOR = {"name": "v", "dtype": "float", "shape": [1, 4]}


def arguments(inputs: list[dict[str, Any]], **parameters: Any) -> dict[str, Any]:
    valid = RockchipParameters.model_validate({"chip": "rk3588", **parameters})
    return config_arguments(valid.model_dump(mode="json"), inputs)


def test_the_arguments_of_a_float_model_say_nothing_of_quantization() -> None:
    told = arguments([IMAGE])
    assert told["target_platform"] == "rk3588" and told["float_dtype"] == "float16"
    assert not [name for name in told if name.startswith(("quantized", "auto_hybrid", "mean", "std", "op_target"))]


def test_the_arguments_of_a_quantized_one() -> None:
    told = arguments([IMAGE], precision="int16", calibration="b/c", auto_hybrid=True, auto_hybrid_cos_thresh=0.5)
    assert (told["quantized_dtype"], told["quantized_algorithm"], told["quantized_method"]) == (
        "w16a16i_dfp", "normal", "channel")
    assert told["auto_hybrid_cos_thresh"] == 0.5


def test_mean_and_std_are_given_for_each_input_and_skip_what_has_no_channels() -> None:
    told = arguments([IMAGE, VECTOR], mean=[1.0, 2.0, 3.0])
    assert told["mean_values"] == [[1.0, 2.0, 3.0], None] and told["std_values"] == [[1.0, 1.0, 1.0], None]


def test_mean_for_channels_in_the_last_place_is_refused() -> None:
    with pytest.raises(StageError) as caught:
        arguments([dict(IMAGE, shape=[1, 32, 32, 3])], std=[1.0, 2.0, 3.0])
    assert caught.value.code == "preprocessing_mismatch"


def test_input_types_that_the_toolkit_cannot_take_are_named() -> None:
    check_inputs([IMAGE, dict(VECTOR, dtype="int64")])
    with pytest.raises(StageError) as caught:
        check_inputs([IMAGE, dict(VECTOR, dtype="uint8")])
    assert caught.value.code == "unsupported_type" and "v (uint8)" in caught.value.message
