"""What atc prints when it fails, in the spellings of several versions, as our code, its operators, and a hint."""
from __future__ import annotations

import pytest

from worker.platforms.huawei.atc import FAILURE, Finished
from worker.platforms.huawei.errors import explain, read_warnings, shown_type
from worker.stage_api import StageError

JOB = {"output_dir": "/srv/work/out", "inputs": {"optimize": {"dir": "/srv/work/in/optimize", "facts": {}}}}
START = "ATC start working now, please wait for a moment.\n...\n"
END = f"{FAILURE}, Please check the detail log, Try 'atc --help' for more information\n"


def told(text: str, code: int = 255) -> StageError:
    return explain(Finished(code, START + END + text), JOB)


@pytest.mark.parametrize(("text", "code", "vendor_code", "says"), [
    # Values and combinations of options (GE).
    ("E10001: Value [x] for parameter [--op_select_implmode] is invalid. Reason: not within the range.",
     "option_invalid", "E10001", "--op_select_implmode"),
    ("E10003: Value x for parameter --om is invalid. Reason: y", "option_invalid", "E10003", "--om"),
    ("E10015: Value [x] for parameter [--log] is invalid.", "option_invalid", "E10015", "--log"),
    ("E10007: [PID: 10490] 2025-03-18-09:02:18.501.341 [--framework] is required. The value must be [0(Caffe)].",
     "option_invalid", "E10007", "atc: [--framework] is required"),
    ("E10054: The requied parameter [--model] for ATC is empty.", "option_invalid", "E10054", "--model"),
    ("E10009: --dynamic_batch_size and --dynamic_dims exclude each other.", "option_invalid", "E10009", "exclude"),
    ("E10016: Opname [conv9] specified in [--out_nodes] is not found.", "option_invalid", "E10016", "conv9"),
    ("E10052: AIPP configuration is invalid. Reason: [csc_switch].", "option_invalid", "E10052", "AIPP"),
    ("E10041: Failed to load the model from [model].", "compile_failed", "E10041", "Failed to load"),
    # Shapes.
    ("E10002: Value x:1,a for parameter --input_shape is invalid.", "input_shape_mismatch", "E10002", "input_shape"),
    ("E10035: --dynamic_batch_size has 1 profiles.", "input_shape_mismatch", "E10035", "profiles"),
    ("E10049: Dimension count 3 configured in --input_shape does not match.", "input_shape_mismatch", "E10049", "3"),
    # The tensor compiler and what it is written in.
    ("E40021: Failed to compile Op [conv1]. (oppath: [a/b.py], optype: [Conv2D])", "compile_failed", "E40021",
     "operator conv1 of type Conv2D does not compile"),
    ("E40021: Failed to compile Op conv1. oppath is a/b.py and optype is Conv2D.", "compile_failed", "E40021",
     "operator conv1 of type Conv2D"),
    ("E20001: Failed to compile Op [pool]. (optype: [Pooling])", "compile_failed", "E20001", "pool of type Pooling"),
    ("E40020: Failed to import Python module [te.platform]. Reason: No module named 'decorator'", "toolchain_broken",
     "E40020", "module decorator is missing"),
    ("EC0010: [PID: 1] 2025-07-08-10:25:28.680.962 Failed to import Python module [ModuleNotFoundError: "
     "No module named 'attr'.].", "toolchain_broken", "EC0010", "module attr is missing"),
    ("EB0000: Compile operator failed, cause: ub overflow.", "compile_failed", "EB0000", "ub overflow"),
    ("EZ0001: The 0th input of operator conv1 has incorrect shape [1].", "compile_failed", "EZ0001", "conv1"),
    ("EE1001: The argument is invalid. Reason: rtSetDevice", "toolchain_broken", "EE1001", "rtSetDevice"),
    ("E19999: Inner Error!\n        Unknown error occurred. See the log.", "compile_failed", "E19999", "Inner"),
    ("E39999: Inner Error, Please contact support engineer!", "compile_failed", "E39999", "Inner Error"),
    ("ED0001: A family that came later.", "compile_failed", "ED0001", "came later"),
])
def test_each_family_of_codes_has_our_code_a_cause_and_a_hint(
        text: str, code: str, vendor_code: str, says: str) -> None:
    error = told(text)
    assert (error.code, error.vendor_code) == (code, vendor_code)
    assert says in error.message and error.hint
    assert "PID" not in error.message and "2025-" not in error.message


