"""compile and verify with the real rknn-toolkit2: what it is asked for, and each trap of it that is known."""
from __future__ import annotations

import itertools
import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from shared.errors import ConversionFailed
from shared.platforms.rockchip import CHIPS
from tests import models
from tests.fixtures.calibration import npy, pictures
from tests.fixtures.toolhosts import HostedConversion, tool_host
from worker.process import ToolHost
from worker.stage_api import StageError
from worker.stages.accuracy import Gate
from worker.stages.samples import output_name

Make = Callable[..., HostedConversion]
SHAPE = (1, 3, 32, 32)
INT8 = {"precision": "int8", "calibration_files": pictures(6, *SHAPE)}
INT16 = INT8 | {"precision": "int16"}


@pytest.fixture(scope="module")
def host() -> Iterator[ToolHost]:
    with tool_host("rockchip") as host:
        yield host


@pytest.fixture
def make(host: ToolHost, tmp_path: Path) -> Make:
    """`make(model, **parameters)`: a conversion in a folder with blanks in its name, for the toolkit splits at them."""
    numbers = itertools.count()
    return lambda model, **parameters: HostedConversion(
        host, "rockchip", tmp_path / f"odd 50% dir {next(numbers)}", model,
        **{"chip": "rk3588", "verify": {"samples": 2}, **parameters})


def refusal(conversion: HostedConversion, stage: str = "compile") -> ConversionFailed:
    with pytest.raises(ConversionFailed) as caught:
        conversion.run(stage)
    assert caught.value.hint
    return caught.value


def least_cosine(conversion: HostedConversion) -> float:
    facts = conversion.run("verify")
    assert facts["passed"] and not facts["accepted"]
    return min(entry["cosine"] for entry in facts["outputs"] + facts.get("seeded_outputs", []))


def convolutions_then(operator: str) -> onnx.ModelProto:
    """Conv, the operator, Conv."""
    nodes = [helper.make_node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]), helper.make_node(operator, ["c"], ["d"]),
             helper.make_node("Conv", ["d", "w2"], ["y"])]
    return models.model(nodes, [models.value("x", list(SHAPE))], [models.value("y", [1, 4, 32, 32])],
                        [models.weights("w", 8, 3, 3, 3), models.weights("w2", 4, 8, 1, 1)])


# --- what it delivers ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chip", [chip for chip, facts in CHIPS.items() if facts.float_dtypes])
def test_every_chip_that_computes_in_floating_point(make: Make, chip: str) -> None:
    conversion = make(models.convolution(), chip=chip)
    facts = conversion.run("compile")
    assert conversion.names("compile") == ["model.rknn"] and facts["inputs"][0]["dtype"] == "float16"
    assert least_cosine(conversion) > 0.9999


@pytest.mark.parametrize("chip", [chip for chip, facts in CHIPS.items() if facts.quantized_dtypes])
def test_every_chip_that_takes_int8(make: Make, chip: str) -> None:
    conversion = make(models.convolution(), chip=chip, **INT8)
    facts = conversion.run("compile")
    assert facts["inputs"] == [{"name": "x", "dtype": "int8", "shape": list(SHAPE)}]
    assert "'float32' to 'int8'" in facts["warnings"][0]  # what the device is to be fed with
    assert least_cosine(conversion) > 0.99


