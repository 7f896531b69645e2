"""optimize: which shapes the model gets, and that the simplified model still answers the same."""
from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper

from tests import models
from tests.fixtures.stages import Conversion
from worker.stage_api import StageError
from worker.stages.samples import make_inputs


def optimized(conversion: Conversion) -> onnx.ModelProto:
    return onnx.load(conversion.dir("optimize") / "model.onnx")


def refusal(tmp_path, model, **parameters) -> StageError:
    with pytest.raises(StageError) as caught:
        Conversion(tmp_path, model, **parameters).run("optimize")
    return caught.value


def input_shape(model: onnx.ModelProto, index: int = 0) -> list[int]:
    return [dim.dim_value for dim in model.graph.input[index].type.tensor_type.shape.dim]


@pytest.mark.parametrize("spelling", ["2,3,48,64", "x:2,3,48,64", [2, 3, 48, 64], {"x": [2, 3, 48, 64]}])
def test_every_spelling_of_input_shape_fixes_the_same_shape(tmp_path, spelling):
    conversion = Conversion(tmp_path, models.convolution(["n", 3, None, "w"]), input_shape=spelling)
    facts = conversion.run("optimize")
    assert facts["inputs"] == [{"name": "x", "dtype": "float", "shape": [2, 3, 48, 64]}]
    assert facts["outputs"] == [{"name": "y", "dtype": "float", "shape": [2, 5]}]
    assert input_shape(optimized(conversion)) == [2, 3, 48, 64]


def test_a_static_model_needs_no_input_shape(tmp_path):
    facts = Conversion(tmp_path, models.convolution(), auto_input_shape=False).run("optimize")
    assert facts["inputs"][0]["shape"] == [1, 3, 32, 32]
    assert facts["warnings"] == []


def test_an_open_batch_alone_becomes_one_and_is_told(tmp_path):
    facts = Conversion(tmp_path, models.convolution(["batch", 3, 32, 32])).run("optimize")
    assert facts["inputs"][0]["shape"] == [1, 3, 32, 32]
    assert "batch" in facts["warnings"][0] and "'x'" in facts["warnings"][0]


def test_without_auto_input_shape_an_open_batch_is_not_guessed(tmp_path):
    error = refusal(tmp_path, models.convolution(["batch", 3, 32, 32]), auto_input_shape=False)
    assert error.code == "dynamic_shape" and "'x' dimension 0 (batch)" in error.message


def test_open_inner_dimensions_are_all_named_and_the_hint_shows_what_to_send(tmp_path):
    error = refusal(tmp_path, models.convolution(["n", 3, "height", None]))
    assert error.code == "dynamic_shape"
    assert "dimension 2 (height)" in error.message and "'x' dimension 3" in error.message
    assert '"x:1,3,224,224"' in error.hint


def test_two_inputs_can_be_fixed_one_by_name_and_one_by_its_open_batch(tmp_path):
    facts = Conversion(tmp_path, models.pair(), input_shape="a:1,4").run("optimize")
    assert [entry["shape"] for entry in facts["inputs"]] == [[1, 4], [1, 4]]


def test_an_input_without_any_shape_needs_one(tmp_path):
    model = models.unary("Relu", None)
    error = refusal(tmp_path / "without", model)
    assert error.code == "dynamic_shape" and "no shape at all" in error.message
    facts = Conversion(tmp_path / "with", model, input_shape="7,2").run("optimize")
    assert facts["outputs"][0]["shape"] == [7, 2]


@pytest.mark.parametrize(("shape", "culprit"), [
    ("1,3,32", "4 dimensions"),
    ("1,1,32,32", "dimension 1 is 3"),
    ("images:1,3,32,32", "'images'"),
    ({"x": [1, 3, 32, 32], "y": [1]}, "'y'"),
])
def test_a_shape_that_does_not_fit_the_model_is_a_mismatch(tmp_path, shape, culprit):
    error = refusal(tmp_path, models.convolution(["n", 3, "h", "w"]), input_shape=shape)
    assert error.code == "input_shape_mismatch"
    assert culprit in error.message and error.hint


