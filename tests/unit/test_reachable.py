"""Which inputs a model reads, and by which operators it shows that it is quantised already."""
from __future__ import annotations

import onnx
import pytest
from onnx import TensorProto, helper

from shared.rules.quantized import quantizing_operators
from tests import models
from worker.stages.reachable import read_inputs


def branches() -> onnx.ModelProto:
    """If whose branches read `a` and `b` of the graph around them; nothing reads `c`."""
    def branch(name: str) -> onnx.GraphProto:
        node = helper.make_node("Relu", [name], [f"{name}_out"])
        return helper.make_graph([node], name, [], [models.value(f"{name}_out", [1, 4])])

    choice = helper.make_node("If", ["flag"], ["y"], then_branch=branch("a"), else_branch=branch("b"))
    return models.model([choice], [models.value("flag", [], TensorProto.BOOL),
                                   *(models.value(name, [1, 4]) for name in "cab")], [models.value("y", [1, 4])])


@pytest.mark.parametrize(("model", "read"), [
    (models.unread_input(), ["x"]), (models.pair((1, 4), (1, 4)), ["a", "b"]), (branches(), ["flag", "a", "b"])])
def test_inputs_are_read_on_the_way_to_an_output_within_branches_too(model: onnx.ModelProto, read: list[str]) -> None:
    assert read_inputs(model) == read


@pytest.mark.parametrize(("names", "found"), [
    (["Conv", "QuantizeLinear", "DequantizeLinear"], ["QuantizeLinear"]),
    (["com.microsoft.QLinearAdd", "Conv"], ["com.microsoft.QLinearAdd"]), (["MatMulInteger"], ["MatMulInteger"]),
    (["DequantizeLinear", "MatMul"], []), (["Conv", "Linear"], [])])
def test_a_model_shows_by_its_operators_that_it_is_quantised(names: list[str], found: list[str]) -> None:
    assert quantizing_operators(names) == found
