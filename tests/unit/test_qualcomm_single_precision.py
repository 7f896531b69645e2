"""A half-precision model in single precision: the same function, with inputs and outputs of their own types."""
from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from tests import models
from worker.platforms.qualcomm.single_precision import widen

HALF, SINGLE = TensorProto.FLOAT16, TensorProto.FLOAT


def answer(model: onnx.ModelProto, **feed: np.ndarray) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, feed)


def half(name: str, values: object) -> onnx.TensorProto:
    return numpy_helper.from_array(np.asarray(values, np.float16), name)


def types(model: onnx.ModelProto) -> set[int]:
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    return {value.type.tensor_type.elem_type for value in inferred.graph.value_info}


def mixed() -> onnx.ModelProto:
    """Initialisers, a Constant, a stretch in single precision, an If that reads from outside, a read output."""
    branches = {name: helper.make_graph([helper.make_node(operator, ["scaled", "two"], [name])], name, [],
                                        [models.value(name, [1, 4], HALF)])
                for name, operator in (("then", "Add"), ("else", "Mul"))}
    nodes = [helper.make_node("Constant", [], ["two"], value=half("", 2.0)),
             helper.make_node("Mul", ["x", "by"], ["scaled"]),
             helper.make_node("If", ["flag"], ["chosen"], then_branch=branches["then"], else_branch=branches["else"]),
             helper.make_node("Cast", ["chosen"], ["wide"], to=SINGLE), helper.make_node("Softmax", ["wide"], ["soft"]),
             helper.make_node("Cast", ["soft"], ["y"], to=HALF), helper.make_node("Add", ["y", "bias"], ["z"])]
    return models.model(nodes, [models.value("x", [1, 4], HALF), models.value("flag", [], TensorProto.BOOL)],
                        [models.value("y", [1, 4], HALF), models.value("z", [1, 4], HALF),
                         models.value("fixed", [1], HALF)],
                        [half("by", [1.5, -0.25, 3.0, 0.5]), half("bias", [1.0, 2.0, 3.0, 4.0]), half("fixed", [7.0])])


def test_it_computes_the_same_and_nothing_inside_is_of_half_precision_any_more() -> None:
    before, after = mixed(), mixed()
    assert widen(after)
    onnx.checker.check_model(after, full_check=True)
    x = np.array([[0.5, 1.0, -2.0, 3.0]], np.float16)
    for flag in (True, False):
        for expected, given in zip(answer(before, x=x, flag=np.array(flag)), answer(after, x=x, flag=np.array(flag)),
                                   strict=True):
            assert given.dtype == np.float16
            np.testing.assert_allclose(given, expected, rtol=2e-3)
    assert HALF not in types(after)
    assert [node.op_type for node in after.graph.node].count("Cast") == 4, "one for each input and output of half"


def test_a_value_beyond_half_precision_is_no_infinity_inside() -> None:
    nodes = [helper.make_node("Mul", ["x", "by"], ["large"]), helper.make_node("Div", ["large", "by"], ["y"])]
    model = models.model(nodes, [models.value("x", [1], HALF)], [models.value("y", [1], HALF)],
                         [half("by", [60000.0])])
    widen(model)
    assert answer(model, x=np.array([5.0], np.float16))[0] == 5.0


def test_a_model_of_single_precision_stays_as_it_is() -> None:
    model = models.convolution()
    before = model.SerializeToString()
    assert not widen(model) and model.SerializeToString() == before
