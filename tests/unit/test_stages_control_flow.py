"""If and Loop of constant conditions are written out, and nothing else is; the answers stay."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from tests import awkward, models
from tests.fixtures.stages import Conversion
from worker.stages.control_flow import fold_control_flow
from worker.stages.samples import make_inputs

CONTROL_FLOW = {"If", "Loop", "Scan"}


def answers(model: onnx.ModelProto, feed: dict[str, np.ndarray]) -> list[np.ndarray]:
    """Without optimisations: ONNX Runtime's own fold an If too."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(model.SerializeToString(), options).run(None, feed)


def check(tmp_path: Path, model: onnx.ModelProto, inputs: dict[str, list[int]], gone: bool = True) -> list[str]:
    """Fold, and hold the answers against those before; the operators that are left."""
    before = onnx.ModelProto.FromString(model.SerializeToString())
    fold_control_flow(model, str(tmp_path), 1)
    onnx.checker.check_model(model, full_check=True)
    operators = [node.op_type for node in model.graph.node]
    assert CONTROL_FLOW.isdisjoint(operators) is gone
    feed = {name: np.random.default_rng(3).standard_normal(shape).astype(np.float32) for name, shape in inputs.items()}
    for expected, given in zip(answers(before, feed), answers(model, feed), strict=True):
        np.testing.assert_allclose(given, expected, rtol=1e-6)
    return operators


def fixed_branch(condition: Any, inner: list[onnx.NodeProto] | None = None) -> onnx.ModelProto:
    """If the constant: relu, else neg; or what `inner` computes from x into "deep"."""
    then = helper.make_graph(inner or [helper.make_node("Relu", ["x"], ["deep"])], "then", [],
                             [models.value("deep", [1, 4])])
    other = helper.make_graph([helper.make_node("Neg", ["x"], ["shallow"])], "else", [],
                              [models.value("shallow", [1, 4])])
    node = helper.make_node("If", ["c"], ["y"], then_branch=then, else_branch=other)
    return models.model([node], [models.value("x", [1, 4])], [models.value("y", [1, 4])],
                        [models.constant("c", condition, bool)])


@pytest.mark.parametrize(("condition", "left"), [(True, "Relu"), ([False], "Neg")])
def test_the_branch_that_is_taken_takes_its_place(tmp_path: Path, condition: Any, left: str) -> None:
    assert check(tmp_path, fixed_branch(condition), {"x": [1, 4]}) == [left, "Identity"]


def test_branches_inside_of_branches_whose_names_are_those_outside(tmp_path: Path) -> None:
    """As silero-vad has them: the inner condition is computed in the outer branch, and the inner branch reads it."""
    def graph(name: str, node: onnx.NodeProto) -> onnx.GraphProto:
        return helper.make_graph([node], name, [], [models.value(node.output[0], [1, 4])])
    inner = helper.make_node("If", ["wide"], ["deep"],
                             then_branch=graph("a", helper.make_node("Mul", ["gate", "x"], ["p"])),
                             else_branch=graph("b", helper.make_node("Neg", ["gate"], ["q"])))
    nodes = [helper.make_node("Sigmoid", ["x"], ["gate"]), helper.make_node("Shape", ["gate"], ["n"]),
             helper.make_node("ReduceMax", ["n"], ["most"], keepdims=0),
             helper.make_node("Cast", ["most"], ["wide"], to=TensorProto.BOOL), inner]
    assert check(tmp_path, fixed_branch(True, nodes), {"x": [1, 4]})[:2] == ["Sigmoid", "Mul"]


def loop(turns: Any, *, goes_on: str = "on", start: bool = True, collects: bool = False) -> onnx.ModelProto:
    """y = x doubled at each turn; `collects` the values before."""
    body = helper.make_graph(
        [helper.make_node("Add", ["v", "v"], ["twice"]), helper.make_node("Identity", ["on"], ["still"]),
         helper.make_node("Identity", ["v"], ["was"]), helper.make_node("ReduceSum", ["v"], ["total"], keepdims=0),
         helper.make_node("Greater", ["total", "limit"], ["small"])],
        "body", [models.value("turn", [], TensorProto.INT64), models.value("on", [], TensorProto.BOOL),
                 models.value("v", [1, 4])],
        [models.value("still" if goes_on == "on" else "small", [], TensorProto.BOOL), models.value("twice", [1, 4]),
         *([models.value("was", [1, 4])] if collects else [])])
    outputs = ["y", "all"] if collects else ["y"]
    node = helper.make_node("Loop", ["m", "go", "x"], outputs, body=body)
    return models.model([node], [models.value("x", [1, 4])],
                        [models.value("y", [1, 4]), models.value("all", ["turns", 1, 4])][:len(outputs)],
                        [models.constant("m", turns), models.constant("go", start, bool),
                         models.constant("limit", -1e9, np.float32)])


@pytest.mark.parametrize(("model", "adds"), [
    (loop(3), 3), (loop([2], collects=True), 2), (loop(0), 0), (loop(5, start=False), 0)])
def test_a_loop_of_known_turns_is_written_out(tmp_path: Path, model: onnx.ModelProto, adds: int) -> None:
    assert check(tmp_path, model, {"x": [1, 4]}).count("Add") == adds


@pytest.mark.parametrize("model", [loop(3, goes_on="total"), loop(65)], ids=["ends by its data", "long"])
def test_other_loops_stay(tmp_path: Path, model: onnx.ModelProto) -> None:
    assert check(tmp_path, model, {"x": [1, 4]}, gone=False) == ["Loop"]


def test_an_if_on_data_stays(tmp_path: Path) -> None:
    model = awkward.switched()
    assert fold_control_flow(model, str(tmp_path), 1) == 0 and "If" in {node.op_type for node in model.graph.node}


def test_a_condition_that_a_fixed_shape_decides_is_constant(tmp_path: Path) -> None:
    conversion = Conversion(tmp_path, awkward.squeezed(), input_shape="2,3,16,16")
    facts = conversion.run("optimize")
    written = onnx.load(conversion.dir("optimize") / "model.onnx")
    assert facts["simplified"] and [node.op_type for node in written.graph.node] == ["Conv", "Squeeze", "Relu"]


def test_what_is_written_out_wrongly_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from worker.stages import optimize

    def spoil(model: onnx.ModelProto, source: str, threads: int) -> int:
        fold_control_flow(model, source, threads)
        next(node for node in model.graph.node if node.op_type == "Relu").op_type = "Neg"
        return 1

    monkeypatch.setattr(optimize, "fold_control_flow", spoil)
    conversion = Conversion(tmp_path, fixed_branch(True))
    facts = conversion.run("optimize")
    assert facts["simplified"] is False and len(facts["warnings"]) == 2
    feed = make_inputs(facts["inputs"], "noise")
    whole = onnx.load(conversion.dir("optimize") / "model.onnx")
    np.testing.assert_array_equal(answers(whole, feed)[0], feed["x"])
