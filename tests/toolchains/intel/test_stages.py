"""compile and verify for OpenVINO: the artefact is what it claims, and its failures are told in our words."""
from __future__ import annotations

import ast
import hashlib

import numpy as np
import pytest
from onnx import helper

from tests import models
from tests.fixtures.stages import Conversion
from worker.stage_api import StageError
from worker.toolchains import ROOT


def refusal(conversion: Conversion, stage: str) -> StageError:
    with pytest.raises(StageError) as caught:
        conversion.run(stage)
    assert caught.value.hint
    return caught.value


def digests(folder) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


@pytest.mark.parametrize(("precision", "bytes_per_weight"), [("fp32", 4), ("fp16", 2)])
def test_the_precision_shows_in_the_weights(tmp_path, precision, bytes_per_weight):
    conversion = Conversion(tmp_path, models.convolution(), precision=precision)
    facts = conversion.run("compile")
    assert facts["precision"] == precision
    assert conversion.names("compile") == ["model.bin", "model.xml"]
    assert facts["inputs"] == [{"name": "x", "dtype": "f32", "shape": [1, 3, 32, 32]}]
    assert facts["outputs"] == [{"name": "y", "dtype": "f32", "shape": [1, 5]}]
    weights = 8 * 27 + 8 + 8 * 5
    size = (conversion.dir("compile") / "model.bin").stat().st_size
    assert weights * bytes_per_weight <= size < weights * bytes_per_weight + 200


def test_scores_beside_pixel_coordinates_live_in_half_precision(tmp_path):
    facts = Conversion(tmp_path, models.detector()).run("verify")
    assert facts["passed"] and max(facts["outputs"][0]["slices"]["error"]) < 0.01
    assert facts["outputs"][0]["slices"]["small"] == [4, 5, 6, 7]


def test_the_same_model_compiles_to_the_same_bytes(tmp_path):
    results = []
    for name in ("first", "second"):
        # In one process OpenVINO goes on counting for the names that it makes up; the service forks for each stage.
        conversion = Conversion(tmp_path / name, models.convolution(), own_interpreter=True)
        results.append((conversion.run("compile"), digests(conversion.dir("compile"))))
    assert results[0] == results[1]


def test_the_artefact_says_nothing_of_this_machine(tmp_path):
    conversion = Conversion(tmp_path, models.convolution())
    conversion.run("compile")
    assert str(tmp_path) not in (conversion.dir("compile") / "model.xml").read_text()


def test_operators_that_openvino_lacks_are_named_without_its_decoration(tmp_path):
    nodes = [helper.make_node("Det", ["x"], ["d"]), helper.make_node("Inverse", ["x"], ["i"], domain="com.microsoft"),
             helper.make_node("ReduceSum", ["i"], ["s"], keepdims=0), helper.make_node("Add", ["d", "s"], ["y"])]
    model = models.model(nodes, [models.value("x", [4, 4])], [models.value("y", [])], domains={"com.microsoft": 1})
    error = refusal(Conversion(tmp_path, model), "compile")
    assert error.code == "unsupported_operator"
    assert error.message.endswith("Det, com.microsoft.Inverse")


def test_a_contrib_operator_that_openvino_has_converts(tmp_path):
    assert Conversion(tmp_path, models.unary("Gelu", domain="com.microsoft")).run("verify")["passed"] is True


def test_what_openvino_cannot_convert_fails_with_its_words_and_no_paths(tmp_path):
    conversion = Conversion(tmp_path, models.convolution())
    conversion.run("prepare")
    (conversion.dir("optimize") / "model.onnx").write_bytes(models.unary("Relu").SerializeToString()[:-20])
    error = refusal(conversion, "compile")
    assert error.code == "compile_failed"
    assert len(error.message) < 700 and str(tmp_path) not in error.message


def test_an_artefact_with_a_dynamic_input_is_refused(tmp_path):
    conversion = Conversion(tmp_path, models.convolution())
    conversion.run("optimize")
    (conversion.dir("optimize") / "model.onnx").write_bytes(models.convolution(["n", 3, 32, 32]).SerializeToString())
    error = refusal(conversion, "compile")
    assert error.code == "dynamic_shape" and "x" in error.message


