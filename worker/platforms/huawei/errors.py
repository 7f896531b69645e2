"""What atc prints when it fails, as one error of ours.

An entry is `E10001: [PID: 7] 2025-03-18-09:02:18.501.341 what is wrong`, PID and time in newer versions only, followed
by indented lines: Possible Cause, Solution, TraceBack. Source: CANN troubleshooting, "Error codes".
"""
import re

from worker.stage_api import StageError
from worker.stages.messages import tidy

_ENTRY = re.compile(r"^\s{0,3}([EW][0-9A-Z]\d{4})\b[^:\n]{0,60}:[ \t]*(?:\[PID: ?\d+\][ \t]*)?"
                    r"(?:\d{4}-\d\d-\d\d-[\d:.]+[ \t]*)?(.*)$", re.MULTILINE)
# Where operators are named. `[name, optype [type]]`, brackets not in all versions.
_OPERATORS = re.compile(r"(?:No parser is registered for Op|No (?:supported )?Ops kernel and engine are found for"
                        r"|IR for Op)\s+\[?[^\n]*?\boptype\s+\[?([\w.:-]+?)\]*[\s,.;]*(?:is not registered|$|\n|\])"
                        r"|^\s*(?:E[0-9A-Z]+:.*)?Optype \[([\w.:-]+)\] of Ops kernel \[[^\]]*\] is unsupported"
                        r"|No ONNX parser is registered for optype \[?([\w.:-]+)", re.MULTILINE)
_FAILED_OP = re.compile(r"Failed to compile Op \[?([^\s\],]+?)(?=[\],]|\.?\s).{0,400}?optype(?: is|:)\s*\[?(\w+)")
_LIBRARY = re.compile(r"error while loading shared libraries: (\S+):")
_MODULE = re.compile(r"No module named '?([\w.]+)")
_FLAG = re.compile(r"unknown command line flag '(\w+)'|(?:unrecognized|unknown) option '?-*(\w+)", re.IGNORECASE)

_PARSERS = ("E19010", "EZ9010", "E76002", "E11009")
_UNSUPPORTED = (*_PARSERS, "EZ3002", "EZ3003", "EZ0501", "E10501")

_CHECK_OPTIONS = ("see the option in the ATC user guide of the CANN version that GET /platforms shows: an older one "
                  "refuses values that a newer one takes")
_CHECK_SHAPES = "send input_shape and gears that the model can work with, such as the shape it was trained with"
_CHECK_NAMES = "names of nodes and inputs are those of the model as it was sent; Netron shows them"
_CHECK_FILES = "correct the file and upload it again, then retry the task"
_BROKEN = ("install what is missing on the worker: the Python packages that CANN's installation guide lists (attrs, "
           "decorator, numpy, psutil, scipy, sympy, cffi, protobuf), its ops package for this chip, its set_env.sh")
_COMPILER = ("try another precision_mode (force_fp16), name the operator in keep_dtype, or export the model without "
             "it; newer versions of CANN compile more")
_REPORT = "the log has the last step; send log = \"debug\" for more, and report it to the vendor with the model"

# Code, or the beginning of one: (our code, hint). The first that is found among all entries is told; so the order says
# what is a cause and what only follows from it.
_RULES = (
    (_UNSUPPORTED, "unsupported_operator", ""),
    (("E40020", "E40001", "E40002", "EC0010", "E80001"), "toolchain_broken", _BROKEN),
    (("E10052", "E10034", "E10032", "E10410", "E70014", "E40022", "E40023"), "option_invalid", _CHECK_FILES),
    (("E10016", "E10017"), "option_invalid", _CHECK_NAMES),
    (("E10002", "E10011", "E10012", "E10018", "E10019", "E10020", "E10031", "E10035", "E10036", "E10037", "E10038",
      "E10039", "E10040", "E10045", "E10046", "E10048", "E10049", "E10050", "E11005"), "input_shape_mismatch",
     _CHECK_SHAPES),
    (("E10041",), "compile_failed", "atc cannot read the model: see that its opset is one that this CANN knows, and "
                                    "that it is below 2 GiB or has its external data beside it"),
    (("E100", "E104"), "option_invalid", _CHECK_OPTIONS),
    (("E40021", "E20001"), "compile_failed", _COMPILER),
    (("EZ0", "E7"), "compile_failed", "an operator refuses its shapes, types or attributes: export the model with "
                                      "other settings or a lower opset"),
    (("EB", "E4", "E2", "E3", "E5"), "compile_failed", _COMPILER),
    (("EE", "EH", "EL", "EI", "EJ"), "toolchain_broken", "the runtime or the driver failed on the worker: see the log"),
    (("E",), "compile_failed", _REPORT),
)
_FOLLOWS = re.compile(r"E[0-9A-Z]9999")  # "inner error": told only where nothing else is


