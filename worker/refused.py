"""What a stage refuses as a result of its own: an attempt that ends so is recorded, and not made again.

With the same inputs a stage refuses the same again, so its refusal lies in the cache beside where its result would lie,
for every task. What went wrong in this run alone (its time or memory ended, the tool crashed) is this task's, and so is
what made a plain task try a second time: its key names the task.
"""
from __future__ import annotations

from typing import Any

from shared.digests import canonical_digest
from shared.errors import ConversionFailed
from shared.rules.error_codes import ERRORS, STAGE, WORKER
from worker.results import StageResult

REFUSED = "refused"
# Of these another attempt may be free, although the worker and not the stage has found them.
_OF_THIS_RUN = ("timeout", "out_of_memory", "stage_crashed")


def ends_an_attempt(error: Exception) -> bool:
    """Whether another conversion of the same model may succeed; a toolchain that is broken, or a full disk, would spoil
    them all."""
    return isinstance(error, ConversionFailed) and (is_of_this_run(error.code) or (
        STAGE in ERRORS[error.code].raised_by and WORKER not in ERRORS[error.code].raised_by))


def is_of_this_run(code: str) -> bool:
    return code in _OF_THIS_RUN


def refusal_key(key: str, task_id: str = "") -> str:
    """Where the refusal of the stage with this key lies; of the same form as the key."""
    digest, dash, form = key.partition("-")
    return canonical_digest({REFUSED: digest, "task": task_id}) + dash + form


def as_result(key: str, stage: str, task_id: str, error: ConversionFailed, tools: dict[str, str]) -> StageResult:
    """The refusal as the result of a stage whose own result would have the `key`; `task_id` is the task's to which it
    belongs alone."""
    return StageResult(refusal_key(key, task_id), stage, {}, {
        REFUSED: error.refusal.to_json(), "stage": error.stage or stage, "log_tail": error.log_tail,
        "found": error.found}, error.seconds, None, tools)


def is_refused(result: StageResult) -> bool:
    return REFUSED in result.facts


def refused_code(result: StageResult) -> str | None:
    return str(told["code"]) if isinstance(told := result.facts.get(REFUSED), dict) else None


def refusal_of(result: StageResult) -> dict[str, Any]:
    """Its code, message and hint, as `Refusal.to_json` has them."""
    return dict(result.facts[REFUSED])