def test_a_shape_without_a_name_is_ambiguous_for_two_inputs(tmp_path):
    error = refusal(tmp_path, models.pair(), input_shape="1,4")
    assert error.code == "input_shape_mismatch" and "a, b" in error.message


def test_an_absurd_shape_is_refused_before_anything_runs(tmp_path):
    error = refusal(tmp_path, models.convolution(["n", 3, "h", "w"]), input_shape="1,3,1000000,1000000")
    assert error.code == "tensor_too_large" and "'x'" in error.message


def test_a_value_that_grows_absurd_with_the_shape_is_refused(tmp_path):
    nodes = [helper.make_node("MatMul", ["column", "x"], ["y"])]
    model = models.model(nodes, [models.value("x", [1, "n"])], [models.value("y", [100000, "n"])],
                         [models.weights("column", 100000, 1)])
    error = refusal(tmp_path, model, input_shape="1,100000")
    assert error.code == "tensor_too_large" and "'y'" in error.message


def test_simplifying_folds_the_normalisation_and_leaves_standard_onnx(tmp_path):
    conversion = Conversion(tmp_path, models.convolution())
    facts = conversion.run("optimize")
    model = optimized(conversion)
    assert facts["simplified"] is True
    assert facts["nodes_before"] == 6 and facts["nodes_after"] == len(model.graph.node) < 6
    assert "BatchNormalization" not in {node.op_type for node in model.graph.node}
    assert [entry.domain for entry in model.opset_import] == [""]
    onnx.checker.check_model(model, full_check=True)


def test_the_simplified_model_answers_like_the_one_sent(tmp_path):
    conversion = Conversion(tmp_path, models.convolution(["n", 3, "h", "w"]), input_shape="2,3,40,24")
    feed = make_inputs(conversion.run("optimize")["inputs"], "picture")
    answers = [onnxruntime.InferenceSession(conversion.dir(stage) / "model.onnx").run(None, feed)[0]
               for stage in ("fetch", "optimize")]
    np.testing.assert_allclose(answers[1], answers[0], rtol=1e-4, atol=1e-6)


def test_the_same_model_gives_the_same_bytes(tmp_path):
    results = []
    for name in ("first", "second"):
        conversion = Conversion(tmp_path / name, models.convolution(["n", 3, "h", "w"]), input_shape="1,3,32,32")
        facts = conversion.run("optimize")
        results.append((facts, (conversion.dir("optimize") / "model.onnx").read_bytes()))
    assert results[0] == results[1]


def test_a_large_constant_is_computed_and_not_stored(tmp_path):
    conversion = Conversion(tmp_path, models.filled(2048, 2048))
    assert conversion.run("optimize")["simplified"] is True
    assert (conversion.dir("optimize") / "model.onnx").stat().st_size < 10_000


def test_a_half_precision_model_keeps_its_precision(tmp_path):
    conversion = Conversion(tmp_path, models.convolution(dtype=np.float16))
    facts = conversion.run("optimize")
    assert facts["simplified"] is False and "precision" in facts["warnings"][0]
    assert "Cast" not in {node.op_type for node in optimized(conversion).graph.node}


def test_an_unsimplified_model_keeps_its_external_data(tmp_path, monkeypatch):
    folder = tmp_path / "upload"
    folder.mkdir()
    path = models.external(folder, "sub/weights.bin")
    monkeypatch.setattr("worker.stages.simplify._make_portable", lambda *_: ("for this test", None))
    conversion = Conversion(tmp_path, path, precision="fp32")
    assert conversion.run("verify")["passed"] is True
    files = {str(path.relative_to(conversion.dir("optimize"))) for path in conversion.dir("optimize").rglob("*.*")}
    assert files == {"model.onnx", "sub/weights.bin"}