@pytest.mark.parametrize(("text", "vendor_code", "operators"), [
    ("E19010: No parser is registered for Op [model1 div node, optype [ai.onnx::23::Div]].", "E19010",
     "Div (opset 23)"),
    ("EZ9010: No parser is registered for Op [a, optype [MyOp]].\nEZ9010: No parser is registered for Op [b, optype "
     "[Other]].", "EZ9010", "MyOp, Other"),
    ("EZ3003: 2024-06-26-16:57:38.215.381 No supported Ops kernel and engine are found for [my/op_1], optype [MyOp].\n"
     "        Possible Cause: The operator is not supported by the system.", "EZ3003", "MyOp"),
    ("EZ3003: No supported Ops kernel and engine are found for my/op_1, optype MyOp.", "EZ3003", "MyOp"),
    ("EZ3002: Optype [TransData] of Ops kernel [AIcoreEngine] is unsupported. Reason: [Static shape check].\n"
     "        TraceBack (most recent call last):\n"
     "        Optype [Pool3D] of Ops kernel [aicpu_ascend_kernel] is unsupported. Reason: not found.\n"
     "        No supported Ops kernel and engine are found for [a], optype [MaxPoolWithArgmaxV1].", "EZ3002",
     "MaxPoolWithArgmaxV1, Pool3D, TransData"),
    ("EZ0501: IR for Op [a, optype [MyOp]], is not registered.", "EZ0501", "MyOp"),
    ("E10501: IR for Op a with optype MyOp is not registered.", "E10501", "MyOp"),
    ("E76002: No ONNX parser is registered for optype [MyOp].", "E76002", "MyOp"),
])
def test_unsupported_operators_are_named_in_every_spelling(text: str, vendor_code: str, operators: str) -> None:
    error = told(text)
    assert (error.code, error.vendor_code) == ("unsupported_operator", vendor_code)
    assert error.message == "CANN does not support: " + operators
    assert ("older opset" in error.hint) == ("opset" in operators)


def test_a_cause_is_told_and_not_what_follows_from_it() -> None:
    error = told("E19999: Inner Error!\nE40021: Failed to compile Op [c]. (oppath: [x], optype: [Conv2D])\n"
                 "EZ9010: No parser is registered for Op [a, optype [MyOp]].\n")
    assert (error.code, error.vendor_code) == ("unsupported_operator", "EZ9010")
    error = told("E49999: Inner Error!\nE19999: Inner Error!\nEE1001: The argument is invalid.")
    assert (error.code, error.vendor_code) == ("toolchain_broken", "EE1001")
    error = told("E40021: Failed to compile Op [c]. (oppath: [x], optype: [Conv2D])\n"
                 "E40020: Failed to import Python module [ModuleNotFoundError: No module named 'scipy'].")
    assert (error.code, error.vendor_code) == ("toolchain_broken", "E40020")


def test_the_vendors_own_solution_is_part_of_the_hint() -> None:
    error = told("E10041: Failed to load the model from [m].\n        Possible Cause: N/A\n"
                 "        Solution: 1. Check that the model file is valid.")
    assert error.hint.endswith("the vendor says: 1. Check that the model file is valid.")


def test_folders_of_this_machine_are_not_told() -> None:
    error = told("E10041: Failed to load the model from [/srv/work/in/optimize/model.onnx].")
    assert "/srv" not in error.message and "model.onnx" in error.message


def test_an_atc_that_cannot_be_loaded_names_the_library() -> None:
    error = explain(Finished(127, "atc.bin: error while loading shared libraries: libascend_hal.so: cannot open shared "
                                  "object file: No such file or directory\n"), JOB)
    assert error.code == "toolchain_broken" and "libascend_hal.so" in error.message


def test_a_failure_without_any_code_is_told_by_its_last_lines() -> None:
    error = explain(Finished(1, START + "something odd\n"), JOB)
    assert error.code == "compile_failed" and "something odd" in error.message and "code 1" in error.message


def test_an_error_in_the_middle_of_a_log_line_is_no_code() -> None:
    error = told("[ERROR] GE(7,atc.bin):2025-01-01 the E10001: thing\nE10052: AIPP configuration is invalid.")
    assert error.vendor_code == "E10052"


def test_warnings_are_no_errors() -> None:
    output = START + "W11001: Op [x] is slow.\n        Solution: none\nW40010: Invalid Path\n"
    assert read_warnings(output) == ["W11001: Op [x] is slow.", "W40010: Invalid Path"]


@pytest.mark.parametrize(("text", "shown"), [
    ("ai.onnx::13::Conv", "Conv (opset 13)"), ("com.microsoft::1::Inverse", "com.microsoft.Inverse (opset 1)"),
    ("Conv2D", "Conv2D")])
def test_types_are_shown_as_onnx_names_them(text: str, shown: str) -> None:
    assert shown_type(text) == shown
