"""The task document, and what clients send and see. All frozen, all with `extra="forbid"`."""
from __future__ import annotations

import math
import secrets
import time
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError


class Status(StrEnum):
    """The five statuses of the contract; there is no other."""

    PENDING = "pending"
    RUNNING = "running"
    PAUSED = "paused"
    COMPLETED = "completed"
    FAILED = "failed"


MAX_TARGETS = 16  # of one request
MAX_DEPTH = 8  # of what a client nests in `parameters`

TERMINAL = (Status.COMPLETED, Status.FAILED)
Priority = Literal["high", "normal", "low"]

# A task's place in the queue is the time of its creation, moved by its priority: high ones overtake what came less
# than an hour before them, and no low one waits for ever.
HEAD_START_S = {"high": 3600.0, "normal": 0.0, "low": -3600.0}


# Models are built at their first use: a function imports many and uses few, and its cold start counts.
class Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class StrictModel(BaseModel):
    """What a client sends: no coercion (`"1"` is not a number, `true` is not 1)."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, defer_build=True)


# --- the document ---------------------------------------------------------------------------------------------------


class StageRecord(Model):
    """One finished stage. `key` addresses its result in the cache."""

    name: str
    status: Literal["completed"] = "completed"
    key: str
    output_digest: str
    seconds: float
    cached: bool
    peak_memory_bytes: int | None = None


class TaskFailure(Model):
    """Why a task failed. `code` is stable; cancel is `cancelled`."""

    code: str
    stage: str | None = None
    vendor_code: str | None = None
    message: str
    hint: str = ""
    log_tail: str = ""


class TaskResult(Model):
    """The published artefact. `files` are its objects, the one at `path` first; `accuracy` is per output, None where
    the target cannot run what it makes."""

    path: str
    files: list[str]
    sha256: str
    size_bytes: int
    manifest_path: str
    report_path: str | None = None
    report_page_path: str | None = None
    toolchain: dict[str, str] = {}
    accuracy: dict[str, Any] | None = None

    def objects(self) -> list[str]:
        """Everything that was published."""
        return [*self.files, *filter(None, (self.manifest_path, self.report_path, self.report_page_path))]


class Event(Model):
    """Something that happened to a task at a moment (seconds since the epoch), in small words: `data` is flat JSON.

    `type` is created, claimed, stage_started, stage_finished, paused, resumed, parked, released, reaped, retried,
    completed, failed or cancelled; later versions may have others.
    """

    type: str
    at: float
    data: dict[str, Any] = {}


class StoredEvent(Event):
    """`seq` counts a task's events: 1, 2, 3, without gaps."""

    seq: int


class Task(Model):
    """The task document. Changes go through `shared.transitions` only.

    Times are seconds since the epoch (UTC). `log_lines` are the running stage's last, none without an owner.
    `announced` is the epoch whose doorbell the broker has confirmed, -1 where one is still owed. `queue_order` sorts
    the waiting tasks, smallest first. `event_count` is the last event's `seq`; the events themselves are read with
    `Store.events`.
    """

    id: str
    task_type: str
    platform: str
    input_path: str
    output_path: str
    parameters: dict[str, Any] = {}
    priority: Priority = "normal"
    labels: dict[str, str] = {}
    status: Status = Status.PENDING
    epoch: int = 0
    owner: str | None = None
    beat: int = 0
    announced: int = -1
    stage: str | None = None
    progress: float = 0.0
    log_lines: list[str] = []
    stages: list[StageRecord] = []
    retries: int = 0
    next_run_at: float = 0.0
    queue_order: float
    error: TaskFailure | None = None
    result: TaskResult | None = None
    created_at: float
    updated_at: float
    started_at: float | None = None
    finished_at: float | None = None
    idempotency_key: str | None = None
    request_hash: str | None = None
    group_id: str | None = None
    event_count: int = 0


def new_task_id(now: float | None = None) -> str:
    """`task_<epoch seconds>_<10 random digits>`."""
    return f"task_{int(time.time() if now is None else now)}_{secrets.randbelow(9 * 10**9) + 10**9}"


class WorkerInfo(Model):
    """A live worker, as GET /platforms shows it. `seen_at` is for people; no rule depends on it."""

    id: str
    host: str
    pid: int
    platforms: dict[str, dict[str, str]] = Field(description="target -> {tool: version}")
    slots: int
    platform_slots: dict[str, int] = Field({}, description="target -> how many of the slots its tasks may have")
    started_at: float
    seen_at: float


# --- requests -------------------------------------------------------------------------------------------------------


def wrong(zh: str, en: str) -> PydanticCustomError:
    """What a validator raises, in both languages, as a phrase that follows the field's name."""
    return PydanticCustomError("bilingual", "{en}", {"zh": zh, "en": en})


def _storable(value: str) -> str:
    """Strings that every store can hold: no NUL, no lone surrogates."""
    if "\0" in value:
        raise wrong("不得含有 NUL 字符", "must not contain NUL")
    if any("\ud800" <= char <= "\udfff" for char in value):
        raise wrong("应为有效的 Unicode 文本", "should be valid Unicode text")
    return value


