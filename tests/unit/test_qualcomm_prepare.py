"""prepare changes how a model is written, never what it computes; and what it is to fold is gone."""
from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper

from tests import models
from worker.platforms.qualcomm import pooling, prepare
from worker.stages.graph import Graph

SHAPE = [2, 4, 8, 8]


def run(folder: Path, model: onnx.ModelProto, inputs: list[dict[str, Any]] | None = None,
        **parameters: Any) -> tuple[dict[str, Any], onnx.ModelProto]:
    """The stage's facts and its model."""
    source, target = folder / "optimize", folder / "prepare"
    source.mkdir()
    target.mkdir()
    onnx.save(model, source / "model.onnx")
    inputs = inputs or [{"name": "x", "dtype": "float", "shape": SHAPE}]
    facts = prepare.run({"parameters": {"mean": None, "std": None, "precision": "fp16", **parameters},
                         "output_dir": str(target), "inputs": {
                             "optimize": {"dir": str(source), "facts": {"inputs": inputs}}}, "threads": 1})
    written = onnx.load(target / "model.onnx")
    onnx.checker.check_model(written, full_check=True)
    return facts, written


def answer(model: onnx.ModelProto, x: np.ndarray) -> list[np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})


def values(shape: list[int] | None = None) -> np.ndarray:
    return np.random.default_rng(5).standard_normal(shape or SHAPE).astype(np.float32) * 4


def assert_same(before: onnx.ModelProto, after: onnx.ModelProto) -> None:
    x = values()
    for expected, given in zip(answer(before, x), answer(after, x), strict=True):
        np.testing.assert_allclose(given, expected, rtol=1e-4, atol=1e-4)


def operators(model: onnx.ModelProto) -> dict[str, int]:
    return dict(Counter(node.op_type for node in model.graph.node))


def statistics(channels: int) -> list[onnx.TensorProto]:
    return [models.weights("gamma", channels, seed=1), models.weights("beta", channels, seed=2),
            models.weights("mean", channels, seed=3),
            models.constant("variance", np.linspace(0.5, 2, channels), np.float32)]


NORMALISE = helper.make_node("BatchNormalization", ["c", "gamma", "beta", "mean", "variance"], ["y"], epsilon=0.01)


def graph(nodes: list[onnx.NodeProto], tensors: list[onnx.TensorProto], outputs: tuple[str, ...] = ("y",),
          **options: Any) -> onnx.ModelProto:
    return models.model(nodes, [models.value("x", SHAPE)], [models.value(name, None) for name in outputs], tensors,
                        **options)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("operator", "groups", "weights"), [
    ("Conv", 1, (6, 4, 3, 3)), ("Conv", 2, (6, 2, 3, 3)), ("Conv", 4, (4, 1, 3, 3)),
    ("ConvTranspose", 1, (4, 6, 2, 2)), ("ConvTranspose", 2, (4, 3, 2, 2))])
def test_a_batch_normalisation_goes_into_the_convolution_before_it(
        tmp_path: Path, operator: str, groups: int, weights: tuple[int, ...], bias: bool) -> None:
    channels = weights[1] * groups if operator == "ConvTranspose" else weights[0]
    inputs = ["x", "w", "b"] if bias else ["x", "w"]
    model = graph([helper.make_node(operator, inputs, ["c"], group=groups), NORMALISE],
                  [models.weights("w", *weights), models.weights("b", channels, seed=9), *statistics(channels)])
    facts, written = run(tmp_path, model)
    assert operators(written) == {operator: 1} and facts["folded"] == 1
    assert_same(model, written)