def explain(finished, job):
    """The StageError of an atc that failed."""
    output = finished.output
    if not _entries(output):
        return _without_code(finished, job)
    number, text, code, hint = _most_telling(_entries(output))
    if code == "unsupported_operator":
        return unsupported([], output)
    failed = _FAILED_OP.search(output)
    if number in ("E40021", "E20001") and failed:
        text = f"operator {failed.group(1)} of type {failed.group(2)} does not compile: {text}"
    module = _MODULE.search(output)
    if code == "toolchain_broken" and module:
        text += f" (the Python module {module.group(1)} is missing)"
    solution = re.search(r"^\s+Solution:\s*(\S.*)$", output[output.find(number):], re.MULTILINE)
    if solution and "N/A" not in solution.group(1):
        hint += "; the vendor says: " + tidy(solution.group(1), job, 300)
    return StageError(code, "atc: " + tidy(text, job), hint, vendor_code=number)


def unsupported(types, output):
    """`unsupported_operator`; `types` are known already, the output names the rest."""
    found = {shown_type(name) for match in _OPERATORS.findall(output) for name in match if name}
    names = sorted(found | set(types))
    codes = [entry[0] for entry in _entries(output) if entry[0] in _UNSUPPORTED]
    hint = "replace them by operators that CANN supports, or end the model before them (extra_params.out_nodes)"
    if any("(opset" in name for name in names):
        hint = "export the model with an older opset, as CANN's parser knows each operator up to some opset; or " + hint
    return StageError("unsupported_operator", "CANN does not support: " + (", ".join(names) or "see the log"), hint,
                      vendor_code=codes[0] if codes else None)


def shown_type(text):
    """`ai.onnx::23::Div` as `Div (opset 23)`, `com.microsoft::1::Inverse` as `com.microsoft.Inverse (opset 1)`."""
    parts = text.split("::")
    if len(parts) != 3:
        return text
    domain = "" if parts[0] in ("", "ai.onnx") else parts[0] + "."
    return f"{domain}{parts[2]} (opset {parts[1]})"


def read_warnings(output):
    """What atc warns of after success: `W11001: …`."""
    return ["{}: {}".format(*entry) for entry in _entries(output, "W")][:20]


def _entries(output, kind="E"):
    return [entry for entry in _ENTRY.findall(output) if entry[0].startswith(kind)]


def _most_telling(entries):
    """`(vendor's code, text, our code, hint)`."""
    ordered = [entry for entry in entries if not _FOLLOWS.fullmatch(entry[0])] or entries
    for codes, code, hint in _RULES:
        for number, text in ordered:
            if number.startswith(codes):
                return number, text, code, hint
    raise AssertionError("every code begins with E")


def _without_code(finished, job):
    """An atc that did not come as far as its own error codes."""
    library, flag = _LIBRARY.search(finished.output), _FLAG.search(finished.output)
    if library:
        return StageError("toolchain_broken", f"atc cannot be loaded: {library.group(1)} is missing", _BROKEN)
    if flag:
        name = flag.group(1) or flag.group(2)
        return StageError("option_invalid", f"this version of atc does not know --{name}",
                          "leave it out, or send the task to a worker with a newer CANN")
    last = [line for line in finished.output.splitlines() if line.strip(" .")][-3:]
    return StageError("compile_failed", f"atc failed with code {finished.code}: " + tidy("\n".join(last), job), _REPORT)
