"""A mask of -inf becomes one of finite numbers where the model compares with it, and the answers stay."""
from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from tests import models
from worker.stages.graph import Graph
from worker.stages.infinities import bound_masks

ROWS, COLUMNS = 4, 6


def attention(compares: bool = True, swapped: bool = False, cast: bool = False) -> onnx.ModelProto:
    """A Softmax over scores with a mask of flags; a row that is masked whole answers zeros."""
    infinity = "lowest" if cast else "least"
    pair = [infinity, "greatest"] if swapped else ["greatest", infinity]
    nodes = [helper.make_node("Where", ["mask", "zero", "least"], ["bias"]),
             helper.make_node("Add", ["x", "bias"], ["scores"]),
             helper.make_node("Softmax", ["scores"], ["shares" if compares else "y"], axis=-1)]
    if cast:
        nodes.insert(0, helper.make_node("Cast", ["least"], ["lowest"], to=TensorProto.FLOAT))
    if compares:
        nodes += [helper.make_node("ReduceMax", ["bias"], ["greatest"], axes=[-1]),
                  helper.make_node("Equal", pair, ["is_masked"]),
                  helper.make_node("Where", ["is_masked", "zero", "shares"], ["y"])]
    return models.model(nodes, [models.value("x", [ROWS, COLUMNS]), models.value("mask", [ROWS, COLUMNS], 9)],
                        [models.value("y", [ROWS, COLUMNS])],
                        [models.constant("least", -np.inf, np.float32), models.constant("zero", 0.0, np.float32)])


def answer(model: onnx.ModelProto, mask: np.ndarray) -> np.ndarray:
    feed = {"x": np.random.default_rng(5).standard_normal((ROWS, COLUMNS)).astype(np.float32), "mask": mask}
    return onnxruntime.InferenceSession(model.SerializeToString()).run(None, feed)[0]


def values(model: onnx.ModelProto) -> list[float]:
    read = {name for node in model.graph.node for name in node.input}
    return [float(onnx.numpy_helper.to_array(tensor)) for tensor in model.graph.initializer if tensor.name in read]


@pytest.mark.parametrize("options", [{}, {"swapped": True}, {"cast": True}])
def test_a_row_that_is_masked_whole_answers_zeros_without_an_infinity(options: dict[str, bool]) -> None:
    before, after = attention(**options), attention(**options)
    assert bound_masks(Graph(after)) == 1
    assert np.isfinite(values(after)).all() and min(values(after)) > -65504
    mask = np.random.default_rng(6).random((ROWS, COLUMNS)) < 0.5
    mask[1] = False
    given = answer(after, mask)
    np.testing.assert_array_equal(given[1], 0)
    np.testing.assert_allclose(given, answer(before, mask), atol=1e-6)


def test_a_mask_that_nothing_is_compared_with_stays() -> None:
    model = attention(compares=False)
    assert bound_masks(Graph(model)) == 0 and min(values(model)) == -np.inf


@pytest.mark.parametrize("shown", ["scores", "bias", "greatest"])
def test_a_mask_that_an_output_shows_stays(shown: str) -> None:
    model = attention()
    model.graph.output.append(models.value(shown, None))
    assert bound_masks(Graph(model)) == 0 and min(values(model)) == -np.inf


def test_an_infinity_that_something_else_computes_with_stays() -> None:
    model = attention()
    model.graph.node.append(helper.make_node("Exp", ["bias"], ["power"]))
    model.graph.output.append(models.value("power", None))
    assert bound_masks(Graph(model)) == 0
