"""quantize, compile, verify and package in the real QNN toolchain: what the artefact shows decides."""
from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from shared.errors import ConversionFailed
from tests import models
from tests.fixtures.stages import real_model
from tests.fixtures.toolhosts import HostedConversion, tool_host
from worker.process import ToolHost
from worker.stage_api import StageError
from worker.stages.samples import make_inputs

CLASSIFIER = [1, 3, 48, 192]
DETECTOR = [1, 3, 64, 64]


def convert(host: ToolHost, folder: Path, model: object, **parameters: object) -> HostedConversion:
    return HostedConversion(host, "qualcomm", folder, model,
                            **{"chip": "SM8650", "verify": {"samples": 1}, **parameters})


@pytest.fixture(scope="module")
def host() -> Iterator[ToolHost]:
    with tool_host("qualcomm") as host:
        yield host


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def pictures(shape: list[int], count: int = 12) -> dict[str, bytes]:
    entry = {"name": "x", "dtype": "float", "shape": shape}
    return {f"{seed:03d}.npy": npy(make_inputs([entry], "picture", 100 + seed)["x"]) for seed in range(count)}


def refusal(conversion: HostedConversion, stage: str = "verify") -> ConversionFailed:
    with pytest.raises(ConversionFailed) as caught:
        conversion.run(stage)
    assert caught.value.hint
    return caught.value


def nodes(conversion: HostedConversion, stage: str = "compile") -> list[onnx.NodeProto]:
    return list(onnx.load(conversion.dir(stage) / "model_ctx.onnx").graph.node)


def attributes(node: onnx.NodeProto) -> dict[str, Any]:
    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}


def determinant(**parameters: Any) -> tuple[onnx.ModelProto, dict[str, Any]]:
    """An operator that QNN does not have, between two that it has."""
    chain = [helper.make_node("Relu", ["x"], ["r"]), helper.make_node("Det", ["r"], ["d"], "the_determinant"),
             helper.make_node("Relu", ["d"], ["y"])]
    return models.model(chain, [models.value("x", [1, 4, 4])], [models.value("y", [1])]), parameters


def test_a_model_becomes_one_graph_for_the_npu_and_its_binary(host: ToolHost, tmp_path: Path) -> None:
    conversion = convert(host, tmp_path, models.convolution())
    facts = conversion.run("compile")
    (node,) = nodes(conversion)
    assert node.op_type == "EPContext" and attributes(node)["ep_cache_context"] == b"model_ctx_qnn.bin"
    assert conversion.names("compile") == ["model_ctx.onnx", "model_ctx_qnn.bin"]
    assert facts["inputs"] == [{"name": "x", "dtype": "float", "shape": [1, 3, 32, 32]}]
    assert facts["outputs"] == [{"name": "y", "dtype": "float", "shape": [1, 5]}]
    assert facts["placement"]["npu"]["Conv2d"] == 1 and facts["placement"]["cpu"] == {}
    assert facts["on_cpu"] == [] and facts["warnings"] == []
    assert facts["details"] == {"chip": "SM8650", "soc_model": 57, "htp_arch": "V75", "npu_graphs": 1}


def test_the_same_model_compiles_to_the_same_bytes_wherever_it_lies(host: ToolHost, tmp_path: Path) -> None:
    results = []
    for name in ("first", "deeper/second"):
        conversion = convert(host, tmp_path / name, models.convolution())
        facts = conversion.run("compile")
        results.append((facts, [hashlib.sha256(path.read_bytes()).hexdigest()
                                for path in sorted(conversion.dir("compile").iterdir())]))
    assert results[0] == results[1]


def test_the_artefact_says_nothing_of_this_machine(host: ToolHost, tmp_path: Path) -> None:
    conversion = convert(host, tmp_path, models.convolution())
    conversion.run("package")
    written = b"".join(path.read_bytes() for path in conversion.dir("package").iterdir())
    for folder in (tmp_path, host._command[0].rpartition("/bin/")[0]):
        assert str(folder).encode() not in written and str(folder) not in str(conversion.facts)
    assert conversion.names("package") == ["model_ctx.onnx", "model_qnn.bin"]


