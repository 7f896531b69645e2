"""The conversions that a task tries, and which step comes next.

A plain task has one attempt, and at times a second one (`worker/second_try.py`). One with `precision: "auto"` has an
attempt for each candidate of its target, from the fastest to the most exact: the very conversion that a request for
this candidate alone would be, so that both share their stages in the cache. The first attempt that the accuracy gate
passes is published. A stage in which all attempts agree runs once, under its own name; where they differ, the
candidate's name comes after it: `compile-int8-hybrid`.

What comes next follows from the results so far alone, and what an attempt failed of is such a result too. So a task
that was parked or reaped goes on where it was, on any worker, and no attempt is made twice.
"""
from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from shared.documents import StageRecord, Task
from shared.errors import ConversionFailed
from shared.platforms import get_platforms
from shared.platforms.base import Automatic
from shared.platforms.candidates import AUTO, Candidate, choose
from worker import reasons
from worker.plan import Plan
from worker.refused import ends_an_attempt
from worker.results import StageResult
from worker.steps import PUBLISH, VERIFY, Attempt, Step, plain_steps, with_names

_PLAIN = Candidate("", "")
ACCEPTED = "accepted"  # ends the name of an attempt that is taken although the gate has failed it


class Attempts:
    """Of one claim of a task. `found` are always the results so far, by the names of the steps."""

    def __init__(self, plan: Plan, task: Task) -> None:
        self.task = task
        self.is_auto = task.parameters.get("precision") == AUTO
        self.unavailable: list[Candidate] = []  # for want of a calibration set
        self.attempts = self._make(plan)
        self.time_s = task.parameters.get("auto_time_s")
        self._seconds: dict[str, float] = {}  # of each step that was tried for this task

    @cached_property
    def steps(self) -> tuple[Step, ...]:
        """All that may run, in their order."""
        return tuple({step.name: step for attempt in self.attempts for step in attempt.steps}.values())

    def note(self, step: Step, record: StageRecord) -> None:
        """The step has a result; what comes from the cache has cost no time."""
        if step.tries:
            self._seconds[step.name] = 0.0 if record.cached else record.seconds

    def forget_refusals(self, found: dict[str, StageRecord]) -> None:
        """Where the last attempt has failed, somebody wants all tried again: what each failed of counts no more."""
        failed = {name for name, record in found.items() if record.refused}
        if failed.intersection(step.name for step in self._last.steps):
            for name in failed:
                del found[name]

    def current(self, found: Mapping[str, StageResult]) -> Attempt | None:
        """The attempt that goes on, or has passed; None where none is left."""
        return next((attempt for attempt in self.attempts if self.why_not(attempt, found) is None), None)

    def ends(self, step: Step, error: Exception, found: Mapping[str, StageResult]) -> bool:
        """Whether what the step fails of ends an attempt, and not the task."""
        return step.tries and ends_an_attempt(error)

    def has_table(self, found: Mapping[str, StageResult]) -> bool:
        """Whether clients are told of attempts at all."""
        return self.is_auto

    def why_not(self, attempt: Attempt, found: Mapping[str, StageResult]) -> str | None:
        """Why the attempt is no choice (any more): `failed`, `not_compared`, `skipped`."""
        if not self.is_auto:
            return None
        if attempt.refused(found):
            return "failed"
        if attempt.is_unproven(found):
            return "not_compared"
        if attempt.is_checked(found):
            return None
        if not self.is_proper(attempt):  # it only judges anew what has been made
            step = attempt.next_step(found)
            return None if step and step.stage.name == VERIFY else "skipped"
        return "skipped" if self.is_over and attempt is not self._last else None

    def next_step(self, found: Mapping[str, StageResult]) -> Step | None:
        """None where all is done, or nothing is left to try."""
        attempt = self.current(found)
        return attempt.next_step(found) if attempt else None

    def next_name(self, recorded: Mapping[str, StageRecord]) -> str:
        """The step that comes next, as far as a task's records alone tell."""
        failed = {name for name, record in recorded.items() if record.refused}
        likely = [attempt for attempt in self._proper if failed.isdisjoint(step.name for step in attempt.steps)]
        step = (likely or self.attempts)[0].next_step(recorded)
        return step.name if step else PUBLISH

    @property
    def is_over(self) -> bool:
        return self.time_s is not None and sum(self._seconds.values()) >= self.time_s

    def seconds_left(self, step: Step) -> float | None:
        """How long the step may run before the next attempt is due: half of what is left, so that a slow one does not
        keep all others from being tried. What the last one needs has all the time."""
        if self.time_s is None or not step.tries or step.name in {other.name for other in self._last.steps}:
            return None
        return max(1.0, (float(self.time_s) - sum(self._seconds.values())) / 2)

    def percent(self, found: Mapping[str, StageResult], step: Step | None, step_percent: float) -> float:
        """Of the whole task. What is not needed any more counts as done."""
        current = self.current(found)
        if current and current.is_checked(found):
            left: tuple[Attempt, ...] = (current,)
        else:
            left = tuple(attempt for attempt in self._proper if self.why_not(attempt, found) is None)
        needed = {step.name for attempt in left for step in attempt.steps}
        weights = {step.name: step.stage.weight for attempt in self._proper for step in attempt.steps}
        done = sum(weight for name, weight in weights.items() if name in found or name not in needed)
        running = step.stage.weight * step_percent / 100.0 if step and step.name in weights else 0.0
        return round(100.0 * (done + running) / sum(weights.values()), 1)

    @cached_property
    def _proper(self) -> tuple[Attempt, ...]:
        """Those that the gate has to pass."""
        return tuple(attempt for attempt in self.attempts if self.is_proper(attempt))

    @property
    def _last(self) -> Attempt:
        """The most exact one, which is made even when the time is over."""
        return self._proper[-1]

    @staticmethod
    def is_proper(attempt: Attempt) -> bool:
        """Whether the gate has to pass it; the others judge anew, for a client who takes what fails."""
        return attempt.name == attempt.candidate.name

    def _make(self, plan: Plan) -> tuple[Attempt, ...]:
        if self.is_auto:
            return self._of_candidates(plan)
        return (Attempt(_PLAIN, "", self.task, tuple(plain_steps(plan, self.task))),)

    def _of_candidates(self, plan: Plan) -> tuple[Attempt, ...]:
        """Raises:
            ConversionFailed: `version_mismatch`, this version can try nothing with the task's parameters.
        """
        model = get_platforms()[self.task.platform].parameters
        choices = choose(model, self.task.parameters) if issubclass(model, Automatic) else []
        if not any(choice.parameters for choice in choices):
            raise ConversionFailed(reasons.PARAMETERS_OF_ANOTHER_VERSION(names="precision: auto"))
        named: list[tuple[Candidate, str, dict[str, Any]]] = []
        for choice in choices:
            if choice.parameters is None:
                self.unavailable.append(choice.candidate)
            else:
                named.append((choice.candidate, choice.candidate.name, choice.parameters | {"accept_accuracy": False}))
        if self.task.parameters.get("accept_accuracy"):
            named += [(candidate, f"{name}-{ACCEPTED}", parameters | {"accept_accuracy": True})
                      for candidate, name, parameters in reversed(named)]
        return tuple(with_names([
            Attempt(candidate, name, changed, tuple(plain_steps(plan, changed)))
            for candidate, name, parameters in named
            for changed in [self.task.model_copy(update={"parameters": parameters})]]))