def test_scales_and_shifts_after_a_convolution_go_into_it_one_after_the_other(tmp_path: Path) -> None:
    model = graph([helper.make_node("Conv", ["x", "w"], ["c"]), helper.make_node("Mul", ["k", "c"], ["m"]),
                   helper.make_node("Add", ["m", "a"], ["d"]), helper.make_node("Mul", ["d", "k"], ["n"]),
                   helper.make_node("Relu", ["n"], ["y"])],
                  [models.weights("w", 6, 4, 3, 3), models.constant("k", [0.7], np.float32),
                   models.constant("a", np.arange(6).reshape(6, 1, 1), np.float32)])
    facts, written = run(tmp_path, model)
    assert operators(written) == {"Conv": 1, "Relu": 1} and facts["folded"] == 3
    assert len(written.graph.initializer) == 2
    assert_same(model, written)


def test_a_batch_normalisation_with_no_convolution_before_it_becomes_two_plain_operators(tmp_path: Path) -> None:
    model = graph([helper.make_node("Relu", ["x"], ["c"]), NORMALISE], statistics(4))
    _, written = run(tmp_path, model)
    assert operators(written) == {"Relu": 1, "Mul": 1, "Add": 1}
    assert_same(model, written)


def test_what_others_read_too_is_not_folded(tmp_path: Path) -> None:
    model = graph([helper.make_node("Conv", ["x", "w"], ["c"]), helper.make_node("Mul", ["c", "k"], ["y"]),
                   helper.make_node("Relu", ["c"], ["z"])],
                  [models.weights("w", 6, 4, 3, 3), models.constant("k", [0.7], np.float32)], ("y", "z"))
    facts, written = run(tmp_path, model)
    assert facts["folded"] == 0
    assert_same(model, written)


def test_what_is_an_output_itself_is_not_folded(tmp_path: Path) -> None:
    model = graph([helper.make_node("Conv", ["x", "w"], ["c"]), helper.make_node("Mul", ["c", "k"], ["y"])],
                  [models.weights("w", 6, 4, 3, 3), models.constant("k", [0.7], np.float32)], ("y", "c"))
    _, written = run(tmp_path, model)
    assert operators(written) == {"Conv": 1, "Mul": 1}
    assert_same(model, written)


@pytest.mark.parametrize("shape", [(6,), (6, 6), (1, 6, 6, 6), (2, 1, 1, 1), (1, 1, 1, 6)])
def test_a_constant_that_differs_within_a_channel_is_not_folded(tmp_path: Path, shape: tuple[int, ...]) -> None:
    model = graph([helper.make_node("Conv", ["x", "w"], ["c"]), helper.make_node("Mul", ["c", "k"], ["y"])],
                  [models.weights("w", 6, 4, 3, 3), models.weights("k", *shape, seed=4)])
    facts, written = run(tmp_path, model)
    assert facts["folded"] == 0
    assert_same(model, written)


def test_weights_that_two_convolutions_share_are_folded_for_one_alone(tmp_path: Path) -> None:
    model = graph([helper.make_node("Conv", ["x", "w"], ["c"]), helper.make_node("Mul", ["c", "k"], ["m"]),
                   helper.make_node("Conv", ["x", "w"], ["d"]), helper.make_node("Sub", ["m", "d"], ["y"])],
                  [models.weights("w", 6, 4, 3, 3), models.constant("k", [3.0], np.float32)])
    _, written = run(tmp_path, model)
    assert operators(written) == {"Conv": 2, "Sub": 1}
    assert_same(model, written)


def hard_swish(three: float = 3.0, six: float = 6.0, by_six: str = "Div", swapped: bool = False) -> onnx.ModelProto:
    product = ["x", "q"] if swapped else ["q", "x"]
    divisor = 6.0 if by_six == "Div" else 1 / 6
    return graph([helper.make_node("Add", ["x", "three"], ["p"]),
                  helper.make_node("Clip", ["p", "zero", "six"], ["q"]), helper.make_node("Mul", product, ["r"]),
                  helper.make_node(by_six, ["r", "divisor"], ["y"])],
                 [models.constant("three", three, np.float32), models.constant("zero", 0, np.float32),
                  models.constant("six", six, np.float32), models.constant("divisor", divisor, np.float32)])