@pytest.mark.parametrize("embed", [False, True])
def test_the_published_names_fit_one_another(host: ToolHost, tmp_path: Path, embed: bool) -> None:
    conversion = convert(host, tmp_path, models.convolution(), embed=embed)
    conversion.parameters["output_name"] = "my model"
    conversion.run("package")  # which opens what it wrote
    (node,) = onnx.load(conversion.dir("package") / "my model_ctx.onnx").graph.node
    binary = (conversion.dir("compile") / "model_ctx_qnn.bin").read_bytes()
    if embed:
        assert conversion.names("package") == ["my model_ctx.onnx"]
        assert attributes(node)["embed_mode"] == 1 and attributes(node)["ep_cache_context"] == binary
    else:
        assert conversion.names("package") == ["my model_ctx.onnx", "my model_qnn.bin"]
        assert attributes(node)["ep_cache_context"] == b"my model_qnn.bin"
        assert (conversion.dir("package") / "my model_qnn.bin").read_bytes() == binary


@pytest.mark.parametrize(("stage", "what"), [("verify", "load"), ("package", "load")])
def test_a_damaged_binary_does_not_pass(host: ToolHost, tmp_path: Path, stage: str, what: str) -> None:
    conversion = convert(host, tmp_path, models.convolution())
    conversion.run("compile")
    binary = conversion.dir("compile") / "model_ctx_qnn.bin"
    binary.write_bytes(binary.read_bytes()[:1000])
    error = refusal(conversion, stage)
    assert error.code == "verify_failed" and what in str(error) and str(tmp_path) not in str(error)


@pytest.mark.parametrize("body", [
    [helper.make_node("HardSwish", ["c"], ["y"])],
    [helper.make_node("HardSigmoid", ["c"], ["s"], alpha=1 / 6, beta=0.5), helper.make_node("Mul", ["c", "s"], ["y"])]],
    ids=["one operator", "two operators"])
def test_a_hard_swish_comes_out_right_however_it_is_written(host: ToolHost, tmp_path: Path,
                                                            body: list[onnx.NodeProto]) -> None:
    model = models.model([helper.make_node("Conv", ["x", "w"], ["c"]), *body], [models.value("x", [1, 3, 8, 8])],
                         [models.value("y", [1, 8, 8, 8])], [models.weights("w", 8, 3, 1, 1)], opset=14)
    (entry,) = convert(host, tmp_path, model).run("verify")["outputs"]
    assert entry["cosine"] > 0.9999


# --- what the NPU does not take ---------------------------------------------------------------------------------------

def test_an_operator_that_the_npu_lacks_fails_with_its_name(host: ToolHost, tmp_path: Path) -> None:
    model, _ = determinant()
    error = refusal(convert(host, tmp_path, model), "compile")
    assert error.code == "unsupported_operator" and "Det (the_determinant)" in str(error)


def test_it_stays_on_the_cpu_where_the_client_allows_that_and_the_report_says_so(
        host: ToolHost, tmp_path: Path) -> None:
    model, parameters = determinant(allow_cpu=True)
    conversion = convert(host, tmp_path, model, **parameters)
    facts = conversion.run("compile")
    assert facts["placement"]["cpu"] == {"Det": 1} and facts["placement"]["npu"] == {"Relu": 2}
    assert facts["on_cpu"] == [{"name": "the_determinant", "type": "Det"}]
    assert facts["warnings"] == ["operators that stay on the CPU: 1; graphs that the NPU runs: 2"]
    assert conversion.run("verify")["passed"]
    conversion.run("package")
    assert [node.op_type for node in nodes(conversion, "package")].count("EPContext") == 2


