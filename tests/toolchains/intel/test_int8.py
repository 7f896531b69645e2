"""INT8 through the real NNCF, in the toolchain's own host: what is quantized, what stays, and what it costs."""
from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from tests import models
from tests.fixtures.calibration import npy, pictures
from tests.fixtures.stages import real_model
from tests.fixtures.toolhosts import HostedConversion, tool_host
from worker.plan import get_plans
from worker.platforms.intel.toolkit import ov
from worker.process import ConversionFailed, ToolHost, clean_environment
from worker.toolchains import ROOT

SHAPE = (1, 3, 32, 32)
CLS, DET = (1, 3, 48, 192), (1, 3, 320, 320)


@pytest.fixture(scope="module")
def host() -> Iterator[ToolHost]:
    with tool_host("intel") as host:
        yield host


@pytest.fixture
def convert(host, tmp_path):
    """`convert(model, files, **parameters)`: an INT8 conversion; a name is one of the real networks."""
    made = []

    def make(model: Any = None, files: dict[str, bytes] | None = None, **parameters: Any) -> HostedConversion:
        if isinstance(model, str):
            model = real_model(model)
        made.append(None)
        return HostedConversion(host, "intel", tmp_path / str(len(made)), model or models.convolution(),
                                  calibration_files=pictures(10, *SHAPE) if files is None else files,
                                  **{"precision": "int8", **parameters})
    return make


def refusal(conversion: HostedConversion, stage: str) -> ConversionFailed:
    with pytest.raises(ConversionFailed) as caught:
        conversion.run(stage)
    assert caught.value.hint
    return caught.value


def operators(conversion: HostedConversion) -> dict[str, dict[str, int]]:
    return conversion.run("quantize")["details"]["operators"]


def written(conversion: HostedConversion, stage: str = "quantize") -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in conversion.dir(stage).iterdir()}


def constant_types(path: Path) -> set[str]:
    """The element types of an IR's constants of more than one element."""
    return {node.get_element_type().get_type_name() for node in ov.Core().read_model(path).get_ops()
            if node.get_type_name() == "Constant" and np.prod(node.shape) > 100}


def test_weights_are_stored_as_integers_and_what_computes_in_int8_is_counted(convert):
    conversion = convert()
    facts = conversion.run("verify")
    assert facts["passed"] is True and facts["outputs"][0]["cosine"] > 0.99
    assert constant_types(conversion.dir("compile") / "model.xml") == {"i8"}
    details = conversion.facts["quantize"]["details"]
    assert details["operators"]["int8"].items() >= {"Convolution": 1, "MatMul": 1}.items()
    assert details["operators"]["float"] == {} and details["in_floating_point"] == []
    assert conversion.facts["compile"]["precision"] == "int8"


def test_scores_beside_pixel_coordinates_live_in_one_output(convert):
    facts = convert(models.detector()).run("verify")
    (output,) = facts["outputs"]
    assert facts["passed"] and output["slices"]["dead"] == output["slices"]["wrong"] == []
    assert output["slices"]["axis"] == 1 and output["slices"]["small"] == [4, 5, 6, 7]
    assert max(output["slices"]["error"]) < 0.2


def test_class_ids_are_judged_by_the_share_that_agrees(convert):
    (output,) = convert(models.class_map()).run("verify")["outputs"]
    assert 0.97 < output["agreement"] < 1 and output["values"] % 1024 == 0 and "slices" not in output


@pytest.mark.parametrize(("choice", "kept_as"), [(None, "f16"), (True, "f16"), (False, "f32")])
def test_what_stays_in_floating_point_is_compressed_unless_it_is_not_wanted(convert, choice, kept_as):
    conversion = convert(compress_to_fp16=choice, quantization={"ignored_scope": {"types": ["Convolution"]}})
    conversion.run("compile")
    assert constant_types(conversion.dir("compile") / "model.xml") >= {kept_as}
    assert operators(convert(quantization={"ignored_scope": {"types": ["Convolution"]}}))["float"] == {"Convolution": 1}


