"""The toy target: a real target's name, types and suffixes, with stages and parameters of the tests' own."""
from __future__ import annotations

from dataclasses import replace
from typing import Any

from shared.platforms import get_platforms
from shared.schema import StrictModel
from tests.integration.worker_kit import TARGET, TOY
from worker.plan import Plan, Stage
from worker.stages.common import FETCH, PUBLISH

_ENTRY = "tests.faults.toy_stages:"
_READS = ("tag", "counter", "script")

PLAN = Plan(TARGET.name, TOY, (
    FETCH,
    Stage("prepare", _ENTRY + "prepare", TOY.name, inputs=("fetch",), parameters=_READS),
    Stage("compile", _ENTRY + "compile_model", TOY.name, inputs=("prepare",), parameters=_READS),
    Stage("verify", _ENTRY + "verify", TOY.name, inputs=("compile",), parameters=_READS),
    PUBLISH,
))
STAGES = tuple(stage.name for stage in PLAN.stages)
COMPUTED = ("prepare", "compile", "verify")


class ToyParameters(StrictModel):
    """`script` tells each stage what to do, `tag` makes its results the task's own."""

    tag: str
    counter: str
    script: dict[str, dict[str, Any]]
    limits: dict[str, int | float]


def accept_scripts() -> None:
    """Let this process's create_task take the toy target's parameters."""
    get_platforms()[TARGET.name] = replace(TARGET, parameters=ToyParameters)