@pytest.mark.parametrize("allow_cpu", [False, True])
@pytest.mark.parametrize("model", [models.unary("Det", (1, 4, 4), out_shape=(1,)),
                                   models.unary("Relu", dtype=onnx.TensorProto.DOUBLE)], ids=["operator", "type"])
def test_a_model_of_which_it_takes_nothing_fails_with_its_operators(
        host: ToolHost, tmp_path: Path, model: onnx.ModelProto, allow_cpu: bool) -> None:
    error = refusal(convert(host, tmp_path, model, allow_cpu=allow_cpu), "compile")
    assert error.code == "unsupported_operator" and model.graph.node[0].op_type in str(error)


def test_floating_point_on_a_chip_without_it_fails_with_every_operator(host: ToolHost, tmp_path: Path) -> None:
    conversion = convert(host, tmp_path, models.convolution())
    conversion.parameters["chip"] = "QCM6490"  # past the parameters' own check
    error = refusal(conversion, "compile")
    assert error.code == "unsupported_operator" and "Conv" in str(error) and "Gemm" in str(error)


def test_a_dynamic_input_fails_as_such(host: ToolHost, tmp_path: Path) -> None:
    conversion = convert(host, tmp_path, models.convolution())
    conversion.run("prepare")
    onnx.save(models.convolution(["n", 3, 32, 32]), conversion.dir("prepare") / "model.onnx")
    error = refusal(conversion, "compile")
    assert error.code == "dynamic_shape" and "these values have none" in str(error)


def test_a_shape_that_depends_on_the_data_fails_as_such(host: ToolHost, tmp_path: Path) -> None:
    chain = [helper.make_node("Relu", ["x"], ["r"]), helper.make_node("NonZero", ["r"], ["where"]),
             helper.make_node("Cast", ["where"], ["y"], to=onnx.TensorProto.FLOAT)]
    model = models.model(chain, [models.value("x", [4, 4])], [models.value("y", [2, None])])
    error = refusal(convert(host, tmp_path, model), "compile")
    assert error.code == "dynamic_shape" and "where" in str(error)


@pytest.mark.parametrize("allow_cpu", [False, True])
def test_a_chip_that_the_compiler_does_not_know_fails_although_the_compiler_succeeds(
        host: ToolHost, tmp_path: Path, allow_cpu: bool) -> None:
    conversion = convert(host, tmp_path, models.convolution(), allow_cpu=allow_cpu)
    entry, *rest = conversion._stages["compile"]
    conversion._stages["compile"] = ("tests.standins.qualcomm_unknown_chip:run", *rest)
    assert entry == "worker.platforms.qualcomm.compile:run"
    error = refusal(conversion, "compile")
    assert error.code == "compile_failed" and error.vendor_code == "QNN_DEVICE_ERROR_INVALID_CONFIG"


# --- precisions -------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("name", "shape"), [("cls", CLASSIFIER), ("det", DETECTOR)])
def test_real_networks_in_half_precision_are_close_to_the_model(
        host: ToolHost, tmp_path: Path, name: str, shape: list[int]) -> None:
    conversion = convert(host, tmp_path, real_model(name), input_shape=shape)
    facts = conversion.run("verify")
    assert facts["samples"] == 1 and all(output["cosine"] > 0.9999 for output in facts["outputs"])
    assert conversion.facts["compile"]["on_cpu"] == []


@pytest.mark.parametrize("precision", ["int8", "int16"])
@pytest.mark.parametrize(("name", "shape"), [("cls", CLASSIFIER), ("det", DETECTOR)])
def test_a_quantized_network_is_one_graph_with_no_normalisation_left_over(
        host: ToolHost, tmp_path: Path, name: str, shape: list[int], precision: str) -> None:
    """Unfolded, each batch normalisation stays on the CPU and cuts the model."""
    conversion = convert(host, tmp_path, real_model(name), input_shape=shape, precision=precision,
                               calibration_files=pictures(shape, 4), allow_cpu=True)
    facts = conversion.run("compile")
    assert facts["on_cpu"] == [] and facts["details"]["npu_graphs"] == 1
    assert {"Quantize", "Dequantize"} <= set(facts["placement"]["npu"])