@pytest.mark.parametrize("scope", [{"patterns": ["p2o.Conv.*"]}, {"names": ["p2o.Conv.0"]}])
def test_operators_stay_in_floating_point_by_name(convert, scope):
    """OpenVINO gives the name of the ONNX node to the addition of the bias; the convolution has to stay as well."""
    conversion = convert("det", pictures(2, *DET), input_shape=list(DET), verify={"enabled": False},
                         quantization={"ignored_scope": scope, "subset_size": 1})
    details = conversion.run("quantize")["details"]
    floating = {name for name in details["in_floating_point"] if name.startswith("p2o.Conv")}
    assert "p2o.Conv.0/WithoutBiases" in floating
    assert len(floating) == 1 if "names" in scope else len(floating) > 30


def test_a_scope_that_nothing_matches_is_refused_with_its_words(convert):
    error = refusal(convert(quantization={"ignored_scope": {"types": ["Convolutoin"]}}), "quantize")
    assert error.code == "tensor_not_found" and "Convolutoin" in str(error)


TOLD = {
    ("preset", "performance"): ("preset", "performance"),
    ("subset_size", 7): ("subset_size", "7"),
    ("fast_bias_correction", False): ("fast_bias_correction", "False"),
    ("model_type", "transformer"): ("model_type", "transformer"),
    ("overflow_fix", "disable"): ("advanced_parameters", "'overflow_fix': 'disable'"),
    ("activations_range_estimator", "mean_quantile"): ("advanced_parameters", "'statistics_type': 'quantile'"),
}


@pytest.mark.parametrize(("option", "recorded"), TOLD.items(), ids=lambda value: value[0])
def test_an_option_reaches_the_quantizer_as_its_own_record_shows(convert, option, recorded):
    conversion = convert(quantization=dict([option]))
    conversion.run("quantize")
    model = ov.Core().read_model(conversion.dir("quantize") / "quantized.xml")
    noted = model.get_rt_info(["nncf", "quantization", recorded[0]]).astype(str)
    default = convert()
    default.run("quantize")
    assert recorded[1] in noted
    assert recorded[1] not in ov.Core().read_model(default.dir("quantize") / "quantized.xml").get_rt_info(
        ["nncf", "quantization", recorded[0]]).astype(str)


def test_the_strength_of_smoothing_changes_a_transformers_weights(convert):
    results = [convert(quantization={"model_type": "transformer", **more}) for more in (
        {}, {"smooth_quant_alpha": 0.95}, {"smooth_quant_alpha": 0.2})]
    for conversion in results:
        conversion.run("quantize")
    default, same, other = (written(conversion)["quantized.bin"] for conversion in results)
    assert default == same != other


def test_the_quantizer_gets_what_the_model_gets(convert):
    """Raw values are a hundred times greater than the model's: calibrated with those it would answer nonsense."""
    baked = {"mean": [120.0, 128.0, 136.0], "std": [50.0, 60.0, 70.0]}
    conversion = convert(files=pictures(10, *SHAPE, scale=255), layout="nhwc", input_type="u8", **baked)
    assert conversion.run("verify")["outputs"][0]["cosine"] > 0.99
    assert conversion.facts["compile"]["inputs"] == [{"name": "x", "dtype": "u8", "shape": [1, 32, 32, 3]}]
    plain = convert(files=pictures(10, *SHAPE, scale=255), **baked)
    plain.run("quantize")
    assert written(plain) == written(conversion), "a layout is no reason to quantize again"


def test_samples_that_are_held_out_do_not_reach_the_quantizer(convert):
    files = pictures(12, *SHAPE)
    first = convert(files=files)
    held_out = first.run("calibration")["verify"]
    assert held_out and set(held_out).isdisjoint(first.facts["calibration"]["quantize"])
    strange = {f"{index:03d}.npy": npy(np.full(SHAPE, 9.0, np.float32)) for index in held_out}
    second = convert(files=files | strange)
    for conversion in (first, second):
        conversion.run("quantize")
    assert written(first) == written(second)


