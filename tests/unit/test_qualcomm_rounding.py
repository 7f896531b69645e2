"""Weights that are rounded together: outputs come nearer, and the quantizer writes the same integers again."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

from tests import models
from worker.platforms.qualcomm.biases import correct
from worker.platforms.qualcomm.drafts import Rounded, rounded_weights, take_weights
from worker.platforms.qualcomm.rounding import round_together, spread
from worker.stages.graph import Graph

STEPS = 31  # of a weight on each side of zero: coarse, so that rounding is what the outputs show

FORMS: dict[str, tuple[str, list[int], list[int], dict[str, Any]]] = {  # operator, input, weight, attributes
    "conv": ("Conv", [1, 4, 9, 9], [6, 4, 3, 3], {}),
    "strided": ("Conv", [2, 4, 9, 8], [6, 4, 3, 2], {"strides": [2, 1], "dilations": [1, 2], "pads": [1, 0, 2, 1]}),
    "grouped": ("Conv", [1, 8, 9, 9], [6, 4, 3, 3], {"group": 2, "pads": [1, 1, 1, 1]}),
    "depthwise": ("Conv", [1, 4, 9, 9], [4, 1, 5, 5], {"group": 4}),
    "one dimension": ("Conv", [1, 6, 40], [5, 6, 7], {}),
    "gemm": ("Gemm", [32, 20], [20, 5], {}),
    "gemm, transposed": ("Gemm", [32, 20], [5, 20], {"transB": 1, "alpha": 0.5}),
    "matmul": ("MatMul", [2, 16, 20], [20, 5], {}),
}


def samples(shape: list[int]) -> list[dict[str, np.ndarray]]:
    """Neighbours and channels that go with each other, as a picture's, so that one weight can help another."""
    generator = np.random.default_rng(3)
    return [{"x": (np.cumsum(generator.normal(0, 0.2, shape), -1) + generator.normal(1, 0.5, shape)).astype(np.float32)}
            for _ in range(4)]


def make(operator: str, shape: list[int], weight: list[int], attributes: dict[str, Any]) -> onnx.ModelProto:
    node = helper.make_node(operator, ["x", "w"], ["y"], name="only", **attributes)
    return models.model([node], [models.value("x", shape)], [models.value("y", None)], [models.weights("w", *weight)])


def quantize(model: onnx.ModelProto, axis: int | None) -> Graph:
    """As the quantizer writes weights without a zero point: the scale is of the greatest one in a row."""
    weights = numpy_helper.to_array(model.graph.initializer[0])
    others = tuple(index for index in range(weights.ndim) if index != axis)
    scale = np.abs(weights).max(others if axis is not None else None) / np.float32(STEPS)
    shape = [-1 if index == axis else 1 for index in range(weights.ndim)] if axis is not None else ()
    whole = np.rint(weights / scale.reshape(shape)).astype(np.int8)
    names = ["w_quantized", "w_scale", "w_zero_point"]
    draft = onnx.ModelProto()
    draft.CopyFrom(model)
    draft.graph.initializer.extend(map(numpy_helper.from_array, (whole, np.array(scale), np.zeros_like(scale, np.int8)),
                                       names))
    draft.graph.node.append(helper.make_node("DequantizeLinear", names, ["w_dq"],
                                             **({} if axis is None else {"axis": axis})))
    return Graph(draft)


def outputs(model: onnx.ModelProto, shape: list[int]) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.stack([session.run(None, feed)[0] for feed in samples(shape)])


def with_weights(model: onnx.ModelProto, rounded: dict[str, Rounded]) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    take_weights(Graph(copy), rounded)
    return copy


@pytest.fixture(autouse=True)
def _narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.platforms.qualcomm.rounding._ends", lambda weight: (-STEPS, STEPS))


