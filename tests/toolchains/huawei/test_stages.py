"""precheck, compile and describe against a stand-in atc: the command line, the artefact, and how they fail."""
from __future__ import annotations

import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import onnx
import psutil
import pytest
from onnx import helper

from shared.errors import ConversionFailed
from tests import awkward, models
from tests.integration.worker_kit import alive, wait_until
from tests.standins.atc import commands, install, tell
from tests.standins.atc.stages import LIMITS, AtcStages, start_host
from worker.control import Wanted
from worker.process import ToolHost
from worker.watch import Interrupted

Make = Callable[..., AtcStages]


@pytest.fixture
def toolkit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    installed = install(tmp_path / "Ascend")
    monkeypatch.setenv("ASCEND_HOME", str(installed))
    return installed


@pytest.fixture
def host(toolkit: Path) -> Iterator[ToolHost]:
    host = start_host()
    yield host
    host.close()


@pytest.fixture
def make(tmp_path: Path, host: ToolHost) -> Make:
    numbers = count()

    def make(model: Any = None, **parameters: Any) -> AtcStages:
        return AtcStages(tmp_path / f"task-{next(numbers)}", host, model or models.convolution(), **parameters)
    return make


def refusal(stages: AtcStages, stage: str) -> ConversionFailed:
    with pytest.raises(ConversionFailed) as caught:
        stages.run(stage)
    return caught.value


def options(toolkit: Path, mode: int) -> dict[str, str]:
    (found,) = (dict(option[2:].split("=", 1) for option in line) for line in commands(toolkit)
                if f"--mode={mode}" in line)
    return found


def test_a_model_becomes_an_om_that_atc_can_read_back(make: Make, toolkit: Path) -> None:
    stages = make(soc_version="Ascend310P3")
    described = stages.run("describe")
    facts = stages.facts["compile"]
    assert (stages.dir("compile") / "model.om").read_bytes().startswith(b"IMOD")
    assert facts["precision"] == "allow_fp32_to_fp16"
    assert facts["inputs"] == [{"name": "x", "dtype": "float", "shape": [1, 3, 32, 32]}]
    assert facts["outputs"] == [{"name": "y", "dtype": "float", "shape": [1, 5]}]
    assert described["memory"]["weight_size"] == 5170176 and described["memory"]["memory_size"] == 24123392
    assert described["details"] == {"atc_version": "7.3.0.1.231", "soc_version": "Ascend310P3",
                                    "framework_type": "Onnx", "stream_num": "1", "event_num": "0"}
    assert "no simulator" in described["warnings"][0]
    assert stages.facts["precheck"]["checked"]["Conv (opset 13)"] == 1


def test_the_command_line_is_the_one_an_expert_would_type(make: Make, toolkit: Path) -> None:
    stages = make(soc_version="Ascend310P3", input_shape="1,3,32,32",
                  extra_params={"output_type": "FP16", "enable_small_channel": 1})
    assert stages.run("compile")["commands"] == [
        "atc --mode=0 --framework=5 --model=optimize/model.onnx --input_shape=x:1,3,32,32 --output=model "
        "--soc_version=Ascend310P3 --precision_mode=allow_fp32_to_fp16 --enable_small_channel=1 --output_type=FP16 "
        "--log=error"]
    assert stages.facts["precheck"]["commands"] == [
        "atc --mode=3 --framework=5 --model=optimize/model.onnx --input_shape=x:1,3,32,32 --soc_version=Ascend310P3 "
        "--check_report=check_result.json --log=error"]
    assert stages.facts["compile"]["outputs"][0]["dtype"] == "float16"


def test_what_is_recorded_says_nothing_of_this_machine_and_the_artefact_is_the_same_anywhere(
        make: Make, tmp_path: Path, host: ToolHost) -> None:
    first, second = make(), AtcStages(tmp_path / "elsewhere", host, models.convolution())
    for stages in (first, second):
        stages.run("describe")
        assert str(tmp_path) not in repr([stages.facts[name] for name in ("precheck", "compile", "describe")])
    assert first.facts["compile"] == second.facts["compile"]
    assert (first.dir("compile") / "model.om").read_bytes() == (second.dir("compile") / "model.om").read_bytes()


