"""Means and variances in a form that 16 bits can hold: what is rewritten, what stays, and that it answers the same."""
from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests import models
from tests.fixtures.stages import Conversion
from worker.stages.moments import settle

SHAPE = [1, 4, 512]


def flax_norm(opset: int = 17, scale: float = 20.0, divide: bool = False, square: str = "Mul") -> onnx.ModelProto:
    """Normalised over the last axis as flax writes it; x times `scale`, so that a sum of its squares passes 65504."""
    n = SHAPE[-1]
    share = models.constant("share", np.array(n if divide else 1 / n, np.float32), np.float32)
    constants = [share, models.constant("two", 2.0, np.float32), models.constant("epsilon", 1e-6, np.float32),
                 models.constant("zero", 0.0, np.float32), models.constant("scale", scale, np.float32),
                 numpy_helper.from_array(np.array([-1], np.int64), "axes")]
    by = "Div" if divide else "Mul"
    attributes: dict[str, Any] = {"keepdims": 1}

    def squared(name: str, output: str) -> onnx.NodeProto:
        return helper.make_node(square, [name, name if square == "Mul" else "two"], [output])

    nodes = [helper.make_node("Mul", ["x", "scale"], ["v"]),
             helper.make_node("ReduceSum", ["v", "axes"], ["sum"], **attributes),
             helper.make_node(by, ["sum", "share"], ["mean"]),
             squared("v", "squares"),
             helper.make_node("ReduceSum", ["squares", "axes"], ["sum_of_squares"], **attributes),
             helper.make_node(by, ["sum_of_squares", "share"], ["mean_of_squares"]),
             squared("mean", "square_of_mean"), helper.make_node("Sub", ["mean_of_squares", "square_of_mean"], ["raw"]),
             helper.make_node("Max", ["raw", "zero"], ["variance"]),
             helper.make_node("Add", ["variance", "epsilon"], ["positive"]),
             helper.make_node("Sqrt", ["positive"], ["deviation"]), helper.make_node("Sub", ["v", "mean"], ["apart"]),
             helper.make_node("Div", ["apart", "deviation"], ["y"])]
    return models.model(nodes, [models.value("x", SHAPE)], [models.value("y", SHAPE)], constants, opset=opset)


def kinds(model: onnx.ModelProto) -> Counter[str]:
    return Counter(node.op_type for node in model.graph.node)


def answers(model: onnx.ModelProto, **feed: np.ndarray) -> list[np.ndarray]:
    return onnxruntime.InferenceSession(model.SerializeToString()).run(None, feed)


@pytest.mark.parametrize("opset", [13, 17, 18])
@pytest.mark.parametrize(("divide", "square"), [(False, "Mul"), (True, "Mul"), (False, "Pow")])
def test_a_variance_is_that_of_the_distances_from_the_mean(opset: int, divide: bool, square: str) -> None:
    model = flax_norm(opset, divide=divide, square=square)
    before = onnx.ModelProto.FromString(model.SerializeToString())
    assert settle(model)
    onnx.checker.check_model(model, full_check=True)
    assert "ReduceSum" not in kinds(model) and kinds(model)["ReduceMean"] == 3
    x = np.random.default_rng(0).standard_normal(SHAPE, np.float32)
    np.testing.assert_allclose(answers(model, x=x)[0], answers(before, x=x)[0], rtol=1e-3, atol=1e-4)
    inner = onnx.ModelProto.FromString(model.SerializeToString())
    inner.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
                              for node in inner.graph.node for name in node.output if name != "y")
    assert max(np.abs(array).max() for array in answers(inner, x=x)) < 65504


def test_what_only_infinity_decides_is_left_out() -> None:
    infinity = models.constant("infinity", -np.inf, np.float32)
    model = models.model([helper.make_node("Abs", ["x"], ["a"]), helper.make_node("Max", ["infinity", "a"], ["m"]),
                          helper.make_node("Sqrt", ["m"], ["y"])],
                         [models.value("x", SHAPE)], [models.value("y", SHAPE)], [infinity])
    assert settle(model)
    assert kinds(model) == {"Abs": 1, "Sqrt": 1} and not model.graph.initializer


def mean_of(share: float) -> onnx.ModelProto:
    constants = [models.constant("share", share, np.float32), models.constant("axes", [2])]
    return models.model([helper.make_node("ReduceSum", ["x", "axes"], ["s"]),
                         helper.make_node("Mul", ["s", "share"], ["y"])],
                        [models.value("x", SHAPE)], [models.value("y", [1, 4, 1])], constants)


@pytest.mark.parametrize("model", [
    mean_of(1 / 511), mean_of(1.0),
    models.model([helper.make_node("Max", ["x", "bound"], ["y"])],
                 [models.value("x", SHAPE)], [models.value("y", SHAPE)],
                 [models.constant("bound", np.inf, np.float32)]),
    models.model([helper.make_node("Max", ["x", "bound"], ["m"]), helper.make_node("Neg", ["m"], ["y"])],
                 [models.value("x", [2])], [models.value("y", [1, 2])],
                 [models.constant("bound", np.full((1, 1), -np.inf), np.float32)]),
], ids=["another share", "a plain sum", "infinity itself", "another shape"])
def test_what_says_something_else_stays(model: onnx.ModelProto) -> None:
    before = model.SerializeToString()
    assert not settle(model)
    assert model.SerializeToString() == before


def test_optimize_does_it(tmp_path: Path) -> None:
    conversion = Conversion(tmp_path, flax_norm())
    assert conversion.run("optimize")["simplified"]
    assert "ReduceSum" not in kinds(onnx.load(conversion.dir("optimize") / "model.onnx"))
