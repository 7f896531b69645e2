"""A toy target with candidates: `fast`, `middle` and `exact`, the last in floating point."""
from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar, Literal

from pydantic import Field

from shared.documents import Task
from shared.platforms.base import Automatic, Platform
from shared.platforms.candidates import Candidate
from tests.integration.worker_kit import PLAN, TARGET, TOY, Bench
from worker.plan import Plan, Stage
from worker.stages.common import FETCH, PUBLISH

NAME = "automatic"
_ENTRY = "tests.integration.auto_stages:"
_TELLS = ("counter", "gates", "outcomes", "method")


class ToyParameters(Automatic):
    quantized_precisions: ClassVar[tuple[str, ...]] = ("int8",)
    candidates: ClassVar[tuple[Candidate, ...]] = (
        Candidate("fast", "int8", {"method": "fast"}), Candidate("middle", "int8", {"method": "middle"}),
        Candidate("exact", "fp16", {"method": "exact"}))

    precision: Literal["auto", "fp16", "int8"] = "fp16"
    method: Literal["none", "fast", "middle", "exact"] = "none"
    outcomes: dict[str, str] | None = None
    counter: str = ""
    gates: dict[str, str] | None = None
    suffixes: list[str] = Field([])


PLATFORM: Platform = replace(TARGET, name=NAME, parameters=ToyParameters)
AUTO_PLAN = Plan(NAME, TOY, (
    FETCH, replace(PLAN.stages[1], parameters=("counter", "gates")),
    Stage("compile", _ENTRY + "compile_as_told", TOY.name, inputs=("prepare",),
          parameters=(*_TELLS, "suffixes", "precision"), weight=3),
    Stage("verify", _ENTRY + "verify_as_told", TOY.name, inputs=("compile",), parameters=(*_TELLS, "accept_accuracy")),
    PUBLISH,
))


def submit(bench: Bench, outcomes: dict[str, str] | None = None, **more: Any) -> Task:
    """A task with precision auto; `outcomes` says which stages of which methods fail, and with which code."""
    fields = {name: more.pop(name) for name in ("output_path",) if name in more}
    parameters = ToyParameters.model_validate(bench.parameters(**{"precision": "auto", "outcomes": outcomes, **more}))
    return bench.submit(platform=NAME, parameters=parameters.model_dump(mode="json"), **fields)
