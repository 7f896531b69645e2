"""Forms of operators that a target refuses while it takes the operator: read from the header, named with the cut."""
from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from shared.platforms import get_platforms
from shared.preflight.demands import judge_operators, judge_types
from shared.rules.onnx.forms import _ATTRIBUTES, _INPUTS, _OUTPUTS
from tests import models
from tests.fixtures.preflight import read_here

QUALCOMM = get_platforms()["qualcomm"].operators
FP16 = {"precision": "fp16", "chip": "SM8650"}


def node(kind: str, outputs: int = 1, inputs: tuple[str, ...] = ("x",), **attributes: Any) -> onnx.ModelProto:
    names = [f"y{index}" for index in range(outputs)]
    return models.model([helper.make_node("Relu", ["a"], ["x"]), helper.make_node(kind, inputs, names, **attributes)],
                        [models.value("a", [1, 4, 8, 8])], [models.value(name, None) for name in names],
                        [models.constant("w", np.ones(8), np.float32)])


def forms(model: onnx.ModelProto) -> list[str]:
    return read_here(model)["graph"][-1][-1]


@pytest.mark.parametrize(("model", "told"), [
    (node("ArgMax", select_last_index=1), ["select_last_index = 1"]), (node("ArgMax", axis=1), []),
    (node("GridSample", mode="bicubic"), ["mode = bicubic"]), (node("RMSNormalization", axis=-2), ["axis = -2"]),
    (node("MaxPool", kernel_shape=[2, 2], dilations=[1, 2]), ["dilations, 2D", "kernel_shape, 2D", "outputs = 1"]),
    (node("AveragePool", kernel_shape=[2, 2], dilations=[1, 1]), []), (node("AveragePool", kernel_shape=[2, 2, 2]), []),
    (node("LayerNormalization", 3, ("x", "w")), ["outputs = 3"]), (node("LayerNormalization", 1, ("x", "w")),
                                                                  ["outputs = 1"]),
    (node("LSTM", 1, ("x", "w", "w", "", "", "", "", "w"), hidden_size=2), ["input P"]),
    (node("LSTM", 1, ("x", "w", "w", "w"), hidden_size=2), []),
    (node("MaxPool", 2, kernel_shape=[2, 2]), ["kernel_shape, 2D", "outputs = 2"]),
    (node("Cast", to=onnx.TensorProto.DOUBLE), ["to = 11"]),
    (node("Attention", 1, ("x", "x", "x", "", "", "", "w")), ["input nonpad_kv_seqlen"]),
    (node("Relu"), []), (node("ArgMax", doc_string="mode", select_last_index=0), ["select_last_index = 0"])])
def test_a_form_is_read_from_the_header(model: onnx.ModelProto, told: list[str]) -> None:
    assert sorted(forms(model)) == told


def test_operators_of_other_domains_have_none() -> None:
    model = node("GridSample", mode="bicubic")
    model.graph.node[1].domain = "com.microsoft"
    assert forms(model) == []


def test_a_form_that_is_refused_is_named_with_the_cut_before_it() -> None:
    model = node("ArgMax", select_last_index=1)
    model.graph.node.insert(0, helper.make_node("Relu", ["b"], ["a"]))
    model.graph.input[0].name = "b"
    (problem,), _ = judge_operators(read_here(model), QUALCOMM, FP16)
    assert problem.code == "unsupported_operator" and "ArgMax (select_last_index = 1)" in problem.message
    assert 'parameters.outputs = ["x"]' in problem.hint and 'parameters.outputs = ["x"]' in problem.hint_zh
    assert judge_operators(read_here(model), QUALCOMM, FP16 | {"outputs": ["x"]}) == ([], [])
    assert judge_operators(read_here(node("ArgMax")), QUALCOMM, FP16) == ([], [])


@pytest.mark.parametrize(("target", "dtype", "attributes", "named"), [
    ("intel", "float", {"fmod": 0}, ["Mod, fmod = 0 (x: float)"]), ("intel", "float", {"fmod": 1}, []),
    ("intel", "int32", {"fmod": 0}, []), ("qualcomm", "double", {}, ["Mod (x: double)"]),
    ("qualcomm", "int32", {}, [])])
