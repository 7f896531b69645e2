"""reference and samples: what the artefacts are held against."""
from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from tests import models
from tests.fixtures.stages import Conversion
from worker.stage_api import StageError
from worker.stages.accuracy import read_samples
from worker.stages.samples import make_inputs


def samples(conversion: Conversion):
    inputs = {name: {"dir": str(conversion.dir(name)), "facts": conversion.facts[name]}
              for name in ("reference", "calibration") if name in conversion.facts}
    return list(read_samples({"inputs": inputs, "parameters": conversion.parameters}))


def test_there_are_the_asked_samples_and_two_edges(tmp_path):
    conversion = Conversion(tmp_path, models.convolution(), verify={"samples": 4})
    facts = conversion.run("reference")
    assert [sample["kind"] for sample in facts["samples"]] == ["picture", "zeros", "ones", "noise", "picture", "noise"]
    assert conversion.names("reference") == ["outputs.npz"]
    assert len(samples(conversion)) == len(facts["samples"])


def test_the_outputs_are_those_of_the_model_as_it_was_sent(tmp_path):
    conversion = Conversion(tmp_path, models.convolution(["n", 3, "h", "w"]), input_shape="2,3,20,16")
    facts = conversion.run("reference")
    session = onnxruntime.InferenceSession(conversion.dir("fetch") / "model.onnx")
    for _, inputs, outputs in samples(conversion):
        assert inputs[0].shape == (2, 3, 20, 16)
        np.testing.assert_allclose(outputs[0], session.run(None, {"x": inputs[0]})[0], rtol=1e-5)
    assert facts["outputs"] == [{"name": "y", "dtype": "float", "max_abs": pytest.approx(
        max(np.abs(outputs[0]).max() for _, _, outputs in samples(conversion)), rel=1e-5)}]


@pytest.mark.parametrize("dtype", [TensorProto.INT8, TensorProto.INT32, TensorProto.INT64, TensorProto.UINT8])
@pytest.mark.parametrize("operator", ["Div", "Mod"])
def test_a_model_that_divides_by_whole_numbers_gets_none_that_are_zero(tmp_path, operator, dtype):
    model = models.model([helper.make_node("Unsqueeze", ["b", "axis"], ["c"]),
                          helper.make_node(operator, ["a", "c"], ["y"])],
                         [models.value("a", [3, 40], dtype), models.value("b", [40], dtype)],
                         [models.value("y", [3, 40], dtype)], [models.constant("axis", [0])], opset=14)
    conversion = Conversion(tmp_path, model)
    facts = conversion.run("reference")
    assert [sample["kind"] for sample in facts["samples"]] == ["picture", "ones", "noise", "picture"]
    for kind, (dividend, divisor), _ in samples(conversion):
        assert divisor.all() and (kind == "ones" or len(np.unique(divisor)) > 1)
        assert kind == "ones" or dtype == TensorProto.UINT8 or not dividend.all()  # the other one is as always
    (warning,) = facts["warnings"]
    assert "'zeros' left out" in warning


def test_a_second_run_gives_the_same_facts_and_bytes(tmp_path):
    runs = []
    for name in ("first", "second"):
        conversion = Conversion(tmp_path / name, models.convolution())
        facts = conversion.run("reference")
        runs.append((facts, (conversion.dir("reference") / "outputs.npz").read_bytes()))
    assert runs[0] == runs[1]


def test_disabled_verification_writes_nothing(tmp_path):
    conversion = Conversion(tmp_path, models.convolution(), verify={"enabled": False})
    assert conversion.run("verify") == {"skipped": True}
    assert conversion.facts["reference"] == {"skipped": True, "overflow": []}
    assert list(conversion.dir("reference").iterdir()) == []


def test_an_edge_that_gives_nan_is_kept_and_counted(tmp_path):
    conversion = Conversion(tmp_path, models.ratio())
    facts = conversion.run("reference")
    assert {sample["kind"]: sample["not_finite"] for sample in facts["samples"]} == {"noise": 0, "picture": 0,
                                                                                   "zeros": 4, "ones": 0}
    assert facts["outputs"][0]["max_abs"] == 1.0


def test_infinity_is_counted_and_is_no_magnitude(tmp_path):
    facts = Conversion(tmp_path, models.unary("Reciprocal")).run("reference")
    assert {sample["kind"]: sample["not_finite"] for sample in facts["samples"]}["zeros"] == 4
    assert 1 <= facts["outputs"][0]["max_abs"] < 1e9


def test_a_model_that_only_gives_nan_is_told(tmp_path):
    model = models.model([onnx.helper.make_node("Mul", ["x", "nan"], ["y"])], [models.value("x", [1, 4])],
                         [models.value("y", [1, 4])], [models.constant("nan", [np.nan], np.float32)])
    assert "NaN" in Conversion(tmp_path, model).run("reference")["warnings"][0]