def test_files_from_a_bucket_reach_atc_under_names_that_it_takes(make: Make, toolkit: Path) -> None:
    files = {"insert_op_conf": b"aipp_op { aipp_mode: static }", "modify_mixlist": b"{}",
             "op_precision_mode": b"[ByOpType]\nSoftmaxV2=high_precision\n"}
    stages = make(files=files, precision_mode="allow_mix_precision")
    stages.run("compile")
    sent = options(toolkit, 0)
    assert sent["insert_op_conf"] == "files/insert_op_conf.cfg"
    assert sent["modify_mixlist"] == "files/modify_mixlist.json"
    assert sent["op_precision_mode"] == "files/op_precision_mode.ini"
    assert (stages.work_dir("compile") / sent["insert_op_conf"]).read_bytes() == files["insert_op_conf"]
    assert sent["model"] == "fetch/model.onnx"  # op_precision_mode names nodes of the model as it was sent


def test_a_prefix_with_several_objects_is_no_file(make: Make) -> None:
    stages = make(files={"insert_op_conf": b""})
    stages.facts["files"]["insert_op_conf"] = ["a.cfg", "b.cfg"]
    error = refusal(stages, "compile")
    assert error.code == "option_invalid" and "2 objects" in str(error)


def test_a_calibration_that_needs_an_npu_is_refused_before_atc_starts(make: Make, toolkit: Path) -> None:
    stages = make(files={"compression_optimize_conf": b"calibration:\n{\n  input_data_dir: ./data.bin\n}\n"})
    error = refusal(stages, "compile")
    assert error.code == "option_invalid" and "NPU" in str(error)
    assert not [line for line in commands(toolkit) if "--mode=0" in line]


@pytest.mark.parametrize(("shape", "extra", "given", "told"), [
    (["n", 3, 32, 32], {"dynamic_batch_size": "1,2,4"}, "x:-1,3,32,32", [None, 3, 32, 32]),
    (["n", 3, "h", "w"], {"dynamic_image_size": "32,32;64,64"}, "x:1,3,-1,-1", [1, 3, None, None]),
    (["n", 3, "h", "w"], {"dynamic_dims": "1,32,32;2,64,64"}, "x:-1,3,-1,-1", [None, 3, None, None]),
    (["n", 3, 32, 32], {"input_shape_range": "x:[1~8,3,32,-1]"}, "x:1~8,3,32,-1", [None, 3, 32, None]),
])
def test_open_dimensions_are_what_the_model_leaves_open_and_the_original_is_compiled(
        make: Make, toolkit: Path, shape: list[Any], extra: dict[str, str], given: str, told: list[int | None]) -> None:
    stages = make(models.convolution(shape), input_shape="1,3,32,32", extra_params=extra)
    facts = stages.run("compile")
    sent = options(toolkit, 0)
    assert sent["input_shape"] == given and sent["model"] == "fetch/model.onnx"
    assert sent.get("input_format") == ("ND" if "dynamic_dims" in extra else None)
    assert facts["inputs"][0]["shape"] == told and (stages.dir("compile") / "model.om").exists()
    (option, value), = extra.items()
    assert sent.get(option) == (None if option == "input_shape_range" else value)


@pytest.mark.parametrize("parameters", [{"fixed_inputs": {"sr": 16000}}, {"outputs": ["z"]}])
def test_what_is_compiled_with_open_dimensions_is_the_model_as_it_was_asked_for(
        make: Make, toolkit: Path, parameters: dict[str, Any]) -> None:
    stages = make(awkward.switched(), extra_params={"dynamic_batch_size": "1,2"}, **parameters)
    stages.run("compile")
    given = onnx.load(stages.dir("optimize") / "asked" / "model.onnx").graph
    assert options(toolkit, 0)["model"] == "fetch/model.onnx"
    assert options(toolkit, 0)["input_shape"].startswith("x:-1,4")
    assert [value.name for value in given.input] == [
        name for name in ("x", "sr", "state", "other") if name not in parameters.get("fixed_inputs", {})
        and (name != "other" or "outputs" in parameters)]
    assert given.output[0].name == parameters.get("outputs", ["y"])[0]
    assert given.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"