@pytest.mark.parametrize(("parameters", "bound"), [
    (INT16, 0.9999), (INT8 | {"chip": "rk3576", "quantized_dtype": "w4a16"}, 0.99),
    (INT8 | {"chip": "rk3576", "quantized_dtype": "w4a16", "quantized_method": "group32",
             "quantized_algorithm": "gdq"}, 0.99),
    (INT8 | {"quantized_algorithm": "mmse"}, 0.99), (INT8 | {"quantized_algorithm": "kl_divergence"}, 0.99),
    (INT8 | {"quantized_method": "layer"}, 0.98),
    (INT8 | {"auto_hybrid": True, "auto_hybrid_cos_thresh": 0.9999}, 0.99),
    ({"float_dtype": "bfloat16"}, 0.999), ({"optimization_level": 0}, 0.9999), ({"model_pruning": True}, 0.9999),
    ({"compute_order": "DepthFirst", "memory_plan_strategy": "GreedyBySize"}, 0.9999),
    ({"enable_flash_attention": True, "mini_rknn": True}, 0.9999), ({"chip": "rk3576", "sparse_infer": True}, 0.9999),
    ({"compress_weight": True, "single_core_mode": True, "custom_string": "it's é"}, 0.9999)],
    ids=lambda value: " ".join(map(str, value.values()))[-40:] if isinstance(value, dict) else str(value))
def test_options_of_the_tool(make: Make, parameters: dict[str, Any], bound: float) -> None:
    assert least_cosine(make(models.convolution(), **parameters)) > bound


def test_removed_weights_are_missing_from_the_file(make: Make) -> None:
    def size_bytes(**parameters: Any) -> int:
        conversion = make(models.convolution(), **parameters)
        conversion.run("compile")
        return (conversion.dir("compile") / "model.rknn").stat().st_size
    assert size_bytes(remove_weight=True) < size_bytes() - 2048


def test_an_operator_that_is_sent_to_the_cpu_shows_in_the_placement(make: Make) -> None:
    facts = make(models.convolution(), op_target={"r": "cpu"}).run("compile")
    assert facts["placement"]["cpu"]["Relu"] == 1
    assert {"name": "r", "type": "Relu"} in facts["on_cpu"]
    assert facts["memory"]["weight"] > 0 and facts["memory"]["internal"] > 0


def test_hybrid_quantization_leaves_the_named_part_in_float(make: Make) -> None:
    conversion = make(models.convolution(), custom_hybrid=[["x", "r"]], **INT8)
    facts = conversion.run("compile")
    assert facts["placement"]["npu"]["exDataConvert"] == 1  # between the float part and the rest
    assert [line.partition("(")[0] for line in facts["commands"] if "hybrid" in line] == [
        "rknn.hybrid_quantization_step1", "rknn.hybrid_quantization_step2"]
    assert least_cosine(conversion) > 0.99


def test_error_analysis_tells_each_layer(make: Make) -> None:
    conversion = make(models.convolution(), error_analysis=True, **INT8)
    layers = conversion.run("compile")["details"]["layers"]
    assert {"Conv", "Relu"} <= {layer["type"] for layer in layers}
    assert all(0.99 < layer["cosine"] <= 1 and layer["euclidean"] >= 0 for layer in layers)
    assert "simulator_error" in (conversion.dir("compile") / "error_analysis.txt").read_text()


def test_preprocessing_is_baked_in(make: Make) -> None:
    raw = {"mean": [127.5, 100.0, 90.0], "std": [50.0, 60.0, 70.0]}
    assert least_cosine(make(models.convolution(), **raw)) > 0.9999


def test_preprocessing_and_quantization_together(make: Make) -> None:
    raw = {"mean": [127.5, 100.0, 90.0], "std": [50.0, 60.0, 70.0]}
    conversion = make(models.convolution(), **raw, precision="int8", calibration_files=pictures(6, *SHAPE, scale=255))
    assert least_cosine(conversion) > 0.99


def test_a_part_of_the_model_is_held_against_the_same_part(make: Make) -> None:
    conversion = make(models.convolution(), outputs=["y", "r"])
    assert [entry["name"] for entry in conversion.run("compile")["outputs"]] == ["y", "r"]
    assert [entry["name"] for entry in conversion.run("verify")["outputs"]] == ["y", "r"]


