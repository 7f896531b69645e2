"""Runs a vendor's tool in a fork of the stage's process, since it ends its process in ways of its own.

Seen with rknn-toolkit2 2.5.0: abort() for a layer that a chip cannot do, `exit(1)` from C++, a segmentation fault for
INT8 inputs, "free(): invalid size"; with onnxruntime-qnn 2.7.0: a segmentation fault for STFT. The parent goes on and
tells what happened from the log. What the C++ side prints through C's stdout, "No lowering found for" among it, is lost
where a process ends without flushing it: so the fork writes it out line by line.
"""
import ctypes
import json
import os
import re
import signal
import sys
import traceback

from worker.stage_api import StageError, is_out_of_memory
from worker.stages import reasons

_RESULT = "toolkit.json"
_LINE_BUFFERED = 1  # _IOLBF of glibc
# Exceptions by which Python code tells of a mistake in itself: their names say nothing of the model.
_OWN_MISTAKE = re.compile(r"(Index|Key|Attribute|Type|Name|UnboundLocal|Assertion|ZeroDivision|Recursion)Error\b(: )?")
# What it says of its own objects, which nobody knows who has not written it.
_OF_OBJECTS = re.compile(r"NoneType|'\w+' object|argument of type|^$")
_FROM_OUTSIDE = (signal.SIGKILL, signal.SIGXCPU)  # the kernel and the limits, not the toolkit


class Outcome:
    """How it ended: `value` that the function returned, or the `StageError` that it raised, or else `failure`, in
    words of both languages."""

    def __init__(self, value=None, error=None, failure=None):
        self.value = value
        self.error = error
        self.failure = failure


def run_apart(function):
    """`function()` in a fork, below this process's working directory; what it returns is plain JSON.

    Raises:
        MemoryError: a failed allocation.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    if os.path.exists(_RESULT):
        os.remove(_RESULT)  # of an earlier run
    child = os.fork()
    if child == 0:
        _run_child(function)
    status = os.waitpid(child, 0)[1]
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) in _FROM_OUTSIDE:
        os.kill(os.getpid(), os.WTERMSIG(status))  # the worker tells these apart by the stage's own end
    if os.WIFSIGNALED(status):
        return Outcome(failure=reasons.TOOL_CRASHED(signal=signal.Signals(os.WTERMSIG(status)).name))
    if not os.path.exists(_RESULT):
        return Outcome(failure=reasons.TOOL_ENDED(code=os.WEXITSTATUS(status)))
    with open(_RESULT, encoding="utf-8") as file:
        result = json.load(file)
    if "stage_error" in result:
        return Outcome(error=StageError.from_json(result["stage_error"]))
    if "memory" in result:
        raise MemoryError(result["memory"])
    if "failure" in result:
        return Outcome(failure=_told(result["failure"]))
    return Outcome(result["value"])


def _told(line):
    mistake = _OWN_MISTAKE.match(line)
    if not mistake:
        return reasons.TOOL_RAISED(said=line)
    said = line[mistake.end():]
    return reasons.TOOL_AT_FAULT if _OF_OBJECTS.search(said) else reasons.TOOL_MISTAKEN(said=said)


def _run_child(function):
    """Never returns."""
    libc = ctypes.CDLL(None)
    libc.setvbuf(ctypes.c_void_p.in_dll(libc, "stdout"), None, _LINE_BUFFERED, 0)
    code = 1
    try:
        try:
            result = {"value": function()}
        except StageError as error:
            result = {"stage_error": error.to_json()}
        except Exception as error:  # whatever the toolkit raises is its verdict on the model
            traceback.print_exc()
            kind = "memory" if is_out_of_memory(error) or "MemoryError" in _last_line(error) else "failure"
            result = {kind: _last_line(error)}
        with open(_RESULT + ".part", "w", encoding="utf-8") as file:
            json.dump(result, file)
        os.rename(_RESULT + ".part", _RESULT)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        libc.fflush(None)
        os._exit(code)


def _last_line(error):
    """`KeyError: …`: the toolkit's errors carry the text of the first one's traceback, which ends with that."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    kind = type(error).__name__
    return lines[-1] if len(lines) > 1 else ": ".join([kind, *lines])