@pytest.mark.parametrize(("extra", "says"), [
    ({"dynamic_batch_size": "1,2"}, "nothing to fill"),
    ({"dynamic_dims": "1;2"}, "nothing to fill"),
    ({"input_shape_range": "other:1~8,3,32,32"}, "does not fit the model"),
    ({"input_shape_range": "x:1~8,3"}, "does not fit the model")])
def test_gears_and_ranges_that_do_not_fit_the_model_are_refused_before_atc_starts(
        make: Make, toolkit: Path, extra: dict[str, str], says: str) -> None:
    error = refusal(make(extra_params=extra), "precheck")
    assert error.code == "input_shape_mismatch" and says in str(error) and error.hint
    assert commands(toolkit) == []


def test_gears_with_another_number_of_dimensions_name_the_models_open_ones(make: Make) -> None:
    stages = make(models.convolution(["n", 3, "h", "w"]), input_shape="1,3,32,32",
                  extra_params={"dynamic_dims": "1;2"})
    error = refusal(stages, "precheck")
    assert "x[0], x[2], x[3]" in str(error)


def test_operators_without_a_parser_fail_in_precheck_with_all_their_names(make: Make, toolkit: Path) -> None:
    nodes = [helper.make_node("Det", ["x"], ["d"]), helper.make_node("Inverse", ["x"], ["i"], domain="com.microsoft"),
             helper.make_node("ReduceSum", ["i"], ["s"], keepdims=0), helper.make_node("Add", ["d", "s"], ["y"])]
    model = models.model(nodes, [models.value("x", [4, 4])], [models.value("y", [])], domains={"com.microsoft": 1})
    error = refusal(make(model), "compile")
    assert (error.code, error.vendor_code) == ("unsupported_operator", "E19010")
    assert str(error).endswith("Det (opset 13), com.microsoft.Inverse (opset 1)") and "older opset" in error.hint
    assert not [line for line in commands(toolkit) if "--mode=0" in line]


def test_a_precheck_without_its_result_is_no_success(make: Make, toolkit: Path) -> None:
    tell(toolkit, 3, output="missing")
    assert refusal(make(), "precheck").code == "toolchain_broken"


@pytest.mark.parametrize(("output", "says"), [
    ("missing", "wrote no .om"), ("empty", "no offline model"), ("garbage", "no offline model"), ("cut", "is cut"),
    ("two", "several .om: model.om, model_1.om")])
def test_success_without_a_whole_om_is_a_failure(make: Make, toolkit: Path, output: str, says: str) -> None:
    tell(toolkit, 0, output=output)
    stages = make()
    error = refusal(stages, "compile")
    assert "ATC run success" in stages.log("compile")
    assert error.code == "compile_failed" and says in str(error) and error.hint


def test_a_failure_that_says_success_is_a_failure(make: Make, toolkit: Path) -> None:
    tell(toolkit, 0, fails="E40021: Failed to compile Op [conv1].", says_success=True)
    assert refusal(make(), "compile").code == "compile_failed"
    tell(toolkit, 0, fails="E40021: Failed to compile Op [conv1].", code=0)
    error = refusal(make(), "compile")
    assert error.vendor_code == "E40021"


def test_an_om_that_atc_cannot_read_back_is_a_failure(make: Make, toolkit: Path) -> None:
    stages = make()
    stages.run("compile")
    (stages.dir("compile") / "model.om").write_bytes(b"PK\3\4")
    error = refusal(stages, "describe")
    assert (error.code, error.vendor_code) == ("compile_failed", "E10003")
    assert "cannot read the .om that it wrote" in str(error)


def test_a_description_without_figures_is_no_success(make: Make, toolkit: Path) -> None:
    tell(toolkit, 6, output="silent")
    assert refusal(make(), "describe").code == "compile_failed"


def test_warnings_after_success_are_told(make: Make, toolkit: Path) -> None:
    tell(toolkit, 0, warns="W11001: [PID: 7] 2025-03-18-09:02:18.501.341 Op [x] does not hit the high-priority "
                           "operator information library, which might result in compromised performance.")
    (warning,) = make().run("compile")["warnings"]
    assert warning.startswith("W11001: Op [x] does not hit")


