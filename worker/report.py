"""What a person wants to know of a conversion, in one form for all targets: `<stem>.report.json`, and as a page."""
from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

from pydantic import Field

from shared.documents import Attempted
from shared.platforms import get_platforms
from shared.schema import Model
from shared.times import format_time
from worker import reasons
from worker.context import CoreContext
from worker.results import StageResult
from worker.second_try import SIMPLIFIED
from worker.slice_picture import draw
from worker.toolchains import ROOT


class ArtefactFile(Model):
    path: str
    sha256: str
    size_bytes: int


class Value(Model):
    """An input or output; an open dimension is its symbol or null."""

    name: str
    dtype: str
    shape: list[int | str | None] | None


class SourceModel(Model):
    """The model as it was sent; `nodes_after` counts those of the simplified one."""

    path: str
    size_bytes: int
    opsets: dict[str, int]
    producer: str
    inputs: list[Value]
    outputs: list[Value]
    operators: dict[str, int] = Field(description="{operator type: count}")
    nodes: int
    nodes_after: int | None = None


class Timing(Model):
    """`peak_memory_bytes` is that of the stage's process; 0 where it ran inside the worker."""

    stage: str
    seconds: float
    cached: bool
    peak_memory_bytes: int | None


class Operator(Model):
    name: str
    type: str


class Report(Model):
    """One schema for every target; what a target's tool does not tell is null or empty."""

    report_version: int = 1
    task_id: str
    task_type: str
    platform: str
    title: str
    created_at: str
    parameters: dict[str, Any]
    model: SourceModel
    artefact: list[ArtefactFile]
    precision: str | None
    inputs: list[Value]
    outputs: list[Value]
    placement: dict[str, dict[str, int]] | None = Field(description="{unit: {operator type: count}}")
    on_cpu: list[Operator] = Field(description="operators that the NPU does not run")
    unsupported: list[str] = Field(description="operator types that were left out; a completed task has none")
    memory: dict[str, int] = Field(description="{what: bytes}, as the vendor's tool tells")
    accuracy: dict[str, Any] | None = Field(description="against ONNX Runtime; null: the target cannot run it here")
    attempts: list[Attempted] | None = Field(None, description="what precision auto has tried, or a "
                                             "second conversion of the model as it was sent; null: there was neither")
    details: dict[str, Any] = Field(description="what only this target tells")
    timings: list[Timing]
    warnings: list[str]
    toolchain: dict[str, str]
    commands: list[str]


def make_report(context: CoreContext, artefact: StageResult, names: dict[str, str]) -> Report:
    """`names` are the artefact's published files: `{path: name in the stage}`. What several of the target's own stages
    tell is taken from the last of them."""
    task, results = context.task, context.results
    facts: dict[str, Any] = {}
    for stage in context.stages:
        if stage.name in results and not stage.common and stage.name != "verify":
            facts |= results[stage.name].facts
    inspected = results["inspect"].facts if "inspect" in results else {}
    verify = context.inputs.get("verify")
    return Report(
        task_id=task.id, task_type=task.task_type, platform=task.platform, title=get_platforms()[task.platform].title,
        created_at=format_time(task.created_at) or "", parameters=task.parameters,
        model=_model(context, inspected),
        artefact=[ArtefactFile(path=path, sha256=artefact.files[name]["sha256"],
                               size_bytes=artefact.files[name]["size_bytes"]) for path, name in names.items()],
        precision=facts.get("precision"), inputs=facts.get("inputs", []), outputs=facts.get("outputs", []),
        placement=facts.get("placement"), on_cpu=facts.get("on_cpu", []), unsupported=facts.get("unsupported", []),
        memory=facts.get("memory", {}), accuracy=_in_english(verify.facts) if verify else None,
        attempts=context.attempts and [row.model_copy(update={"message_zh": ""}) for row in context.attempts],
        details=facts.get("details", {}),
        timings=[Timing(stage=record.name, seconds=record.seconds, cached=record.cached,
                        peak_memory_bytes=record.peak_memory_bytes) for record in context.records],
        warnings=_warn_of_attempts(context.attempts or []) + [
            f"{stage.name}: {text}" for stage in context.stages if stage.name in results
            for text in results[stage.name].facts.get("warnings", [])],
        toolchain=artefact.tools, commands=[command for stage in context.stages if stage.name in results
                                            for command in results[stage.name].facts.get("commands", [])])


def _warn_of_attempts(attempts: list[Attempted]) -> list[str]:
    lacking = [row.name for row in attempts if row.status == "not_available"]
    uncompared = any(row.chosen and row.status == "not_compared" for row in attempts)
    simplified = next((row for row in attempts if row.name == SIMPLIFIED), None)
    return [text for text in (
        reasons.TAKEN_AS_SENT(stage=simplified.stage, code=simplified.code).en if simplified else "",
        reasons.NO_SET_WAS_SENT(names=", ".join(lacking)).en if lacking else "",
        reasons.NOTHING_COMPARED.en if uncompared else "") if text]


def _in_english(facts: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in facts.items() if not name.endswith("_zh")}


def render(report: Report) -> str:
    """The report as a page that needs nothing else: no script, no font, no image from elsewhere."""
    return _template().render(report=report)


def _model(context: CoreContext, inspected: dict[str, Any]) -> SourceModel:
    optimized = context.results["optimize"].facts if "optimize" in context.results else {}
    return SourceModel(
        path=context.task.input_path, size_bytes=inspected.get("size_bytes", 0), opsets=inspected.get("opsets", {}),
        producer=inspected.get("producer", ""), inputs=inspected.get("inputs", []),
        outputs=inspected.get("outputs", []), operators=inspected.get("operators", {}), nodes=inspected.get("nodes", 0),
        nodes_after=optimized.get("nodes_after"))


@lru_cache(maxsize=1)
def _template() -> Any:
    from jinja2 import Environment, FileSystemLoader  # 2 MB that an idle worker does without

    environment = Environment(loader=FileSystemLoader(ROOT / "worker"), autoescape=True, trim_blocks=True,
                              lstrip_blocks=True)
    environment.filters |= {"size": _size, "pretty": _pretty, "draw": draw,
                            "open_dimension": lambda dim: "?" if dim is None else dim}
    return environment.get_template("report.html.j2")


def _pretty(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


def _size(count: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"