def test_weights_too_large_to_embed_are_saved_beside_the_model(tmp_path, monkeypatch):
    monkeypatch.setattr("worker.stages.simplify._EMBED_MAX_BYTES", 100)
    conversion = Conversion(tmp_path, models.model(
        [helper.make_node("MatMul", ["x", "big"], ["y"])], [models.value("x", [1, 64])], [models.value("y", [1, 64])],
        [models.weights("big", 64, 64)]), precision="fp32")
    assert conversion.run("verify")["passed"] is True
    assert (conversion.dir("optimize") / "model.onnx.data").stat().st_size == 64 * 64 * 4


def test_an_output_whose_shape_depends_on_the_data_is_told(tmp_path):
    model = models.model([helper.make_node("NonZero", ["x"], ["y"])], [models.value("x", [1, 4])],
                         [models.value("y", [2, "found"], onnx.TensorProto.INT64)])
    assert "'y'" in Conversion(tmp_path, model).run("optimize")["warnings"][0]


def test_a_shape_that_the_network_cannot_work_with_is_a_mismatch(tmp_path):
    model = models.model([helper.make_node("MatMul", ["x", "w"], ["y"])], [models.value("x", [1, "k"])],
                         [models.value("y", [1, 4])], [models.weights("w", 5, 4)])
    error = refusal(tmp_path, model, input_shape="1,4")
    assert error.code == "input_shape_mismatch" and "MatMul" in error.message
    assert Conversion(tmp_path / "right", model, input_shape="1,5").run("optimize")["outputs"][0]["shape"] == [1, 4]


def test_a_model_that_onnx_runtime_refuses_is_invalid(tmp_path):
    model = models.model([helper.make_node("Add", ["x", "i"], ["y"])], [models.value("x", [1])],
                         [models.value("y", [1])], [models.constant("i", [1])])
    error = refusal(tmp_path, model)
    assert error.code == "model_invalid" and "Add" in error.message
    assert str(tmp_path) not in error.message


def test_an_operator_that_onnx_runtime_spells_out_leaves_nothing_to_be_computed_at_run_time(tmp_path):
    model = models.model([helper.make_node("GroupNormalization", ["x", "s", "b"], ["y"], num_groups=2)],
                         [models.value("x", [1, 4, 6, 6])], [models.value("y", [1, 4, 6, 6])],
                         [models.weights("s", 4), models.weights("b", 4, seed=1)], opset=21, ir=10)
    conversion = Conversion(tmp_path, model)
    assert conversion.run("optimize")["simplified"] is True
    assert {"GroupNormalization", "Cast", "CastLike", "Shape"}.isdisjoint(
        node.op_type for node in optimized(conversion).graph.node)
    assert conversion.run("verify")["passed"]


def test_a_model_on_which_only_the_passes_fail_is_converted_without_them(tmp_path, monkeypatch):
    from onnxruntime.capi.onnxruntime_pybind11_state import Fail

    opened = onnxruntime.InferenceSession

    def fail_to_optimize(model, options=None, **others):
        if options and options.graph_optimization_level == onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC:
            raise Fail("InlineIfSubgraph")
        return opened(model, options, **others)

    monkeypatch.setattr(onnxruntime, "InferenceSession", fail_to_optimize)
    conversion = Conversion(tmp_path, models.convolution())
    facts = conversion.run("optimize")
    assert facts["simplified"] is False and "InlineIfSubgraph" in facts["warnings"][0]
    assert conversion.run("verify")["passed"]


def test_a_model_that_is_not_to_be_simplified_keeps_its_operators(tmp_path):
    conversion = Conversion(tmp_path, models.convolution(["n", 3, 32, 32]), simplify=False)
    facts = conversion.run("optimize")
    assert facts["simplified"] is False and facts["nodes_after"] == 6
    assert [node.op_type for node in optimized(conversion).graph.node] == [
        node.op_type for node in models.convolution().graph.node]
    assert input_shape(optimized(conversion)) == [1, 3, 32, 32] and conversion.run("verify")["passed"]


