"""What a pass over a model may change in its answers: rounding, and nothing else."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests import models
from worker.stages.proof import find_difference

INPUTS = [{"name": "x", "dtype": "float", "shape": [1, 3, 32, 32]}]


def difference(folder: Path, before: onnx.ModelProto, after: onnx.ModelProto, inputs: Any = None) -> str | None:
    onnx.save(before, folder / "before.onnx")
    onnx.save(after, folder / "after.onnx")
    return find_difference(str(folder / "before.onnx"), str(folder / "after.onnx"), inputs or INPUTS, 1)


def scaled(factor: Any, tensor: str = "fc") -> onnx.ModelProto:
    model = models.convolution()
    weights = next(entry for entry in model.graph.initializer if entry.name == tensor)
    weights.CopyFrom(numpy_helper.from_array((numpy_helper.to_array(weights) * factor).astype(np.float32), tensor))
    return model


def test_rounding_is_no_difference(tmp_path: Path) -> None:
    assert difference(tmp_path, models.convolution(), scaled(1 + 1e-6)) is None


@pytest.mark.parametrize("factor", [1.1, -1, np.array([1, 1, 1, 1, 1.1])])
def test_another_answer_is_told_with_its_output(tmp_path: Path, factor: Any) -> None:
    assert "output 'y'" in (difference(tmp_path, models.convolution(), scaled(factor)) or "")


def test_a_small_channel_beside_a_large_one_counts(tmp_path: Path) -> None:
    """Scores beside pixels: of the whole output they are nothing."""
    def head(gain: float) -> onnx.ModelProto:
        return models.model([helper.make_node("Mul", ["x", "gains"], ["y"])], [models.value("x", [1, 2, 50])],
                            [models.value("y", [1, 2, 50])],
                            [models.constant("gains", [[[640.0], [gain]]], np.float32)])
    inputs = [{"name": "x", "dtype": "float", "shape": [1, 2, 50]}]
    assert difference(tmp_path, head(1.0), head(0.0), inputs)


def test_one_channel_of_256_counts(tmp_path: Path) -> None:
    def gains(last: float) -> onnx.ModelProto:
        return models.model([helper.make_node("Mul", ["x", "gains"], ["y"])], [models.value("x", [1, 256, 4])],
                            [models.value("y", [1, 256, 4])],
                            [models.constant("gains", [[[1.0]] * 255 + [[last]]], np.float32)])
    inputs = [{"name": "x", "dtype": "float", "shape": [1, 256, 4]}]
    assert "0.4%" in (difference(tmp_path, gains(1.0), gains(1.1), inputs) or "")


def test_a_model_that_no_longer_runs_or_has_another_shape_differs(tmp_path: Path) -> None:
    inputs = [{"name": "x", "dtype": "float", "shape": [1, 4]}]
    relu = models.unary("Relu")
    assert "does not run" in difference(tmp_path, relu, models.unary("Nonsense"), inputs)
    flat = models.model([helper.make_node("Reshape", ["x", "s"], ["y"])], [models.value("x", [1, 4])],
                        [models.value("y", [4])], [models.constant("s", [4])])
    assert "[4] instead of" in difference(tmp_path, relu, flat, inputs)


def test_a_model_that_answers_at_random_is_not_held_against_itself(tmp_path: Path) -> None:
    model = models.model([helper.make_node("RandomUniformLike", ["x"], ["r"]),
                          helper.make_node("Add", ["x", "r"], ["y"])],
                         [models.value("x", [1, 4])], [models.value("y", [1, 4])])
    assert difference(tmp_path, model, model, [{"name": "x", "dtype": "float", "shape": [1, 4]}]) is None


def test_what_cannot_run_before_proves_nothing(tmp_path: Path) -> None:
    model = models.unary("Nonsense")
    assert difference(tmp_path, model, models.unary("Relu"), [{"name": "x", "dtype": "float", "shape": [1, 4]}]) is None


def test_classes_are_compared_by_agreement(tmp_path: Path) -> None:
    def argmax(axis: int) -> onnx.ModelProto:
        return models.model([helper.make_node("ArgMax", ["x"], ["y"], axis=axis)], [models.value("x", [8, 8])],
                            [models.value("y", None, TensorProto.INT64)])
    inputs = [{"name": "x", "dtype": "float", "shape": [8, 8]}]
    assert difference(tmp_path, argmax(0), argmax(0), inputs) is None
    assert difference(tmp_path, argmax(0), argmax(1), inputs)