@pytest.mark.parametrize("model", [models.convolution(), models.pair([1, 4], [1, 4]), models.embedding(),
                                   models.ratio(), models.filled(64, 64), models.nested(2)],
                         ids=["convolution", "two inputs", "token ids", "NaN for zeros", "computed constant", "If"])
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_small_models_of_many_kinds_pass_the_gate(tmp_path, model, precision):
    facts = Conversion(tmp_path, model, precision=precision).run("verify")
    assert facts["passed"] is True and facts["samples"] >= 4
    assert facts["min_cosine"] == {"fp32": 0.9999, "fp16": 0.999}[precision]


def test_outputs_are_matched_by_their_order(tmp_path):
    nodes = [helper.make_node("Neg", ["x"], ["second"]), helper.make_node("Exp", ["x"], ["first"])]
    model = models.model(nodes, [models.value("x", [1, 4])], [models.value("first", [1, 4]),
                                                              models.value("second", [1, 4])])
    facts = Conversion(tmp_path, model).run("verify")
    assert [entry["name"] for entry in facts["outputs"]] == ["first", "second"] and facts["passed"]


def test_an_input_that_nothing_reads_does_no_harm(tmp_path):
    model = models.unary("Relu")
    model.graph.input.append(models.value("unused", [2]))
    assert Conversion(tmp_path, model).run("verify")["passed"] is True


def damaged(tmp_path, **parameters) -> Conversion:
    """A conversion whose artefact was compiled from a model with other weights."""
    other = models.convolution()
    (layer,) = (tensor for tensor in other.graph.initializer if tensor.name == "fc")
    layer.CopyFrom(models.weights("fc", 8, 5, seed=99))
    conversion = Conversion(tmp_path, models.convolution(), precision="fp32", **parameters)
    conversion.run("optimize")
    (conversion.dir("optimize") / "model.onnx").write_bytes(other.SerializeToString())
    return conversion


@pytest.mark.parametrize("operator", ["Sum", "Max", "Dropout"])
def test_an_input_that_is_handed_on_as_it_is_is_found_without_its_name(tmp_path, operator):
    model = models.model([helper.make_node(operator, ["x"], ["y"]), helper.make_node("Relu", ["w"], ["z"])],
                         [models.value("w", (1, 4)), models.value("x", (2, 4))],
                         [models.value("y", (2, 4)), models.value("z", (1, 4))])
    facts = Conversion(tmp_path, model, simplify=False).run("verify")
    assert facts["passed"] and [output["cosine"] for output in facts["outputs"]] == [1.0, 1.0]



def test_an_artefact_that_computes_something_else_fails_with_its_figures(tmp_path):
    error = refusal(damaged(tmp_path), "verify")
    assert error.code == "accuracy_too_low" and "y: cosine" in error.message


def test_a_client_may_take_it_and_the_facts_say_so(tmp_path):
    facts = damaged(tmp_path, accept_accuracy=True).run("verify")
    assert facts["accepted"] is True and facts["passed"] is False


def test_a_client_may_lower_the_threshold(tmp_path):
    facts = damaged(tmp_path, verify={"min_cosine": -1.0}).run("verify")
    assert facts["passed"] is True and facts["min_cosine"] == -1


def test_an_artefact_that_does_not_load_fails_as_such(tmp_path):
    conversion = Conversion(tmp_path, models.convolution())
    conversion.run("compile")
    (conversion.dir("compile") / "model.xml").write_text("<net/>")
    assert refusal(conversion, "verify").code == "verify_failed"


def test_values_beyond_half_precision_are_told(tmp_path):
    model = models.model([helper.make_node("Mul", ["x", "big"], ["y"])], [models.value("x", [1, 4])],
                         [models.value("y", [1, 4])], [models.constant("big", [1e6], np.float32)])
    facts = Conversion(tmp_path, model, precision="fp32").run("verify")
    assert facts["passed"] and "y" in facts["warnings"][0]


def test_its_stages_are_written_for_python_3_8():
    sources = [path for path in (ROOT / "worker" / "platforms" / "intel").glob("*.py") if path.name != "plan.py"]
    assert len(sources) > 8
    for source in sources:
        ast.parse(source.read_text(), str(source), feature_version=(3, 8))


def test_a_model_that_came_quantized_is_told_as_int8_whatever_was_asked_for(tmp_path):
    conversion = Conversion(tmp_path, models.quantized_already(), precision="fp16")
    assert conversion.run("compile")["precision"] == "int8" and conversion.run("verify")["passed"]