@pytest.mark.parametrize(("model", "simplify", "rewritten"), [
    (models.convolution(), None, True), (models.convolution(), True, True), (models.convolution(), False, False),
    (models.detector(), None, False), (models.classes(), None, False), (models.recurrent(), None, False)])
def test_it_tells_whether_a_compiler_gets_another_model_than_was_sent(tmp_path, model, simplify, rewritten):
    facts = Conversion(tmp_path, model, simplify=simplify).run("optimize")
    assert facts["rewritten"] is rewritten and facts["simplified"] is (simplify is not False)


def test_constants_that_become_initialisers_are_no_other_model(tmp_path):
    model = models.unary("Relu")
    value = helper.make_tensor("c", onnx.TensorProto.FLOAT, [4], [1.0, 2.0, 3.0, 4.0])
    model.graph.node.insert(0, helper.make_node("Constant", [], ["c"], value=value))
    model.graph.node.append(helper.make_node("Add", [model.graph.node[1].output[0], "c"], ["moved"]))
    model.graph.output[0].name = "moved"
    facts = Conversion(tmp_path, model).run("optimize")
    assert (facts["nodes_before"], facts["nodes_after"], facts["rewritten"]) == (3, 2, False)


@pytest.mark.parametrize(("kind", "gates", "outputs"), [("GRU", 3, 2), ("LSTM", 4, 3), ("RNN", 1, 2)])
def test_a_recurrent_layer_with_the_batch_first_is_transposed(tmp_path, kind, gates, outputs):
    """ONNX Runtime does not load it: it answers as the same layer does for one row after the other."""
    names = ["y", "h", "c"][:outputs]
    node = helper.make_node(kind, ["x", "w", "r", "", "", "h0"], names, hidden_size=4, layout=1)
    model = models.model([node], [models.value("x", [2, 5, 3]), models.value("h0", [2, 1, 4])],
                         [models.value(name, None) for name in names],
                         [models.weights("w", 1, gates * 4, 3), models.weights("r", 1, gates * 4, 4, seed=1)])
    conversion = Conversion(tmp_path, model)
    facts = conversion.run("optimize")
    assert [entry["shape"] for entry in facts["outputs"]] == [[2, 5, 1, 4], *[[2, 1, 4]] * (outputs - 1)]
    rng = np.random.default_rng(3)
    feed = {name: rng.standard_normal(shape).astype(np.float32)
            for name, shape in (("x", [2, 5, 3]), ("h0", [2, 1, 4]))}
    session = onnxruntime.InferenceSession(optimized(conversion).SerializeToString())
    written = {entry.name for entry in session.get_inputs()}
    answers = session.run(names, {name: array for name, array in feed.items() if name in written})
    wanted = _batch_first(kind, feed, model)
    for got, expected in zip(answers, wanted, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


def _batch_first(kind, feed, model):
    """What each row of the batch answers alone, by the same layer with the time first."""
    node = onnx.NodeProto.FromString(model.graph.node[0].SerializeToString())
    node.attribute.remove(next(attribute for attribute in node.attribute if attribute.name == "layout"))
    plain = models.model([node], [models.value("x", [5, 1, 3]), models.value("h0", [1, 1, 4])],
                         [models.value(name, None) for name in node.output], list(model.graph.initializer))
    session = onnxruntime.InferenceSession(plain.SerializeToString())
    rows = [session.run(None, {"x": feed["x"][row][:, None], "h0": feed["h0"][row][:, None]}) for row in range(2)]
    y = np.stack([row[0][:, :, 0] for row in rows])  # [time, directions, size] of each
    return [y, *(np.stack([row[index][:, 0] for row in rows]) for index in range(1, len(rows[0])))]
