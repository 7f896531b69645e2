"""`<stem>.manifest.json`: enough to make the artefact again by hand, or with `python -m worker.reproduce`."""
from __future__ import annotations

from typing import Any

from shared.platforms.candidates import AUTO
from shared.rules.models import MODEL
from shared.times import format_time
from worker.context import CoreContext
from worker.keys import code_digest
from worker.parameters import stage_parameters
from worker.plan import Stage
from worker.results import StageResult


def make_manifest(context: CoreContext, artefact: StageResult, names: dict[str, str]) -> dict[str, Any]:
    """Inputs with their digests, parameters, and for each stage what ran, with which tool, on what, for how long.

    `names` are the artefact's published files: `{path: name in the stage}`.
    """
    task = context.task
    stages = {stage.name: stage for stage in context.stages}
    return {
        "manifest_version": 1,
        "task_id": task.id, "task_type": task.task_type, "platform": task.platform,
        "created_at": format_time(task.created_at),
        "input": {"path": task.input_path, "files": context.results["fetch"].files},
        **_source(context),
        "output_path": task.output_path,
        "parameters": task.parameters,
        **_tried(context),
        "artefact": [{"path": path, **artefact.files[name]} for path, name in names.items()],
        "stages": [_stage(context, stages[record.name]) | {
            "key": record.key, "output_digest": record.output_digest, "cached": record.cached,
            "seconds": record.seconds, "peak_memory_bytes": record.peak_memory_bytes} for record in context.records],
    }


def _source(context: CoreContext) -> dict[str, Any]:
    """Of a task that an upload has started: the object, its version as the rule took it, and the digest of what was
    fetched."""
    source = context.task.source
    if source is None:
        return {}
    return {"source": source.model_dump(mode="json", exclude={"request_key"}, exclude_none=True) | {
        "sha256": context.results["fetch"].files[MODEL]["sha256"]}}


def _tried(context: CoreContext) -> dict[str, Any]:
    """With `precision: "auto"`, and where the task was converted a second time: what was asked for, and what was tried.
    The manifest's `parameters` are those of the chosen conversion, which make the artefact again."""
    if context.attempts is None:
        return {}
    rows = [row.model_dump(mode="json", exclude={"message_zh"}) for row in context.attempts]
    name = "auto" if context.requested.get("precision") == AUTO else "second_try"
    return {name: {"requested": context.requested, "attempts": rows}}


def _stage(context: CoreContext, stage: Stage) -> dict[str, Any]:
    result = context.results[stage.name]
    toolchain = context.toolchains.get(stage.environment)
    parameters = stage_parameters(context.task)
    return {
        "name": stage.name, "entry": stage.entry, "environment": stage.environment,
        "code_digest": code_digest(stage.entry),
        "toolchain_digest": toolchain.digest if toolchain else None, "tools": result.tools,
        "commands": result.facts.get("commands", []), "inputs": list(stage.inputs),
        "parameters": {name: parameters.get(name) for name in stage.parameters},
        "files": result.files, "facts": result.facts,
    }
