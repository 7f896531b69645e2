"""Regular expressions of clients. A short one can take minutes to compile, so a limited child tries that."""
from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from collections import deque

from shared.deadlines import check_time, left_s
from shared.errors import Busy
from shared.rules.bilingual import Bilingual

MAX_S = 2.0  # for a place
CHILD_S = 5.0  # of which it may compute one second; a busy machine gives it less
AT_ONCE = 2  # children of one process
_RETRY_AFTER_S = 2
_MAX_WHY_CHARS = 200
_TRIED = """
import json, os, re, resource, sys
os.nice(10)
for limit, value in (("AS", 256 << 20), ("CPU", 1), ("CORE", 0), ("NOFILE", 3)):
    resource.setrlimit(getattr(resource, "RLIMIT_" + limit), (value, value))
for pattern in json.loads(sys.stdin.buffer.read()):
    try:
        re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        print(json.dumps([pattern, str(error)]))
        break
else:
    print("null")
"""
# Without sets, groups, counts and escapes the effort is in proportion to the length.
_PLAIN = re.compile(r"[^\[({\\]*")

# What a child has found right of late. `precision: "auto"` asks for the same patterns once for each candidate.
_right: deque[list[str]] = deque(maxlen=16)
_places = threading.BoundedSemaphore(AT_ONCE)


def find_wrong(patterns: list[str]) -> Bilingual | None:
    """What is wrong with the first of them that Python's `re` does not take, or cannot compile in a moment.

    Raises:
        Busy: too many are being tried just now, or the machine computes other things. OutOfTime.
    """
    for pattern in filter(_PLAIN.fullmatch, patterns):
        try:
            re.compile(pattern)
        except re.error as error:
            return _no_pattern(pattern, str(error))
    others = [pattern for pattern in patterns if not _PLAIN.fullmatch(pattern)]
    if not others or others in _right:
        return None
    wrong = _try(others)
    if wrong is None:
        _right.append(others)
    return wrong


def _try(patterns: list[str]) -> Bilingual | None:
    if not _places.acquire(timeout=min(MAX_S, left_s())):
        raise Busy("正则表达式过多, 请稍后重试",
                   "too many regular expressions just now: try again later", _RETRY_AFTER_S)
    try:
        done = subprocess.run([sys.executable, "-I", "-S", "-c", _TRIED], input=json.dumps(patterns).encode(), env={},
                              cwd="/", stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                              timeout=min(CHILD_S, left_s()))
        wrong = json.loads(done.stdout) if done.returncode == 0 else []
    except subprocess.TimeoutExpired as error:
        check_time()
        raise Busy("系统繁忙, 未能及时检查正则表达式",
                   "the machine is too busy to check the regular expressions in time", _RETRY_AFTER_S) from error
    except OSError as error:
        raise Busy("暂时无法检查正则表达式: 无法启动进程",
                   "regular expressions cannot be checked just now: no process can be started",
                   _RETRY_AFTER_S) from error
    finally:
        _places.release()
    if wrong == []:
        return Bilingual("正则表达式过于复杂", "the regular expressions are too complex")
    return _no_pattern(*wrong) if wrong else None


def _no_pattern(pattern: str, why: str) -> Bilingual:
    return Bilingual(f"正则表达式 {pattern!r} 无效: {why[:_MAX_WHY_CHARS]}",
                     f"{pattern!r} is no regular expression: {why[:_MAX_WHY_CHARS]}")
