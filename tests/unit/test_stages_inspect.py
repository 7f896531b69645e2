"""inspect: what it tells of a good model, and which code, culprit and hint a bad one gets."""
from __future__ import annotations

import io
import pickle
import zipfile

import onnx
import pytest
from onnx import TensorProto, helper

from tests import models
from tests.fixtures.stages import Conversion
from worker.stage_api import StageError


def refusal(tmp_path, model, stage="inspect", **parameters) -> StageError:
    with pytest.raises(StageError) as caught:
        Conversion(tmp_path, model, **parameters).run(stage)
    assert len(caught.value.hint) > 20, "every refusal says what to do"
    assert str(tmp_path) not in caught.value.message, "no server paths in messages"
    return caught.value


def test_the_facts_tell_versions_inputs_operators_and_sizes(tmp_path):
    model = models.convolution(["batch", 3, 32, None])
    facts = Conversion(tmp_path, model).run("inspect")
    assert facts["ir_version"] == models.IR
    assert facts["opsets"] == {"ai.onnx": models.OPSET}
    assert facts["producer"] == "tests 1"
    assert facts["inputs"] == [{"name": "x", "dtype": "float", "shape": ["batch", 3, 32, None]}]
    assert facts["outputs"] == [{"name": "y", "dtype": "float", "shape": ["batch", 5]}]
    assert facts["dynamic_inputs"] == ["x"]
    assert facts["operators"] == {"BatchNormalization": 1, "Conv": 1, "Flatten": 1, "Gemm": 1, "GlobalAveragePool": 1,
                                  "Relu": 1}
    assert facts["nodes"] == 6
    assert facts["tensor_elements"] == 8 * 3 * 9 + 4 * 8 + 8 * 5
    assert facts["size_bytes"] == len(model.SerializeToString())
    assert facts["external_data"] == [] and facts["warnings"] == []


def test_an_initialiser_among_the_inputs_is_no_input(tmp_path):
    model = models.convolution()
    model.graph.input.append(models.value("w", [8, 3, 3, 3]))
    assert [entry["name"] for entry in Conversion(tmp_path, model).run("inspect")["inputs"]] == ["x"]


def test_operators_of_onnx_runtime_are_left_to_the_target_with_a_warning(tmp_path):
    facts = Conversion(tmp_path, models.unary("Gelu", domain="com.microsoft")).run("inspect")
    assert facts["operators"] == {"com.microsoft.Gelu": 1}
    assert "com.microsoft.Gelu" in facts["warnings"][0]


def test_an_output_without_a_shape_is_accepted_with_a_warning(tmp_path):
    facts = Conversion(tmp_path, models.unary("Relu", out_shape=None)).run("inspect")
    assert facts["outputs"][0]["shape"] is None
    assert "shape" in facts["warnings"][0]


@pytest.mark.parametrize(("content", "code", "culprit"), [
    (b"", "model_empty", "0 bytes"),
    (pickle.dumps({"weights": [1, 2]}), "model_not_onnx", "pickle"),
    (b"\x80\x02}q\x00.", "model_not_onnx", "pickle"),
    (b"\x89HDF\r\n\x1a\n" + bytes(100), "model_not_onnx", "HDF5"),
    (bytes(4) + b"TFL3" + bytes(100), "model_not_onnx", "TFLite"),
    (b"<html><body>404</body></html>", "model_not_onnx", "HTML"),
    (b'{"model": 1}', "model_not_onnx", "JSON"),
    (onnx.ModelProto(ir_version=8).SerializeToString(), "model_not_onnx", "no ONNX graph"),
    (b"\xff" * 4096, "model_unreadable", "4096 bytes"),
    (b"this is a text file, not a model", "model_unreadable", "32 bytes"),
])
def test_a_file_that_is_no_model_is_named_for_what_it_is(tmp_path, content, code, culprit):
    error = refusal(tmp_path, content)
    assert error.code == code
    assert culprit in error.message