@pytest.mark.parametrize("by_six", ["Div", "Mul"])
@pytest.mark.parametrize("swapped", [False, True])
def test_a_hard_swish_in_four_operators_becomes_one(tmp_path: Path, by_six: str, swapped: bool) -> None:
    model = hard_swish(by_six=by_six, swapped=swapped)
    facts, written = run(tmp_path, model)
    assert operators(written) == {"HardSwish": 1} and facts["hard_swish"] == 1
    assert_same(model, written)


@pytest.mark.parametrize("changed", [{"three": 2.5}, {"six": 5.0}])
def test_what_only_looks_like_a_hard_swish_stays(tmp_path: Path, changed: dict[str, float]) -> None:
    model = hard_swish(**changed)
    facts, written = run(tmp_path, model)
    assert facts["hard_swish"] == 0
    assert_same(model, written)


def test_a_hard_swish_whose_inside_is_read_elsewhere_stays(tmp_path: Path) -> None:
    model = hard_swish()
    model.graph.output.append(models.value("q", None))
    facts, written = run(tmp_path, model)
    assert facts["hard_swish"] == 0
    assert_same(model, written)


def gated(alpha: float = 1 / 6, outputs: tuple[str, ...] = ("y",)) -> onnx.ModelProto:
    """x times a HardSigmoid of it, as exporters write a HardSwish, and as ONNX Runtime takes one apart."""
    return graph([helper.make_node("HardSigmoid", ["x"], ["s"], alpha=alpha, beta=0.5),
                  helper.make_node("Mul", ["x", "s"], ["y"])], [], outputs, opset=14)


@pytest.mark.parametrize(("model", "left"), [
    (gated(), {"HardSwish": 1}), (gated(outputs=("y", "s")), {"HardSwish": 1, "HardSigmoid": 1}),
    (gated(alpha=0.2), {"HardSigmoid": 1, "Mul": 1})])
def test_a_hard_sigmoid_times_its_input_is_a_hard_swish(tmp_path: Path, model: onnx.ModelProto,
                                                        left: dict[str, int]) -> None:
    _, written = run(tmp_path, model)
    assert operators(written) == left
    assert_same(model, written)


def test_a_change_that_answers_something_else_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def spoil(changed: Graph) -> int:
        changed.graph.node[-1].op_type = "Neg"
        return 1

    monkeypatch.setattr(prepare, "fuse_hard_swish", spoil)
    model = models.model([helper.make_node("Relu", ["x"], ["y"])], [models.value("x", [1, 3, 5, 5])],
                         [models.value("y", [1, 3, 5, 5])], opset=12)
    mean = [1.0, 2.0, 3.0]
    facts, written = run(tmp_path, model, [{"name": "x", "dtype": "float", "shape": [1, 3, 5, 5]}], mean=mean)
    assert operators(written)["Relu"] == 1 and "Neg" not in operators(written)
    assert facts["hard_swish"] == 0 and "output 'y'" in facts["warnings"][0]
    x = values([1, 3, 5, 5])
    np.testing.assert_allclose(answer(written, x)[0], np.maximum(x - np.reshape(mean, [1, 3, 1, 1]), 0), rtol=1e-5,
                               atol=1e-5)


def test_an_old_opset_is_raised(tmp_path: Path) -> None:
    model = graph([helper.make_node("Clip", ["x"], ["y"], min=0.0, max=1.0)], [], opset=9, ir=4)
    facts, written = run(tmp_path, model)
    assert facts["opset"] == 17
    assert_same(model, written)


def test_a_model_that_cannot_be_raised_stays_as_it_is(tmp_path: Path) -> None:
    facts, written = run(tmp_path, models.unary("Gelu", SHAPE, domain="com.microsoft", out_shape=SHAPE))
    assert facts["opset"] in (models.OPSET, 17) and operators(written) == {"Gelu": 1}