def _storable_json(value: Any, depth: int = 0) -> Any:
    if depth > MAX_DEPTH:
        raise wrong(f"嵌套不得超过 {MAX_DEPTH} 层", f"must not be nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, str):
        return _storable(value)
    if isinstance(value, dict):
        for key, item in value.items():
            _storable(key)
            _storable_json(item, depth + 1)
    elif isinstance(value, list):
        for item in value:
            _storable_json(item, depth + 1)
    elif isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise wrong("整数应在 64 位以内", "integers should fit in 64 bits")
    elif isinstance(value, float) and not math.isfinite(value):
        raise wrong("数字应为有限值", "numbers should be finite")
    return value


def _time(value: str) -> str:
    try:
        parse_time(value)
    except (ValueError, OverflowError):
        raise wrong("应为 ISO 8601 时间, 如 2024-01-01T12:00:00 (UTC)",
                         "should be an ISO 8601 time such as 2024-01-01T12:00:00 (UTC)") from None
    return value


def _text(**limits: Any) -> Any:
    return Annotated[str, Field(**limits), AfterValidator(_storable)]


TaskIdText = _text(min_length=1, max_length=128, examples=["task_1234567890_1234"])
PathText = _text(min_length=1, max_length=1024)
Name = _text(min_length=1, max_length=64)
KeyText = _text(min_length=1, max_length=128)
LabelKey = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$")]
LabelValue = _text(max_length=256)
JsonObject = Annotated[dict[str, Any], AfterValidator(_storable_json)]
TimeText = Annotated[_text(max_length=40), AfterValidator(_time)]


GroupIdText = _text(min_length=1, max_length=128, examples=["group_1234567890_1234567890"])
TaskIds = Annotated[list[TaskIdText], Field(min_length=1, max_length=1000,
                                             examples=[["task_1234567890_1234", "task_1234567890_5678"]])]


class TaskRef(StrictModel):
    task_id: TaskIdText


class TargetChoice(StrictModel):
    """What a model is to become: `parameters` as GET /platforms describes them."""

    task_type: Name
    platform: Name
    output_path: PathText | None = Field(None, description="`bucket/object`; by default in the results' bucket")
    parameters: JsonObject = Field(default_factory=dict, description="over the request's own, name by name")


class CreateTask(StrictModel):
    """One target by `task_type` and `platform`, or several by `targets`: then a task for each, in one group."""

    targets: list[TargetChoice] | None = Field(None, min_length=1, max_length=MAX_TARGETS,
                                               description="instead of task_type, platform and output_path")
    task_type: Name | None = Field(None, validate_default=True)
    platform: Name | None = Field(None, validate_default=True)
    input_path: PathText = Field(description="`bucket/object`")
    output_path: PathText | None = Field(None, description="`bucket/object`; by default in the results' bucket")
    parameters: JsonObject = Field(default_factory=dict, description="as GET /platforms describes them")
    priority: Priority = "normal"
    idempotency_key: KeyText | None = None
    labels: dict[LabelKey, LabelValue] = Field(default_factory=dict, max_length=16)

    @field_validator("task_type", "platform", "output_path")
    @classmethod
    def _check_one_target_or_several(cls, value: str | None, info: ValidationInfo) -> str | None:
        if "targets" not in info.data:  # they are there, and wrong: that is told already
            return value
        several = info.data["targets"] is not None
        if several and value is not None:
            raise wrong("不得与 targets 同时使用", "must not be sent together with targets")
        if not several and value is None and info.field_name != "output_path":
            raise PydanticCustomError("missing", "Field required")
        return value


# --- answers --------------------------------------------------------------------------------------------------------

class StageView(Model):
    name: str
    status: str
    seconds: float | None = None
    cached: bool = False


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
    waits_for: Literal["worker", "slot", "delay"] | None = Field(
        description="why nothing happens: no live worker serves the target; all are busy; a retry is due later")
    progress: float
    stage: str | None
    log_lines: list[str] = Field(description="the last that the running stage's tool said")
    stages: list[StageView]
    error: TaskFailure | None
    result: TaskResult | None
    updated_at: str
    started_at: str | None
    finished_at: str | None


def format_time(seconds: float | None) -> str | None:
    """UTC in the contract's spelling, `2024-01-01T12:00:00`."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def parse_time(text: str) -> float:
    """Seconds since the epoch; a time without an offset is UTC.

    Raises:
        ValueError: not an ISO 8601 time.
    """
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def view_task(task: Task, waits_for: Literal["worker", "slot", "delay"] | None = None) -> TaskView:
    stages = [StageView(name=s.name, status=s.status, seconds=s.seconds, cached=s.cached) for s in task.stages]
    if task.stage and not any(s.name == task.stage for s in task.stages):
        status = {Status.FAILED: "failed", Status.PAUSED: "paused"}.get(task.status, "running")
        stages.append(StageView(name=task.stage, status=status))
    return TaskView(
        id=task.id, task_type=task.task_type, platform=task.platform, status=task.status, input_path=task.input_path,
        output_path=task.output_path, created_at=format_time(task.created_at), parameters=task.parameters,
        priority=task.priority, labels=task.labels, group_id=task.group_id,
        waits_for=waits_for, progress=round(task.progress, 1), stage=task.stage,
        log_lines=task.log_lines, stages=stages,
        error=task.error, result=task.result, updated_at=format_time(task.updated_at),
        started_at=format_time(task.started_at), finished_at=format_time(task.finished_at))