@pytest.mark.parametrize(("options", "samples", "bound"), [
    ({"precision": "int8"}, 3, 0.999), ({"precision": "int16"}, 3, 0.999),
    ({"precision": "int16", "weight_type": "QInt16"}, 1, 0.97)], ids=["w8a8", "w8a16", "w16a16"])
def test_the_classifiers_integer_precisions_keep_their_bounds(
        host: ToolHost, tmp_path: Path, options: dict[str, str], samples: int, bound: float) -> None:
    conversion = convert(host, tmp_path, real_model("cls"), input_shape=CLASSIFIER, simulated_samples=samples,
                               calibration_files=pictures(CLASSIFIER), verify={"samples": 3, "min_cosine": bound},
                               **options)
    facts = conversion.run("verify")
    assert facts["passed"] and facts["samples"] == 2 * samples and facts["min_cosine"] == bound


def test_activations_of_8_bits_alone_are_had_on_request(host: ToolHost, tmp_path: Path) -> None:
    types = []
    for mixed in (True, False):
        conversion = convert(host, tmp_path / str(mixed), models.uneven(), precision="int8", mixed_precision=mixed,
                             calibration_files=pictures([1, 3, 32, 32], 8))
        conversion.run("compile")
        graph = onnx.load(conversion.dir("quantize") / "model.onnx").graph
        tensors = {tensor.name: tensor.data_type for tensor in graph.initializer}
        found = {tensors[node.input[2]] for node in graph.node if node.op_type == "QuantizeLinear"}
        types.append((found, bool(conversion.facts["quantize"]["details"]["activations_of_16_bits"])))
    eight, sixteen = onnx.TensorProto.UINT8, onnx.TensorProto.UINT16
    assert types == [({eight, sixteen}, True), ({eight}, False)]


def test_a_model_of_half_precision_is_quantized_and_keeps_the_types_of_its_inputs_and_outputs(
        host: ToolHost, tmp_path: Path) -> None:
    halves = {name: npy(np.load(io.BytesIO(data)).astype(np.float16)) for name, data in
              pictures([1, 3, 32, 32], 8).items()}
    model = models.convolution(dtype=np.float16)
    weights = model.graph.initializer.pop(0)  # as some exporters write it
    model.graph.node.insert(0, helper.make_node("Constant", [], [weights.name], value=weights))
    conversion = convert(host, tmp_path, model, precision="int8", calibration_files=halves)
    assert conversion.run("verify")["outputs"][0]["cosine"] > 0.999
    facts = conversion.facts["compile"]
    assert [value["dtype"] for value in facts["inputs"] + facts["outputs"]] == ["float16", "float16"]
    assert facts["placement"]["npu"]["Conv2d"] == 1 and facts["on_cpu"] == []
    tensors = onnx.load(conversion.dir("quantize") / "model.onnx").graph.initializer
    assert [8, 3, 3, 3] in [list(tensor.dims) for tensor in tensors if tensor.data_type == onnx.TensorProto.INT8]


def test_inputs_may_be_quantized_on_the_cpu(host: ToolHost, tmp_path: Path) -> None:
    conversion = convert(host, tmp_path, models.convolution(), precision="int8", allow_cpu=True,
                               offload_graph_io_quantization=True, calibration_files=pictures([1, 3, 32, 32], 4))
    facts = conversion.run("compile")
    assert facts["placement"]["cpu"] == {"QuantizeLinear": 1, "DequantizeLinear": 1}
    assert conversion.run("verify")["passed"]


