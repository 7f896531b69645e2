"""What a client may send for Huawei: the contract's spellings and defaults, and every refusal."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from shared.creation.documents import build_tasks
from shared.creation.requests import CreateTask
from shared.errors import InvalidRequest
from shared.platforms import get_platforms
from shared.platforms.huawei import FILES, HuaweiParameters
from shared.platforms.huawei_chips import KNOWN
from shared.platforms.huawei_options import ExtraParams
from shared.settings import Settings
from shared.validation_messages import validate
from worker.plan import get_plans


def accepted(**sent: Any) -> dict[str, Any]:
    return validate(HuaweiParameters, sent, "parameters").model_dump(mode="json")


def refusal(**sent: Any) -> str:
    with pytest.raises(InvalidRequest) as caught:
        accepted(**sent)
    assert "parameters" in caught.value.zh and caught.value.zh != caught.value.en
    return caught.value.en


def test_the_defaults_are_those_of_the_contracts_family() -> None:
    parameters = accepted()
    assert {name: parameters[name] for name in ("soc_version", "precision_mode", "log", "auto_input_shape")} == {
        "soc_version": "Ascend910B", "precision_mode": "allow_fp32_to_fp16", "log": "error", "auto_input_shape": True}
    assert parameters["extra_params"] == {} and parameters["input_shape"] is None


@pytest.mark.parametrize("shape", ["1,3,640,640", "images:1,3,640,640", [1, 3, 640, 640]])
def test_input_shape_has_three_spellings(shape: Any) -> None:
    assert accepted(input_shape=shape)["input_shape"] == shape


def test_the_task_of_the_contracts_example_can_be_created() -> None:
    settings = Settings(local_roots=(Path("/path/to"),))
    request = CreateTask(task_type="onnx_to_om", platform="huawei", input_path="/path/to/input.onnx",
                         output_path="/path/to/output.om")
    (task,) = build_tasks(request, settings)
    assert (task.input_path, task.output_path) == ("/path/to/input.onnx", "/path/to/output.om")


def test_what_is_stored_is_taken_again() -> None:
    sent = {"chip": "Ascend310P3", "precision": "fp16", "extra_params": {"enable_small_channel": 1, "sparsity": False}}
    once = accepted(**sent)
    assert accepted(**once) == once
    assert once["extra_params"] == {"enable_small_channel": "1", "sparsity": "0"}


@pytest.mark.parametrize("name", KNOWN)
def test_every_chip_of_the_vendors_lists_is_taken(name: str) -> None:
    assert accepted(soc_version=name)["soc_version"] == name


@pytest.mark.parametrize("name", ["Ascend950PR_9599", "Ascend310P9", "Ascend910_9999"])
def test_a_later_chip_of_a_known_family_is_taken(name: str) -> None:
    assert accepted(soc_version=name)["soc_version"] == name


@pytest.mark.parametrize(("name", "near"), [
    ("ascend310p3", "Ascend310P3"), ("310P3", "Ascend310P3"), ("Ascend310P3 ", "Ascend310P3"),
    ("ASCEND910B3", "Ascend910B3")])
def test_a_misspelt_chip_is_refused_with_the_right_one(name: str, near: str) -> None:
    assert f"did you mean {near};" in refusal(soc_version=name)
    assert refusal(chip=name).count("did you mean") == 1


@pytest.mark.parametrize("name", ["rk3588", "", "Ascend", "Ascend910B3\n", "Ascend310P3 --om=x", "Ascend910C1X"])
def test_what_is_no_chip_is_refused(name: str) -> None:
    assert "soc_version" in refusal(soc_version=name)


def test_chip_is_another_name_of_soc_version() -> None:
    assert accepted(chip="Ascend310P3")["soc_version"] == "Ascend310P3"
    assert accepted(chip="Ascend310P3", soc_version="Ascend310P3")["soc_version"] == "Ascend310P3"
    assert "soc_version and chip differ" in refusal(chip="Ascend310P3", soc_version="Ascend910B3")


def test_precision_chooses_the_mode_where_none_is_sent() -> None:
    assert accepted(precision="fp32")["precision_mode"] == "force_fp32"
    assert accepted(precision="fp16")["precision_mode"] == "force_fp16"
    assert accepted(precision="fp16", precision_mode="allow_mix_precision")["precision_mode"] == "allow_mix_precision"
    assert accepted(precision="fp32", extra_params={"precision_mode_v2": "origin"})["precision_mode"] is None


@pytest.mark.parametrize("sent", [
    {"precision": "fp32", "precision_mode": "force_fp16"}, {"precision": "fp16", "precision_mode": "force_fp32"},
    {"precision": "fp32", "extra_params": {"precision_mode_v2": "mixed_float16"}}])
def test_a_precision_that_contradicts_the_mode_is_refused(sent: dict[str, Any]) -> None:
    assert "contradicts" in refusal(**sent)


def test_int8_needs_a_quantized_model_and_is_no_precision_here() -> None:
    assert "'fp32' or 'fp16'" in refusal(precision="int8")


def test_a_required_accuracy_is_refused_since_nothing_can_measure_it() -> None:
    assert "no simulator" in refusal(verify={"min_cosine": 0.99})


def test_files_may_come_in_extra_params_and_are_paths_of_objects() -> None:
    assert accepted(extra_params={"insert_op_conf": "models/aipp.cfg"})["insert_op_conf"] == "models/aipp.cfg"
    assert "differ" in refusal(insert_op_conf="models/a.cfg", extra_params={"insert_op_conf": "models/b.cfg"})
    for path in ("aipp.cfg", "models/../secret/x", "/etc/passwd", ".model-convert/x"):
        request = CreateTask(task_type="onnx_to_om", platform="huawei", input_path="models/a.onnx",
                             parameters={"insert_op_conf": path})
        with pytest.raises(InvalidRequest) as caught:
            build_tasks(request, Settings())
        assert "parameters.insert_op_conf" in caught.value.en


def test_the_plan_fetches_every_file_that_may_be_sent() -> None:
    (stage,) = (stage for stage in get_plans()["huawei"].stages if stage.name == "files")
    assert stage.parameters == FILES
    assert set(FILES) < set(HuaweiParameters.model_fields)


@pytest.mark.parametrize(("extra", "says"), [
    ({"mode": 3}, "extra_params.mode is set by the service"),
    ({"output": "/etc/x"}, "extra_params.output is set by the service"),
    ({"external_weight": 1}, "leaves files"),
    ({"weight": "x"}, "not for ONNX"),
    ({"debug_dir": "/tmp"}, "leaves files"),
    ({"op_bank_path": "/tmp"}, "folder or a device of the worker"),
    ({"rm": "-rf"}, "extra_params.rm is not a known field"),
    ({"input_format": "NHWC"}, "'NCHW', 'ND' or 'NCDHW'"),
    ({"output_type": "FP99"}, "output_type should match"),
    ({"output_type": "conv:0:FP16"}, "output_type needs out_nodes"),
    ({"enable_small_channel": 2}, "'0' or '1'"),
    ({"enable_single_stream": 1}, "'true' or 'false'"),
    ({"aicore_num": "many"}, "aicore_num should match"),
    ({"aicore_num": "\uff12\uff14"}, "aicore_num should match"),
    ({"dynamic_batch_size": "1,\u0662"}, "dynamic_batch_size should match"),
    ({"optypelist_for_implmode": "é", "op_select_implmode": "high_precision"}, "optypelist_for_implmode should match"),
    ({"out_nodes": "a b"}, "out_nodes should match"),
    ({"dynamic_batch_size": "1,2", "dynamic_dims": "1;2"}, "exclude one another"),
    ({"dynamic_batch_size": "1,2", "dynamic_image_size": "4,4;8,8"}, "exclude one another"),
    ({"dynamic_dims": "1;2", "input_shape_range": "x:1~8,3"}, "exclude one another"),
    ({"dynamic_batch_size": "4"}, "2 gears at least"),
    ({"dynamic_batch_size": "1,2,2"}, "a gear is there twice"),
    ({"dynamic_batch_size": "0,2"}, "whole numbers from 1"),
    ({"dynamic_batch_size": ",".join(map(str, range(1, 102)))}, "takes 100 gears at most"),
    ({"dynamic_image_size": "416;832"}, "dynamic_image_size should match"),
    ({"dynamic_dims": "1,2;3"}, "the same number of dimensions"),
    ({"dynamic_image_size": "4,4;8,8", "input_format": "ND"}, "needs input_format NCHW"),
    ({"dynamic_dims": "1;2", "input_format": "NCHW"}, "needs input_format ND"),
    ({"input_shape_range": "x:1~8;y"}, "input_shape_range should match"),
    ({"optypelist_for_implmode": "Pooling"}, "needs op_select_implmode"),
    ({"optypelist_for_implmode": "Pooling", "op_select_implmode": "high_precision_for_all"}, "needs op_select"),
    ({"is_input_adjust_hw_layout": "true"}, "needs input_fp16_nodes"),
    ({"is_output_adjust_hw_layout": "true"}, "needs out_nodes"),
    ({"precision_mode_v2": "mixed_bfloat16"}, "has no bfloat16"),
    ({"precision_mode_v2": "cube_hif8"}, "has no hifloat8"),
])
def test_an_option_that_atc_would_refuse_or_ignore_is_refused_at_once(extra: dict[str, Any], says: str) -> None:
    assert says in refusal(soc_version="Ascend310P3", extra_params=extra)


@pytest.mark.parametrize(("sent", "says"), [
    ({"precision_mode": "force_fp16", "extra_params": {"precision_mode_v2": "fp16"}}, "exclude one another"),
    ({"insert_op_conf": "b/aipp.cfg", "extra_params": {"dynamic_dims": "1;2"}}, "insert_op_conf and dynamic_dims"),
    ({"op_precision_mode": "b/o.ini", "extra_params": {"op_select_implmode": "high_precision"}}, "op_select_implmode"),
    ({"compress_weight_conf": "b/c.cfg", "extra_params": {"enable_compress_weight": True}}, "exclude one another"),
    ({"modify_mixlist": "b/m.json"}, "modify_mixlist needs a mixed precision mode"),
    ({"keep_dtype": "b/k.cfg", "precision_mode": "must_keep_origin_dtype"}, "keep_dtype has no effect"),
    ({"precision_mode": "allow_mix_precision_bf16"}, "Ascend910B has no bfloat16"),
    ({"soc_version": "Ascend310B4", "extra_params": {"input_shape_range": "x:1~8,3"}}, "takes no ranges"),
    ({"log": "verbose"}, "log should be one of"),
    ({"precision_mode": "fp16"}, "precision_mode should be one of"),
])
def test_options_that_exclude_one_another_are_refused(sent: dict[str, Any], says: str) -> None:
    assert says in refusal(**sent)


def test_gears_are_read_as_numbers_and_ascend_950_takes_more() -> None:
    assert ExtraParams(dynamic_batch_size="1,2,4").gears() == [[1], [2], [4]]
    assert ExtraParams(dynamic_image_size="416,416;832,832").gears() == [[416, 416], [832, 832]]
    many = {"dynamic_batch_size": ",".join(map(str, range(1, 102)))}
    assert accepted(soc_version="Ascend950PR_9599", extra_params=many)


def test_the_platform_is_listed_with_its_schema() -> None:
    schema = get_platforms()["huawei"].parameters.model_json_schema()
    assert {"soc_version", "precision_mode", "extra_params", *FILES} <= set(schema["properties"])
    assert accepted(**get_platforms()["huawei"].example)


@pytest.mark.parametrize("value", ["0", "1", "2", "true", "false", 0, 1, 2, True, False, None, "", 0.5, "True"])
@pytest.mark.parametrize("name", ["disable_reuse_memory", "allow_hf32", "deterministic_level"])
def test_an_options_schema_takes_what_the_option_takes(name: str, value: Any) -> None:
    schema = Draft202012Validator(ExtraParams.model_json_schema())
    try:
        accepted(extra_params={name: value})
    except InvalidRequest:
        assert not schema.is_valid({name: value})
    else:
        assert schema.is_valid({name: value})
