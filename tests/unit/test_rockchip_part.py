"""Parts of a model, and the toolkit's arguments: what needs no toolkit to be seen."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from shared.platforms.rockchip import RockchipParameters
from tests import models
from worker.platforms.rockchip.arguments import check_inputs, config_arguments
from worker.platforms.rockchip.part import PART, Part
from worker.stage_api import StageError

IMAGE = {"name": "x", "dtype": "float", "shape": [1, 3, 32, 32]}
VECTOR = {"name": "v", "dtype": "float", "shape": [1, 4]}


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    onnx.save(models.convolution(), tmp_path / "model.onnx")
    return str(tmp_path / "model.onnx")


@pytest.mark.parametrize(("inputs", "outputs"), [(None, ["r"]), (["r"], None), (["r"], ["p"]), (None, ["y", "r", "c"])])
def test_a_part_computes_what_the_whole_does_there(source: str, inputs: Any, outputs: Any) -> None:
    part = Part(source, inputs, outputs, threads=1)
    x = np.random.default_rng(0).random((1, 3, 32, 32), np.float32)
    fed, expected = part.run(part.feed([x]))
    session = onnxruntime.InferenceSession(PART, providers=["CPUExecutionProvider"])
    assert [value.name for value in session.get_inputs()] == (inputs or ["x"])
    assert [value.name for value in session.get_outputs()] == (outputs or ["y"])
    got = session.run(None, dict(zip(part.inputs, fed, strict=True)))
    assert all(np.allclose(a, b, atol=1e-6) for a, b in zip(got, expected, strict=True))


@pytest.mark.parametrize(("inputs", "outputs", "named"), [
    (["nope"], None, "nope"), (None, ["w"], "'w'"), (["p"], ["y", "r"], "x")])
def test_what_is_no_part_is_refused_by_name(source: str, inputs: Any, outputs: Any, named: str) -> None:
    with pytest.raises(StageError) as caught:
        Part(source, inputs, outputs, threads=1)
    assert caught.value.code == "tensor_not_found" and named in caught.value.message


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
