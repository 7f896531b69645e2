"""An Einsum written as transpositions around a MatMul answers as before; what cannot be said so stays."""
from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper

from tests import models
from worker.stages.einsum import spell_out_einsum


def of(equation: str, *shapes: list[int]) -> onnx.ModelProto:
    names = [f"x{index}" for index in range(len(shapes))]
    return models.model([helper.make_node("Einsum", names, ["y"], equation=equation)],
                        [models.value(name, shape) for name, shape in zip(names, shapes, strict=True)],
                        [models.value("y", None)])


def answer(model: onnx.ModelProto) -> np.ndarray:
    rng = np.random.default_rng(4)
    feed = {value.name: rng.standard_normal([dim.dim_value for dim in value.type.tensor_type.shape.dim]).astype(
        np.float32) for value in model.graph.input}
    return onnxruntime.InferenceSession(model.SerializeToString()).run(None, feed)[0]


@pytest.mark.parametrize(("equation", "shapes", "operators"), [
    ("bij,bjk->bik", ([2, 3, 4], [2, 4, 5]), ["MatMul"]),
    ("bhid,bhjd->bhij", ([2, 3, 4, 6], [2, 3, 5, 6]), ["Transpose", "MatMul"]),
    ("bhij,bjhd->bihd", ([2, 3, 4, 5], [2, 5, 3, 6]), ["Transpose", "MatMul", "Transpose"]),
    ("bshd,hdo->bso", ([2, 4, 3, 5], [3, 5, 7]), ["Reshape", "Reshape", "MatMul", "Reshape"]),
    (" i , j -> j i ", ([3], [4]), ["Reshape", "Reshape", "MatMul", "Transpose"]),
    ("i,i", ([5], [5]), ["Reshape", "Reshape", "MatMul", "Reshape"]),
    ("ij,jk", ([2, 3], [3, 4]), ["MatMul"])])
def test_a_product_of_two(equation: str, shapes: tuple[list[int], ...], operators: list[str]) -> None:
    model = of(equation, *shapes)
    before = answer(model)
    assert spell_out_einsum(model) == 1
    assert [node.op_type for node in model.graph.node] == operators
    after = answer(model)
    assert after.shape == before.shape
    np.testing.assert_allclose(after, before, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("equation", "shapes"), [
    ("...ii->...i", ([2, 3, 3],)), ("ij->ji", ([2, 3],)), ("ij,ij,ij->ij", ([2, 3],) * 3),
    ("ij,k->jk", ([2, 3], [4])), ("...ij,...jk->...ik", ([2, 2, 3], [2, 3, 4])), ("ii,ij->ij", ([3, 3], [3, 4])),
    ("ij,jk->ik", ([2, 1], [3, 4])), ("nc,nc->nc", ([2, 3], [2, 3]))])
def test_what_is_no_such_product_stays(equation: str, shapes: tuple[list[int], ...]) -> None:
    model = of(equation, *shapes)
    before = model.SerializeToString()
    assert spell_out_einsum(model) == 0 and model.SerializeToString() == before


def test_an_open_shape_stays() -> None:
    model = of("ij,jk->ik", [2, 3], [3, 4])
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "n"
    assert spell_out_einsum(model) == 0


def test_a_factor_may_be_a_constant() -> None:
    model = models.model([helper.make_node("Einsum", ["x", "w"], ["y"], equation="bsh,oh->bso"),
                          helper.make_node("Relu", ["y"], ["z"])], [models.value("x", [2, 3, 4])],
                         [models.value("z", None)], [models.weights("w", 5, 4)])
    before = answer(model)
    assert spell_out_einsum(model) == 1
    np.testing.assert_allclose(answer(model), before, rtol=1e-4, atol=1e-5)