def test_a_part_from_the_inside_is_calibrated_with_what_the_model_computes_there(make: Make) -> None:
    conversion = make(models.convolution(), inputs=["r"], outputs=["p"], **INT8)
    facts = conversion.run("compile")
    assert facts["inputs"] == [{"name": "r", "dtype": "int8", "shape": [1, 8, 32, 32]}]
    assert [entry["name"] for entry in facts["outputs"]] == ["p"]
    assert least_cosine(conversion) > 0.99


@pytest.mark.parametrize(("operator", "opset", "constants"), [
    ("LayerNormalization", 17, [models.weights("scale", 16)]), ("Gelu", 20, [])])
def test_what_the_tool_stumbles_over_is_written_as_it_reads_it(make: Make, operator: str, opset: int,
                                                               constants: list[onnx.TensorProto]) -> None:
    node = helper.make_node(operator, ["x", *(tensor.name for tensor in constants)], ["y"])
    assert least_cosine(make(models.model([node], [models.value("x", [1, 8, 16])], [models.value("y", [1, 8, 16])],
                                          constants, opset=opset))) > 0.9999


def test_an_input_without_dimensions_is_refused_by_name(make: Make) -> None:
    model = models.model([helper.make_node("Mul", ["x", "gain"], ["y"])],
                         [models.value("x", [1, 4]), models.value("gain", [])], [models.value("y", [1, 4])])
    error = refusal(make(model))
    assert error.code == "unsupported_type" and "gain" in error.en
    assert least_cosine(make(model, fixed_inputs={"gain": 2})) > 0.9999


def test_a_tensor_that_is_not_there_is_named(make: Make) -> None:
    error = refusal(make(models.convolution(), **INT8, custom_hybrid=[["nope", "r"]]))
    assert error.code == "tensor_not_found" and "nope" in error.en


def several_inputs() -> onnx.ModelProto:
    nodes = [helper.make_node("Conv", ["a", "w"], ["c"]), helper.make_node("GlobalAveragePool", ["c"], ["p"]),
             helper.make_node("Flatten", ["p"], ["f"]), helper.make_node("Mul", ["f", "b"], ["y"])]
    return models.model(nodes, [models.value("a", [1, 3, 8, 8]), models.value("b", [1, 4])],
                        [models.value("y", [1, 4])], [models.weights("w", 4, 3, 1, 1)])


def channels_last() -> onnx.ModelProto:
    nodes = [helper.make_node("Transpose", ["x"], ["t"], perm=[0, 3, 1, 2]),
             helper.make_node("Conv", ["t", "w"], ["y"])]
    return models.model(nodes, [models.value("x", [1, 8, 10, 3])], [models.value("y", [1, 4, 8, 10])],
                        [models.weights("w", 4, 3, 1, 1)])


def cast_to_float(dtype: int) -> onnx.ModelProto:
    nodes = [helper.make_node("Cast", ["x"], ["c"], to=TensorProto.FLOAT), helper.make_node("Conv", ["c", "w"], ["y"])]
    return models.model(nodes, [models.value("x", [1, 3, 8, 8], dtype)], [models.value("y", [1, 4, 8, 8])],
                        [models.weights("w", 4, 3, 1, 1)])


KINDS = {
    "batch 4": models.convolution([4, 3, 32, 32]), "two inputs": several_inputs(), "channels last": channels_last(),
    "token ids": models.embedding(), "two equal inputs": models.pair([1, 4], [1, 4]),
    "1-D": models.unary("Relu", (6,), out_shape=(6,)),
    "5-D": models.unary("Relu", (1, 2, 3, 4, 5), out_shape=(1, 2, 3, 4, 5)),
    "double": cast_to_float(TensorProto.DOUBLE), "half": cast_to_float(TensorProto.FLOAT16),
    "int32": cast_to_float(TensorProto.INT32), "bool": cast_to_float(TensorProto.BOOL),
}


@pytest.mark.parametrize("model", KINDS.values(), ids=KINDS)
def test_models_of_many_kinds_are_simulated_in_the_right_layout(make: Make, model: onnx.ModelProto) -> None:
    assert least_cosine(make(model)) > 0.9999


