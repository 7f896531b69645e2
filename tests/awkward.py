"""Models as people send them, and what is to be done with each: every target has to convert all of them."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from tests import models
from tests.fixtures.calibration import pictures

SHAPE = [1, 3, 16, 16]


def listed_constants(*, ir: int = 6) -> onnx.ModelProto:
    """Conv, BatchNormalization and Relu as old exporters wrote them: initialisers among the inputs, before and after
    the one that is fed."""
    tensors = [models.weights("w", 8, 3, 3, 3), models.weights("scale", 8), models.weights("b", 8, seed=1),
               models.weights("mean", 8, seed=2), models.constant("var", [1.5] * 8, np.float32)]
    listed = [models.value(tensor.name, list(tensor.dims)) for tensor in tensors]
    nodes = [helper.make_node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]),
             helper.make_node("BatchNormalization", ["c", "scale", "b", "mean", "var"], ["n"]),
             helper.make_node("Relu", ["n"], ["y"])]
    return models.model(nodes, [*listed[:2], models.value("x", ["n", 3, 16, 16]), *listed[2:]],
                        [models.value("y", ["n", 8, 16, 16])], tensors, opset=8, ir=ir)


def doubled_names() -> onnx.ModelProto:
    """Nodes of one name, which ONNX Runtime refuses, nodes without any, and an input that nobody reads."""
    nodes = [helper.make_node("Conv", ["x", "w"], ["a"], "conv", pads=[1, 1, 1, 1]),
             helper.make_node("Relu", ["a"], ["b"], "conv"), helper.make_node("Conv", ["b", "v"], ["c"], "conv_2"),
             helper.make_node("Sigmoid", ["c"], ["y"])]
    return models.model(nodes, [models.value("x", SHAPE), models.value("unread", [1, 7])],
                        [models.value("y", [1, 4, 16, 16])],
                        [models.weights("w", 8, 3, 3, 3), models.weights("v", 4, 8, 1, 1)])


def suppressed() -> onnx.ModelProto:
    """A detector whose boxes and scores go into a NonMaxSuppression."""
    tensors = [models.weights("w", 6, 3, 1, 1), models.constant("flat", [1, 6, 256]), models.constant("parts", [4, 2]),
               models.constant("count", [10]), models.constant("iou", [0.5], np.float32)]
    nodes = [helper.make_node("Conv", ["x", "w"], ["c"]), helper.make_node("Reshape", ["c", "flat"], ["r"]),
             helper.make_node("Split", ["r", "parts"], ["bx", "sc"], axis=1),
             helper.make_node("Transpose", ["bx"], ["boxes"], perm=[0, 2, 1]),
             helper.make_node("Sigmoid", ["sc"], ["scores"]),
             helper.make_node("NonMaxSuppression", ["boxes", "scores", "count", "iou"], ["kept"])]
    return models.model(nodes, [models.value("x", SHAPE)], [models.value("kept", ["n", 3], TensorProto.INT64)], tensors)


def switched() -> onnx.ModelProto:
    """If the rate is 16000: `x` times a state, else `x` plus `other`; the way of silero-vad."""
    def branch(operator: str, other: str, name: str) -> onnx.GraphProto:
        return helper.make_graph([helper.make_node(operator, ["x", other], [name])], name, [],
                                 [models.value(name, [1, 4])])
    nodes = [helper.make_node("Equal", ["sr", "rate"], ["is"]),
             helper.make_node("If", ["is"], ["z"], then_branch=branch("Mul", "state", "a"),
                              else_branch=branch("Add", "other", "b")),
             helper.make_node("Relu", ["z"], ["y"])]
    return models.model(nodes, [models.value("x", ["batch", 4]), models.value("sr", [], TensorProto.INT64),
                                models.value("state", [1, 4]), models.value("other", [1, 4])],
                        [models.value("y", [1, 4])], [models.constant("rate", 16000)])


def squeezed() -> onnx.ModelProto:
    """`squeeze(1)` as PyTorch exports it for an open shape: an If on what Shape says."""
    def branch(name: str, *node: Any) -> onnx.GraphProto:
        value = models.value(name, None)
        return helper.make_graph([helper.make_node(node[0], list(node[1:]), [name])], name, [], [value])
    nodes = [helper.make_node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]), helper.make_node("Shape", ["c"], ["s"]),
             helper.make_node("Gather", ["s", "one"], ["channels"]),
             helper.make_node("Equal", ["channels", "one"], ["is"]),
             helper.make_node("If", ["is"], ["q"], then_branch=branch("t", "Squeeze", "c", "axes"),
                              else_branch=branch("e", "Identity", "c")),
             helper.make_node("Relu", ["q"], ["y"])]
    return models.model(nodes, [models.value("x", ["batch", 3, 16, 16])], [models.value("y", None)],
                        [models.weights("w", 1, 3, 3, 3), models.constant("one", 1), models.constant("axes", [1])])


def in_opset(opset: int, *, ir: int = 10) -> onnx.ModelProto:
    """Nothing in it is new in its opset."""
    nodes = [helper.make_node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]), helper.make_node("Relu", ["c"], ["r"]),
             helper.make_node("GlobalAveragePool", ["r"], ["y"])]
    return models.model(nodes, [models.value("x", SHAPE)], [models.value("y", [1, 8, 1, 1])],
                        [models.weights("w", 8, 3, 3, 3)], opset=opset, ir=ir)


@dataclass(frozen=True)
class Awkward:
    """A model, the parameters that it is converted with, and the names of the artefact's inputs and outputs then."""

    make: Callable[[], onnx.ModelProto]
    parameters: dict[str, Any] = field(default_factory=dict)
    inputs: tuple[str, ...] = ("x",)
    outputs: tuple[str, ...] = ("y",)


INT8 = {"precision": "int8", "calibration_files": pictures(6, *SHAPE)}
ALL = {
    "constants listed as inputs": Awkward(lambda: listed_constants(ir=3), INT8),
    "nodes of one name": Awkward(doubled_names, inputs=("x", "unread")),
    "cut before a NonMaxSuppression": Awkward(suppressed, {"outputs": ["boxes", "scores"]},
                                              outputs=("boxes", "scores")),
    "begins inside": Awkward(models.convolution, {"inputs": ["r"], "outputs": ["p"]}, ("r",), ("p",)),
    "a rate that is fixed": Awkward(switched, {"fixed_inputs": {"sr": 16000}}, ("x", "state")),
    "an If on a shape": Awkward(squeezed, {"input_shape": "2,3,16,16"}),
    "a new opset": Awkward(lambda: in_opset(21)),
}
