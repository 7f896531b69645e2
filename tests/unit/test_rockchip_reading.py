"""What is read out of the toolkit's log and of its files."""
from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest

from shared.rules.bilingual import as_it_is
from worker.platforms.rockchip import compile as compile_stage
from worker.platforms.rockchip.artefact import MAGIC, read_description
from worker.platforms.rockchip.told import read_precision, with_types
from worker.platforms.rockchip.tool_log import ToolLog
from worker.stage_api import StageError
from worker.stages.apart import Outcome

LOG = """\
I rknn-toolkit2 version: 2.5.0
\x1b[1;33mW\x1b[0m \x1b[1;33mload_onnx: The config.mean_values is None, zeros will be set for input 0!\x1b[0m
D fold_constant ...
\rI Loading :   0%|      | 0/309 [00:00<?, ?it/s]\rI Loading : 100%|######| 309/309 [00:00<00:00, 79341.29it/s]
\x1b[1;33mW\x1b[0m \x1b[1;33mbuild: The default input dtype of 'x' is changed from 'float32' to 'int8'!\x1b[0m
I rknn building ...
No lowering found for: /enc/Cum Sum, node type = CumSum, use CustomOperatorLower instead.
No lowering found for: d, node type = Acosh, use CustomOperatorLower instead.
No lowering found for: d, node type = Acosh, use CustomOperatorLower instead.
E RKNN: [11:35:26.281] Unkown op target: 0
E RKNN: [11:35:26.281] dataconvert type -1 is unsupport in current!
D RKNN: [11:35:26.288]                     Network Layer Information Table
D RKNN: [11:35:26.288] ID   OpType             DataType Target InputShape             OutputShape   Cycles  RW(KB)  FullName
D RKNN: [11:35:26.288] 0    InputOperator      FLOAT16  CPU    \\                      (1,3,48,192)  0/0/0   0       InputOperator:x
D RKNN: [11:35:26.288] 1    ConvHardSwish      FLOAT16  NPU    (1,3,48,192),(8,3,3,3) (1,8,24,96)   3/20/20 55      Conv:Conv@0
D RKNN: [11:35:26.288] 2    MeanVarianceNormalization FLOAT16  CPU (1,8,16,16)        (1,8,16,16)   0/0/0   4       MeanVarianceNormalization:d
D RKNN: [11:35:26.288] 3    Conv               INT8     NPU    (1,8,16,16)            (1,8,16,16)   0/0/0   4       Conv:a:b
D RKNN: [11:35:26.288] 4    OutputOperator     FLOAT16  CPU    (1,2)                  \\             0/0/0   0       OutputOperator:y
D RKNN: [11:35:26.290] 1   ConvHardSwish   x                                FLOAT16   NC1HWC2      (1,3,48,192) (1,4,48,192,3)
D RKNN: [11:35:26.290] Total Internal Memory Size: 519.75KB
D RKNN: [11:35:26.290] Total Weight Memory Size: 339.188KB
"""  # noqa: E501


def test_dropped_operators_are_found_although_the_tool_returned_success() -> None:
    assert ToolLog(LOG).unsupported() == [{"name": "/enc/Cum Sum", "type": "CumSum"}, {"name": "d", "type": "Acosh"}]


@pytest.mark.parametrize(("line", "found"), [
    ("Fatal: Meet unsupported operator: Sqrt(name=\"Sqrt_51\").", {"name": "Sqrt_51", "type": "Sqrt"}),
    ("W RKNN: [19:02:58.658] Meet RKNN unsupport Operator: name = 'n', type = Foo, it will be treated as a custom "
     "operator.", {"name": "n", "type": "Foo"}),
    ("E build: The input 0 of NonZero('y') need to be constant! It will cause the graph to be a dynamic graph!",
     {"name": "y", "type": "NonZero"}),
])
def test_other_words_for_the_same(line: str, found: dict[str, str]) -> None:
    assert ToolLog(line).unsupported() == [found]


def test_the_placement_leaves_out_the_conversions_at_the_edges_and_the_memory_table() -> None:
    placement, on_cpu = ToolLog(LOG).placement()
    assert placement == {"npu": {"ConvHardSwish": 1, "Conv": 1}, "cpu": {"MeanVarianceNormalization": 1}}
    assert on_cpu == [{"name": "d", "type": "MeanVarianceNormalization"}]


def test_a_second_table_replaces_the_first() -> None:
    placement, _ = ToolLog(LOG + LOG.replace("ConvHardSwish ", "ConvRelu      ")).placement()
    assert placement["npu"] == {"ConvRelu": 1, "Conv": 1}


def test_memory_is_in_bytes() -> None:
    assert ToolLog(LOG).memory() == {"internal": 532224, "weight": 347329}


def test_warnings_have_no_colours_no_clock_and_nothing_that_every_model_gets() -> None:
    assert ToolLog(LOG).warnings() == ["build: The default input dtype of 'x' is changed from 'float32' to 'int8'!",
                                       "dataconvert type -1 is unsupport in current!"]
    assert ToolLog(LOG).errors() == ["dataconvert type -1 is unsupport in current!"]


