"""The `data` of each endpoint's answer, its fields in the contract's order."""
from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from shared.models import Model, Status, TaskView


class TaskFound(Model):
    task_id: str
    task_info: TaskView


class TaskStatus(Model):
    task_id: str
    status: Status
    is_completed: bool
    is_failed: bool


class TaskPage(Model):
    tasks: list[TaskView]
    total: int
    page: int
    page_size: int
    total_pages: int = Field(description="0 where no task fits")


class TasksDeleted(Model):
    total_count: int = Field(description="different ids in the request")
    success_count: int
    failed_count: int
    results: dict[str, bool]


class TaskState(Model):
    task_id: str
    status: Status


class LiveWorker(Model):
    id: str
    host: str
    slots: int
    tools: dict[str, str] = Field(description="{tool: version} of its toolchain for this target")
    seen_at: str


class PlatformView(Model):
    """A target. `artefact_suffixes`: the file at `output_path` first, then those that lie beside it."""

    name: str
    title: str
    task_types: list[str]
    input_suffixes: list[str]
    artefact_suffixes: list[str]
    parameters: dict[str, Any] = Field(description="JSON Schema of `parameters` in POST /tasks/create")
    tools: dict[str, list[str]] = Field(description="{tool: versions} of the live workers' toolchains")
    workers: list[LiveWorker]


class PlatformList(Model):
    platforms: list[PlatformView]


class DependencyHealth(Model):
    state: Literal["up"] = "up"
    latency_ms: float


class Health(Model):
    """Every dependency answers; where one does not, the answer is 503 in the error form and its message names it."""

    dependencies: dict[str, DependencyHealth]