def test_the_same_model_and_set_give_the_same_bytes_that_say_nothing_of_this_machine(convert):
    first, second = convert("cls", pictures(6, *CLS), input_shape=list(CLS)), convert(
        "cls", pictures(6, *CLS), input_shape=list(CLS))
    for conversion in (first, second):
        conversion.run("compile")
    for stage in ("quantize", "compile"):
        assert first.facts[stage] == second.facts[stage] and written(first, stage) == written(second, stage)
    assert str(first.folder.parent).encode() not in written(first, "compile")["model.xml"]


def test_accuracy_control_gives_operators_back_until_the_gates_own_figure_has_dropped_little(convert):
    conversion = convert(models.uneven(), quantization={"accuracy_control": {"max_drop": 0.002}})
    cosine = conversion.run("verify")["outputs"][0]["cosine"]
    before, = re.findall(r"Metric of quantized model: (\S+)", conversion.log("quantize"))
    drop, = re.findall(r"achieved required accuracy drop (\S+)", conversion.log("quantize"))
    assert float(before) < 0.99 < 0.998 < cosine
    assert cosine == pytest.approx(1 - float(drop), abs=1e-5)
    details = conversion.facts["quantize"]["details"]
    assert details["in_floating_point"] == ["conv3"] and details["operators"]["int8"] == {"Convolution": 4}


def test_accuracy_control_may_be_limited_to_so_many_operators(convert):
    conversion = convert(quantization={"accuracy_control": {"max_drop": 1e-6, "max_num_iterations": 1}})
    conversion.run("quantize")
    assert conversion.log("quantize").count("operations to the floating-point precision") == 1
    assert "max_num_iterations=1" in conversion.facts["quantize"]["commands"][-2]


def test_a_model_in_which_nothing_can_be_quantized_is_told_as_such(convert):
    conversion = convert(models.unary("Relu"), {f"{n}.npy": npy(np.full((1, 4), n, np.float32)) for n in range(2)})
    assert conversion.run("verify")["passed"] is True
    assert "nothing in the model can be quantized" in conversion.facts["quantize"]["warnings"][0]


def test_operators_of_several_outputs_are_counted_as_any_other(convert):
    generator = np.random.default_rng(5)
    files = {f"{n:02d}.npy": npy(generator.random((5, 1, 8), np.float32)) for n in range(12)}
    conversion = convert(models.recurrent(), files)
    assert conversion.run("verify")["passed"] is True
    assert conversion.facts["quantize"]["details"]["operators"] == {
        "int8": {"GRUSequence": 1, "LSTMSequence": 1, "MatMul": 1}, "float": {}}


def test_operators_within_branches_are_converted_and_what_nncf_refuses_of_them_is_told(convert):
    files = {"x/a.npy": npy(np.ones(1, np.float32)), "flag/a.npy": npy(np.array(True))}
    assert convert(models.nested(1), files).run("verify")["passed"] is True
    error = refusal(convert(models.nested(1), files, quantization={"fast_bias_correction": False}), "quantize")
    assert error.code == "compile_failed" and "If operation" in str(error)


def test_an_operator_that_openvino_lacks_is_named_before_anything_is_calibrated(convert):
    nodes = [helper.make_node("Det", ["x"], ["d"]), helper.make_node("Relu", ["d"], ["y"])]
    model = models.model(nodes, [models.value("x", [4, 4])], [models.value("y", [])])
    error = refusal(convert(model, {"a.npy": npy(np.eye(4, dtype=np.float32))}), "quantize")
    assert (error.code, str(error)) == ("unsupported_operator", "OpenVINO has no conversion for: Det")


def test_pictures_of_another_kind_than_the_set_fail_no_good_artefact(convert):
    """A set of mean 0 and spread 1: pictures stretched to its -4.5 to 4.5 saturate what its own samples never reach."""
    files = {f"{seed}.npy": npy(np.random.default_rng(seed).standard_normal(SHAPE, np.float32)) for seed in range(8)}
    facts = convert(models.colour_differences(), files).run("verify")
    assert facts["passed"] and facts["outputs"][0]["cosine"] > 0.99


