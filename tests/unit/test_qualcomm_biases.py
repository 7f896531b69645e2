"""Bias correction: the mean of each channel is what it was before the weights were rounded."""
from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

from tests import models
from worker.platforms.qualcomm.biases import correct, flatten
from worker.platforms.qualcomm.drafts import rounded_weights
from worker.stages.graph import Graph

SHAPE = [1, 4, 8, 8]


def samples() -> list[dict[str, np.ndarray]]:
    generator = np.random.default_rng(3)
    return [{"x": generator.random(SHAPE, np.float32) + number} for number in range(3)]


def means(model: onnx.ModelProto) -> np.ndarray:
    """Of each channel of the first output, over all samples."""
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    outputs = [session.run(None, feed)[0] for feed in samples()]
    return np.mean([output.mean(axis=tuple(axis for axis in range(output.ndim) if axis != 1)) for output in outputs], 0)


def rounded(model: onnx.ModelProto, steps: float = 4.0) -> tuple[onnx.ModelProto, onnx.ModelProto]:
    """`(as a quantizer writes it, with those weights in place)`: all weights `w…`, coarsely, with a scale for each
    output channel."""
    draft, inlined = onnx.ModelProto(), onnx.ModelProto()
    for copy in (draft, inlined):
        copy.CopyFrom(model)
    readers = {node.input[1]: node.op_type for node in model.graph.node if len(node.input) > 1}
    for tensor in inlined.graph.initializer:
        if not tensor.name.startswith("w"):
            continue
        weights, axis = numpy_helper.to_array(tensor), 0 if readers[tensor.name] == "Conv" else 1
        scale = np.abs(weights).max(tuple(i for i in range(weights.ndim) if i != axis)) / np.float32(steps)
        shape = [-1 if index == axis else 1 for index in range(weights.ndim)]
        whole = np.rint(weights / scale.reshape(shape)).astype(np.int8)
        tensor.CopyFrom(numpy_helper.from_array(whole * scale.reshape(shape), tensor.name))
        names = [tensor.name + end for end in ("_quantized", "_scale", "_zero_point")]
        zeros = np.zeros(len(scale), np.int8)
        draft.graph.initializer.extend(map(numpy_helper.from_array, (whole, scale, zeros), names))
        draft.graph.node.append(helper.make_node("DequantizeLinear", names, [tensor.name + "_dq"], axis=axis))
    return draft, inlined


def chain(opset: int, operator: str, weights: list[int], *, bias: bool, **attributes: int) -> onnx.ModelProto:
    inputs = ["f", "w"] if operator == "Gemm" else ["x", "w"]
    nodes = [helper.make_node("Flatten", ["x"], ["f"])] if operator == "Gemm" else []
    channels = weights[0] if operator == "Conv" else weights[1] * attributes.get("group", 1)
    node = helper.make_node(operator, [*inputs, "b"] if bias else inputs, ["y"], name="only", **attributes)
    return models.model([*nodes, node], [models.value("x", SHAPE)], [models.value("y", None)],
                        [models.weights("w", *weights), models.weights("b", channels, seed=7)][:1 + bias], opset=opset)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("opset", [13, 18])
@pytest.mark.parametrize(("operator", "weights", "attributes"), [
    ("Conv", [6, 4, 3, 3], {}), ("Conv", [4, 1, 3, 3], {"group": 4}), ("ConvTranspose", [4, 3, 2, 2], {}),
    ("Gemm", [256, 5], {})], ids=["conv", "depthwise", "transposed", "gemm"])
def test_the_mean_of_every_channel_is_that_of_the_model_again(
        tmp_path: Path, operator: str, weights: list[int], attributes: dict[str, int], opset: int, bias: bool) -> None:
    model = chain(opset, operator, weights, bias=bias, **attributes)
    draft, inlined = rounded(model)
    wanted, before = means(model), means(inlined)
    assert correct(model, rounded_weights(Graph(model), Graph(draft)), str(tmp_path / "m.onnx"), samples(), 1) == 1
    inlined.graph.node[-1].input[:] = model.graph.node[-1].input
    inlined.graph.initializer.extend(tensor for tensor in model.graph.initializer
                                     if tensor.name == model.graph.node[-1].input[2])
    assert np.abs(before - wanted).max() > 0.05
    np.testing.assert_allclose(means(inlined), wanted, atol=2e-4)


def test_two_operators_with_one_bias_get_one_each(tmp_path: Path) -> None:
    nodes = [helper.make_node("Conv", ["x", "w1", "b"], ["c"], name="one", pads=[1] * 4),
             helper.make_node("Conv", ["c", "w2", "b"], ["y"], name="two", pads=[1] * 4)]
    model = models.model(nodes, [models.value("x", SHAPE)], [models.value("y", None)],
                         [models.weights("w1", 4, 4, 3, 3), models.weights("w2", 4, 4, 3, 3, seed=2),
                          models.weights("b", 4, seed=4)])
    weights = rounded_weights(Graph(model), Graph(rounded(model)[0]))
    assert correct(model, weights, str(tmp_path / "m.onnx"), samples(), 1) == 2
    one, two = (node.input[2] for node in model.graph.node)
    assert one != two and "b" not in (one, two)


def test_without_weights_there_is_nothing_to_correct(tmp_path: Path) -> None:
    model = models.unary("Relu", SHAPE)
    assert correct(model, {}, str(tmp_path / "m.onnx"), samples(), 1) == 0


def test_a_bias_of_one_row_has_one_dimension_and_says_the_same() -> None:
    model = models.model([helper.make_node("Gemm", ["x", "w", "b"], ["y"])], [models.value("x", [1, 6])],
                         [models.value("y", [1, 5])], [models.weights("w", 6, 5), models.weights("b", 1, 5)])
    feed = {"x": np.random.default_rng(0).random((1, 6), np.float32)}
    before = onnxruntime.InferenceSession(model.SerializeToString()).run(None, feed)
    flatten(Graph(model))
    assert {tuple(tensor.dims) for tensor in model.graph.initializer} == {(6, 5), (5,)}
    np.testing.assert_array_equal(onnxruntime.InferenceSession(model.SerializeToString()).run(None, feed), before)