def test_the_dots_of_the_compiler_are_the_progress(make: Make, toolkit: Path) -> None:
    tell(toolkit, 0, dots=60)
    stages = make()
    stages.run("precheck")
    stages.progress.clear()
    stages.run("compile")
    percents = [percent for percent, text in stages.progress if text == "compiling operators"]
    assert len(percents) >= 3 and percents == sorted(percents) and percents[-1] < 98
    assert max(percents) > 50
    assert "." * 10 in stages.log("compile")


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT])
def test_a_crash_of_atc_is_told_as_such(make: Make, toolkit: Path, number: int) -> None:
    tell(toolkit, 0, signal=number, prints="the last words")
    error = refusal(make(), "compile")
    assert error.code == "stage_crashed" and signal.Signals(number).name in str(error)
    assert "the last words" in error.log_tail


def test_a_kill_from_outside_is_told_as_such(make: Make, toolkit: Path) -> None:
    tell(toolkit, 0, signal=signal.SIGKILL)
    assert refusal(make(), "compile").code == "killed"


def test_an_exhausted_allocation_is_out_of_memory(make: Make, toolkit: Path) -> None:
    tell(toolkit, 0, signal=signal.SIGABRT, prints="terminate called after throwing an instance of 'std::bad_alloc'\n"
                                                   "  what():  std::bad_alloc")
    assert refusal(make(), "compile").code == "out_of_memory"


@pytest.mark.parametrize("told", [{"allocates": 400 << 20}, {"allocates": 120 << 20, "compilers": 2, "dots": 500}],
                         ids=["in one process", "in all of them together"])
def test_memory_beyond_the_limit_ends_atc_with_all_it_started(make: Make, toolkit: Path, told: dict[str, int]) -> None:
    tell(toolkit, 0, **told)
    stages = make()
    stages.run("precheck")
    with pytest.raises(ConversionFailed) as caught:
        stages.run("compile", replace(LIMITS, memory_bytes=300 << 20))
    assert caught.value.code == "out_of_memory"


def test_time_beyond_the_limit_ends_atc(make: Make, toolkit: Path) -> None:
    tell(toolkit, 0, dots=1000, dot_s=0.1)
    stages = make()
    stages.run("precheck")
    with pytest.raises(ConversionFailed) as caught:
        stages.run("compile", replace(LIMITS, time_s=1.0))
    assert caught.value.code == "timeout"


def test_a_pause_stops_what_atc_started_and_a_cancel_kills_it(
        make: Make, toolkit: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tell(toolkit, 0, dots=2000, compilers=2)
    stages = make()
    stages.run("precheck")
    ended: list[BaseException] = []

    def run() -> None:
        try:
            stages.run("compile")
        except BaseException as error:
            ended.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    assert stages.host.pid is not None
    tree = wait_until(lambda: len(found := psutil.Process(stages.host.pid).children(recursive=True)) >= 4 and found)

    def cpu_s() -> float:
        return sum(sum(process.cpu_times()[:2]) for process in tree)

    wait_until(lambda: cpu_s() > 0.3)
    stages.control._wanted = Wanted.PAUSE
    wait_until(lambda: all(process.status() == psutil.STATUS_STOPPED for process in tree))
    frozen = cpu_s()
    time.sleep(0.5)
    assert cpu_s() == frozen
    stages.control._wanted = Wanted.STOP
    thread.join(120)
    assert [type(error) for error in ended] == [Interrupted]
    wait_until(lambda: not alive([process.pid for process in tree]))


def test_an_atc_that_is_gone_is_a_broken_toolchain(make: Make, toolkit: Path) -> None:
    stages = make()
    stages.run("precheck")
    (toolkit / "latest" / "bin" / "atc").unlink()
    error = refusal(stages, "compile")
    assert error.code == "toolchain_broken" and error.hint


def test_an_option_that_this_version_does_not_know_is_named(make: Make, toolkit: Path) -> None:
    error = refusal(make(extra_params={"oo_level": "O1"}), "compile")
    assert error.code == "option_invalid" and "--oo_level" in str(error) and "newer CANN" in error.hint


def test_a_chip_that_this_version_does_not_know_is_told_with_the_vendors_words(make: Make) -> None:
    error = refusal(make(soc_version="Ascend910_9391"), "precheck")
    assert (error.code, error.vendor_code) == ("option_invalid", "E10001")
    assert re.search(r"soc_version.*not supported", str(error))
