"""A toolkit that ends its process in ways of its own fails the stage in words, and loses none of its output."""
from __future__ import annotations

import ctypes
import faulthandler
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest

from shared.rules.bilingual import Bilingual
from worker.stage_api import StageError
from worker.stages.apart import run_apart
from worker.toolchains import ROOT


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def crash(number: int) -> None:
    faulthandler.disable()  # pytest's would tell of it at length
    os.kill(os.getpid(), number)


def raising(error: Exception) -> Callable[[], NoReturn]:
    def function() -> NoReturn:
        raise error
    return function


def test_what_the_function_returns_comes_back() -> None:
    outcome = run_apart(lambda: {"pid": os.getpid(), "names": ["a"]})
    assert outcome.failure is None and outcome.value["names"] == ["a"] and outcome.value["pid"] != os.getpid()


@pytest.mark.parametrize(("function", "failure"), [
    (lambda: crash(signal.SIGSEGV), "crashed with SIGSEGV"), (lambda: crash(signal.SIGABRT), "crashed with SIGABRT"),
    (lambda: os._exit(1), "ended its process with exit code 1"),
    (lambda: os._exit(0), "ended its process with exit code 0"),
    (raising(OSError("no disk")), "raised OSError: no disk"),
    (raising(KeyError("flag")), "broke on the model by a mistake of its own ('flag')"),
    (raising(IndexError("list index out of range")),
     "broke on the model by a mistake of its own (list index out of range)"),
    (raising(AssertionError()), "broke on the model by a mistake of its own, which the log shows"),
    (raising(AttributeError("'NoneType' object has no attribute 'shape'")),
     "broke on the model by a mistake of its own, which the log shows"),
    (raising(ValueError("Traceback (most recent call last):\n  File \"rknn/api\"\nTypeError: no way\n\n")),
     "broke on the model by a mistake of its own (no way)")])
def test_each_end_has_its_words(function: Callable[[], Any], failure: str) -> None:
    outcome = run_apart(function)
    assert (outcome.value, str(outcome.failure)) == (None, failure)


@pytest.mark.parametrize("error", [
    MemoryError("x"), RuntimeError("std::bad_alloc"),
    ValueError("Traceback:\nnumpy.core._exceptions._ArrayMemoryError: Unable to allocate 9 GiB")])
def test_a_failed_allocation_is_no_verdict_on_the_model(error: Exception) -> None:
    with pytest.raises(MemoryError):
        run_apart(raising(error))


def test_a_stages_own_refusal_comes_back_whole() -> None:
    """It is not raised: what the log shows may be the reason for it."""
    outcome = run_apart(raising(StageError("tensor_not_found", Bilingual("消息", "m"), Bilingual("提示", "h"))))
    assert (outcome.error.code, outcome.error.message, outcome.error.hint) == ("tensor_not_found", "m", "h")
    assert (outcome.error.message_zh, outcome.error.hint_zh) == ("消息", "提示")
    assert (outcome.value, outcome.failure) == (None, None)


def test_what_c_code_printed_is_not_lost_with_the_process(tmp_path: Path) -> None:
    """ "No lowering found for" goes through C's stdout, into a file: nobody else would flush it."""
    def function() -> None:
        os.dup2(os.open("log", os.O_WRONLY | os.O_CREAT, 0o600), 1)
        ctypes.CDLL(None).puts(b"No lowering found")
        os._exit(0)
    run_apart(function)
    assert (tmp_path / "log").read_text() == "No lowering found\n"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGXCPU])
def test_what_came_from_outside_ends_the_stage_the_same_way(tmp_path: Path, number: int) -> None:
    """So the worker's own rules for a killed stage and for its limits apply."""
    code = ("import os; from worker.stages.apart import run_apart; "
            f"print(run_apart(lambda: os.kill(os.getpid(), {int(number)})))")
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)},
                          capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (-number, "")