def test_a_type_that_is_not_taken_in_one_form_alone(target: str, dtype: str, attributes: dict[str, int],
                                                    named: list[str]) -> None:
    kind = getattr(onnx.TensorProto, dtype.upper())
    model = models.model([helper.make_node("Mod", ["x", "x"], ["y"], **attributes)], [models.value("x", [8], kind)],
                         [models.value("y", [8], kind)], opset=28, ir=10)
    problems = list(judge_types(read_here(model), get_platforms()[target], FP16))
    assert [name for problem in problems for name in named if name in problem.message] == named
    assert bool(problems) == bool(named)


@pytest.mark.parametrize(("dtype", "refused"), [("bool", True), ("float", False)])
def test_a_type_of_another_input_than_the_first(dtype: str, refused: bool) -> None:
    kind = getattr(onnx.TensorProto, dtype.upper())
    inputs = [*(models.value(name, [1, 2, 4, 8]) for name in "qkv"), models.value("mask", [4, 4], kind)]
    model = models.model([helper.make_node("Attention", [*"qkv", "mask"], ["y"])], inputs, [models.value("y", None)],
                         opset=23, ir=10)
    problems = list(judge_types(read_here(model), get_platforms()["qualcomm"], FP16))
    assert ["Attention, input 3 (mask: bool)" in problem.message for problem in problems] == ([True] if refused else [])


def test_where_nothing_is_certain_it_is_a_warning() -> None:
    problems, (warning,) = judge_operators(read_here(node("GridSample", mode="cubic")), QUALCOMM,
                                           FP16 | {"allow_cpu": True})
    assert not problems and "may refuse" in warning.en and "GridSample (mode = cubic)" in warning.en
    assert "GridSample (mode = cubic)" in warning.zh


@pytest.mark.parametrize(("attributes", "refused"), [
    ({}, False), ({"antialias": 0}, False), ({"antialias": 1}, True), ({"exclude_outside": 1}, True),
    ({"keep_aspect_ratio_policy": "stretch"}, False), ({"keep_aspect_ratio_policy": "not_larger"}, True)])
def test_an_input_that_has_to_be_a_constant_in_one_form_alone(attributes: dict[str, Any], refused: bool) -> None:
    intel = get_platforms()["intel"].operators
    model = node("Resize", 1, ("x", "", "", "sizes"), mode="linear", **attributes)
    model.graph.input.append(models.value("sizes", [4], onnx.TensorProto.INT64))
    problems, _ = judge_operators(read_here(model), intel, {"precision": "fp16"})
    assert [problem.code for problem in problems] == (["unsupported_operator"] if refused else [])
    model.graph.initializer.append(models.constant("sizes", [1, 4, 5, 5]))
    assert judge_operators(read_here(model), intel, {"precision": "fp16"}) == ([], [])


@pytest.mark.parametrize("target", ["intel", "qualcomm", "rockchip"])
def test_what_a_target_is_known_to_refuse_is_read_and_stands_in_one_list_alone(target: str) -> None:
    operators = get_platforms()[target].operators
    assert operators.forms.keys() <= operators.known
    assert not operators.known & operators.refused
    for name, refused in operators.forms.items():
        read = {*_ATTRIBUTES.get(name, ()), *(["outputs"] if name in _OUTPUTS else []),
                *(["input"] if name in _INPUTS else [])}
        assert {form.replace(",", " ").split()[0] for form in refused} <= read, name
    for name in operators.constant:
        operator, _, form = name.partition(", ")
        assert not form or form.split()[0] in _ATTRIBUTES[operator], name


@pytest.mark.parametrize(("target", "refused"), [("rockchip", True), ("qualcomm", True), ("intel", False)])
def test_a_model_of_constants_leaves_an_npu_nothing_to_compute(target: str, refused: bool) -> None:
    def codes(*nodes: onnx.NodeProto) -> list[str]:
        model = models.model(list(nodes), [models.value("x", [2, 3])],
                             [models.value(nodes[-1].output[0], None, onnx.TensorProto.INT64)])
        return [problem.code for problem in judge_types(read_here(model), get_platforms()[target], FP16)]

    shape = helper.make_node("Shape", ["x"], ["s"])
    assert codes(shape) == codes(shape, helper.make_node("Neg", ["s"], ["y"])) == (
        ["unsupported_operator"] if refused else [])
    assert codes(helper.make_node("Identity", ["x"], ["y"])) == []
    assert codes(shape, helper.make_node("Reshape", ["x", "s"], ["y"])) == []
