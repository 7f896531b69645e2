"""Clients' regular expressions: what Python's `re` takes is taken, and what costs too much is told so by a child."""
from __future__ import annotations

import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from shared import patterns
from shared.deadlines import ending_at
from shared.errors import Busy, OutOfTime
from shared.patterns import find_wrong
from shared.platforms.intel import IntelParameters

# Each takes a second or so to compile: every set is made anew for both cases of 65,000 letters.
COSTLY = ["(?i)" + f"[{chr(0x100 + number)}-\uffff]" * 84 for number in range(12)]


def test_what_python_takes_is_taken() -> None:
    assert find_wrong([]) is None
    assert find_wrong(["/head/.*", "Conv_1", "^a+b?$|c", "größe/.*"]) is None
    assert find_wrong(["(?!tail)/[a-z]+", r"/neck\.\d{1,3}", "(?P<x>a)(?P=x)", "(?i)head", "[\u4e00-\u9fff]+"]) is None


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests' machine may compute other things."""
    monkeypatch.setattr(patterns, "CHILD_S", 120.0)


@pytest.mark.parametrize("pattern", ["a**", "(head", "[z-a]", r"\p", "(?<=a+)b", "a{2,1}", "(a{1,99999999999})", "*"])
def test_the_wrong_one_is_named_with_what_python_says(pattern: str) -> None:
    with pytest.raises((re.error, OverflowError)) as caught:
        re.compile(pattern)
    wrong = find_wrong(["/head/.*", "(fine)", pattern])
    assert wrong is not None
    assert repr(pattern) in wrong.en and str(caught.value) in wrong.en and "无效" in wrong.zh


def test_what_takes_long_to_compile_is_refused_and_costs_this_process_nothing() -> None:
    began = time.process_time()
    wrong = find_wrong(COSTLY)
    assert wrong is not None and "too complex" in wrong.en and "复杂" in wrong.zh
    assert time.process_time() - began < 0.5


def test_a_request_with_such_patterns_is_told_which_parameter_it_is() -> None:
    scope = {"patterns": COSTLY}
    with pytest.raises(ValueError, match="too complex"):
        IntelParameters.model_validate({"precision": "int8", "calibration": "models/set",
                                        "quantization": {"ignored_scope": scope}})


def test_no_more_than_two_are_tried_at_once_and_the_rest_is_told_to_come_again(
        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patterns, "MAX_S", 0.2)
    monkeypatch.setattr(patterns, "_places", threading.BoundedSemaphore(2))
    for _ in range(2):
        patterns._places.acquire()
    with pytest.raises(Busy) as caught:
        find_wrong(["(a)"])
    assert int(caught.value.headers["Retry-After"]) > 0
    patterns._places.release()
    patterns._places.release()
    with ThreadPoolExecutor(2) as pool:
        assert len(list(pool.map(find_wrong, [COSTLY[:8]] * 2))) == 2
    assert patterns._places.acquire(blocking=False) and patterns._places.acquire(blocking=False)


def test_on_a_busy_machine_none_is_called_too_complex(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patterns, "CHILD_S", 0.001)
    with pytest.raises(Busy, match="too busy") as caught:
        find_wrong(["(a)|b"])
    assert int(caught.value.headers["Retry-After"]) > 0
    monkeypatch.setattr(patterns, "CHILD_S", 120.0)
    assert find_wrong(["(a)|b"]) is None


def test_they_are_not_tried_beyond_the_requests_time() -> None:
    with ending_at(time.monotonic()), pytest.raises(OutOfTime):
        find_wrong(["(a)"])