def test_the_rules_that_it_advises_to_disable_are_found_once() -> None:
    line = "W You can add disable_rules=['a_b', 'c1'] in rknn.config() to temporarily disable the error rule!"
    assert ToolLog(f"{line}\n{line}").rules_to_disable() == ["a_b", "c1"] and ToolLog(LOG).rules_to_disable() == []


def test_types_are_those_of_the_last_table() -> None:
    told = ToolLog(LOG)
    assert told.edges() == {"inputs": ["float16"], "outputs": ["float16"]}
    assert told.data_types() == {"float16": 2, "int8": 1}


@pytest.mark.parametrize("line", ["W RKNN: [10:34:07.241] cast tensor failed",
                                  "W RKNN: [1:2:3.4] emit dataconvert failed",
                                  "E RKNN: [10:34:07.241] dataconvert type -1 is unsupport in current!"])
def test_a_piece_that_failed_is_found(line: str) -> None:
    assert ToolLog(f"I fine\n{line}\n{line}").failures() == [line.partition("] ")[2]]
    assert ToolLog(line.replace("W ", "D ").replace("E ", "D ")).failures() == []


@pytest.mark.parametrize(("layers", "stored", "precision"), [
    ({"float16": 3}, ["float16", "int64"], "fp16"), ({"int8": 3, "float16": 1}, ["int8"], "int8"),
    ({"int16": 3}, ["int16"], "int16"), ({"float16": 2}, ["int4"], "int8"), ({"bfloat16": 2}, ["bfloat16"], "fp16")])
def test_the_precision_follows_from_the_types(layers: dict[str, int], stored: list[str], precision: str) -> None:
    assert read_precision(layers, stored) == precision


def test_a_table_of_another_length_leaves_the_types_open() -> None:
    described = {"inputs": [{"name": "a", "dtype": ""}, {"name": "b", "dtype": "int8"}], "outputs": []}
    assert [entry["dtype"] for entry in with_types(described, {"inputs": ["int64"], "outputs": []})["inputs"]] == [
        "unknown", "int8"]


def test_a_crash_leaves_the_c_librarys_words() -> None:
    assert ToolLog("W build: x!\n   Please take care!\nfree(): invalid size\nD RKNN: more").last_words() == (
        "free(): invalid size")
    assert ToolLog("W build: x!\n   Please take care!\n").last_words() == ""


def description() -> bytes:
    tensor = {"dim_num": 2, "dtype": {"qnt_method": "layer", "qnt_type": "int8", "vx_type": "int8"}, "size": [1, 4]}
    return json.dumps({
        "graph": [{"left": "output", "left_tensor_id": 0, "right": "norm_tensor", "right_tensor_id": 2},
                  {"left": "input", "left_tensor_id": 1, "right": "norm_tensor", "right_tensor_id": 1},
                  {"left": "input", "left_tensor_id": 0, "right": "norm_tensor", "right_tensor_id": 0}],
        "norm_tensor": [tensor | {"tensor_id": index, "url": name} for index, name in enumerate(("a", "b", "y"))],
    }).encode()


def container(payload: bytes = b"p" * 100, text: bytes | None = None, magic: bytes = MAGIC) -> bytes:
    text = description() if text is None else text
    header = magic + struct.pack("<QQ", 6, len(payload))
    return header.ljust(64, b"\0") + payload + struct.pack("<Q", len(text)) + text


def test_the_file_tells_its_inputs_and_outputs_in_order(tmp_path: Path) -> None:
    path = tmp_path / "m.rknn"
    path.write_bytes(container())
    described = read_description(path)
    assert described["inputs"] == [{"name": "a", "dtype": "int8", "shape": [1, 4]},
                                   {"name": "b", "dtype": "int8", "shape": [1, 4]}]
    assert [entry["name"] for entry in described["outputs"]] == ["y"]


@pytest.mark.parametrize("data", [
    b"", b"RKNN", container(magic=b"RKNX\0\0\0\0"), container()[:80], container()[:150], container()[:-1],
    container() + b"x"])
def test_what_is_no_whole_file_is_told(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "m.rknn"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"does not begin with|do not fit together"):
        read_description(path)


def test_what_the_log_tells_comes_before_what_the_simulator_says(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An operator that was dropped makes the simulator's answers wrong too; it is the reason."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "log.txt").write_text(LOG)
    told = StageError("accuracy_too_low", as_it_is("the simulator answers something else"))
    monkeypatch.setattr(compile_stage, "run_apart", lambda function: Outcome(error=told))
    with pytest.raises(StageError, match="CumSum") as caught:
        compile_stage.run({})
    assert caught.value.code == "unsupported_operator"
    (tmp_path / "log.txt").write_text("I rknn building done\n")
    with pytest.raises(StageError) as caught:
        compile_stage.run({})
    assert caught.value is told