COLLAPSES = {
    "absurd mean": (pictures(10, *DET, scale=255), {"mean": [1e6] * 3}),
    "absurd std": (pictures(10, *DET, scale=255), {"std": [1e-4] * 3}),
}


@pytest.mark.parametrize("case", COLLAPSES)
def test_a_collapse_fails_with_its_figures_and_a_client_may_take_it(convert, case):
    files, baked = COLLAPSES[case]
    conversion = convert("det", files, input_shape=list(DET), **baked)
    error = refusal(conversion, "verify")
    assert error.code == "accuracy_too_low" and "sigmoid_0.tmp_0: cosine 0." in str(error)
    conversion.parameters["accept_accuracy"] = True
    conversion.folder.joinpath("work", "verify").rename(conversion.folder / "work" / "refused")
    conversion.dir("verify").rmdir()
    facts = conversion.run("verify")
    assert (facts["passed"], facts["accepted"]) == (False, True) and facts["outputs"][0]["cosine"] < 0.8


def by_hand(host: ToolHost, folder: Path, commands: list[str]) -> None:
    """Run a stage's commands in the toolchain's interpreter, as a user with its report would."""
    script = "\n".join(["import numpy, openvino, nncf", *commands])
    done = subprocess.run([host._command[0], "-c", script], cwd=folder, check=False, capture_output=True, text=True,
                          timeout=240, env={**clean_environment(()), "HOME": str(folder)})
    assert done.returncode == 0, done.stderr


def test_the_commands_that_are_told_make_the_same_artefact_by_hand(convert, host, tmp_path):
    conversion = convert(files=pictures(10, *SHAPE, scale=255), mean=[120.0, 128.0, 136.0], std=[50.0, 60.0, 70.0],
                         layout="nhwc", input_type="u8", reverse_channels=True, quantization={
                             "overflow_fix": "disable", "ignored_scope": {"types": ["MatMul"]}})
    conversion.run("compile")
    folder = tmp_path / "by hand"
    folder.mkdir()
    for stage in ("optimize", "calibration"):
        for name, data in written(conversion, stage).items():
            (folder / name).write_bytes(data)
    for stage in ("quantize", "compile"):
        by_hand(host, folder, conversion.facts[stage]["commands"])
        for name, data in written(conversion, stage).items():
            assert (folder / name).read_bytes() == data, name


WATCHED = """
import json, os, sys
events = []
sys.addaudithook(lambda event, args: events.append(event) if event in (
    "socket.connect", "socket.getaddrinfo", "os.fork", "subprocess.Popen") else None)
sys.path.insert(0, sys.argv[1])
import worker.platforms.intel.preload
threads = len(os.listdir("/proc/self/task"))
from worker.platforms.intel.toolkit import load_nncf, ov
import numpy
nncf = load_nncf()
model = nncf.quantize(ov.convert_model(sys.argv[2]), nncf.Dataset([numpy.ones((1, 3, 32, 32), numpy.float32)] * 2))
ov.save_model(model, sys.argv[3])
print(json.dumps([threads, events]), file=sys.stderr)
"""


def test_the_toolchain_calls_nobody_writes_nothing_home_and_starts_no_thread_before_it_forks(host, tmp_path):
    home, model = tmp_path / "home", tmp_path / "model.onnx"
    home.mkdir()
    onnx.save(models.convolution(), model)
    done = subprocess.run([host._command[0], "-I", "-c", WATCHED, ROOT, model, tmp_path / "out.xml"], timeout=240,
                          env={**clean_environment(()), "HOME": str(home)}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stderr.splitlines()[-1]) == [1, []]
    assert (tmp_path / "out.xml").exists() and list(home.rglob("*")) == []
    assert "worker.platforms.intel.preload" in get_plans()["intel"].environment.preload