@pytest.mark.parametrize("shape", [[1, 3, 5, 5], [1, 5, 5, 3]])
def test_the_artefact_takes_raw_values_where_mean_and_std_are_given(tmp_path: Path, shape: list[int]) -> None:
    model = models.model([helper.make_node("Relu", ["x"], ["y"])], [models.value("x", shape)],
                         [models.value("y", shape)])
    mean, std = [123.0, 116.0, 103.0], [58.0, 57.0, 2.0]
    _, written = run(tmp_path, model, [{"name": "x", "dtype": "float", "shape": shape}], mean=mean, std=std)
    x = values(shape) * 30 + 100
    by_channel = [1, -1, 1, 1] if shape[1] == 3 else [1, 1, 1, -1]
    expected = np.maximum((x - np.reshape(mean, by_channel)) / np.reshape(std, by_channel), 0)
    np.testing.assert_allclose(answer(written, x.astype(np.float32))[0], expected, rtol=1e-5, atol=1e-5)


def test_every_node_has_a_name_of_its_own(tmp_path: Path) -> None:
    _, written = run(tmp_path, hard_swish(three=1.0))
    names = [node.name for node in written.graph.node]
    assert all(names) and len(set(names)) == len(names)


def node_model(kind: str, inputs: list[str], constants: list[onnx.TensorProto],
               extra: Sequence[onnx.ValueInfoProto] = (), before: Sequence[onnx.NodeProto] = (), **attributes: Any
               ) -> onnx.ModelProto:
    return models.model([*before, helper.make_node(kind, inputs, ["y"], **attributes)],
                        [models.value("x", [4, 6]), *extra], [models.value("y", None)], constants)


