"""The process that parses what clients uploaded: no environment, no files, no network, little memory, little time.

Started by `reader`; it asks for byte ranges on its standard output and gets them on its standard input.
"""
from __future__ import annotations

import importlib
import json
import os
import resource
import sys
from collections.abc import Callable
from typing import Any, BinaryIO

from shared.preflight import reasons
from shared.preflight.limits import CHILD_CPU_S, CHILD_MEMORY_BYTES, NICENESS
from shared.rules.onnx.bounds import Incomplete
from shared.rules.onnx.wire import Ask
from shared.rules.refusal import Refusal

# A zip's modules cost as much to import as all the rest, so each job loads its own.
_JOBS = {"model": "shared.rules.onnx.facts:read_facts", "archive": "shared.preflight.archives:read_archive",
         "array": "shared.preflight.arrays:read_array"}
_STANDARD_FILES = 3


def main() -> None:
    """One job: a line of JSON `{"kind", "sizes"}`. Writes `ask INDEX START LENGTH` lines, each answered by the length
    (a line) and the bytes, and at last `done LENGTH` (a line) and the outcome as JSON: `{"facts"}` of each object,
    `{"problem"}` or `{"incomplete"}`."""
    requests, answers = sys.stdin.buffer, sys.stdout.buffer
    job = json.loads(requests.readline())
    module, _, function = _JOBS[job["kind"]].partition(":")
    read = getattr(importlib.import_module(module), function)
    _limit()
    outcome = json.dumps(_run(read, job["sizes"], requests, answers)).encode()
    answers.write(b"done %d\n%s" % (len(outcome), outcome))
    answers.flush()


def _limit() -> None:
    os.nice(NICENESS)
    resource.setrlimit(resource.RLIMIT_AS, (CHILD_MEMORY_BYTES, CHILD_MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (CHILD_CPU_S, CHILD_CPU_S))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (_STANDARD_FILES, _STANDARD_FILES))  # nothing can be opened any more


def _run(read: Callable[[Ask, int], Any], sizes: list[int], requests: BinaryIO, answers: BinaryIO) -> dict[str, Any]:
    def asking(index: int) -> Ask:
        def ask(start: int, length: int) -> bytes:
            answers.write(b"ask %d %d %d\n" % (index, start, length))
            answers.flush()
            return requests.read(int(requests.readline()))

        return ask

    try:
        return {"facts": [read(asking(index), size) for index, size in enumerate(sizes)]}
    except Refusal as problem:
        return {"problem": problem.to_json()}
    except Incomplete as error:
        return {"incomplete": [error.text.zh, error.text.en]}
    except (MemoryError, RecursionError):
        return {"incomplete": [reasons.TOO_MUCH_MEMORY.zh, reasons.TOO_MUCH_MEMORY.en]}