def test_a_pytorch_archive_is_never_unpickled(tmp_path):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("model/data.pkl", pickle.dumps([1]))
    error = refusal(tmp_path, buffer.getvalue())
    assert error.code == "model_not_onnx"
    assert "zip" in error.message and "torch.onnx.export" in error.hint


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_a_truncated_model_is_unreadable(tmp_path, share):
    data = models.convolution().SerializeToString()
    assert refusal(tmp_path, data[:int(len(data) * share)]).code == "model_unreadable"


def test_a_model_cut_before_its_opset_is_invalid(tmp_path):
    model = models.convolution()
    model.ClearField("opset_import")
    error = refusal(tmp_path, model)
    assert error.code == "model_invalid" and "opset" in error.message


def test_an_opset_newer_than_onnx_is_refused_with_both_numbers(tmp_path):
    newest = onnx.defs.onnx_opset_version()
    error = refusal(tmp_path, models.unary("Relu", opset=newest + 1))
    assert error.code == "opset_unsupported"
    assert f"opset is {newest + 1}" in error.message and f"up to {newest}" in error.message


def test_an_ir_version_newer_than_onnx_is_refused(tmp_path):
    error = refusal(tmp_path, models.unary("Relu", ir=onnx.IR_VERSION + 1))
    assert error.code == "opset_unsupported" and str(onnx.IR_VERSION + 1) in error.message


def test_the_newest_opset_and_ir_that_onnx_reads_go_through_onnx_runtime_too(tmp_path):
    model = models.unary("Relu", opset=onnx.defs.onnx_opset_version(), ir=onnx.IR_VERSION)
    assert Conversion(tmp_path, model).run("reference")["skipped"] is False


def test_all_unknown_operators_are_named_together(tmp_path):
    nodes = [helper.make_node("Foo", ["x"], ["a"]), helper.make_node("Bar", ["a"], ["b"], domain="acme"),
             helper.make_node("Upsample", ["b"], ["c"]), helper.make_node("Relu", ["c"], ["y"])]
    error = refusal(tmp_path, models.model(nodes, [models.value("x", [1])], [models.value("y", [1])],
                                           domains={"acme": 1}))
    assert error.code == "unsupported_operator"
    assert "Foo" in error.message and "acme.Bar" in error.message, error.message
    assert "Upsample" in error.message, "deprecated in this opset"
    assert "Relu" not in error.message


def test_an_unknown_operator_in_a_subgraph_is_found(tmp_path):
    model = models.nested(2)
    model.graph.node[0].attribute[0].g.node[0].op_type = "Hidden"
    assert "Hidden" in refusal(tmp_path, model).message


def test_a_function_that_the_model_defines_itself_is_known(tmp_path):
    model = models.unary("Twice", domain="acme", ir=9)
    model.functions.append(helper.make_function("acme", "Twice", ["a"], ["b"],
                                                [helper.make_node("Add", ["a", "a"], ["b"])],
                                                [helper.make_opsetid("", models.OPSET)]))
    facts = Conversion(tmp_path, model).run("inspect")
    assert facts["operators"] == {"Add": 1, "acme.Twice": 1}


@pytest.mark.parametrize("model", [
    models.claims([1 << 20, 1 << 20]),
    models.claims([1 << 62, 4]),
    models.unary("Relu", ["n", 3, 1 << 20, 1 << 20]),
    models.filled(1 << 20, 1 << 20),
], ids=["initialiser", "overflow", "input", "inferred"])
def test_a_tensor_of_absurd_size_is_named(tmp_path, model):
    error = refusal(tmp_path, model)
    assert error.code == "tensor_too_large"
    assert any(f"'{name}'" in error.message for name in ("liar", "x", "k", "y"))


