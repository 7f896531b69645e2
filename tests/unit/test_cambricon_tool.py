"""What MagicMind prints becomes operators' names and a reason."""
from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from worker.platforms.cambricon import reasons
from worker.platforms.cambricon.tool import LOG, Tool, refusals
from worker.stage_api import StageError
from worker.stages.calls import Name

# As a user of MagicMind reported it (Chinese-CLIP issue 328).
REPORTED = """error: 'onnx.Unsqueeze' op requires a single operand
2024-07-14 05:28:21.344356: ERROR:  magicmind/translation/onnx/module_loader.cc:61] Failed to verify onnx mlir module
error: 'onnx.Unsqueeze' op requires a single operand
2024-07-14 05:28:21.361150: ERROR:  magicmind/cc/internal/mm_parser_core.h:57]  Internal: Onnx mlir graph is illegal
"""


@pytest.fixture
def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tool:
    monkeypatch.chdir(tmp_path)
    (tmp_path / LOG).write_text("error: 'onnx.Before' op failed before this stage's tool was asked\n")
    return make_tool(tmp_path, {"Conv": 3, "Unsqueeze": 5}, 13)


def make_tool(folder: Path, operators: dict[str, int], opset: int) -> Tool:
    return Tool({"output_dir": str(folder / "out"), "inputs": {
        "inspect": {"dir": str(folder), "facts": {"operators": operators, "opsets": {"ai.onnx": opset}}}}})


def make(tool: Tool, call: Callable[[], Any], what: Any, **options: Any) -> Any:
    tool.script.known["call"] = call
    return tool.do(Name("call")(), what, **options)


def failing(tool: Tool, printed: str, answer: Any = None, **options: Any) -> StageError:
    def call() -> Any:
        with open(LOG, "a") as file:
            file.write(printed)
        if isinstance(answer, Exception):
            raise answer
        return answer
    with pytest.raises(StageError) as caught:
        make(tool, call, reasons.PARSE, **options)
    return caught.value


def test_the_operators_form_of_a_newer_opset_is_named_with_the_reason_and_the_way_out(tool: Tool) -> None:
    error = failing(tool, REPORTED)
    assert error.code == "unsupported_operator" and error.vendor_code == "Internal"
    assert "Unsqueeze (requires a single operand)" in error.message and "Before" not in error.message
    assert "opset is 13" in error.hint and "opset_version=11" in error.hint


def test_with_an_old_opset_it_is_no_matter_of_the_opset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    error = failing(make_tool(tmp_path, {"Det": 1}, 11), "error: failed to legalize operation 'onnx.Det'\n")
    assert error.message.endswith("it refuses: Det") and "opset" not in error.hint


@pytest.mark.parametrize(("text", "found"), [
    ("error: failed to legalize operation 'onnx.Det' that was explicitly marked illegal", {"Det"}),
    ("'mm.custom' op is not supported", {"custom"}),
    ("Unsupported op: Det", {"Det"}),
    ("Unsupported op type \"NonZero\" in node /a/NonZero_3", {"NonZero"}),
    ("Unimplemented: operators [Det, NonZero] have no kernel, not supported", {"Det", "NonZero"}),
    ("Unsupported operator Det", {"Det"}),
    ("operators: Det, NonZero are not supported", {"Det", "NonZero"}),
])
def test_operators_are_found_in_the_forms_that_compilers_use(text: str, found: set[str]) -> None:
    assert set(refusals(text, {"Det": 1, "NonZero": 2, "If": 1, "Not": 1, "Conv": 4})) == found


@pytest.mark.parametrize("text", [
    "INFO: Det is fine", "If this is not supported, ask", "Not supported: layout", "Cast op done",
    "Unsupported op attribute Det=3", "Unsupported data type for Conv_12", "That is not supported, If you want it, ask",
    "Error parsing message with type 'onnx.ModelProto'"])
def test_an_operators_name_is_no_refusal_where_it_is_just_a_word(text: str) -> None:
    assert not refusals(text, {"Det": 1, "If": 1, "Not": 1, "Conv": 1, "Cast": 1})


def test_another_failure_keeps_the_tools_words_without_this_machines_folders(tool: Tool, tmp_path: Path) -> None:
    error = failing(tool, "2024-07-14 05:28:21.361150: ERROR:  magicmind/cc/internal/mm_builder.cc:212]  "
                          f"Resource busy: cannot write {tmp_path}/out/model.mm\n", reason=reasons.CANNOT_QUANTIZE)
    assert (error.code, error.vendor_code) == ("compile_failed", "Resource busy")
    assert error.hint.endswith("or try precision fp16")
    assert error.message == "MagicMind cannot parse the model: Resource busy: cannot write model.mm"


def test_an_exception_of_the_bindings_is_its_verdict(tool: Tool) -> None:
    error = failing(tool, "", RuntimeError("Invalid argument: nonsense"),
                    reason=partial(reasons.CANNOT_TAKE_OPTION, parameter="layout"))
    assert (error.code, error.vendor_code) == ("option_refused", "Invalid argument")
    assert "nonsense" in error.message and "parameters.layout" in error.hint


def test_silence_is_told_as_such(tool: Tool) -> None:
    assert "no reason" in failing(tool, "").message


@pytest.mark.parametrize("how", ["printed", "raised"])
def test_a_failed_allocation_is_no_verdict_on_the_model(tool: Tool, how: str) -> None:
    def call() -> None:
        if how == "raised":
            raise RuntimeError("std::bad_alloc")
        Path(LOG).write_text(Path(LOG).read_text() + "2024-07-14 05:28:21.3: ERROR:  mm.cc:1]  std::bad_alloc\n")
    with pytest.raises(MemoryError):
        make(tool, call, reasons.BUILD)


def test_what_succeeded_is_noted_in_order(tool: Tool) -> None:
    tool.script.known["divmod"] = divmod
    assert tool.let("pair", Name("divmod")(7, 4), reasons.BUILD) == (1, 3)
    assert tool.do(Name("pair").index(3), reasons.BUILD) == 1
    assert tool.script.commands == ["pair = divmod(7, 4)", "pair.index(3)"]
