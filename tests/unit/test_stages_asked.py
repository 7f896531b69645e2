"""Fixed inputs and cuts: the model that comes out, what is compared with it, and what is refused by name."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from tests import awkward, models
from tests.fixtures.calibration import pictures
from tests.fixtures.stages import Conversion
from worker.stage_api import StageError
from worker.stages.accuracy import read_samples
from worker.stages.feeds import raw_inputs
from worker.stages.samples import make_inputs

SHAPE = [1, 3, 32, 32]


def model_of(conversion: Conversion, stage: str = "optimize") -> onnx.ModelProto:
    return onnx.load(conversion.dir(stage) / "model.onnx")


def operators(conversion: Conversion) -> list[str]:
    return [node.op_type for node in model_of(conversion).graph.node]


def names(entries: Any) -> list[str]:
    return [entry["name"] if isinstance(entry, dict) else entry.name for entry in entries]


def refusal(folder: Path, model: onnx.ModelProto, **parameters: Any) -> StageError:
    with pytest.raises(StageError) as caught:
        Conversion(folder, model, **parameters).run("optimize")
    assert caught.value.hint
    return caught.value


def answers(conversion: Conversion, feed: dict[str, np.ndarray], stage: str = "optimize",
            outputs: list[str] | None = None) -> list[np.ndarray]:
    model = model_of(conversion, stage)
    for name in outputs or []:
        if name not in names(model.graph.output):
            model.graph.output.add(name=name)
    return onnxruntime.InferenceSession(model.SerializeToString()).run(outputs, feed)


# --- cuts -------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("outputs", [["r"], ["y", "r", "c"], ["n"]])
def test_a_model_that_ends_earlier_answers_what_the_whole_has_there(tmp_path: Path, outputs: list[str]) -> None:
    conversion = Conversion(tmp_path, models.convolution(["n", 3, "h", "w"]), input_shape="1,3,32,32", outputs=outputs)
    facts = conversion.run("optimize")
    assert names(facts["outputs"]) == outputs and names(facts["inputs"]) == ["x"]
    feed = make_inputs(facts["inputs"], "picture")
    for got, expected in zip(answers(conversion, feed), answers(conversion, feed, "fetch", outputs), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)
    assert names(conversion.run("reference")["outputs"]) == outputs
    if "y" not in outputs:
        assert "Gemm" not in operators(conversion) and "fc" not in names(model_of(conversion).graph.initializer)


@pytest.mark.parametrize(("inputs", "outputs"), [(["r"], None), (["r"], ["p"]), (["c"], ["r"])])
def test_a_model_that_begins_inside_gets_what_the_whole_computes_there(
        tmp_path: Path, inputs: list[str], outputs: list[str] | None) -> None:
    conversion = Conversion(tmp_path, models.convolution(["n", 3, "h", "w"]), input_shape="1,3,32,32", inputs=inputs,
                            outputs=outputs, precision="int8", calibration_files=pictures(6, *SHAPE))
    facts = conversion.run("optimize")
    assert facts["inputs"] == [{"name": inputs[0], "dtype": "float", "shape": [1, 8, 32, 32]}]
    assert facts["sent_inputs"] == [{"name": "x", "dtype": "float", "shape": SHAPE}]
    reference = conversion.run("reference")
    job = {"parameters": {"mean": None, "std": None},
           "inputs": {name: {"dir": str(conversion.dir(name)), "facts": conversion.facts[name]}
                      for name in ("reference", "calibration")}}
    kinds = set()
    for sample, (kind, (inside,), expected) in zip(reference["samples"], read_samples(job), strict=True):
        kinds.add(kind)
        x = (conversion.dir("calibration_files") / "calibration" / f"{sample['seed']:03d}.npy"
             if kind == "calibration" else None)
        raw = np.load(x) if x else None
        if raw is None:  # with the mean and the spread of the set
            raw = raw_inputs(facts["sent_inputs"], sample, job["parameters"], job["inputs"]["calibration"])["x"]
        whole = answers(conversion, {"x": raw}, "fetch", [*inputs, *(outputs or ["y"])])
        np.testing.assert_allclose(inside, whole[0], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(expected[0], whole[1], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(answers(conversion, {inputs[0]: inside})[0], whole[1], rtol=1e-4, atol=1e-5)
    assert kinds == {"calibration", "picture"}


def test_a_cut_of_what_cannot_be_simplified_has_its_own_outputs(tmp_path: Path) -> None:
    conversion = Conversion(tmp_path, models.convolution(dtype=np.float16), outputs=["p"])
    facts = conversion.run("optimize")
    assert facts["simplified"] is False and facts["nodes_after"] == 4
    assert facts["outputs"] == [{"name": "p", "dtype": "float16", "shape": [1, 8, 1, 1]}]


def test_external_data_comes_along(tmp_path: Path) -> None:
    (tmp_path / "upload").mkdir()
    path = models.external(tmp_path / "upload", "sub/weights.bin")
    conversion = Conversion(tmp_path, path, inputs=["r"], outputs=["p"])
    assert names(conversion.run("reference")["outputs"]) == ["p"]


@pytest.mark.parametrize(("parameters", "named"), [
    ({"outputs": ["nope"]}, "'nope'"), ({"inputs": ["nope"]}, "'nope'"), ({"outputs": ["w"]}, "'w'"),
    ({"outputs": ["x"]}, "'x'"), ({"inputs": ["p"], "outputs": ["y", "r"]}, "depend on: x")])
def test_what_is_no_part_is_refused_by_name(tmp_path: Path, parameters: dict[str, Any], named: str) -> None:
    error = refusal(tmp_path, models.convolution(), **parameters)
    assert error.code == "tensor_not_found" and named in error.message


def test_near_names_are_told(tmp_path: Path) -> None:
    model = models.model([helper.make_node("Relu", ["x"], ["/head/scores"]),
                          helper.make_node("Neg", ["/head/scores"], ["y"])],
                         [models.value("x", [1])], [models.value("y", [1])])
    assert "/head/scores" in refusal(tmp_path, model, outputs=["/head/score"]).message


def test_a_cut_before_a_shape_that_nobody_knows_ends_there_but_cannot_begin_there(tmp_path: Path) -> None:
    model = models.model([helper.make_node("NonZero", ["x"], ["found"]), helper.make_node("Neg", ["found"], ["y"])],
                         [models.value("x", [1, 4])], [models.value("y", None, TensorProto.INT64)])
    assert names(Conversion(tmp_path / "end", model, outputs=["found"]).run("optimize")["outputs"]) == ["found"]
    assert "found" in refusal(tmp_path / "begin", model, inputs=["found"]).message


def test_an_input_that_only_what_was_cut_off_reads_is_gone_and_one_that_nothing_read_stays(tmp_path: Path) -> None:
    nodes = [helper.make_node("Relu", ["x"], ["r"]), helper.make_node("Add", ["r", "late"], ["y"])]
    model = models.model(nodes, [models.value(name, [1, 4]) for name in ("x", "late", "unread")],
                         [models.value("y", [1, 4])])
    conversion = Conversion(tmp_path, model, outputs=["r"])
    assert names(conversion.run("optimize")["inputs"]) == ["x", "unread"]
    assert names(conversion.run("reference")["outputs"]) == ["r"]


# --- fixed inputs -----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("rate", "left", "kept", "gone"), [
    (16000, ["Mul", "Relu"], "state", "other"), (8000, ["Add", "Relu"], "other", "state")])
def test_a_branch_that_is_never_taken_is_gone_with_its_inputs(
        tmp_path: Path, rate: int, left: list[str], kept: str, gone: str) -> None:
    conversion = Conversion(tmp_path, awkward.switched(), fixed_inputs={"sr": rate})
    facts = conversion.run("optimize")
    assert operators(conversion) == left and names(facts["inputs"]) == ["x", kept]
    assert names(model_of(conversion).graph.input) == ["x", kept]
    feed = make_inputs(facts["inputs"], "picture")
    whole = answers(conversion, {**feed, "sr": np.array(rate), gone: np.ones((1, 4), np.float32)}, "fetch")
    np.testing.assert_allclose(answers(conversion, feed)[0], whole[0], rtol=1e-5)
    assert conversion.run("verify")["passed"]


@pytest.mark.parametrize(("value", "array"), [
    (0, np.zeros((1, 4))), ([[1, 2.5, 3, 4]], np.array([[1, 2.5, 3, 4]]))])
def test_a_value_fills_its_input_and_lists_are_it(tmp_path: Path, value: Any, array: np.ndarray) -> None:
    conversion = Conversion(tmp_path, awkward.switched(), fixed_inputs={"sr": 16000, "state": value},
                            input_shape="x:1,4")
    facts = conversion.run("optimize")
    feed = make_inputs(facts["inputs"], "noise")
    assert list(feed) == ["x"]
    np.testing.assert_allclose(answers(conversion, feed)[0], np.maximum(feed["x"] * array, 0), rtol=1e-5)


def test_a_flag_of_training_is_fixed(tmp_path: Path) -> None:
    model = models.model([helper.make_node("Dropout", ["x", "ratio", "training"], ["y"])],
                         [models.value("x", [1, 4]), models.value("training", [], TensorProto.BOOL)],
                         [models.value("y", [1, 4])], [models.constant("ratio", 0.5, np.float32)])
    conversion = Conversion(tmp_path, model, fixed_inputs={"training": False})
    facts = conversion.run("optimize")
    assert names(facts["inputs"]) == ["x"]
    x = make_inputs(facts["inputs"], "noise")["x"]
    np.testing.assert_array_equal(answers(conversion, {"x": x})[0], x)


@pytest.mark.parametrize(("fixed", "named"), [
    ({"rate": 1}, "'rate'"), ({"sr": 1.5}, "1.5"), ({"sr": True}, "True"), ({"sr": 2**63 - 1, "x": 0, "state": 0,
                                                                            "other": 0}, "all of the model's inputs"),
    ({"state": [1, 2, 3, 4]}, "[4]"), ({"state": [[1, 2]]}, "[1, 2]"), ({"x": [[True] * 4]}, "True"),
    ({"sr": [16000]}, "[1]")])
def test_values_that_do_not_fit_are_refused(tmp_path: Path, fixed: dict[str, Any], named: str) -> None:
    error = refusal(tmp_path, awkward.switched(), fixed_inputs=fixed)
    assert error.code == "fixed_input_mismatch" and named in error.message


def test_fixing_what_the_outputs_depend_on_alone_leaves_nothing_to_convert(tmp_path: Path) -> None:
    model = models.model([helper.make_node("Relu", ["a"], ["y"]), helper.make_node("Relu", ["b"], ["z"])],
                         [models.value("a", [1]), models.value("b", [1])],
                         [models.value("y", [1]), models.value("z", [1])])
    error = refusal(tmp_path, model, fixed_inputs={"a": 1}, outputs=["y"])
    assert error.code == "tensor_not_found" and "no input that is left" in error.message


# --- what exporters leave behind --------------------------------------------------------------------------------------

@pytest.mark.parametrize("ir", [3, 6])
def test_initialisers_among_the_inputs_are_constants(tmp_path: Path, ir: int) -> None:
    conversion = Conversion(tmp_path, awkward.listed_constants(ir=ir))
    facts = conversion.run("optimize")
    assert names(facts["inputs"]) == names(model_of(conversion).graph.input) == ["x"]
    assert "BatchNormalization" not in operators(conversion)
    assert conversion.run("verify")["passed"]


def test_nodes_of_one_name_get_names_of_their_own(tmp_path: Path) -> None:
    conversion = Conversion(tmp_path, awkward.doubled_names(), precision="fp32")
    assert names(conversion.run("optimize")["inputs"]) == ["x", "unread"]
    assert conversion.run("verify")["passed"]
    found = [node.name for node in model_of(conversion).graph.node]
    assert sorted(found) == ["", "conv", "conv_2", "conv_3"]


def test_a_pass_that_changes_the_answers_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from worker.stages import optimize

    right = optimize.simplify

    def spoil(data: bytes, before: Any, target: str, job: dict[str, Any]) -> Any:
        problem, model, outputs = right(data, before, target, job)
        next(tensor for tensor in model.graph.initializer if tensor.name == "fc").raw_data = b"\0" * 8 * 5 * 4
        onnx.save(model, target)
        return problem, model, outputs

    monkeypatch.setattr(optimize, "simplify", spoil)
    conversion = Conversion(tmp_path, models.convolution())
    facts = conversion.run("optimize")
    assert facts["simplified"] is False and "output 'y'" in facts["warnings"][0]
    assert facts["nodes_after"] == len(operators(conversion)) == 6
    assert conversion.run("verify")["passed"]
