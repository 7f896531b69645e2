"""Reading uploaded objects in a limited child, which gets nothing but the byte ranges that it asks for."""
from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from shared.errors import Busy, NotFound
from shared.files import FileInfo, Files
from shared.preflight import reasons
from shared.preflight.limits import MAX_RANGE_BYTES
from shared.rules.bilingual import Bilingual
from shared.rules.onnx.bounds import MAX_READ_BYTES, Incomplete
from shared.rules.reasons import outline
from shared.rules.refusal import Refusal

_PACKAGE_ROOT = Path(__file__).resolve().parents[2]
_START = "import sys; sys.path.append(sys.argv[1]); from shared.preflight.child import main; main()"
_LONGEST_LINE = 100
_LARGEST_OUTCOME = 4 << 20  # to read it takes a thirtieth of a second, in which this process does nothing else
_RETRY_AFTER_S = 5


def read_objects(kind: str, infos: list[FileInfo], files: Files, deadline: float) -> list[Any]:
    """The facts of each object, as the child's job `kind` reads it; `deadline` is monotonic.

    Raises:
        Refusal, Incomplete: the child's, or it had no time or memory left.
        Busy: no process can be started.
        Unavailable: the object store does not answer.
    """
    if not infos:
        return []
    try:
        child = subprocess.Popen([sys.executable, "-I", "-S", "-c", _START, str(_PACKAGE_ROOT)], env={}, cwd="/",
                                 stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    except OSError as error:
        raise Busy("暂时无法校验: 无法启动进程", "cannot be checked just now: no process can be started",
                   _RETRY_AFTER_S) from error
    requests, answers = child.stdout, child.stdin
    assert requests and answers  # since they are pipes
    late = threading.Event()

    def end_late() -> None:
        late.set()
        child.kill()

    timer = threading.Timer(max(0.0, deadline - time.monotonic()), end_late)
    timer.daemon = True
    timer.start()
    try:
        outcome = _serve(requests, answers, kind, infos, files)
    except (OSError, ValueError) as error:  # it ended in the middle of it
        raise Incomplete(reasons.TOO_SLOW if late.is_set() else reasons.TOO_EXPENSIVE) from error
    finally:
        timer.cancel()
        child.kill()
        with suppress(OSError):
            answers.close()
        requests.close()
        child.wait()
    if "problem" in outcome:
        raise Refusal.from_json(outcome["problem"])
    if "incomplete" in outcome:
        raise Incomplete(Bilingual(*outcome["incomplete"]))
    return outcome["facts"]


def _serve(requests: IO[bytes], answers: IO[bytes], kind: str, infos: list[FileInfo],
           files: Files) -> dict[str, Any]:
    """Answer what the child asks for until it is done; its outcome."""
    job = {"kind": kind, "sizes": [info.size_bytes for info in infos]}
    _write(answers, json.dumps(job).encode() + b"\n")
    left = MAX_READ_BYTES
    while True:
        word, *numbers = requests.readline(_LONGEST_LINE).split()
        if word == b"done":
            return _outcome(requests, *map(int, numbers))
        index, start, length = map(int, numbers)
        left -= length
        if not (0 <= index < len(infos) and start >= 0 and 0 < length <= MAX_RANGE_BYTES and left >= 0):
            raise ValueError("no range that a reader asks for")
        try:
            now, content = files.read_range(infos[index].path, start, length)
        except NotFound as error:
            raise Incomplete(reasons.REMOVED) from error
        if now.etag != infos[index].etag:
            raise Incomplete(outline.WRITTEN)
        _write(answers, b"%d\n%s" % (len(content), content))


def _outcome(requests: IO[bytes], length: int) -> dict[str, Any]:
    if not 0 < length <= _LARGEST_OUTCOME:
        raise ValueError("no length of an outcome")
    return json.loads(requests.read(length))


def _write(answers: IO[bytes], content: bytes) -> None:
    answers.write(content)
    answers.flush()
