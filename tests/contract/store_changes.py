"""One `Change` of every kind: by worker w1 in epoch 3, of a task whose beat it saw at 7."""
from __future__ import annotations

from collections.abc import Callable

from shared import transitions
from shared.documents import StageRecord, Status, StoredFailure, TaskResult
from shared.store import Claim
from shared.transitions import Change

OWNER, EPOCH, BEAT, MAX_RETRIES, DELAY_S = "w1", 3, 7, 3, 10.0

FETCH = StageRecord(name="fetch", key="k1", output_digest="d1", seconds=0.25, cached=False, peak_memory_bytes=1 << 33)
PUBLISH = StageRecord(name="publish", key="k2", output_digest="d2", seconds=1.5, cached=True)
RESULT = TaskResult(path="results/out.xml", files=["results/out.xml", "results/out.bin"], sha256="ab" * 32,
                    size_bytes=1 << 40, manifest_path="results/manifest.json", toolchain={"openvino": "2026.4"},
                    accuracy={"sigmoid_0.tmp_0": {"cosine": 0.99999}, "$out": {"": None}, "%2E": [1, 2.5, "输出"]})
FAILURE = StoredFailure(code="unsupported_operator", stage="compile", message="no such operator: NonZero",
                        message_zh="不支持的算子: NonZero", hint="replace it", hint_zh="替换该算子",
                        log_tail="line 1\nline 2\t\u001b[31m \"quoted\" \\")
LOG_LINES = ["正在编译 \U0001f642", "tuning: 43%|####2 | \"quoted\" \\ $where", ""]


def _reap(status: Status, retries: int) -> Change:
    seen = Claim("any", OWNER, EPOCH, BEAT, status, retries)
    return transitions.reap(seen, max_retries=MAX_RETRIES, delay_s=DELAY_S)


BY_CLIENTS: dict[str, Callable[[], Change]] = {
    "pause": transitions.pause,
    "resume": transitions.resume,
    "cancel": transitions.cancel,
    "retry": transitions.retry,
}

BY_THE_SERVICE: dict[str, Callable[[], Change]] = {
    "claim": lambda: transitions.claim("w9"),
    "beat": lambda: transitions.beat(OWNER, EPOCH),
    "beat with progress": lambda: transitions.beat(OWNER, EPOCH, 41.5),
    "beat with log lines": lambda: transitions.beat(OWNER, EPOCH, 41.5, LOG_LINES),
    "begin_stage": lambda: transitions.begin_stage(OWNER, EPOCH, "compile", 40.0, 1_700_000_000.125),
    "commit_stages": lambda: transitions.commit_stages(OWNER, EPOCH, [FETCH], 12.5),
    "commit_stages of two new ones": lambda: transitions.commit_stages(OWNER, EPOCH, [FETCH, PUBLISH], 12.5,
                                                                       finished=[FETCH, PUBLISH]),
    "wait": lambda: transitions.wait(OWNER, EPOCH, "files"),
    "end_wait": lambda: transitions.end_wait(OWNER, EPOCH),
    "note_outage": lambda: transitions.note_outage(OWNER, EPOCH, 12.52),
    "park": lambda: transitions.park(OWNER, EPOCH),
    "release": lambda: transitions.release(OWNER, EPOCH, DELAY_S),
    "release because the object store is away": lambda: transitions.release(OWNER, EPOCH, DELAY_S, "files"),
    "complete": lambda: transitions.complete(OWNER, EPOCH, RESULT, [FETCH, PUBLISH]),
    "fail": lambda: transitions.fail(OWNER, EPOCH, FAILURE),
    "reap": lambda: _reap(Status.RUNNING, 0),
    "reap for the last time": lambda: _reap(Status.RUNNING, MAX_RETRIES),
    "reap while paused": lambda: _reap(Status.PAUSED, 0),
    "mark_announced": lambda: transitions.mark_announced(EPOCH),
}

EVERY = BY_CLIENTS | BY_THE_SERVICE