def test_a_batch_and_two_inputs_are_calibrated(make: Make) -> None:
    files = {f"a/{name}": data for name, data in pictures(6, 1, 3, 8, 8).items()}
    files |= {f"b/{index:03d}.npy": npy(np.random.default_rng(index).random((1, 4), np.float32)) for index in range(6)}
    conversion = make(several_inputs(), precision="int8", calibration_files=files, verify={"samples": 1})
    assert [entry["shape"] for entry in conversion.run("compile")["inputs"]] == [[1, 3, 8, 8], [1, 4]]
    assert least_cosine(conversion) > 0.98


# --- what it must not deliver ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("operator", ["Acosh", "Softsign", "Ceil"])
def test_an_operator_that_the_compiler_drops_fails_although_the_tool_returns_success(make: Make, operator: str) -> None:
    conversion = make(convolutions_then(operator))
    error = refusal(conversion)
    assert error.code == "unsupported_operator" and f"{operator} d" in error.en
    assert "rknn building done" in conversion.log("compile")  # the tool's own verdict


def test_a_model_of_nothing_but_such_an_operator_fails_too(make: Make) -> None:
    error = refusal(make(models.unary("Det", (1, 4, 4), out_shape=(1,))))
    assert error.code == "unsupported_operator" and "Det" in error.en


@pytest.mark.parametrize(("model", "operator"), [
    (models.nested(2, flag=[1]), "If"),
    (models.model([helper.make_node("NonZero", ["x"], ["y"])], [models.value("x", [1, 4])],
                  [models.value("y", [2, None], TensorProto.INT64)]), "NonZero"),
    (models.model([helper.make_node("Inverse", ["x"], ["i"], domain="com.microsoft"),
                   helper.make_node("Relu", ["i"], ["y"])], [models.value("x", [1, 4, 4])],
                  [models.value("y", [1, 4, 4])], domains={"com.microsoft": 1}), "com.microsoft.Inverse")])
def test_what_the_tool_stumbles_over_is_named(make: Make, model: onnx.ModelProto, operator: str) -> None:
    error = refusal(make(model))
    assert error.code == "unsupported_operator" and operator in error.en


@pytest.mark.parametrize("dtype", [TensorProto.INT8, TensorProto.UINT8, TensorProto.INT16])
def test_input_types_on_which_the_tool_crashes_are_refused_before_it_starts(make: Make, dtype: int) -> None:
    conversion = make(cast_to_float(dtype))
    assert refusal(conversion).code == "unsupported_type"
    assert "rknn-toolkit2 version" not in conversion.log("compile")


def test_a_tool_that_aborts_fails_the_stage_in_its_own_words(make: Make) -> None:
    """w8a16 with a convolution: version 2.5.0 takes it for this chip, then frees what it does not own."""
    error = refusal(make(models.convolution(), chip="rk3562", quantized_dtype="w8a16", **INT8))
    assert error.code == "compile_failed" and "crashed with SIG" in error.en


def test_channels_last_with_mean_is_refused_since_the_tool_takes_dimension_one_for_channels(make: Make) -> None:
    error = refusal(make(channels_last(), mean=[1.0, 2.0, 3.0]))
    assert error.code == "preprocessing_mismatch" and "[1, 8, 10, 3]" in error.en


def test_an_artefact_that_computes_something_else_fails_with_its_figures(make: Make) -> None:
    other = models.convolution()
    (layer,) = (tensor for tensor in other.graph.initializer if tensor.name == "fc")
    layer.CopyFrom(models.weights("fc", 8, 5, seed=99))
    conversion = make(models.convolution())
    conversion.run("optimize")
    (conversion.dir("optimize") / "model.onnx").write_bytes(other.SerializeToString())
    with pytest.raises(StageError, match="y: cosine") as caught:
        conversion.run("verify")
    assert caught.value.code == "accuracy_too_low"


