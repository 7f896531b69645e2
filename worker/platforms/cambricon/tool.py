"""MagicMind's calls, with failed answers turned into errors for the user.

Every call answers a Status (`ok()`, `error_message()`), or an object that is None where it failed; why stands in what
the libraries print (magicmind_cloud: gen_model samples, python_common).
"""
import os
import re

from worker.platforms.cambricon import reasons
from worker.stages.calls import Name, Script
from worker.stages.messages import raise_if_out_of_memory, tidy

LOG = "log.txt"  # of the stage, in its working directory
MM, NETWORK, CONFIG = Name("mm"), Name("network"), Name("config")  # as the stages' lines name them
_LOG_BYTES = 1 << 20

# "2024-07-14 05:28:21.361150: ERROR:  magicmind/cc/internal/mm_parser_core.h:57]  Internal: Onnx mlir graph is illegal"
_LOGGED = re.compile(r"^(?:[\d-]+ [\d:.]+: )?(?:ERROR|FATAL):\s+(?:\S+:\d+\]\s+)?(.+)$")
_VENDOR_CODE = re.compile(r"^([A-Z]\w*(?: \w+)?):\s")
# MLIR's ways: "error: 'onnx.Unsqueeze' op requires a single operand", "failed to legalize operation 'onnx.Det'"
_REFUSED = re.compile(r"(?:'(?:onnx|mm)\.(\w+)' op\b:?\s*([^\n]*)|\boperation '(?:onnx|mm)\.(\w+)')")
_ABOUT_SUPPORT = re.compile(r"unsupported|not support|unimplemented|not implemented|not registered|legalize", re.I)
# A name of the model's operators: in quotes or brackets, behind `onnx.`, or in the list behind the word "operators".
_NAMED = (r"(?:\bop(?:erator)?(?:[ _]?type)?s?\b\s*[:=]?\s*(?:['\"]?\w+['\"]?,\s*)*['\"]?|"
          r"['\"]|\[(?:\w+,\s*)*|\bonnx\.){}\b(?!['\"]?\s*=)")
_MAX_CHARS = 1400  # of the operators and the reasons that are told
KNOWN_OPSET = 11  # what users found that the parser takes (Chinese-CLIP issue 328)


class Tool:
    """One stage's dealings with MagicMind: the lines of `script`, whose answers are checked.

    `known` are the names that the lines begin with, such as `mm`.
    """

    def __init__(self, job, **known):
        self.script = Script(**known)
        self._job = job
        self._inspected = job["inputs"].get("inspect", {}).get("facts", {})
        self._position = os.path.getsize(LOG) if os.path.exists(LOG) else 0

    def let(self, name, expression, what, reason=reasons.CANNOT):
        """The same as `do`; later lines know the answer by `name`."""
        return self._check(lambda: self.script.let(name, expression), what, reason)

    def do(self, expression, what, reason=reasons.CANNOT):
        """What the line answers; `what` says in both languages what it is for.

        Raises:
            StageError: it raised, or answered None or a Status that is not ok; by `reason` unless the tool's own words
                name operators: `unsupported_operator`.
        """
        return self._check(lambda: self.script.do(expression), what, reason)

    def _check(self, run, what, reason):
        try:
            answer = run()
        except Exception as error:  # the bindings raise what the libraries throw; they have no base class
            raise_if_out_of_memory(error)
            raise self._explain(what, str(error), reason) from error
        if answer is None:
            raise self._explain(what, "", reason)
        if hasattr(answer, "ok") and not answer.ok():
            raise self._explain(what, status_text(answer), reason)
        return answer

    def _explain(self, what, text, reason):
        """The StageError for a failed call. `text` is what it answered, if it said anything."""
        printed = self._printed()
        logged = [found.group(1).strip() for found in map(_LOGGED.match, printed.splitlines()) if found]
        raise_if_out_of_memory(RuntimeError("\n".join([text, *logged])))
        refused = refusals(text + "\n" + printed, self._inspected.get("operators", {}))
        found = next(filter(None, map(_VENDOR_CODE.match, [text, *reversed(logged)])), None)
        vendor_code = found.group(1) if found else None
        if refused:
            told = "; ".join(name + (f" ({why})" if why else "") for name, why in sorted(refused.items()))
            opset = self._inspected.get("opsets", {}).get("ai.onnx", 0)
            refusing = reasons.OPERATORS_TOO_NEW if opset > KNOWN_OPSET else reasons.OPERATORS_REFUSED
            return refusing(what=what, operators=told[:_MAX_CHARS], opset=opset, known=KNOWN_OPSET,
                            vendor_code=vendor_code)
        lines = list(dict.fromkeys(line for line in [text, *logged[-5:]] if line))
        return reason(what=what, said=tidy("\n".join(lines), self._job) or reasons.NO_REASON, vendor_code=vendor_code)

    def _printed(self):
        """What was printed since this stage began; the end of it."""
        try:
            with open(LOG, "rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(self._position, size - _LOG_BYTES))
                return file.read().decode(errors="replace")
        except OSError:
            return ""


def status_text(status):
    """The words of a Status."""
    return str(status.error_message() if hasattr(status, "error_message") else status)


def refusals(text, operators):
    """`{operator: why}` of the operators that the tool's words refuse.

    Those of its ONNX dialect it names itself; in its other lines about what is not supported only the model's own
    `operators` are looked for.
    """
    found = {}
    for name, why, bare in _REFUSED.findall(text):
        name, why = name or bare, why.strip(" .")
        found[name] = found.get(name) or ("" if _ABOUT_SUPPORT.search(why) else why[:200])
    for line in filter(_ABOUT_SUPPORT.search, text.splitlines()):
        for operator in operators:
            if re.search(_NAMED.format(re.escape(operator)), line):
                found.setdefault(operator, "")
    return found
