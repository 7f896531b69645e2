"""What clients see of a task."""
from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, PlainSerializer, SerializationInfo

from shared.api.announced import AnnouncementView, view_announcements, view_callback_url
from shared.documents import Attempted as StoredAttempt
from shared.documents import Priority, Published, Status, StoredFailure, Task
from shared.documents import TaskResult as StoredResult
from shared.rules.error_codes import ERRORS, describe
from shared.schema import Model, StrictModel, TaskIdText
from shared.texts import Language, Text
from shared.times import format_time

WaitsFor = Literal["worker", "slot", "delay", "stage", "files", "store"]


def _is_none(value: object) -> bool:
    return value is None


class TaskRef(StrictModel):
    task_id: TaskIdText


class Attempted(StoredAttempt):
    """One conversion that `precision: "auto"` has tried, or why it has not. Or one of the two that a task made whose
    simplified model was refused: `simplified` and `as-sent`.

    `status`: `passed`; `accepted`, the accuracy check failed it and the client takes it; `failed`, for the reason
    `code`; `not_compared`, nothing here can run it; `skipped`, the time was over; `not_available`, for want of a
    calibration set. `message` is in the client's language.
    """

    message: Text  # type: ignore[assignment]  # both languages, of which the answer shows one
    message_zh: str = Field("", exclude=True)


def view_attempts(attempts: list[StoredAttempt] | None) -> list[Attempted] | None:
    return None if attempts is None else [
        Attempted(**dict(row) | {"message": Text(row.message_zh or row.message, row.message)}) for row in attempts]


class TaskFailure(Model):
    """Why a task failed. Message and hint are in the client's language. `attempts` is what `precision: "auto"` has
    tried in vain, or that the model was tried as it was sent too."""

    code: str = Field(description=describe(ERRORS))
    stage: str | None = None
    vendor_code: str | None = None
    message: Text
    hint: Text = Field(Text("", ""), json_schema_extra={"default": ""})  # the schema shows what JSON holds
    log_tail: str = ""
    attempts: list[Attempted] | None = Field(None, exclude_if=_is_none)


def _choose_texts(facts: dict[str, Any] | None, info: SerializationInfo) -> dict[str, Any] | None:
    """The facts with `reason` in place of `reason_zh`, and so on. Facts without Chinese stay as they are."""
    if facts is None:
        return None
    chosen: dict[str, Language] = info.context or {}
    chinese = {} if chosen.get("language", "zh") == "en" else {
        name.removesuffix("_zh"): value for name, value in facts.items() if name.endswith("_zh")}
    return {name: chinese.get(name, value) for name, value in facts.items() if not name.endswith("_zh")}


class TaskResult(StoredResult):
    """The published artefact. The texts in `accuracy` are in the client's language. `attempts` is what
    `precision: "auto"` has tried, or that the artefact was made of the model as it was sent."""

    accuracy: Annotated[dict[str, Any] | None, PlainSerializer(_choose_texts)] = None
    attempts: list[Attempted] | None = Field(  # type: ignore[assignment]  # with texts in the client's language
        None, exclude_if=_is_none)
    published: list[Published] | None = Field(None, exclude=True)  # GET /tasks/{task_id}/files shows it


class StageView(Model):
    name: str
    status: str
    seconds: float | None = None
    cached: bool = False
    refused: str | None = Field(None, exclude_if=_is_none, description=(
        "the code of what has ended an attempt there; the task goes on with another one"))


class SourceView(Model):
    """The uploaded object that has started the task, as it was then, and the rule by which."""

    bucket: str
    key: str
    etag: str
    version: str | None = Field(None, exclude_if=_is_none)
    rule: str
    sidecar: str | None = Field(None, exclude_if=_is_none, description="the description beside it that counted")


class TaskView(Model):
    """What clients see of a task: the contract's seven fields first, then ours. Times are UTC."""

    id: str
    task_type: str
    platform: str
    status: Status
    input_path: str
    output_path: str
    created_at: str
    parameters: dict[str, Any]
    priority: Priority
    labels: dict[str, str]
    group_id: str | None
    source: SourceView | None = Field(None, exclude_if=_is_none)
    waits_for: WaitsFor | None = Field(
        description="why nothing happens. worker: no live worker serves the target; slot: all are busy; delay: a retry "
                    "is due later; stage: another task runs the same stage, and this one will take its result; files: "
                    "the object store does not answer; store: its worker was not heard of lately, since the worker or "
                    "its way to the store is down")
    progress: float
    stage: str | None
    log_lines: list[str] = Field(description="the last that the running stage's tool said")
    stages: list[StageView]
    error: TaskFailure | None
    result: TaskResult | None
    callback_url: str | None = Field(None, exclude_if=_is_none, description="where its ends are announced, without the "
                                                                            "query")
    announcements: list[AnnouncementView] | None = Field(None, exclude_if=_is_none, description=(
        "of its ends, the oldest first; one appears within seconds after its end"))
    updated_at: str
    started_at: str | None
    finished_at: str | None


class ListedTask(TaskView):
    """A task in a list."""

    omitted: list[str] = Field(description="what is left out here, since the task is long: POST /tasks/query has it")


def view_failure(error: StoredFailure | None) -> TaskFailure | None:
    """A document without the Chinese texts shows the English ones."""
    return None if error is None else TaskFailure(
        code=error.code, stage=error.stage, vendor_code=error.vendor_code,
        message=Text(error.message_zh or error.message, error.message),
        hint=Text(error.hint_zh or error.hint, error.hint), log_tail=error.log_tail,
        attempts=view_attempts(error.attempts))


def view_result(result: StoredResult | None) -> TaskResult | None:
    return None if result is None else TaskResult(**dict(result) | {"attempts": view_attempts(result.attempts)})


def view_task(task: Task, waits_for: WaitsFor | None = None) -> TaskView:
    stages = [StageView(name=s.name, status="failed" if s.refused else s.status, seconds=s.seconds, cached=s.cached,
                        refused=s.refused) for s in task.stages]
    if task.stage and not any(s.name == task.stage for s in task.stages):
        status = {Status.FAILED: "failed", Status.PAUSED: "paused"}.get(task.status, "running")
        stages.append(StageView(name=task.stage, status=status))
    return TaskView(
        id=task.id, task_type=task.task_type, platform=task.platform, status=task.status, input_path=task.input_path,
        output_path=task.output_path, created_at=format_time(task.created_at), parameters=task.parameters,
        priority=task.priority, labels=task.labels, group_id=task.group_id,
        source=task.source and SourceView(**task.source.model_dump(include=set(SourceView.model_fields))),
        waits_for=waits_for, progress=round(task.progress, 1), stage=task.stage,
        log_lines=task.log_lines, stages=stages,
        error=view_failure(task.error), result=view_result(task.result),
        callback_url=view_callback_url(task), announcements=view_announcements(task),
        updated_at=format_time(task.updated_at),
        started_at=format_time(task.started_at), finished_at=format_time(task.finished_at))