def test_raw_values_in_where_mean_and_std_are_given(host: ToolHost, tmp_path: Path) -> None:
    scaled = {name: npy(np.load(io.BytesIO(data)) * np.float32(255)) for name, data in
              pictures([1, 3, 32, 32], 8).items()}
    conversion = convert(host, tmp_path, models.convolution(), precision="int8", calibration_files=scaled,
                               mean=[123.7, 116.3, 103.5], std=[58.4, 57.1, 57.4])
    assert conversion.run("verify")["passed"]


def test_a_single_constant_calibration_sample_is_refused_and_fails_the_gate(host: ToolHost, tmp_path: Path) -> None:
    nothing = {"0.npy": npy(np.zeros(CLASSIFIER, np.float32))}
    with pytest.raises(StageError, match="of one colour"):
        convert(host, tmp_path / "refused", real_model("cls"), input_shape=CLASSIFIER, precision="int8",
                calibration_files=nothing).run("verify")
    accepted = convert(host, tmp_path / "accepted", real_model("cls"), input_shape=CLASSIFIER, precision="int8",
                       calibration_files=nothing, accept_accuracy=True).run("verify")
    assert accepted["accepted"] and not accepted["passed"]


def test_preprocessing_that_half_precision_cannot_hold_fails_the_gate(host: ToolHost, tmp_path: Path) -> None:
    conversion = convert(host, tmp_path, models.convolution(), std=[0.01, 0.01, 0.01],
                               mean=[1000.0, 1000.0, 1000.0])
    assert refusal(conversion).code == "accuracy_too_low"


def test_scores_that_eight_bits_lose_fail_by_their_channels(host: ToolHost, tmp_path: Path) -> None:
    error = refusal(convert(host, tmp_path / "int8", models.detector(), precision="int8",
                            calibration_files=pictures([1, 3, 32, 32], 8)))
    assert error.code == "accuracy_too_low" and "axis 1 of [1, 8, 256], 4-7 are dead" in str(error)
    assert 'outputs = ["boxes", "scores"]' in error.hint
    assert convert(host, tmp_path / "fp16", models.detector()).run("verify")["passed"]


def test_metadata_and_a_bias_of_one_row_do_not_stop_the_quantizer(host: ToolHost, tmp_path: Path) -> None:
    """ONNX Runtime raises TypeError over the first, as in PP-OCR's recogniser, and ValueError over the second."""
    model = models.model([helper.make_node("Gemm", ["x", "w", "b"], ["y"])], [models.value("x", [1, 16])],
                         [models.value("y", [1, 8])], [models.weights("w", 16, 8), models.weights("b", 1, 8)])
    model.metadata_props.add(key="character", value="abc")
    files = {f"{number}.npy": npy(np.random.default_rng(number).random((1, 16), np.float32)) for number in range(6)}
    facts = convert(host, tmp_path, model, precision="int8", calibration_files=files).run("verify")
    assert facts["passed"]


def test_class_ids_are_judged_by_the_share_that_agrees(host: ToolHost, tmp_path: Path) -> None:
    conversion = convert(host, tmp_path, models.class_map(), precision="int8",
                         calibration_files=pictures([1, 3, 32, 32], 8))
    (output,) = conversion.run("verify")["outputs"]
    assert 0.9 < output["agreement"] < 1 and output["values"] % 1024 == 0 and "slices" not in output


# --- verify -----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("parameters", [
    {"precision": "int8"}, {"precision": "int16"}, {"precision": "int16", "weight_type": "QInt16"},
    {"precision": "int8", "simplify": False}])
def test_a_layer_normalisation_is_quantized_however_it_is_written(host: ToolHost, tmp_path: Path,
                                                                  parameters: dict[str, Any]) -> None:
    random = np.random.default_rng(5)
    files = {f"{number}.npy": npy(random.normal(0, 1, (1, 24, 64)).astype(np.float32)) for number in range(8)}
    conversion = convert(host, tmp_path, models.normalising(), calibration_files=files, **parameters)
    facts = conversion.run("verify")
    assert facts["outputs"][0]["cosine"] > 0.999
    kinds = {node.op_type for node in onnx.load(conversion.dir("quantize") / "model.onnx").graph.node}
    assert ("LayerNormalization" in kinds) == ("simplify" not in parameters)


