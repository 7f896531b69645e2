"""A toy target whose stage `optimize` has passes over the model, which can be left out."""
from __future__ import annotations

from dataclasses import replace
from typing import Any

from pydantic import Field

from shared.documents import Task
from shared.platforms.base import Automatic, Platform
from tests.integration.worker_kit import TARGET, TOY, Bench
from worker.plan import Plan, Stage
from worker.stages.common import FETCH, PUBLISH

NAME = "passing"
_ENTRY = "tests.integration.second_stages:"
_TELLS = ("counter", "gates", "outcomes")


class ToyParameters(Automatic):
    precision: str = "fp16"
    outcomes: dict[str, str] | None = None
    rewrites: bool = True
    counter: str = ""
    gates: dict[str, str] | None = None
    suffixes: list[str] = Field([])


PLATFORM: Platform = replace(TARGET, name=NAME, parameters=ToyParameters)
SECOND_PLAN = Plan(NAME, TOY, (
    FETCH,
    Stage("inspect", _ENTRY + "inspect", TOY.name, inputs=("fetch",), parameters=("counter",), common=True),
    Stage("optimize", _ENTRY + "optimize", TOY.name, inputs=("fetch", "inspect"), common=True,
          parameters=(*_TELLS, "rewrites", "simplify"), weight=2),
    Stage("reference", _ENTRY + "reference", TOY.name, inputs=("optimize",), parameters=_TELLS, common=True),
    Stage("compile", _ENTRY + "compile_as_told", TOY.name, inputs=("optimize",), parameters=(*_TELLS, "suffixes"),
          weight=3),
    Stage("verify", _ENTRY + "verify_as_told", TOY.name, inputs=("compile", "reference"),
          parameters=(*_TELLS, "accept_accuracy")),
    PUBLISH,
))


def submit(bench: Bench, outcomes: dict[str, str] | None = None, **more: Any) -> Task:
    """`outcomes` says which stages fail and with which code: `compile-simplified`, `compile-as-sent`."""
    fields = {name: more.pop(name) for name in ("output_path",) if name in more}
    parameters = ToyParameters.model_validate(bench.parameters(outcomes=outcomes, **more))
    return bench.submit(platform=NAME, parameters=parameters.model_dump(mode="json"), **fields)