@pytest.mark.parametrize(("dims", "data"), [([4], b"\0" * 12), ([4], b"\0" * 20), ([2, 2], b""), ([-4], b"\0" * 16)])
def test_a_tensor_that_does_not_hold_what_it_claims_is_invalid(tmp_path, dims, data):
    error = refusal(tmp_path, models.claims(dims, data))
    assert error.code == "model_invalid" and "'liar'" in error.message


def test_a_tensor_of_unknown_type_is_invalid(tmp_path):
    model = models.claims([1], b"\0" * 4)
    model.graph.initializer[0].data_type = 99
    error = refusal(tmp_path, model)
    assert error.code == "model_invalid" and "99" in error.message


def test_typed_fields_are_counted_as_onnx_stores_them(tmp_path):
    tensors = [helper.make_tensor("half", TensorProto.FLOAT16, [3], [1.0, 2.0, 3.0]),
               helper.make_tensor("nibbles", TensorProto.INT4, [5], [1, 2, 3, 4, 5]),
               helper.make_tensor("complex", TensorProto.COMPLEX64, [2], [1 + 2j, 3 + 4j]),
               helper.make_tensor("words", TensorProto.STRING, [2], [b"a", b"b"])]
    model = models.unary("Relu", opset=21, ir=10)
    model.graph.initializer.extend(tensors)
    assert Conversion(tmp_path, model).run("inspect")["tensor_elements"] == 12


def test_subgraphs_nested_too_deeply_are_refused_and_shallow_ones_are_not(tmp_path):
    assert Conversion(tmp_path / "shallow", models.nested(8)).run("inspect")["operators"]["If"] == 8
    error = refusal(tmp_path / "deep", models.nested(20))
    assert error.code == "model_too_complex" and "16" in error.message


@pytest.mark.unmeasured
def test_a_bomb_of_empty_nodes_is_refused_before_it_is_parsed(tmp_path, monkeypatch):
    monkeypatch.setattr(onnx, "ModelProto", None)  # parsing would fail here
    error = refusal(tmp_path, models.node_bomb(1_500_000))
    assert error.code == "model_too_complex"


def test_more_nodes_than_the_limit_are_refused(tmp_path):
    error = refusal(tmp_path, models.node_bomb(250_000))
    assert error.code == "model_too_complex" and "250000" in error.message


def test_many_small_nodes_below_the_limit_pass_the_outline(tmp_path):
    nodes = [helper.make_node("Relu", [f"v{i}"], [f"v{i + 1}"], doc_string="d" * 400) for i in range(6000)]
    model = models.model(nodes, [models.value("v0", [1])], [models.value("v6000", [1])])
    assert Conversion(tmp_path, model).run("inspect")["nodes"] == 6000


def test_a_graph_that_breaks_onnx_rules_is_invalid_and_names_the_value(tmp_path):
    nodes = [helper.make_node("Relu", ["nowhere"], ["y"])]
    error = refusal(tmp_path, models.model(nodes, [models.value("x", [1])], [models.value("y", [1])]))
    assert error.code == "model_invalid" and "nowhere" in error.message


def test_a_model_without_outputs_is_invalid(tmp_path):
    model = models.unary("Relu")
    del model.graph.output[:]
    error = refusal(tmp_path, model)
    assert error.code == "model_invalid" and "output" in error.message


@pytest.mark.parametrize("dtype", [TensorProto.STRING, TensorProto.COMPLEX64, TensorProto.BFLOAT16])
def test_an_input_without_plain_numbers_is_refused_by_name(tmp_path, dtype):
    error = refusal(tmp_path, models.unary("Identity", dtype=dtype))
    assert error.code == "unsupported_type" and "'x'" in error.message


def test_a_sequence_output_is_refused(tmp_path):
    model = models.model([helper.make_node("SequenceConstruct", ["x"], ["y"])], [models.value("x", [1])],
                         [helper.make_tensor_sequence_value_info("y", TensorProto.FLOAT, [1])])
    error = refusal(tmp_path, model)
    assert error.code == "unsupported_type" and "sequence" in error.message