@pytest.mark.parametrize(("asked", "simulated"), [(None, 1), (2, 2), (64, 3)])
def test_as_many_samples_are_simulated_as_are_asked_for_and_none_of_the_edges(
        host: ToolHost, tmp_path: Path, asked: int | None, simulated: int) -> None:
    conversion = convert(host, tmp_path, models.convolution(), simulated_samples=asked, verify={"samples": 3})
    assert conversion.run("verify")["samples"] == simulated
    log = conversion.log("verify")
    assert log.count("simulated in") == simulated and "zeros" not in log and "ones" not in log


@pytest.mark.parametrize(("asked", "simulated"), [({}, 6), ({"simulated_samples": 1}, 2)])
def test_with_a_calibration_set_some_of_its_samples_are_simulated_too(
        host: ToolHost, tmp_path: Path, asked: dict[str, int], simulated: int) -> None:
    conversion = convert(host, tmp_path, models.convolution(), precision="int8", verify={"samples": 3},
                               calibration_files=pictures([1, 3, 32, 32]), **asked)
    facts = conversion.run("verify")
    assert facts["samples"] == simulated and len(facts["outputs"]) == len(facts["seeded_outputs"]) == 1


def test_without_verification_nothing_is_simulated(host: ToolHost, tmp_path: Path) -> None:
    conversion = convert(host, tmp_path, models.convolution(), verify={"enabled": False})
    assert conversion.run("verify") == {"skipped": True}


# --- models that came quantized ---------------------------------------------------------------------------------------


def test_a_model_that_came_quantized_is_told_as_int8_whatever_was_asked_for(host: ToolHost, tmp_path: Path) -> None:
    conversion = convert(host, tmp_path, models.quantized_already(relu=False))
    assert conversion.run("compile")["precision"] == "int8" and conversion.run("verify")["passed"]


def test_where_the_compiler_does_not_take_its_scales_int8_completes_them(host: ToolHost, tmp_path: Path) -> None:
    error = refusal(convert(host, tmp_path / "fp16", models.quantized_already()), "compile")
    assert error.code == "already_quantized" and "precision int8" in error.hint
    again = convert(host, tmp_path / "int8", models.quantized_already(), precision="int8",
                    calibration_files=pictures([1, 3, 16, 16]))
    assert again.run("compile")["precision"] == "int8" and again.run("verify")["passed"]


@pytest.mark.parametrize(("precision", "files"), [("fp16", None), ("int16", pictures([1, 3, 32, 32]))])
def test_the_precision_is_read_off_the_compilers_trace(host: ToolHost, tmp_path: Path, precision: str,
                                                       files: dict[str, bytes] | None) -> None:
    conversion = convert(host, tmp_path, models.convolution(), precision=precision, calibration_files=files)
    assert conversion.run("compile")["precision"] == precision


# --- what half precision cannot hold, and test inputs of the client's own ---------------------------------------------


def test_a_refusal_over_values_beyond_half_precision_names_them_as_the_cause(host: ToolHost, tmp_path: Path) -> None:
    error = refusal(convert(host, tmp_path, models.variances()))
    assert error.code == "accuracy_too_low" and "the likely cause" in error.en and "square (" in error.en


def test_own_test_inputs_are_simulated(host: ToolHost, tmp_path: Path) -> None:
    facts = convert(host, tmp_path, models.convolution(), test_inputs=pictures([1, 3, 32, 32], 4),
                    verify={"samples": 4}).run("verify")
    assert facts["passed"] and facts["samples"] == 3
