"""The plan of the chaos runs' workers: the real fetch and publish, and short stages between them."""
from __future__ import annotations

from dataclasses import replace
from typing import Any

from shared.platforms import get_platforms
from worker.context import CoreContext
from worker.plan import Environment, Plan, Stage
from worker.stages import fetch
from worker.stages.common import FETCH, ONNX, PUBLISH

TARGET = get_platforms()["intel"]
TOY = Environment("toy", ONNX.requirements, preload=(), tools=())
_ENTRY = "tests.chaos.stages:"

PLAN = Plan(TARGET.name, TOY, (
    replace(FETCH, entry="tests.chaos.plan:fetch_model"),
    Stage("prepare", _ENTRY + "prepare", TOY.name, inputs=("fetch",), common=True),
    Stage("split", _ENTRY + "split", TOY.name, inputs=("prepare",), common=True),
    Stage("compile", _ENTRY + "compile_model", TOY.name, inputs=("split",)),
    Stage("verify", _ENTRY + "verify", TOY.name, inputs=("compile",)),
    PUBLISH,
))
STAGE_NAMES = tuple(stage.name for stage in PLAN.stages)
COMPUTED = ("prepare", "split", "compile", "verify")


def fetch_model(context: CoreContext) -> dict[str, Any]:
    """The real fetch; the child that looks for external data needs no onnx for models that are none."""
    return fetch.run(replace(context, call=lambda _, folders: context.call(_ENTRY + "scan", folders)))
