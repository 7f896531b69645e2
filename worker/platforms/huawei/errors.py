"""The output of a failed atc as one error of ours.

An entry is `E10001: [PID: 7] 2025-03-18-09:02:18.501.341 what is wrong`, PID and time in newer versions only, followed
by indented lines: Possible Cause, Solution, TraceBack. Source: CANN troubleshooting, "Error codes".
"""
import re

from shared.rules.bilingual import NOTHING, as_it_is
from worker.platforms.huawei import reasons
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

# Code, or the beginning of one: our reason. The first that is found among all entries is told; so the order says what
# is a cause and what only follows from it.
_RULES = (
    (_UNSUPPORTED, reasons.UNSUPPORTED),
    (("E40020", "E40001", "E40002", "EC0010", "E80001"), reasons.BROKEN),
    (("E10052", "E10034", "E10032", "E10410", "E70014", "E40022", "E40023"), reasons.WRONG_FILE),
    (("E10016", "E10017"), reasons.WRONG_NAME),
    (("E10002", "E10011", "E10012", "E10018", "E10019", "E10020", "E10031", "E10035", "E10036", "E10037", "E10038",
      "E10039", "E10040", "E10045", "E10046", "E10048", "E10049", "E10050", "E11005"), reasons.WRONG_SHAPES),
    (("E10041",), reasons.CANNOT_READ_MODEL),
    (("E100", "E104"), reasons.WRONG_OPTION),
    (("E40021", "E20001"), reasons.NOT_COMPILED),
    (("EZ0", "E7"), reasons.OPERATOR_REFUSES),
    (("EB", "E4", "E2", "E3", "E5"), reasons.NOT_COMPILED),
    (("EE", "EH", "EL", "EI", "EJ"), reasons.RUNTIME_FAILED),
    (("E",), reasons.FAILED),
)
_FOLLOWS = re.compile(r"E[0-9A-Z]9999")  # "inner error": told only where nothing else is


def explain(finished, job):
    """The StageError of an atc that failed."""
    output = finished.output
    if not _entries(output):
        return _without_code(finished, job)
    number, text, reason = _most_telling(_entries(output))
    if reason is reasons.UNSUPPORTED:
        return unsupported([], output)
    said = as_it_is(tidy(text, job))
    failed = _FAILED_OP.search(output)
    if number in ("E40021", "E20001") and failed:
        said = reasons.DOES_NOT_COMPILE(name=failed.group(1), type=failed.group(2), said=said)
    module = _MODULE.search(output)
    if reason.code == "toolchain_broken" and module:
        said = reasons.MODULE_MISSING(said=said, module=module.group(1))
    advice, solution = re.search(r"^\s+Solution:\s*(\S.*)$", output[output.find(number):], re.MULTILINE), NOTHING
    if advice and "N/A" not in advice.group(1):
        solution = reasons.SOLUTION(said=tidy(advice.group(1), job, 300))
    return reason(said=said, solution=solution, vendor_code=number)


def unsupported(types, output):
    """`unsupported_operator`; `types` are known already, the output names the rest."""
    found = {shown_type(name) for match in _OPERATORS.findall(output) for name in match if name}
    names = sorted(found | set(types))
    codes = [entry[0] for entry in _entries(output) if entry[0] in _UNSUPPORTED]
    reason = reasons.UNSUPPORTED_OPSET if any("(opset" in name for name in names) else reasons.UNSUPPORTED
    return reason(names=", ".join(names) or reasons.SEE_LOG, vendor_code=codes[0] if codes else None)


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
    """`(vendor's code, text, our reason)`."""
    ordered = [entry for entry in entries if not _FOLLOWS.fullmatch(entry[0])] or entries
    for codes, reason in _RULES:
        for number, text in ordered:
            if number.startswith(codes):
                return number, text, reason
    raise AssertionError("every code begins with E")


def _without_code(finished, job):
    """An atc that did not come as far as its own error codes."""
    library, flag = _LIBRARY.search(finished.output), _FLAG.search(finished.output)
    if library:
        return reasons.LIBRARY_MISSING(library=library.group(1))
    if flag:
        return reasons.UNKNOWN_FLAG(name=flag.group(1) or flag.group(2))
    last = [line for line in finished.output.splitlines() if line.strip(" .")][-3:]
    return reasons.FAILED_WITHOUT_CODE(code=finished.code, said=tidy("\n".join(last), job))
