"""A task's steps: the stages of its plan, under names that tell several conversions of one task apart."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shared.digests import canonical_digest
from shared.documents import StageRecord, Task
from shared.platforms import get_platforms
from shared.platforms.candidates import Candidate
from worker.parameters import stage_parameters
from worker.plan import Plan, Stage
from worker.refused import is_refused
from worker.results import StageResult

VERIFY, PUBLISH = "verify", "publish"


@dataclass(frozen=True)
class Step:
    """A stage as this task runs it. `name` is unique in the task, `inputs` are the steps' names by the stages'.
    `tries`: what the stage fails of ends its attempt, and not the task. Where it then has another name in the task's
    records, `refused_name`, it counts for this task alone."""

    stage: Stage
    name: str
    inputs: dict[str, str]
    task: Task
    parameters: dict[str, Any]
    tries: bool = False
    refused_name: str = ""

    @property
    def names_task(self) -> bool:
        """Whether no other task takes what the stage refuses from the cache."""
        return bool(self.refused_name)

    def pick(self, found: Mapping[str, Any]) -> dict[str, Any]:
        """What `found` has for the step's inputs, by the names of the stages."""
        return {stage: found[step] for stage, step in self.inputs.items()}


@dataclass(frozen=True)
class Attempt:
    """One conversion: the task with the parameters of its candidate, and its steps; publishing is the last. A plain
    task's candidate has no name."""

    candidate: Candidate
    name: str
    task: Task
    steps: tuple[Step, ...]

    @property
    def stages(self) -> tuple[Stage, ...]:
        return tuple(step.stage for step in self.steps)

    @property
    def is_quantized(self) -> bool:
        model = get_platforms()[self.task.platform].parameters
        return self.task.parameters.get("precision") in getattr(model, "quantized_precisions", ())

    def pick(self, found: Mapping[str, StageResult]) -> dict[str, StageResult]:
        """Its results so far, by the names of the stages."""
        return {step.stage.name: found[step.name] for step in self.steps if step.name in found}

    def records(self, records: Sequence[StageRecord]) -> list[StageRecord]:
        """Its stages' records, under the names of the stages."""
        by_name = {record.name: record for record in records}
        return [by_name[step.name].model_copy(update={"name": step.stage.name}) for step in self.steps
                if step.name in by_name]

    def next_step(self, found: Mapping[str, Any]) -> Step | None:
        return next((step for step in self.steps if step.name not in found), None)

    def refused(self, found: Mapping[str, StageResult]) -> Step | None:
        """The step that has ended it."""
        return next((step for step in self.steps if step.name in found and is_refused(found[step.name])), None)

    def is_checked(self, found: Mapping[str, StageResult]) -> bool:
        """Whether the gate has seen it; what it refused counts as well."""
        return not any(step.stage.name == VERIFY and step.name not in found for step in self.steps)

    def is_unproven(self, found: Mapping[str, StageResult]) -> bool:
        """A quantized artefact that nothing here could run is no choice: nobody knows what became of the model."""
        checked = next((found[step.name].facts for step in self.steps if step.stage.name == VERIFY
                        and step.name in found), None)
        return self.is_quantized and checked is not None and bool(checked.get("skipped"))


def plain_steps(plan: Plan, task: Task) -> list[Step]:
    parameters = stage_parameters(task)
    return [Step(stage, stage.name, {name: name for name in stage.inputs}, task, parameters)
            for stage in plan.stages_for(task.parameters)]


def with_names(attempts: list[Attempt]) -> list[Attempt]:
    """The attempts with names that tell their steps apart, and are the same where the steps are.

    Two steps are the same if stage, declared parameters and inputs are. Publishing runs once, for whichever is chosen.
    """
    identities = [_identities(attempt) for attempt in attempts]
    of_stage: dict[str, dict[str, str]] = {}  # {stage: {identity: name of the first attempt that has it}}
    for attempt, known in zip(attempts, identities, strict=True):
        for stage, identity in known.items():
            of_stage.setdefault(stage, {}).setdefault(identity, attempt.name)
    named = []
    for attempt, known in zip(attempts, identities, strict=True):
        names = {stage: stage if len(of_stage[stage]) == 1 or stage == PUBLISH
                 else f"{stage}-{of_stage[stage][identity]}" for stage, identity in known.items()}
        steps = tuple(Step(step.stage, names[step.stage.name], {name: names[name] for name in step.stage.inputs},
                           step.task, step.parameters, tries=not step.stage.common and step.stage.name != PUBLISH)
                      for step in attempt.steps)
        named.append(Attempt(attempt.candidate, attempt.name, attempt.task, steps))
    return named


def _identities(attempt: Attempt) -> dict[str, str]:
    """{stage: digest of what it does}."""
    known: dict[str, str] = {}
    for step in attempt.steps:
        known[step.name] = canonical_digest({
            "stage": step.name, "inputs": {name: known[name] for name in step.stage.inputs},
            "parameters": {name: step.parameters.get(name) for name in step.stage.parameters}})
    return known