def check_form(folder: Path, model: onnx.ModelProto, forms: int, operators_now: dict[str, int],
               **more: np.ndarray) -> None:
    """What the model answers does not change; which operators it has then."""
    listed = [{"name": "x", "dtype": "float", "shape": [4, 6]}] + [
        {"name": name, "dtype": str(array.dtype), "shape": list(array.shape)} for name, array in more.items()]
    facts, written = run(folder, model, listed)
    assert (facts["forms"], operators(written), facts["warnings"]) == (forms, operators_now, [])
    feed = {"x": values([4, 6]), **more}
    before, after = (onnxruntime.InferenceSession(each.SerializeToString()).run(None, feed)
                     for each in (model, written))
    np.testing.assert_allclose(after[0], before[0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("attributes", "forms"), [({"alpha": 0.25, "beta": 0.35}, 1), ({"alpha": 2.0}, 1),
                                                   ({"beta": 0.5, "transB": 0}, 1), ({"alpha": 1.0}, 0)])
def test_factors_of_a_gemm_go_into_its_constants(tmp_path: Path, attributes: dict[str, float], forms: int) -> None:
    constants = [models.weights("w", 6, 5), models.weights("c", 5, seed=1)]
    model = node_model("Gemm", ["x", "w", "c"], constants, **attributes)
    check_form(tmp_path, model, forms, {"Gemm": 1})


def test_factors_of_a_gemm_of_inputs_become_multiplications(tmp_path: Path) -> None:
    model = node_model("Gemm", ["x", "w"], [], [models.value("w", [6, 5])], alpha=0.25, beta=0.5)
    check_form(tmp_path, model, 1, {"Mul": 1, "Gemm": 1}, w=np.random.default_rng(1).random((6, 5), np.float32))


@pytest.mark.parametrize("kind", ["Max", "Min", "Mean", "Sum"])
def test_the_greatest_of_one_value_is_that_value(tmp_path: Path, kind: str) -> None:
    check_form(tmp_path, node_model(kind, ["x"], []), 1, {"Identity": 1})


def test_an_exponent_has_the_type_of_its_base(tmp_path: Path) -> None:
    check_form(tmp_path, node_model("Pow", ["x", "n"], [models.constant("n", [2], np.int64)]), 1, {"Pow": 1})


@pytest.mark.parametrize(("before", "operators_now", "forms"), [
    ([], {"Less": 1, "Add": 1, "Where": 1, "GatherElements": 1}, 1),
    ([helper.make_node("ArgMax", ["x"], ["i"], axis=0, keepdims=1)], {"ArgMax": 1, "GatherElements": 1}, 0)])
def test_indices_count_from_the_start(tmp_path: Path, before: list[onnx.NodeProto], operators_now: dict[str, int],
                                      forms: int) -> None:
    """Those of an input may be below zero, those of ArgMax are not."""
    given = {} if before else {"i": np.array([[-1, 2, -4, 0, 3, -2]], np.int64)}
    extra = [models.value("i", [1, 6], onnx.TensorProto.INT64)] if given else []
    model = node_model("GatherElements", ["x", "i"], [], extra, before, axis=0)
    check_form(tmp_path, model, forms, operators_now, **given)


def test_constant_indices_count_from_the_start_at_no_cost(tmp_path: Path) -> None:
    indices = models.constant("i", [[-1, 2, -4, 0, 3, -2]])
    check_form(tmp_path, node_model("GatherElements", ["x", "i"], [indices], axis=0), 1, {"GatherElements": 1})


POOLS: list[tuple[dict[str, Any], dict[str, int]]] = [
    ({"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}, {"Conv": 1, "Mul": 1}),
    ({"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "count_include_pad": 1}, {"Conv": 1}),
    ({"kernel_shape": [3, 2], "pads": [2, 0, 1, 1], "strides": [2, 1]}, {"Conv": 1, "Mul": 1}),
    ({"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}, {"Conv": 1, "Mul": 1}),
    ({"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1, "count_include_pad": 1, "pads": [1, 1, 1, 1]},
     {"Conv": 1, "Mul": 1}),
    ({"kernel_shape": [3, 3], "strides": [3, 3], "ceil_mode": 1, "count_include_pad": 1, "pads": [1, 1, 1, 1]},
     {"Conv": 1}),  # the last window would begin in the padding: there is none
    ({"kernel_shape": [2, 2], "auto_pad": "SAME_UPPER"}, {"Conv": 1, "Mul": 1}),
    ({"kernel_shape": [3, 2], "auto_pad": "SAME_LOWER", "strides": [2, 2]}, {"Conv": 1, "Mul": 1}),
    ({"kernel_shape": [2, 2], "dilations": [2, 3]}, {"Conv": 1}),
    ({"kernel_shape": [2, 2]}, {"AveragePool": 1}),
    ({"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1}, {"AveragePool": 1}),  # the size is a multiple
    ({"kernel_shape": [2, 2], "auto_pad": "VALID", "strides": [3, 3]}, {"AveragePool": 1})]


@pytest.mark.parametrize(("attributes", "operators_now"), POOLS)
def test_an_average_beyond_the_edge_is_a_convolution(tmp_path: Path, attributes: dict[str, Any],
                                                     operators_now: dict[str, int]) -> None:
    model = models.model([helper.make_node("AveragePool", ["x"], ["y"], **attributes)], [models.value("x", SHAPE)],
                         [models.value("y", ["n", "c", "h", "w"])], opset=19 if "dilations" in attributes else 17)
    facts, written = run(tmp_path, model)
    assert operators(written) == operators_now and facts["warnings"] == []
    assert_same(model, written)


def test_an_average_of_an_unknown_shape_stays(tmp_path: Path) -> None:
    model = models.model([helper.make_node("Reshape", ["x", "s"], ["r"]),
                          helper.make_node("AveragePool", ["r"], ["y"], kernel_shape=[3, 3], pads=[1, 1, 1, 1])],
                         [models.value("x", SHAPE), models.value("s", [4], onnx.TensorProto.INT64)],
                         [models.value("y", None)])
    graph = Graph(model)
    assert pooling.spell_out_pools(graph) == 0
