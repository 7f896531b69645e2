"""compile and verify for Cambricon against the stand-in for MagicMind: every way to succeed, every way to fail."""
from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from tests import models
from tests.fixtures.stages import Conversion
from tests.standins.magicmind_interpreter import STANDINS
from worker.platforms.cambricon import calibrate, config, device
from worker.platforms.cambricon.tool import LOG
from worker.platforms.cambricon.verify import _cast
from worker.stage_api import StageError

NORMALISED = {"mean": [127.5, 127.5, 127.5], "std": [63.0, 63.0, 63.0]}


@pytest.fixture(autouse=True)
def stage_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a stage's process is: MagicMind can be imported, and it has a directory of its own."""
    monkeypatch.syspath_prepend(str(STANDINS))
    monkeypatch.chdir(tmp_path)
    for name in ("STANDIN_MAGICMIND", "STANDIN_MLU_DEVICES", device.MLU, calibrate.REMOTE, config.CROSS_COMPILER):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def mlu(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine has an MLU370."""
    monkeypatch.setenv("STANDIN_MLU_DEVICES", "1")
    monkeypatch.setenv(device.MLU, "MLU370")


@contextmanager
def printing_to_the_log() -> Iterator[None]:
    """As the toolhost does for a stage; pytest has taken the descriptor for itself."""
    kept, log = os.dup(2), os.open(LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(log)


class LoggedConversion(Conversion):
    def run(self, stage: str) -> dict[str, Any]:
        with printing_to_the_log():
            return super().run(stage)


def convert(folder: Path, model: onnx.ModelProto | None = None, **options: Any) -> Conversion:
    return LoggedConversion(folder, model or models.convolution(), platform="cambricon", **options)


def calibration_set(count: int = 12, low: float = 0.0, high: float = 1.0) -> dict[str, bytes]:
    """Samples like those that verify makes, and so that one of 12 in 4 is held out."""
    files = {}
    for number in range(count):
        values = np.random.default_rng(number).uniform(low, high, (1, 3, 32, 32)).astype(np.float32)
        buffer = io.BytesIO()
        np.save(buffer, values)
        files[f"{number:03d}.npy"] = buffer.getvalue()
    return files


def refusal(conversion: Conversion, stage: str) -> StageError:
    with pytest.raises(StageError) as caught:
        conversion.run(stage)
    assert caught.value.hint
    return caught.value


def settings(conversion: Conversion) -> dict[str, Any]:
    """The BuilderConfig that the stand-in built with."""
    return json.loads((conversion.dir("compile") / "model.mm").read_bytes().split(b"\n")[1])["settings"]


# --- success ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("precision", "mode"), [("fp32", "force_float32"), ("fp16", "force_float16")])
def test_without_a_card_a_model_is_compiled_and_not_compared(tmp_path: Path, precision: str, mode: str) -> None:
    conversion = convert(tmp_path, precision=precision)
    facts = conversion.run("verify")
    assert facts["skipped"] is True and "no MLU" in facts["reason"]
    compiled = conversion.facts["compile"]
    assert (conversion.names("compile"), compiled["details"]["precision_mode"]) == (["model.mm"], mode)
    assert compiled["inputs"] == [{"name": "x", "dtype": "float32", "shape": [1, 3, 32, 32]}]
    assert compiled["outputs"] == [{"name": "y", "dtype": "float32", "shape": [1, 5]}]
    assert settings(conversion) == {
        "archs": ["mtp_372"], "precision_config": {"precision_mode": mode}, "graph_shape_mutable": False,
        "opt_config": {"type64to32_conversion": True, "conv_scale_fold": False}}


def test_the_commands_are_the_calls_somebody_would_make_by_hand(tmp_path: Path) -> None:
    conversion = convert(tmp_path)
    commands = conversion.run("compile")["commands"]
    calls = [command.rpartition(" = ")[2].partition("(")[0] for command in commands]
    assert calls[:4] == ["mm.Network", "Parser", "parser.parse", "network.get_input"]
    assert calls[-3:] == ["mm.Builder", "builder.build_model", "model.serialize_to_file"]
    assert str(tmp_path) not in json.dumps(commands)
    import magicmind.python.runtime as mm
    from magicmind.python.runtime.parser import Parser
    names: dict[str, Any] = {"mm": mm, "Parser": Parser}
    os.chdir(conversion.dir("optimize"))
    exec("\n".join(commands), names)
    assert (Path.cwd() / "model.mm").read_bytes() == (conversion.dir("compile") / "model.mm").read_bytes()


@pytest.mark.usefixtures("mlu")
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("model", [models.convolution(), models.pair([1, 4], [1, 4]), models.embedding()],
                         ids=["convolution", "two inputs", "64-bit token ids"])
def test_with_a_card_the_artefact_is_run_and_compared(tmp_path: Path, model: onnx.ModelProto, precision: str) -> None:
    facts = convert(tmp_path, model, precision=precision).run("verify")
    assert facts["passed"] is True and facts["samples"] >= 4
    assert all(entry["cosine"] > 0.9999 for entry in facts["outputs"])


@pytest.mark.usefixtures("mlu")
@pytest.mark.parametrize(("parameters", "mode", "algorithm"), [
    ({"precision": "int8"}, "qint8_mixed_float16", "LINEAR"),
    ({"precision": "int16", "mixed_float": "float32", "quantization_algorithm": "eqnm",
      "weight_quant_granularity": "per_axis"}, "qint16_mixed_float32", "EQNM"),
])
def test_quantized_precisions_are_calibrated_on_the_card_with_the_samples_not_held_out(
        tmp_path: Path, parameters: dict[str, Any], mode: str, algorithm: str) -> None:
    conversion = convert(tmp_path, calibration_files=calibration_set(), **parameters)
    facts = conversion.run("verify")
    assert facts["passed"] is True
    built = settings(conversion)["precision_config"]
    assert built == {"precision_mode": mode, "activation_quant_algo": "symmetric",
                     "weight_quant_granularity": parameters.get("weight_quant_granularity", "per_tensor")}
    assert conversion.facts["compile"]["details"]["calibration_samples"] == 9
    assert any(f"QuantizationAlgorithm.{algorithm}" in call for call in conversion.facts["compile"]["commands"])


@pytest.mark.usefixtures("mlu")
def test_normalisation_is_baked_in_and_the_inputs_are_then_bytes(tmp_path: Path) -> None:
    conversion = convert(tmp_path, **NORMALISED)
    facts = conversion.run("verify")
    compiled = conversion.facts["compile"]
    assert compiled["inputs"][0]["dtype"] == "uint8" and "uint8" in compiled["warnings"][0]
    assert settings(conversion)["insert_bn_before_firstnode"] == {"0": {"mean": [127.5] * 3, "var": [3969.0] * 3}}
    assert facts["passed"] is True


def test_values_become_bytes_by_rounding_and_never_wrap_around() -> None:
    assert _cast(np.array([-3.0, 0.4, 254.6, 300.0], np.float32), "uint8").tolist() == [0, 0, 255, 255]
    assert _cast(np.array([2**31, -1.5], np.float32), "int32").tolist() == [2**31 - 1, -2]


@pytest.mark.usefixtures("mlu")
def test_a_calibration_sees_what_the_model_sees_and_not_the_raw_bytes(tmp_path: Path) -> None:
    conversion = convert(tmp_path, precision="int8", calibration_files=calibration_set(low=0, high=255), **NORMALISED)
    assert conversion.run("verify")["passed"] is True
    about = json.loads((conversion.dir("compile") / "model.mm").read_bytes().split(b"\n")[1])
    assert about["ranges"][0] == pytest.approx([-127.5 / 63, 127.5 / 63], abs=0.05)


@pytest.mark.usefixtures("mlu")
def test_the_layout_of_images_is_turned_and_verify_turns_back(tmp_path: Path) -> None:
    model = models.model([helper.make_node("Conv", ["x", "w"], ["y"], pads=[1, 1, 1, 1])],
                         [models.value("x", [1, 3, 8, 8])], [models.value("y", [1, 4, 8, 8])],
                         [models.weights("w", 4, 3, 3, 3)])
    conversion = convert(tmp_path, model, layout="nhwc", output_layout="nhwc")
    assert conversion.run("verify")["passed"] is True
    compiled = conversion.facts["compile"]
    assert [compiled[kind][0]["shape"] for kind in ("inputs", "outputs")] == [[1, 8, 8, 3], [1, 8, 8, 4]]


@pytest.mark.usefixtures("mlu")
def test_a_dynamic_artefact_is_made_of_the_model_as_it_was_sent(tmp_path: Path) -> None:
    dim_range = {"x": {"min": [1, 3, 32, 32], "max": [8, 3, 32, 32]}}
    conversion = convert(tmp_path, models.convolution(("n", 3, 32, 32)), input_shape=[2, 3, 32, 32],
                         dim_range=dim_range)
    assert conversion.run("verify")["passed"] is True
    assert conversion.facts["compile"]["inputs"][0]["shape"] == [None, 3, 32, 32]
    built = settings(conversion)
    assert built["graph_shape_mutable"] is True and built["dim_range"] == {"0": dim_range["x"]}
    assert b"BatchNormalization" in (conversion.dir("compile") / "model.mm").read_bytes()  # optimize folds it


def test_every_option_reaches_the_builder(tmp_path: Path) -> None:
    conversion = convert(tmp_path, chip="mtp_592", cluster_num=[2, 6, 8], computation_preference="high_precision",
                         conv_scale_fold=True, type64to32_conversion=False,
                         builder_config={"compute_determinism": True, "debug_config": {"fusion_enable": False}})
    conversion.run("compile")
    built = settings(conversion)
    assert built["archs"] == [{"mtp_592": [2, 6, 8]}]
    assert built["computation_preference"] == "high_precision" and built["compute_determinism"] is True
    assert built["opt_config"] == {"conv_scale_fold": True, "type64to32_conversion": False}
    assert built["debug_config"] == {"fusion_enable": False}


def test_an_edge_chip_is_linked_with_the_workers_cross_toolchain(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "gcc-linaro"
    folder.mkdir()
    monkeypatch.setenv(config.CROSS_COMPILER, str(folder))
    conversion = convert(tmp_path, chip="tp_322")
    assert "edge device" in conversion.run("verify")["reason"]
    assert settings(conversion)["cross_compile_toolchain_path"] == str(folder)
    assert str(tmp_path) not in json.dumps(conversion.facts["compile"])


# --- the device ---------------------------------------------------------------------------------------------------


def test_a_quantized_precision_without_a_card_says_what_it_needs(tmp_path: Path) -> None:
    error = refusal(convert(tmp_path, precision="int8", calibration_files=calibration_set()), "compile")
    assert error.code == "calibration_needs_device" and calibrate.REMOTE in error.hint


def test_it_may_be_calibrated_on_a_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(calibrate.REMOTE, "mlu-server:9009")
    conversion = convert(tmp_path, precision="int8", calibration_files=calibration_set())
    assert conversion.run("compile")["details"]["calibration_samples"] == 9
    assert "mlu-server" not in json.dumps(conversion.facts["compile"])


def test_a_server_that_does_not_answer_fails_with_magicminds_words(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(calibrate.REMOTE, "nowhere:9009")
    error = refusal(convert(tmp_path, precision="int8", calibration_files=calibration_set()), "compile")
    assert (error.code, error.vendor_code) == ("compile_failed", "Unavailable")
    assert "failed to connect" in error.message


@pytest.mark.usefixtures("mlu")
@pytest.mark.parametrize(("how", "word"), [("gone", "none any more"), ("dead-device", "cnrtSetDevice failed")])
def test_a_card_that_was_lost_is_the_machines_fault_and_nothing_is_left_out_for_it(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str, word: str) -> None:
    monkeypatch.setenv("STANDIN_MLU_DEVICES", "0" if how == "gone" else "1")
    monkeypatch.setenv("STANDIN_MAGICMIND", how)
    error = refusal(convert(tmp_path), "verify")
    assert error.code == "toolchain_broken" and word in error.message


@pytest.mark.usefixtures("mlu")
def test_another_card_than_the_artefacts_compares_nothing_and_says_why(tmp_path: Path) -> None:
    assert "run on an MLU590, and the worker has an MLU370" in convert(tmp_path, chip="mtp_592").run("verify")["reason"]


@pytest.mark.usefixtures("mlu")
def test_a_card_without_a_name_is_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(device.MLU, device.UNKNOWN)
    assert convert(tmp_path, chip="mtp_592").run("verify")["passed"] is True


@pytest.mark.usefixtures("mlu")
def test_no_verification_is_asked_for_and_none_is_made(tmp_path: Path) -> None:
    assert convert(tmp_path, verify={"enabled": False}).run("verify") == {"skipped": True}


# --- failures -----------------------------------------------------------------------------------------------------


def test_an_operator_that_the_parser_lacks_is_named(tmp_path: Path) -> None:
    nodes = [helper.make_node("Det", ["x"], ["d"]), helper.make_node("Relu", ["d"], ["y"])]
    model = models.model(nodes, [models.value("x", [4, 4])], [models.value("y", [])])
    error = refusal(convert(tmp_path, model), "compile")
    assert error.code == "unsupported_operator" and error.message.endswith("it refuses: Det")
    assert error.vendor_code == "Unimplemented"


def test_an_operator_in_the_form_of_a_newer_opset_is_named_with_the_way_out(tmp_path: Path) -> None:
    nodes = [helper.make_node("Relu", ["x"], ["r"]), helper.make_node("ReduceSum", ["r", "axes"], ["y"])]
    model = models.model(nodes, [models.value("x", [1, 4])], [models.value("y", [1, 1])],
                         [models.constant("axes", [1])])
    error = refusal(convert(tmp_path, model), "compile")
    assert error.code == "unsupported_operator" and "ReduceSum (requires a single operand)" in error.message
    assert "opset_version=11" in error.hint


def test_what_the_parser_cannot_read_fails_with_its_words_and_no_paths(tmp_path: Path) -> None:
    conversion = convert(tmp_path)
    conversion.run("optimize")
    (conversion.dir("optimize") / "model.onnx").write_bytes(b"not ONNX")
    error = refusal(conversion, "compile")
    assert error.code == "compile_failed" and "cannot read model.onnx" in error.message
    assert str(tmp_path) not in error.message


@pytest.mark.parametrize(("what", "code", "word"), [
    ("no-model", "unsupported_operator", "it refuses: Conv"),
    ("no-file", "compile_failed", "wrote no file"),
    ("empty-file", "compile_failed", "wrote no file"),
    ("unreadable", "compile_failed", "cannot read the artefact again"),
    ("lost-output", "compile_failed", "0 outputs, the model 1"),
    ("stays-dynamic", "dynamic_shape", "although shapes were fixed: x"),
])
def test_a_build_that_fails_or_only_says_that_it_succeeded(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str, code: str, word: str) -> None:
    monkeypatch.setenv("STANDIN_MAGICMIND", what)
    error = refusal(convert(tmp_path), "compile")
    assert error.code == code and word in error.message
    assert str(tmp_path) not in error.message


def test_memory_that_ran_out_is_no_verdict_on_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STANDIN_MAGICMIND", "out-of-memory")
    with pytest.raises(MemoryError):
        convert(tmp_path).run("compile")


def test_an_option_that_the_installed_release_lacks_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STANDIN_MAGICMIND", "old-release")
    convert(tmp_path / "default").run("compile")  # what nobody asked for is not sent
    error = refusal(convert(tmp_path / "asked", computation_preference="fast"), "compile")
    assert error.code == "option_refused" and "parameters.computation_preference" in error.hint


@pytest.mark.usefixtures("mlu")
def test_a_calibration_that_read_nothing_is_no_success(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STANDIN_MAGICMIND", "no-samples")
    error = refusal(convert(tmp_path, precision="int8", calibration_files=calibration_set()), "compile")
    assert error.code == "compile_failed" and "no calibration sample" in error.message


@pytest.mark.parametrize(("parameters", "code", "word"), [
    ({"chip": "tp_322"}, "toolchain_broken", "cross toolchain"),
    ({"dim_range": {"z": {"min": [1], "max": [2]}}}, "input_shape_mismatch", "no input 'z'"),
    ({"dim_range": {"x": {"min": [1], "max": [2]}}}, "input_shape_mismatch", "1 dimensions"),
    ({"dim_range": {"": {"min": [2, 3, 32, 32], "max": [4, 3, 32, 32]}}}, "input_shape_mismatch", "outside"),
    ({"output_layout": "nhwc"}, "layout_mismatch", "nothing here is NCHW"),
    ({"type64to32_conversion": False}, "compile_failed", "type64to32_conversion"),
])
def test_what_does_not_fit_the_model_is_told(
        tmp_path: Path, parameters: dict[str, Any], code: str, word: str) -> None:
    wide = "type64to32_conversion" in parameters
    error = refusal(convert(tmp_path, models.embedding() if wide else None, **parameters), "compile")
    assert error.code == code and word in error.message


def test_a_channels_last_input_is_not_turned_a_second_time(tmp_path: Path) -> None:
    model = models.unary("Relu", (1, 8, 8, 3), out_shape=(1, 8, 8, 3))
    assert refusal(convert(tmp_path, model, layout="nhwc"), "compile").code == "layout_mismatch"


# --- accuracy -----------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("mlu")
def test_an_artefact_that_computes_something_else_fails_with_its_figures(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STANDIN_MAGICMIND", "wrong-weights")
    error = refusal(convert(tmp_path / "refused"), "verify")
    assert error.code == "accuracy_too_low" and "y: cosine" in error.message
    facts = convert(tmp_path / "accepted", accept_accuracy=True).run("verify")
    assert (facts["passed"], facts["accepted"]) == (False, True)


@pytest.mark.usefixtures("mlu")
def test_a_calibration_on_nonsense_does_not_pass(tmp_path: Path) -> None:
    edges = models.weights("w", 4, 3, 3, 3)
    values = onnx.numpy_helper.to_array(edges)  # a filter of edges answers nothing where all inputs are cut off alike
    edges.CopyFrom(onnx.numpy_helper.from_array(values - values.mean(axis=(1, 2, 3), keepdims=True), "w"))
    model = models.model([helper.make_node("Conv", ["x", "w"], ["y"])], [models.value("x", [1, 3, 32, 32])],
                         [models.value("y", [1, 4, 30, 30])], [edges])
    conversion = convert(tmp_path, model, precision="int8", calibration_files=calibration_set(1, 1e-3, 1e-3),
                         accept_accuracy=True)  # without that the set is refused
    assert conversion.run("verify")["passed"] is False


@pytest.mark.usefixtures("mlu")
def test_an_artefact_that_does_not_load_or_run_fails_as_such(tmp_path: Path) -> None:
    conversion = convert(tmp_path)
    conversion.run("compile")
    path = conversion.dir("compile") / "model.mm"
    whole = path.read_bytes()
    path.write_bytes(b"nothing")
    assert refusal(conversion, "verify").code == "verify_failed"
    path.write_bytes(whole.replace(b'"shape": [1, 3, 32, 32]', b'"shape": [1, 3, 16, 16]'))
    os.rename(conversion.dir("verify"), tmp_path / "first")
    error = refusal(conversion, "verify")
    assert error.code == "verify_failed" and "shape [1, 3, 32, 32]" in error.message
