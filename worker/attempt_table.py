"""What a task tried, with `precision: "auto"` or a second time, as rows for the report, the result and the error."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shared.documents import Attempted
from shared.errors import ConversionFailed
from shared.outputs import published_names
from shared.platforms.candidates import Candidate, told_changes
from shared.rules.bilingual import Bilingual, Template, join
from shared.rules.refusal import Refusal
from worker import reasons
from worker.attempts import Attempts
from worker.refused import REFUSED, refusal_of
from worker.results import StageResult
from worker.steps import VERIFY, Attempt, Step

_GATE = "accuracy_too_low"
_TRIED = Template("{name}: {code}", "{name}: {code}")


def make_rows(attempts: Attempts, found: Mapping[str, StageResult]) -> list[Attempted]:
    """One for each candidate that lacks a calibration set, and one for each up to the chosen one."""
    rows = [_row(candidate, "not_available", reasons.NEEDS_A_SET) for candidate in attempts.unavailable]
    chosen, seen = attempts.current(found), set[str]()
    for attempt in attempts.attempts:
        why = attempts.why_not(attempt, found)
        own = [step.name for step in attempt.steps if step.tries and step.name in found and step.name not in seen]
        seen.update(own)
        if own or why == "failed" or attempt is chosen or (why == "skipped" and attempts.is_proper(attempt)):
            row = _tried(attempts, attempt, why, found)
            rows.append(row.model_copy(update={
                "name": attempt.name, "parameters": told_changes(attempt.candidate, attempt.task.parameters),
                "chosen": attempt is chosen, "size_bytes": _size_bytes(attempt, found),
                "seconds": round(sum(found[name].seconds for name in own), 3) if own else None}))
        if attempt is chosen:
            break
    return rows


def _tried(attempts: Attempts, attempt: Attempt, why: str | None, found: Mapping[str, StageResult]) -> Attempted:
    if step := attempt.refused(found):
        facts, refusal = found[step.name].facts, refusal_of(found[step.name])
        message = Bilingual(refusal["message_zh"], refusal["message"])
        row = _row(attempt.candidate, "failed", message, facts.get("found", {}))
        return row.model_copy(update={"code": refusal["code"], "stage": step.name})
    if why == "skipped":
        return _row(attempt.candidate, why, reasons.TIME_WAS_OVER(seconds=f"{attempts.time_s:g}"))
    results = attempt.pick(found)
    facts = results[VERIFY].facts if VERIFY in results else {}
    status = "not_compared" if facts.get("skipped") else "accepted" if facts.get("accepted") else "passed"
    return _row(attempt.candidate, status, Bilingual(facts.get("reason_zh", ""), facts.get("reason", "")), facts)


def _row(candidate: Candidate, status: str, message: Bilingual, facts: dict[str, Any] | None = None
         ) -> Attempted:
    return Attempted(name=candidate.name, precision=candidate.precision, parameters=candidate.changes, status=status,
                     accuracy=_accuracy(facts or {}), message=message.en, message_zh=message.zh)


def _accuracy(facts: dict[str, Any]) -> dict[str, Any] | None:
    """The worst output's figures, and the bound that they were held to."""
    outputs = [entry for entry in facts.get("outputs", []) if isinstance(entry.get("cosine"), float)]
    if not outputs:
        return None
    worst = min(outputs, key=lambda entry: float(entry.get("agreement", entry["cosine"])))
    told = {name: worst[name] for name in ("cosine", "agreement") if name in worst}  # the latter of whole numbers
    return {"output": worst["name"], **told, "min_cosine": facts.get("min_cosine")}


def _size_bytes(attempt: Attempt, found: Mapping[str, StageResult]) -> int | None:
    """Of the artefact's files, if it was made."""
    for step in reversed(attempt.steps):
        if step.stage.name == VERIFY or step.name not in found:
            continue
        if step.tries and (names := published_names(attempt.task, found[step.name].files)):
            return sum(found[step.name].files[name]["size_bytes"] for name in names.values())
    return None


def none_passes(attempts: Attempts, found: Mapping[str, StageResult]) -> ConversionFailed:
    """Why the task fails: by the gate where it has refused any attempt, else by what the most exact one failed of; of
    a plain task by what its own conversion failed of, whatever became of the second one."""
    failed = [(attempt, step) for attempt in attempts.attempts if (step := attempt.refused(found))]
    codes = [str(refusal_of(found[step.name])["code"]) for _, step in failed]
    by_gate = [pair for pair, code in zip(failed, codes, strict=True) if code == _GATE]
    attempt, step = (by_gate or failed)[-1] if attempts.is_auto else failed[0]
    result = found[step.name]
    why = Refusal.from_json(result.facts[REFUSED])
    message = why.text
    if attempts.is_auto:
        tried = [_TRIED(name=other.name, code=code) for (other, _), code in zip(failed, codes, strict=True)]
        message = reasons.NONE_PASSES(tried=join(", ", tried), name=attempt.name, why=why.text)
    elif failed[1:]:
        message = reasons.SECOND_FAILS_TOO(why=why.text, stage=failed[1][1].name, code=codes[1])
    error = ConversionFailed(why.told_as(message), stage=step.name, log_tail=result.facts["log_tail"])
    error.attempts = make_rows(attempts, found)
    return error


def time_is_over(error: ConversionFailed, attempts: Attempts, step: Step) -> ConversionFailed:
    """In the words of `auto_time_s`, if it was that which ended the step."""
    left_s = attempts.seconds_left(step)
    if left_s is None or error.code != "timeout" or error.seconds < left_s:
        return error
    ended = ConversionFailed(reasons.TOO_SLOW_TO_TRY(seconds=f"{left_s:.0f}"), log_tail=error.log_tail)
    ended.seconds = error.seconds
    return ended
