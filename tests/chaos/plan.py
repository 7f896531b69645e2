"""The plan of the chaos runs' workers: the real fetch and publish, and short stages between them."""
from __future__ import annotations

from shared.platforms import get_platforms
from worker.plan import Environment, Plan, Stage
from worker.stages.common import FETCH, ONNX, PUBLISH

TARGET = get_platforms()["intel"]
TOY = Environment("toy", ONNX.requirements, preload=(), tools=())
_ENTRY = "tests.chaos.stages:"

PLAN = Plan(TARGET.name, TOY, (
    FETCH,
    Stage("prepare", _ENTRY + "prepare", TOY.name, inputs=("fetch",), common=True),
    Stage("split", _ENTRY + "split", TOY.name, inputs=("prepare",), common=True),
    Stage("compile", _ENTRY + "compile_model", TOY.name, inputs=("split",)),
    Stage("verify", _ENTRY + "verify", TOY.name, inputs=("compile",)),
    PUBLISH,
))
STAGE_NAMES = tuple(stage.name for stage in PLAN.stages)
COMPUTED = ("prepare", "split", "compile", "verify")
