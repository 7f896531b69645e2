"""A second conversion of a plain task, from the model as it was sent.

The passes of `optimize` leave what a model answers as it is. A vendor's tool may still make something worse of what
they wrote: it does not know a fused operator, or computes it in fewer bits. So where the gate or the tool refuses a
model that the passes have rewritten, the task is converted once more with `simplify: false`. Its first attempt keeps
the stages' own names; the second one shares what comes before the passes, and has `as-sent` after the names of its own
stages.

Whoever sends `simplify` has chosen: then there is one conversion. So it is with `precision: "auto"`, which has attempts
of its own.
"""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any

from shared.documents import Task
from shared.errors import ConversionFailed
from shared.platforms.candidates import AUTO, Candidate
from worker.attempts import Attempts
from worker.plan import Plan, Stage
from worker.results import StageResult
from worker.steps import PUBLISH, Attempt, Step, plain_steps, with_names

SIMPLIFY = "simplify"  # the parameter
SIMPLIFIED, AS_SENT = "simplified", "as-sent"  # the attempts
# What the passes may be the cause of. Others are of the parameters, of the calibration set or of this run: a stage that
# took too long, or too much memory, would take no less.
_OF_THE_MODEL = ("accuracy_too_low", "compile_failed", "unsupported_operator", "unsupported_type", "artefact_missing",
                 "verify_failed", "stage_crashed")


def make_attempts(plan: Plan, task: Task) -> Attempts:
    """Those of a claim of this task.

    Raises:
        ConversionFailed: `version_mismatch`, see `Attempts`.
    """
    chosen = task.parameters.get(SIMPLIFY) is not None or task.parameters.get("precision") == AUTO
    return Attempts(plan, task) if chosen or _passes(plan) is None else SecondTry(plan, task)


def _passes(plan: Plan) -> Stage | None:
    """The stage with the passes, if the target has it."""
    return next((stage for stage in plan.stages if SIMPLIFY in stage.parameters), None)


class SecondTry(Attempts):
    """Two attempts, of which the second is made only if the first was refused and another model may be taken."""

    def why_not(self, attempt: Attempt, found: Mapping[str, StageResult]) -> str | None:
        if attempt.refused(found):
            return "failed"
        return "not_needed" if attempt is self._second and not self.has_table(found) else None

    def ends(self, step: Step, error: Exception, found: Mapping[str, StageResult]) -> bool:
        if not super().ends(step, error, found) or not isinstance(error, ConversionFailed):
            return False
        return step in self._own or (error.code in _OF_THE_MODEL and self._is_rewritten(found))

    def has_table(self, found: Mapping[str, StageResult]) -> bool:
        return self._first.refused(found) is not None and self._is_rewritten(found)

    def percent(self, found: Mapping[str, StageResult], step: Step | None, step_percent: float) -> float:
        """The second attempt has what the first one has left."""
        done = _share(self._first.steps, found, step, step_percent)
        if self.has_table(found):
            done += (1.0 - done) * _share(self._own, found, step, step_percent)
        return round(100.0 * done, 1)

    def _make(self, plan: Plan) -> tuple[Attempt, ...]:
        again = self.task.model_copy(update={"parameters": self.task.parameters | {SIMPLIFY: False}})
        precision = str(self.task.parameters.get("precision") or "")
        candidates = Candidate(SIMPLIFIED, precision), Candidate(AS_SENT, precision, {SIMPLIFY: False})
        first, second = with_names([Attempt(candidate, candidate.name, task, tuple(plain_steps(plan, task)))
                                    for candidate, task in zip(candidates, (self.task, again), strict=True)])
        shared = {step.name for step in first.steps} & {step.name for step in second.steps}
        return (replace(first, steps=tuple(_of_first(step, shared) for step in first.steps)),
                replace(second, steps=tuple(_of_second(step, shared) for step in second.steps)))

    @property
    def _first(self) -> Attempt:
        return self.attempts[0]

    @property
    def _second(self) -> Attempt:
        return self.attempts[1]

    @cached_property
    def _own(self) -> tuple[Step, ...]:
        """What the second attempt has to do itself."""
        names = {step.name for step in self._first.steps} - {PUBLISH}
        return tuple(step for step in self._second.steps if step.name not in names)

    def _is_rewritten(self, found: Mapping[str, StageResult]) -> bool:
        """Whether a compiler would get another model without the passes."""
        return any(found[step.name].facts.get("rewritten", False) for step in self._first.steps
                   if SIMPLIFY in step.stage.parameters and step.name in found)


def _of_first(step: Step, shared: set[str]) -> Step:
    """Under the stage's own name, as in a task of one conversion. Its refusal has a name of its own in the task's
    records: a version that knows no second try must not take it for the stage's result."""
    tries = step.tries and step.name not in shared
    return replace(step, name=step.stage.name, inputs={name: name for name in step.stage.inputs}, tries=tries,
                   refused_name=step.name if tries else "")


def _of_second(step: Step, shared: set[str]) -> Step:
    return step if step.name in shared else replace(step, tries=True, refused_name=step.name)


def _share(steps: tuple[Step, ...], found: Mapping[str, Any], running: Step | None, percent: float) -> float:
    """Which part of the steps is done, by their weights."""
    at = running.name if running else ""
    done = sum(step.stage.weight * (1.0 if step.name in found else percent / 100.0 if step.name == at else 0.0)
               for step in steps)
    return done / sum(step.stage.weight for step in steps)