@pytest.mark.parametrize("by_row", [True, False], ids=["a scale a row", "one scale"])
@pytest.mark.parametrize("form", FORMS)
def test_the_outputs_come_nearer_and_the_scale_stays(tmp_path: Path, form: str, by_row: bool) -> None:
    operator, shape, weight, attributes = FORMS[form]
    axis = (0 if operator == "Conv" or "transB" in attributes else 1) if by_row else None
    model = make(operator, shape, weight, attributes)
    wanted, draft = outputs(model, shape), quantize(model, axis)

    def error(rounded: dict[str, Rounded]) -> float:
        corrected = onnx.ModelProto()
        corrected.CopyFrom(model)
        correct(corrected, rounded, str(tmp_path / "c.onnx"), samples(shape), 1)
        return float(((outputs(with_weights(corrected, rounded), shape) - wanted) ** 2).mean())

    before = error(rounded_weights(Graph(model), draft))
    rounded = rounded_weights(Graph(model), draft)
    changed = round_together(model, rounded, str(tmp_path / "m.onnx"), lambda: samples(shape), 1)
    assert changed == ["w"] and error(rounded) < 0.9 * before
    again = Rounded(quantize(with_weights(model, rounded), axis), draft.graph.node[-1])
    np.testing.assert_array_equal(again.whole, rounded["w"].whole)
    np.testing.assert_allclose(again.scale, rounded["w"].scale, rtol=1e-6)


@pytest.mark.parametrize(("operator", "shape", "weight", "attributes"), [
    ("Conv", [1, 4, 9, 9], [6, 4, 3, 3], {"auto_pad": "SAME_UPPER"}), ("ConvTranspose", [1, 4, 9, 9], [4, 6, 3, 3], {}),
    ("Gemm", [20, 20], [20, 5], {"transA": 1}), ("MatMul", [2, 8, 8], [2, 8, 8], {})])
def test_other_forms_stay_as_they_were_rounded(tmp_path: Path, operator: str, shape: list[int], weight: list[int],
                                               attributes: dict[str, Any]) -> None:
    model = make(operator, shape, weight, attributes)
    rounded = rounded_weights(Graph(model), quantize(model, None))
    before = rounded["w"].whole.copy()
    assert round_together(model, rounded, str(tmp_path / "m.onnx"), lambda: samples(shape), 1) == []
    np.testing.assert_array_equal(rounded["w"].whole, before)


def test_a_scale_that_changes_within_a_row_and_a_weight_of_16_bits_stay(tmp_path: Path) -> None:
    operator, shape, weight, attributes = FORMS["gemm"]
    model = make(operator, shape, weight, attributes)
    rounded = rounded_weights(Graph(model), quantize(model, 0))
    assert round_together(model, rounded, str(tmp_path / "m.onnx"), lambda: samples(shape), 1) == []
    rounded = rounded_weights(Graph(model), quantize(model, 1))
    rounded["w"].whole = rounded["w"].whole.astype(np.int16)
    assert round_together(model, rounded, str(tmp_path / "m.onnx"), lambda: samples(shape), 1) == []


def test_a_weight_of_two_operators_is_rounded_for_both_and_one_read_otherwise_stays(tmp_path: Path) -> None:
    shape = [1, 4, 9, 9]
    nodes = [helper.make_node("Conv", ["x", "w"], ["c"], name="one", pads=[1] * 4),
             helper.make_node("Conv", ["c", "w"], ["y"], name="two", pads=[1] * 4)]
    model = models.model(nodes, [models.value("x", shape)], [models.value("y", None)],
                         [models.weights("w", 4, 4, 3, 3)])
    rounded = rounded_weights(Graph(model), quantize(model, 0))
    assert round_together(model, rounded, str(tmp_path / "m.onnx"), lambda: samples(shape), 1) == ["w"]
    nodes[1].ClearField("attribute")  # without pads: another way to read
    other = models.model(nodes, [models.value("x", shape)], [models.value("y", None)],
                         [models.weights("w", 4, 4, 3, 3)])
    rounded = rounded_weights(Graph(other), quantize(other, 0))
    assert round_together(other, rounded, str(tmp_path / "m.onnx"), lambda: samples(shape), 1) == []


def test_what_is_never_read_with_a_change_is_rounded_to_the_nearest() -> None:
    exact = np.array([[[0.4, 1.6, -2.4]]])
    held = np.full(exact.shape, np.nan)
    np.testing.assert_array_equal(spread(exact, held, np.zeros((1, 3, 3)), -7, 7), [[[0, 2, -2]]])


def test_equal_columns_share_what_rounding_costs_and_the_ends_hold() -> None:
    exact = np.array([[[0.4, 0.4, 0.4, 0.4, 0.4]]])
    second = np.ones((1, 5, 5))
    held = np.full(exact.shape, np.nan)
    assert spread(exact, held, second, -7, 7).sum() == 2, "each to the nearest would give 0"
    held[0, 0, 0] = 7
    shared = spread(exact, held, second, -3, 7)
    assert shared[0, 0, 0] == 7 and shared.min() >= -3 and shared.sum() == 2