def test_token_ids_stay_within_any_table(tmp_path):
    conversion = Conversion(tmp_path, models.embedding())
    conversion.run("reference")
    assert {int(token) for _, inputs, _ in samples(conversion) for token in inputs[0].ravel()} == {0, 1}


@pytest.mark.parametrize("dtype", [TensorProto.UINT8, TensorProto.INT8, TensorProto.INT64, TensorProto.BOOL,
                                   TensorProto.FLOAT16, TensorProto.FLOAT])
def test_an_input_without_dimensions_is_fed_whatever_its_type_is(tmp_path, dtype):
    nodes = [onnx.helper.make_node("Cast", ["n"], ["wide"], to=TensorProto.FLOAT),
             onnx.helper.make_node("Add", ["x", "wide"], ["y"])]
    model = models.model(nodes, [models.value("x", [1, 4]), models.value("n", [], dtype)], [models.value("y", [1, 4])])
    conversion = Conversion(tmp_path, model)
    assert len(conversion.run("reference")["samples"]) == 5
    assert {inputs[1].shape for _, inputs, _ in samples(conversion)} == {()}


def test_an_edge_that_the_model_itself_cannot_take_is_left_out_with_a_warning(tmp_path):
    nodes = [onnx.helper.make_node("Cast", ["x"], ["row"], to=TensorProto.INT64),  # 0 for all below one
             onnx.helper.make_node("Gather", ["table", "row"], ["y"])]
    model = models.model(nodes, [models.value("x", [1])], [models.value("y", [1, 4])], [models.weights("table", 1, 4)])
    facts = Conversion(tmp_path, model, verify={"samples": 2}).run("reference")
    assert [sample["kind"] for sample in facts["samples"]] == ["picture", "zeros", "noise"]
    assert "'ones'" in facts["warnings"][0] and str(tmp_path) not in facts["warnings"][0]


def test_a_model_that_fails_on_every_input_is_told_with_the_runtimes_words(tmp_path):
    model = models.model([onnx.helper.make_node("Reshape", ["x", "shape"], ["y"])],
                         [models.value("x", [1, 4]), models.value("shape", [2], TensorProto.INT64)],
                         [models.value("y", ["a", "b"])])
    with pytest.raises(StageError) as caught:
        Conversion(tmp_path, model).run("reference")
    assert caught.value.code == "reference_failed"
    assert "Reshape" in caught.value.message and "verify.enabled" in caught.value.hint


def test_samples_beyond_the_size_limit_are_dropped_with_a_warning(tmp_path, monkeypatch):
    monkeypatch.setattr("worker.stages.reference._MAX_BYTES", 3 * 3 * 32 * 32 * 4)
    facts = Conversion(tmp_path, models.convolution(), verify={"samples": 3}).run("reference")
    assert len(facts["samples"]) == 2
    assert "2 of 5" in facts["warnings"][0]


@pytest.mark.parametrize(("dtype", "low", "high", "distinct"), [
    ("float", 0, 1, 1000), ("double", 0, 1, 1000), ("float16", 0, 1, 500), ("uint8", 0, 255, 200), ("int64", 0, 1, 2),
    ("int8", 0, 1, 2), ("bool", 0, 1, 2)])
def test_noise_fills_the_range_of_its_type(dtype, low, high, distinct):
    array = make_inputs([{"name": "x", "dtype": dtype, "shape": [1, 3, 40, 40]}], "noise")["x"]
    assert array.dtype == {"float": np.float32, "double": np.float64}.get(dtype, np.dtype(dtype))
    assert low <= array.min() and array.max() <= high
    assert len(np.unique(array)) >= distinct


@pytest.mark.parametrize("shape", [[2, 3, 64, 96], [2, 64, 96, 3], [1, 1, 8, 8], [1, 4, 1, 1]])
def test_a_picture_has_ink_on_a_light_ground(shape):
    picture = make_inputs([{"name": "x", "dtype": "float", "shape": shape}], "picture")["x"]
    assert list(picture.shape) == shape
    assert 0 <= picture.min() <= picture.max() <= 1
    if min(shape) > 1:
        assert (picture < 0.4).mean() > 0.02 and (picture >= 0.6).mean() > 0.3


def test_seeds_and_inputs_differ_and_repeat():
    inputs = [{"name": name, "dtype": "float", "shape": [1, 3, 32, 32]} for name in ("a", "b")]
    first, again, other = (make_inputs(inputs, "picture", seed) for seed in (1, 1, 2))
    assert np.array_equal(first["a"], again["a"])
    assert not np.array_equal(first["a"], other["a"])
    assert not np.array_equal(first["a"], first["b"])