def test_scores_that_eight_bits_lose_fail_by_their_channels_and_live_behind_the_cut_that_is_named(make: Make) -> None:
    lost = make(models.detector(), **INT8)
    with pytest.raises(StageError, match=r"y: of the 8 slices .* axis 1 of \[1, 8, 256\], 4-7 are dead") as caught:
        lost.run("verify")
    assert caught.value.code == "accuracy_too_low" and 'outputs = ["boxes", "scores"]' in caught.value.hint
    (output,) = lost.facts["compile"]["figures"]["calibrated"]
    assert output["cosine"] > 0.999, "the whole does not show it"
    assert least_cosine(make(models.detector(), outputs=["boxes", "scores"], **INT8)) > 0.99
    assert least_cosine(make(models.detector())) > 0.999


def test_class_ids_are_judged_by_the_share_that_agrees(make: Make) -> None:
    (output,) = make(models.class_map(), **INT8).run("verify")["outputs"]
    assert 0.97 < output["agreement"] < 1 and output["values"] % 1024 == 0 and "slices" not in output


# --- what it leaves --------------------------------------------------------------------------------------------------


def test_nothing_of_the_tools_own_is_part_of_the_result(make: Make) -> None:
    conversion = make(models.convolution())
    conversion.run("compile")
    assert conversion.names("compile") == ["model.rknn"]
    assert list((conversion.folder / "work" / "compile").glob("check*.onnx"))  # it does leave them where it runs


def test_the_result_tells_nothing_of_this_machine(make: Make, tmp_path: Path) -> None:
    facts = json.dumps(make(models.convolution(), **INT8).run("compile"))
    assert str(tmp_path) not in facts and "/tmp" not in facts


def test_without_verify_nothing_is_simulated(make: Make) -> None:
    conversion = make(models.convolution(), verify={"enabled": False})
    assert "rknn.init_runtime()" not in conversion.run("compile")["commands"]
    assert conversion.run("verify") == {"skipped": True}


REPEAT = """
import sys, numpy, os
exec(open("commands.py").read())
from rknn.api import RKNN
for name in sys.argv[1:]:
    numpy.save("again_" + name, rknn.inference(inputs=[numpy.load(name)], data_format=["nchw"])[0])
"""


def test_the_noted_commands_make_an_artefact_that_computes_the_same(make: Make, host: ToolHost, tmp_path: Path) -> None:
    """Not the same bytes: the tool writes addresses and memory that it never set into the file."""
    conversion = make(models.convolution(), **INT8)
    facts = conversion.run("compile")
    work = tmp_path / "by hand"
    work.mkdir()
    (work / "commands.py").write_text("\n".join(facts["commands"]))
    (work / "model.onnx").write_bytes((conversion.dir("optimize") / "model.onnx").read_bytes())
    (work / "dataset.txt").write_text((conversion.folder / "work" / "compile" / "dataset.txt").read_text())
    (work / "calibration").symlink_to(conversion.dir("calibration"))
    samples = [(number, f"{sample['seed']:05d}_0.npy")
               for number, sample in enumerate(conversion.facts["reference"]["samples"])
               if sample["kind"] == "calibration"]
    raw = [name for _, name in samples]
    for name in raw:
        shutil.copyfile(conversion.dir("calibration") / name, work / name)
    done = subprocess.run([host._command[0], "-c", REPEAT, *raw], cwd=work, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-2000:]
    gate = Gate(conversion.facts["reference"]["outputs"])
    with np.load(conversion.dir("reference") / "outputs.npz") as arrays:
        for number, name in samples:
            gate.add("calibration", [arrays[output_name(number, 0)]], [np.load(work / f"again_{name}")])
    assert gate.figures()["calibrated"] == facts["figures"]["calibrated"]
    assert (work / "model.rknn").read_bytes().startswith(b"RKNN")
